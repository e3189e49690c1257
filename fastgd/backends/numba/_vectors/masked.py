"""Loads and stores of the elements of a vector that are there, in LLVM IR."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from fastgd.backends.numba._vectors import emit
from fastgd.backends.numba._vectors.emit import Builder, Value, const


def mask_of(b: Builder, there: Value, count: int) -> Value:
    """Bits of a vector, set for the first `there` elements."""
    kind = ir.VectorType(emit.I64, count)
    places = ir.Constant(kind, [const(i) for i in range(count)])
    return b.icmp_signed("<", places, emit.splat(b, there, count))


def load(
    b: Builder, pointer: Value, offset: Value, count: int, bits: Value | None, scalar: Any
) -> Value:
    """`emit.load`, of which only elements whose bits are set are read, and the rest are zero."""
    if bits is None:
        return emit.load(b, pointer, offset, count, scalar)
    kind = ir.VectorType(scalar, count)
    address = b.bitcast(b.gep(pointer, [offset]), kind.as_pointer())
    signature = ir.FunctionType(kind, [address.type, emit.I32, bits.type, kind])
    name = f"llvm.masked.load.v{count}{scalar.intrinsic_name}.p0"
    function = cgutils.get_or_insert_function(b.module, signature, name)
    return b.call(
        function,
        [address, ir.Constant(emit.I32, emit.size(scalar)), bits, emit.zero(scalar, count)],
    )


def load_first(
    b: Builder, pointer: Value, offset: Value, count: int, there: int, scalar: Any
) -> Value:
    """`emit.load`, of which only the first `there` elements are read, and the rest are zero."""
    width = min(count, 1 << (there - 1).bit_length())
    bits = None
    if there < width:
        bit = ir.IntType(1)
        bits = ir.Constant(ir.VectorType(bit, width), [bit(int(i < there)) for i in range(width)])
    vector = load(b, pointer, offset, width, bits, scalar)
    if width < count:
        rest = emit.zero(scalar, width)
        vector = emit.pick(b, vector, rest, [min(i, width) for i in range(count)])
    return vector


def store(b: Builder, value: Value, pointer: Value, offset: Value, bits: Value | None) -> None:
    """`emit.store`, of elements whose bits are set."""
    if bits is None:
        emit.store(b, value, pointer, offset)
        return
    kind, scalar = value.type, value.type.element
    address = b.bitcast(b.gep(pointer, [offset]), kind.as_pointer())
    signature = ir.FunctionType(ir.VoidType(), [kind, address.type, emit.I32, bits.type])
    name = f"llvm.masked.store.v{kind.count}{scalar.intrinsic_name}.p0"
    function = cgutils.get_or_insert_function(b.module, signature, name)
    b.call(function, [value, address, ir.Constant(emit.I32, emit.size(scalar)), bits])
