"""The oracle: the formulas as they are written. Imports nothing of fastgd.

Everything is computed in `numpy.longdouble`, which has eleven bits more than float64 where the
machine has an extended format (x86) or more than that; where it has none, long double is float64
and the tolerances still leave room for both sides.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Long = np.longdouble


class Evaluation(NamedTuple):
    """Exact values, each with the sum of the absolute terms that rounding is relative to."""

    prediction: np.ndarray
    mse: Any
    gradient: Any
    intercept_gradient: Any
    prediction_terms: np.ndarray
    mse_terms: Any
    gradient_terms: Any
    intercept_terms: Any


class Trajectory(NamedTuple):
    """Coefficients, intercepts and losses before the first epoch and after each."""

    coefs: np.ndarray
    intercepts: np.ndarray
    losses: np.ndarray


def evaluate(X, y, coef, intercept=0.0, sample_weight=None, reduction="mean") -> Evaluation:
    """mse = sum(s (X w + b - y)^2) / sum(s), and its derivatives by w and by b."""
    one_dimensional = np.ndim(X) == 1
    A, t, s = _long_arrays(X, y, sample_weight)
    w = np.atleast_1d(np.asarray(coef, Long))
    b = Long(intercept)

    prediction = A @ w + b
    r = prediction - t
    divisor = Long(1) if reduction == "sum" else s.sum()
    gradient = 2 * (s * r) @ A / divisor

    prediction_terms = abs(A) @ abs(w) + abs(b)
    a = prediction_terms + abs(t)  # what rounding of a residual is relative to
    gradient_terms = 2 * (s * a) @ abs(A) / divisor
    return Evaluation(
        prediction=prediction,
        mse=(s * r * r).sum() / s.sum(),
        gradient=gradient[0] if one_dimensional else gradient,
        intercept_gradient=2 * (s * r).sum() / divisor,
        prediction_terms=prediction_terms,
        mse_terms=(s * a * a).sum() / s.sum(),
        gradient_terms=gradient_terms[0] if one_dimensional else gradient_terms,
        intercept_terms=2 * (s * a).sum() / divisor,
    )


def descend(
    X,
    y,
    *,
    learning_rate,
    n_epochs,
    sample_weight=None,
    fit_intercept=True,
    reduction="mean",
    coef_init=None,
    intercept_init=0.0,
) -> Trajectory:
    """Gradient descent with a constant step, every epoch from the formulas above."""
    n_features = 1 if np.ndim(X) == 1 else np.shape(X)[1]
    w = np.zeros(n_features, Long) if coef_init is None else np.asarray(coef_init, Long)
    w = w.reshape(() if np.ndim(X) == 1 else n_features)
    b = Long(intercept_init)
    coefs, intercepts, losses = [w], [b], []
    for _ in range(n_epochs):
        at = evaluate(X, y, w, b, sample_weight, reduction)
        losses.append(at.mse)
        w = w - Long(learning_rate) * at.gradient
        if fit_intercept:
            b = b - Long(learning_rate) * at.intercept_gradient
        coefs.append(w)
        intercepts.append(b)
    losses.append(evaluate(X, y, w, b, sample_weight).mse)
    return Trajectory(np.array(coefs), np.array(intercepts), np.array(losses))


def least_squares(X, y, sample_weight=None, fit_intercept=True) -> tuple[Any, float]:
    """The minimiser: the shortest one, in columns of the same scale, if there are many."""
    A, t, s = _long_arrays(X, y, sample_weight)
    s = s / s.sum()
    mean_X = s @ A if fit_intercept else np.zeros(A.shape[1], Long)
    mean_y = s @ t if fit_intercept else Long(0)
    centred = A - mean_X
    scale = np.sqrt(s @ centred**2)
    scale = np.where(scale <= 1e-15 * abs(mean_X), np.inf, scale)  # constant: left to intercept
    root = np.sqrt(s)[:, None]
    design = (root * centred / scale).astype(float)
    target = (root[:, 0] * (t - mean_y)).astype(float)
    solution = np.linalg.lstsq(design, target, rcond=1e-10)[0]
    coef = solution / scale
    intercept = float(mean_y - coef @ mean_X)
    return (float(coef[0]) if np.ndim(X) == 1 else coef.astype(float)), intercept


def extreme_curvatures(X, sample_weight=None, fit_intercept=True, reduction="mean"):
    """Smallest and largest eigenvalue of the Hessian by coefficients and intercept."""
    A, _, s = _long_arrays(X, np.zeros(len(X)), sample_weight)
    if fit_intercept:
        A = np.column_stack([A, np.ones(len(A), Long)])
    hessian = 2 * (A * s[:, None]).T @ A / (Long(1) if reduction == "sum" else s.sum())
    eigenvalues = np.linalg.eigvalsh(hessian.astype(float))
    return eigenvalues[0], eigenvalues[-1]


def _long_arrays(X, y, sample_weight):
    A = np.asarray(X).astype(Long)
    A = A[:, np.newaxis] if A.ndim == 1 else A
    s = np.ones(len(A), Long) if sample_weight is None else np.asarray(sample_weight).astype(Long)
    return A, np.asarray(y).astype(Long), s
