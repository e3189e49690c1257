"""Plain gradient descent with a constant step."""

from __future__ import annotations

from typing import NamedTuple

from fastgd.methods import Params


class State(NamedTuple):
    """Nothing but the step."""

    learning_rate: float


def init(params: Params, learning_rate: float) -> State:
    """Keep the step."""
    return State(learning_rate)


def step(gradient: Params, state: State, params: Params) -> tuple[Params, State]:
    """Move against the gradient."""
    return params - state.learning_rate * gradient, state
