"""The squared error of moments, as a quadratic about its minimum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastgd._linalg.inverse import Inverse, inverse_of
from fastgd._linalg.product import product
from fastgd._moments.exact import Solution, solution
from fastgd._moments.moments import Moments
from fastgd.backends import Sums


@dataclass(frozen=True)
class Quadratic:
    """``sum(s r^2)`` over samples and targets, about the coefficients that make it least.

    Written so, ``(w - minimum)' scatter (w - minimum) + least`` loses no digits where the fit is
    close; the plain ``y'y - 2 w'X'y + w'X'X w`` keeps none when the fit explains y to 16 digits.

    Attributes
    ----------
    scatter : ndarray of shape (n_features, n_features)
    minimum : ndarray of shape (n_features,) or (n_features, n_targets)
    target_mean : float or ndarray of shape (n_targets,)
    inverse : Inverse
        Of `scatter`.
    solution : Solution or None
        From exact moments.
    """

    scatter: NDArray[np.float64]
    minimum: NDArray[np.float64]
    least: float
    mean: NDArray[np.float64]
    target_mean: float | NDArray[np.float64]
    weights: float
    inverse: Inverse
    solution: Solution | None = None

    def sums(self, coef: NDArray[np.float64], intercept: float | NDArray[np.float64]) -> Sums:
        """The sums that a pass over the data would give."""
        away = coef - self.minimum
        slope = product(self.scatter, away)
        residual = self.mean.dot(coef) - self.target_mean + intercept
        total = self.weights * residual
        squares = float((slope * away).sum()) + self.least + float((total * residual).sum())
        products = slope + np.multiply.outer(self.mean, total)
        return Sums(squares, products, total, self.weights)


def quadratic_of(moments: Moments) -> Quadratic:
    """Solve for the minimum.

    Directions whose curvature is rounding have no say in the predictions: their coefficients are
    put at 0, which is the answer of least norm in columns of equal length.
    """
    d = moments.n_features
    scatter = np.ascontiguousarray(moments.scatter[:d, :d])
    targets: int | slice = d if moments.single_target else slice(d, None)
    products = moments.scatter[:d, targets]
    inverse, exact, solved = inverse_of(scatter), moments.exact, None
    if exact is not None:
        solved = solution(exact, d, fit_intercept=True)
        minimum, least = solved.coef.reshape(products.shape), solved.least
    else:
        minimum = inverse.solve(products)
        minimum = minimum + inverse.solve(products - product(scatter, minimum))
        squares = float(moments.scatter.diagonal()[d:].sum())
        least = max(squares - float((products * minimum).sum()), 0.0)
    return Quadratic(
        scatter,
        minimum,
        least,
        moments.mean[:d],
        float(moments.mean[d]) if moments.single_target else moments.mean[d:],
        moments.weight_sum,
        inverse,
        solved,
    )
