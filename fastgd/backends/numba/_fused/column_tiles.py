"""The fused kernel for some contiguous columns: a line of each at a time, read once.

Columns of a tile are kept as they are converted, until its residuals are known. One pass over the
columns then does two things: it adds up the gradient of the tile that is kept, and puts in its
place the next one, whose products it adds up. So nothing is read or converted twice, and neither
waits for the other. The number of columns is a constant, for the end of a loop over them would be
too soon to be foretold: as such a loop, 5 to 7 columns were 0.8 to 0.9 times as fast as in tiles
whose every sum stays in registers, and 8 level with them.
"""

from __future__ import annotations

from typing import Any

from numba.core import cgutils

from fastgd.backends.numba._fused.residuals import Residuals
from fastgd.backends.numba._vectors import emit, exchange
from fastgd.backends.numba._vectors.emit import Builder, Value, const

# Fewer columns are as fast, or faster in cache, in tiles that stay in registers from the first row
# to the last; their sums and coefficients do not leave room for many.
LEAST_COLUMNS = 5
# Runs of sums: 32 terms in a lane of float32, then float64; and 1024 of float64, for a single run
# over a hundred million equal terms would be off by 1e-11.
VECTORS_A_RUN = {emit.SINGLE: 32, emit.DOUBLE: 1024}
# Columns, y and weights are fetched so far ahead. The hardware follows 16 to 20 streams, but not
# over all of their ways: fetched, 10 to 18 columns in main memory come 1.05 to 1.3 times as fast.
# 256 and 512 bytes are level, 768 too far; and tiles of two lines of a column made 16 and more 0.6
# times as fast (single precision).
BYTES_AHEAD = 384
# Just more columns than the hardware follows, if they are converted, are fetched twice. With
# AVX-512, 16 to 18 of float32 come 1.05 times as fast so in one thread, and level in two; 20 to 28
# are level, as the place of an array in memory has it (0.92 to 1.25), 32 come 0.9 times as fast,
# and 10 to 15 0.82 to 0.95 times.
MANY_COLUMNS, BYTES_AHEAD_OF_MANY = range(16, 19), (768, 256)


def tile_rows(context: Any, X: Any) -> int:
    """Rows of a tile, for the type of X: a line of cache of each column."""
    return emit.LINE_BYTES // emit.size(context.get_value_type(X.dtype))


def add_column_tiles(
    context: Any, b: Builder, signature: Any, args: Any, start: Value, n_tiles: Value
) -> None:
    """Add the sums of `n_tiles` tiles from row `start` on."""
    arrays = emit.arrays(context, b, signature, args)
    X, out = arrays[0], arrays[6]
    coef_type = signature.args[4]

    stored = context.get_value_type(signature.args[0].dtype)
    scalar = context.get_value_type(coef_type.dtype)
    count = emit.register_lanes(scalar)
    d, n_rows = coef_type.count, tile_rows(context, signature.args[0])
    n_vectors = n_rows // count
    stride = b.sdiv(cgutils.unpack_tuple(b, X.strides, 2)[1], const(emit.size(stored)))
    many = emit.REGISTER_BYTES == 64 and stored != scalar and d in MANY_COLUMNS
    bytes_ahead = BYTES_AHEAD_OF_MANY if many else (BYTES_AHEAD,)
    ahead = [const(k // emit.size(stored)) for k in bytes_ahead]

    w = [emit.splat(b, c, count) for c in cgutils.unpack_tuple(b, args[4], d)]
    residuals = Residuals(context, b, signature, args, scalar, count)
    kept = [emit.Accumulators(b, scalar, count, n_vectors) for _ in range(d)]
    products = emit.Accumulators(b, scalar, count, n_vectors)
    weighed = emit.Accumulators(b, scalar, count, n_vectors)
    sums = emit.Accumulators(b, scalar, count, d)
    totals = emit.Accumulators(b, emit.DOUBLE, count, d)

    def read(j: int, v: int, column: Value) -> None:
        """Keep vector `v` of column j of a tile, and add its share to the products."""
        vector = emit.load(b, X.data, b.add(column, const(v * count)), count, stored)
        x = emit.convert(b, vector, scalar)
        kept[j].put(b, v, x)
        products.multiply_add(b, v, w[j], x)

    def read_tile(row: Value, then_first: bool) -> None:
        """Read the tile from `row` on; `then_first`, the gradient of the tile that is kept."""
        for j in range(d):
            column = b.add(row, b.mul(stride, const(j)))
            for k in ahead:
                emit.prefetch_at(b, X.data, b.add(column, k))
            for v in range(n_vectors):
                if then_first:
                    add_gradient(j, v)
                read(j, v, column)

    def add_gradient(j: int, v: int) -> None:
        sums.multiply_add(b, j, weighed.value(b, v), kept[j].value(b, v))

    def weigh(row: Value) -> None:
        """From the products of the tile from `row` on to its residuals."""
        residuals.prefetch(row, n_rows, BYTES_AHEAD)
        for v, product in enumerate(products.get(b)):
            weighed.put(b, v, residuals.of_products(product, b.add(row, const(v * count))))
        products.clear(b)

    def end_run() -> None:
        sums.move_to(b, totals)
        residuals.end_run()

    def first_row(tile: Value) -> Value:
        return b.add(start, b.mul(tile, const(n_rows)))

    with b.if_then(b.icmp_signed(">", n_tiles, const(0))):
        read_tile(start, then_first=False)
        run = VECTORS_A_RUN[scalar] // n_vectors
        with emit.loop(b, const(1), n_tiles, run) as first:
            stop = emit.smaller(b, b.add(first, const(run)), n_tiles)
            with emit.loop(b, first, stop) as tile:
                row = first_row(tile)
                weigh(b.sub(row, const(n_rows)))
                read_tile(row, then_first=True)
            end_run()
        weigh(first_row(b.sub(n_tiles, const(1))))
        for j in range(d):
            for v in range(n_vectors):
                add_gradient(j, v)
        end_run()
    for j, value in enumerate(totals.get(b)):
        emit.add_to_memory(b, exchange.total(b, value), out.data, const(j))
    residuals.add_to(out.data, const(d))
