"""The step of a descent, and what it needs to know of the spectrum."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from fastgd._convergence import Convergence
from fastgd._objective import Objective, Point
from fastgd._problem import Source
from fastgd._settings import Settings
from fastgd._spectrum import Curvature, curvature
from fastgd._strategy import Reader


def plan_step(
    objective: Objective, start: Point, problem: Source, settings: Settings
) -> Convergence:
    """The step that was given, or the best constant one for the spectrum; and when to stop."""
    find_curvature = partial(curvature_at, objective, problem, settings)
    spectrum = None
    rate = settings.learning_rate
    if rate is None:
        spectrum = find_curvature(start)
        rate = spectrum.best_step
    return Convergence(
        tol=settings.tol,
        learning_rate=rate,
        gradient_scale=start.weights if settings.gradient_reduction == "sum" else 1.0,
        coordinates=objective.coordinates,
        epsilon=_epsilon(objective, problem, settings),
        find_curvature=find_curvature,
        curvature=spectrum,
    )


def curvature_at(
    objective: Objective, problem: Source, settings: Settings, point: Point
) -> Curvature:
    """Extreme curvatures of the objective, from gradients about `point`.

    The gradient is affine: its differences are products with the Hessian. Steps as large as the
    residuals keep the differences clear of rounding.
    """
    length = np.sqrt(point.loss) if point.loss > 0.0 else 1.0

    def product(direction: NDArray[np.float64]) -> NDArray[np.float64]:
        moved = objective(point.params + length * direction)
        return (moved.gradient - point.gradient) / length

    # Rounding of the products averages out over the rows.
    rounding = 16 * _epsilon(objective, problem, settings) / np.sqrt(problem.n_samples)
    rounding += 16 * len(point.params) * np.finfo(np.float64).eps
    return curvature(product, len(point.params), float(rounding))


def _epsilon(objective: Objective, problem: Source, settings: Settings) -> float:
    """The rounding unit of the products: moments are float64 whatever the precision."""
    from_moments = isinstance(objective.read, Reader) and objective.read.quadratic is not None
    single = settings.precision == "single" and not from_moments
    return float(np.finfo(problem.dtype if single else np.float64).eps)
