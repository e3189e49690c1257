"""From a backend's sums to the loss and its gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._data.arrays import all_finite
from fastgd._moments.coordinates import Coordinates
from fastgd._penalty import NO_PENALTY, Penalty
from fastgd.backends import Pass, Sums

REDUCTIONS = ("mean", "sum")


class Value(NamedTuple):
    """The mean squared error at some coefficients, and its gradient."""

    mse: float
    gradient: NDArray[np.float64]
    intercept_gradient: float | NDArray[np.float64]

    @property
    def is_finite(self) -> bool:
        return all_finite(self.mse, self.intercept_gradient, self.gradient)


def value_from_sums(sums: Sums, reduction: str) -> Value:
    """Divide where `reduction` says so; the mean squared error is always the mean.

    ``mse = sum(s r^2) / sum(s)`` and ``gradient = 2 / sum(s) * X'(s r)``, not halved;
    ``reduction="sum"`` leaves out the gradient's division.
    """
    factor = 2.0 if reduction == "sum" else 2.0 / sums.weights
    return Value(sums.squares / sums.weights, factor * sums.products, factor * sums.residuals)


class Point(NamedTuple):
    """The objective and the gradient of its smooth part, in the coordinates of a descent.

    `loss` is the mean squared error, summed over targets, and the penalties.
    """

    params: NDArray[np.float64]
    loss: float
    gradient: NDArray[np.float64]
    weights: float

    @property
    def is_finite(self) -> bool:
        return all_finite(self.loss, self.gradient, self.params)


@dataclass(frozen=True)
class Objective:
    """The objective as a function of the parameters: one read of the data a call."""

    read: Pass
    coordinates: Coordinates
    reduction: str
    penalty: Penalty = NO_PENALTY

    def __call__(self, params: NDArray[np.float64]) -> Point:
        coef, intercept = self.coordinates.from_params(params)
        sums = self.read(coef, intercept)
        loss, by_coef, by_intercept = value_from_sums(sums, self.reduction)
        if self.penalty.alpha > 0.0:
            loss += self.penalty.value(coef)
            scale = sums.weights if self.reduction == "sum" else 1.0
            by_coef = by_coef + (2.0 * self.penalty.squares * scale) * coef
        gradient = self.coordinates.gradient(by_coef, by_intercept)
        return Point(params, loss, gradient, sums.weights)
