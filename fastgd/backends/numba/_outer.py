"""Moments of up to 16 features in contiguous rows: products of pairs of columns, block by block.

A tile of rows is converted, centred and put into the nearest cache, two columns of a block of rows
to a register. Its products are taken there and then, or from the cache: of registers with one
column after another, which a load puts into both halves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core import cgutils

from fastgd.backends.numba import _emit as emit
from fastgd.backends.numba._emit import Builder, Value, const
from fastgd.backends.numba._pairs import LANES, ROWS, TARGET, Columns, Pass, Product, passes

MOST_FEATURES = 16
TILE_ROWS = 64
# Rows of a run of sums: a single run over a hundred million equal terms would be off by 1e-11.
ROWS_A_RUN = 512
KEEP = None
SETS = 2
UR = UT = 1
PF = 1


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
        self._passes = passes(d)
        kept = [couple for each in self._passes for couple in each.couples]
        self._places = {
            column: LANES * k + ROWS * half
            for k, couple in enumerate(kept)
            for half, column in enumerate(couple)
        }
        self._block = LANES * len(kept)
        # Of the target: its squares, itself and the weights; of each pass: columns and products.
        self._n_sums = 3 * SETS + sum(len(each.couples) + len(each.products) for each in self._passes)
        # In one array with the rows: LLVM would else keep them in registers from tile to tile,
        # where there are too few for what it does in between.
        size = TILE_ROWS // ROWS * self._block
        self._rows = self._room(size + LANES * self._n_sums)
        self._sums = b.gep(self._rows, [const(size)])
        self._totals = self._room(LANES * self._n_sums)
        self._targets, self._roots = self._room(TILE_ROWS), self._room(TILE_ROWS)
        self._shifts = self._room(-(-d // LANES) * LANES)
        for column in range(d):
            shift = b.load(b.gep(self._pivot.data, [const(column)]))
            b.store(shift, b.gep(self._shifts, [const(column)]))
        self._target_shift = emit.splat(b, b.load(b.gep(self._pivot.data, [const(d)])), LANES)
        self._cursor = cgutils.alloca_once_value(b, const(0))
        turns = TILE_ROWS // ROWS * len(self._passes)
        step = -(-TILE_ROWS * d * emit.size(self._types[0]) // turns)
        contiguous = b.icmp_signed("==", self._stride, const(d))
        self._step = b.select(contiguous, const(step), const(0))

    def _room(self, size: int) -> Value:
        """Room for so many zeros, a multiple of LANES."""
        room = cgutils.alloca_once(self._b, emit.DOUBLE, size=size)
        room.align = emit.LINE_BYTES
        with emit.loop(self._b, const(0), const(size), LANES) as at:
            self._put(self._zero(), room, at)
        return room

    def _zero(self) -> Value:
        return emit.zero(emit.DOUBLE, LANES)

    def _get(self, place: Value, at: Value, count: int = LANES) -> Value:
        return emit.load(self._b, place, at, count, emit.DOUBLE)

    def _both(self, place: Value, at: Value) -> Value:
        """A column of a block, in both halves of a register."""
        half = self._get(place, at, ROWS)
        return emit.end_to_end(self._b, [half, half])

    def _put(self, value: Value, place: Value, at: Value) -> None:
        emit.store(self._b, value, place, at)

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

    def _converted(self, array: Any, k: int, at: Value, count: int) -> Value:
        b = self._b
        return emit.convert(b, emit.load(b, array.data, at, count, self._types[k]), emit.DOUBLE)

    def add(self, first: Value, n_rows: Value) -> None:
        """Add a tile of rows."""
        self._add_targets(first, n_rows)
        b = self._b
        place = b.mul(b.add(first, const(TILE_ROWS)), self._stride)
        b.store(b.ptrtoint(b.gep(self._X.data, [place]), emit.I64), self._cursor)
        start = 3 * SETS
        for index, each in enumerate(self._passes):
            if KEEP is None or index in KEEP:
                self._add_pass(each, start, first, n_rows)
            start += len(each.couples) + len(each.products)

    def _add_targets(self, first: Value, n_rows: Value) -> None:
        """Targets, centred and times the roots of the weights, and these, into scratch."""
        b = self._b
        sums = self._registers(0, 3 * SETS)
        with emit.loop(b, const(0), n_rows, LANES * SETS) as begin:
            emit.prefetch_at(b, self._y.data, b.add(b.add(first, begin), const(TILE_ROWS)))
            for k in range(SETS):
                i = b.add(begin, const(LANES * k))
                row = b.add(first, i)
                target = y_sum = b.fsub(self._converted(self._y, 1, row, LANES), self._target_shift)
                if self._weight is not None:
                    s = self._converted(self._weight, 0, row, LANES)
                    root = emit.square_root(b, s)
                    target, y_sum = b.fmul(root, target), emit.multiply(b, s, target)
                    self._put(root, self._roots, i)
                    sums.add(b, 3 * k + 2, s)
                self._put(target, self._targets, i)
                sums.add(b, 3 * k, emit.multiply(b, target, target))
                sums.add(b, 3 * k + 1, y_sum)
        self._keep(sums, 0)

    def _add_pass(self, each: Pass, start: int, first: Value, n_rows: Value) -> None:
        b = self._b
        sums = self._registers(start, len(each.couples) + len(each.products))
        unroll = UR if each.couples else UT
        with emit.loop(b, const(0), n_rows, unroll * ROWS) as i0:
          if PF: emit.prefetch(b, self._cursor, self._step)
          for u in range(unroll):
            i = b.add(i0, const(u * ROWS))
            block = b.mul(b.sdiv(i, const(ROWS)), const(self._block))
            rows = self._read(each, b.add(first, i), i) if each.couples else None
            factors: dict[tuple[Columns, bool], Value] = {}
            for index, couple in enumerate(each.couples):
                z = z_sum = self._pick(rows, each, couple, False)
                if self._weight is not None:
                    z_sum = emit.multiply(b, self._both(self._roots, i), z)
                sums.add(b, index, z_sum)
                factors[couple, False] = z
                if len(self._passes) > 1:
                    self._put(z, self._rows, b.add(block, const(self._places[couple[0]])))

            def factor(columns, by_rows):
                if (columns, by_rows) not in factors:
                    if columns[0] == TARGET:
                        z = self._both(self._targets, i)
                    elif rows is not None and any(columns[0] in couple for couple in each.couples):
                        z = self._pick(rows, each, columns, by_rows)
                    else:
                        at = b.add(block, const(self._places[columns[0]]))
                        same = columns[0] == columns[1]
                        z = self._both(self._rows, at) if same else self._get(self._rows, at)
                    factors[columns, by_rows] = z
                return factors[columns, by_rows]

            for index, product in enumerate(each.products, len(each.couples)):
                left, right = (factor(c, product.by_rows) for c in product[:2])
                sums.add(b, index, emit.multiply(b, left, right))
        self._keep(sums, start)

    def _read(self, each: Pass, row: Value, i: Value) -> list[Value]:
        """Features of a block of rows, end to end, centred and times the roots of the weights."""
        b = self._b
        width, begin = 2 * len(each.couples), const(each.couples[0][0])
        rows = []
        for r in range(ROWS):
            at = b.add(b.mul(b.add(row, const(r)), self._stride), begin)
            z = self._converted(self._X, 0, at, width)
            z = b.fsub(z, self._get(self._shifts, begin, width))
            if self._weight is not None:
                root = b.load(b.gep(self._roots, [b.add(i, const(r))]))
                z = b.fmul(emit.splat(b, root, width), z)
            rows.append(z)
        return emit.end_to_end(b, rows)

    def _pick(self, rows: Value, each: Pass, columns: Columns, by_rows: bool) -> Value:
        width, begin = 2 * len(each.couples), each.couples[0][0]
        lanes = [[width * r + column - begin for r in range(ROWS)] for column in columns]
        order = [lane for pair in zip(*lanes) for lane in pair] if by_rows else lanes[0] + lanes[1]
        return emit.pick(self._b, rows, rows, order)

    def end_run(self) -> None:
        """Add the sums to their totals, and start again from zero."""

        def move(at: Value) -> None:
            total = self._b.fadd(self._get(self._totals, at), self._get(self._sums, at))
            self._put(total, self._totals, at)
            self._put(self._zero(), self._sums, at)

        self._for_sums(move)

    def add_to_out(self) -> None:
        """Add the totals to the products of the features, the target and a column of ones."""
        b, d = self._b, self._d
        places = {}  # in `totals`, of pairs of columns; -2 is the column of ones
        start = 3 * SETS
        for each in self._passes:
            for index, couple in enumerate(each.couples, start):
                ones = Product(couple, (couple[0],couple[0]))
                for half, column in enumerate(couple):
                    if column < d: places[d + 1, column] = index, list(range(half*ROWS, (half+1)*ROWS))
            start += len(each.couples)
            for index, product in enumerate(each.products, start):
                places |= {pair: (index, lanes) for pair, lanes in product.pairs(d).items()}
            start += len(each.products)
        for pair, (index, lanes) in places.items():
            value = self._get(self._totals, const(LANES * index))
            total = emit.total(b, emit.pick(b, value, value, lanes))
            i, j = sorted(d if column == TARGET else column for column in pair)
            emit.add_to_memory(b, total, self._out.data, const(i * (d + 2) + j))
        for k, (i, j) in enumerate(((d, d), (d, d + 1), (d + 1, d + 1))):
            total = emit.total(b, emit.tree_sum(b, [self._get(self._totals, const(LANES * (k + 3 * m))) for m in range(SETS)]))
            emit.add_to_memory(self._b, total, self._out.data, const(i * (d + 2) + j))


def add_tiles(context: Any, b: Builder, signature: Any, args: Any) -> Value:
    """Add the moments of rows `start` to ``start + n_tiles * LANES`` to `out`.

    The arguments are those of `_few.TILES`, of one stream. Rows are read to the next multiple of
    LANES elements: another must follow the last.
    """
    start, n_tiles = args[6], args[7]
    stop = b.add(start, b.mul(n_tiles, const(LANES * SETS)))
    sums = _Sums(context, b, signature, args)
    with emit.loop(b, start, stop, ROWS_A_RUN) as run:
        last = emit.smaller(b, b.add(run, const(ROWS_A_RUN)), stop)
        with emit.loop(b, run, last, TILE_ROWS) as first:
            n_rows = emit.smaller(b, const(TILE_ROWS), b.sub(last, first))
            sums.add(first, n_rows)
        sums.end_run()
    sums.add_to_out()
    return context.get_dummy_value()
