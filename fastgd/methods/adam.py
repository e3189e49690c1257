"""Adam: steps scaled by running moments of each parameter's gradient."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastgd.methods import Params, Prox, Spectrum, Tuning

PROXIMAL = True
BATCHES = True
MOMENTUM = False

# As in the paper, and in PyTorch and optax.
BETA_FIRST, BETA_SECOND, EPSILON = 0.9, 0.999, 1e-8


class State(NamedTuple):
    """Running means of the gradient and of its square, and the number of steps."""

    first: Params
    second: Params
    n_steps: int


def tune(curvature: Spectrum, size: float) -> Tuning:
    """A hundredth of the parameters' size: Adam steps in their units, whatever the curvature."""
    return Tuning(0.01 * size if size > 0.0 else 0.01)


def init(params: Params, tuning: Tuning) -> State:
    """No gradient yet."""
    return State(np.zeros_like(params), np.zeros_like(params), 0)


def step(
    gradient: Params, state: State, params: Params, rate: float, prox: Prox
) -> tuple[Params, State]:
    """Divide the mean of the gradient by the root of that of its square.

    References
    ----------
    D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.
    """
    n_steps = state.n_steps + 1
    first = BETA_FIRST * state.first + (1.0 - BETA_FIRST) * gradient
    second = BETA_SECOND * state.second + (1.0 - BETA_SECOND) * gradient**2
    mean = first / (1.0 - BETA_FIRST**n_steps)
    root = np.sqrt(second / (1.0 - BETA_SECOND**n_steps)) + EPSILON
    scaled = rate / root
    return prox(params - scaled * mean, scaled), State(first, second, n_steps)
