"""The methods: how a gradient becomes a step.

A method is a module with two pure functions. ``init(params, learning_rate)`` makes its state, a
NamedTuple; ``step(gradient, state, params)`` returns the new parameters and the new state. It
knows nothing of data, backends or threads.

A new method is one module here and one line in `METHODS`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

METHODS = {
    "gd": "fastgd.methods.gd",
}

Params = NDArray[np.float64]


class Method(Protocol):
    """What a method module offers."""

    def init(self, params: Params, learning_rate: float) -> Any:
        """The state before the first step."""
        ...

    def step(self, gradient: Params, state: Any, params: Params) -> tuple[Params, Any]:
        """One step down `gradient`."""
        ...


def load_method(name: str) -> Method:
    """The method registered as `name`."""
    return cast(Method, import_module(METHODS[name]))
