"""Moments of 5 to 24 features in contiguous rows, where registers are of 64 bytes.

A row is a few vectors of eight features. Each is multiplied with itself, turned by one feature
after the other, so that hardly a product is taken twice; and with each feature of the vectors
behind it, which the processor puts into all elements as it reads it. So rows need not be made into
columns, and thirty-two registers hold so many sums that a row of 16 features is read once.
"""

from __future__ import annotations

from collections.abc import Iterator
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

# Float32 of 400 MB, one thread: by the products of vectors with one feature after the other, none
# turned, 5 to 9 and 16 features took 1.3 to 1.4 times as long, 10 to 13 took 1.1 to 1.2 times; with
# no load that puts a feature into all elements, but an exchange, 12 to 24 took 1.3 to 1.5 times.
# Against columns packed for `gram.py`, 28 and 32 gain a tenth, but each number of features takes a
# kernel of its own.
MOST_FEATURES = 24
LANES = 8  # 64 bytes of float64
ROWS_AT_ONCE = UNROLLED * LANES
# Sums that are added to at once: they fill 32 registers but for what is multiplied.
MOST_SUMS = 24
# Vectors behind the first are put into cache so many rows before their features are read there:
# LLVM would else take these out of the register. 8 rows are level, 16 up to 1.07 times as slow.
ROWS_BEFORE = 4


class Product(NamedTuple):
    """A vector of features from `first` on, times a column of the row for each of its elements.

    The target is column d, and ones are column d + 1.
    """

    first: int
    columns: tuple[int, ...]

    def pairs(self, d: int) -> list[tuple[int, int]]:
        """What the sums in its first elements are of: no pair twice."""
        found = list(zip(range(self.first, d), self.columns, strict=False))
        return [pair for i, pair in enumerate(found) if pair[::-1] not in found[:i]]


def products(d: int, first: int) -> list[Product]:
    """Products of the vector from `first` on with itself and with all columns behind it."""
    own = range(first, min(first + LANES, d))
    turned = [
        tuple(own[(i + turn) % len(own)] for i in range(LANES)) for turn in range(len(own) // 2 + 1)
    ]
    behind = [(column,) * LANES for column in range(own.stop, d + 2)]
    return [Product(first, columns) for columns in turned + behind]


def passes(d: int) -> list[list[Product]]:
    """The products of all rows of a tile, as many at once as there are registers for their sums."""
    found: list[list[Product]] = [[]]
    # Those with the last columns go together, for then few vectors are needed.
    every = [product for first in range(0, d, LANES) for product in products(d, first)]
    for product in sorted(every, key=lambda each: max(each.columns) // LANES):
        if len(found[-1]) == MOST_SUMS:
            found.append([])
        found[-1].append(product)
    return found


class _Sums(TileSums):
    """Sums of the products of `passes`."""

    def __init__(self, context: Any, b: Builder, signature: Any, args: Any) -> None:
        d = signature.args[4].count
        self._passes = passes(d)
        # Of one vector, two sets of sums: each would else wait for its last addition.
        self._sets = 2 if d <= LANES else 1
        pass_sums = [self._sets * len(each) for each in self._passes]
        self._later = range(LANES, d, LANES)
        self._width = LANES * len(self._later)
        super().__init__(context, b, signature, args, LANES, pass_sums, TILE_ROWS * self._width)
        shifts = [self._shift(j) for j in range(d)]
        shifts += [emit.DOUBLE(0.0)] * (-d % LANES)
        self._shifts = {
            first: emit.from_scalars(b, shifts[first : first + LANES])
            for first in range(0, d, LANES)
        }

    def meanings(self) -> Iterator[Meaning]:
        every = [product for each in self._passes for product in each * self._sets]
        for index, product in enumerate(every, FIRST_SUM):
            yield from enumerate(product.pairs(self._d), LANES * index)

    def _parts(self) -> list[range]:
        return [range(k, k + 1) for k in range(LANES)]

    def add(self, first: Value, n_rows: Value) -> None:
        """Add a tile of rows, while in the first pass the next is fetched."""
        b = self._b
        self._add_targets(first, n_rows)
        with emit.loop(b, const(0), const(ROWS_BEFORE)) as i:
            self._keep_later(first, i)
        last = b.sub(n_rows, const(1))
        for k, sums in self._in_passes():
            each = self._passes[k]
            with emit.loop(b, const(0), n_rows, self._sets) as begin:
                for part in range(self._sets):
                    i = b.add(begin, const(part))
                    if k == 0:
                        self._fetch_later(b.add(first, i))
                        # the last row over and over in the end
                        self._keep_later(first, emit.smaller(b, b.add(i, const(ROWS_BEFORE)), last))
                    self._add_row(sums, part * len(each), each, first, i)

    def _fetch_later(self, row: Value) -> None:
        ahead = const(emit.BYTES_IN_FLIGHT // (self._d * emit.size(self._types[0])))
        later = self._b.mul(self._b.add(row, ahead), self._strides[0])
        self._fetch(self._X, 0, later, self._d)

    def _add_row(
        self, sums: emit.Accumulators, at: int, some: list[Product], first: Value, i: Value
    ) -> None:
        b, target, weighted = self._b, self._d, self._weight is not None
        vectors = {
            begin: self._get(self._kept, self._place(i, begin))
            if begin in self._later
            else self._read(first, i, begin)
            for begin in sorted({product.first for product in some})
        }
        others: dict[tuple[int, ...], Value] = {}
        for index, product in enumerate(some, at):
            vector, columns = vectors[product.first], product.columns
            if columns[0] > target and not weighted:
                sums.add(b, index, vector)
                continue
            if columns not in others:
                others[columns] = self._other(product, vector, i)
            sums.add(b, index, emit.multiply(b, vector, others[columns]))

    def _other(self, product: Product, vector: Value, i: Value) -> Value:
        """What a vector of row `i` is multiplied with."""
        b, column, target = self._b, product.columns[0], self._d
        if column < min(product.first + LANES, target):
            return emit.pick(b, vector, vector, [each % LANES for each in product.columns])
        place = b.gep(self._targets if column == target else self._roots, [i])
        if column < target:
            place = b.gep(self._kept, [self._place(i, column)])
        return emit.splat(b, b.load(place), LANES)

    def _place(self, i: Value, column: int) -> Value:
        return self._b.add(self._b.mul(i, const(self._width)), const(column - LANES))

    def _keep_later(self, first: Value, i: Value) -> None:
        """Keep all but the first vector of row `i` of a tile."""
        for begin in self._later:
            self._put(self._read(first, i, begin), self._kept, self._place(i, begin))

    def _read(self, first: Value, i: Value, begin: int) -> Value:
        """A vector of features of a row, centred and times the root of its weight."""
        b = self._b
        at = b.add(b.mul(b.add(first, i), self._strides[0]), const(begin))
        z = b.fsub(self._converted(self._X, 0, at, LANES), self._shifts[begin])
        if self._weight is None:
            return z
        return b.fmul(emit.splat(b, b.load(b.gep(self._roots, [i])), LANES), z)


# Rows are read to the next multiple of eight features: another must follow the last, and one is
# enough, as it has at least half as many.
add_tiles = tile_adder(_Sums, ROWS_AT_ONCE)
