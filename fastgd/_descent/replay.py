"""A whole descent on moments in one call of compiled code."""

from __future__ import annotations

import numpy as np

from fastgd._descent.convergence import Convergence
from fastgd._descent.loop import GROWING_EPOCHS, GROWTH, Descent
from fastgd._moments.quadratic import Quadratic
from fastgd._objective import Objective, Point
from fastgd._results.result import StopReason
from fastgd.backends import Replay

# What the compiled loop returns, in its order; the last means that a literal step may have
# arrived, and that the curvature is wanted to tell; or that it is time to look for an interrupt.
REASONS = (StopReason.MAX_ITER, StopReason.CONVERGED, StopReason.DIVERGED)
CONVERGED, MAYBE, PAUSED = 1, 3, 4


def descend_quadratic(
    run: Replay,
    quadratic: Quadratic,
    max_iter: int,
    objective: Objective,
    start: Point,
    plan: Convergence,
) -> Descent:
    """What `fastgd._descent.loop.descend` gives for plain gradient descent, unwatched.

    `quadratic` is the whole objective, its penalty included.
    """
    coordinates = objective.coordinates
    q = (
        quadratic.scatter,
        quadratic.minimum,
        np.ascontiguousarray(quadratic.mean),
        quadratic.least,
        quadratic.target_mean,
        quadratic.weights,
    )
    factor = 2.0 if objective.reduction == "sum" else 2.0 / quadratic.weights
    spread, far, apart = coordinates.rounding_terms(plan.epsilon)
    change = (
        np.ascontiguousarray(coordinates.center),
        coordinates.inverse_scale,
        spread,
        far,
        apart,
        coordinates.fit_intercept,
        factor,
    )
    params, gradient = start.params.copy(), start.gradient.copy()
    before = np.zeros_like(gradient)
    losses = np.empty(max_iter + 1)
    limits = (max_iter, GROWING_EPOCHS, GROWTH, plan.runs_on)
    code, epoch = run(q, change, plan.rule(), limits, params, before, gradient, losses, 0)
    while code in (MAYBE, PAUSED):
        if code == MAYBE:
            point = Point(params, float(losses[epoch]), gradient, start.weights)
            if plan.excess(point) < plan.rule()[1] * point.loss:
                code = CONVERGED
                break
        code, epoch = run(q, change, plan.rule(), limits, params, before, gradient, losses, epoch)
    reason = REASONS[code]
    last = Point(params, float(losses[epoch]), gradient, start.weights)
    return Descent(last, losses[: epoch + 1].tolist(), reason)
