"""The arguments of fit() that are not data, checked."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd import _check
from fastgd._objective import REDUCTIONS
from fastgd._problem import Source
from fastgd.backends import BACKENDS, PRECISIONS

STRATEGIES = ("auto", "stream", "moments")


class Settings(NamedTuple):
    """`learning_rate` is None for "auto"."""

    fit_intercept: bool
    learning_rate: float | None
    max_iter: int
    tol: float
    reduction: str
    strategy: str
    backend: str
    precision: str
    n_threads: int | None
    verbose: int

    @property
    def gradient_reduction(self) -> str:
        """What the loop descends: a step chosen by the library is one for the mean."""
        return "mean" if self.learning_rate is None else self.reduction


def check_settings(
    fit_intercept: object,
    learning_rate: object,
    max_iter: object,
    tol: object,
    reduction: object,
    strategy: object,
    backend: object,
    precision: object,
    n_threads: object,
    verbose: object,
) -> Settings:
    """Raise TypeError or ValueError for the first argument that cannot be used."""
    return Settings(
        fit_intercept=_check.flag("fit_intercept", fit_intercept),
        learning_rate=_learning_rate(learning_rate),
        max_iter=_check.integer("max_iter", max_iter, least=1),
        tol=_check.real("tol", tol),
        reduction=_check.choice("reduction", reduction, REDUCTIONS),
        strategy=_check.choice("strategy", strategy, STRATEGIES),
        backend=_check.choice("backend", backend, BACKENDS),
        precision=_check.choice("precision", precision, PRECISIONS),
        n_threads=check_n_threads(n_threads),
        verbose=_check.integer("verbose", verbose, least=0),
    )


def check_n_threads(n_threads: object) -> int | None:
    """A number of threads of at least 1, or None."""
    return None if n_threads is None else _check.integer("n_threads", n_threads, least=1)


def check_start(
    problem: Source, settings: Settings, coef_init: ArrayLike | None, intercept_init: object
) -> tuple[NDArray[np.float64], float]:
    """Coefficients and intercept to start from."""
    coef = np.zeros(problem.n_features)
    if coef_init is not None:
        coef = _check.coefficients(
            "coef_init", coef_init, problem.n_features, scalar=problem.one_dimensional
        )
    if intercept_init is None:
        return coef, 0.0
    if not settings.fit_intercept:
        raise ValueError("intercept_init cannot be given with fit_intercept=False")
    return coef, _check.scalar("intercept_init", intercept_init)


def _learning_rate(value: object) -> float | None:
    if isinstance(value, str):
        _check.choice("learning_rate", value, ["auto"])
        return None
    if value is None:
        raise TypeError('learning_rate must be "auto" or a positive number, got None')
    return _check.real("learning_rate", value, positive=True)
