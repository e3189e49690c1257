"""Nesterov's accelerated gradient descent; with a penalty on sizes, FISTA."""

from __future__ import annotations

import math
from typing import NamedTuple

from fastgd.methods import Params, Prox, Spectrum, Tuning

PROXIMAL = True
BATCHES = True
MOMENTUM = True


class State(NamedTuple):
    """Where the last gradient step ended; the parameters evaluated lie beyond it."""

    reached: Params
    momentum: float
    restarts: bool


def tune(curvature: Spectrum, size: float) -> Tuning:
    """``1 / L``, and the momentum that suits the condition number.

    References
    ----------
    Y. Nesterov, "Lectures on Convex Optimization", 2nd ed. (2018), section 2.2.1, scheme 2.2.22.
    """
    if curvature.largest <= 0.0:
        return Tuning(1.0, 0.0)
    root = math.sqrt(curvature.smallest / curvature.largest)
    return Tuning(1.0 / curvature.largest, (1.0 - root) / (1.0 + root), restarts=True)


def init(params: Params, tuning: Tuning) -> State:
    """At rest."""
    return State(params, tuning.momentum, tuning.restarts)


def step(
    gradient: Params, state: State, params: Params, rate: float, prox: Prox
) -> tuple[Params, State]:
    """A gradient step, then on in the direction from the last one's end to this one's.

    References
    ----------
    B. O'Donoghue, E. Candes, "Adaptive restart for accelerated gradient schemes", Foundations of
    Computational Mathematics 15 (2015), 715-732: stop where the way on leads uphill.
    """
    reached = prox(params - rate * gradient, rate)
    onward = reached - state.reached
    following = state._replace(reached=reached)
    if state.restarts and float((params - reached) @ onward) > 0.0:
        return reached, following
    return reached + state.momentum * onward, following
