"""The fused backend: one read of X for loss and gradient, in compiled kernels.

`_choice` says which kernel reads the array and in which groups of rows; `_kernels` has the
kernels, written in the vectors of `_emit` where Numba's loops were too slow; `_compile` compiles
them and keeps them on disk.
"""

from __future__ import annotations

from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from fastgd._problem import Floats, Problem
from fastgd._threads import Team, available_threads
from fastgd.backends import ColumnStatistics, RawMoments, Sums
from fastgd.backends.numba._choice import choose_kernel, group_rows
from fastgd.backends.numba._compile import compiled
from fastgd.backends.numba._moments import read_moments
from fastgd.backends.numba._replay import load_replay
from fastgd.backends.numba._signatures import fused_signature
from fastgd.backends.numba._statistics import read_statistics

# Below this a pass stays in the caller's thread: it takes about half a millisecond at 10 GB/s,
# and waking a thread up to a tenth of one.
THREADING_BYTES = 5 << 20

__all__ = ["column_statistics", "load_replay", "moments", "open_pass"]


class Pass:
    """Passes over a problem, by a team of threads where that is worth it."""

    def __init__(
        self, problem: Problem, n_threads: int | None, prediction: Floats | None, precision: str
    ) -> None:
        X, y, weight = problem.X, problem.y, problem.sample_weight
        self._n_samples, self._n_features = X.shape
        self._dtype = X.dtype if precision == "single" else np.dtype(np.float64)
        kernel, self._fixed = choose_kernel(problem)
        fixed_features = self._n_features if self._fixed else None
        optional = (weight is not None, prediction is not None)
        key = (X.dtype, y.dtype, *optional, self._dtype, fixed_features)
        self._add_rows = compiled(kernel, key, fused_signature)
        self._data = (X, y, weight, prediction)
        self._length = group_rows(problem)
        self._n_groups = -(-self._n_samples // self._length)
        threaded = self._n_groups > 1 and X.nbytes >= THREADING_BYTES
        self._team = Team(n_threads or available_threads()) if threaded else None

    def __enter__(self) -> Pass:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._team is not None:
            self._team.close()

    def __call__(self, coef: NDArray[np.float64], intercept: float) -> Sums:
        """Read the data once."""
        n, d = self._n_samples, self._n_features
        w = tuple(coef.tolist()) if self._fixed else coef.astype(self._dtype)
        partial = np.zeros((self._n_groups, d + 3))
        add_rows, data, length = self._add_rows, self._data, self._length

        def add_group(group: int) -> None:
            first = group * length
            add_rows(*data, w, intercept, partial[group], first, min(first + length, n))

        if self._team is None:
            for group in range(self._n_groups):
                add_group(group)
        else:
            self._team.run(add_group, self._n_groups)
        sums = partial[0] if self._n_groups == 1 else partial.sum(axis=0)
        weights = float(n) if self._data[2] is None else float(sums[d + 2])
        return Sums(float(sums[d]), sums[:d], float(sums[d + 1]), weights)


def open_pass(
    problem: Problem,
    n_threads: int | None,
    prediction: Floats | None = None,
    precision: str = "double",
) -> Pass:
    """Make ready to read `problem` any number of times."""
    return Pass(problem, n_threads, prediction, precision)


def moments(problem: Problem, n_threads: int | None, precision: str = "double") -> RawMoments:
    """Read X and y once for their first and second moments."""
    return read_moments(problem, n_threads, precision)


def column_statistics(problem: Problem, n_threads: int | None) -> ColumnStatistics:
    """Weighted mean and deviation of each column."""
    return read_statistics(problem, n_threads)
