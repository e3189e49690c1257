"""The step of a descent and the rule that stops it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._convergence import Convergence
from fastgd._loop import Descent
from fastgd._objective import Objective, Point
from fastgd._problem import Problem
from fastgd._result import StopReason
from fastgd._settings import Settings
from fastgd._spectrum import Curvature, curvature


class StepPlan(NamedTuple):
    """A constant step and what counts as arrived."""

    learning_rate: float
    convergence: Convergence
    objective: Objective
    epsilon: float
    runs_on: bool  # a literal step goes on at the limit of rounding, as it was asked to

    def excess(self, point: Point, previous: Point | None) -> float:
        return self.convergence.excess(point, previous)

    def is_met(self, point: Point, previous: Point | None) -> bool:
        """Whether the result may be called converged."""
        rounding = self.objective.coordinates.rounding(point.params, self.epsilon)
        return self.convergence.is_met(point, previous, rounding)

    def stops(self, point: Point, previous: Point | None) -> bool:
        """Whether the loop ends here."""
        if not self.runs_on:
            return self.is_met(point, previous)
        return self.excess(point, previous) < self.convergence.tol * point.loss


def plan_step(objective: Objective, start: Point, problem: Problem, settings: Settings) -> StepPlan:
    """The step that was given, or the best constant one for the spectrum at hand."""
    epsilon = _epsilon(problem, settings)
    if settings.learning_rate is not None:
        scale = start.weights if settings.reduction == "sum" else 1.0
        convergence = Convergence(settings.tol, None, settings.learning_rate, scale)
        return StepPlan(settings.learning_rate, convergence, objective, epsilon, runs_on=True)
    spectrum = _curvature(objective, start, problem, epsilon)
    rate = spectrum.best_step
    convergence = Convergence(settings.tol, spectrum.smallest, rate, 1.0)
    return StepPlan(rate, convergence, objective, epsilon, runs_on=False)


def stable_step(
    objective: Objective, start: Point, problem: Problem, settings: Settings
) -> float | None:
    """A constant step with which the same descent converges; None if none can be computed."""
    spectrum = _curvature(objective, start, problem, _epsilon(problem, settings))
    return spectrum.best_step if np.isfinite(spectrum.largest) else None


def judge_again(
    plan: StepPlan, descent: Descent, problem: Problem, settings: Settings
) -> tuple[StepPlan, Descent]:
    """Judge a descent that ran to its end, where it goes on at the limit of rounding, too.

    There gradients no longer contract, and say nothing of the smallest curvature: it is found
    from the spectrum instead.
    """
    point, previous = descent.last, descent.before_last
    convergence = plan.convergence
    if convergence.smallest_curvature is None and plan.excess(point, previous) == point.loss:
        spectrum = _curvature(plan.objective, point, problem, plan.epsilon)
        convergence = convergence._replace(smallest_curvature=spectrum.smallest)
        plan = plan._replace(convergence=convergence)
    if plan.is_met(point, previous):
        descent = descent._replace(stop_reason=StopReason.CONVERGED)
    return plan, descent


def _curvature(objective: Objective, start: Point, problem: Problem, epsilon: float) -> Curvature:
    # The gradient is affine: differences of gradients are products with the Hessian. A change
    # as large as the residuals keeps the difference clear of rounding.
    length = np.sqrt(start.loss) if start.loss > 0.0 else 1.0

    def product(direction: NDArray[np.float64]) -> NDArray[np.float64]:
        moved = objective(start.params + length * direction)
        return (moved.gradient - start.gradient) / length

    # Rounding of the products averages out over the rows.
    rounding = 8 * epsilon / np.sqrt(problem.n_samples)
    rounding += len(start.params) * np.finfo(np.float64).eps
    return curvature(product, len(start.params), float(rounding))


def _epsilon(problem: Problem, settings: Settings) -> float:
    """The rounding unit of the products."""
    dtype = problem.X.dtype if settings.precision == "single" else np.dtype(np.float64)
    return float(np.finfo(dtype).eps)
