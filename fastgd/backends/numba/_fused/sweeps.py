"""The fused kernel for many features in contiguous columns, where there are 32 long registers.

The products of a tile of rows are summed in registers, in one sweep over all columns. The sweep
over the next tile adds up the gradient of the tile before, too, from cache: so memory is read at
all times. A tile is a few lines of each column, and a sweep reads them column by column.

It is for float32 in double precision: what is not converted comes faster from `there_and_back`.
"""

from __future__ import annotations

from typing import Any

from numba.core import cgutils

from fastgd.backends.numba._fused.residuals import Residuals
from fastgd.backends.numba._vectors import emit, exchange
from fastgd.backends.numba._vectors.emit import Builder, Value, const

LANES = 8  # rows in a vector, a register of float64
VECTORS = 16  # in a tile: as many sums in registers
TILE_ROWS = VECTORS * LANES
# Of so many columns, rows of a tile are fetched ahead, 12 KB; and asked for again when they are as
# near as this, for some of what is asked for is dropped. One thread, against once 16 columns ahead:
# 300 to 1000 columns 1.1 times as fast, 5000 level (two threads: 1.05 times and 0.96).
ROWS_AHEAD = (24 * TILE_ROWS, 12 * TILE_ROWS, 4 * TILE_ROWS)
# Columns that begin so close to a multiple of a page behind each other share a few places of the
# nearest cache, which holds no more than eight or twelve: rows are fetched into the second then.
# One thread, 1000 columns of 102,397 rows, and of 131,072: 1.15 to 1.3 times as fast. With 64 bytes
# between, 0.95 times.
PAGE_BYTES, CLOSE_BYTES = 4096, 32


def scratch_size(d: int) -> int:
    """Numbers of float64, zeros, that `d` features need room for."""
    return d * LANES + TILE_ROWS


class Sweeps:
    """Sums of tiles of rows; those of the gradient stay in the scratch, lane by lane."""

    def __init__(self, context: Any, b: Builder, signature: Any, args: Any) -> None:
        arrays = emit.arrays(context, b, signature, args)
        self._X, self._w, self._out, room = (arrays[i] for i in (0, 4, 6, 9))
        self._b = b
        self._stored = context.get_value_type(signature.args[0].dtype)
        self._d = cgutils.unpack_tuple(b, self._X.shape, 2)[1]
        step = cgutils.unpack_tuple(b, self._X.strides, 2)[1]
        self._stride = b.sdiv(step, const(emit.size(self._stored)))
        offset = b.and_(b.add(step, const(CLOSE_BYTES)), const(PAGE_BYTES - 1))
        self._close = b.icmp_signed("<=", offset, const(2 * CLOSE_BYTES))
        self._gradients = room.data
        self._weighed = b.gep(room.data, [b.mul(self._d, const(LANES))])
        self._residuals = Residuals(context, b, signature, args, emit.DOUBLE, LANES)
        # The columns that are fetched next, and their rows.
        self._cursors = [
            tuple(cgutils.alloca_once(b, emit.I64) for _ in range(2)) for _ in ROWS_AHEAD
        ]

    def add_tiles(self, start: Value, n_tiles: Value, vectors: int) -> None:
        """Add `n_tiles` tiles of `vectors` vectors of rows from row `start` on."""
        b, rows = self._b, vectors * LANES
        with b.if_then(b.icmp_signed(">", n_tiles, const(0))):
            for (column, row), distance in zip(self._cursors, ROWS_AHEAD, strict=True):
                ahead = const(distance // rows)
                b.store(b.srem(ahead, self._d), column)
                tiles_ahead = b.sdiv(ahead, self._d)
                b.store(b.add(start, b.mul(tiles_ahead, const(rows))), row)
            self._sweep(vectors, start, None)
            last = b.add(start, b.mul(b.sub(n_tiles, const(1)), const(rows)))
            with emit.loop(b, start, last, rows) as before:
                self._sweep(vectors, b.add(before, const(rows)), before)
            self._sweep(vectors, None, last)

    def finish(self) -> None:
        """Add all sums to those handed in."""
        b = self._b
        with emit.loop(b, const(0), self._d) as j:
            lanes = self._vector(self._gradients, b.mul(j, const(LANES)))
            emit.add_to_memory(b, exchange.total(b, lanes), self._out.data, j)
        self._residuals.add_to(self._out.data, self._d)

    def _sweep(self, vectors: int, row: Value | None, before: Value | None) -> None:
        """Residuals of the tile at `row`, and the gradient of the one `before`."""
        b = self._b
        sums = emit.Accumulators(b, emit.DOUBLE, LANES, vectors)
        with emit.loop(b, const(0), self._d) as j:
            if row is not None:
                for cursor in self._cursors:
                    self._fetch(vectors, *cursor)
                self._add_products(sums, vectors, j, row)
            if before is not None:
                self._add_gradient(vectors, j, before)
        if row is not None:
            self._weigh(sums.get(b), row)

    def _fetch(self, vectors: int, column: Value, first: Value) -> None:
        """Fetch the rows of a tile in one column, and move on to the next.

        The last of each line, which may be another's.
        """
        b, rows, line = self._b, vectors * LANES, emit.LINE_BYTES // emit.size(self._stored)
        j, row = b.load(column), b.load(first)
        place = b.add(b.mul(j, self._stride), row)
        with b.if_else(self._close) as branches:
            for branch, nearest in zip(branches, (False, True), strict=True):
                with branch:
                    for k in range(line - 1, rows, line):
                        emit.prefetch_at(b, self._X.data, b.add(place, const(k)), nearest)
        following = b.add(j, const(1))
        at_end = b.icmp_signed("==", following, self._d)
        b.store(b.select(at_end, const(0), following), column)
        b.store(b.select(at_end, b.add(row, const(rows)), row), first)

    def _add_products(self, sums: Any, vectors: int, j: Value, row: Value) -> None:
        b = self._b
        factor = emit.splat(b, b.load(b.gep(self._w.data, [j])), LANES)
        for i in range(vectors):
            sums.multiply_add(b, i, factor, self._features(j, row, i))

    def _add_gradient(self, vectors: int, j: Value, row: Value) -> None:
        b = self._b
        weighed = [self._vector(self._weighed, const(i * LANES)) for i in range(vectors)]
        features = [self._features(j, row, i) for i in range(vectors)]
        parts = [b.fmul(weighed[i], features[i]) for i in (0, 1)]
        for i in range(2, vectors):
            parts[i % 2] = emit.multiply_add(b, weighed[i], features[i], parts[i % 2])
        place = b.mul(j, const(LANES))
        before = self._vector(self._gradients, place)
        emit.store(b, b.fadd(before, b.fadd(*parts)), self._gradients, place)

    def _weigh(self, products: list[Value], row: Value) -> None:
        rows = len(products) * LANES
        self._residuals.prefetch(row, rows, rows * emit.size(emit.DOUBLE))
        for i, product in enumerate(products):
            sr = self._residuals.of_products(product, self._b.add(row, const(i * LANES)))
            emit.store(self._b, sr, self._weighed, const(i * LANES))
        self._residuals.end_run()

    def _features(self, j: Value, row: Value, i: int) -> Value:
        b = self._b
        place = b.add(b.add(b.mul(j, self._stride), row), const(i * LANES))
        x = emit.load(b, self._X.data, place, LANES, self._stored)
        return emit.convert(b, x, emit.DOUBLE)

    def _vector(self, pointer: Value, place: Value) -> Value:
        return emit.load(self._b, pointer, place, LANES, emit.DOUBLE)
