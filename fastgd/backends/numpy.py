"""The reference backend: plain numpy, one block of rows after another.

With ``precision="single"`` products are in the dtype of X, as anyone would write them, and only
what is added up over blocks is float64, which keeps the error from growing with n.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd._data.arrays import Floats
from fastgd._data.problem import Problem
from fastgd._linalg.double_double import DoubleDouble, zeros
from fastgd.backends import ColumnStatistics, Pass, RawMoments, Sums

BLOCK_ROWS = 4096
EXACT_ROWS = 1024
RUN_ROWS = 64
IN_CACHE_BYTES = 0  # no code here is compiled


@contextmanager
def open_pass(
    problem: Problem,
    n_threads: int | None,
    prediction: Floats | None = None,
    precision: str = "double",
) -> Iterator[Pass]:
    """Passes over `problem`; numpy's BLAS threads itself, so `n_threads` is not used."""
    weight = problem.sample_weight
    dtype = problem.X.dtype if precision == "single" else np.dtype(np.float64)

    def read(coef: NDArray[np.float64], intercept: float | NDArray[np.float64]) -> Sums:
        if isinstance(intercept, np.ndarray):
            return _over_targets(problem, coef, intercept, dtype)
        w, total = coef.astype(dtype), _Totals(problem.n_features)
        for block in _blocks(problem.n_samples):
            X = problem.X[block].astype(dtype, copy=False)
            s = None if weight is None else weight[block]
            product = total.add(X, problem.y[block], s, w, intercept)
            if prediction is not None:
                prediction[block] = product + dtype.type(intercept)
        return total.sums()

    # What overflows or is NaN shows in the sums, where it is looked for.
    with np.errstate(over="ignore", invalid="ignore"):
        yield read


class _Totals:
    """Sums of one target, added up block by block in float64."""

    def __init__(self, n_features: int) -> None:
        self._squares, self._residuals, self._weights = 0.0, 0.0, 0.0
        self._products = np.zeros(n_features)

    def add(self, X: Floats, y: Floats, weight: Floats | None, w: Floats, intercept: float) -> Any:
        """Add a block of rows; their products with the coefficients come back."""
        product = X @ w
        # In float64, for both may be large, and y finer than the products.
        shifted = intercept - y.astype(np.float64, copy=False)
        r = product + shifted.astype(X.dtype, copy=False)
        sr = r if weight is None else weight * r
        self._squares += float(_short_sums(sr, r[:, np.newaxis])[0])
        self._products += _short_sums(sr, X)
        self._residuals += float(sr.sum(dtype=np.float64))
        self._weights += len(r) if weight is None else float(weight.sum(dtype=np.float64))
        return product

    def sums(self) -> Sums:
        return Sums(self._squares, self._products, self._residuals, self._weights)


def _over_targets(
    problem: Problem,
    coef: NDArray[np.float64],
    intercept: NDArray[np.float64],
    dtype: np.dtype[Any],
) -> Sums:
    """The sums of each target, side by side; each block of X is read for all of them."""
    totals = [_Totals(problem.n_features) for _ in intercept]
    w = [np.ascontiguousarray(column, dtype) for column in coef.T]
    for block in _blocks(problem.n_samples):
        X = problem.X[block].astype(dtype, copy=False)
        s = None if problem.sample_weight is None else problem.sample_weight[block]
        for t, total in enumerate(totals):
            total.add(X, problem.y[block, t], s, w[t], float(intercept[t]))
    parts = [total.sums() for total in totals]
    return Sums(
        sum(part.squares for part in parts),
        np.stack([part.products for part in parts], axis=1),
        np.array([part.residuals for part in parts]),
        parts[0].weights,
    )


