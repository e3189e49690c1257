"""Moments of up to 24 features in contiguous rows: products of couples of columns, in blocks.

Where registers are of 32 bytes. A vector of features at a time, a tile of rows is converted,
centred and put into the nearest cache, two columns of a block of rows to a register. The products
of its columns are taken meanwhile. Those with other columns are taken from the cache: a few
registers times one column after another, which a load puts into both halves. So there are fewer
loads than products, each of which would else take one, and two loads take as long as two products.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numba.core import cgutils

from fastgd.backends.numba._moments.pairs import (
    LANES,
    ROWS,
    TARGET,
    Columns,
    Pass,
    meanings,
    passes,
)
from fastgd.backends.numba._moments.tile_sums import (
    FIRST_SUM,
    TILE_ROWS,
    UNROLLED,
    Meaning,
    TileSums,
    tile_adder,
)
from fastgd.backends.numba._vectors import emit, exchange
from fastgd.backends.numba._vectors.emit import Builder, Value, const

# Float32 of 100 MB, one thread: 4 features took 0.87 of the time of columns packed for `gram.py`, 8
# and 12 0.7, 16 0.75, 20 and 24 0.8, 32 0.95; but each number of them takes a kernel of its own.
MOST_FEATURES = 24
ROWS_AT_ONCE = UNROLLED * LANES


class _Sums(TileSums):
    """Sums of the products of `pairs.passes`."""

    def __init__(self, context: Any, b: Builder, signature: Any, args: Any) -> None:
        d = signature.args[4].count
        self._passes = passes(d)
        couples = [couple for each in self._passes for couple in each.couples]
        # Of each column in a block.
        self._places = {c: ROWS * k for k, c in enumerate(c for couple in couples for c in couple)}
        self._block_size = const(LANES * len(couples))
        pass_sums = [each.n_sums for each in self._passes]
        n_kept = TILE_ROWS // ROWS * LANES * len(couples)
        super().__init__(context, b, signature, args, LANES, pass_sums, n_kept)
        self._shifts = self._room(-(-d // LANES) * LANES)
        for j in range(d):
            b.store(self._shift(j), b.gep(self._shifts, [const(j)]))
        self._cursor = cgutils.alloca_once_value(b, const(0))

    def meanings(self) -> Iterator[Meaning]:
        return meanings(self._d, FIRST_SUM)

    def _both(self, place: Value, at: Value) -> Value:
        """A column of a block, in both halves of a register."""
        half = self._get(place, at, ROWS)
        return exchange.end_to_end(self._b, [half, half])

    def add(self, first: Value, n_rows: Value) -> None:
        """Add a tile of rows, while the next is fetched, gaps and all unless they are wide.

        A tile is read in a fraction of the time. With no gaps fetched, X[::2] and X[:, :16] took
        1.2 and 1.4 times as long as by a kernel that reads all along; so, 0.95 and 0.8 times.
        """
        b = self._b
        self._add_targets(first, n_rows)
        following = b.mul(b.add(first, const(TILE_ROWS)), self._strides[0])
        b.store(b.ptrtoint(b.gep(self._X.data, [following]), emit.I64), self._cursor)
        number, step = self._fetches()
        for k, sums in self._in_passes():
            each = self._passes[k]
            with emit.loop(b, const(0), n_rows, _unrolled(each) * ROWS) as begin:
                for _ in range(number):
                    emit.prefetch(b, self._cursor, step)
                for block in range(_unrolled(each)):
                    self._add_block(sums, each, first, b.add(begin, const(ROWS * block)))

    def _fetches(self) -> tuple[int, Value]:
        """How often to fetch in a turn, and how far to move on: nowhere where gaps are wide."""
        b, width = self._b, emit.size(self._types[0])
        turns = sum(TILE_ROWS // ROWS // _unrolled(each) for each in self._passes)
        number = -(-TILE_ROWS * self._d * width // (turns * emit.LINE_BYTES))
        fetches = number * turns
        size = b.mul(self._strides[0], const(TILE_ROWS * width))
        step = b.sdiv(b.add(size, const(fetches - 1)), const(fetches))
        narrow = b.icmp_signed("<=", step, const(emit.LINE_BYTES))
        return number, b.select(narrow, step, const(0))

    def _add_block(self, sums: emit.Accumulators, each: Pass, first: Value, i: Value) -> None:
        """Add the block that begins with row `i` of a tile, and keep what is read of it."""
        b = self._b
        block = b.mul(b.sdiv(i, const(ROWS)), self._block_size)
        rows = self._read(each, b.add(first, i), i) if each.couples else None
        factors: dict[tuple[Columns, bool], Value] = {}

        def factor(columns: Columns, by_rows: bool) -> Value:
            if (columns, by_rows) not in factors:
                if columns[0] == TARGET:
                    z = self._both(self._targets, i)
                elif any(columns[0] in couple for couple in each.couples):
                    z = self._pick(rows, each, columns, by_rows)
                else:
                    get = self._both if columns[0] == columns[1] else self._get
                    z = get(self._kept, b.add(block, const(self._places[columns[0]])))
                factors[columns, by_rows] = z
            return factors[columns, by_rows]

        for index, couple in enumerate(each.couples):
            z = z_sum = factor(couple, False)
            if self._weight is not None:
                z_sum = emit.multiply(b, self._both(self._roots, i), z)
            sums.add(b, index, z_sum)
            if len(self._passes) > 1:
                self._put(z, self._kept, b.add(block, const(self._places[couple[0]])))
        for index, (left, right, by_rows) in enumerate(each.products, len(each.couples)):
            sums.add(b, index, emit.multiply(b, factor(left, by_rows), factor(right, by_rows)))

    def _read(self, each: Pass, row: Value, i: Value) -> Value:
        """A vector of each row of a block, centred and times the root of its weight, end to end."""
        b, begin, width = self._b, const(each.couples[0][0]), 2 * len(each.couples)
        rows = []
        for r in range(ROWS):
            at = b.add(b.mul(b.add(row, const(r)), self._strides[0]), begin)
            z = b.fsub(
                self._converted(self._X, 0, at, width), self._get(self._shifts, begin, width)
            )
            if self._weight is not None:
                root = b.load(b.gep(self._roots, [b.add(i, const(r))]))
                z = b.fmul(emit.splat(b, root, width), z)
            rows.append(z)
        return exchange.end_to_end(b, rows)

    def _pick(self, rows: Value, each: Pass, columns: Columns, by_rows: bool) -> Value:
        """Two columns of a vector of the rows of a block."""
        begin, width = each.couples[0][0], 2 * len(each.couples)
        parts = [[width * r + column - begin for r in range(ROWS)] for column in columns]
        by_columns = parts[0] + parts[1]
        order = [part[r] for r in range(ROWS) for part in parts] if by_rows else by_columns
        return emit.pick(self._b, rows, rows, order)


def _unrolled(each: Pass) -> int:
    return UNROLLED if each.couples else 1


# Rows are read to the next even number of elements: where theirs is odd, another must follow the
# last.
add_tiles = tile_adder(_Sums, ROWS_AT_ONCE)
