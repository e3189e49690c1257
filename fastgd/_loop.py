"""The epoch loop: evaluate, judge, step."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._objective import Point
from fastgd._result import StopReason
from fastgd.methods import Method

# The loss of a constant step that works falls at every epoch. It counts as growing when it has
# risen this many times in a row, by this much: less than that can be rounding.
GROWING_EPOCHS = 10
GROWTH = 1.01


class Descent(NamedTuple):
    """Where the loop ended and how it came there."""

    last: Point
    losses: list[float]
    stop_reason: StopReason

    @property
    def n_iter(self) -> int:
        return len(self.losses) - 1


def descend(
    evaluate: Callable[[NDArray[np.float64]], Point],
    start: Point,
    method: Method,
    learning_rate: float,
    stops: Callable[[Point, Point | None], bool],
    is_rounding: Callable[[Point], bool],
    max_iter: int,
    report: Callable[[int, NDArray[np.float64], float], None] | None,
) -> Descent:
    """Step from `start` until `stops(point, previous)`, `max_iter` or divergence.

    `report`, if any, is called after each step with the epoch's number (from 1), the parameters
    after the step and the loss before it. A loss that `is_rounding` may grow: it is no divergence.
    The point returned is always finite.
    """
    state = method.init(start.params, learning_rate)
    point, previous = start, None
    losses = [start.loss]
    for epoch in range(1, max_iter + 1):
        if stops(point, previous):
            return Descent(point, losses, StopReason.CONVERGED)
        with np.errstate(over="ignore", invalid="ignore"):  # seen to by is_finite below
            params, state = method.step(point.gradient, state, point.params)
            following = evaluate(params)
        if report is not None:
            report(epoch, params, point.loss)
        if not following.is_finite:
            return Descent(point, losses, StopReason.DIVERGED)
        previous, point = point, following
        losses.append(point.loss)
        if _keeps_growing(losses) and not is_rounding(point):
            return Descent(point, losses, StopReason.DIVERGED)
    # A step so little too long that the growth above was not seen yet.
    grown = point.loss > GROWTH * losses[0] and not is_rounding(point)
    return Descent(point, losses, StopReason.DIVERGED if grown else StopReason.MAX_ITER)


def _keeps_growing(losses: list[float]) -> bool:
    recent = losses[-GROWING_EPOCHS - 1 :]
    if len(recent) <= GROWING_EPOCHS or recent[-1] <= GROWTH * recent[0]:
        return False
    return all(later > earlier for earlier, later in pairwise(recent))
