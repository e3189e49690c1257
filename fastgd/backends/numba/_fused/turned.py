"""Rows of few features as columns: a vector of each feature of a tile of rows, in their order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastgd.backends.numba._vectors import emit, exchange
from fastgd.backends.numba._vectors.emit import Builder, Value

# Loads, at (row, first feature, width), that many numbers, in the type to compute in. The first may
# be a feature of a row before, the last one of a row behind.
Load = Callable[[int, int, int], Value]


def read_columns(b: Builder, load: Load, scalar: Any, d: int, count: int) -> list[Value]:
    """Columns of `count` rows of `d` features, of type `scalar`.

    A number of the row behind the last is read where d is 3, 7, 11...; nothing else out of the
    tile, if rows do not overlap.
    """
    part = exchange.PART_BYTES // emit.size(scalar)
    blended = emit.REGISTER_BYTES == 32
    columns: list[Value] = []
    while len(columns) < d:
        first, left = len(columns), d - len(columns)
        if blended and left <= 2 <= d:
            columns += _pair(b, load, d - 2, count, part)[2 - left :]
        elif blended and left > 2 and part == 4:
            columns += exchange.exchanged(b, _gathered(b, load, first, 4, count, part))
        else:
            width = 1 << (min(left, 4) - 1).bit_length()
            columns += exchange.transposed(b, [load(i, first, width) for i in range(count)])
    return columns[:d]


def read_close_columns(
    b: Builder, load: Callable[[int, int], Value], stored: Any, scalar: Any, d: int, count: int
) -> list[Value]:
    """Columns of `count` rows of `d` features that have no gaps between them, of type `scalar`.

    `load` loads, at (first, number), so many of all their numbers, as they are stored. By whole
    registers these are put in order, and converted then, which takes fewer instructions than to
    load every row (AVX-512, float32 in cache, 2 to 6 features: 1.02 to 1.45 times as fast in double
    precision, and 1.5 to 2 times in single; but 4 and 6 there, and of float64, 0.4 to 0.8 times).
    """
    length = emit.register_lanes(stored)
    sources = []
    for at in range(0, count * d, length):
        there = min(length, count * d - at)
        source = load(at, there)
        if there < length:
            source = emit.pick(b, source, source, [min(i, there - 1) for i in range(length)])
        sources.append(source)
    columns: list[Value] = []
    abreast = length // count
    for j in range(0, d, abreast):
        some = [min(j + k, d - 1) for k in range(abreast)]
        found = _chosen(b, sources, [d * i + k for k in some for i in range(count)])
        for first in range(0, length, count):
            column = found
            if abreast > 1:
                column = emit.pick(b, found, found, range(first, first + count))
            columns.append(emit.convert(b, column, scalar))
    return columns[:d]


def _chosen(b: Builder, sources: list[Value], places: list[int]) -> Value:
    """A vector of elements of others laid end to end, by index."""
    length = len(places)
    of = {place % length: place // length for place in places}
    found = sources[0]
    if len(of) == length:
        # Each stays where it is in its vector until one shuffle moves them all.
        for k, source in enumerate(sources[1:], 1):
            found = emit.pick(b, found, source, [i + length * (of[i] == k) for i in range(length)])
        return emit.pick(b, found, found, [place % length for place in places])
    if len(sources) == 1:
        return emit.pick(b, found, found, places)
    found = emit.pick(b, found, sources[1], [min(place, 2 * length - 1) for place in places])
    for k, source in enumerate(sources[2:], 2):
        there = [place // length == k for place in places]
        mixed = [length + place % length if there[i] else i for i, place in enumerate(places)]
        found = emit.pick(b, found, source, mixed)
    return found


def _gathered(b: Builder, load: Load, first: int, width: int, count: int, part: int) -> list[Value]:
    """`width` features of each row, in as many vectors: those of a few rows end to end in each.

    Vectors are loaded from so far before a row that its features are where they are wanted, and
    blended: no number is moved. That is faster than moving them from one part of a register to
    another, and than loads of so few numbers, which are not converted as they are loaded (2
    features: 1.25 times as fast in cache, and 1.9 times in single precision).
    """
    in_part = part // width
    vectors = []
    for v in range(width):
        vector = None
        for slot in range(count // width):
            row = slot // in_part * part + v * in_part + slot % in_part
            at = width * slot
            loaded = load(row, first - at, count)
            if vector is None:
                vector = loaded
            else:
                vector = emit.pick(b, vector, loaded, [*range(at), *range(count + at, 2 * count)])
        vectors.append(vector)
    return vectors


def _pair(b: Builder, load: Load, first: int, count: int, part: int) -> list[Value]:
    """Two features of each row."""
    left, right = _gathered(b, load, first, 2, count, part)
    columns = []
    for odd in range(2):
        places: list[int] = []
        for at in range(0, count, part):
            places += range(at + odd, at + part, 2)
            places += range(count + at + odd, count + at + part, 2)
        columns.append(emit.pick(b, left, right, places))
    return columns
