"""From a backend's sums to the loss and its gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._coordinates import Coordinates
from fastgd.backends import Pass, Sums

REDUCTIONS = ("mean", "sum")


class Value(NamedTuple):
    """The mean squared error at some coefficients, and its gradient."""

    mse: float
    gradient: NDArray[np.float64]
    intercept_gradient: float

    @property
    def is_finite(self) -> bool:
        return (
            math.isfinite(self.mse)
            and math.isfinite(self.intercept_gradient)
            and bool(np.isfinite(self.gradient).all())
        )


def value_from_sums(sums: Sums, reduction: str) -> Value:
    """Divide where `reduction` says so; the mean squared error is always the mean.

    ``mse = sum(s r^2) / sum(s)`` and ``gradient = 2 / sum(s) * X'(s r)``, not halved;
    ``reduction="sum"`` leaves out the gradient's division.
    """
    factor = 2.0 if reduction == "sum" else 2.0 / sums.weights
    return Value(sums.squares / sums.weights, factor * sums.products, factor * sums.residuals)


class Point(NamedTuple):
    """Loss and gradient at some parameters, in the coordinates of the descent."""

    params: NDArray[np.float64]
    loss: float
    gradient: NDArray[np.float64]
    weights: float

    @property
    def is_finite(self) -> bool:
        return (
            math.isfinite(self.loss)
            and bool(np.isfinite(self.gradient).all())
            and bool(np.isfinite(self.params).all())
        )


@dataclass(frozen=True)
class Objective:
    """The loss as a function of the parameters of a descent: one read of the data a call."""

    read: Pass
    coordinates: Coordinates
    reduction: str

    def __call__(self, params: NDArray[np.float64]) -> Point:
        sums = self.read(*self.coordinates.from_params(params))
        value = value_from_sums(sums, self.reduction)
        gradient = self.coordinates.gradient(value.gradient, value.intercept_gradient)
        return Point(params, value.mse, gradient, sums.weights)
