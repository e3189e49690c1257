"""The fused kernel for contiguous columns that lie in cache, where there are 32 long registers.

And for long rows of those that do not, if they are not converted: see `_choice`.

The products of a tile of rows are summed in registers, in one sweep over all columns. A sweep back
over them adds up the gradient, from the nearest cache as far as that holds a tile. Meanwhile the
next tile may be fetched from memory.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from fastgd.backends.numba._fused.residuals import Residuals
from fastgd.backends.numba._vectors import emit, exchange, masked
from fastgd.backends.numba._vectors.emit import Builder, Value, const

# In cache, 64 rows were 0.8 to 0.95 times as fast in single precision, and level in double.
# Fetched, 64 rows were 0.6 to 0.9 times as fast, and 192 level.
TILE_ROWS = 128
# Rows that remain are a tile of half as many, or of a quarter, or so on, whose last rows need not
# be there: so each column is visited once for them.
LEAST_TILE_ROWS = 16
# In cache, columns whose sums are added to the gradient at once: a register of float64. A column at
# a time, its lanes in scratch between tiles, was 0.9 to 1.0 times as fast in 1 MB (24 to 1000
# columns, 5000: 0.65 to 0.8), and in 64 KB 0.5 to 0.97. Unrolled in the code, eight columns were
# 0.75 to 0.9 times as fast in double precision. Of those fetched from memory, 600 of float64 and
# 5000 of float32 are 1.06 and 1.15 times as fast by their lanes.
ABREAST = 8
LANES = emit.register_lanes(emit.DOUBLE)
# Columns whose products are added up by themselves: in float32 the error of a sum grows with its
# terms.
COLUMNS_A_SUM = 16


def scratch_size(d: int) -> int:
    """Numbers of float64, zeros, that `d` columns need room for which are fetched."""
    return d * LANES


class Sweeps:
    """Sums of tiles of rows; if they are fetched, those of the gradient stay in the scratch."""

    def __init__(self, context: Any, b: Builder, signature: Any, args: Any, fetched: bool) -> None:
        arrays = emit.arrays(context, b, signature, args)
        self._X, self._w, self._out, self._scratch = (arrays[i] for i in (0, 4, 6, 9))
        self._b, self._fetched = b, fetched
        self._stored = context.get_value_type(signature.args[0].dtype)
        self._scalar = context.get_value_type(signature.args[4].dtype)
        self._count = emit.register_lanes(self._scalar)
        self._d = cgutils.unpack_tuple(b, self._X.shape, 2)[1]
        step = cgutils.unpack_tuple(b, self._X.strides, 2)[1]
        self._stride = b.sdiv(step, const(emit.size(self._stored)))
        self._whole = b.and_(self._d, const(-ABREAST))
        self._residuals = Residuals(context, b, signature, args, self._scalar, self._count)

    def add(self, start: Value, stop: Value) -> None:
        """Add rows `start` to `stop`."""
        b = self._b
        n_tiles = b.sdiv(b.sub(stop, start), const(TILE_ROWS))
        done = b.add(start, b.mul(n_tiles, const(TILE_ROWS)))
        with emit.loop(b, start, done, TILE_ROWS) as row:
            self._add_tile(row, [None] * (TILE_ROWS // self._count))
        there = b.sub(stop, done)
        rows = TILE_ROWS
        while rows >= LEAST_TILE_ROWS:
            most = rows // 2 if rows > LEAST_TILE_ROWS else 0
            fits = b.icmp_signed("<=", there, const(rows))
            with b.if_then(b.and_(fits, b.icmp_signed(">", there, const(most)))):
                self._add_tile(done, self._masks(rows, most, there))
            rows //= 2

    def finish(self) -> None:
        """Add all sums that are left to those handed in."""
        b, out = self._b, self._out.data
        if self._fetched:
            with emit.loop(b, const(0), self._whole, ABREAST) as j:
                sums = exchange.row_sums(b, [self._lanes(j, k) for k in range(ABREAST)])
                before = emit.load(b, out, j, ABREAST, emit.DOUBLE)
                emit.store(b, b.fadd(before, sums), out, j)
            with emit.loop(b, self._whole, self._d) as j:
                emit.add_to_memory(b, exchange.total(b, self._lanes(j, 0)), out, j)
        self._residuals.add_to(out, self._d)

    def _lanes(self, j: Value, more: int) -> Value:
        place = self._b.mul(self._b.add(j, const(more)), const(LANES))
        return emit.load(self._b, self._scratch.data, place, LANES, emit.DOUBLE)

    def _masks(self, rows: int, surely: int, there: Value) -> list[Value | None]:
        """For each vector of a tile, which of its rows are there; None where all are."""
        starts = range(0, rows, self._count)
        masks = [masked.mask_of(self._b, self._b.sub(there, const(i)), self._count) for i in starts]
        return [
            None if i + self._count <= surely else m for i, m in zip(starts, masks, strict=True)
        ]

    def _add_tile(self, row: Value, masks: list[Value | None]) -> None:
        b, rows = self._b, len(masks) * self._count
        products = self._products(row, masks)
        self._residuals.prefetch(row, rows, rows * emit.size(emit.DOUBLE))
        weighed = [
            self._residuals.of_products(product, b.add(row, const(i * self._count)), mask)
            for i, (product, mask) in enumerate(zip(products, masks, strict=True))
        ]
        self._residuals.end_run()

        if self._fetched:
            self._add_by_lanes(row, weighed, masks)
        else:
            self._add_abreast(row, weighed, masks)

    def _add_by_lanes(self, row: Value, weighed: list[Value], masks: list[Value | None]) -> None:
        """Add to the gradient in the scratch, and fetch the next tile."""
        b, rows = self._b, len(masks) * self._count
        with emit.loop(b, const(0), self._d) as k:
            self._fetch(k, b.add(row, const(rows)), rows)
            j = b.sub(b.sub(self._d, const(1)), k)
            term = self._gradient(j, row, weighed, masks)
            while term.type.count > LANES:
                term = b.fadd(*exchange.halves(b, term))
            after = b.fadd(self._lanes(j, 0), emit.convert(b, term, emit.DOUBLE))
            emit.store(b, after, self._scratch.data, b.mul(j, const(LANES)))

    def _add_abreast(self, row: Value, weighed: list[Value], masks: list[Value | None]) -> None:
        """Add to the gradient handed in, of a register of columns at a time."""
        b, out, count = self._b, self._out.data, self._count
        kind = ir.VectorType(self._scalar, count)
        room = cgutils.alloca_once(b, kind, size=ABREAST)
        room = b.bitcast(room, self._scalar.as_pointer())
        with emit.loop(b, self._whole, self._d) as j:
            total = exchange.total(b, self._gradient(j, row, weighed, masks))
            emit.add_to_memory(b, emit.convert(b, total, emit.DOUBLE), out, j)
        with emit.loop(b, const(0), self._whole, ABREAST) as k:
            first = b.sub(self._whole, b.add(k, const(ABREAST)))
            with emit.loop(b, const(0), const(ABREAST)) as i:
                back = b.sub(const(ABREAST - 1), i)
                term = self._gradient(b.add(first, back), row, weighed, masks)
                emit.store(b, term, room, b.mul(back, const(count)))
            places = range(0, ABREAST * count, count)
            terms = [emit.load(b, room, const(p), count, self._scalar) for p in places]
            sums = emit.convert(b, exchange.row_sums(b, terms), emit.DOUBLE)
            before = emit.load(b, out, first, ABREAST, emit.DOUBLE)
            emit.store(b, b.fadd(before, sums), out, first)

    def _fetch(self, j: Value, row: Value, rows: int) -> None:
        """Fetch rows of a column; the last of each line, which may be another's."""
        b, line = self._b, emit.LINE_BYTES // emit.size(self._stored)
        place = b.add(b.mul(j, self._stride), row)
        for k in range(line - 1, rows, line):
            emit.prefetch_at(b, self._X.data, b.add(place, const(k)))

    def _products(self, row: Value, masks: list[Value | None]) -> list[Value]:
        b = self._b
        sums = emit.Accumulators(b, self._scalar, self._count, len(masks))
        totals = emit.Accumulators(b, self._scalar, self._count, len(masks))
        step = self._d if self._scalar == emit.DOUBLE else const(COLUMNS_A_SUM)
        with emit.loop_by(b, const(0), self._d, step) as first:
            stop = emit.smaller(b, b.add(first, step), self._d)
            with emit.loop(b, first, stop) as j:
                factor = emit.splat(b, b.load(b.gep(self._w.data, [j])), self._count)
                for i, x in enumerate(self._features(j, row, masks)):
                    sums.multiply_add(b, i, factor, x)
            for i, part in enumerate(sums.get(b)):
                totals.plus(b, i, part)
            sums.clear(b)
        return totals.get(b)

    def _gradient(
        self, j: Value, row: Value, weighed: list[Value], masks: list[Value | None]
    ) -> Value:
        """What a tile adds to the gradient of a column, in a vector."""
        b = self._b
        parts: list[Value] = []
        for i, (sr, x) in enumerate(zip(weighed, self._features(j, row, masks), strict=True)):
            if i < 2:
                parts.append(b.fmul(sr, x))
            else:
                parts[i % 2] = emit.multiply_add(b, sr, x, parts[i % 2])
        return parts[0] if len(parts) == 1 else b.fadd(*parts)

    def _features(self, j: Value, row: Value, masks: list[Value | None]) -> list[Value]:
        """A column of a tile, as vectors."""
        b, count = self._b, self._count
        place = b.add(b.mul(j, self._stride), row)
        vectors = [
            masked.load(b, self._X.data, b.add(place, const(i * count)), count, m, self._stored)
            for i, m in enumerate(masks)
        ]
        return [emit.convert(b, vector, self._scalar) for vector in vectors]
