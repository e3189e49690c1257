"""When a descent has arrived: an estimate of how far the objective is above its minimum."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd._linalg.spectrum import Curvature
from fastgd._moments.coordinates import Coordinates
from fastgd._objective import Point
from fastgd._penalty import duality_gap, least_subgradient

# Rounding errors, in units of what rounding each product once would make: of which the loop stops,
# a finished descent is called converged, and a loss may grow without diverging.
STOPPING_UNITS = 4
MET_UNITS = 32
GROWING_UNITS = 64


@dataclass
class Convergence:
    """Judges the excess of the objective over its minimum.

    On a quadratic the excess is at most ``|g|^2 / (2 mu)``, with g the gradient and mu the
    smallest curvature. With the library's own step mu is known. With a literal step it is found
    only when there is need: once the contraction of the gradient from epoch to epoch,
    ``|g'| = (1 - step * mu) |g|`` along the direction that dominates, says that the descent may
    have arrived; for a slower direction may be hidden below that one.

    With a penalty on sizes g is the shortest subgradient, and the duality gap bounds the excess,
    too.

    Attributes
    ----------
    tol : float
        Accepted excess, as a part of the objective.
    learning_rate : float
    gradient_scale : float
        1, or the sum of weights where gradients are sums.
    epsilon : float
        The rounding unit of the products.
    runs_on : bool
        A literal step goes on at the limit of rounding, as it was asked to.
    find_curvature : callable
        The curvature at a point, for a price.
    curvature : Curvature or None
        Given with the library's own step.
    slopes : ndarray or None
        Of the penalty on sizes.
    centred : bool
        Whether the gradient by the intercept is apart from the others, as the gap needs it.
    """

    tol: float
    learning_rate: float
    gradient_scale: float
    coordinates: Coordinates
    epsilon: float
    runs_on: bool
    find_curvature: Callable[[Point], Curvature]
    curvature: Curvature | None
    slopes: NDArray[np.float64] | None = None
    centred: bool = False

    def excess(self, point: Point, state: Any = None) -> float:
        """Estimated objective above the minimum; all of it where no better bound is known."""
        if self.curvature is None:
            self.curvature = self.find_curvature(point)
        if self.slopes is not None and self.centred and not self.curvature.is_definite:
            return self._gap(point)  # the bound takes the gradient to lie where there is curvature
        return min(self._bound(point, self.curvature.smallest), self._gap(point))

    def stops(self, point: Point, previous: Point | None, state: Any) -> bool:
        """Whether the loop ends here."""
        allowed = self.tol * point.loss
        if not self.runs_on:
            excess = self.excess(point, state)
            return excess <= allowed or excess <= self._rounding(point, STOPPING_UNITS)
        arrived = self._bound(point, self._contraction(point, previous)) < allowed
        if not arrived and not (allowed > 0.0 and self._is_noise(point)):
            return False
        return self.excess(point) < allowed

    def rule(self) -> tuple[float, float, float, float, float, float]:
        """What `stops` and `is_rounding` go by, in numbers; NaN for a curvature not yet known."""
        return (
            self.learning_rate,
            self.tol,
            math.nan if self.curvature is None else self.curvature.smallest,
            self.gradient_scale,
            (STOPPING_UNITS * self.epsilon) ** 2,
            (GROWING_UNITS * self.epsilon) ** 2,
        )

    def is_met(self, point: Point, state: Any = None) -> bool:
        """Whether the result may be called converged: within `tol`, or at the limit of rounding.

        Errors in the gradient count most along the direction of least curvature.
        """
        excess = self.excess(point, state)
        if excess <= self.tol * point.loss:
            return True
        return excess <= self._condition() * self._rounding(point, MET_UNITS)

    def is_rounding(self, point: Point) -> bool:
        """Whether the whole loss may be rounding."""
        return point.loss <= self._rounding(point, GROWING_UNITS)

    def _condition(self) -> float:
        if self.curvature is None or self.curvature.smallest <= 0.0:
            return 1.0
        return self.curvature.largest / self.curvature.smallest

    def _is_noise(self, point: Point) -> bool:
        """Whether the gradient may be rounding of the residuals, whose contraction says nothing.

        ``|g|^2 / (2 L)`` is the least that the excess can be, and a literal step that works is
        shorter than ``2 / L``.
        """
        least = self._squared_norm(point) * self.learning_rate / (4.0 * self.gradient_scale)
        return least <= (STOPPING_UNITS * self.epsilon) ** 2 * point.loss

    def _squared_norm(self, point: Point) -> float:
        gradient = least_subgradient(point.gradient, point.params, self.slopes)
        return float(gradient @ gradient)

    def _rounding(self, point: Point, units: float) -> float:
        """The excess that rounding errors of so many units can make appear."""
        params = point.params
        if self.runs_on and self.curvature is not None:
            # The size of the columns, which the user's coordinates do not tell: L bounds it.
            params = params * math.sqrt(self.curvature.largest / (2.0 * self.gradient_scale))
        return units**2 * self.coordinates.rounding(params, point.loss, self.epsilon)

    def _bound(self, point: Point, curvature: float) -> float:
        squared_norm = self._squared_norm(point)
        if squared_norm == 0.0:
            return 0.0
        if curvature <= 0.0:
            return point.loss
        return min(point.loss, squared_norm / (2.0 * curvature * self.gradient_scale))

    def _gap(self, point: Point) -> float:
        if self.slopes is None or not self.centred:
            return math.inf
        slopes = self.slopes / self.gradient_scale
        smooth = point.loss - float(slopes @ np.abs(point.params))
        gradient = point.gradient / self.gradient_scale
        # At its best the intercept leaves so much less, and the others' gradient as it is.
        by_intercept = 0.0
        if self.coordinates.fit_intercept:
            n_targets = self.coordinates.targets[0] if self.coordinates.targets else 1
            last = gradient[-n_targets:]
            by_intercept = float(last @ last) / 4.0
            gradient = np.append(gradient[:-n_targets], np.zeros(n_targets))
        gap = duality_gap(smooth - by_intercept, gradient, point.params, slopes)
        return gap + by_intercept

    def _contraction(self, point: Point, previous: Point | None) -> float:
        """The curvature along the direction that dominates the gradient; 0 if it cannot be told."""
        before = 0.0 if previous is None else self._squared_norm(previous)
        if before == 0.0:
            return 0.0
        contraction = math.sqrt(self._squared_norm(point) / before)
        return (1.0 - contraction) / self.learning_rate


@dataclass
class NewtonConvergence(Convergence):
    """For conjugate gradients: the excess is ``g' H^-1 g / 2``, and P bounds H.

    `precondition` applies P^-1; the eigenvalues of ``P^-1 H`` are at least `floor`, as far as is
    known beforehand, and the smallest that the steps have met.
    """

    precondition: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None
    floor: float = math.inf
    condition: Callable[[], float] = lambda: 1.0

    def excess(self, point: Point, state: Any = None) -> float:
        solved = point.gradient if self.precondition is None else self.precondition(point.gradient)
        decrement = float(point.gradient.dot(solved)) / 2.0
        if decrement <= 0.0:
            return 0.0
        if math.isfinite(self.floor) and decrement / self.floor > self.tol * point.loss:
            return min(decrement / self.floor, point.loss)  # needs no better bound
        met = state.smallest if state is not None and state.lengths else math.inf
        smallest = min(self.floor, met)
        return min(decrement / smallest, point.loss) if smallest < math.inf else point.loss

    def _condition(self) -> float:
        return self.condition()
