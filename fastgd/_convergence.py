"""When a descent has arrived: an estimate of how far the loss is above its minimum."""

from __future__ import annotations

import math
from typing import NamedTuple

from fastgd._objective import Point


class Convergence(NamedTuple):
    """Judges the excess of the loss over its minimum.

    On a quadratic the excess is at most ``|g|^2 / (2 mu)``, with g the gradient and mu the
    smallest curvature. Where mu is not known (a literal step), it is read off the contraction of
    the gradient from one epoch to the next, ``|g'| = (1 - step * mu) |g|`` along the slowest
    direction, which in the end is the only one left.

    Attributes
    ----------
    tol : float
        Accepted excess, as a part of the loss.
    smallest_curvature : float or None
    learning_rate : float
    gradient_scale : float
        1, or the sum of weights where gradients are sums.
    """

    tol: float
    smallest_curvature: float | None
    learning_rate: float
    gradient_scale: float

    def excess(self, point: Point, previous: Point | None) -> float:
        """Estimated loss above the minimum; all of it where nothing better can be said."""
        squared_norm = float(point.gradient @ point.gradient)
        if squared_norm == 0.0:
            return 0.0
        mu = self.smallest_curvature
        if mu is None:
            before = 0.0 if previous is None else float(previous.gradient @ previous.gradient)
            if before == 0.0:
                return point.loss
            contraction = math.sqrt(squared_norm / before)
            mu = (1.0 - contraction) / self.learning_rate
        if mu <= 0.0:
            return point.loss
        return min(point.loss, squared_norm / (2.0 * mu * self.gradient_scale))

    def is_met(self, point: Point, previous: Point | None, rounding: float) -> bool:
        """Whether the excess is within `tol` of the loss, or within `rounding`."""
        return self.excess(point, previous) <= max(self.tol * point.loss, rounding)
