"""When a descent has arrived: an estimate of how far the loss is above its minimum."""

from __future__ import annotations

import math
from collections.abc import Callable

from fastgd._coordinates import Coordinates
from fastgd._objective import Point
from fastgd._spectrum import Curvature

# Rounding errors, in units of what rounding each product once would make: of which the loop stops,
# a finished descent is called converged, and a loss may grow without diverging.
STOPPING_UNITS = 4
MET_UNITS = 32
GROWING_UNITS = 64


class Convergence:
    """Judges the excess of the loss over its minimum.

    On a quadratic the excess is at most ``|g|^2 / (2 mu)``, with g the gradient and mu the
    smallest curvature. With the library's own step mu is known. With a literal step it is found
    only when there is need: once the contraction of the gradient from epoch to epoch,
    ``|g'| = (1 - step * mu) |g|`` along the direction that dominates, says that the descent may
    have arrived; for a slower direction may be hidden below that one.

    Parameters
    ----------
    tol : float
        Accepted excess, as a part of the loss.
    learning_rate : float
    gradient_scale : float
        1, or the sum of weights where gradients are sums.
    coordinates : Coordinates
    epsilon : float
        The rounding unit of the products.
    find_curvature : callable
        The curvature at a point, for a price.
    curvature : Curvature or None
        Given with the library's own step.
    """

    def __init__(
        self,
        tol: float,
        learning_rate: float,
        gradient_scale: float,
        coordinates: Coordinates,
        epsilon: float,
        find_curvature: Callable[[Point], Curvature],
        curvature: Curvature | None,
    ) -> None:
        self.learning_rate = learning_rate
        self.gradient_scale = gradient_scale
        self._tol, self.epsilon = tol, epsilon
        self._coordinates = coordinates
        self._find_curvature = find_curvature
        self._curvature = curvature
        # A literal step goes on at the limit of rounding, as it was asked to.
        self.runs_on = curvature is None

    def excess(self, point: Point) -> float:
        """Estimated loss above the minimum; all of it where no better bound is known."""
        if self._curvature is None:
            self._curvature = self._find_curvature(point)
        return self._bound(point, self._curvature.smallest)

    def stops(self, point: Point, previous: Point | None) -> bool:
        """Whether the loop ends here."""
        if not self.runs_on:
            return self.excess(point) <= max(
                self._tol * point.loss, self._rounding(point, STOPPING_UNITS)
            )
        allowed = self._tol * point.loss
        arrived = self._bound(point, self._contraction(point, previous)) < allowed
        if not arrived and not (allowed > 0.0 and self._is_noise(point)):
            return False
        return self.excess(point) < allowed

    def _is_noise(self, point: Point) -> bool:
        """Whether the gradient may be rounding of the residuals, whose contraction says nothing.

        ``|g|^2 / (2 L)`` is the least that the excess can be, and a literal step that works is
        shorter than ``2 / L``.
        """
        least = self._squared_norm(point) * self.learning_rate / (4.0 * self.gradient_scale)
        return least <= (STOPPING_UNITS * self.epsilon) ** 2 * point.loss

    @staticmethod
    def _squared_norm(point: Point) -> float:
        return float(point.gradient @ point.gradient)

    def rule(self) -> tuple[float, float, float, float, float, float]:
        """What `stops` and `is_rounding` go by, in numbers; NaN for a curvature not yet known."""
        return (
            self.learning_rate,
            self._tol,
            math.nan if self._curvature is None else self._curvature.smallest,
            self.gradient_scale,
            (STOPPING_UNITS * self.epsilon) ** 2,
            (GROWING_UNITS * self.epsilon) ** 2,
        )

    def is_met(self, point: Point) -> bool:
        """Whether the result may be called converged: within `tol`, or at the limit of rounding.

        Errors in the gradient count most along the direction of least curvature.
        """
        excess, condition = self.excess(point), 1.0
        if self._curvature is not None and self._curvature.smallest > 0.0:
            condition = self._curvature.largest / self._curvature.smallest
        return excess <= max(self._tol * point.loss, condition * self._rounding(point, MET_UNITS))

    def is_rounding(self, point: Point) -> bool:
        """Whether the whole loss may be rounding."""
        return point.loss <= self._rounding(point, GROWING_UNITS)

    def _rounding(self, point: Point, units: float) -> float:
        """The excess that rounding errors of so many units can make appear."""
        params = point.params
        if self.runs_on and self._curvature is not None:
            # The size of the columns, which the user's coordinates do not tell: L bounds it.
            params = params * math.sqrt(self._curvature.largest / (2.0 * self.gradient_scale))
        return units**2 * self._coordinates.rounding(params, point.loss, self.epsilon)

    def _bound(self, point: Point, curvature: float) -> float:
        squared_norm = self._squared_norm(point)
        if squared_norm == 0.0:
            return 0.0
        if curvature <= 0.0:
            return point.loss
        return min(point.loss, squared_norm / (2.0 * curvature * self.gradient_scale))

    def _contraction(self, point: Point, previous: Point | None) -> float:
        """The curvature along the direction that dominates the gradient; 0 if it cannot be told."""
        before = 0.0 if previous is None else float(previous.gradient @ previous.gradient)
        if before == 0.0:
            return 0.0
        contraction = math.sqrt(float(point.gradient @ point.gradient) / before)
        return (1.0 - contraction) / self.learning_rate
