"""The fused kernel for few features: tiles of rows, one vector a feature.

A tile is as many rows as a vector has elements. Each feature of a tile is a vector: read as it
lies where columns are contiguous, transposed in registers where rows are. Coefficients, sums and
predictions then stay in registers from the first row to the last.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastgd.backends.numba import _emit as emit
from fastgd.backends.numba._emit import Builder, Value, const

# Runs of sums: at most 16 terms in a lane of float32, then float64; and so many of float64, for a
# single run over a hundred million equal terms would be off by 1e-11.
TILES_A_RUN = {emit.SINGLE: 16, emit.DOUBLE: 1024}


def _emit_tiles(context: Any, b: Builder, signature: Any, args: Any, by_columns: bool) -> Value:
    arrays = emit.arrays(context, b, signature, args)
    X, y, weight, prediction, out = (arrays[i] for i in (0, 1, 2, 3, 6))
    coef_type = signature.args[4]
    start, n_tiles = args[7], args[8]

    stored = context.get_value_type(signature.args[0].dtype)
    y_stored = context.get_value_type(signature.args[1].dtype)
    scalar = context.get_value_type(coef_type.dtype)
    count = emit.lanes(stored)
    d = coef_type.count
    strides = cgutils.unpack_tuple(b, X.strides, 2)
    stride = b.sdiv(strides[1 if by_columns else 0], const(emit.size(stored)))

    w = [emit.splat(b, c, count) for c in cgutils.unpack_tuple(b, args[4], d)]
    intercept = emit.splat(b, emit.convert(b, args[5], scalar), count)
    y_intercept = emit.splat(b, args[5], count)

    def read_features(row: Value) -> list[Value]:
        if by_columns:
            offsets = [b.add(row, b.mul(stride, const(j))) for j in range(d)]
            columns = [emit.load(b, X.data, offset, count, stored) for offset in offsets]
        else:
            # A row is read to the next power of two: into the next row, which n_tiles leaves.
            width = 1 << (d - 1).bit_length()
            base = b.mul(row, stride)
            offsets = [b.add(base, b.mul(stride, const(i))) for i in range(count)]
            rows = [emit.load(b, X.data, offset, width, stored) for offset in offsets]
            columns = emit.transposed(b, rows)[:d]
        return [emit.convert(b, column, scalar) for column in columns]

    n_sums = d + (2 if weight is None else 3)
    totals = emit.Accumulators(b, emit.DOUBLE, count, n_sums)
    sums = emit.Accumulators(b, scalar, count, n_sums)

    def tile(index: Value) -> None:
        row = b.add(start, b.mul(index, const(count)))
        x = read_features(row)
        product = emit.multiply(b, w[0], x[0])
        for j in range(1, d):
            product = emit.add(b, product, emit.multiply(b, w[j], x[j]))
        if prediction is not None:
            predicted = emit.convert(b, emit.add(b, product, intercept), stored)
            emit.store(b, predicted, prediction.data, row)
        # In float64, for both may be large, and y finer than the products.
        target = emit.convert(b, emit.load(b, y.data, row, count, y_stored), emit.DOUBLE)
        shifted = emit.subtract(b, y_intercept, target)
        r = emit.add(b, product, emit.convert(b, shifted, scalar))
        sr = r
        if weight is not None:
            s = emit.convert(b, emit.load(b, weight.data, row, count, stored), scalar)
            sr = emit.multiply(b, s, r)
            sums.add(b, d + 2, s)
        for j in range(d):
            sums.add(b, j, emit.multiply(b, sr, x[j]))
        sums.add(b, d, emit.multiply(b, sr, r))
        sums.add(b, d + 1, sr)

    run = TILES_A_RUN[scalar]
    with emit.loop(b, const(0), n_tiles, run) as first:
        with emit.loop(b, first, emit.smaller(b, b.add(first, const(run)), n_tiles)) as index:
            tile(index)
        sums.move_to(b, totals)
    for k, value in enumerate(totals.get(b)):
        emit.add_to_memory(b, emit.total(b, value), out.data, const(k))
    return context.get_dummy_value()


def _signature(*args: Any) -> Any:
    X, y, weight, prediction, coef, _, out, _, _ = args
    return types.void(X, y, weight, prediction, coef, types.float64, out, types.int64, types.int64)


@intrinsic
def add_row_tiles(typingctx, X, y, weight, prediction, coef, intercept, out, start, n_tiles):
    """Add the sums of `n_tiles` tiles from row `start` on to `out`; rows of X are contiguous.

    `coef` is a tuple; its type says in which precision to compute. `out` is (products, squares,
    residuals, and weights where there are any). A row must follow the last tile in memory.
    """
    signature = _signature(X, y, weight, prediction, coef, intercept, out, start, n_tiles)
    return signature, lambda context, b, s, args: _emit_tiles(context, b, s, args, False)


@intrinsic
def add_column_tiles(typingctx, X, y, weight, prediction, coef, intercept, out, start, n_tiles):
    """Like `add_row_tiles`, for contiguous columns; no row need follow."""
    signature = _signature(X, y, weight, prediction, coef, intercept, out, start, n_tiles)
    return signature, lambda context, b, s, args: _emit_tiles(context, b, s, args, True)
