"""plan(): what a descent on these data would take, before any is run."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fastgd._data.arrays import check_one_target
from fastgd._data.problem import Problem
from fastgd._descent.outlook import MOST_EPOCHS, outlook
from fastgd._moments.moments import Moments, moments_of
from fastgd._settings import Settings, check_settings
from fastgd._sums.costs import moments_cost, reads_before_moments
from fastgd._sums.opened import opened
from fastgd._sums.reads import BlockReads

ONE_TARGET = "y must be 1-D, one target"


@dataclass(frozen=True, repr=False)
class Plan:
    """What gradient descent on some data would take; printed, a table.

    That is ``method="gd"``: the default, conjugate gradients, takes one read for the moments, or
    some 15 with those of a sample.

    Attributes
    ----------
    n_samples, n_features : int
    tol : float
        As in `fastgd.fit`: the excess of the loss over its minimum, as a part of the loss.
    reduction : {"mean", "sum"}
        Of the gradients that the learning rates are for.
    largest_stable_learning_rate : float
        A literal learning rate below this converges, one above it diverges: ``2 / L``, with L the
        largest eigenvalue of the Hessian. Infinite if all columns are 0.
    best_learning_rate : float
        The literal learning rate that contracts fastest: ``2 / (L + mu)``, with mu the smallest
        eigenvalue that is not 0.
    condition_number, standardised_condition_number : float
        L / mu of the Hessian, in the user's units and in standardised coordinates.
    epochs, epochs_auto : int
        Until `fit`, starting at 0, meets `tol`: with `best_learning_rate`, and with "auto". Not
        searched beyond ``2**62``.
    reads, reads_auto : int
        Of X and y if all is streamed: the epochs, and what measures the data.
    moments_cost : float
        What collecting the moments costs, in reads by a streaming epoch.
    bytes_per_read : int or None
        None where moments were given: nothing is read.
    strategy, strategy_auto : str
        What ``fit(strategy="auto")`` would do, with a literal learning rate and with "auto".
    """

    n_samples: int
    n_features: int
    tol: float
    reduction: str
    largest_stable_learning_rate: float
    best_learning_rate: float
    condition_number: float
    standardised_condition_number: float
    epochs: int
    epochs_auto: int
    reads: int
    reads_auto: int
    moments_cost: float
    bytes_per_read: int | None
    strategy: str
    strategy_auto: str

    def __repr__(self) -> str:
        """The table."""
        rows = [
            ("learning_rate", f"{self.best_learning_rate:.6g}", '"auto"'),
            ("largest that is stable", f"{self.largest_stable_learning_rate:.6g}", ""),
            (
                "condition number of the Hessian",
                f"{self.condition_number:.4g}",
                f"{self.standardised_condition_number:.4g}",
            ),
            (f"epochs to tol={self.tol:g}", _count(self.epochs), _count(self.epochs_auto)),
            ('reads, strategy="stream"', _count(self.reads), _count(self.reads_auto)),
            *self._rows_of_reads(),
            ('strategy="auto" would be', self.strategy, self.strategy_auto),
        ]
        n, d = self.n_samples, self.n_features
        title = f"Plan for {n:,} sample{'s' * (n > 1)} of {d:,} feature{'s' * (d > 1)}"
        title += ', method="gd"'
        if self.reduction == "sum":
            title += ', reduction="sum"'
        lines = [f"{name:<34}{mine:>22}{auto:>22}" for name, mine, auto in rows]
        return "\n".join([title, "-" * 78, *(line.rstrip() for line in lines)])

    def _rows_of_reads(self) -> list[tuple[str, str, str]]:
        if self.bytes_per_read is None:
            return [('reads, strategy="moments"', "0", "0")]
        once, cost = self.bytes_per_read, f"1, costing {self.moments_cost:.3g}"
        return [
            ("bytes of them", _bytes(self.reads * once), _bytes(self.reads_auto * once)),
            ('reads, strategy="moments"', cost, cost),
            ("bytes of it", _bytes(once), _bytes(once)),
        ]


def plan(
    X: ArrayLike | Moments,
    y: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    missing: str = "error",
    fit_intercept: bool = True,
    tol: float = 1e-10,
    max_iter: int = 10_000,
    reduction: str = "mean",
    backend: str = "numba",
    n_threads: int | None = None,
) -> Plan:
    """Say beforehand which learning rates work, and what a fit would take.

    Reads arrays once, for their moments; moments not at all.

    Parameters
    ----------
    X, y, sample_weight, missing, fit_intercept, tol, reduction, backend, n_threads
        As in `fastgd.fit`. X may be `fastgd.Moments`.
    max_iter : int, default 10_000
        As in `fastgd.fit`, whose choice of a strategy goes by it where the learning rate is
        literal. Epochs are predicted beyond it.

    Returns
    -------
    Plan

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used, or the data hold NaN or infinity.
    OverflowError
        If the data are finite but their squares are not.

    Notes
    -----
    In the eigenvectors of the Hessian, step h shrinks the error along eigenvalue v by
    ``1 - h v`` an epoch: the whole descent is known beforehand. Epochs are counted until the bound
    that `fit` goes by meets `tol`, or the limit of rounding that stops ``learning_rate="auto"``.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((1000, 3)) * [1, 2, 4] + 1
    >>> y = X @ [1, 2, 3] + rng.standard_normal(1000)
    >>> plan = fastgd.plan(X, y)
    >>> plan
    Plan for 1,000 samples of 3 features, method="gd"
    ...
    >>> fastgd.fit(X, y, learning_rate=plan.best_learning_rate).n_iter == plan.epochs
    True
    """
    settings = check_settings({**locals(), "method": "gd"})
    with opened(X, y, sample_weight, settings, missing) as source:
        check_one_target(ONE_TARGET, source.targets)
        moments, size = moments_and_size(source, settings)
    return forecast(moments, size, settings)


def forecast(moments: Moments, size: int | None, settings: Settings) -> Plan:
    """The plan for data of which there are these moments, and which take so many bytes."""
    check_one_target(ONE_TARGET, moments.targets)
    with np.errstate(over="ignore", invalid="ignore"):  # as in `fit`
        auto = outlook(moments, settings, standardise=True)
        mine = outlook(moments, settings, standardise=False)
    scale = 1.0 / moments.weight_sum if settings.reduction == "sum" else 1.0
    by_auto, by_mine = "moments", "moments"
    if size is not None:
        by_auto = _strategy(moments, settings, auto.reads)
        # Whatever the rate, the choice is one by max_iter.
        by_mine = _strategy(moments, settings._replace(learning_rate=1.0), mine.reads)
    return Plan(
        n_samples=moments.n_samples,
        n_features=moments.n_features,
        tol=settings.tol,
        reduction=settings.reduction,
        largest_stable_learning_rate=2.0 / mine.largest * scale if mine.largest > 0 else math.inf,
        best_learning_rate=mine.learning_rate * scale,
        condition_number=mine.condition_number,
        standardised_condition_number=auto.condition_number,
        epochs=mine.epochs,
        epochs_auto=auto.epochs,
        reads=mine.reads,
        reads_auto=auto.reads,
        moments_cost=moments_cost(moments.n_features),
        bytes_per_read=size,
        strategy=by_mine,
        strategy_auto=by_auto,
    )


def moments_and_size(
    source: Problem | Moments | BlockReads, settings: Settings
) -> tuple[Moments, int | None]:
    """The moments of some data, and the bytes of the arrays; None where there are no arrays."""
    if isinstance(source, Moments):
        return source, None
    if isinstance(source, BlockReads):
        return source.moments(), None
    arrays = (source.X, source.y, source.sample_weight)
    size = sum(array.nbytes for array in arrays if array is not None)
    return moments_of(source, settings.backend, "double", settings.n_threads), size


def _strategy(moments: Moments, settings: Settings, reads: int) -> str:
    """What ``fit(strategy="auto")`` comes to, for so many reads."""
    budget = reads_before_moments(moments.n_samples, moments.n_features, settings)
    if budget <= 0.0:
        return "moments"
    return "stream" if reads <= budget else "stream, then moments"


def _bytes(number: int) -> str:
    unit = min(max(len(str(number)) - 1, 0) // 3, 6)
    return f"{number / 1000**unit:.3g} {('B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB')[unit]}"


def _count(number: int) -> str:
    if number >= MOST_EPOCHS:
        return f"over {MOST_EPOCHS:.0e}"
    return f"{number:,}" if number < 10**9 else f"{float(number):.2g}"
