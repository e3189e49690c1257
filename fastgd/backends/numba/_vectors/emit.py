"""Vectors in LLVM IR: what the fused kernels are written in.

Numba compiles loops, and LLVM vectorises them as it sees fit; for rows of a few floats it does
not see fit. The kernels in `_fused` and `_moments` therefore say which vectors they want. This
module holds the words: loads, sums, and loops; `masked` and `exchange` have more. All of it is
plain LLVM IR, so that it runs on whatever LLVM compiles for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils

LINE_BYTES = 64  # of cache: what a prefetch fetches
# The longest vectors that are one register. Where 32 bytes are, vectors of 64 take two of sixteen
# registers each, and what is spilled cost up to half of the speed (few features, in cache).
_FEATURES = binding.get_host_cpu_features()
REGISTER_BYTES = 64 if _FEATURES.get("avx512f") else 32
_HAS_AVX = bool(_FEATURES.get("avx"))

# What a thread asks memory for before it needs it, of all that it reads: as much as it reads, at 40
# GB/s, while memory answers. One to four columns, and rows, in passes and for moments, are 1.1 to
# 1.5 times as fast by it as by 4096 or less; of 5 to 24 features in rows, moments gain up to a
# tenth. By 8192, rows of 1000 features are 0.95 times as fast, and by 10240 those of 2 to 6. (With
# AVX-512. What other processors ask for, and kernels of many streams, stands beside each.)
BYTES_IN_FLIGHT = 9216

BYTE = ir.IntType(8)
I32 = ir.IntType(32)
I64 = ir.IntType(64)
DOUBLE = ir.DoubleType()
SINGLE = ir.FloatType()

# Sums may be reordered and products fused with them; NaN and infinity keep their meaning.
FAST = ("reassoc", "contract")

Value = Any  # an LLVM value; llvmlite is not typed
Builder = Any


def const(number: int) -> Value:
    """An index."""
    return ir.Constant(I64, number)


def register_lanes(scalar: Any) -> int:
    """How many elements of a floating type the longest register holds."""
    return REGISTER_BYTES // size(scalar)


def size(scalar: Any) -> int:
    """Bytes of a floating type."""
    return 8 if scalar == DOUBLE else 4


def bytes_ahead(n_streams: int, otherwise: int) -> int:
    """How far ahead each of so many streams is fetched, with AVX-512 and `otherwise`."""
    return BYTES_IN_FLIGHT // n_streams if REGISTER_BYTES == 64 else otherwise


def zero(scalar: Any, count: int) -> Value:
    """A vector of zeros."""
    return ir.Constant(ir.VectorType(scalar, count), None)


def pick(b: Builder, first: Value, second: Value, indices: Sequence[int]) -> Value:
    """Elements of two vectors laid end to end, by index."""
    mask = ir.Constant(ir.VectorType(I32, len(indices)), [ir.Constant(I32, i) for i in indices])
    return b.shuffle_vector(first, second, mask)


def splat(b: Builder, scalar: Value, count: int) -> Value:
    """A vector of one value."""
    undefined = ir.Constant(ir.VectorType(scalar.type, count), ir.Undefined)
    one = b.insert_element(undefined, scalar, ir.Constant(I32, 0))
    return pick(b, one, undefined, [0] * count)


def splat_element(b: Builder, vector: Value, index: int, count: int) -> Value:
    """A vector of one element of another."""
    return pick(b, vector, vector, [index] * count)


def from_scalars(b: Builder, scalars: Sequence[Value]) -> Value:
    """A vector of scalars."""
    vector = ir.Constant(ir.VectorType(scalars[0].type, len(scalars)), ir.Undefined)
    for i, scalar in enumerate(scalars):
        vector = b.insert_element(vector, scalar, ir.Constant(I32, i))
    return vector


def add(b: Builder, left: Value, right: Value) -> Value:
    return b.fadd(left, right, flags=FAST)


def multiply(b: Builder, left: Value, right: Value) -> Value:
    return b.fmul(left, right, flags=FAST)


def subtract(b: Builder, left: Value, right: Value) -> Value:
    return b.fsub(left, right, flags=FAST)


def multiply_add(b: Builder, left: Value, right: Value, added: Value) -> Value:
    """``left * right + added``, of vectors: fused where the processor can.

    With no fast-math flags, nor have the additions beside it: the order of sums is as written, so
    that two loops over the same numbers give the same bits.
    """
    return _by_elements(b, "fmuladd", left, right, added)


def as_converted(b: Builder, value: Value) -> Value:
    """`value`, a vector just converted, which LLVM then leaves where it is.

    It would shuffle first and convert then: one conversion for two, but of what is in a register,
    which AVX does at half the speed of what is in memory.
    """
    fixed = _HAS_AVX and value.type.count > 1
    return _by_elements(b, "arithmetic.fence", value) if fixed else value


def square_root(b: Builder, value: Value) -> Value:
    """The root of a scalar or, element by element, of a vector."""
    return _by_elements(b, "sqrt", value)


def _by_elements(b: Builder, name: str, *values: Value) -> Value:
    """LLVM's function of this name, of scalars or of vectors, which llvmlite cannot name."""
    kind = values[0].type
    vector = isinstance(kind, ir.VectorType)
    suffix = f"v{kind.count}{kind.element.intrinsic_name}" if vector else kind.intrinsic_name
    signature = ir.FunctionType(kind, [kind] * len(values))
    return b.call(b.module.declare_intrinsic(f"llvm.{name}.{suffix}", (), signature), values)


