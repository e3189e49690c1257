"""From products to residuals: what the fused kernels share."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from fastgd.backends.numba._vectors import emit, exchange, masked
from fastgd.backends.numba._vectors.emit import Builder, Value, const

# The first of neighbouring rows, or each row.
Rows = Value | list[Value]


class Residuals:
    """Residuals of `count` rows at a time; it adds up their squares, themselves, and weights."""

    def __init__(
        self, context: Any, b: Builder, signature: Any, args: Any, scalar: Any, count: int
    ) -> None:
        arrays = emit.arrays(context, b, signature, args)
        self._b, self._scalar, self._count = b, scalar, count
        self._y, self._weight, self._prediction = arrays[1], arrays[2], arrays[3]
        self._stored = context.get_value_type(signature.args[0].dtype)
        self._y_stored = context.get_value_type(signature.args[1].dtype)
        intercept = args[5]
        self._intercept = emit.splat(b, intercept, count)
        high = emit.convert(b, intercept, scalar)
        low = emit.convert(b, b.fsub(intercept, emit.convert(b, high, emit.DOUBLE)), scalar)
        self._high, self._low = emit.splat(b, high, count), emit.splat(b, low, count)
        number = 2 if self._weight is None else 3
        self._sums = emit.Accumulators(b, scalar, count, number)
        self._totals = emit.Accumulators(b, emit.DOUBLE, count, number)

    def of_terms(
        self, coefs: list[Value], columns: list[Value], rows: Rows, apart: bool = False
    ) -> Value:
        """Weighted residuals of `rows`, given the columns of them.

        Every other term is added up `apart`, so that each addition waits for fewer before it; not
        where predictions are kept.
        """
        b = self._b
        if self._prediction is not None:
            return self.of_products(self._added(None, coefs, columns), rows)
        r = self._shifted(rows)
        if not apart:
            return self._weighted(self._added(r, coefs, columns), rows)
        even = self._added(r, coefs[::2], columns[::2])
        odd = self._added(None, coefs[1::2], columns[1::2])
        return self._weighted(b.fadd(even, odd), rows)

    def _added(self, r: Value | None, coefs: list[Value], columns: list[Value]) -> Value:
        """The products of these terms, added to `r`."""
        for w, x in zip(coefs, columns, strict=True):
            r = self._b.fmul(w, x) if r is None else emit.multiply_add(self._b, w, x, r)
        return r

    def of_products(self, product: Value, rows: Rows, bits: Value | None = None) -> Value:
        """Weighted residuals of `rows`, given their products; of those whose bits are set."""
        b = self._b
        if self._prediction is not None:
            predicted = emit.convert(b, b.fadd(product, self._high), self._stored)
            self._store(predicted, self._prediction.data, rows, bits)
        return self._weighted(b.fadd(product, self._shifted(rows, bits)), rows, bits)

    def _weighted(self, r: Value, rows: Rows, bits: Value | None = None) -> Value:
        b = self._b
        if bits is not None:
            r = b.select(bits, r, emit.zero(self._scalar, self._count))
        sr = r
        if self._weight is not None:
            s = self._load(self._weight.data, rows, self._stored, bits)
            s = emit.convert(b, s, self._scalar)
            sr = b.fmul(s, r)
            self._sums.plus(b, 2, s)
        self._sums.multiply_add(b, 0, sr, r)
        self._sums.plus(b, 1, sr)
        return sr

    def _shifted(self, rows: Rows, bits: Value | None = None) -> Value:
        """Intercept less target, which may both be large, and finer than the products."""
        b = self._b
        target = self._load(self._y.data, rows, self._y_stored, bits)
        if self._y_stored != self._scalar or self._scalar == emit.DOUBLE:
            shifted = b.fsub(self._intercept, emit.convert(b, target, emit.DOUBLE))
            return emit.convert(b, shifted, self._scalar)
        # In two steps, of which one is exact where it matters: so with no flags.
        return b.fadd(b.fsub(self._high, target), self._low)

    def _load(self, pointer: Value, rows: Rows, scalar: Any, bits: Value | None) -> Value:
        b = self._b
        if not isinstance(rows, list):
            return masked.load(b, pointer, rows, self._count, bits, scalar)
        return emit.from_scalars(b, [b.load(b.gep(pointer, [row])) for row in rows])

    def _store(self, value: Value, pointer: Value, rows: Rows, bits: Value | None) -> None:
        b = self._b
        if not isinstance(rows, list):
            masked.store(b, value, pointer, rows, bits)
            return
        for i, row in enumerate(rows):
            b.store(b.extract_element(value, ir.Constant(emit.I32, i)), b.gep(pointer, [row]))

    def prefetch(self, row: Value, n_rows: int, bytes_ahead: int) -> None:
        """Fetch targets and weights of `n_rows` rows, `bytes_ahead` behind those from `row` on."""
        for array, kind in ((self._y, self._y_stored), (self._weight, self._stored)):
            if array is not None:
                ahead = bytes_ahead // emit.size(kind)
                for i in range(0, n_rows, emit.LINE_BYTES // emit.size(kind)):
                    emit.prefetch_at(self._b, array.data, self._b.add(row, const(ahead + i)))

    def end_run(self) -> None:
        """Add the sums so far to the totals, in float64."""
        self._sums.move_to(self._b, self._totals)

    def add_to(self, out: Value, first: Value) -> None:
        """Add the totals to ``out[first:]``."""
        for k, value in enumerate(self._totals.get(self._b)):
            emit.add_to_memory(
                self._b, exchange.total(self._b, value), out, self._b.add(first, const(k))
            )
