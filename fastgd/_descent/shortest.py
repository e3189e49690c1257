"""Where a streamed descent leaves coefficients open: the shortest of those that predict alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastgd._collinear import Flat, flat_directions
from fastgd._data.problem import Source
from fastgd._descent.preconditioner import Preconditioner, least_curvature
from fastgd._objective import Objective, Point
from fastgd._settings import Settings
from fastgd._sums.strategy import Reader

# Applied so often, the inverse of a sample's Hessian leaves of a random direction only what has
# next to no curvature; it is stretched by so much less than what has none, at least.
TURNS, STRETCH = 3, 4.0


def shortest(
    read: Reader,
    objective: Objective,
    last: Point,
    preconditioner: Preconditioner,
    epsilon: float,
    source: Source,
    settings: Settings,
) -> Point:
    """`last`, or the shortest parameters that predict as it does, in columns of equal length.

    That a sample of the rows has directions without curvature is cheap to suspect. One read along
    them says whether all the rows have them.
    """
    if read.sampled is None or settings.penalty.alpha > 0.0:
        return last
    if not _may_be_flat(preconditioner, last, least_curvature(epsilon)):
        return last
    flat = flat_directions(read.sampled, settings.fit_intercept, source.dtype)
    basis = _in_coordinates(flat, objective)
    if basis.shape[1] == 0 or not _are_flat(basis, flat.least, objective, last, epsilon, source):
        return last
    read.undetermined = flat.undetermined
    rows = last.params.reshape(-1, *objective.coordinates.targets).copy()
    rows[: len(basis)] -= basis @ (basis.T @ rows[: len(basis)])
    return objective(rows.ravel())


def _may_be_flat(preconditioner: Preconditioner, last: Point, least: float) -> bool:
    direction = np.random.default_rng(0).standard_normal(len(last.params))
    for _ in range(TURNS):
        direction = preconditioner.apply(direction / np.linalg.norm(direction))
    return bool(np.linalg.norm(direction) * 2.0 * least > 1.0 / STRETCH)


def _in_coordinates(flat: Flat, objective: Objective) -> NDArray[np.float64]:
    """An orthonormal basis of the directions, as parameters of one target."""
    scale, size = objective.coordinates.scale, flat.size
    by_size = np.divide(scale, size, out=np.zeros_like(size), where=size > 0.0)
    basis, _ = np.linalg.qr(flat.directions * by_size[:, np.newaxis])
    return np.asarray(basis)


def _are_flat(
    basis: NDArray[np.float64],
    least: float,
    objective: Objective,
    last: Point,
    epsilon: float,
    source: Source,
) -> bool:
    """Whether a sum of all directions has no curvature in all rows, from a gradient along it.

    The step is as large as what rounds: the predictions, and the residuals where those are 0.
    """
    along = basis @ np.random.default_rng(0).standard_normal(basis.shape[1])
    step = np.zeros_like(last.params)
    step.reshape(-1, *objective.coordinates.targets)[: len(along)].T[...] = along
    length = np.hypot(np.linalg.norm(last.params), np.sqrt(last.loss)) or 1.0
    step *= length / np.linalg.norm(step)
    moved = objective(last.params + step)
    curvature = step @ (moved.gradient - last.gradient) / (2.0 * step @ step)
    rounding = 16 * len(basis) * float(np.finfo(np.float64).eps)
    rounding += 16 * epsilon * len(basis) / np.sqrt(source.n_samples)
    return bool(abs(curvature) <= max(least, rounding))
