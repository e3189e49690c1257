"""The fused kernel for many features in contiguous columns, where there are 32 long registers.

The products of a tile of rows are summed in registers, in one sweep over all columns. The sweep
over the next tile adds up the gradient of the tile before, too, from cache: so memory is read at
all times. A tile is a few lines of each column, and a sweep reads them column by column.
"""

from __future__ import annotations

from typing import Any

from numba.core import cgutils

from fastgd.backends.numba import _emit as emit
from fastgd.backends.numba import _exchange as exchange
from fastgd.backends.numba._emit import Builder, Value, const
from fastgd.backends.numba._residuals import Residuals

# Rows in a vector: a register of float64, and half of one of float32. Columns start anywhere in a
# line, so that whole registers of float32 are mostly in two lines each: read by them, 1000 columns
# took 1.25 times as long in single precision.
LANES = 8
# Vectors in a tile: as many sums in registers. By 24, 200 columns of float32 in single precision
# came 1.05 times as fast in two threads, and 2000 and 5000 up to 0.9 times.
VECTORS = 16
TILE_ROWS = VECTORS * LANES
# Of 16 columns, rows of a tile are fetched ahead: 8 KB of float32, 16 KB of float64. 12 columns
# ahead, 1000 columns of float32 took 1.2 times as long in one thread, and 32 ahead 1.15 times.
ROWS_AHEAD = 16 * TILE_ROWS
# Columns that begin so close to a multiple of a page behind each other share a few places of the
# nearest cache, which holds no more than eight or twelve: rows are fetched into the second then.
# One thread, 1000 columns of 102,397 rows, and of 131,072: 1.15 to 1.3 times as fast. With 64 bytes
# between, 0.95 times.
PAGE_BYTES, CLOSE_BYTES = 4096, 32
# Columns whose products are added up by themselves: in float32 the error of a sum grows with its
# terms.
COLUMNS_A_SUM = 16


def scratch_size(d: int) -> int:
    """Numbers of float64, zeros, that `d` features need room for."""
    return d * LANES + 2 * TILE_ROWS


