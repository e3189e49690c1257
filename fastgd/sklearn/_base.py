"""What the estimators have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn.exceptions
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

import fastgd
from fastgd._results.predict import predict

# X of either is used as it is, without a copy.
DTYPES = (np.float64, np.float32)


class ConvergenceWarning(fastgd.ConvergenceWarning, sklearn.exceptions.ConvergenceWarning):  # type: ignore[misc]
    """The warning of `fastgd.fit`, and scikit-learn's: a filter for either catches it."""


class LinearRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
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
        checked = validate_data(self, X, reset=False, dtype=DTYPES)
        predicted = predict(checked, self.coef_.T, self.intercept_, None, None)
        assert isinstance(predicted, np.ndarray)
        return predicted


def validate(
    estimator: BaseEstimator,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None,
    **options: Any,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    """X, y and weights as arrays, checked as scikit-learn checks them."""
    options = {"dtype": DTYPES, "y_numeric": True, "multi_output": True, **options}
    features, target = validate_data(estimator, X, y, **options)
    if sample_weight is None:
        return features, target, None
    return features, target, _check_sample_weight(sample_weight, features, dtype=features.dtype)
