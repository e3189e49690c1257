"""The squared error of moments, as a quadratic about its minimum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastgd._moments import Moments
from fastgd.backends import Sums


@dataclass(frozen=True)
class Quadratic:
    """``sum(s r^2)`` for a single target, in the eigenvectors of the features' scatter.

    Written as a sum of squares, ``sum(eigenvalues * (u - minimum)^2) + least`` with u the
    coefficients along the eigenvectors, it loses no digits where the fit is close; the plain
    ``y'y - 2 w'X'y + w'X'X w`` keeps none when the fit explains y to 16 digits.
    """

    eigenvalues: NDArray[np.float64]
    vectors: NDArray[np.float64]
    minimum: NDArray[np.float64]
    least: float
    mean: NDArray[np.float64]
    target_mean: float
    weights: float

    def sums(self, coef: NDArray[np.float64], intercept: float) -> Sums:
        """The sums that a pass over the data would give."""
        away = coef @ self.vectors - self.minimum
        slope = self.eigenvalues * away
        residual = float(self.mean @ coef) - self.target_mean + intercept
        total = self.weights * residual
        return Sums(
            float(slope @ away) + self.least + total * residual,
            self.vectors @ slope + total * self.mean,
            total,
            self.weights,
        )


def quadratic_of(moments: Moments) -> Quadratic:
    """Diagonalise the scatter of the features.

    Directions whose eigenvalue is rounding have no say in the predictions: their minimum is put
    at 0, which is the answer of least norm.
    """
    d = moments.n_features
    scatter, products = moments.scatter[:d, :d], moments.scatter[:d, d]
    # Columns of equal size: else the rounding of large ones would drown the small.
    size = np.sqrt(np.maximum(np.diagonal(scatter), 0.0))
    size = np.where(size > 0.0, size, 1.0)
    eigenvalues, vectors = np.linalg.eigh(scatter / np.outer(size, size))
    kept = eigenvalues > d * np.finfo(np.float64).eps * max(float(eigenvalues[-1]), 0.0)
    along = vectors.T @ (products / size)
    inverse = np.divide(1.0, eigenvalues, out=np.zeros(d), where=kept)
    least = float(moments.scatter[d, d] - inverse @ along**2)
    return Quadratic(
        np.where(kept, eigenvalues, 0.0),
        vectors * size[:, np.newaxis],
        inverse * along,
        max(least, 0.0),
        moments.mean[:d],
        float(moments.mean[d]),
        moments.weight_sum,
    )
