"""Approximate inverses of the Hessian, for conjugate gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._linalg.inverse import inverse_of
from fastgd._moments.coordinates import Coordinates
from fastgd._moments.moments import Moments
from fastgd._moments.quadratic import Quadratic

Array = NDArray[np.float64]

# What a sample says of a column that is all but constant in it is no guide to all the rows.
LEAST_VARIANCE = 0.01
# Keeps what is rounding from being taken for no curvature at all: in a sample, and in gradients of
# so many rounding units.
RIDGE, RIDGE_UNITS = 1e-9, 32


class Preconditioner(NamedTuple):
    """``apply(g)`` is about ``inv(Hessian) @ g``, in the coordinates of a descent.

    Attributes
    ----------
    floor : float
        The eigenvalues of the preconditioned Hessian are no smaller, as far as is known;
        infinite where nothing is.
    trial : float
        The first step to try.
    condition : callable
        About the condition number of what is inverted; not computed until it is asked for.
    guess : ndarray or None
        Parameters near the minimum, where steps may begin.
    """

    apply: Callable[[Array], Array]
    floor: float
    trial: float
    condition: Callable[[], float]
    guess: Array | None = None


def least_curvature(epsilon: float) -> float:
    """What is added to the curvature of a sample in columns of equal length."""
    return max(RIDGE, RIDGE_UNITS * epsilon)


def plain(coordinates: Coordinates, ridge: float) -> Preconditioner:
    """None: the coordinates have equal curvature along each axis, 2."""
    n = len(coordinates.scale) + coordinates.fit_intercept
    trace = 2.0 * n + 2.0 * ridge * float((coordinates.inverse_scale**2).sum())
    return Preconditioner(lambda gradient: gradient, math.inf, 1.0 / trace, lambda: 1.0)


def exact(quadratic: Quadratic, coordinates: Coordinates, ridge: float) -> Preconditioner:
    """The inverse itself, from the moments of all rows."""
    if coordinates.fit_intercept and ridge == 0.0:
        solve, weights = quadratic.inverse.solve, quadratic.weights
        made = _in_coordinates(lambda b: weights * solve(b), coordinates, 1.0, 1.0)
        mean, target_mean = quadratic.mean, quadratic.target_mean
        return made._replace(guess=_params(quadratic.minimum, mean, target_mean, coordinates))
    curvature = quadratic.scatter / quadratic.weights
    curvature = _penalised(curvature, quadratic.mean, coordinates, ridge)
    return _in_coordinates(inverse_of(curvature).solve, coordinates, 1.0, 1.0)


def sketched(
    sample: Moments,
    n_samples: int,
    coordinates: Coordinates,
    ridge: float,
    epsilon: float,
    n_threads: int | None,
) -> Preconditioner:
    """From the moments of some rows, drawn at random; `epsilon` is the rounding unit of gradients.

    With ``s = sqrt(n_features / n_rows - n_features / n_samples)`` the eigenvalues of the
    preconditioned Hessian lie between ``1 / (1 + s)**2`` and ``1 / (1 - s)**2``, about, whatever
    the conditioning.

    References
    ----------
    V. Rokhlin, M. Tygert, "A fast randomized algorithm for overdetermined linear least-squares
    regression", PNAS 105 (2008), 13212-13217.
    """
    d = sample.n_features
    curvature = sample.scatter[:d, :d] / sample.weight_sum
    variance = coordinates.scale**2
    rare = np.diagonal(curvature) < LEAST_VARIANCE * variance
    curvature = _penalised(curvature, sample.mean[:d], coordinates, ridge)
    least = least_curvature(epsilon)
    curvature[np.arange(d), np.arange(d)] += np.where(rare, variance, least * variance)
    s = math.sqrt(d / sample.n_samples - d / n_samples)
    solve = inverse_of(curvature, n_threads).solve
    made = _in_coordinates(solve, coordinates, (1.0 + s) ** -2, max(1.0 - s * s, 0.1))
    return made._replace(guess=_guess(sample, solve, coordinates))


def _guess(sample: Moments, solve: Callable[[Array], Array], coordinates: Coordinates) -> Array:
    """The answer that the sample gives: its excess is about ``n_features / n_rows`` of the loss."""
    d = sample.n_features
    targets: int | slice = d if sample.single_target else slice(d, None)
    products = sample.scatter[:d, targets] / sample.weight_sum
    mean, target_mean = sample.mean[:d], sample.mean[targets]
    if not coordinates.fit_intercept:
        products = products + np.multiply.outer(mean, target_mean)
    return _params(solve(products), mean, target_mean, coordinates)


def _params(
    coef: Array, mean: Array, target_mean: float | Array, coordinates: Coordinates
) -> Array:
    """Of a model whose residuals have mean 0; columns without a scale are the intercept's."""
    coef = coef * coordinates.along(np.sign(coordinates.scale))
    return coordinates.to_params(coef, target_mean - mean.dot(coef))


def _penalised(curvature: Array, mean: Array, coordinates: Coordinates, ridge: float) -> Array:
    """Half the Hessian by the coefficients, the intercept apart; in the place of `curvature`."""
    curvature.flat[:: len(curvature) + 1] += ridge
    if not coordinates.fit_intercept:
        curvature += np.outer(mean, mean)
    return curvature


def _in_coordinates(
    solve: Callable[[Array], Array], coordinates: Coordinates, floor: float, trial: float
) -> Preconditioner:
    """From half the Hessian by the coefficients to the parameters of a descent."""
    d, scale = len(coordinates.scale), coordinates.along(coordinates.scale)

    def apply(gradient: Array) -> Array:
        rows = gradient.reshape(-1, *coordinates.targets)
        solved = 0.5 * rows
        solved[:d] = scale * solve(scale * solved[:d])
        return solved.ravel()

    def condition() -> float:
        # What a random vector is stretched by, times the most it can miss, times the trace.
        probe = np.random.default_rng(0).standard_normal(coordinates.n_params)
        stretched = float(np.linalg.norm(apply(probe)) / np.linalg.norm(probe))
        return max(2.0 * d * stretched, 1.0)

    return Preconditioner(apply, floor, trial, condition)
