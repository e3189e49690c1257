"""Moments of 5 to 24 features in contiguous rows, where registers are of 64 bytes.

Vectors of eight features of a row are multiplied with one column of that row after the other, which
the processor puts into all elements as it reads it: rows need not be made into columns. Thirty-two
registers hold so many sums that a row of 16 features is read once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from fastgd.backends.numba import _emit as emit
from fastgd.backends.numba._emit import Builder, Value, const
from fastgd.backends.numba._tile_sums import (
    FIRST_SUM,
    TILE_ROWS,
    UNROLLED,
    Meaning,
    TileSums,
    tile_adder,
)

# Float32 of 300 MB, one thread and two: 8 to 16 features took 0.5 to 0.8 of the time of columns
# packed for `_gram`, 24 took 0.8 and 5 0.85 to 1.1; 32, as long.
MOST_FEATURES = 24
LANES = 8  # 64 bytes of float64
ROWS_AT_ONCE = UNROLLED * LANES
# Sums that are added to at once: they fill 32 registers but for what is multiplied.
MOST_SUMS = 28
# Rows are converted so many rows before they are multiplied: LLVM would else take each column out
# of the register that was stored, and a product would wait for the store.
ROWS_BEFORE = 8
# How far ahead rows are fetched: by 2048 and 8192 bytes they took up to 1.1 times as long, by less
# 1.1 to 1.3 times.
BYTES_AHEAD = 4096


class Product(NamedTuple):
    """A vector of features from `first` on, times a column of the row.

    The target is column d, and ones are column d + 1.
    """

    first: int
    column: int

    def pairs(self, d: int) -> list[tuple[int, int]]:
        """What the sums in its elements are of: no pair twice."""
        stop = min(self.first + LANES, d, self.column + 1)
        return [(feature, self.column) for feature in range(self.first, stop)]


def passes(d: int) -> list[list[Product]]:
    """The products of all rows of a tile, as many at once as there are registers for their sums.

    A part of them has columns that meet the same vectors, so that each is loaded once.
    """
    vectors = range(0, d, LANES)
    columns = {first: range(first, min(first + LANES, d)) for first in vectors}
    parts = [
        [Product(first, column) for column in columns[last] for first in vectors if first < last]
        for last in reversed(vectors[1:])
    ]
    parts += [[Product(first, column) for column in columns[first]] for first in vectors]
    parts += [[Product(first, column) for column in (d, d + 1)] for first in vectors]
    found: list[list[Product]] = []
    for part in parts:
        fitting = (each for each in found if len(each) + len(part) <= MOST_SUMS)
        some = next(fitting, None)
        if some is None:
            found.append(some := [])
        some += part
    return found


class _Sums(TileSums):
    """Sums of the products of `passes`."""

    def __init__(self, context: Any, b: Builder, signature: Any, args: Any) -> None:
        d = signature.args[4].count
        self._passes = passes(d)
        self._vectors = range(0, d, LANES)
        self._width = LANES * len(self._vectors)
        pass_sums = [len(each) for each in self._passes]
        n_kept = TILE_ROWS * self._width
        super().__init__(context, b, signature, args, LANES, pass_sums, n_kept + self._width)
        # In the array that is written to, too: they would else fill registers.
        self._shifts = b.gep(self._kept, [const(n_kept)])
        for j in range(d):
            b.store(self._shift(j), b.gep(self._shifts, [const(j)]))

    def meanings(self) -> Iterator[Meaning]:
        products = [product for each in self._passes for product in each]
        for index, product in enumerate(products, FIRST_SUM):
            yield from enumerate(product.pairs(self._d), LANES * index)

    def _parts(self) -> list[range]:
        return [range(k, k + 1) for k in range(LANES)]

    def add(self, first: Value, n_rows: Value) -> None:
        """Add a tile of rows, of which the first pass reads some more with each that it adds."""
        b = self._b
        self._add_targets(first, n_rows)
        with emit.loop(b, const(0), const(ROWS_BEFORE)) as i:
            self._read(first, i)
        last = b.sub(n_rows, const(1))
        for k, sums in self._in_passes():
            with emit.loop(b, const(0), n_rows) as i:
                if k == 0:  # the last row over and over in the end
                    self._read(first, emit.smaller(b, b.add(i, const(ROWS_BEFORE)), last))
                self._add_row(sums, self._passes[k], i)

    def _read(self, first: Value, i: Value) -> None:
        """Keep row `i` of a tile, centred and times the root of its weight; and fetch another."""
        b, size = self._b, emit.size(self._types[0])
        row = b.add(first, i)
        later = b.mul(b.add(row, const(BYTES_AHEAD // (self._d * size))), self._strides[0])
        self._fetch(self._X, 0, later, self._d)
        for begin in self._vectors:
            at = b.add(b.mul(row, self._strides[0]), const(begin))
            z = b.fsub(
                self._converted(self._X, 0, at, LANES), self._get(self._shifts, const(begin))
            )
            if self._weight is not None:
                root = b.load(b.gep(self._roots, [i]))
                z = b.fmul(emit.splat(b, root, LANES), z)
            self._put(z, self._kept, self._place(i, begin))

    def _place(self, i: Value, column: int) -> Value:
        return self._b.add(self._b.mul(i, const(self._width)), const(column))

    def _add_row(self, sums: emit.Accumulators, products: list[Product], i: Value) -> None:
        b, target, weighted = self._b, self._d, self._weight is not None
        vectors = {
            first: self._get(self._kept, self._place(i, first))
            for first in sorted({product.first for product in products})
        }
        columns: dict[int, Value] = {}
        for index, (first, column) in enumerate(products):
            term = vectors[first]
            if column <= target or weighted:
                if column not in columns:
                    columns[column] = self._in_all(column, i)
                term = emit.multiply(b, term, columns[column])
            sums.add(b, index, term)

    def _in_all(self, column: int, i: Value) -> Value:
        """A column of a row that is kept, in all elements of a register."""
        b, target = self._b, self._d
        place = b.gep(self._targets if column == target else self._roots, [i])
        if column < target:
            place = b.gep(self._kept, [self._place(i, column)])
        return emit.splat(b, b.load(place), LANES)


# Rows are read to the next multiple of eight features: another must follow the last, and one is
# enough, as it has at least half as many.
add_tiles = tile_adder(_Sums, ROWS_AT_ONCE)
