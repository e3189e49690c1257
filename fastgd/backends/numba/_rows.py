"""The fused kernel for many features in contiguous rows: a few rows at a time.

A block of rows is read twice, the second time from the nearest cache: once for its predictions,
once for its share of the gradient. Neither pass keeps anything in memory but the gradient.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastgd.backends.numba import _emit as emit
from fastgd.backends.numba._emit import Builder, Value, const
from fastgd.backends.numba._residuals import Residuals

# Runs of sums: at most 64 rows in float32, then float64; and so many in float64, for a single run
# over a hundred million equal terms would be off by 1e-11.
ROWS_A_RUN = {emit.SINGLE: 64, emit.DOUBLE: 4096}
UNROLL = 4


def _emit_rows(
    context: Any, b: Builder, signature: Any, args: Any, n_rows: int, abreast: bool
) -> Value:
    arrays = emit.arrays(context, b, signature, args)
    X, w, g, out = (arrays[i] for i in (0, 4, 6, 7))
    start, n_blocks = args[8], args[9]

    stored = context.get_value_type(signature.args[0].dtype)
    scalar = context.get_value_type(signature.args[4].dtype)
    count = emit.register_lanes(scalar)
    d = cgutils.unpack_tuple(b, X.shape, 2)[1]
    stride = b.sdiv(cgutils.unpack_tuple(b, X.strides, 2)[0], const(emit.size(stored)))
    n_whole = b.sdiv(d, const(count))
    tail = b.mul(n_whole, const(count))
    has_tail = b.icmp_signed("!=", tail, d)
    # The last vector overlaps the one before; the coefficients of what it repeats are 0, and what
    # it adds to their gradient is left aside.
    last = b.sub(d, const(count))
    padded = b.select(has_tail, b.add(tail, const(count)), tail)

    residuals = Residuals(context, b, signature, args, scalar, n_rows)
    dots = emit.Accumulators(b, scalar, count, n_rows)
    unrolled = emit.Accumulators(b, scalar, count, UNROLL)

    def features(row: Value, j: Value) -> Value:
        return emit.convert(b, emit.load(b, X.data, b.add(row, j), count, stored), scalar)

    def coef(j: Value) -> Value:
        return emit.load(b, w.data, j, count, scalar)

    def dots_abreast(offsets: list[Value]) -> None:
        with emit.loop(b, const(0), tail, count) as j:
            wj = coef(j)
            for i, row in enumerate(offsets):
                dots.multiply_add(b, i, features(row, j), wj)

    def dots_in_turn(offsets: list[Value]) -> None:
        even = b.sub(n_whole, b.srem(n_whole, const(UNROLL)))
        for i, row in enumerate(offsets):
            unrolled.clear(b)
            with emit.loop(b, const(0), b.mul(even, const(count)), UNROLL * count) as first:
                for u in range(UNROLL):
                    j = b.add(first, const(u * count))
                    unrolled.multiply_add(b, u, features(row, j), coef(j))
            with emit.loop(b, b.mul(even, const(count)), tail, count) as j:
                unrolled.multiply_add(b, 0, features(row, j), coef(j))
            dots.plus(b, i, emit.tree_sum(b, unrolled.get(b)))

    def predict(offsets: list[Value]) -> Value:
        dots.clear(b)
        (dots_abreast if abreast else dots_in_turn)(offsets)
        with b.if_then(has_tail):
            wj = coef(tail)
            for i, row in enumerate(offsets):
                dots.multiply_add(b, i, features(row, last), wj)
        return emit.row_sums(b, dots.get(b))

    def block(index: Value) -> None:
        row = b.add(start, b.mul(index, const(n_rows)))
        offsets = [b.mul(b.add(row, const(i)), stride) for i in range(n_rows)]
        product = predict(offsets)
        sr = residuals.of_products(product, row)
        factors = [emit.splat_element(b, sr, i, count) for i in range(n_rows)]

        def add_gradient(lane: Value, j: Value) -> None:
            pairs = []
            for i in range(0, n_rows, 2):
                term = b.fmul(factors[i], features(offsets[i], j))
                pairs.append(
                    emit.multiply_add(b, factors[i + 1], features(offsets[i + 1], j), term)
                )
            gradient = emit.load(b, g.data, lane, count, scalar)
            emit.store(b, b.fadd(gradient, emit.tree_sum(b, pairs)), g.data, lane)

        with emit.loop(b, const(0), tail, count) as j:
            add_gradient(j, j)
        with b.if_then(has_tail):
            add_gradient(tail, last)

    def move_gradient() -> None:
        with emit.loop(b, const(0), padded, count) as j:
            part = emit.convert(b, emit.load(b, g.data, j, count, scalar), emit.DOUBLE)
            before = emit.load(b, out.data, j, count, emit.DOUBLE)
            emit.store(b, emit.add(b, before, part), out.data, j)
            emit.store(b, emit.zero(scalar, count), g.data, j)

    run = ROWS_A_RUN[scalar] // n_rows
    with emit.loop(b, const(0), n_blocks, run) as first:
        stop = emit.smaller(b, b.add(first, const(run)), n_blocks)
        with emit.loop(b, first, stop) as index:
            block(index)
        move_gradient()
        residuals.end_run()
    residuals.add_to(out.data, padded)
    return context.get_dummy_value()


def _make(n_rows: int, abreast: bool = False) -> Any:
    @intrinsic
    def add_row_blocks(
        typingctx, X, y, weight, prediction, coef, intercept, g, out, start, n_blocks
    ):
        signature = types.void(
            X, y, weight, prediction, coef, types.float64, g, out, types.int64, types.int64
        )
        return signature, lambda context, b, s, args: _emit_rows(
            context, b, s, args, n_rows, abreast
        )

    return add_row_blocks


add_rows_abreast = _make(8, abreast=True)
add_rows_by_four = _make(4, abreast=False)