def tree_sum(b: Builder, values: Sequence[Value]) -> Value:
    """The sum of `values`, added in pairs."""
    values = list(values)
    while len(values) > 1:
        pairs = zip(values[::2], values[1::2], strict=False)
        odd = values[-1:] if len(values) % 2 else []
        values = [b.fadd(left, right) for left, right in pairs] + odd
    return values[0]


def convert(b: Builder, value: Value, scalar: Any) -> Value:
    """`value`, a scalar or a vector, with elements of another floating type."""
    vector = isinstance(value.type, ir.VectorType)
    have = value.type.element if vector else value.type
    if have == scalar:
        return value
    wanted = ir.VectorType(scalar, value.type.count) if vector else scalar
    return b.fpext(value, wanted) if scalar == DOUBLE else b.fptrunc(value, wanted)


def load(b: Builder, pointer: Value, offset: Value, count: int, scalar: Any) -> Value:
    """`count` elements of floating type `scalar`, from any address."""
    vector = ir.VectorType(scalar, count)
    address = b.bitcast(b.gep(pointer, [offset]), vector.as_pointer())
    return b.load(address, align=size(scalar))


def store(b: Builder, value: Value, pointer: Value, offset: Value) -> None:
    """A vector to any address."""
    address = b.bitcast(b.gep(pointer, [offset]), value.type.as_pointer())
    b.store(value, address, align=size(value.type.element))


def rows_apart(b: Builder, first: Value, distance: Value, number: int) -> list[Value]:
    """`number` rows from `first` on, `distance` apart.

    Rows far apart are as many streams to read. The hardware fetches each of them ahead: one thread
    reads four at once at 21 GB/s where it reads one at 16, and goes on fetching while it computes
    (float32 of 410 MB, 100 features, not yet fetched ahead in software: 0.51 of the limit by
    neighbouring rows, 0.83 so).
    """
    return [b.add(first, b.mul(distance, const(i))) for i in range(number)]


