"""Moments of up to 16 features in contiguous rows: products of couples of columns, in blocks.

For registers of 32 bytes.

A vector of features at a time, a tile of rows is converted, centred and put into the nearest cache,
two columns of a block of rows to a register. The products of its columns are taken meanwhile. Those
with other columns are taken from the cache: a few registers times one column after another, which a
load puts into both halves. So there are fewer loads than products, each of which would else take
one, and two loads take as long as two products.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from fastgd.backends.numba import _emit as emit
from fastgd.backends.numba._emit import Builder, Value, const
from fastgd.backends.numba._pairs import (
    LANES,
    ROWS,
    TARGET,
    TARGET_SUMS,
    UNROLLED,
    Columns,
    Pass,
    meanings,
    passes,
)

# Float32 of 100 MB, one thread: 4 features took 0.87 of the time of columns packed for `_gram`, 8
# and 12 0.7, 16 0.75, 20 and 24 0.8; but each number of them takes a kernel of its own. With
# registers of 64 bytes packed columns were faster (8 and 16 features: 0.8 to 0.85 of the time).
MOST_FEATURES = 16 if emit.REGISTER_BYTES == 32 else 0
# What is kept of a tile, 128 bytes a row at most, leaves room in the nearest cache.
TILE_ROWS = 128
# Rows of a run of sums: a single run over a hundred million equal terms would be off by 1e-11.
ROWS_A_RUN = 4 * TILE_ROWS
ROWS_AT_ONCE = UNROLLED * LANES


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
        # Of each column in a block.
        self._places = {c: ROWS * k for k, c in enumerate(c for couple in kept for c in couple)}
        self._n_sums = UNROLLED * TARGET_SUMS + sum(each.n_sums for each in self._passes)
        # In one array with the rows: LLVM would else keep them in registers from tile to tile,
        # where there are too few for what it does in between.
        size = TILE_ROWS // ROWS * LANES * len(kept)
        self._rows = self._room(size + LANES * self._n_sums)
        self._block_size = const(LANES * len(kept))
        self._sums = b.gep(self._rows, [const(size)])
        self._totals = self._room(LANES * self._n_sums)
        self._targets, self._roots = self._room(TILE_ROWS), self._room(TILE_ROWS)
        self._shifts = self._room(-(-d // LANES) * LANES)
        for j in range(d):
            b.store(b.load(b.gep(self._pivot.data, [const(j)])), b.gep(self._shifts, [const(j)]))
        self._target_shift = emit.splat(b, b.load(b.gep(self._pivot.data, [const(d)])), LANES)
        self._cursor = cgutils.alloca_once_value(b, const(0))

    def _room(self, size: int) -> Value:
        """Room for so many zeros, a multiple of LANES."""
        room = cgutils.alloca_once(self._b, emit.DOUBLE, size=size)
        room.align = emit.LINE_BYTES
        with emit.loop(self._b, const(0), const(size), LANES) as at:
            self._put(emit.zero(emit.DOUBLE, LANES), room, at)
        return room

    def _get(self, place: Value, at: Value, count: int = LANES) -> Value:
        return emit.load(self._b, place, at, count, emit.DOUBLE)

    def _put(self, value: Value, place: Value, at: Value) -> None:
        emit.store(self._b, value, place, at)

    def _both(self, place: Value, at: Value) -> Value:
        """A column of a block, in both halves of a register."""
        half = self._get(place, at, ROWS)
        return emit.end_to_end(self._b, [half, half])

    def _converted(self, array: Any, k: int, at: Value, count: int) -> Value:
        b = self._b
        return emit.convert(b, emit.load(b, array.data, at, count, self._types[k]), emit.DOUBLE)

    def _registers(self, first: int, number: int) -> emit.Accumulators:
        """So many of the sums, from memory."""
        sums = emit.Accumulators(self._b, emit.DOUBLE, LANES, number)
        for i in range(number):
            sums.put(self._b, i, self._get(self._sums, const(LANES * (first + i))))
        return sums

    def _keep(self, sums: emit.Accumulators, first: int) -> None:
        for i, value in enumerate(sums.get(self._b)):
            self._put(value, self._sums, const(LANES * (first + i)))

    def add(self, first: Value, n_rows: Value) -> None:
        """Add a tile of rows, while the next is fetched, gaps and all unless they are wide.

        A tile is read in a fraction of the time. With no gaps fetched, X[::2] and X[:, :16] took
        1.2 and 1.4 times as long as by a kernel that reads all along; so, 0.95 and 0.8 times.
        """
        b = self._b
        self._add_targets(first, n_rows)
        following = b.mul(b.add(first, const(TILE_ROWS)), self._stride)
        b.store(b.ptrtoint(b.gep(self._X.data, [following]), emit.I64), self._cursor)
        turns = sum(TILE_ROWS // ROWS // _unrolled(each) for each in self._passes)
        width = emit.size(self._types[0])
        step = b.sdiv(b.mul(self._stride, const(TILE_ROWS * width)), const(turns))
        step = b.add(step, const(1))
        narrow = b.icmp_signed("<=", step, const(emit.LINE_BYTES))
        step = b.select(narrow, step, const(0))
        start = UNROLLED * TARGET_SUMS
        for each in self._passes:
            sums = self._registers(start, each.n_sums)
            with emit.loop(b, const(0), n_rows, _unrolled(each) * ROWS) as begin:
                emit.prefetch(b, self._cursor, step)
                for k in range(_unrolled(each)):
                    self._add_block(sums, each, first, b.add(begin, const(ROWS * k)))
            self._keep(sums, start)
            start += each.n_sums

    def _add_targets(self, first: Value, n_rows: Value) -> None:
        """Targets, centred and times the roots of the weights, and these, into scratch."""
        b, number = self._b, TARGET_SUMS
        sums = self._registers(0, UNROLLED * number)
        with emit.loop(b, const(0), n_rows, ROWS_AT_ONCE) as begin:
            emit.prefetch_at(b, self._y.data, b.add(b.add(first, begin), const(TILE_ROWS)))
            for k in range(UNROLLED):
                i = b.add(begin, const(LANES * k))
                row = b.add(first, i)
                target = y_sum = b.fsub(self._converted(self._y, 1, row, LANES), self._target_shift)
                if self._weight is not None:
                    s = self._converted(self._weight, 0, row, LANES)
                    root = emit.square_root(b, s)
                    target, y_sum = b.fmul(root, target), emit.multiply(b, s, target)
                    self._put(root, self._roots, i)
                    sums.add(b, number * k + 2, s)
                self._put(target, self._targets, i)
                sums.add(b, number * k, emit.multiply(b, target, target))
                sums.add(b, number * k + 1, y_sum)
        self._keep(sums, 0)

    def _add_block(self, sums: emit.Accumulators, each: Pass, first: Value, i: Value) -> None:
        """Add the block that begins with row `i` of a tile, and keep what is read of it."""
        b = self._b
        block = b.mul(b.sdiv(i, const(ROWS)), self._block_size)
        rows = self._read(each, b.add(first, i), i) if each.couples else None
        factors: dict[tuple[Columns, bool], Value] = {}

        def factor(columns: Columns, by_rows: bool) -> Value:
            if (columns, by_rows) not in factors:
                if columns[0] == TARGET:
                    z = self._both(self._targets, i)
                elif any(columns[0] in couple for couple in each.couples):
                    z = self._pick(rows, each, columns, by_rows)
                else:
                    get = self._both if columns[0] == columns[1] else self._get
                    z = get(self._rows, b.add(block, const(self._places[columns[0]])))
                factors[columns, by_rows] = z
            return factors[columns, by_rows]

        for index, couple in enumerate(each.couples):
            z = z_sum = factor(couple, False)
            if self._weight is not None:
                z_sum = emit.multiply(b, self._both(self._roots, i), z)
            sums.add(b, index, z_sum)
            if len(self._passes) > 1:
                self._put(z, self._rows, b.add(block, const(self._places[couple[0]])))
        for index, (left, right, by_rows) in enumerate(each.products, len(each.couples)):
            sums.add(b, index, emit.multiply(b, factor(left, by_rows), factor(right, by_rows)))

    def _read(self, each: Pass, row: Value, i: Value) -> Value:
        """A vector of each row of a block, centred and times the root of its weight, end to end."""
        b, begin, width = self._b, const(each.couples[0][0]), 2 * len(each.couples)
        rows = []
        for r in range(ROWS):
            at = b.add(b.mul(b.add(row, const(r)), self._stride), begin)
            z = b.fsub(
                self._converted(self._X, 0, at, width), self._get(self._shifts, begin, width)
            )
            if self._weight is not None:
                root = b.load(b.gep(self._roots, [b.add(i, const(r))]))
                z = b.fmul(emit.splat(b, root, width), z)
            rows.append(z)
        return emit.end_to_end(b, rows)

    def _pick(self, rows: Value, each: Pass, columns: Columns, by_rows: bool) -> Value:
        """Two columns of a vector of the rows of a block."""
        begin, width = each.couples[0][0], 2 * len(each.couples)
        parts = [[width * r + column - begin for r in range(ROWS)] for column in columns]
        by_columns = parts[0] + parts[1]
        order = [part[r] for r in range(ROWS) for part in parts] if by_rows else by_columns
        return emit.pick(self._b, rows, rows, order)

    def end_run(self) -> None:
        """Add the sums to their totals, and start again from zero."""
        with emit.loop(self._b, const(0), const(LANES * self._n_sums), LANES) as at:
            total = self._b.fadd(self._get(self._totals, at), self._get(self._sums, at))
            self._put(total, self._totals, at)
            self._put(emit.zero(emit.DOUBLE, LANES), self._sums, at)

    def add_to_out(self) -> None:
        """Add the totals to the products of the features, the target and a column of ones."""
        b = self._b
        parts = [range(ROWS), range(ROWS, LANES), range(0, LANES, 2), range(1, LANES, 2)]
        with emit.loop(b, const(0), const(LANES * self._n_sums), LANES) as at:
            value = self._get(self._totals, at)
            for k, lanes in enumerate(parts):  # in the place of the value
                part = emit.total(b, emit.pick(b, value, value, lanes))
                b.store(part, b.gep(self._totals, [b.add(at, const(k))]))
        places, columns = zip(*meanings(self._d), strict=True)
        one = self._d + 1
        outs = [min(pair) * (one + 1) + max(pair) for pair in columns]
        tables = [cgutils.global_constant(b, "places", _table(each)) for each in (places, outs)]
        with emit.loop(b, const(0), const(len(outs))) as k:
            place, out = (b.load(b.gep(table, [const(0), k])) for table in tables)
            part = b.load(b.gep(self._totals, [place]))
            emit.add_to_memory(b, part, self._out.data, out)


def _unrolled(each: Pass) -> int:
    return UNROLLED if each.couples else 1


def _table(numbers: Any) -> Value:
    return ir.Constant(ir.ArrayType(emit.I64, len(numbers)), [const(number) for number in numbers])


def add_tiles(context: Any, b: Builder, signature: Any, args: Any) -> Value:
    """Add the moments of rows `start` to ``start + n_tiles * ROWS_AT_ONCE`` to `out`.

    The arguments are those of `_few.TILES`, of one stream. Rows are read to the next even
    number of elements: where theirs is odd, another must follow the last.
    """
    start, n_tiles = args[6], args[7]
    stop = b.add(start, b.mul(n_tiles, const(ROWS_AT_ONCE)))
    sums = _Sums(context, b, signature, args)
    with emit.loop(b, start, stop, ROWS_A_RUN) as run:
        last = emit.smaller(b, b.add(run, const(ROWS_A_RUN)), stop)
        with emit.loop(b, run, last, TILE_ROWS) as first:
            sums.add(first, emit.smaller(b, const(TILE_ROWS), b.sub(last, first)))
        sums.end_run()
    sums.add_to_out()
    return context.get_dummy_value()
