"""The penalty on the coefficients: a part on their squares, and a part on their sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._moments.coordinates import Coordinates

Array = NDArray[np.float64]


class Penalty(NamedTuple):
    """``alpha * (1 - l1_ratio) * sum(coef**2) + 2 * alpha * l1_ratio * sum(abs(coef))``.

    Added to a mean squared error that is not halved, `alpha` means what it means in
    scikit-learn's ElasticNet. The intercept carries no penalty.
    """

    alpha: float = 0.0
    l1_ratio: float = 0.0

    @property
    def squares(self) -> float:
        """The factor of ``sum(coef**2)``."""
        return self.alpha * (1.0 - self.l1_ratio)

    @property
    def sizes(self) -> float:
        """The factor of ``sum(abs(coef))``."""
        return 2.0 * self.alpha * self.l1_ratio

    def value(self, coef: Array) -> float:
        """The penalty at these coefficients."""
        value = self.squares * float((coef**2).sum())
        return value + self.sizes * float(np.abs(coef).sum()) if self.sizes > 0.0 else value


NO_PENALTY = Penalty()


def thresholds(penalty: Penalty, coordinates: Coordinates, scale: float) -> Array | None:
    """The slope of the penalty on sizes by each parameter's size; None where there is none."""
    if penalty.sizes == 0.0:
        return None
    slopes = np.zeros(coordinates.n_params)
    by_coef = coordinates.along(penalty.sizes * scale * coordinates.inverse_scale)
    shape = (len(coordinates.scale), *coordinates.targets)
    slopes[: math.prod(shape)] = np.broadcast_to(by_coef, shape).ravel()
    return slopes


def proximal_step(slopes: Array | None) -> Callable[[Array, float | Array], Array]:
    """What follows a step of length `rate` down the smooth part: soft thresholding.

    References
    ----------
    A. Beck, M. Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear inverse
    problems", SIAM J. Imaging Sciences 2 (2009), 183-202.
    """
    if slopes is None:
        return lambda params, rate: params

    def shrink(params: Array, rate: float | Array) -> Array:
        return params - np.clip(params, -rate * slopes, rate * slopes)

    return shrink


def least_subgradient(gradient: Array, params: Array, slopes: Array | None) -> Array:
    """The shortest subgradient of the whole objective, given the gradient of its smooth part."""
    if slopes is None:
        return gradient
    at_zero = gradient - np.clip(gradient, -slopes, slopes)
    return np.where(params == 0.0, at_zero, gradient + np.sign(params) * slopes)


def duality_gap(smooth: float, gradient: Array, params: Array, slopes: Array) -> float:
    """How far the objective can be above its minimum, at most.

    `smooth` is a sum of squares of residuals, centred, and `gradient` its own. With the residuals
    r scaled into the dual's feasible set, ``c * r``, the dual is ``2 c r'y - c^2 r'r``, and
    ``r'y = smooth - params @ gradient / 2``.

    References
    ----------
    S.-J. Kim, K. Koh, M. Lustig, S. Boyd, D. Gorinevsky, "An interior-point method for large-scale
    l1-regularized least squares", IEEE J. Selected Topics in Signal Processing 1 (2007), 606-617.
    """
    penalised = slopes > 0.0
    size = np.abs(gradient[penalised])
    reach = np.divide(slopes[penalised], size, out=np.full(len(size), np.inf), where=size > 0.0)
    limit = float(reach.min(initial=np.inf))
    along = smooth - float(params @ gradient) / 2.0
    c = min(max(along / smooth, -limit), limit) if smooth > 0.0 else 0.0
    dual = 2.0 * c * along - c * c * smooth
    return smooth + float(slopes @ np.abs(params)) - dual
