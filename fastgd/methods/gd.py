"""Plain gradient descent."""

from __future__ import annotations

from typing import NamedTuple

from fastgd.methods import Params, Prox, Spectrum, Tuning

PROXIMAL = True
BATCHES = True
MOMENTUM = False


class State(NamedTuple):
    """Nothing."""


def tune(curvature: Spectrum, size: float) -> Tuning:
    """``2 / (L + mu)``, which contracts fastest over the spectrum [mu, L] of a quadratic."""
    total = curvature.largest + curvature.smallest
    return Tuning(2.0 / total if curvature.largest > 0 else 1.0)


def init(params: Params, tuning: Tuning) -> State:
    """Nothing to keep."""
    return State()


def step(
    gradient: Params, state: State, params: Params, rate: float, prox: Prox
) -> tuple[Params, State]:
    """Move against the gradient."""
    return prox(params - rate * gradient, rate), state
