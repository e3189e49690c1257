"""Which products of vectors meet all pairs of the features of a row.

The full vectors of a row are a circle: all its elements times themselves, turned by 1 to half of
them, have each pair once. A last vector that is not full is turned by itself, and its elements are
multiplied with the others one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fastgd.backends.numba import _emit as emit

# Elements of a register: as many rows are packed at a time, for the sake of y.
LANES = emit.register_lanes(emit.DOUBLE)


class Product(NamedTuple):
    """A product of vector `left` of a row, by elements.

    "turned": with the elements of vector `right` from `place` on, and then those of the vector
    that follows it; "element": with that element alone; "target": with the target.
    """

    kind: str
    left: int
    right: int
    place: int

    def pairs(self, d: int) -> Iterator[tuple[int, int, int]]:
        """Lanes that hold the product of two columns, and the columns; the target is column d."""
        for lane in range(LANES):
            vector, place = self.right, self.place
            if self.kind == "turned":
                place += lane
                if place >= LANES:
                    vector, place = following(vector, d), place - LANES
            left = LANES * self.left + lane
            right = d if self.kind == "target" else LANES * vector + place
            if left < d and (right < d or self.kind == "target"):
                yield lane, min(left, right), max(left, right)


def following(vector: int, d: int) -> int:
    """The vector that follows in a row, in a circle; the last follows itself if it is not full."""
    return (vector + 1) % (d // LANES) if vector < d // LANES else vector


def products(d: int) -> list[Product]:
    """Products of vectors in which each pair of columns is met, and each with the target."""
    n_full, rest = divmod(d, LANES)
    vectors = range(n_full + (rest > 0))
    found = [Product("target", left, left, 0) for left in vectors]
    found += [Product("turned", left, left, 0) for left in vectors]
    for turn in range(1, LANES * n_full // 2 + 1):
        # Turned by half of their elements, they meet themselves twice.
        n_left = n_full if 2 * turn < LANES * n_full else -(-n_full // 2)
        step, place = divmod(turn, LANES)
        found += [Product("turned", k, (k + step) % n_full, place) for k in range(n_left)]
    turns = range(1, min(rest - 1, LANES // 2) + 1)
    found += [Product("turned", n_full, n_full, place) for place in turns]
    found += [Product("element", left, n_full, k) for left in range(n_full) for k in range(rest)]
    return found
