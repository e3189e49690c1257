"""The fused backend: one read of X for loss and gradient, in compiled kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from fastgd._problem import Floats, Problem
from fastgd.backends import ColumnStatistics, Pass, Sums
from fastgd.backends.numba import _kernels
from fastgd.backends.numpy import column_statistics as reference_statistics


@contextmanager
def open_pass(
    problem: Problem, n_threads: int | None, prediction: Floats | None = None
) -> Iterator[Pass]:
    """Passes over `problem`."""
    X, y, weight = problem.X, problem.y, problem.sample_weight
    by_rows = X.flags.c_contiguous
    kernel = _kernels.rows if by_rows else _kernels.columns
    data = X if by_rows else np.ascontiguousarray(X.T)

    def read(coef: NDArray[np.float64], intercept: float) -> Sums:
        products = np.zeros(problem.n_features)
        squares, residuals, weights = kernel(
            data, y, weight, prediction, coef.astype(X.dtype), X.dtype.type(intercept), products
        )
        return Sums(squares, products, residuals, weights)

    yield read


def column_statistics(problem: Problem, n_threads: int | None) -> ColumnStatistics:
    """Weighted mean and deviation of each column."""
    return reference_statistics(problem, n_threads)
