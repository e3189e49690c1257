"""Columns in equal length: their correlation, and how close they are to sums of each other."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._linalg.spectrum import eigenvalues_of
from fastgd._moments.coordinates import CONSTANT
from fastgd._moments.exact import ExactMoments, largest_inverse
from fastgd.backends import RawMoments


class Correlation(NamedTuple):
    """Products of the columns of X that vary, in equal length.

    Attributes
    ----------
    kept : ndarray of int of shape (n_kept,)
        Which columns these are.
    matrix : ndarray of shape (n_kept, n_kept)
    size : ndarray of shape (n_kept,)
        The lengths.
    """

    kept: NDArray[np.intp]
    matrix: NDArray[np.float64]
    size: NDArray[np.float64]


def correlation(raw: RawMoments, n_features: int, fit_intercept: bool) -> Correlation:
    """About the mean, or without an intercept about 0."""
    d = n_features
    scatter, mean = raw.scatter[:d, :d], raw.mean[:d]
    far = raw.weights * mean**2
    if not fit_intercept:
        scatter, far = scatter + raw.weights * np.outer(mean, mean), np.zeros(d)
    squares = np.diagonal(scatter)
    kept = np.flatnonzero((squares > CONSTANT**2 * far) & (squares > 0.0))
    size = np.sqrt(squares[kept])
    return Correlation(kept, scatter[np.ix_(kept, kept)] / size / size[:, np.newaxis], size)


def condition_number(
    raw: RawMoments, n_features: int, fit_intercept: bool, exact: ExactMoments | None
) -> float:
    """Largest over smallest singular value; infinite where that is rounding."""
    _, matrix, size = correlation(raw, n_features, fit_intercept)
    if not len(size):
        return 1.0
    eigenvalues = eigenvalues_of(matrix)
    largest, smallest = float(eigenvalues[-1]), float(eigenvalues[0])
    if exact is not None:
        return math.sqrt(largest * largest_inverse(exact, n_features, fit_intercept))
    if smallest <= len(size) * np.finfo(np.float64).eps * largest:
        return math.inf
    return math.sqrt(largest / smallest)
