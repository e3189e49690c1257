"""Moments in double-double, and the least squares solution they determine."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._linalg.double_double import EPSILON, DoubleDouble, Factor, outer, zeros
from fastgd._linalg.spectrum import eigenvalues_of
from fastgd._moments.coordinates import CONSTANT
from fastgd.backends import RawMoments

# A column whose squared deviations are this part of its squares is constant, to rounding.
ROUNDING = 2.0**6 * EPSILON


class Low(NamedTuple):
    """What float64 leaves of the numbers of exact moments."""

    weight_sum: float
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]


class ExactMoments(NamedTuple):
    """Sum of weights, means and centred second moments, as double-doubles."""

    weights: DoubleDouble
    mean: DoubleDouble
    scatter: DoubleDouble

    @property
    def low(self) -> Low:
        """The low parts."""
        return Low(float(self.weights.low), self.mean.low, self.scatter.low)

    @property
    def rounded(self) -> RawMoments:
        """The high parts."""
        return RawMoments(float(self.weights.high), self.mean.high, self.scatter.high)


def centred(gram: DoubleDouble) -> ExactMoments:
    """From the cross products of all columns and, last, a column of ones."""
    weights, sums = gram[-1, -1], gram[:-1, -1]
    mean = sums / weights
    products = gram[:-1, :-1]
    scatter = _symmetric(products - outer(sums, mean))
    squares = np.diagonal(products.high)
    constant = np.diagonal(scatter.high) <= ROUNDING * squares
    for part in (scatter.high, scatter.low):
        part[constant] = 0.0
        part[:, constant] = 0.0
    return ExactMoments(weights, mean, scatter)


def merged(a: ExactMoments, b: ExactMoments) -> ExactMoments:
    """Of both data sets together."""
    weights = a.weights + b.weights
    shift = b.mean - a.mean
    between = outer(shift, shift * (a.weights * b.weights / weights))
    mean = a.mean + shift * (b.weights / weights)
    return ExactMoments(weights, mean, _symmetric(a.scatter + b.scatter + between))


def without(whole: ExactMoments, part: ExactMoments) -> ExactMoments:
    """Of what is left of `whole` when `part` is taken out."""
    weights = whole.weights - part.weights
    mean = whole.mean + (whole.mean - part.mean) * (part.weights / weights)
    shift = part.mean - mean
    between = outer(shift, shift * (weights * part.weights / whole.weights))
    return ExactMoments(weights, mean, _symmetric(whole.scatter - part.scatter - between))


def _symmetric(matrix: DoubleDouble) -> DoubleDouble:
    """The upper triangle, mirrored."""
    upper = [np.triu(part) + np.triu(part, 1).T for part in (matrix.high, matrix.low)]
    return DoubleDouble(*upper)


class Solution(NamedTuple):
    """The coefficients that make the squared error least, and that error.

    Attributes
    ----------
    coef : ndarray of shape (n_features, n_targets)
    intercept : ndarray of shape (n_targets,)
    least : float
        Sum of the squared errors, over samples and targets.
    undetermined : ndarray of bool of shape (n_features,)
        Columns that are, or are part of, sums of others.
    """

    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]
    least: float
    undetermined: NDArray[np.bool_]


def solution(moments: ExactMoments, n_features: int, fit_intercept: bool) -> Solution:
    """Solve the normal equations, in columns of about equal length.

    Where some columns are sums of others it is the solution of least norm in such columns.
    Columns that are constant are left to the intercept.
    """
    d, mean, target_mean = n_features, moments.mean[:n_features], moments.mean[n_features:]
    whole = moments.scatter if fit_intercept else _uncentred(moments)
    factor, scale, kept = _factored(moments, whole, d, fit_intercept)
    products, column = whole[:d, d:], scale[:, np.newaxis]
    coef = factor.solve(products.scaled(column)).scaled(column)
    explained = (products * coef).sum()
    rest = DoubleDouble(np.diagonal(whole.high)[d:], np.diagonal(whole.low)[d:]) - explained
    intercept = zeros(target_mean.shape)
    if fit_intercept:
        intercept = target_mean - (coef * mean[:, np.newaxis]).sum()
    return Solution(
        coef.high,
        intercept.high,
        max(float(rest.high.sum()), 0.0),
        _undetermined(factor, kept),
    )


def largest_inverse(moments: ExactMoments, n_features: int, fit_intercept: bool) -> float:
    """The largest eigenvalue of the inverse of the columns' products, in columns of length 1.

    Infinite where some are sums of others; columns that are constant are left to the intercept.
    """
    whole = moments.scatter if fit_intercept else _uncentred(moments)
    factor, scale, kept = _factored(moments, whole, n_features, fit_intercept)
    if _undetermined(factor, kept).any():
        return np.inf
    inverse = factor.solve(DoubleDouble.of(np.diag(kept.astype(float)))).high
    length = scale * np.sqrt(np.diagonal(whole.high)[:n_features])
    return float(eigenvalues_of(inverse * length * length[:, np.newaxis])[-1])


def _uncentred(moments: ExactMoments) -> DoubleDouble:
    return moments.scatter + outer(moments.mean, moments.mean * moments.weights)


def _factored(
    moments: ExactMoments, whole: DoubleDouble, d: int, fit_intercept: bool
) -> tuple[Factor, NDArray[np.float64], NDArray[np.bool_]]:
    """The products of the columns, scaled by powers of two: factored, the scale, what is kept."""
    squares = np.diagonal(whole.high)[:d]
    far = float(moments.weights.high) * moments.mean.high[:d] ** 2
    kept = squares > (CONSTANT**2 * far if fit_intercept else 0.0)
    size = np.sqrt(np.where(kept, squares, 1.0))
    scale = np.where(kept, np.ldexp(1.0, -np.frexp(size)[1] + 1), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        least = d * ROUNDING * (1.0 + np.where(kept, far / squares, 0.0))
    gram = whole[:d, :d].scaled(scale).scaled(scale[:, np.newaxis])
    return Factor(gram, least, np.where(kept, size * scale, 1.0)), scale, kept


def _undetermined(factor: Factor, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    found = np.zeros(len(kept), np.bool_)
    others = kept[factor.others]
    found[factor.others[others]] = True
    share = np.abs(factor.dependence.high[:, others]).max(axis=1, initial=0.0)
    found[factor.basic[share > CONSTANT]] = True
    return found