def _short_sums(sr: Floats, X: Floats) -> NDArray[np.float64]:
    """``sr @ X``, where sums in float32 have at most `RUN_ROWS` terms."""
    if sr.dtype == np.float64:
        return np.asarray(sr @ X, np.float64)
    whole = len(sr) // RUN_ROWS * RUN_ROWS
    runs = sr[:whole].reshape(-1, 1, RUN_ROWS) @ X[:whole].reshape(-1, RUN_ROWS, X.shape[1])
    last = sr[whole:] @ X[whole:]
    return np.asarray(runs.sum(axis=(0, 1), dtype=np.float64) + last, np.float64)


def column_statistics(problem: Problem, n_threads: int | None) -> ColumnStatistics:
    """Weighted mean and deviation of each column, merged block by block.

    References
    ----------
    T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for computing the sample variance",
    The American Statistician 37 (1983), 242-247.
    """
    total = 0.0
    mean = np.zeros(problem.n_features)
    squares = np.zeros(problem.n_features)
    with np.errstate(over="ignore", invalid="ignore"):
        for block in _blocks(problem.n_samples):
            X = problem.X[block].astype(np.float64)
            weight = problem.sample_weight
            s = np.ones(len(X)) if weight is None else weight[block].astype(np.float64)
            added = s.sum()
            if added == 0:
                continue
            block_mean = s @ X / added
            shift = block_mean - mean
            squares += s @ (X - block_mean) ** 2 + shift**2 * (total * added / (total + added))
            total += added
            mean += shift * (added / total)
        return ColumnStatistics(mean, np.sqrt(squares / total))


def moments(problem: Problem, n_threads: int | None, precision: str = "double") -> RawMoments:
    """First and second moments: means first, then the scatter about them, block by block."""
    weight = problem.sample_weight
    n = problem.n_samples
    dtype = problem.X.dtype if precision == "single" else np.dtype(np.float64)

    def columns(block: slice) -> NDArray[np.float64]:
        y = problem.y[block].reshape(len(problem.y[block]), -1)
        return np.hstack([problem.X[block].astype(np.float64), y.astype(np.float64)])

    def weights_of(block: slice) -> NDArray[np.float64]:
        size = block.stop - block.start
        return np.ones(size) if weight is None else weight[block].astype(np.float64)

    with np.errstate(over="ignore", invalid="ignore"):
        total, first = 0.0, np.zeros(columns(slice(0, 1)).shape[1])
        for block in _blocks(n):
            total += float(weights_of(block).sum())
            first += weights_of(block) @ columns(block)
        mean = first / total
        scatter = np.zeros((len(mean), len(mean)))
        for block in _blocks(n):
            centred = ((columns(block) - mean) * np.sqrt(weights_of(block))[:, None]).astype(dtype)
            scatter += centred.T @ centred
    return RawMoments(total, mean, scatter)


def exact_products(problem: Problem, n_threads: int | None) -> DoubleDouble:
    """All cross products in double-double, added in pairs of rows and then block by block."""
    n_columns = problem.n_features + (problem.y.shape[1] if problem.y.ndim == 2 else 1) + 1
    gram = zeros((n_columns, n_columns))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, problem.n_samples, EXACT_ROWS):
            part = problem.rows(slice(start, start + EXACT_ROWS))
            n = part.n_samples
            Z = np.column_stack([part.X, part.y, np.ones(n)]).astype(np.float64, copy=False)
            s = np.ones(n) if part.sample_weight is None else part.sample_weight
            weighed = DoubleDouble.product(s[:, np.newaxis], Z)
            rows = [(weighed[:, j, np.newaxis] * Z).sum() for j in range(n_columns)]
            high, low = (np.stack([getattr(row, name) for row in rows]) for name in ("high", "low"))
            gram = gram + DoubleDouble(high, low)
        high, low = (np.triu(part) + np.triu(part, 1).T for part in (gram.high, gram.low))
        return DoubleDouble(high, low)


def load_replay() -> None:
    """None: the loop in Python is the reference."""


def _blocks(n_samples: int) -> Iterator[slice]:
    for start in range(0, n_samples, BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, n_samples))
