"""Sums of products over tiles of rows: what the kernels for some features have in common.

A tile is so short that its features, once converted and centred, stay in the nearest cache while
pass after pass multiplies some of them, each pass with as many sums as registers hold.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from fastgd.backends.numba._vectors import emit, exchange
from fastgd.backends.numba._vectors.emit import Builder, Value, const

# What is kept of a tile, 192 bytes a row at most, leaves room in the nearest cache.
TILE_ROWS = 128
# Rows of a run of sums: a single run over a hundred million equal terms would be off by 1e-11.
ROWS_A_RUN = 4 * TILE_ROWS
# Registers of targets, or blocks that are read, in a turn of a loop. Targets have sums for each:
# with one, every addition would wait for the last.
UNROLLED = 2
TARGET_SUMS = 3  # of the squares of targets, of targets, of weights
FIRST_SUM = UNROLLED * TARGET_SUMS  # but those of targets

# A place among sums, and the pair of columns whose products are summed there, in part. The places
# of a register's room are of its parts, as `_parts` has them. The target is column d, and ones are
# column d + 1.
Meaning = tuple[int, tuple[int, int]]


class TileSums(ABC):
    """The sums of all rows, and scratch of a tile, on the stack.

    Of registers of `lanes` elements: those of the targets, then so many for each pass over a tile
    as `pass_sums` says. `n_kept` is how many numbers of a tile are kept.
    """

    def __init__(
        self,
        context: Any,
        b: Builder,
        signature: Any,
        args: Any,
        lanes: int,
        pass_sums: list[int],
        n_kept: int,
    ) -> None:
        self._b, self._lanes = b, lanes
        arrays = emit.arrays(context, b, signature, args)
        self._X, self._y, self._weight, self._pivot, self._out = (
            arrays[i] for i in (0, 1, 2, 3, 5)
        )
        self._types = [context.get_value_type(signature.args[i].dtype) for i in (0, 1)]
        self._d = signature.args[4].count
        self._strides = [
            b.sdiv(stride, const(emit.size(self._types[0])))
            for stride in cgutils.unpack_tuple(b, self._X.strides, 2)
        ]
        self._pass_sums = pass_sums
        self._n_sums = FIRST_SUM + sum(pass_sums)
        # In one array with what is kept: LLVM would else keep sums in registers from tile to tile,
        # where there are too few for what it does in between.
        self._kept = self._room(n_kept + lanes * self._n_sums)
        self._sums = b.gep(self._kept, [const(n_kept)])
        self._totals = self._room(lanes * self._n_sums)
        self._targets, self._roots = self._room(TILE_ROWS), self._room(TILE_ROWS)
        self._target_shift = emit.splat(b, self._shift(self._d), lanes)

    @abstractmethod
    def add(self, first: Value, n_rows: Value) -> None:
        """Add a tile of rows, while the next is fetched."""

    @abstractmethod
    def meanings(self) -> Iterator[Meaning]:
        """What each sum but those of the targets is of."""

    def _parts(self) -> list[range]:
        """The elements of a register that are summed with each other.

        The first ones, of equal length, make up the whole register.
        """
        lanes = self._lanes
        halves = [range(lanes // 2), range(lanes // 2, lanes)]
        return [*halves, range(0, lanes, 2), range(1, lanes, 2)]

    def _shift(self, column: int) -> Value:
        return self._b.load(self._b.gep(self._pivot.data, [const(column)]))

    def _room(self, size: int) -> Value:
        """Room for so many zeros, a multiple of the lanes."""
        room = cgutils.alloca_once(self._b, emit.DOUBLE, size=size)
        room.align = emit.LINE_BYTES
        with emit.loop(self._b, const(0), const(size), self._lanes) as at:
            self._put(emit.zero(emit.DOUBLE, self._lanes), room, at)
        return room

    def _get(self, place: Value, at: Value, count: int | None = None) -> Value:
        return emit.load(self._b, place, at, count or self._lanes, emit.DOUBLE)

    def _put(self, value: Value, place: Value, at: Value) -> None:
        emit.store(self._b, value, place, at)

    def _converted(self, array: Any, k: int, at: Value, count: int) -> Value:
        b = self._b
        return emit.convert(b, emit.load(b, array.data, at, count, self._types[k]), emit.DOUBLE)

    def _fetch(self, array: Any, k: int, at: Value, number: int) -> None:
        """Have so many elements fetched into cache."""
        for i in range(0, number, emit.LINE_BYTES // emit.size(self._types[k])):
            emit.prefetch_at(self._b, array.data, self._b.add(at, const(i)))

    def _registers(self, first: int, number: int) -> emit.Accumulators:
        """So many of the sums, from memory."""
        sums = emit.Accumulators(self._b, emit.DOUBLE, self._lanes, number)
        for i in range(number):
            sums.put(self._b, i, self._get(self._sums, const(self._lanes * (first + i))))
        return sums

    def _keep(self, sums: emit.Accumulators, first: int) -> None:
        for i, value in enumerate(sums.get(self._b)):
            self._put(value, self._sums, const(self._lanes * (first + i)))

    def _in_passes(self) -> Iterator[tuple[int, emit.Accumulators]]:
        """For each pass over a tile: its number, and its sums, to be added to."""
        first = FIRST_SUM
        for k, number in enumerate(self._pass_sums):
            sums = self._registers(first, number)
            yield k, sums
            self._keep(sums, first)
            first += number

    def _add_targets(self, first: Value, n_rows: Value) -> None:
        """Targets, centred and times the roots of the weights, and these, into scratch."""
        b, number, lanes = self._b, TARGET_SUMS, self._lanes
        sums = self._registers(0, FIRST_SUM)
        with emit.loop(b, const(0), n_rows, UNROLLED * lanes) as begin:
            later = b.add(b.add(first, begin), const(TILE_ROWS))
            self._fetch(self._y, 1, later, UNROLLED * lanes)
            if self._weight is not None:
                self._fetch(self._weight, 0, later, UNROLLED * lanes)
            for k in range(UNROLLED):
                i = b.add(begin, const(lanes * k))
                row = b.add(first, i)
                target = y_sum = b.fsub(self._converted(self._y, 1, row, lanes), self._target_shift)
                if self._weight is not None:
                    s = self._converted(self._weight, 0, row, lanes)
                    root = emit.square_root(b, s)
                    target, y_sum = b.fmul(root, target), emit.multiply(b, s, target)
                    self._put(root, self._roots, i)
                    sums.add(b, number * k + 2, s)
                self._put(target, self._targets, i)
                sums.add(b, number * k, emit.multiply(b, target, target))
                sums.add(b, number * k + 1, y_sum)
        self._keep(sums, 0)

    def end_run(self) -> None:
        """Add the sums to their totals, and start again from zero."""
        size = const(self._lanes * self._n_sums)
        with emit.loop(self._b, const(0), size, self._lanes) as at:
            total = self._b.fadd(self._get(self._totals, at), self._get(self._sums, at))
            self._put(total, self._totals, at)
            self._put(emit.zero(emit.DOUBLE, self._lanes), self._sums, at)

    def add_to_out(self) -> None:
        """Add the totals to the products of the features, the target and a column of ones."""
        b, lanes = self._b, self._lanes
        with emit.loop(b, const(0), const(lanes * self._n_sums), lanes) as at:
            value = self._get(self._totals, at)
            for k, some in enumerate(self._parts()):  # in the place of the value
                part = exchange.total(b, emit.pick(b, value, value, some))
                b.store(part, b.gep(self._totals, [b.add(at, const(k))]))
        places, columns = zip(*self._meanings_of_targets(), *self.meanings(), strict=True)
        one = self._d + 1
        outs = [min(pair) * (one + 1) + max(pair) for pair in columns]
        tables = [cgutils.global_constant(b, "places", _table(each)) for each in (places, outs)]
        with emit.loop(b, const(0), const(len(outs))) as k:
            place, out = (b.load(b.gep(table, [const(0), k])) for table in tables)
            part = b.load(b.gep(self._totals, [place]))
            emit.add_to_memory(b, part, self._out.data, out)

    def _meanings_of_targets(self) -> Iterator[Meaning]:
        target, one = self._d, self._d + 1
        pairs = ((target, target), (target, one), (one, one)) * UNROLLED
        for index, pair in enumerate(pairs):
            yield from self._whole(index, pair)

    def _whole(self, index: int, pair: tuple[int, int]) -> Iterator[Meaning]:
        """All elements of a register of sums are of one pair."""
        n_parts = self._lanes // len(self._parts()[0])
        yield from ((self._lanes * index + k, pair) for k in range(n_parts))


def _table(numbers: Any) -> Value:
    return ir.Constant(ir.ArrayType(emit.I64, len(numbers)), [const(number) for number in numbers])


def tile_adder(kind: Callable[[Any, Builder, Any, Any], TileSums], rows_at_once: int) -> Any:
    """A function that adds the moments of rows `start` to ``start + n_tiles * rows_at_once``.

    Its arguments are those of `few.TILES`, of one stream.
    """

    def add_tiles(context: Any, b: Builder, signature: Any, args: Any) -> Value:
        start, n_tiles = args[6], args[7]
        stop = b.add(start, b.mul(n_tiles, const(rows_at_once)))
        sums = kind(context, b, signature, args)
        with emit.loop(b, start, stop, ROWS_A_RUN) as run:
            last = emit.smaller(b, b.add(run, const(ROWS_A_RUN)), stop)
            with emit.loop(b, run, last, TILE_ROWS) as first:
                sums.add(first, emit.smaller(b, const(TILE_ROWS), b.sub(last, first)))
            sums.end_run()
        sums.add_to_out()
        return context.get_dummy_value()

    return add_tiles
