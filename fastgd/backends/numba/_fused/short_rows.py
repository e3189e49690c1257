"""The fused kernel for rows of one vector to a few, where registers are of 32 bytes.

Four rows are added at a time. Their length is a constant here, so that coefficients and gradient
stay in registers from the first row to the last. The residuals of a block of rows are found
together with the gradient of the block before, which waits for nothing: so much faster that it
makes up for converting each number twice.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from fastgd.backends.numba._fused.residuals import Residuals
from fastgd.backends.numba._fused.rows import ROWS_A_RUN, place_to_fetch
from fastgd.backends.numba._vectors import emit, exchange
from fastgd.backends.numba._vectors.emit import Builder, Value, const

BLOCK_ROWS = 4


def rows_at_once(_: Any, __: Any) -> int:
    """Rows that a turn of the loop takes."""
    return BLOCK_ROWS


def add_rows(
    context: Any, b: Builder, signature: Any, args: Any, start: Value, n_blocks: Value
) -> None:
    """Add the sums of `n_blocks` blocks of `BLOCK_ROWS` rows from row `start` on.

    The rows of a block are `n_blocks` apart: see `emit.rows_apart`.
    """
    arrays = emit.arrays(context, b, signature, args)
    X, out = arrays[0], arrays[6]
    coef_type = signature.args[4]

    stored = context.get_value_type(signature.args[0].dtype)
    scalar = context.get_value_type(coef_type.dtype)
    d = coef_type.count
    count = min(emit.register_lanes(scalar), 1 << (d.bit_length() - 1))
    stride = b.sdiv(cgutils.unpack_tuple(b, X.strides, 2)[0], const(emit.size(stored)))
    # The last vector overlaps the one before; the coefficients of what it repeats are 0, and what
    # it adds to their gradient is left aside.
    firsts = [*range(0, d - count, count), d - count]
    repeated = count * len(firsts) - d

    coefs = cgutils.unpack_tuple(b, args[4], d)
    w = [emit.from_scalars(b, coefs[first : first + count]) for first in firsts[:-1]]
    last = [ir.Constant(scalar, 0.0)] * repeated + coefs[d - count + repeated :]
    w.append(emit.from_scalars(b, last))

    residuals = Residuals(context, b, signature, args, scalar, BLOCK_ROWS)
    totals = emit.Accumulators(b, emit.DOUBLE, count, len(firsts))
    size = emit.size(stored)
    later = place_to_fetch(b, X, stride, const(d), size)
    # Sums of their own for rows beside each other, so that no addition waits for the one before;
    # with three vectors a row or more there is enough to do meanwhile.
    apart = max(1, BLOCK_ROWS // len(firsts))
    sums = [emit.Accumulators(b, scalar, count, len(firsts)) for _ in range(apart)]
    found = emit.Accumulators(b, scalar, BLOCK_ROWS, 1)

    def block(index: Value) -> tuple[list[Value], list[list[Value]]]:
        """The rows of a block, and their features."""
        places = emit.rows_apart(b, b.add(start, index), n_blocks, BLOCK_ROWS)
        rows = []
        for place in places:
            offset = b.mul(place, stride)
            loads = [emit.load(b, X.data, b.add(offset, const(j)), count, stored) for j in firsts]
            rows.append([emit.convert(b, load, scalar) for load in loads])
        return places, rows

    def fetch(places: list[Value]) -> None:
        for place in places:
            for j in range(0, d, emit.LINE_BYTES // size):
                emit.prefetch_at(b, later, b.add(b.mul(place, stride), const(j)))

    def find_residuals(index: Value) -> None:
        places, rows = block(index)
        fetch(places)
        product = exchange.row_products(b, rows, w)
        found.put(b, 0, residuals.of_products(product, places))

    def add_gradient(index: Value, sr: Value) -> None:
        _, rows = block(index)
        for i, x in enumerate(rows):
            factor = emit.splat_element(b, sr, i, count)
            for v, xv in enumerate(x):
                sums[i % apart].multiply_add(b, v, factor, xv)

    run = ROWS_A_RUN[scalar] // BLOCK_ROWS
    with emit.loop(b, const(0), n_blocks, run) as first:
        stop = emit.smaller(b, b.add(first, const(run)), n_blocks)
        find_residuals(first)
        with emit.loop(b, b.add(first, const(1)), stop) as index:
            sr = found.value(b, 0)
            find_residuals(index)
            add_gradient(b.sub(index, const(1)), sr)
        add_gradient(b.sub(stop, const(1)), found.value(b, 0))
        for each in sums:
            each.move_to(b, totals)
        residuals.end_run()
    for v, (first, value) in enumerate(zip(firsts, totals.get(b), strict=True)):
        for lane in range(repeated if v == len(firsts) - 1 else 0, count):
            one = b.extract_element(value, ir.Constant(emit.I32, lane))
            emit.add_to_memory(b, one, out.data, const(first + lane))
    residuals.add_to(out.data, const(d))