class Accumulators:
    """Vectors that are added to in a loop; LLVM keeps them in registers."""

    def __init__(self, b: Builder, scalar: Any, count: int, number: int) -> None:
        self._zero = zero(scalar, count)
        self._slots = [cgutils.alloca_once(b, self._zero.type) for _ in range(number)]
        self.clear(b)

    def clear(self, b: Builder) -> None:
        for slot in self._slots:
            b.store(self._zero, slot)

    def add(self, b: Builder, index: int, value: Value) -> None:
        b.store(add(b, b.load(self._slots[index]), value), self._slots[index])

    def multiply_add(self, b: Builder, index: int, left: Value, right: Value) -> None:
        """Add a product, as `multiply_add` does."""
        slot = self._slots[index]
        b.store(multiply_add(b, left, right, b.load(slot)), slot)

    def plus(self, b: Builder, index: int, value: Value) -> None:
        """Add `value`, with no fast-math flags."""
        b.store(b.fadd(b.load(self._slots[index]), value), self._slots[index])

    def value(self, b: Builder, index: int) -> Value:
        return b.load(self._slots[index])

    def put(self, b: Builder, index: int, value: Value) -> None:
        b.store(value, self._slots[index])

    def get(self, b: Builder) -> list[Value]:
        return [b.load(slot) for slot in self._slots]

    def move_to(self, b: Builder, wider: Accumulators) -> None:
        """Add to `wider`, element by element, and start again from zero."""
        for index, value in enumerate(self.get(b)):
            wider.add(b, index, convert(b, value, DOUBLE))
        self.clear(b)


@contextmanager
def loop(b: Builder, start: Value, stop: Value, step: int = 1) -> Iterator[Value]:
    """``for index in range(start, stop, step)``."""
    with cgutils.for_range_slice(b, start, stop, const(step), intp=I64) as (index, _):
        yield index


@contextmanager
def loop_by(b: Builder, start: Value, stop: Value, step: Value) -> Iterator[Value]:
    """``for index in range(start, stop, step)``, by a step of the running program."""
    with cgutils.for_range_slice(b, start, stop, step, intp=I64) as (index, _):
        yield index


def prefetch(b: Builder, cursor: Value, step: Value) -> None:
    """Have the address at `cursor` fetched into cache, and move on by `step` bytes.

    It need not be an address: nothing is ever read by it.
    """
    address = b.load(cursor)
    prefetch_address(b, address)
    b.store(b.add(address, step), cursor)


def prefetch_address(b: Builder, address: Value) -> None:
    """Have the number `address` fetched into cache, if it is an address."""
    _fetch(b, b.inttoptr(address, BYTE.as_pointer()))


def prefetch_at(b: Builder, pointer: Value, index: Value, nearest: bool = True) -> None:
    """Have ``pointer[index]`` fetched into cache, whether or not there is such an element.

    Into the nearest or, at least, the second.
    """
    _fetch(b, b.bitcast(b.gep(pointer, [index]), BYTE.as_pointer()), nearest)


def _fetch(b: Builder, address: Value, nearest: bool = True) -> None:
    pointer = BYTE.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, I32, I32, I32])
    function = cgutils.get_or_insert_function(b.module, kind, "llvm.prefetch.p0")
    locality = 3 if nearest else 2
    numbers = [ir.Constant(I32, number) for number in (0, locality, 1)]  # to read, how near, data
    b.call(function, [address, *numbers])


def smaller(b: Builder, left: Value, right: Value) -> Value:
    """The smaller of two indices."""
    return b.select(b.icmp_signed("<", left, right), left, right)


def add_to_memory(b: Builder, value: Value, pointer: Value, index: Value) -> None:
    """Add a scalar to ``pointer[index]``."""
    address = b.gep(pointer, [index])
    b.store(b.fadd(b.load(address), value), address)


def arrays(context: Any, b: Builder, signature: Any, args: Any) -> dict[int, Any]:
    """Numba's array structures among the arguments, by position; None where None was given."""
    return {
        i: context.make_array(kind)(context, b, args[i]) if isinstance(kind, types.Array) else None
        for i, kind in enumerate(signature.args)
    }


def call(context: Any, b: Builder, write: Any, *typed: tuple[Any, Value]) -> None:
    """What `write` emits for arguments of these types and values."""
    kinds, values = zip(*typed, strict=True)
    write(context, b, types.void(*kinds), values)


def call_apart(context: Any, b: Builder, name: str, write: Any, *typed: tuple[Any, Value]) -> None:
    """`call` of a function of its own, whose loops have all registers to themselves."""
    kinds, values = zip(*typed, strict=True)
    kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
    function = ir.Function(b.module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    inner = ir.IRBuilder(function.append_basic_block("entry"))
    write(context, inner, types.void(*kinds), function.args)
    inner.ret_void()
    b.call(function, values)
