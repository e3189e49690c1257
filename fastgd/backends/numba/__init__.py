"""The fused backend: one read of X for loss and gradient, in compiled kernels.

`_choice` says which kernel reads the array and in which groups of rows; `_fused` has the kernels of
a pass, `_moments` those of moments, written in the words of `_vectors` where Numba's loops were too
slow; `_compile` compiles them and keeps them on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd._data.arrays import Floats, aligned_empty
from fastgd._data.problem import Problem
from fastgd._linalg.double_double import DoubleDouble
from fastgd._threads import Team, available_threads, batches
from fastgd.backends import ColumnStatistics, RawMoments, Sums
from fastgd.backends.numba import _choice
from fastgd.backends.numba._choice import choose_kernel, pass_rows, whole_rows
from fastgd.backends.numba._compile import compiled
from fastgd.backends.numba._moments.exact import read_exactly
from fastgd.backends.numba._moments.moments import read_moments
from fastgd.backends.numba._moments.statistics import read_statistics
from fastgd.backends.numba._replay import load_replay
from fastgd.backends.numba._signatures import fused_signature

# Rows that are read again for each target: they stay in the second cache.
TARGETS_BLOCK_BYTES = 256 << 10

# What one call of a kernel reads of X at most, unless a group is more: an interrupt waits for it.
CALL_BYTES = 64 << 20

IN_CACHE_BYTES = max(_choice.NEAR_BYTES, _choice.CACHED_BYTES)

# Sums are added in the order that the kernels say, which keep many apart; left to reassociate, LLVM
# makes one chain of them, of which each addition waits for the one before.
FUSED_FASTMATH = frozenset({"contract"})

__all__ = ["column_statistics", "exact_products", "load_replay", "moments", "open_pass"]


class Pass:
    """Passes over a problem, by a team of threads where that is worth it."""

    def __init__(
        self, problem: Problem, n_threads: int | None, prediction: Floats | None, precision: str
    ) -> None:
        X, y, weight = problem.X, problem.y, problem.sample_weight
        self._n_samples, self._n_features = X.shape
        self._dtype = X.dtype if precision == "single" else np.dtype(np.float64)
        kernel, self._scratch = choose_kernel(problem, self._dtype)
        # Scratch that no thread is using. To have it made anew took 5 to 10 percent of the time of
        # 1 MB of columns.
        self._rooms: list[NDArray[np.float64]] = []
        fixed_features = self._n_features if self._scratch is None else None
        optional = (weight is not None, prediction is not None)
        key = (X.dtype, y.dtype, *optional, self._dtype, fixed_features)
        self._kernel = compiled(kernel, key, fused_signature, FUSED_FASTMATH)
        self._data = (X, y, weight, prediction)
        self._targets = [np.ascontiguousarray(column) for column in y.T] if y.ndim == 2 else []
        self._length = pass_rows(problem)
        self._block = self._length
        if self._targets:
            rows = TARGETS_BLOCK_BYTES // (self._n_features * X.itemsize)
            block = whole_rows(problem)
            self._block = max(block, rows // block * block)
        self._n_groups = -(-self._n_samples // self._length)
        threaded = self._n_groups > 1 and X.nbytes >= _choice.THREADING_BYTES
        n_threads = (n_threads or available_threads()) if threaded else 1
        self._team = Team(n_threads) if threaded else None
        most = max(1, CALL_BYTES * self._n_groups // X.nbytes)
        self._batches = list(batches(self._n_groups, n_threads, most))
        self._shared = X.nbytes >= _choice.STARTING_BYTES

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

    def __call__(self, coef: NDArray[np.float64], intercept: float | NDArray[np.float64]) -> Sums:
        """Read the data once."""
        if isinstance(intercept, np.ndarray):
            return self._read_targets(coef, intercept)
        n, d = self._n_samples, self._n_features
        w = self._coef_of_kernel(coef)
        partial = np.zeros((self._n_groups, d + 3))
        if self._n_groups == 1:  # what is in cache is read in a few microseconds
            self._add_rows(*self._data, w, intercept, partial, 0, n, n)
            sums = partial[0]
        else:
            self._run_batches(w, intercept, partial)
            sums = partial.sum(axis=0)
        squares, residuals, weights = sums[d:].tolist()
        return Sums(squares, sums[:d], residuals, float(n) if self._data[2] is None else weights)

    def _run_batches(self, w: object, intercept: float, partial: NDArray[np.float64]) -> None:
        """Add the sums of each group to its row of `partial`."""
        n, length = self._n_samples, self._length

        def add_batch(index: int) -> None:
            groups = self._batches[index]
            out = partial[groups.start : groups.stop]
            start, stop = groups.start * length, min(groups.stop * length, n)
            self._add_rows(*self._data, w, intercept, out, start, stop, length)

        self._run(add_batch, len(self._batches))

    def _coef_of_kernel(self, coef: NDArray[np.float64]) -> NDArray[Any] | tuple[float, ...]:
        """A tuple for the kernels of so many features and no other."""
        return tuple(coef.tolist()) if self._scratch is None else coef.astype(self._dtype)

    def _add_rows(self, *arguments: object) -> None:
        if self._scratch is None:
            self._kernel(*arguments, None)
            return
        try:
            room = self._rooms.pop()
        except IndexError:
            room = aligned_empty(self._scratch)
        self._kernel(*arguments, room)
        self._rooms.append(room)

    def _read_targets(self, coef: NDArray[np.float64], intercept: NDArray[np.float64]) -> Sums:
        """Read the data once for all targets: each block from memory, then from cache."""
        n, d = self._n_samples, self._n_features
        X, _, weight, _ = self._data
        w = [self._coef_of_kernel(column) for column in coef.T]
        b = intercept.tolist()
        partial = np.zeros((self._n_groups, len(w), d + 3))

        def add_group(group: int) -> None:
            last = min((group + 1) * self._length, n)
            for first in range(group * self._length, last, self._block):
                stop = min(first + self._block, last)
                for t, y in enumerate(self._targets):
                    out = partial[group, t : t + 1]
                    self._add_rows(X, y, weight, None, w[t], b[t], out, first, stop, stop - first)

        self._run(add_group, self._n_groups)
        sums = partial.sum(axis=0)
        weights = float(n) if weight is None else float(sums[0, d + 2])
        return Sums(float(sums[:, d].sum()), sums[:, :d].T, sums[:, d + 1], weights)

    def _run(self, work: Callable[[int], None], number: int) -> None:
        if self._team is not None and self._shared:
            self._team.run(work, number)
        else:
            for index in range(number):
                work(index)
        self._shared = True


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


def exact_products(problem: Problem, n_threads: int | None) -> DoubleDouble:
    """Read X and y once for the sums of all products, in double-double."""
    return read_exactly(problem, n_threads)


def column_statistics(problem: Problem, n_threads: int | None) -> ColumnStatistics:
    """Weighted mean and deviation of each column."""
    return read_statistics(problem, n_threads)
