"""The epoch loop: evaluate, judge, step."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastgd._objective import Point
from fastgd._results.result import StopReason

# The loss of a constant step that works falls at every epoch. It counts as growing when it has
# risen this many times in a row, by this much: less than that can be rounding.
GROWING_EPOCHS = 10
GROWTH = 1.01
# Momentum rightly swings far for many epochs: with its best constants, by the condition number. It
# diverges where it comes to so many times the loss of the start.
SWING = 1e9
# Where a method that should gain at every epoch has not for so many, rounding is all that is left.
STALLED_EPOCHS = 20

Params = NDArray[np.float64]
# The next parameters and the method's new state, of an epoch, its point and the state before.
Advance = Callable[[int, Point, Any], tuple[Params, Any]]
# What looks at each epoch, its point and the loss before, and may end the descent.
Watch = Callable[[int, Point, float], StopReason | None]


class Descent(NamedTuple):
    """Where the loop ended and how it came there."""

    last: Point
    losses: list[float]
    stop_reason: StopReason
    state: Any = None

    @property
    def n_iter(self) -> int:
        return len(self.losses) - 1


class Judge(Protocol):
    """What tells the loop where it stands."""

    def stops(self, point: Point, previous: Point | None, state: Any) -> bool:
        """Whether the descent has arrived."""
        ...

    def is_rounding(self, point: Point) -> bool:
        """Whether the loss is all rounding: it may grow, and that is no divergence."""
        ...


def descend(
    evaluate: Callable[[Params], Point],
    start: Point,
    state: Any,
    advance: Advance,
    judge: Judge,
    max_iter: int,
    watch: Watch,
    *,
    growth: float = GROWTH,
    stalls: bool = False,
) -> Descent:
    """Go on from `start` until the judge, `watch` or `max_iter` ends it, or it diverges.

    ``advance(epoch, point, state)`` gives the next parameters and the method's new state; `watch`
    sees each point, with the number of its epoch, from 1, and the loss before it. With `stalls`,
    a loss that no longer falls ends the descent, and points after the best that are clearly worse
    are left out. The point returned is always finite.

    A loss that has risen by the factor `growth` and goes on rising diverges; with infinity none
    does that is finite.
    """
    point, previous = start, None
    best, best_epoch = start, 0
    losses = [start.loss]

    def ended(reason: StopReason) -> Descent:
        if stalls and point.loss > GROWTH * best.loss:
            return Descent(best, losses[: best_epoch + 1], reason, state)
        return Descent(point, losses, reason, state)

    for epoch in range(1, max_iter + 1):
        if judge.stops(point, previous, state):
            return ended(StopReason.CONVERGED)
        if stalls and epoch - 1 - best_epoch >= STALLED_EPOCHS:
            return ended(StopReason.STALLED)
        params, state = advance(epoch, point, state)
        following = evaluate(params)
        if not following.is_finite:
            return ended(StopReason.DIVERGED)
        previous, point = point, following
        losses.append(point.loss)
        if point.loss < best.loss:
            best, best_epoch = point, epoch
        reason = watch(epoch, point, previous.loss)
        if reason is not None:
            return ended(reason)
        if _keeps_growing(losses, growth) and not judge.is_rounding(point):
            return ended(StopReason.DIVERGED)
    # A step so little too long that the growth above was not seen yet.
    grown = point.loss > growth * losses[0] and not judge.is_rounding(point)
    gained = stalls and best_epoch > 0
    return ended(StopReason.DIVERGED if grown and not gained else StopReason.MAX_ITER)


def _keeps_growing(losses: list[float], growth: float) -> bool:
    recent = losses[-GROWING_EPOCHS - 1 :]
    first = recent[0] if growth == GROWTH else losses[0]
    if len(recent) <= GROWING_EPOCHS or not recent[-1] > growth * first:  # it may be inf * 0
        return False
    return all(later > earlier for earlier, later in pairwise(recent))
