"""Models with a penalty on the squares of the coefficients, from moments: minimisers, descents."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fastgd._coordinates import CONSTANT, literal
from fastgd._fit import _descend
from fastgd._moments import Moments
from fastgd._objective import Objective
from fastgd._result import StopReason
from fastgd._settings import Settings
from fastgd._step import plan_step
from fastgd._strategy import Reader

Setting = dict[str, float | int]
Model = tuple[NDArray[np.float64], float]


def model_of(moments: Moments, setting: Setting, fit_intercept: bool, backend: str) -> Model | None:
    """Coefficients and intercept; None if the descent diverges."""
    penalised = _penalised(moments, setting["alpha"])
    if "learning_rate" not in setting:
        return _minimiser(penalised, fit_intercept)
    rate, max_iter = float(setting["learning_rate"]), int(setting["max_iter"])
    settings = Settings(
        fit_intercept, rate, max_iter, 0.0, "mean", "moments", backend, "double", 1, 0
    )
    with np.errstate(over="ignore", invalid="ignore"), Reader(penalised, settings) as read:
        coordinates = literal(moments.n_features, fit_intercept)
        objective = Objective(read, coordinates, "mean")
        start = objective(np.zeros(moments.n_features + fit_intercept))
        plan = plan_step(objective, start, penalised, settings)
        descent = _descend(read, objective, start, plan, penalised, settings)
    if descent.stop_reason is StopReason.DIVERGED:
        return None
    return coordinates.from_params(descent.last.params)


def _penalised(moments: Moments, alpha: float) -> Moments:
    """Moments whose mean squared error is the original's plus ``alpha * sum(coef**2)``."""
    scatter = moments.scatter.copy()
    features = np.arange(moments.n_features)
    scatter[features, features] += alpha * moments.weight_sum
    return replace(moments, scatter=scatter)


def _minimiser(moments: Moments, fit_intercept: bool) -> Model:
    d, mean = moments.n_features, moments.mean
    scatter = moments.scatter
    if not fit_intercept:
        scatter = scatter + moments.weight_sum * np.outer(mean, mean)
    # Columns of equal size: else the rounding of large ones would drown the small. One that is
    # constant to rounding is left to the intercept.
    size = np.sqrt(np.maximum(np.diagonal(scatter)[:d], 0.0))
    least = CONSTANT * np.abs(mean[:d]) * math.sqrt(moments.weight_sum) if fit_intercept else 0.0
    size = np.where(size > least, size, np.inf)
    eigenvalues, vectors = np.linalg.eigh(scatter[:d, :d] / np.outer(size, size))
    kept = eigenvalues > d * np.finfo(np.float64).eps * max(float(eigenvalues[-1]), 0.0)
    inverse = np.divide(1.0, eigenvalues, out=np.zeros(d), where=kept)
    coef = vectors @ (inverse * (vectors.T @ (scatter[:d, d] / size))) / size
    return coef, float(mean[d] - coef @ mean[:d]) if fit_intercept else 0.0


def mse_of(moments: Moments, coef: NDArray[np.float64], intercept: float) -> float:
    """Mean squared error of a model on the data of `moments`."""
    away = np.append(coef, -1.0)
    about_mean = float(away @ moments.scatter @ away) / moments.weight_sum
    return max(about_mean, 0.0) + (float(away @ moments.mean) + intercept) ** 2
