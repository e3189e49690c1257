"""Where an epoch's sums come from: a read of the data, or moments collected in one read."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from fastgd._moments import Moments, moments_of
from fastgd._problem import Problem
from fastgd._quadratic import Quadratic, quadratic_of
from fastgd._settings import Settings
from fastgd.backends import ColumnStatistics, Pass, Replay, Sums, load_backend

# What collecting the moments costs, in reads of X by the fused kernel: "over_epoch" of ``python -m
# bench.moments`` (float32 of 240 and 400 MB, double precision, all threads) was 0.9 to 1.3 for
# up to 8 features, 1.4 for 16, 1.9 for 32, 3.2 for 64, 5.8 for 100 and 14 for 300.
READS_AT_LEAST = 1.0
READS_A_FEATURE = 1 / 20

# The library's own step needs column statistics, products with the Hessian (32 of them, or one a
# feature), and some epochs: 8 reads in all for 2 features, 14 for 8, 40 for 64, 47 for 300, where
# the columns are independent. Fewer features than 64 have moments that cost less in any case.
LEAST_READS = 38.0

# Moments of more features are collected only when asked for: they take d^2 doubles.
MOST_FEATURES = 4096


def moments_cost(n_features: int) -> float:
    """What collecting the moments costs, in reads of X."""
    return READS_AT_LEAST + READS_A_FEATURE * n_features


class Reader:
    """Sums at any coefficients: from the data until it pays to have moments, then from those.

    With ``strategy="auto"`` the moments are collected at once where the number of reads is known
    to cost more; where it is not known, once as much has been spent on reads as they cost: which
    is never worse than twice the better choice.
    """

    def __init__(self, source: Problem | Moments, settings: Settings) -> None:
        self._source, self._settings = source, settings
        self._module = load_backend(settings.backend)
        self._open: AbstractContextManager[Pass] | None = None
        self._read: Pass | None = None
        self._n_reads = 0
        self._budget = 0.0
        if isinstance(source, Problem):
            self._budget = reads_before_moments(source.n_features, settings)
        self.moments: Moments | None = None
        self.quadratic: Quadratic | None = None
        if self._budget <= 0.0:
            self._collect()

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    @property
    def strategy(self) -> str:
        """What was done, and why, in words."""
        if isinstance(self._source, Moments):
            return "moments: as given"
        reads = "1 read" if self._n_reads == 1 else f"{self._n_reads} reads"
        asked = "as asked for" if self._settings.strategy != "auto" else ""
        if self.moments is None:
            return f"stream: {reads}, {asked or 'fewer than moments would have cost'}"
        if self._n_reads == 0:
            return f"moments: 1 read, {asked or 'less than an epoch-by-epoch fit would have cost'}"
        return f"stream, then moments: {reads}, as many as moments cost, and 1 for them"

    @property
    def backend(self) -> str:
        """The backend's name."""
        return self._settings.backend

    def load_replay(self) -> Replay | None:
        """A compiled loop over the moments, where they are had and the backend has one."""
        return None if self.quadratic is None else self._module.load_replay()

    def column_statistics(self) -> ColumnStatistics:
        """Means and deviations of the columns of X."""
        if self.moments is None:
            self._n_reads += 1
            return self._module.column_statistics(self._arrays, self._settings.n_threads)
        d = self._source.n_features
        variance = np.diagonal(self.moments.scatter)[:d] / self.moments.weight_sum
        return ColumnStatistics(self.moments.mean[:d], np.sqrt(np.maximum(variance, 0.0)))

    def __call__(self, coef: NDArray[np.float64], intercept: float) -> Sums:
        """The sums at these coefficients."""
        if self.quadratic is None and self._n_reads >= self._budget:
            self._collect()
        if self.quadratic is not None:
            return self.quadratic.sums(coef, intercept)
        if self._read is None:
            settings = self._settings
            self._open = self._module.open_pass(
                self._arrays, settings.n_threads, None, settings.precision
            )
            self._read = self._open.__enter__()
        self._n_reads += 1
        return self._read(coef, intercept)

    def _collect(self) -> None:
        self._close()
        if isinstance(self._source, Moments):
            self.moments = self._source
        else:
            # Always in double: with float32 sums the minimum itself would move.
            settings = self._settings
            self.moments = moments_of(self._source, settings.backend, "double", settings.n_threads)
        self.quadratic = quadratic_of(self.moments)

    @property
    def _arrays(self) -> Problem:
        assert isinstance(self._source, Problem)  # moments are never streamed
        return self._source

    def _close(self) -> None:
        if self._open is not None:
            self._open.__exit__(None, None, None)
            self._open = self._read = None


def reads_before_moments(n_features: int, settings: Settings) -> float:
    """Reads to spend on streaming before the moments are collected."""
    if settings.strategy == "stream":
        return np.inf
    if settings.strategy == "moments":
        return 0.0
    cost = moments_cost(n_features)
    if n_features > MOST_FEATURES:
        return np.inf
    if settings.learning_rate is not None:  # known beforehand: every epoch, and the last loss
        return 0.0 if settings.max_iter + 1 > cost else np.inf
    return 0.0 if cost <= LEAST_READS else cost
