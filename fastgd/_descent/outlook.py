"""A descent on a quadratic, foreseen from the eigenvalues of its Hessian."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._descent.convergence import STOPPING_UNITS
from fastgd._descent.step import curvature_at
from fastgd._linalg.spectrum import MAX_PASSES
from fastgd._moments.coordinates import Coordinates, literal, standardised
from fastgd._moments.design import design_root, scaled, target_root
from fastgd._moments.moments import Moments
from fastgd._moments.quadratic import Quadratic, quadratic_of
from fastgd._objective import Objective
from fastgd._settings import Settings
from fastgd._sums.strategy import Reader
from fastgd.methods import load_method

# Beyond any patience; the search ends.
MOST_EPOCHS = 2**62


class Outlook(NamedTuple):
    """A descent in some coordinates, foreseen."""

    largest: float
    condition_number: float
    learning_rate: float
    epochs: int
    reads: int


def outlook(moments: Moments, settings: Settings, *, standardise: bool) -> Outlook:
    """Of a descent from 0: the user's coordinates and the best step, or as "auto" does it."""
    d, read = moments.n_features, Reader(moments, settings)
    coordinates = literal(d, settings.fit_intercept)
    if standardise:
        coordinates = standardised(read.column_statistics(), settings.fit_intercept)
    objective = Objective(read, coordinates, "mean")
    n_params = d + settings.fit_intercept
    estimate = curvature_at(objective, moments, settings, objective(np.zeros(n_params)))
    automatic = load_method("gd").tune(estimate, 1.0).rate
    modes = _modes(quadratic_of(moments), coordinates)
    n_reads = 1 + min(n_params, MAX_PASSES)  # at the start, and for the estimate
    if not len(modes.curvatures):
        return Outlook(0.0, 1.0, automatic, 0, n_reads + standardise)
    largest, smallest = float(modes.curvatures[0]), float(modes.curvatures[-1])
    rate = automatic if standardise else 2.0 / (largest + smallest)
    epochs = _epochs(modes, rate, estimate.smallest, settings.tol)
    condition = largest / smallest
    return Outlook(largest, condition, rate, epochs, epochs + n_reads + standardise)


class _Modes(NamedTuple):
    """The loss along the eigenvectors of the Hessian, largest curvature first.

    Attributes
    ----------
    curvatures : ndarray of shape (rank,)
    excess : ndarray of shape (rank,)
        What each adds to the loss at the start, which is 0.
    least : float
        The loss at the minimum.
    rounding : float
        The excess that is lost in rounding.
    """

    curvatures: NDArray[np.float64]
    excess: NDArray[np.float64]
    least: float
    rounding: float


def _modes(quadratic: Quadratic, coordinates: Coordinates) -> _Modes:
    root, target = design_root(quadratic, coordinates), target_root(quadratic)
    left, singular, rows = np.linalg.svd(root, full_matrices=False)
    epsilon = float(np.finfo(np.float64).eps)
    rank = min(scaled(root).rank, int((singular > 0.0).sum()))
    left, singular, rows = left[:, :rank], singular[:rank], rows[:rank]
    along = left.T @ target
    beyond = target - left @ along
    least = float(quadratic.least + beyond @ beyond) / quadratic.weights
    return _Modes(
        2.0 * singular**2 / quadratic.weights,
        along**2 / quadratic.weights,
        least,
        coordinates.rounding(rows.T @ (along / singular), least, STOPPING_UNITS * epsilon),
    )


def _epochs(modes: _Modes, rate: float, smallest: float, tol: float) -> int:
    """The first epoch at which the bound that `fit` goes by is within `tol` of the loss."""
    step = rate * modes.curvatures
    with np.errstate(divide="ignore"):
        shrinking = np.where(step < 0.5, np.log1p(-np.minimum(step, 0.5)), np.log(abs(1.0 - step)))
    shrinking = np.clip(shrinking, -1e3, 0.0)  # what rounding takes beyond 0 need not grow

    def arrived(epoch: int) -> bool:
        excess = modes.excess * np.exp(2.0 * epoch * shrinking)
        loss = modes.least + float(excess.sum())
        bound = min(loss, float(modes.curvatures @ excess) / smallest)
        return bound <= max(tol * loss, modes.rounding)

    after = 1
    while not arrived(after) and after < MOST_EPOCHS:
        after *= 2
    return bisect_left(range(after), True, key=arrived)
