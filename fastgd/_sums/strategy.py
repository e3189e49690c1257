"""Where an epoch's sums come from: a read of the data, or moments collected in one read."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from fastgd._data.arrays import SMALL
from fastgd._data.problem import Problem, check_finite_sums
from fastgd._linalg.inverse import inverse_of
from fastgd._moments.exact import Solution, solution
from fastgd._moments.moments import Moments
from fastgd._moments.quadratic import Quadratic, quadratic_of
from fastgd._penalty import Penalty
from fastgd._settings import Settings
from fastgd._sums.costs import (
    block_reads_before_moments,
    exact_pays,
    moments_cost,
    reads_before_moments,
)
from fastgd._sums.reads import ArrayReads, BlockReads, Reads
from fastgd.backends import ColumnStatistics, Pass, Replay, Sums, load_backend


class Reader:
    """Sums at any coefficients: from the data until it pays to have moments, then from those.

    With ``strategy="auto"`` the moments are collected at once where the number of reads is known
    to cost more; where it is not known, once as much has been spent on reads as they cost: which
    is never worse than twice the better choice.
    """

    def __init__(self, source: Problem | Moments | BlockReads, settings: Settings) -> None:
        self._source, self._settings = source, settings
        self._open: AbstractContextManager[Pass] | None = None
        self._read: Pass | None = None
        self._n_reads = 0
        self._budget = 0.0
        self._notes: list[str] = []
        if isinstance(source, Problem):
            self._budget = reads_before_moments(source.n_samples, source.n_features, settings)
        elif isinstance(source, BlockReads):
            self._budget = block_reads_before_moments(source.n_features, settings)
        self.moments: Moments | None = None
        self.quadratic: Quadratic | None = None
        self.solution: Solution | None = None
        self.sampled: Moments | None = None
        # Columns whose coefficients the data leave open, where a streamed descent has found out.
        self.undetermined: NDArray[np.bool_] | None = None
        if self._budget <= 0.0:
            self.collect()

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
        if self._settings.precision == "exact":
            asked = "exact, as asked for"
        if self.moments is None:
            why = ", ".join([*self._notes, asked or "fewer than moments would have cost"])
            return f"stream: {reads}, {why}"
        if self._notes and self._n_reads == 0:
            return f"moments: {', '.join(self._notes)}"
        if self._n_reads == 0:
            return f"moments: 1 read, {asked or 'less than an epoch-by-epoch fit would have cost'}"
        for_moments = 1 if self.solution is None else 2  # the second exact
        spent = self._n_reads >= moments_cost(self._source.n_features)
        why = "no fewer than moments cost" if spent else "which got nowhere"
        return f"stream, then moments: {reads}, {why}, and {for_moments} for them"

    @property
    def from_moments(self) -> bool:
        """Whether sums now come from moments."""
        return self.quadratic is not None

    @property
    def may_collect(self) -> bool:
        """Whether moments are ever collected, if enough is spent on reads before."""
        return self._budget < np.inf

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
        self.sampled = self._reads.sample(n_rows)
        return self.sampled

    @property
    def backend(self) -> str:
        """The backend's name."""
        return self._settings.backend

    def load_replay(self) -> Replay | None:
        """A compiled loop over the moments, where they are had and the backend has one."""
        return None if self.quadratic is None else load_backend(self.backend).load_replay()

    def column_statistics(self) -> ColumnStatistics:
        """Means and deviations of the columns of X."""
        if self.moments is None:
            self._n_reads += 1
            columns = self._reads.column_statistics()
            check_finite_sums(self._source, columns.mean, columns.deviation)
            self._check_not_small(columns.deviation <= SMALL)
            return columns
        d = self._source.n_features
        variance = self.moments.scatter.diagonal()[:d] / self.moments.weight_sum
        return ColumnStatistics(self.moments.mean[:d], np.sqrt(np.maximum(variance, 0.0)))

    def __call__(self, coef: NDArray[np.float64], intercept: float | NDArray[np.float64]) -> Sums:
        """The sums at these coefficients."""
        if self.quadratic is None and self._n_reads >= self._budget:
            self.collect()
        if self.quadratic is not None:
            return self.quadratic.sums(coef, intercept)
        if self._read is None:
            self._open = self._reads.open_pass()
            self._read = self._open.__enter__()
        self._n_reads += 1
        return self._read(coef, intercept)

    def collect(self) -> None:
        """Collect the moments: sums come from them from now on."""
        self._close()
        if isinstance(self._source, Moments):
            self._take(self._source)
            return
        self._collect_from_data(self._reads)

    def check_target(self, loss: float) -> None:
        """Raise if the loss at the start is that small because squares of y underflow."""
        if loss <= SMALL**2 and not isinstance(self._source, Moments):
            n_targets = self._source.targets[0] if self._source.targets else 1
            of_target = np.arange(self._source.n_features + n_targets) >= self._source.n_features
            self._reads.check_not_small(of_target)

    def _check_not_small(self, columns: NDArray[np.bool_]) -> None:
        if columns.any():
            self._reads.check_not_small(columns)

    def _collect_from_data(self, reads: Reads) -> None:
        asked = self._settings.precision
        moments = reads.moments("exact" if asked == "exact" else "double")
        self._check_not_small(moments.small_columns())
        self._take(moments)
        may_need = asked == "auto" and self._settings.method == "cg" and moments.n_features > 1
        if may_need and not reads.is_read_once:
            inflation = self._inflation()
            if exact_pays(inflation, self._source.n_features, self._source.dtype):
                self._take(reads.moments("exact"))
                self.note(
                    "2 reads, the second exact: variance inflation by the other columns is "
                    + (f"{inflation:.0e}" if inflation < np.inf else "beyond doubles")
                )

    def _take(self, moments: Moments) -> None:
        self.moments, self.quadratic, self.sampled = moments, quadratic_of(moments), None
        if moments.exact is None:
            return
        settings = self._settings
        self.solution = self.quadratic.solution
        if not settings.fit_intercept or settings.penalty.squares > 0.0:
            exact = moments.penalised(settings.penalty.squares).exact
            assert exact is not None
            self.solution = solution(exact, moments.n_features, settings.fit_intercept)

    def _inflation(self) -> float:
        """The largest variance inflation of a column, as the normal equations have it."""
        moments, quadratic, settings = self.moments, self.quadratic, self._settings
        assert moments is not None
        assert quadratic is not None
        if settings.fit_intercept and settings.penalty.squares == 0.0:
            return quadratic.inverse.inflation()
        d = moments.n_features
        mean = moments.mean[:d]
        total = moments.penalised(settings.penalty.squares).scatter[:d, :d]
        if not settings.fit_intercept:
            total = total + moments.weight_sum * np.outer(mean, mean)
        return inverse_of(np.ascontiguousarray(total)).inflation()

    @property
    def _reads(self) -> Reads:
        assert not isinstance(self._source, Moments)  # they are never streamed
        if isinstance(self._source, Problem):
            return ArrayReads(self._source, self._settings)
        return self._source

    def _close(self) -> None:
        if self._open is not None:
            self._open.__exit__(None, None, None)
            self._open = self._read = None
