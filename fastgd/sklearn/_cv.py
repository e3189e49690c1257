"""The estimator that chooses its penalty."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import check_cv

from fastgd._cross_validation import cross_validate
from fastgd._moments.moments import Moments
from fastgd.sklearn._base import LinearRegressor, validate


class GDRegressorCV(LinearRegressor):
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
        features, target, weight = validate(
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
