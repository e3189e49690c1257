"""Moments of up to 16 features in contiguous columns: products of columns, a register of rows each.

A tile of rows is converted, centred and put into the nearest cache, a few columns at a time, and
multiplied meanwhile. Then what is left of the products is taken from the cache, as many at a time
as there are registers for their sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from fastgd.backends.numba._moments.tile_sums import (
    FIRST_SUM,
    TILE_ROWS,
    UNROLLED,
    Meaning,
    TileSums,
    tile_adder,
)
from fastgd.backends.numba._vectors import emit
from fastgd.backends.numba._vectors.emit import Builder, Value, const

# Float32 of 300 MB: 4 to 24 features took 0.6 to 0.85 of the time of columns packed for `gram.py`,
# 32 took 1.05; but each number of them takes a kernel of its own, which for 24 compiles in 3
# seconds.
MOST_FEATURES = 16
LANES = emit.register_lanes(emit.DOUBLE)
ROWS_AT_ONCE = UNROLLED * LANES
# Registers of all, of sums that are added to at once, of columns that are read at once, and columns
# that each of these is multiplied with one after the other, for few to be loaded at once. Sums and
# what is multiplied fill the registers: with twelve sums whatever they are of, 8 and more columns
# took 1.05 to 1.1 times as long. With as few sums in 32 registers as in 16, 1.05 to 1.2 times as
# long; five columns read at once, of 25 sums, were no better.
REGISTERS, MOST_SUMS, READ, ABREAST = (
    (32, 24, 4, 6) if emit.REGISTER_BYTES == 64 else (16, 12, 3, 4)
)


class Pass(NamedTuple):
    """What is done to all rows of a tile: columns are read, or none, and pairs multiplied.

    The target is column d, and ones are column d + 1.
    """

    columns: list[int]
    pairs: list[tuple[int, int]]


def passes(d: int) -> list[Pass]:
    """What is done to the rows of a tile, one after the other."""
    found, rest = [], []
    for start in range(0, d, READ):
        columns = list(range(start, min(start + READ, d)))
        pairs = [(i, j) for i in columns for j in columns if i <= j]
        found.append(Pass(columns, pairs + [(k, other) for k in columns for other in (d, d + 1)]))
        for first in range(0, start, ABREAST):
            lefts = range(first, min(first + ABREAST, start))
            rest += [(left, right) for left in lefts for right in columns]
    pairs = found[-1].pairs
    while rest and len(pairs) < MOST_SUMS and _registers([*pairs, rest[-1]]) <= REGISTERS:
        pairs.append(rest.pop())
    number = -(-len(rest) // MOST_SUMS)
    bounds = [len(rest) * k // number for k in range(number + 1)] if rest else []
    return found + [Pass([], rest[start:stop]) for start, stop in pairwise(bounds)]


def _registers(pairs: list[tuple[int, int]]) -> int:
    """Of sums, and of the columns that they are of."""
    return len(pairs) + len({column for pair in pairs for column in pair})


class _Sums(TileSums):
    """Sums of the products of `passes`."""

    def __init__(self, context: Any, b: Builder, signature: Any, args: Any) -> None:
        d = signature.args[4].count
        self._passes = passes(d)
        pass_sums = [len(each.pairs) for each in self._passes]
        n_kept = d * TILE_ROWS
        super().__init__(context, b, signature, args, LANES, pass_sums, n_kept + d * LANES)
        # In the array that is written to, too: they would else fill registers.
        self._shifts = b.gep(self._kept, [const(n_kept)])
        for j in range(d):
            self._put(emit.splat(b, self._shift(j), LANES), self._shifts, const(LANES * j))

    def meanings(self) -> Iterator[Meaning]:
        pairs = [pair for each in self._passes for pair in each.pairs]
        for index, pair in enumerate(pairs, FIRST_SUM):
            yield from self._whole(index, pair)

    def add(self, first: Value, n_rows: Value) -> None:
        """Add a tile of rows, while in each pass the same rows of some columns are fetched.

        Each line several times, for a turn takes less: that costs nothing.
        """
        b = self._b
        self._add_targets(first, n_rows)
        bounds = [self._d * k // len(self._passes) for k in range(len(self._passes) + 1)]
        for k, sums in self._in_passes():
            with emit.loop(b, const(0), n_rows, LANES) as i:
                for column in range(bounds[k], bounds[k + 1]):
                    later = b.add(b.add(first, i), const(TILE_ROWS))
                    emit.prefetch_at(b, self._X.data, self._place(column, later))
                self._add_rows(sums, self._passes[k], first, i)

    def _place(self, column: int, row: Value) -> Value:
        return self._b.add(self._b.mul(self._strides[1], const(column)), row)

    def _add_rows(self, sums: emit.Accumulators, each: Pass, first: Value, i: Value) -> None:
        """Add a register of rows of a tile, from row `i` on, and keep what is read of them."""
        b, d, weighted = self._b, self._d, self._weight is not None
        columns = {d: self._get(self._targets, i)} if each.columns else {}
        if each.columns and weighted:
            columns[d + 1] = self._get(self._roots, i)
        for k in sorted({k for pair in each.pairs for k in pair if k < d}):
            kept = b.add(const(TILE_ROWS * k), i)
            if k not in each.columns:
                columns[k] = self._get(self._kept, kept)
                continue
            z = self._converted(self._X, 0, self._place(k, b.add(first, i)), LANES)
            z = b.fsub(z, self._get(self._shifts, const(LANES * k)))
            columns[k] = b.fmul(columns[d + 1], z) if weighted else z
            self._put(columns[k], self._kept, kept)
        for index, (left, right) in enumerate(each.pairs):
            plain = right == d + 1 and not weighted
            term = columns[left] if plain else emit.multiply(b, columns[left], columns[right])
            sums.add(b, index, term)


add_tiles = tile_adder(_Sums, ROWS_AT_ONCE)
