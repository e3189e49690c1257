"""Where an epoch's sums come from: a read of the data, or moments collected in one read."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._moments import Moments, moments_of
from fastgd._penalty import Penalty
from fastgd._problem import Problem
from fastgd._quadratic import Quadratic, quadratic_of
from fastgd._settings import Settings
from fastgd.backends import ColumnStatistics, Pass, Replay, Sums, load_backend

# What collecting the moments costs, in reads of X by the fused kernel: "over_epoch" of ``python -m
# bench.moments`` (float32 of 400 MB, double precision, all threads) was 1.1 for 2 features, 2 for
# 8, 3.0 for 16, 4.3 for 32, 8.3 for 100 and 20 for 300.
READS_AT_LEAST = 1.5
READS_A_FEATURE = 1 / 16

# The library's own step needs column statistics, products with the Hessian (32 of them, or one a
# feature), and some epochs: 8 reads in all for 2 features, 14 for 8, 40 for 64, 47 for 300, where
# the columns are independent. Fewer features than 64 have moments that cost less in any case.
LEAST_READS = 38.0

# Conjugate gradients from a sample read X for column statistics, at the start and at the sample's
# answer, and then gain a factor of n_rows / n_features a step: ``python -m bench.solve``. This is
# the gain they need with the default tolerance.
READS_BEFORE_STEPS = 3.0
GAIN = 1e10
# Rows of a sample, at least; a sample takes no more memory than this, or a matrix of features.
LEAST_SAMPLE = 1000
SAMPLE_BYTES = 64 << 20

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
        self._notes: list[str] = []
        if isinstance(source, Problem):
            self._budget = reads_before_moments(source.n_samples, source.n_features, settings)
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
            why = ", ".join([*self._notes, asked or "fewer than moments would have cost"])
            return f"stream: {reads}, {why}"
        if self._n_reads == 0:
            return f"moments: 1 read, {asked or 'less than an epoch-by-epoch fit would have cost'}"
        return f"stream, then moments: {reads}, as many as moments cost, and 1 for them"

    @property
    def from_moments(self) -> bool:
        """Whether sums now come from moments."""
        return self.quadratic is not None

    def penalised(self, penalty: Penalty) -> Quadratic:
        """The squared error and the penalty on squares, as one quadratic."""
        assert self.quadratic is not None
        assert self.moments is not None
        if penalty.squares == 0.0:
            return self.quadratic
        return quadratic_of(self.moments.penalised(penalty.squares))

    def note(self, text: str) -> None:
        """Add to what `strategy` says of reads."""
        self._notes.append(text)

    def sample(self, n_rows: int) -> Moments | None:
        """Moments of rows drawn at random, always the same; None where they have no weight."""
        arrays, settings = self._arrays, self._settings
        n = arrays.n_samples
        if n_rows >= n:
            return moments_of(arrays, settings.backend, "double", settings.n_threads)
        rows = np.unique(np.random.default_rng(0).integers(0, n, n_rows))
        weight = None if arrays.sample_weight is None else arrays.sample_weight[rows]
        if weight is not None and not weight.any():
            return None
        part = arrays._replace(X=arrays.X[rows], y=arrays.y[rows], sample_weight=weight)
        return moments_of(part, settings.backend, "double", settings.n_threads)

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

    def __call__(self, coef: NDArray[np.float64], intercept: float | NDArray[np.float64]) -> Sums:
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


def reads_before_moments(n_samples: int, n_features: int, settings: Settings) -> float:
    """Reads to spend on streaming before the moments are collected."""
    batches = settings.batch_size is not None or settings.validation_fraction is not None
    if settings.strategy == "stream" or batches:
        return np.inf
    if settings.strategy == "moments":
        return 0.0
    if n_features > MOST_FEATURES:
        return np.inf
    cost = moments_cost(n_features)
    if settings.method == "cg":  # or the moments of a sample, and some steps
        if cost <= READS_BEFORE_STEPS + 1.0:  # what a sample costs at least
            return 0.0
        return 0.0 if cost <= best_sample(n_samples, n_features).total else np.inf
    if settings.learning_rate is not None:  # known beforehand: every epoch, and the last loss
        return 0.0 if settings.max_iter + 1 > cost else np.inf
    return 0.0 if cost <= LEAST_READS else cost


class Sample(NamedTuple):
    """Rows whose moments make a preconditioner, and what a fit with it costs in reads of X.

    `n_rows` is 0 where there are too few rows for it to be any use.
    """

    n_rows: int
    moments: float
    total: float


def best_sample(n_samples: int, n_features: int, itemsize: int = 4) -> Sample:
    """The sample that costs least: larger ones take longer to make, and fewer steps.

    The excess starts at ``s**2`` of the loss, with ``s**2 = n_features / n_rows``, and each step
    of conjugate gradients shrinks it by as much again, whatever the conditioning.
    """
    d = n_features
    most = min(n_samples, max(SAMPLE_BYTES, 8 * d * d) // (itemsize * d))
    best = Sample(0, 0.0, np.inf)
    n_rows = 2 * d
    while n_rows <= most or n_rows == 2 * d <= n_samples:
        moments = moments_cost(d) * n_rows / n_samples
        steps = max(math.log(GAIN) / math.log(n_rows / d) - 1.0, 1.0)
        total = moments + steps + READS_BEFORE_STEPS
        if total < best.total:
            best = Sample(n_rows, moments, total)
        n_rows *= 2
    if best.n_rows and best.n_rows < LEAST_SAMPLE:
        return best._replace(n_rows=min(LEAST_SAMPLE, n_samples))
    return best
