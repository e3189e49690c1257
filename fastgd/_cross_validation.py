"""Cross-validation over penalties and descents from one read of the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from numbers import Number
from operator import add
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd import _check
from fastgd._data.problem import as_problem, check_finite_sums
from fastgd._moments.folds import all_but_one, fold_moments, given_folds, number_of_folds
from fastgd._moments.moments import Moments
from fastgd._penalised import Setting, model_of, mse_of
from fastgd.backends import BACKENDS

# Squares of differences of means are less than so many times the squares of means.
MARGIN = 64.0


@dataclass(frozen=True, eq=False, repr=False)
class CrossValidation:
    """What `cross_validate` returns; ``print(result)`` shows a table.

    Attributes
    ----------
    settings : list of dict
        ``{"alpha": ...}``, and ``"learning_rate"`` and ``"max_iter"`` where those were given.
    mse : ndarray of shape (n_settings, n_folds), float64
        Mean squared error on each fold of the model of the others; infinite if its descent
        diverged.
    coef : float or ndarray of shape (n_features,), float64
        Of the best setting, on all data.
    intercept : float
    moments : Moments
        Of all data: `fastgd.fit` takes them for a further fit without another read.
    """

    settings: list[Setting]
    mse: NDArray[np.float64]
    coef: float | NDArray[np.float64]
    intercept: float
    moments: Moments

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean over the folds of each setting's `mse`."""
        return np.asarray(self.mse.mean(axis=1))

    @property
    def standard_error(self) -> NDArray[np.float64]:
        """Standard error of `mean`, from the spread over the folds; NaN if one is infinite."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.mse.std(axis=1, ddof=1) / math.sqrt(self.mse.shape[1]))

    @property
    def best(self) -> Setting:
        """The setting with the lowest mean; the first of them."""
        return self.settings[int(self.mean.argmin())]

    def __repr__(self) -> str:
        return (
            f"CrossValidation(n_settings={len(self.settings)}, n_folds={self.mse.shape[1]}, "
            f"best={self.best})"
        )

    def __str__(self) -> str:
        """A table: the settings, their mean squared error and its standard error."""
        names = list(self.settings[0])
        lines = ["".join(f"{name:>15}" for name in [*names, "mse", "standard error"])]
        for setting, mean, error in zip(self.settings, self.mean, self.standard_error, strict=True):
            cells = [*setting.values(), mean, error]
            mark = "  best" if setting is self.best else ""
            lines.append("".join(f"{cell:>15.6g}" for cell in cells) + mark)
        return "\n".join(lines)


def cross_validate(
    X: ArrayLike | Sequence[Moments],
    y: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    missing: str = "error",
    cv: int = 5,
    alpha: float | Sequence[float] = (0.0,),
    learning_rate: float | Sequence[float] | None = None,
    max_iter: int | Sequence[int] | None = None,
    fit_intercept: bool = True,
    shuffle: bool = False,
    random_state: int | np.random.Generator | None = None,
    backend: str = "numba",
    n_threads: int | None = None,
) -> CrossValidation:
    """K-fold cross-validation of any number of settings from one read of the data.

    Parameters
    ----------
    X, y, sample_weight, missing
        As in `fastgd.fit`. A list of `fastgd.Moments`, one a fold, stands for all of the data,
        for folds of any rows.
    cv : int, default 5
        Number of folds: contiguous blocks of rows, equal to within a row.
    alpha : float or sequence of float, default (0.0,)
        Penalties: models minimise ``mse + alpha * sum(coef**2)``; the intercept is not penalised.
    learning_rate : float or sequence of float, optional
        With `max_iter`: models are what gradient descent from 0 with this literal step reaches.
        Without: the minimisers, by a direct solution (the shortest one where there are many).
    max_iter : int or sequence of int, optional
        Epochs of these descents, all of which are run.
    fit_intercept : bool, default True
    shuffle : bool, default False
        Deal rows to the folds at random, in blocks of neighbouring rows, 64 to a fold (of a
        single row where there are no more): for rows in an order that matters, such as sorted.
    random_state : int or numpy.random.Generator, optional
        Fixes what `shuffle` deals.
    backend, n_threads
        As in `fastgd.fit`.

    Returns
    -------
    CrossValidation

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used, the data hold NaN or infinity, a fold has no weight, or
        every setting diverges.
    OverflowError
        If the data are finite but their squares are not.

    Notes
    -----
    Each fold is read once, for its `Moments`. Those of its training data are merged from the
    other folds: merging adds positive terms and loses no digits, where subtracting the fold from
    the total would if that held most of the spread. Errors on a fold are a quadratic form in its
    moments, and exact to rounding relative to the mean square of y about its mean. Memory is that
    of ``3 * cv`` moments.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((60, 10))
    >>> y = X[:, 0] + rng.standard_normal(60)
    >>> result = fastgd.cross_validate(X, y, alpha=[0, 0.1, 0.3, 1, 10])
    >>> result.best
    {'alpha': 0.3}
    >>> result.mse.shape
    (5, 5)
    """
    settings = _grid(alpha, learning_rate, max_iter)
    intercept = _check.flag("fit_intercept", fit_intercept)
    mixed = _check.flag("shuffle", shuffle)
    if random_state is not None and not mixed:
        raise ValueError("random_state has no effect without shuffle=True")
    if random_state is not None:
        random_state = _check.random_state("random_state", random_state)
    _check.choice("backend", backend, BACKENDS)
    threads = _check.n_threads(n_threads)
    if isinstance(X, (list, tuple)) and X and all(isinstance(part, Moments) for part in X):
        folds = given_folds(X, y, sample_weight)
    else:
        if y is None:
            raise TypeError("y must be given, unless X is a list of fastgd.Moments; got None")
        problem = as_problem(X, y, sample_weight, missing=missing)  # type: ignore[arg-type]
        rng = np.random.default_rng(random_state) if mixed else None
        n_folds = number_of_folds(cv, problem.n_samples)
        folds = fold_moments(problem, n_folds, rng, backend, threads)
    with np.errstate(over="ignore"):  # a fold of one row has no spread, whatever its size
        for part in folds:
            check_finite_sums(part, MARGIN * part.weight_sum * part.mean**2)

    mse = np.full((len(settings), len(folds)), np.inf)
    for fold, (held_out, training) in enumerate(zip(folds, all_but_one(folds), strict=True)):
        for row, setting in enumerate(settings):
            model = model_of(training, setting, intercept, backend)
            if model is not None:
                mse[row, fold] = mse_of(held_out, *model)
    best = settings[int(mse.mean(axis=1).argmin())]
    whole = reduce(add, folds)
    model = model_of(whole, best, intercept, backend)
    if model is None or np.isinf(mse).any(axis=1).all():
        raise ValueError("every setting diverges in some fold; lower learning_rate")
    coef, b = model
    return CrossValidation(
        settings, mse, float(coef[0]) if whole.one_dimensional else coef, b, whole
    )


def _grid(alpha: object, learning_rate: object, max_iter: object) -> list[Setting]:
    alphas = [_check.real("alpha", value) for value in _values("alpha", alpha)]
    if (learning_rate is None) != (max_iter is None):
        raise ValueError("learning_rate and max_iter must be given together, or neither")
    if learning_rate is None:
        return [{"alpha": value} for value in alphas]
    rates = [
        _check.real("learning_rate", value, positive=True)
        for value in _values("learning_rate", learning_rate)
    ]
    epochs = [_check.integer("max_iter", n, least=1) for n in _values("max_iter", max_iter)]
    names = ("alpha", "learning_rate", "max_iter")
    return [dict(zip(names, values, strict=True)) for values in product(alphas, rates, epochs)]


def _values(name: str, value: object) -> list[Any]:
    try:
        n_axes = np.ndim(value)  # type: ignore[arg-type]
    except ValueError:  # ragged
        n_axes = 2
    if n_axes > 1 or (n_axes == 0 and not isinstance(value, (Number, np.ndarray))):
        raise TypeError(
            f"{name} must be a number or a sequence of numbers, got {_check.describe(value)}"
        )
    values = list(value) if n_axes == 1 else [value]  # type: ignore[call-overload]
    if not values:
        raise ValueError(f"{name} must hold at least one number")
    return values
