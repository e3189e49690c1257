"""Second moments of a chunk of rows: centred in scratch, one column after the other, then summed.

A chunk's columns lie in scratch one behind the other: the features less their pivots, the target
less its pivot, and a column of ones, all times the square root of the weights. One triangle of
products of these columns then holds every moment there is: second moments, and first moments and
the sum of weights in the products with the ones.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastgd.backends.numba import _emit as emit
from fastgd.backends.numba._emit import Builder, Value, const

# Columns of a block of products: 4 by 4 sums stay in registers, beside the 8 vectors they are of.
BLOCK = 4
# Features whose rows are transposed at once, where there are so many.
GROUP = 8


def _emit_pack(context: Any, b: Builder, signature: Any, args: Any, layout: str) -> Value:
    arrays = emit.arrays(context, b, signature, args)
    X, weight, pivot, scratch = (arrays[i] for i in (0, 1, 2, 3))
    start, n_rows, first_column = args[4], args[5], args[6]
    stored = context.get_value_type(signature.args[0].dtype)
    scalar = context.get_value_type(signature.args[3].dtype)
    count = emit.lanes(stored)
    d = cgutils.unpack_tuple(b, X.shape, 2)[1]
    strides = cgutils.unpack_tuple(b, X.strides, 2)
    stride = b.sdiv(strides[1 if layout == "columns" else 0], const(emit.size(stored)))
    length = cgutils.unpack_tuple(b, scratch.shape, 2)[1]

    def keep(j: Value, i: Value, x: Value, root: Value | None) -> None:
        place = b.add(j, first_column)
        shift = emit.splat(b, b.load(b.gep(pivot.data, [place])), count)
        z = emit.convert(b, b.fsub(emit.convert(b, x, emit.DOUBLE), shift), scalar)
        if root is not None:
            z = b.fmul(z, root)
        emit.store(b, z, scratch.data, b.add(b.mul(place, length), i))

    def group(first: Value, row: Value, i: Value, number: int, root: Value | None) -> None:
        width = 1 << (number - 1).bit_length()
        base = b.add(b.mul(row, stride), first)
        offsets = [b.add(base, b.mul(stride, const(k))) for k in range(count)]
        rows = [emit.load(b, X.data, offset, width, stored) for offset in offsets]
        for k, column in enumerate(emit.transposed(b, rows)[:number]):
            keep(b.add(first, const(k)), i, column, root)

    with emit.loop(b, const(0), n_rows, count) as i:
        row = b.add(start, i)
        root = None
        if weight is not None:
            weight_stored = context.get_value_type(signature.args[1].dtype)
            s = emit.convert(b, emit.load(b, weight.data, row, count, weight_stored), scalar)
            root = emit.square_root(b, s)
        if layout == "columns":
            with emit.loop(b, const(0), d) as j:
                offset = b.add(row, b.mul(stride, j))
                keep(j, i, emit.load(b, X.data, offset, count, stored), root)
        elif layout == "few":
            group(const(0), row, i, signature.args[7].count, root)
        else:
            last = b.sub(d, const(GROUP))
            with emit.loop(b, const(0), last, GROUP) as first:
                group(first, row, i, GROUP, root)
            group(last, row, i, GROUP, root)  # what overlaps is written twice
    return context.get_dummy_value()


def _make_pack(layout: str) -> Any:
    @intrinsic
    def pack(typingctx, X, weight, pivot, scratch, start, n_rows, first_column, fixed):
        index = types.int64
        signature = types.void(X, weight, pivot, scratch, index, index, index, fixed)
        return signature, lambda context, b, s, args: _emit_pack(context, b, s, args, layout)

    return pack


# Each packs rows `start` to `start + n_rows`, a multiple of 16, into columns from `first_column`
# of scratch on. "few" takes the number of features from the length of the tuple `fixed`, and
# reads each row to the next power of two, so that a row must follow the last.
PACKS = {layout: _make_pack(layout) for layout in ("few", "rows", "columns")}


def _emit_products(context: Any, b: Builder, signature: Any, args: Any) -> Value:
    arrays = emit.arrays(context, b, signature, args)
    scratch, out = arrays[0], arrays[1]
    n_rows = args[2]
    scalar = context.get_value_type(signature.args[0].dtype)
    count = emit.lanes(scalar)
    n_columns, length = cgutils.unpack_tuple(b, scratch.shape, 2)
    sums = emit.Accumulators(b, scalar, count, BLOCK * BLOCK)

    def block(left: Value, right: Value, diagonal: bool) -> None:
        sums.clear(b)
        with emit.loop(b, const(0), n_rows, count) as i:

            def column(first: Value, k: int) -> Value:
                offset = b.add(b.mul(b.add(first, const(k)), length), i)
                return emit.load(b, scratch.data, offset, count, scalar)

            lefts = [column(left, k) for k in range(BLOCK)]
            for m in range(BLOCK):
                right_column = lefts[m] if diagonal else column(right, m)
                for k in range(m + 1 if diagonal else BLOCK):
                    sums.add(b, k * BLOCK + m, emit.multiply(b, lefts[k], right_column))
        # Totals come as vectors, several at a time.
        values = sums.get(b)
        at_once = min(count, BLOCK * BLOCK)
        for first in range(0, BLOCK * BLOCK, at_once):
            totals = emit.row_sums(b, values[first : first + at_once])
            totals = emit.convert(b, totals, emit.DOUBLE)
            for k in range(at_once // BLOCK):
                part = emit.pick(b, totals, totals, range(k * BLOCK, (k + 1) * BLOCK))
                i = b.add(left, const(first // BLOCK + k))
                offset = b.add(b.mul(i, n_columns), right)
                before = emit.load(b, out.data, offset, BLOCK, emit.DOUBLE)
                emit.store(b, b.fadd(before, part), out.data, offset)

    with emit.loop(b, const(0), n_columns, BLOCK) as left:
        block(left, left, diagonal=True)
        with emit.loop(b, b.add(left, const(BLOCK)), n_columns, BLOCK) as right:
            block(left, right, diagonal=False)
    return context.get_dummy_value()


@intrinsic
def add_products(typingctx, scratch, out, n_rows):
    """Add the upper triangle of ``scratch[:, :n_rows] @ scratch[:, :n_rows].T`` to `out`.

    `n_rows` is a multiple of the lanes; there is a multiple of BLOCK columns.
    """
    return types.void(scratch, out, types.int64), _emit_products
