"""Elements that change places between vectors, and sums across them: words beside `emit`'s."""

from __future__ import annotations

from llvmlite import ir

from fastgd.backends.numba._vectors.emit import (
    I32,
    Builder,
    Value,
    add,
    multiply_add,
    pick,
    size,
    zero,
)

PART_BYTES = 16  # of a register: what is exchanged within one is faster than what crosses them


def halves(b: Builder, value: Value) -> tuple[Value, Value]:
    count = value.type.count
    return pick(b, value, value, range(count // 2)), pick(b, value, value, range(count // 2, count))


def total(b: Builder, value: Value) -> Value:
    """The sum of a vector's elements, by halves."""
    while value.type.count > 1:
        value = add(b, *halves(b, value))
    return b.extract_element(value, ir.Constant(I32, 0))


def _swap(b: Builder, first: Value, second: Value, step: int) -> tuple[Value, Value]:
    """Exchange the odd runs of `step` elements of `first` with the even ones of `second`."""
    count = first.type.count
    low = [i if not i & step else count + i - step for i in range(count)]
    high = [i + step if not i & step else count + i for i in range(count)]
    return pick(b, first, second, low), pick(b, first, second, high)


def end_to_end(b: Builder, parts: list[Value]) -> Value:
    while len(parts) > 1:
        count = 2 * parts[0].type.count
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [pick(b, left, right, range(count)) for left, right in pairs]
    return parts[0]


def transposed(b: Builder, rows: list[Value]) -> list[Value]:
    """The columns of len(rows) row vectors of equal, smaller or equal, power-of-two length.

    Rows are first laid end to end, len(rows) elements a vector, so that each stage of the
    butterfly works on whole vectors.
    """
    width = rows[0].type.count
    return exchanged(b, [end_to_end(b, rows[first::width]) for first in range(width)])


def exchanged(b: Builder, vectors: list[Value]) -> list[Value]:
    """Vectors, a power of two of them, as columns of as many elements at a time.

    Where ``len(vectors)`` is n, vector j gets the j-th of every n elements: of the first n of each
    vector, one after the other, then of the next n of each, and so on.
    """
    vectors, step = list(vectors), 1
    while step < len(vectors):
        for i in range(len(vectors)):
            if not i & step:
                vectors[i], vectors[i + step] = _swap(b, vectors[i], vectors[i + step], step)
        step *= 2
    return vectors


def _alternate(b: Builder, first: Value, second: Value, part: int) -> tuple[Value, Value]:
    """Every other part of two vectors laid end to end, and the parts between."""
    places = range(2 * first.type.count)
    even, odd = ([i for i in places if i // part % 2 == k] for k in range(2))
    return pick(b, first, second, even), pick(b, first, second, odd)


def _crossed(b: Builder, first: Value, second: Value) -> tuple[Value, Value]:
    """Of each part the first half of `first` and the second of `second`, and the other halves.

    Where a part has four elements, a blend and a shuffle within parts: where registers are of 64
    bytes, `_swap` is two that cross them.
    """
    count = first.type.count
    low = [i if i % 4 < 2 else count + i for i in range(count)]
    high = [i + 2 if i % 4 < 2 else count + i - 2 for i in range(count)]
    return pick(b, first, second, low), pick(b, first, second, high)


def part_sums(b: Builder, rows: list[Value]) -> Value:
    """The sum of `rows`, vectors, part by part: what sums of whole vectors are made of.

    Each part has those of as many rows as it has elements.
    """
    step, vectors = 1, rows
    part = PART_BYTES // size(rows[0].type.element)
    wide = rows[0].type.count * size(rows[0].type.element) == 64 and part == 4 <= len(rows)
    while len(vectors) > 1:
        pairs = list(zip(vectors[::2], vectors[1::2], strict=True))
        # Within parts of a register elements change places, then whole parts do.
        if step >= part:
            moved = [_alternate(b, *pair, part) for pair in pairs]
        elif not wide:
            moved = [_swap(b, *pair, step) for pair in pairs]
        else:
            moved = [_crossed(b, *p) if step == 1 else _within(b, *p) for p in pairs]
        vectors = [add(b, *each) for each in moved]
        step *= 2
    return vectors[0]


def _within(b: Builder, first: Value, second: Value) -> tuple[Value, Value]:
    """Of each part of four the even elements of both vectors, and the odd ones."""
    count = first.type.count
    parts = range(0, count, 4)
    even = [i + k for i in parts for k in (0, 2, count, count + 2)]
    return pick(b, first, second, even), pick(b, first, second, [i + 1 for i in even])


def row_sums(b: Builder, rows: list[Value]) -> Value:
    """A vector of len(rows) elements: the sum of each of the row vectors."""
    width = rows[0].type.count
    if len(rows) > width:
        groups = [rows[first : first + width] for first in range(0, len(rows), width)]
        return end_to_end(b, [row_sums(b, group) for group in groups])
    count = len(rows)
    part = PART_BYTES // size(rows[0].type.element)
    sums = part_sums(b, rows)
    while sums.type.count > count:
        if count < part:
            sums = add(b, *halves(b, sums))
        else:  # parts with sums of the same rows are neighbours
            rest = zero(sums.type.element, sums.type.count)
            there = range(sums.type.count // 2)
            sums = add(b, *(pick(b, v, v, there) for v in _alternate(b, sums, rest, part)))
    return sums


def row_products(b: Builder, rows: list[list[Value]], w: list[Value]) -> Value:
    """A vector of len(rows) elements: the product of each row, which is some vectors, with `w`."""
    dots = []
    for x in rows:
        dot = b.fmul(x[0], w[0])
        for xv, wv in zip(x[1:], w[1:], strict=True):
            dot = multiply_add(b, xv, wv, dot)
        dots.append(dot)
    return row_sums(b, dots)
