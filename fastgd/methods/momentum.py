"""Gradient descent with Polyak's momentum (the heavy ball)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastgd.methods import Params, Prox, Spectrum, Tuning

PROXIMAL = True
BATCHES = True
MOMENTUM = True


class State(NamedTuple):
    """The gradients so far, each weighted by a power of the momentum."""

    velocity: Params
    momentum: float


def tune(curvature: Spectrum, size: float) -> Tuning:
    """The constants that contract fastest on a quadratic.

    References
    ----------
    B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", USSR
    Computational Mathematics and Mathematical Physics 4 (1964), 1-17.
    """
    if curvature.largest <= 0.0:
        return Tuning(1.0, 0.0)
    high, low = math.sqrt(curvature.largest), math.sqrt(curvature.smallest)
    return Tuning(4.0 / (high + low) ** 2, ((high - low) / (high + low)) ** 2)


def init(params: Params, tuning: Tuning) -> State:
    """At rest."""
    return State(np.zeros_like(params), tuning.momentum)


def step(
    gradient: Params, state: State, params: Params, rate: float, prox: Prox
) -> tuple[Params, State]:
    """``velocity = momentum * velocity + gradient``, and a step against it.

    References
    ----------
    P. Ochs, Y. Chen, T. Brox, T. Pock, "iPiano: inertial proximal algorithm for nonconvex
    optimization", SIAM J. Imaging Sciences 7 (2014), 1388-1419: what a proximal step takes from
    the move is taken from the velocity.
    """
    velocity = state.momentum * state.velocity + gradient
    moved = params - rate * velocity
    reached = prox(moved, rate)
    return reached, State(velocity + (moved - reached) / rate, state.momentum)
