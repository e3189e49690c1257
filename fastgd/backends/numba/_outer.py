"""Moments of up to 16 features in contiguous rows: outer products of rows, as they lie.

A tile of rows is converted and centred into the nearest cache, and its products are taken from
there, with no transposition: a vector of features times the row, turned by some elements, times one
element of another, or times the target.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core import cgutils

from fastgd.backends.numba import _emit as emit
from fastgd.backends.numba._emit import Builder, Value, const
from fastgd.backends.numba._turns import LANES, Product, following, products

# The first form of this, float32 from main memory, against columns of a transposed chunk: 4 and 8
# features took 0.7 of the time, 12 and 16 took 0.85. Later ones are no slower.
MOST_FEATURES = 16
TILE_ROWS = 32
UNROLLED_ROWS = 2
# Rows of a run of sums: a single run over a hundred million equal terms would be off by 1e-11.
ROWS_A_RUN = 16 * TILE_ROWS
# Sums that are added to at once: they fill the registers but for what is multiplied.
MOST_SUMS = 24 if emit.REGISTER_BYTES == 64 else 12
BYTES_AHEAD = 2048


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
        self._n_vectors = n = -(-d // LANES)
        self._products = products(d)
        # A single vector is turned in a register. Of more, the first products are taken while rows
        # are packed, as many as there are registers for beside the sums.
        self._n_packed = n * min(2, (MOST_SUMS - 4) // n - 1) if n > 1 else len(self._products)
        # Each vector is followed by that which follows it in the circle: what is read begins with
        # any element of the first, and never crosses the lines of the cache, which is slow.
        self._row_size = 2 * LANES * n
        self._targets, self._roots = self._room(TILE_ROWS), self._room(TILE_ROWS)
        # Of the vectors; of the target's square, the target and the weights; of the products.
        self._n_sums = n + 3 + len(self._products)
        # In one array with the rows: LLVM would else keep them in registers from tile to tile,
        # where there are too few for what it does in between.
        size = TILE_ROWS * self._row_size
        self._rows = self._room(size + LANES * self._n_sums)
        self._sums = b.gep(self._rows, [const(size)])
        self._totals = self._room(LANES * self._n_sums)
        self._shifts = self._room(LANES * (n + 1))
        for j in range(d):
            b.store(b.load(b.gep(self._pivot.data, [const(j)])), b.gep(self._shifts, [const(j)]))
        shift = emit.splat(b, b.load(b.gep(self._pivot.data, [const(d)])), LANES)
        self._put(shift, self._shifts, const(LANES * n))

    def _room(self, size: int) -> Value:
        """Room for so many zeros, a multiple of LANES."""
        room = cgutils.alloca_once(self._b, emit.DOUBLE, size=size)
        room.align = emit.LINE_BYTES
        with emit.loop(self._b, const(0), const(size), LANES) as at:
            self._put(self._zero(), room, at)
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
        """Rows, centred and times the roots of their weights, into scratch; sums, and products."""
        b, n_vectors = self._b, self._n_vectors
        sums = self._registers(0, n_vectors + 3 + self._n_packed)
        with emit.loop(b, const(0), n_rows, LANES) as i:
            row = b.add(first, i)
            self._fetch(row)
            self._pack_targets(sums, row, i)
            for k in range(LANES):
                at = b.add(i, const(k))
                begin = b.mul(b.add(row, const(k)), self._stride)
                vectors = [self._pack_vector(sums, begin, j, at) for j in range(n_vectors)]
                some = self._products[: self._n_packed]
                self._add_products(sums, n_vectors + 3, some, vectors, at)
                if n_vectors > 1:
                    self._put_row(vectors, at)
        self._keep(sums, 0)

    def _pack_targets(self, sums: emit.Accumulators, row: Value, i: Value) -> None:
        b, n_vectors = self._b, self._n_vectors
        shift = self._get(self._shifts, const(LANES * n_vectors))
        target = y_sum = b.fsub(self._converted(self._y, 1, row), shift)
        if self._weight is not None:
            s = self._converted(self._weight, 0, row)
            root = emit.square_root(b, s)
            target, y_sum = b.fmul(root, target), emit.multiply(b, s, target)
            self._put(root, self._roots, i)
            sums.add(b, n_vectors + 2, s)
        self._put(target, self._targets, i)
        sums.add(b, n_vectors, emit.multiply(b, target, target))
        sums.add(b, n_vectors + 1, y_sum)

    def _pack_vector(self, sums: emit.Accumulators, begin: Value, j: int, at: Value) -> Value:
        b = self._b
        x = self._converted(self._X, 0, b.add(begin, const(LANES * j)))
        z = z_sum = b.fsub(x, self._get(self._shifts, const(LANES * j)))
        if self._weight is not None:
            root = self._splat(self._roots, at)
            z = b.fmul(root, z)
            z_sum = emit.multiply(b, root, z)
        sums.add(b, j, z_sum)
        return z

    def _put_row(self, vectors: list[Value], i: Value) -> None:
        b = self._b
        begin = b.mul(i, const(self._row_size))
        for j, z in enumerate(vectors):
            at = b.add(begin, const(2 * LANES * j))
            self._put(z, self._rows, at)
            self._put(vectors[following(j, self._d)], self._rows, b.add(at, const(LANES)))

    def multiply(self, n_rows: Value) -> None:
        """The other products of the rows in scratch, as many at once as there are registers for."""
        others = self._products[self._n_packed :]
        number = max(1, -(-len(others) // MOST_SUMS))
        length = -(-len(others) // number)
        for first in range(0, len(others), length or 1):
            some = others[first : first + length]
            place = self._n_vectors + 3 + self._n_packed + first
            sums = self._registers(place, len(some))
            with emit.loop(self._b, const(0), n_rows, UNROLLED_ROWS) as i:
                for k in range(UNROLLED_ROWS):
                    at = self._b.add(i, const(k))
                    begin = self._b.mul(at, const(self._row_size))
                    vectors = {
                        j: self._get(self._rows, self._b.add(begin, const(2 * LANES * j)))
                        for j in {each.left for each in some} | {each.right for each in some}
                    }
                    self._add_products(sums, 0, some, vectors, at)
            self._keep(sums, place)

    def _add_products(
        self, sums: emit.Accumulators, first: int, some: list[Product], vectors: Any, i: Value
    ) -> None:
        """Products of row `i` of the tile, whose `vectors` are given, to `sums` from `first` on."""
        b = self._b
        for index, (kind, left, right, place) in enumerate(some, first):
            at = b.add(b.mul(i, const(self._row_size)), const(2 * LANES * right + place))
            if kind == "target":
                factor = self._splat(self._targets, i)
            elif kind == "element":
                factor = self._splat(self._rows, at)
            elif place == 0:
                factor = vectors[right]
            elif self._n_vectors == 1:
                turned = [(lane + place) % LANES for lane in range(LANES)]
                factor = emit.pick(b, vectors[right], vectors[right], turned)
            else:
                factor = self._get(self._rows, at)
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
        d, n_vectors = self._d, self._n_vectors
        places = {(j, d + 1): j for j in range(d)}  # in `totals`, of each pair of columns
        for index, each in enumerate(self._products, n_vectors + 3):
            places |= {(i, j): LANES * index + lane for lane, i, j in each.pairs(d)}
        for (i, j), place in places.items():
            total = self._b.load(self._b.gep(self._totals, [const(place)]))
            emit.add_to_memory(self._b, total, self._out.data, const(i * (d + 2) + j))
        for k, (i, j) in enumerate(((d, d), (d, d + 1), (d + 1, d + 1))):
            total = emit.total(self._b, self._get(self._totals, const(LANES * (n_vectors + k))))
            emit.add_to_memory(self._b, total, self._out.data, const(i * (d + 2) + j))


def add_tiles(context: Any, b: Builder, signature: Any, args: Any) -> Value:
    """Add the moments of rows `start` to ``start + n_tiles * LANES`` to `out`.

    The arguments are those of `_few.TILES`, of one stream. Rows are read to the next multiple of
    LANES elements: another must follow the last.
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
