"""Which products of registers meet all pairs of the features of a block of rows, and the target.

A block is half as many rows as a register has elements: a register holds two of its columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

LANES = 4  # 32 bytes of float64
ROWS = LANES // 2  # of a block
# Sums that are added to at once: they fill the registers but for what is multiplied.
MOST_SUMS = 12
# Registers that are multiplied with each of four columns at once.
MOST_LEFTS = MOST_SUMS // 4
TARGET = -1  # as a column
Columns = tuple[int, int]


class Product(NamedTuple):
    """A product of two registers, and the columns that each holds, each in a half.

    Or, by rows, one column in the even elements and the other in the odd ones.
    """

    left: Columns
    right: Columns
    by_rows: bool = False

    def pairs(self, d: int) -> dict[Columns, int]:
        """The pairs of columns that it meets, and which of its columns has each."""
        pairs = enumerate(zip(self.left, self.right, strict=True))
        return {(min(pair), max(pair)): k for k, pair in pairs if max(pair) < d}


class Pass(NamedTuple):
    """What is done to all rows of a tile: a vector of each is read, or none; and multiplied.

    The vector becomes `couples` of columns. Of a product, what is not among them was read before.
    """

    couples: list[Columns]
    products: list[Product]

    @property
    def n_sums(self) -> int:
        """Of the couples, and then of the products."""
        return len(self.couples) + len(self.products)


def vectors(d: int) -> list[list[Columns]]:
    """What is read at once of rows: four features, or the last one or two, as couples.

    These are what takes the fewest exchanges. The last columns may not be features.
    """
    return [[(k, k + 2), (k + 1, k + 3)] if k + 2 < d else [(k, k + 1)] for k in range(0, d, 4)]


def _within(couples: list[Columns], d: int) -> list[Product]:
    """All products of the columns of a vector, and each times the target."""
    found = [Product(couple, couple) for couple in couples]
    if len(couples) > 1:
        (i, k), (j, m) = couples
        found.append(Product((i, k), (j, m)))
        found += [Product((i, j), right, by_rows=True) for right in ((k, m), (m, k))]
    else:
        found.append(Product(couples[0], couples[0][::-1], by_rows=True))
    found += [Product(couple, (TARGET, TARGET)) for couple in couples]
    return [product for product in found if product.pairs(d)]


def _between(d: int) -> Iterator[list[Product]]:
    """Products of columns of different vectors, by few factors: couples times a column."""
    lefts: list[Columns] = []
    for couples in vectors(d):
        columns = sorted(column for couple in couples for column in couple if column < d)
        if len(columns) <= MOST_LEFTS:  # they stay in registers, and couples follow each other
            yield [Product(left, (column, column)) for left in lefts for column in columns]
        else:
            for first in range(0, len(lefts), MOST_LEFTS):
                some = lefts[first : first + MOST_LEFTS]
                yield [Product(left, (column, column)) for column in columns for left in some]
        lefts += couples


def passes(d: int) -> list[Pass]:
    """What is done to the rows of a tile, one after the other."""
    found = [Pass(couples, _within(couples, d)) for couples in vectors(d)]
    between = list(_between(d))
    found += [Pass([], products) for products in between if len(products) == MOST_SUMS]
    rest = [product for some in between if len(some) != MOST_SUMS for product in some]
    last = found[-1]
    if last.n_sums + len(rest) <= MOST_SUMS:
        last.products.extend(rest)
    elif rest:
        length = -(-len(rest) // -(-len(rest) // MOST_SUMS))
        found += [Pass([], rest[at : at + length]) for at in range(0, len(rest), length)]
    return found


def meanings(d: int, start: int) -> Iterator[tuple[int, Columns]]:
    """What is summed where, as `tile_sums.Meaning` says, from register `start` on."""
    target, one = d, d + 1
    for each in passes(d):
        for index, couple in enumerate(each.couples, start):
            features = ((half, c) for half, c in enumerate(couple) if c < d)
            yield from ((LANES * index + half, (c, one)) for half, c in features)
        for index, product in enumerate(each.products, start + len(each.couples)):
            begin = LANES * index + (2 if product.by_rows else 0)
            for (i, j), k in product.pairs(d).items():
                yield begin + k, (target if i == TARGET else i, j)
        start += each.n_sums
