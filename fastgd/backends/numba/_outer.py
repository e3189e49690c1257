"""Moments of up to 16 features in contiguous rows: outer products of rows, as they lie.

A tile of rows is converted and centred into the nearest cache, and its products are taken from
there, with no transposition: a vector of features times another, or itself, turned by some
elements, times one element of another, or times the target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from numba.core import cgutils

from fastgd.backends.numba import _emit as emit
from fastgd.backends.numba._emit import Builder, Value, const

# Measured, float32 from main memory, against columns of a transposed chunk: 4 and 8 features take
# 0.7 of the time, 12 and 16 take 0.85.
MOST_FEATURES = 16
# Elements of a register: as many rows are packed at a time, for the sake of y.
LANES = emit.register_lanes(emit.DOUBLE)
TILE_ROWS = 32
# Rows of a run of sums: a single run over a hundred million equal terms would be off by 1e-11.
ROWS_A_RUN = 16 * TILE_ROWS
# Products that are summed at once: their sums fill the registers but for what is multiplied.
MOST_SUMS = 24 if emit.REGISTER_BYTES == 64 else 12
BYTES_AHEAD = 2048


class Product(NamedTuple):
    """A product of vector `left` of a row, by elements.

    "turned": with vector `right` from element `place` on, and around; "element": with that element
    alone; "target": with the target.
    """

    kind: str
    left: int
    right: int
    place: int

    def pairs(self, d: int) -> Iterator[tuple[int, int, int]]:
        """Lanes that hold the product of two columns, and the columns; the target is column d."""
        for lane in range(LANES):
            left = LANES * self.left + lane
            turned = (lane + self.place) % LANES if self.kind == "turned" else self.place
            right = d if self.kind == "target" else LANES * self.right + turned
            if left < d and (right < d or self.kind == "target"):
                yield lane, min(left, right), max(left, right)


def products(d: int) -> list[Product]:
    """Products of vectors in which each pair of columns is met, and each with the target."""
    found = []
    for right in range(-(-d // LANES)):
        number = min(LANES, d - LANES * right)
        turns = range(min(number - 1, LANES // 2) + 1)
        found += [Product("turned", right, right, place) for place in turns]
        kind = "turned" if number == LANES else "element"
        found += [Product(kind, left, right, k) for left in range(right) for k in range(number)]
        found.append(Product("target", right, right, 0))
    return found


class _Sums:
    """The sums of all rows, and scratch of a tile, on the stack."""

    def __init__(self, context: Any, b: Builder, signature: Any, args: Any) -> None:
        self._b = b
        arrays = emit.arrays(context, b, signature, args)
        self._X, self._y, self._weight, self._pivot, self._out = (
            arrays[i] for i in (0, 1, 2, 3, 5)
        )
        self._types = [context.get_value_type(signature.args[i].dtype) for i in (0, 1)]
        self._d = d = signature.args[4].count
        strides = cgutils.unpack_tuple(b, self._X.strides, 2)
        self._stride = b.sdiv(strides[0], const(emit.size(self._types[0])))
        self._n_vectors = -(-d // LANES)
        self._products = products(d)
        # Each vector of a row twice, so that it can be read from any element on, and around.
        self._row_size = 2 * LANES * self._n_vectors
        self._rows = self._room(TILE_ROWS * self._row_size)
        self._targets, self._roots = self._room(TILE_ROWS), self._room(TILE_ROWS)
        # Of the products; of the vectors; of the target's square, the target and the weights.
        self._n_sums = len(self._products) + self._n_vectors + 3
        self._sums, self._totals = (self._room(LANES * self._n_sums) for _ in range(2))
        self._for_sums(lambda at: self._put(self._zero(), self._sums, at))
        self._for_sums(lambda at: self._put(self._zero(), self._totals, at))
        self._shifts = self._room(LANES * (self._n_vectors + 1))
        for j in range(LANES * self._n_vectors):
            shift = b.load(b.gep(self._pivot.data, [const(j)])) if j < d else emit.DOUBLE(0.0)
            b.store(shift, b.gep(self._shifts, [const(j)]))
        shift = emit.splat(b, b.load(b.gep(self._pivot.data, [const(d)])), LANES)
        self._put(shift, self._shifts, const(LANES * self._n_vectors))

    def _room(self, size: int) -> Value:
        room = cgutils.alloca_once(self._b, emit.DOUBLE, size=size)
        room.align = emit.LINE_BYTES
        return room

    def _zero(self) -> Value:
        return emit.zero(emit.DOUBLE, LANES)

    def _get(self, place: Value, at: Value) -> Value:
        return emit.load(self._b, place, at, LANES, emit.DOUBLE)

    def _put(self, value: Value, place: Value, at: Value) -> None:
        emit.store(self._b, value, place, at)

    def _splat(self, place: Value, at: Value) -> Value:
        return emit.splat(self._b, self._b.load(self._b.gep(place, [at])), LANES)

    def _for_sums(self, work: Callable[[Value], None]) -> None:
        with emit.loop(self._b, const(0), const(LANES * self._n_sums), LANES) as at:
            work(at)

    def _registers(self, first: int, number: int) -> emit.Accumulators:
        """So many of the sums, from memory."""
        sums = emit.Accumulators(self._b, emit.DOUBLE, LANES, number)
        for i in range(number):
            sums.put(self._b, i, self._get(self._sums, const(LANES * (first + i))))
        return sums

    def _keep(self, sums: emit.Accumulators, first: int) -> None:
        for i, value in enumerate(sums.get(self._b)):
            self._put(value, self._sums, const(LANES * (first + i)))

    def _converted(self, array: Any, k: int, at: Value) -> Value:
        b = self._b
        return emit.convert(b, emit.load(b, array.data, at, LANES, self._types[k]), emit.DOUBLE)

    def _fetch(self, row: Value) -> None:
        """Have what follows these rows fetched; of slices, nothing: that made them slower."""
        b = self._b
        width = emit.size(self._types[0])
        with b.if_then(b.icmp_signed("==", self._stride, const(self._d))):
            begin = b.add(b.mul(row, self._stride), const(BYTES_AHEAD // width))
            for at in range(0, LANES * self._d, emit.LINE_BYTES // width):
                emit.prefetch_at(b, self._X.data, b.add(begin, const(at)))
        ahead = const(BYTES_AHEAD // emit.size(self._types[1]))
        emit.prefetch_at(b, self._y.data, b.add(row, ahead))

    def pack(self, first: Value, n_rows: Value) -> None:
        """Rows, centred and times the roots of their weights, into scratch, and their sums."""
        b, n_vectors = self._b, self._n_vectors
        place = len(self._products)
        sums = self._registers(place, n_vectors + 3)
        with emit.loop(b, const(0), n_rows, LANES) as i:
            row = b.add(first, i)
            self._fetch(row)
            y_shift = self._get(self._shifts, const(LANES * n_vectors))
            target = y_sum = b.fsub(self._converted(self._y, 1, row), y_shift)
            if self._weight is not None:
                s = self._converted(self._weight, 0, row)
                root = emit.square_root(b, s)
                target, y_sum = b.fmul(root, target), emit.multiply(b, s, target)
                self._put(root, self._roots, i)
                sums.add(b, n_vectors + 2, s)
            self._put(target, self._targets, i)
            sums.add(b, n_vectors, emit.multiply(b, target, target))
            sums.add(b, n_vectors + 1, y_sum)
            for k in range(LANES):
                at = b.add(i, const(k))
                begin = b.mul(b.add(row, const(k)), self._stride)
                to = b.mul(at, const(self._row_size))
                for j in range(n_vectors):
                    x = self._converted(self._X, 0, b.add(begin, const(LANES * j)))
                    z = z_sum = b.fsub(x, self._get(self._shifts, const(LANES * j)))
                    if self._weight is not None:
                        root = self._splat(self._roots, at)
                        z = b.fmul(root, z)
                        z_sum = emit.multiply(b, root, z)
                    sums.add(b, j, z_sum)
                    for half in range(2):
                        self._put(z, self._rows, b.add(to, const(LANES * (2 * j + half))))
        self._keep(sums, place)

    def multiply(self, n_rows: Value) -> None:
        """The products of the rows in scratch, as many at once as there are registers for."""
        number = -(-len(self._products) // MOST_SUMS)
        length = -(-len(self._products) // number)
        for first in range(0, len(self._products), length):
            some = self._products[first : first + length]
            sums = self._registers(first, len(some))
            with emit.loop(self._b, const(0), n_rows, 2) as i:
                for k in range(2):
                    self._multiply_row(some, sums, self._b.add(i, const(k)))
            self._keep(sums, first)

    def _multiply_row(self, some: list[Product], sums: emit.Accumulators, i: Value) -> None:
        b = self._b
        begin = b.mul(i, const(self._row_size))
        target = self._splat(self._targets, i)
        vectors = {
            j: self._get(self._rows, b.add(begin, const(2 * LANES * j)))
            for j in {each.left for each in some} | {each.right for each in some}
        }
        for index, (kind, left, right, place) in enumerate(some):
            at = b.add(begin, const(2 * LANES * right + place))
            if kind == "target":
                factor = target
            elif kind == "element":
                factor = self._splat(self._rows, at)
            else:
                factor = self._get(self._rows, at) if place else vectors[right]
            sums.add(b, index, emit.multiply(b, vectors[left], factor))

    def end_run(self) -> None:
        """Add the sums to their totals, and start again from zero."""

        def move(at: Value) -> None:
            total = self._b.fadd(self._get(self._totals, at), self._get(self._sums, at))
            self._put(total, self._totals, at)
            self._put(self._zero(), self._sums, at)

        self._for_sums(move)

    def add_to_out(self) -> None:
        """Add the totals to the products of the features, the target and a column of ones."""
        d, n_products = self._d, len(self._products)
        places: dict[tuple[int, int], int] = {}  # in `totals`, of each pair of columns
        for index, each in enumerate(self._products):
            places |= {(i, j): LANES * index + lane for lane, i, j in each.pairs(d)}
        places |= {(j, d + 1): LANES * n_products + j for j in range(d)}
        for (i, j), place in places.items():
            total = self._b.load(self._b.gep(self._totals, [const(place)]))
            emit.add_to_memory(self._b, total, self._out.data, const(i * (d + 2) + j))
        first = n_products + self._n_vectors
        for k, (i, j) in enumerate(((d, d), (d, d + 1), (d + 1, d + 1))):
            total = emit.total(self._b, self._get(self._totals, const(LANES * (first + k))))
            emit.add_to_memory(self._b, total, self._out.data, const(i * (d + 2) + j))


def add_tiles(context: Any, b: Builder, signature: Any, args: Any) -> Value:
    """Add the moments of rows `start` to ``start + n_tiles * LANES`` to `out`.

    The arguments are those of `_few.TILES`. Rows are read to the next multiple of LANES elements:
    another must follow the last.
    """
    start, n_tiles = args[6], args[7]
    stop = b.add(start, b.mul(n_tiles, const(LANES)))
    sums = _Sums(context, b, signature, args)
    with emit.loop(b, start, stop, ROWS_A_RUN) as run:
        last = emit.smaller(b, b.add(run, const(ROWS_A_RUN)), stop)
        with emit.loop(b, run, last, TILE_ROWS) as first:
            n_rows = emit.smaller(b, const(TILE_ROWS), b.sub(last, first))
            sums.pack(first, n_rows)
            sums.multiply(n_rows)
        sums.end_run()
    sums.add_to_out()
    return context.get_dummy_value()
