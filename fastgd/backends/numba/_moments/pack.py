"""A chunk of rows, centred, into scratch of float64: one column after the other.

The features less their pivots, the target less its pivot, and a column of ones, all times the
square root of the weights. One triangle of products of these columns then holds every moment
there is: second moments, and first moments and the sum of weights in the products with the ones.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from numba.core import cgutils

from fastgd.backends.numba._moments.gram import PACKED_ROWS
from fastgd.backends.numba._vectors import emit, exchange
from fastgd.backends.numba._vectors.emit import Builder, Value, const

# So few columns, with targets and ones, have their next chunk fetched while one is packed: there is
# not time enough during the products, as there is for more (4 and 6 columns, 300 MB, two threads:
# 0.8 of the speed, in single precision, and 3 columns 0.9, exactly; 16 columns 1.2, 32 1.1 to 1.2
# times the speed of fetching while packing).
FETCHED_COLUMNS = 8


def at_once(itemsize: int) -> int:
    """Features whose rows are transposed at once, where there are so many: at most a register."""
    return min(8, emit.REGISTER_BYTES // itemsize)


def _emit_pack(context: Any, b: Builder, signature: Any, args: Any, layout: str) -> Value:
    arrays = emit.arrays(context, b, signature, args)
    X, weight, pivot, scratch = (arrays[i] for i in (0, 1, 2, 3))
    start, n_rows, first_column = args[4], args[5], args[6]
    stored = context.get_value_type(signature.args[0].dtype)
    scalar = context.get_value_type(signature.args[3].dtype)
    count = emit.register_lanes(stored)
    group_size = at_once(emit.size(stored))
    d = cgutils.unpack_tuple(b, X.shape, 2)[1]
    strides = cgutils.unpack_tuple(b, X.strides, 2)
    stride = b.sdiv(strides[1 if layout == "columns" else 0], const(emit.size(stored)))
    n_columns, length = cgutils.unpack_tuple(b, scratch.shape, 2)
    roots = b.mul(b.sub(n_columns, const(1)), length)

    def keep(j: Value, i: Value, x: Value) -> None:
        place = b.add(j, first_column)
        shift = emit.splat(b, b.load(b.gep(pivot.data, [place])), count)
        z = emit.convert(b, b.fsub(emit.convert(b, x, emit.DOUBLE), shift), scalar)
        if weight is not None:
            z = b.fmul(z, emit.load(b, scratch.data, b.add(roots, i), count, scalar))
        emit.store(b, z, scratch.data, b.add(b.mul(place, length), i))

    def group(first: Value, i: Value, number: int) -> None:
        width = 1 << (number - 1).bit_length()
        base = b.add(b.mul(b.add(start, i), stride), first)
        offsets = [b.add(base, b.mul(stride, const(k))) for k in range(count)]
        rows = [emit.load(b, X.data, offset, width, stored) for offset in offsets]
        for k, column in enumerate(exchange.transposed(b, rows)[:number]):
            keep(b.add(first, const(k)), i, column)

    if layout == "columns":
        few = b.icmp_signed("<=", n_columns, const(FETCHED_COLUMNS))
        ahead = b.select(few, length, const(0))
        with emit.loop(b, const(0), d) as j:
            base = b.add(start, b.mul(stride, j))
            later = b.add(base, ahead)
            with emit.loop(b, const(0), n_rows, PACKED_ROWS) as i:
                for first in range(0, PACKED_ROWS, emit.LINE_BYTES // emit.size(stored)):
                    emit.prefetch_at(b, X.data, b.add(later, b.add(i, const(first))))
                for first in range(0, PACKED_ROWS, count):
                    at = b.add(i, const(first))
                    keep(j, at, emit.load(b, X.data, b.add(base, at), count, stored))
        return context.get_dummy_value()
    with emit.loop(b, const(0), n_rows, count) as i:
        if layout == "few":
            group(const(0), i, signature.args[7].count)
        else:
            last = b.sub(d, const(group_size))
            with emit.loop(b, const(0), last, group_size) as first:
                group(first, i, group_size)
            group(last, i, group_size)  # what overlaps is written twice
    return context.get_dummy_value()


# Each packs rows `start` to `start + n_rows`, a multiple of 16, into columns from `first_column`
# of scratch on, whose last column has the roots of the weights. Arguments: X, weight, pivot,
# scratch, start, n_rows, first_column, fixed. "few" takes the number of features from the length
# of the tuple `fixed`, and reads each row to the next power of two, so that a row must follow the
# last.
PACKS = {layout: partial(_emit_pack, layout=layout) for layout in ("few", "rows", "columns")}
