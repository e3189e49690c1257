"""The coordinates in which a descent runs.

Gradient descent is slow where columns differ in scale or sit far from zero. Where the library
chooses the step it therefore descends in standardised coordinates: the model
``X @ coef + intercept`` is rewritten as ``((X - center) / scale) @ v + c``, by algebra on the d
coefficients and their gradient alone; X is neither copied nor changed. Where the user gives the
step, the coordinates are the user's own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.backends import ColumnStatistics

# A deviation below this part of the mean is the rounding of float64 sums: the column is constant.
CONSTANT = 1e-12

DOUBLE = float(np.finfo(np.float64).eps)


class Coordinates(NamedTuple):
    """An affine change of parameters; ``params`` is v, followed by c if there is an intercept.

    With several targets both have a last axis for them, and are laid out flat one after the other.

    Attributes
    ----------
    center : ndarray of shape (n_features,)
    scale : ndarray of shape (n_features,)
        0 for a column that is constant: it is left to the intercept and its coefficient is 0.
    inverse_scale : ndarray of shape (n_features,)
        ``1 / scale``, and 0 where `scale` is.
    fit_intercept : bool
    targets : tuple of int
        (n_targets,), or () where y is 1-D: the shape of an intercept.
    """

    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    inverse_scale: NDArray[np.float64]
    fit_intercept: bool
    targets: tuple[int, ...] = ()

    @property
    def n_params(self) -> int:
        """Length of the flat parameters."""
        return (len(self.scale) + self.fit_intercept) * (self.targets[0] if self.targets else 1)

    def along(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """A number for each feature, in a shape that multiplies coefficients."""
        return features[:, np.newaxis] if self.targets else features

    def to_params(
        self, coef: NDArray[np.float64], intercept: float | NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Parameters with the same predictions as `coef` and `intercept`."""
        v = coef * self.along(self.scale)
        if not self.fit_intercept:
            return v.ravel()
        return _flat(v, intercept + self.center.dot(coef))

    def from_params(
        self, params: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], float | NDArray[np.float64]]:
        """Coefficients and intercept in the user's units."""
        v, c = self._split(params)
        coef = v * self.along(self.inverse_scale)
        if not self.fit_intercept:
            return coef, np.zeros(self.targets) if self.targets else 0.0
        intercept = c - self.center.dot(coef)
        return coef, intercept if self.targets else float(intercept)

    def gradient(
        self, by_coef: NDArray[np.float64], by_intercept: float | NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The gradient by the parameters, by the chain rule."""
        by_v = by_coef - self.along(self.center) * by_intercept
        by_v = by_v * self.along(self.inverse_scale)
        return _flat(by_v, by_intercept) if self.fit_intercept else by_v.ravel()

    def user_gradient(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """The gradient by coefficients and intercept, from that by the parameters."""
        v, c = self._split(gradient)
        by_coef = v * self.along(self.scale)
        if not self.fit_intercept:
            return by_coef.ravel()
        return _flat(by_coef + self.along(self.center) * c, c)

    def rounding(self, params: NDArray[np.float64], loss: float, epsilon: float) -> float:
        """The excess loss that rounding each product once would make.

        Products with the coefficients err in the predictions, and products of the residuals with
        the columns in the gradient: as many deviations as the columns lie from zero.
        """
        coef, intercept = self.from_params(params)
        spread, far, apart = self.rounding_terms(epsilon)
        by_intercept = apart * float(np.square(intercept).sum())
        return epsilon**2 * (float(spread.dot(coef**2).sum()) + loss * far + by_intercept)

    def rounding_terms(self, epsilon: float) -> tuple[NDArray[np.float64], float, float]:
        """The factors of ``coef**2``, of the loss and of ``intercept**2`` in `rounding`.

        The intercept meets y in float64, whatever the precision of the products.
        """
        far = 1.0 + (self.center * self.inverse_scale) ** 2
        return self.center**2 + self.scale**2, float(far.sum()), (DOUBLE / epsilon) ** 2

    def _split(self, params: NDArray[np.float64]) -> tuple[NDArray[np.float64], Any]:
        if not self.targets:
            return params[: len(self.scale)], params[-1]
        rows = params.reshape(-1, self.targets[0])
        return rows[: len(self.scale)], rows[-1]


def _flat(
    features: NDArray[np.float64], intercept: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Numbers of the features and then of the intercept, one after the other."""
    both = np.empty((len(features) + 1, *features.shape[1:]))
    both[:-1], both[-1] = features, intercept
    return both.ravel()


def literal(n_features: int, fit_intercept: bool, targets: tuple[int, ...] = ()) -> Coordinates:
    """The user's own coordinates."""
    one = np.ones(n_features)
    return Coordinates(np.zeros(n_features), one, one, fit_intercept, targets)


def standardised(
    columns: ColumnStatistics, fit_intercept: bool, targets: tuple[int, ...] = ()
) -> Coordinates:
    """Columns of mean 0 and deviation 1; without an intercept, of root mean square 1."""
    n = len(columns.mean)
    if fit_intercept:
        center = columns.mean
        scale = np.where(columns.deviation > CONSTANT * np.abs(center), columns.deviation, 0.0)
    else:
        center = np.zeros(n)
        scale = np.hypot(columns.mean, columns.deviation)
    inverse = np.divide(1.0, scale, out=np.zeros(n), where=scale > 0)
    return Coordinates(center, scale, inverse, fit_intercept, targets)
