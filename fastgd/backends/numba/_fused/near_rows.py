"""The fused kernel for short rows that are in cache, where registers are of 64 bytes.

A block of rows is read and converted once: it is kept in registers until its residuals are known.
These are put into cache; then each, which a load puts into all elements, multiplies its row. The
number of features is a constant here, and so is the distance of rows that have no gaps between
them. Nothing is fetched ahead. (From main memory, loads that reach beyond a row and pairs of rows
in a register, as here, came at 0.93 to 0.97 of the speed of `kept_rows`, in single precision.)
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from fastgd.backends.numba._fused.near_layout import layout
from fastgd.backends.numba._fused.residuals import Residuals
from fastgd.backends.numba._fused.rows import ROWS_A_RUN
from fastgd.backends.numba._vectors import emit, exchange
from fastgd.backends.numba._vectors.emit import Builder, Value, const

# Rows are read as two streams far apart: of one, 8 and 16 features were 0.95 times as fast.
STREAMS = 2
# Sums of their own for rows beside each other, so that no addition waits for the one before.
SUMS_APART = 4
TERMS_A_RUN = 32  # in float32, in a lane
PART = 4  # elements of a part of a register of float32


def rows_at_once(context: Any, signature: Any) -> int:
    """Rows that a turn of the loop takes."""
    return STREAMS * layout(context, signature).rows


def add_rows(
    context: Any, b: Builder, signature: Any, args: Any, start: Value, n_turns: Value, gaps: bool
) -> None:
    """Add the sums of `n_turns` times `rows_at_once` rows from row `start` on.

    A row must follow the last of them in memory.
    """
    NearRows(context, b, signature, args, gaps).add(start, n_turns)


class NearRows:
    """Sums of blocks of rows."""

    def __init__(self, context: Any, b: Builder, signature: Any, args: Any, gaps: bool) -> None:
        arrays = emit.arrays(context, b, signature, args)
        self._b, self._X, self._out = b, arrays[0], arrays[6]
        self._stored = context.get_value_type(signature.args[0].dtype)
        self._scalar = scalar = context.get_value_type(signature.args[4].dtype)
        self._layout = form = layout(context, signature)
        self._gaps = gaps
        self._stride = const(form.d)
        if gaps:
            step = cgutils.unpack_tuple(b, self._X.strides, 2)[0]
            self._stride = b.sdiv(step, const(emit.size(self._stored)))
        n_vectors = len(form.firsts)
        self._w = self._coefs(cgutils.unpack_tuple(b, args[4], form.d))
        self._mask = self._opaque_mask()
        self._residuals = Residuals(context, b, signature, args, scalar, form.rows)
        self._apart = max(1, SUMS_APART // n_vectors)
        self._totals = emit.Accumulators(b, emit.DOUBLE, form.lanes, n_vectors)
        self._sums = [
            emit.Accumulators(b, scalar, form.lanes, n_vectors) for _ in range(self._apart)
        ]
        # Residuals of the block that is read and of the one before, of each stream.
        self._room = cgutils.alloca_once(b, scalar, size=2 * STREAMS * form.rows)
        self._room.align = emit.LINE_BYTES
        if form.behind:
            number = form.rows * n_vectors
            self._kept = [emit.Accumulators(b, scalar, form.lanes, number) for _ in range(STREAMS)]
            for place in range(0, 2 * STREAMS * form.rows, form.rows):
                emit.store(b, emit.zero(scalar, form.rows), self._room, const(place))

    def add(self, start: Value, n_turns: Value) -> None:
        """Add the sums of all rows."""
        b, form = self._b, self._layout
        firsts = [
            b.add(start, b.mul(n_turns, const(form.rows * stream))) for stream in range(STREAMS)
        ]
        terms = ROWS_A_RUN[self._scalar]
        if self._scalar == emit.SINGLE:
            terms = TERMS_A_RUN * self._apart * (2 if form.in_pairs else 1)
        run = max(1, terms // (STREAMS * form.rows))
        with emit.loop(b, const(0), n_turns, run) as first:
            stop = emit.smaller(b, b.add(first, const(run)), n_turns)
            with emit.loop(b, first, stop) as turn:
                for stream in range(STREAMS):
                    self._add_block(stream, turn, firsts[stream])
            self._end_run()
        if form.behind:
            for stream in range(STREAMS):
                self._add_kept(stream, b.sub(n_turns, const(1)))
            self._end_run()
        self._add_to_out()

    def _coefs(self, coefs: list[Value]) -> list[Value]:
        """As the features are: vectors, and zero where there is none."""
        form, nil = self._layout, ir.Constant(self._scalar, 0.0)
        if form.in_pairs:
            coefs = 2 * (coefs + [nil] * (form.lanes // 2 - form.d))
        coefs = coefs + [nil] * (form.lanes * len(form.firsts) - len(coefs))
        return [
            emit.from_scalars(self._b, coefs[first : first + form.lanes]) for first in form.firsts
        ]

    def _opaque_mask(self) -> Value:
        """The lanes of the last vector of a row that are features, for a masked instruction.

        Of a constant, LLVM would make a shuffle for each product.
        """
        inside = self._layout.inside
        bits = ir.IntType(len(inside))
        mask = ir.Constant(bits, sum(1 << i for i, there in enumerate(inside) if there))
        kind = ir.FunctionType(bits, [bits])
        mask = self._b.asm(kind, "", "=r,0", [mask], side_effect=False)
        return self._b.bitcast(mask, ir.VectorType(ir.IntType(1), len(inside)))

    def _read(self, row: Value) -> list[list[Value]]:
        """A block of rows from `row` on: the vectors of each, or of each pair."""
        b, form = self._b, self._layout
        half = form.lanes // 2
        base = b.mul(row, self._stride)
        rows = []
        for i in range(0, form.rows, 2 if form.in_pairs else 1):
            place = b.add(base, b.mul(self._stride, const(i)))
            if not form.in_pairs:
                rows.append([self._part(place, first) for first in form.firsts])
            elif self._gaps:
                pair = [self._features(at, half) for at in (place, b.add(place, self._stride))]
                rows.append([exchange.end_to_end(b, pair)])
            else:
                x = self._features(place, form.lanes)
                places = [*range(half), *(min(form.d + k, form.lanes - 1) for k in range(half))]
                rows.append([x if form.d == half else emit.pick(b, x, x, places)])
        return rows

    def _part(self, place: Value, first: int) -> Value:
        """The vector of features from `first` on, and anything behind the last feature."""
        form = self._layout
        width = form.last_width if first == form.firsts[-1] else form.lanes
        x = self._features(self._b.add(place, const(first)), width)
        if width == form.lanes:
            return x
        rest = emit.zero(self._scalar, width)
        return emit.pick(self._b, x, rest, [min(i, width) for i in range(form.lanes)])

    def _features(self, place: Value, count: int) -> Value:
        x = emit.load(self._b, self._X.data, place, count, self._stored)
        return emit.convert(self._b, x, self._scalar)

    def _products(self, rows: list[list[Value]]) -> Value:
        """The products of a block of rows with the coefficients."""
        b, form = self._b, self._layout
        dots = [self._dot(x) for x in rows]
        if not form.in_pairs:
            return exchange.row_sums(b, dots)
        # The parts of these sums are of the first rows of four pairs, and of their second rows.
        found = exchange.part_sums(b, dots)
        places = [i // 8 * 8 + i % 2 * PART + i // 2 % PART for i in range(form.rows)]
        return emit.pick(b, found, found, places)

    def _dot(self, x: list[Value]) -> Value:
        b = self._b
        dot = emit.zero(self._scalar, self._layout.lanes)
        for v, (xv, wv) in enumerate(zip(x, self._w, strict=True)):
            before = dot
            dot = b.fmul(xv, wv) if v == 0 else emit.multiply_add(b, xv, wv, before)
        # What lies behind a row may be infinite or NaN, which is not its product with zero.
        return dot if all(self._layout.inside) else b.select(self._mask, dot, before)

    def _add_block(self, stream: int, turn: Value, first: Value) -> None:
        b, form = self._b, self._layout
        if form.behind:
            self._add_kept(stream, b.sub(turn, const(1)))
        row = b.add(first, b.mul(turn, const(form.rows)))
        rows = self._read(row)
        if form.behind:
            for index, x in enumerate(vector for vectors in rows for vector in vectors):
                self._kept[stream].put(b, index, x)
        sr = self._residuals.of_products(self._products(rows), row)
        if form.in_pairs:
            self._add_pairs(sr, rows)
            return
        place = self._place(stream, turn)
        emit.store(b, sr, place, const(0))
        if not form.behind:
            self._add_gradient(self._opaque(place), rows)

    def _place(self, stream: int, turn: Value) -> Value:
        """Where the residuals are that a turn of the loop puts into cache."""
        b = self._b
        odd = b.and_(turn, const(1))
        return b.gep(self._room, [b.mul(b.add(odd, const(2 * stream)), const(self._layout.rows))])

    def _opaque(self, pointer: Value) -> Value:
        """`pointer`, of which LLVM does not know what is there: it would shuffle, not load."""
        kind = ir.FunctionType(pointer.type, [pointer.type])
        return self._b.asm(kind, "", "=r,0,~{memory}", [pointer], side_effect=True)

    def _add_kept(self, stream: int, turn: Value) -> None:
        """Add the gradient of the block that this turn of the loop has read."""
        vectors = self._kept[stream].get(self._b)
        number = len(self._layout.firsts)
        rows = [vectors[first : first + number] for first in range(0, len(vectors), number)]
        self._add_gradient(self._place(stream, turn), rows)

    def _add_gradient(self, place: Value, rows: list[list[Value]]) -> None:
        b = self._b
        for i, x in enumerate(rows):
            factor = emit.splat(b, b.load(b.gep(place, [const(i)])), self._layout.lanes)
            for v, xv in enumerate(x):
                self._sums[i % self._apart].multiply_add(b, v, factor, xv)

    def _add_pairs(self, sr: Value, rows: list[list[Value]]) -> None:
        """Add the gradient of pairs of rows, by shuffles within parts."""
        b, lanes = self._b, self._layout.lanes
        for first in range(0, len(rows), PART):
            evens = [2 * (first + i) for i in range(PART)]
            odds = [i + 1 for i in evens]
            some = emit.pick(b, sr, sr, [*evens, *evens, *odds, *odds])
            for i in range(PART):
                factor = emit.pick(b, some, some, [k // PART * PART + i for k in range(lanes)])
                self._sums[i % self._apart].multiply_add(b, 0, factor, rows[first + i][0])

    def _end_run(self) -> None:
        b = self._b
        for v, some in enumerate(zip(*(each.get(b) for each in self._sums), strict=True)):
            self._totals.add(b, v, emit.convert(b, emit.tree_sum(b, some), emit.DOUBLE))
        for each in self._sums:
            each.clear(b)
        self._residuals.end_run()

    def _add_to_out(self) -> None:
        b, form = self._b, self._layout
        for first, value in zip(form.firsts, self._totals.get(b), strict=True):
            for lane in range(min(form.lanes, form.d - first)):
                places = (lane, lane + form.lanes // 2) if form.in_pairs else (lane,)
                for place in places:
                    one = b.extract_element(value, ir.Constant(emit.I32, place))
                    emit.add_to_memory(b, one, self._out.data, const(first + lane))
        self._residuals.add_to(self._out.data, const(form.d))
