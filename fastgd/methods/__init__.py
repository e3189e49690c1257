"""The methods: how gradients become steps.

A method is a module with two pure functions. ``init(params, tuning)`` makes its state, a
NamedTuple; ``step(gradient, state, params, rate, prox)`` returns the next parameters to evaluate
and the new state. It knows nothing of data, backends or threads. ``tune(curvature, size)`` gives
its best constants for a quadratic whose Hessian has such eigenvalues; `PROXIMAL` says whether it
takes a penalty on sizes, `BATCHES` whether the gradient may be that of a part of the data,
`MOMENTUM` whether the user may choose its momentum.

A new method is one module here and one line in `METHODS`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

METHODS = {
    "gd": "fastgd.methods.gd",
    "momentum": "fastgd.methods.momentum",
    "nesterov": "fastgd.methods.nesterov",
    "adam": "fastgd.methods.adam",
    "cg": "fastgd.methods.cg",
    "sgd": "fastgd.methods.sgd",
}

Params = NDArray[np.float64]
# A proximal step of a given rate, one for all parameters or one for each.
Prox = Callable[[Params, Any], Params]


class Spectrum(Protocol):
    """Bounds of the eigenvalues of a Hessian; `smallest` leaves out those that are 0."""

    @property
    def smallest(self) -> float:
        """At most the least of them."""
        ...

    @property
    def largest(self) -> float:
        """At least the largest."""
        ...


class Tuning(NamedTuple):
    """The constants of a method.

    Attributes
    ----------
    rate : float
        The learning rate.
    momentum : float
    restarts : bool
        Whether the momentum may be dropped where it leads uphill.
    precondition : callable or None
        An approximate inverse of the Hessian, where the method takes one.
    """

    rate: float
    momentum: float = 0.9
    restarts: bool = False
    precondition: Callable[[Params], Params] | None = None


class Method(Protocol):
    """What a method module offers."""

    PROXIMAL: bool
    BATCHES: bool
    MOMENTUM: bool

    def tune(self, curvature: Spectrum, size: float) -> Tuning:
        """The best constants for a quadratic with this spectrum, and parameters of this size."""
        ...

    def init(self, params: Params, tuning: Tuning) -> Any:
        """The state before the first step."""
        ...

    def step(
        self, gradient: Params, state: Any, params: Params, rate: float, prox: Prox
    ) -> tuple[Params, Any]:
        """One step: what to evaluate next, and the new state."""
        ...


def load_method(name: str) -> Method:
    """The method registered as `name`."""
    return cast(Method, import_module(METHODS[name]))
