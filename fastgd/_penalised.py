"""Models with a penalty on the squares of the coefficients, from moments: minimisers, descents."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd._errors import DivergenceError
from fastgd._fit import fit
from fastgd._linalg.inverse import inverse_of
from fastgd._linalg.product import product
from fastgd._moments.coordinates import CONSTANT
from fastgd._moments.exact import solution
from fastgd._moments.moments import Moments

Setting = dict[str, float | int]
Model = tuple[NDArray[np.float64], float]


def model_of(moments: Moments, setting: Setting, fit_intercept: bool, backend: str) -> Model | None:
    """Coefficients and intercept; None if the descent diverges."""
    if "learning_rate" not in setting:
        return _minimiser(moments.penalised(setting["alpha"]), fit_intercept)
    options: dict[str, Any] = {**setting, "fit_intercept": fit_intercept, "backend": backend}
    try:
        result = fit(moments, tol=0.0, **options)
    except DivergenceError:
        return None
    return np.atleast_1d(result.coef), float(result.intercept)


def _minimiser(moments: Moments, fit_intercept: bool) -> Model:
    d, mean = moments.n_features, moments.mean
    if moments.exact is not None:
        solved = solution(moments.exact, d, fit_intercept)
        return solved.coef[:, 0], float(solved.intercept[0])
    scatter = moments.scatter
    if not fit_intercept:
        scatter = scatter + moments.weight_sum * np.outer(mean, mean)
    # A column that is constant to rounding is left to the intercept.
    size = np.sqrt(np.maximum(np.diagonal(scatter)[:d], 0.0))
    least = CONSTANT * np.abs(mean[:d]) * math.sqrt(moments.weight_sum) if fit_intercept else 0.0
    kept = size > least
    curvature = np.where(kept & kept[:, np.newaxis], scatter[:d, :d], 0.0)
    coef = inverse_of(curvature).solve(scatter[:d, d])
    return coef, float(mean[d] - coef @ mean[:d]) if fit_intercept else 0.0


def mse_of(moments: Moments, coef: NDArray[np.float64], intercept: float) -> float:
    """Mean squared error of a model on the data of `moments`."""
    away = np.append(coef, -1.0)
    about_mean = float(away @ product(moments.scatter, away)) / moments.weight_sum
    return max(about_mean, 0.0) + (float(away @ moments.mean) + intercept) ** 2