class Sweeps:
    """Sums of tiles of rows; those of the gradient stay in the scratch, lane by lane."""

    def __init__(self, context: Any, b: Builder, signature: Any, args: Any) -> None:
        arrays = emit.arrays(context, b, signature, args)
        self._X, self._w, self._out, room = (arrays[i] for i in (0, 4, 6, 9))
        self._b = b
        self._stored = context.get_value_type(signature.args[0].dtype)
        self._scalar = context.get_value_type(signature.args[4].dtype)
        self._d = cgutils.unpack_tuple(b, self._X.shape, 2)[1]
        step = cgutils.unpack_tuple(b, self._X.strides, 2)[1]
        self._stride = b.sdiv(step, const(emit.size(self._stored)))
        offset = b.and_(b.add(step, const(CLOSE_BYTES)), const(PAGE_BYTES - 1))
        self._close = b.icmp_signed("<=", offset, const(2 * CLOSE_BYTES))
        self._gradients = room.data
        rest = b.gep(room.data, [b.mul(self._d, const(LANES))])
        self._weighed = b.bitcast(rest, self._scalar.as_pointer())
        self._products = b.gep(self._weighed, [const(TILE_ROWS)])
        self._residuals = Residuals(context, b, signature, args, self._scalar, LANES)
        # The column that is fetched next, and its row.
        self._column, self._row = (cgutils.alloca_once(b, emit.I64) for _ in range(2))

    def add_tiles(self, start: Value, n_tiles: Value, vectors: int) -> None:
        """Add `n_tiles` tiles of `vectors` vectors of rows from row `start` on."""
        b, rows = self._b, vectors * LANES
        ahead = const(ROWS_AHEAD // rows)
        with b.if_then(b.icmp_signed(">", n_tiles, const(0))):
            b.store(b.srem(ahead, self._d), self._column)
            tiles_ahead = b.sdiv(ahead, self._d)
            b.store(b.add(start, b.mul(tiles_ahead, const(rows))), self._row)
            self._sweep(vectors, start, None)
            last = b.add(start, b.mul(b.sub(n_tiles, const(1)), const(rows)))
            with emit.loop(b, start, last, rows) as before:
                self._sweep(vectors, b.add(before, const(rows)), before)
            self._sweep(vectors, None, last)

    def finish(self) -> None:
        """Add all sums to those handed in."""
        b = self._b
        with emit.loop(b, const(0), self._d) as j:
            lanes = emit.load(b, self._gradients, b.mul(j, const(LANES)), LANES, emit.DOUBLE)
            emit.add_to_memory(b, exchange.total(b, lanes), self._out.data, j)
        self._residuals.add_to(self._out.data, self._d)

    def _sweep(self, vectors: int, row: Value | None, before: Value | None) -> None:
        """Residuals of the tile at `row`, and the gradient of the one `before`."""
        b = self._b
        sums = emit.Accumulators(b, self._scalar, LANES, vectors)
        if row is not None:
            for i in range(vectors):
                self._put(self._products, i, emit.zero(self._scalar, LANES))
        step = self._d if self._scalar == emit.DOUBLE else const(COLUMNS_A_SUM)
        with emit.loop_by(b, const(0), self._d, step) as first:
            stop = emit.smaller(b, b.add(first, step), self._d)
            with emit.loop(b, first, stop) as j:
                if row is not None:
                    self._fetch(vectors)
                    self._add_products(sums, vectors, j, row)
                if before is not None:
                    self._add_gradient(vectors, j, before)
            if row is not None:
                for i, part in enumerate(sums.get(b)):
                    self._put(self._products, i, b.fadd(self._get(self._products, i), part))
                sums.clear(b)
        if row is not None:
            self._weigh(vectors, row)

    def _fetch(self, vectors: int) -> None:
        """Fetch the rows of a tile in one column; the last of each line, which may be another's."""
        b, rows, line = self._b, vectors * LANES, emit.LINE_BYTES // emit.size(self._stored)
        j, row = b.load(self._column), b.load(self._row)
        place = b.add(b.mul(j, self._stride), row)
        with b.if_else(self._close) as branches:
            for branch, nearest in zip(branches, (False, True), strict=True):
                with branch:
                    for k in range(line - 1, rows, line):
                        emit.prefetch_at(b, self._X.data, b.add(place, const(k)), nearest)
        following = b.add(j, const(1))
        at_end = b.icmp_signed("==", following, self._d)
        b.store(b.select(at_end, const(0), following), self._column)
        b.store(b.select(at_end, b.add(row, const(rows)), row), self._row)

    def _add_products(self, sums: Any, vectors: int, j: Value, row: Value) -> None:
        b = self._b
        factor = emit.splat(b, b.load(b.gep(self._w.data, [j])), LANES)
        for i in range(vectors):
            sums.multiply_add(b, i, factor, self._features(j, row, i))

    def _add_gradient(self, vectors: int, j: Value, row: Value) -> None:
        b = self._b
        parts = [b.fmul(self._get(self._weighed, i), self._features(j, row, i)) for i in (0, 1)]
        for i in range(2, vectors):
            sr, x = self._get(self._weighed, i), self._features(j, row, i)
            parts[i % 2] = emit.multiply_add(b, sr, x, parts[i % 2])
        term = emit.convert(b, b.fadd(*parts), emit.DOUBLE)
        place = b.mul(j, const(LANES))
        before = emit.load(b, self._gradients, place, LANES, emit.DOUBLE)
        emit.store(b, b.fadd(before, term), self._gradients, place)

    def _weigh(self, vectors: int, row: Value) -> None:
        rows = vectors * LANES
        self._residuals.prefetch(row, rows, rows * emit.size(emit.DOUBLE))
        for i in range(vectors):
            at = self._b.add(row, const(i * LANES))
            sr = self._residuals.of_products(self._get(self._products, i), at)
            self._put(self._weighed, i, sr)
        self._residuals.end_run()

    def _features(self, j: Value, row: Value, i: int) -> Value:
        b = self._b
        place = b.add(b.add(b.mul(j, self._stride), row), const(i * LANES))
        return emit.convert(b, emit.load(b, self._X.data, place, LANES, self._stored), self._scalar)

    def _get(self, tile: Value, i: int) -> Value:
        """Vector `i` of what is kept for a tile."""
        return emit.load(self._b, tile, const(i * LANES), LANES, self._scalar)

    def _put(self, tile: Value, i: int, value: Value) -> None:
        emit.store(self._b, value, tile, const(i * LANES))
