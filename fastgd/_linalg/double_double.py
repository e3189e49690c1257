"""Double-double arithmetic: numbers as the sum of two float64, with some 31 digits.

Sums and products are split without error into what float64 holds and what it leaves, which is
float64, too. Everything here is element by element and in a fixed order, so that bits are a
function of the numbers alone.

References
----------
T. J. Dekker, "A floating-point technique for extending the available precision", Numerische
Mathematik 18 (1971), 224-242.
T. Ogita, S. M. Rump, S. Oishi, "Accurate sum and dot product", SIAM J. Sci. Comput. 26 (2005),
1955-1988.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# One unit in the last place of a double-double, and of its sums, is no more than this.
EPSILON = 2.0**-104
# Splits 53 bits into 26 and 27.
SPLITTER = 134217729.0


def two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """``a + b`` in float64, and its rounding error."""
    high = a + b
    part = high - a
    return high, (a - (high - part)) + (b - part)


def two_product(a: Any, b: Any) -> tuple[Any, Any]:
    """``a * b`` in float64, and its rounding error; numbers beyond 1e299 overflow."""
    high = a * b
    a1, a2 = _split(a)
    b1, b2 = _split(b)
    return high, ((a1 * b1 - high) + a1 * b2 + a2 * b1) + a2 * b2


def _split(a: Any) -> tuple[Any, Any]:
    large = SPLITTER * a
    upper = large - (large - a)
    return upper, a - upper


@dataclass(frozen=True, eq=False)
class DoubleDouble:
    """An array of double-doubles, ``high + low``; `high` is the sum rounded to float64."""

    high: Array
    low: Array

    # numpy leaves operators with an array on the left to the methods here.
    __array_ufunc__ = None

    @classmethod
    def of(cls, high: Any, low: Any = 0.0) -> DoubleDouble:
        """From float64 numbers and what they leave, which is smaller."""
        total, error = two_sum(np.asarray(high, np.float64), np.asarray(low, np.float64))
        return cls(total, error)

    @classmethod
    def product(cls, a: Any, b: Any) -> DoubleDouble:
        """Of float64 numbers, without error."""
        return cls(*two_product(np.asarray(a, np.float64), np.asarray(b, np.float64)))

    def __neg__(self) -> DoubleDouble:
        return DoubleDouble(-self.high, -self.low)

    def __add__(self, other: DoubleDouble | Array | float) -> DoubleDouble:
        b = _as(other)
        high, error = two_sum(self.high, b.high)
        low, rest = two_sum(self.low, b.low)
        high, error = _quick(high, error + low)
        return DoubleDouble(*_quick(high, error + rest))

    def __sub__(self, other: DoubleDouble | Array | float) -> DoubleDouble:
        return self + -_as(other)

    def __mul__(self, other: DoubleDouble | Array | float) -> DoubleDouble:
        b = _as(other)
        high, error = two_product(self.high, b.high)
        return DoubleDouble(*_quick(high, error + (self.high * b.low + self.low * b.high)))

    def __truediv__(self, other: DoubleDouble | Array | float) -> DoubleDouble:
        b = _as(other)
        first = self.high / b.high
        rest = self - b * first
        second = rest.high / b.high
        third = (rest - b * second).high / b.high
        return DoubleDouble(*_quick(first, second)) + third

    def __getitem__(self, index: Any) -> DoubleDouble:
        return DoubleDouble(np.asarray(self.high[index]), np.asarray(self.low[index]))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return self.high.shape

    @property
    def T(self) -> DoubleDouble:  # noqa: N802
        """Transposed."""
        return DoubleDouble(self.high.T, self.low.T)

    def scaled(self, factor: Any) -> DoubleDouble:
        """Times powers of two, without error."""
        return DoubleDouble(self.high * factor, self.low * factor)

    def root(self) -> DoubleDouble:
        """The square root of positive numbers."""
        first = np.sqrt(self.high)
        return DoubleDouble(*_quick(first, (self - self.product(first, first)).high / first / 2.0))

    def sum(self) -> DoubleDouble:
        """Over the first axis, in pairs."""
        total = self
        while len(total.high) > 1:
            half, odd = divmod(len(total.high), 2)
            pairs = total[:half] + total[half : 2 * half]
            total = pairs if not odd else _end_to_end(pairs, total[-1:])
        return total[0]

    def put(self, index: Any, values: DoubleDouble) -> None:
        """Write `values` in place."""
        self.high[index], self.low[index] = values.high, values.low

    def copy(self) -> DoubleDouble:
        """One that may be written to."""
        return DoubleDouble(self.high.copy(), self.low.copy())


def _as(value: DoubleDouble | Array | float) -> DoubleDouble:
    return value if isinstance(value, DoubleDouble) else DoubleDouble.of(value)


def _quick(a: Any, b: Any) -> tuple[Any, Any]:
    """As `two_sum`, where `a` is the larger."""
    high = a + b
    return high, b - (high - a)


def _end_to_end(a: DoubleDouble, b: DoubleDouble) -> DoubleDouble:
    return DoubleDouble(np.concatenate([a.high, b.high]), np.concatenate([a.low, b.low]))


def zeros(shape: int | tuple[int, ...]) -> DoubleDouble:
    """Zeros to write to."""
    return DoubleDouble(np.zeros(shape), np.zeros(shape))


def outer(a: DoubleDouble, b: DoubleDouble) -> DoubleDouble:
    """All products of two vectors."""
    return a[:, np.newaxis] * b[np.newaxis, :]


def matmul(a: DoubleDouble, b: DoubleDouble) -> DoubleDouble:
    """``a @ b`` of matrices."""
    total = zeros((a.shape[0], b.shape[1]))
    for k in range(a.shape[1]):
        total = total + outer(a[:, k], b[k])
    return total


class Factor:
    """A Gram matrix factored by Cholesky with pivots in the order of their size.

    Parameters
    ----------
    matrix : DoubleDouble of shape (n, n)
        Symmetric, positive semi-definite, with diagonal elements of 1 to 4, or 0.
    least : ndarray of shape (n,)
        Pivots below these are rounding: the column is a sum of others.
    length : ndarray of shape (n,)
        Of the columns, by which solutions are measured.

    Attributes
    ----------
    rank : int
    basic, others : ndarray of int
        The columns that were taken for pivots, and those that are sums of them.
    dependence : DoubleDouble of shape (rank, n - rank)
        Column ``others[j]`` is the sum of the basic columns times ``dependence[:, j]``.
    """

    def __init__(self, matrix: DoubleDouble, least: Array, length: Array) -> None:
        rest, order = matrix.copy(), np.arange(matrix.shape[0])
        lower, n = zeros(matrix.shape), matrix.shape[0]
        rank = n
        for k in range(n):
            pivots = np.diagonal(rest.high)[k:]
            best = k + int(np.argmax(pivots))
            swap, back = [k, best], [best, k]
            for part in (rest.high, rest.low):
                part[swap] = part[back]
                part[:, swap] = part[:, back]
            for part in (lower.high, lower.low):
                part[swap, :k] = part[back, :k]
            order[swap] = order[back]
            if not rest.high[k, k] > least[order[k:]].max():
                rank = k
                break
            root = rest[k, k].root()
            lower.put((k, k), root)
            column = rest[k + 1 :, k] / root
            lower.put((slice(k + 1, None), k), column)
            inner = (slice(k + 1, None), slice(k + 1, None))
            rest.put(inner, rest[inner] - outer(column, column))
        self.rank, self.basic, self.others = rank, order[:rank], order[rank:]
        self._lower = lower[:rank, :rank]
        self.dependence = self._solve_upper(lower[rank:, :rank].T)
        self._length = length

    def solve(self, b: DoubleDouble) -> DoubleDouble:
        """The shortest solution of ``matrix @ x = b``, with b of shape (n, m)."""
        x = self._solve_upper(self._solve_lower(b[self.basic]))
        whole = zeros(b.shape)
        if not len(self.others):
            whole.put(self.basic, x)
            return whole
        # All solutions are those with x[basic] + dependence @ x[others] = the basic one.
        basic, others = (self._length[part][:, np.newaxis] for part in (self.basic, self.others))
        along = self.dependence * basic / others.T
        square = matmul(along, along.T) + DoubleDouble.of(np.eye(self.rank))
        scale = np.ldexp(1.0, -np.frexp(np.sqrt(np.diagonal(square.high)))[1])[:, np.newaxis]
        none = np.zeros(self.rank)
        inner = Factor(square.scaled(scale).scaled(scale.T), none, none)
        shortest = inner.solve((x * basic).scaled(scale)).scaled(scale)
        whole.put(self.basic, shortest / basic)
        whole.put(self.others, matmul(along.T, shortest) / others)
        return whole

    def _solve_lower(self, b: DoubleDouble) -> DoubleDouble:
        x, lower = b.copy(), self._lower
        for k in range(self.rank):
            x.put(k, x[k] / lower[k, k])
            x.put(slice(k + 1, None), x[k + 1 :] - outer(lower[k + 1 :, k], x[k]))
        return x

    def _solve_upper(self, b: DoubleDouble) -> DoubleDouble:
        x, lower = b.copy(), self._lower
        for k in range(self.rank)[::-1]:
            x.put(k, x[k] / lower[k, k])
            x.put(slice(0, k), x[:k] - outer(lower[k, :k], x[k]))
        return x
