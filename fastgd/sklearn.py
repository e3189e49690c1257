"""Estimators for scikit-learn; needs the package scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd._cross_validation import cross_validate
from fastgd._fit import fit
from fastgd._moments import Moments
from fastgd._predict import predict
from fastgd._result import FitResult

try:
    from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
    from sklearn.model_selection import check_cv
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ImportError:
    raise ImportError(
        "fastgd.sklearn needs scikit-learn 1.6 or newer: python -m pip install 'fastgd[sklearn]'"
    ) from None

__all__ = ["GDRegressor", "GDRegressorCV"]

# X of either is used as it is, without a copy.
_DTYPES = (np.float64, np.float32)


class _LinearRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """What estimators with `coef_` and `intercept_` have in common."""

    coef_: NDArray[np.float64]
    intercept_: float | NDArray[np.float64]
    n_features_in_: int

    def predict(self, X: ArrayLike) -> NDArray[np.floating[Any]]:
        """Predict ``X @ coef_.T + intercept_``.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
            float32 for float32 X, else float64.
        """
        check_is_fitted(self)
        checked = validate_data(self, X, reset=False, dtype=_DTYPES)
        predicted = predict(checked, self.coef_.T, self.intercept_, None, None)
        assert isinstance(predicted, np.ndarray)
        return predicted


class GDRegressor(MultiOutputMixin, _LinearRegressor):  # type: ignore[misc]
    """Least squares by gradient descent, as an estimator.

    Parameters
    ----------
    fit_intercept, learning_rate, max_iter, tol, strategy, backend, precision, n_threads, verbose
        As in `fastgd.fit`.
    warm_start : bool, default False
        Whether `fit` starts at the coefficients of the fit before.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features), float64
    intercept_ : float or ndarray of shape (n_targets,)
        0.0 if none is fitted.
    n_iter_ : int
        Steps taken; for several targets the most of any.
    loss_history_ : ndarray of shape (n_iter_ + 1,), or a list of one for each target
        Mean squared error before the first step, and after each.
    converged_ : bool
        Whether all targets were fitted to `tol`.
    moments_ : Moments or None
        Of all data seen, where the fit collected them.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only where X has names of columns that are all strings.

    See Also
    --------
    fastgd.fit : The same without scikit-learn; takes more kinds of arguments.

    Notes
    -----
    float32 X is used as it is, neither copied nor converted. Several targets are fitted from one
    read of X, unless ``strategy="stream"``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from fastgd.sklearn import GDRegressor
    >>> X = np.array([[0, 1], [1, 0], [2, 2], [3, 1], [4, 3]], dtype=np.float32)
    >>> y = X @ np.float32([2, -1]) + 1
    >>> model = make_pipeline(StandardScaler(), GDRegressor()).fit(X, y)
    >>> model.predict(X).round(3).tolist()
    [0.0, 3.0, 3.0, 6.0, 6.0]
    """

    moments_: Moments | None

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        learning_rate: float | str = "auto",
        max_iter: int = 10_000,
        tol: float = 1e-10,
        strategy: str = "auto",
        backend: str = "numba",
        precision: str = "double",
        n_threads: int | None = None,
        warm_start: bool = False,
        verbose: int = 0,
    ) -> None:
        self.fit_intercept = fit_intercept
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.tol = tol
        self.strategy = strategy
        self.backend = backend
        self.precision = precision
        self.n_threads = n_threads
        self.warm_start = warm_start
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
        y : array_like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array_like of shape (n_samples,), optional

        Returns
        -------
        GDRegressor
            The estimator itself.
        """
        features, target, weight = _validate(self, X, y, sample_weight, reset=True)
        starts = self._starts(target.shape[1:])
        if target.ndim == 2 and self.strategy != "stream":
            return self._fit_moments(self._moments_of(features, target, weight), starts)
        columns = target.reshape(len(target), -1).T
        options = {"sample_weight": weight, **self._options()}
        results = [
            fit(features, column, **options, **start)
            for column, start in zip(columns, starts, strict=True)
        ]
        return self._keep(results, single=target.ndim == 1)

    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Take in further data, and fit the model to all data seen so far.

        It is the model that `fit` finds for all of them at once, up to rounding.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        GDRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            If the estimator was fitted without moments, or to other columns.
        """
        is_new = not hasattr(self, "coef_")
        features, target, weight = _validate(self, X, y, sample_weight, reset=is_new)
        moments = self._moments_of(features, target, weight)
        if not is_new:
            if self.moments_ is None:
                raise ValueError(
                    "partial_fit after fit needs the moments of its data: "
                    'set strategy="moments" before fit'
                )
            moments = self.moments_ + moments
        return self._fit_moments(moments, [{}] * moments.n_targets)

    def _options(self) -> dict[str, Any]:
        names = "fit_intercept learning_rate max_iter tol strategy backend precision n_threads"
        return {name: getattr(self, name) for name in [*names.split(), "verbose"]}

    def _moments_of(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None) -> Moments:
        return Moments.of(X, y, sample_weight, backend=self.backend, n_threads=self.n_threads)

    def _fit_moments(self, moments: Moments, starts: list[dict[str, Any]]) -> Self:
        """Fit each target."""
        options = {**self._options(), "strategy": "moments"}
        results = [fit(_target(moments, t), **options, **start) for t, start in enumerate(starts)]
        self._keep(results, single=moments.single_target)
        self.moments_ = moments  # of all targets
        return self

    def _starts(self, targets: tuple[int, ...]) -> list[dict[str, Any]]:
        """Where to start each target: where the last fit ended, if it was of as many columns."""
        coef = getattr(self, "coef_", None)
        shape = (*targets, self.n_features_in_)
        if not self.warm_start or coef is None or coef.shape != shape:
            return [{} for _ in range(*targets or (1,))]
        intercepts = np.broadcast_to(self.intercept_, targets or (1,)).tolist()
        names = ("coef_init", "intercept_init")[: 1 + self.fit_intercept]
        return [
            dict(zip(names, values, strict=False))
            for values in zip(coef.reshape(-1, self.n_features_in_), intercepts, strict=True)
        ]

    def _keep(self, results: list[FitResult], *, single: bool) -> Self:
        histories = [result.loss_history for result in results]
        coef = np.array([result.coef for result in results])
        intercept = np.array([result.intercept for result in results])
        self.coef_ = coef[0] if single else coef
        self.intercept_ = float(intercept[0]) if single else intercept
        self.n_iter_ = max(result.n_iter for result in results)
        self.loss_history_ = histories[0] if single else histories
        self.converged_ = all(result.converged for result in results)
        self.moments_ = results[0].moments if single else None
        return self


class GDRegressorCV(_LinearRegressor):
    """Least squares with the ridge penalty that cross-validates best, from one read of the data.

    Parameters
    ----------
    alpha : sequence of float, default (0.0, 0.001, 0.01, 0.1, 1.0, 10.0)
        Penalties to try: models minimise ``mse + alpha * sum(coef**2)``. The ``alpha`` of
        scikit-learn's Ridge is `n_samples` times as large.
    cv : int, splitter or iterable of (train, test), default 5
        A number of folds, contiguous blocks of rows; or splits whose test rows are, together,
        each row once, such as those of KFold and GroupKFold.
    fit_intercept, backend, n_threads
        As in `fastgd.cross_validate`.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,), float64
    intercept_ : float
    alpha_ : float
        The penalty that is best.
    mse_ : ndarray of shape (n_alphas, n_folds), float64
        Mean squared error on each fold.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd.sklearn import GDRegressorCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((60, 10))
    >>> y = X[:, 0] + rng.standard_normal(60)
    >>> GDRegressorCV(alpha=[0, 0.1, 0.3, 1, 10]).fit(X, y).alpha_
    0.3
    """

    def __init__(
        self,
        *,
        alpha: Sequence[float] = (0.0, 0.001, 0.01, 0.1, 1.0, 10.0),
        cv: Any = 5,
        fit_intercept: bool = True,
        backend: str = "numba",
        n_threads: int | None = None,
    ) -> None:
        self.alpha = alpha
        self.cv = cv
        self.fit_intercept = fit_intercept
        self.backend = backend
        self.n_threads = n_threads

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Choose the penalty and fit the model.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
        y : array_like of shape (n_samples,)
        sample_weight : array_like of shape (n_samples,), optional

        Returns
        -------
        GDRegressorCV
            The estimator itself.
        """
        features, target, weight = _validate(
            self, X, y, sample_weight, reset=True, multi_output=False, ensure_min_samples=2
        )
        options = self.get_params(deep=False)
        if isinstance(self.cv, Integral):
            found = cross_validate(features, target, sample_weight=weight, **options)
        else:
            del options["cv"]
            found = cross_validate(self._folds(features, target, weight), **options)
        self.coef_, self.intercept_ = np.asarray(found.coef), found.intercept
        self.alpha_ = float(found.best["alpha"])
        self.mse_ = found.mse
        return self

    def _folds(
        self, X: NDArray[Any], y: NDArray[Any], weight: NDArray[Any] | None
    ) -> list[Moments]:
        """The moments of each split's test rows."""
        tests = [test for _, test in check_cv(self.cv).split(X, y)]
        counts = np.zeros(len(X), int)
        for test in tests:
            np.add.at(counts, test, 1)
        if (counts != 1).any():
            raise ValueError("cv must have each row once among its test rows")
        return [
            Moments.of(
                X[test],
                y[test],
                None if weight is None else weight[test],
                backend=self.backend,
                n_threads=self.n_threads,
            )
            for test in tests
        ]


def _validate(
    estimator: BaseEstimator,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None,
    **options: Any,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    """X, y and weights as arrays, checked as scikit-learn checks them."""
    options = {"dtype": _DTYPES, "y_numeric": True, "multi_output": True, **options}
    features, target = validate_data(estimator, X, y, **options)
    if sample_weight is None:
        return features, target, None
    return features, target, _check_sample_weight(sample_weight, features, dtype=features.dtype)


def _target(moments: Moments, target: int) -> Moments:
    """The moments of X and one of the targets."""
    rows = np.append(np.arange(moments.n_features), moments.n_features + target)
    return replace(
        moments,
        mean=moments.mean[rows],
        scatter=moments.scatter[np.ix_(rows, rows)],
        n_targets=1,
        single_target=True,
    )
