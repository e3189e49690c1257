"""Which products of registers meet all pairs of the features of a block of rows, and the target.

A block is half as many rows as a register has elements: a register holds two of its columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fastgd.backends.numba import _emit as emit

LANES = emit.register_lanes(emit.DOUBLE)
ROWS = LANES // 2  # of a block
# Sums that are added to at once: they fill the registers but for what is multiplied.
MOST_SUMS = 24 if emit.REGISTER_BYTES == 64 else 12
TILE = MOST_SUMS // 4
TARGET = -1  # as a column

Columns = tuple[int, int]  # in the halves of a register


class Product(NamedTuple):
    """A product of two registers, and the columns that each holds, each in a half.

    Or, by rows, one column in the even and one in the odd elements.
    """

    left: Columns
    right: Columns
    by_rows: bool = False

    def pairs(self, d: int) -> dict[Columns, list[int]]:
        """The pairs of columns that it meets, and the elements of the product that have them."""
        found = {}
        for k, pair in enumerate(zip(self.left, self.right, strict=True)):
            if max(pair) < d:
                elements = range(k, LANES, 2) if self.by_rows else range(k * ROWS, (k + 1) * ROWS)
                found[min(pair), max(pair)] = list(elements)
        return found


class Pass(NamedTuple):
    """Couples of columns that are read from rows, and products; of all else, from scratch."""

    couples: list[Columns]
    products: list[Product]


def couples(d: int) -> list[list[Columns]]:
    """What the registers of a block hold, by the vectors of features they are read from.

    Two rows of four features are two registers, by exchanges within their halves. The last columns
    may not be features.
    """
    return [
        [(k, k + 2), (k + 1, k + 3)] if k + 2 < d else [(k, k + 1)] for k in range(0, d, 4)
    ]


def _inner(some: list[Columns]) -> list[Product]:
    """All products of the columns of a vector, and each times the target."""
    found = [Product(couple, couple) for couple in some]
    if len(some) > 1:
        (a, c), (b, d) = some
        found.append(Product((a, c), (b, d)))
        found += [Product((a, b), (c, d), by_rows=True), Product((a, b), (d, c), by_rows=True)]
    else:
        ((a, b),) = some
        found.append(Product((a, b), (b, a), by_rows=True))
    return found + [Product(couple, (TARGET, TARGET)) for couple in some]


def _tiles(d: int) -> Iterator[list[Product]]:
    """Products of the columns of different vectors, as many as have few factors."""
    lefts: list[Columns] = []
    for some in couples(d):
        columns = sorted(column for couple in some for column in couple if column < d)
        for first in range(0, len(lefts), TILE):
            chosen = lefts[first : first + TILE]
            yield [Product(left, (column, column)) for column in columns for left in chosen]
        lefts += some


def passes(d: int) -> list[Pass]:
    """What is done to the rows of a tile, one after the other."""
    found = []
    for some in couples(d):
        found.append(Pass(some, [each for each in _inner(some) if each.pairs(d)]))
    tiles = list(_tiles(d))
    found += [Pass([], tile) for tile in tiles if len(tile) == MOST_SUMS]
    rest = [product for tile in tiles if len(tile) < MOST_SUMS for product in tile]
    if len(found[-1].couples) + len(found[-1].products) + len(rest) <= MOST_SUMS:
        found[-1].products.extend(rest)
    else:
        number = max(1, -(-len(rest) // MOST_SUMS))
        length = -(-len(rest) // number)
        found += [Pass([], rest[at : at + length]) for at in range(0, len(rest), length or 1)]
    return found
