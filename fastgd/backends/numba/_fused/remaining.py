"""The rows that fill no vector, and no block of rows, of the fused kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core import cgutils

from fastgd.backends.numba._vectors import emit, exchange, masked
from fastgd.backends.numba._vectors.emit import Builder, Value, const

# Features of a row at a time: of float32, as they are stored, a register.
MOST_LANES = emit.register_lanes(emit.SINGLE)


def add_remaining(
    context: Any, b: Builder, signature: Any, args: Any, start: Value, stop: Value, by_columns: bool
) -> None:
    """Rows that fill no vector, one by one in float64; rows that are contiguous, in vectors."""
    arrays = emit.arrays(context, b, signature, args)
    X, y, weight, prediction, w, out = (arrays[i] for i in (0, 1, 2, 3, 4, 6))
    stored = context.get_value_type(signature.args[0].dtype)
    computed = context.get_value_type(signature.args[4].dtype)
    d = cgutils.unpack_tuple(b, X.shape, 2)[1] if w is not None else const(signature.args[4].count)
    coefs = _in_memory(b, args[4]) if w is None else w.data
    strides = cgutils.unpack_tuple(b, X.strides, 2)
    step, stride = (b.sdiv(s, const(emit.size(stored))) for s in strides)
    count = 1 if by_columns else MOST_LANES
    if w is None and not by_columns:
        count = min(count, 1 << (signature.args[4].count - 1).bit_length())
    whole = b.sub(d, b.srem(d, const(count)))
    rest = masked.mask_of(b, b.sub(d, whole), count)
    sums = emit.Accumulators(b, emit.DOUBLE, count, 1)

    def number(pointer: Value, index: Value) -> Value:
        return emit.convert(b, b.load(b.gep(pointer, [index])), emit.DOUBLE)

    def numbers(pointer: Value, at: Value, bits: Value | None, scalar: Any) -> Value:
        loaded = masked.load(b, pointer, at, count, bits, scalar)
        return emit.convert(b, loaded, emit.DOUBLE)

    def features(i: Value, j: Value, bits: Value | None) -> Value:
        at = b.add(b.mul(i, step), b.mul(j, stride) if by_columns else j)
        return numbers(X.data, at, bits, stored)

    def for_features(work: Callable[[Value, Value | None], None]) -> None:
        with emit.loop(b, const(0), whole, count) as j:
            work(j, None)
        if count > 1:
            with b.if_then(b.icmp_signed("<", whole, d)):
                work(whole, rest)

    with emit.loop(b, start, stop) as i:

        def add_product(j: Value, bits: Value | None) -> None:
            sums.multiply_add(b, 0, features(i, j, bits), numbers(coefs, j, bits, computed))

        sums.clear(b)
        for_features(add_product)
        product = exchange.total(b, sums.value(b, 0))
        if prediction is not None:
            predicted = emit.convert(b, emit.add(b, product, args[5]), stored)
            b.store(predicted, b.gep(prediction.data, [i]))
        r = emit.add(b, product, emit.subtract(b, args[5], number(y.data, i)))
        sr = r
        if weight is not None:
            s = number(weight.data, i)
            sr = emit.multiply(b, r, s)
            emit.add_to_memory(b, s, out.data, b.add(d, const(2)))
        factor = emit.splat(b, sr, count)

        def add_gradient(j: Value, bits: Value | None) -> None:
            before = masked.load(b, out.data, j, count, bits, emit.DOUBLE)
            after = emit.multiply_add(b, factor, features(i, j, bits), before)
            masked.store(b, after, out.data, j, bits)

        for_features(add_gradient)
        emit.add_to_memory(b, emit.multiply(b, sr, r), out.data, d)
        emit.add_to_memory(b, sr, out.data, b.add(d, const(1)))


def _in_memory(b: Builder, numbers: Value) -> Value:
    """A pointer to what an array of LLVM's holds."""
    address = cgutils.alloca_once_value(b, numbers)
    return b.bitcast(address, numbers.type.element.as_pointer())
