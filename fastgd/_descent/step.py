"""The constants of a descent, and what it needs to know of the spectrum."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._data.problem import Source
from fastgd._descent.convergence import Convergence
from fastgd._linalg.spectrum import MOST_EXACT, Curvature, curvature, exact_curvature
from fastgd._moments.coordinates import Coordinates
from fastgd._moments.quadratic import Quadratic
from fastgd._objective import Objective, Point
from fastgd._penalty import Penalty, proximal_step, thresholds
from fastgd._schedule import Schedule
from fastgd._settings import Settings
from fastgd._sums.strategy import Reader
from fastgd.methods import Method, Prox, Tuning, load_method

# As PyTorch's users and scikit-learn's MLP have it, where the learning rate is literal.
MOMENTUM = 0.9


class Plan(NamedTuple):
    """How a descent steps, and when it stops."""

    method: Method
    tuning: Tuning
    schedule: Schedule
    prox: Prox
    convergence: Convergence


def plan_step(objective: Objective, start: Point, source: Source, settings: Settings) -> Plan:
    """The step that was given, or the best constants for the spectrum; and when to stop."""
    method = load_method(settings.method)
    find_curvature = partial(curvature_at, objective, source, settings)
    automatic = settings.learning_rate is None
    spectrum = find_curvature(start) if automatic else None
    tuning = (
        Tuning(0.0, MOMENTUM) if spectrum is None else method.tune(spectrum, math.sqrt(start.loss))
    )
    if settings.momentum is not None:
        tuning = tuning._replace(momentum=settings.momentum)
    schedule = _schedule(settings, tuning.rate)
    scale = start.weights if settings.gradient_reduction == "sum" else 1.0
    slopes = thresholds(settings.penalty, objective.coordinates, scale)
    convergence = Convergence(
        tol=settings.tol,
        learning_rate=schedule.first,
        gradient_scale=scale,
        coordinates=objective.coordinates,
        epsilon=rounding_unit(objective, source, settings),
        runs_on=not automatic,
        find_curvature=find_curvature,
        curvature=spectrum,
        slopes=slopes,
        centred=automatic or not settings.fit_intercept,
    )
    tuning = tuning._replace(rate=schedule.first)
    return Plan(method, tuning, schedule, proximal_step(slopes), convergence)


def _schedule(settings: Settings, automatic: float) -> Schedule:
    given = settings.learning_rate
    if given is None or isinstance(given, float):
        return Schedule("constant", automatic if given is None else given, settings.power_t)
    return Schedule(given, settings.eta0, settings.power_t)


def curvature_at(
    objective: Objective, source: Source, settings: Settings, point: Point
) -> Curvature:
    """Extreme curvatures of the objective, from moments or from gradients about `point`.

    The gradient is affine: its differences are products with the Hessian. Steps as large as the
    residuals keep the differences clear of rounding.
    """
    read, coordinates = objective.read, objective.coordinates
    quadratic = read.quadratic if isinstance(read, Reader) else None
    # Plain descent goes by the same estimate, whatever its sums come from: it is the same descent.
    exact = settings.method != "gd" and source.n_features <= MOST_EXACT
    if quadratic is not None and exact:
        scale = point.weights if objective.reduction == "sum" else 1.0
        return exact_curvature(scale * hessian(quadratic, coordinates, settings.penalty))
    length = np.sqrt(point.loss) if point.loss > 0.0 else 1.0

    def product(direction: NDArray[np.float64]) -> NDArray[np.float64]:
        moved = objective(point.params + length * direction)
        return (moved.gradient - point.gradient) / length

    # Rounding of the products averages out over the rows.
    rounding = 16 * rounding_unit(objective, source, settings) / np.sqrt(source.n_samples)
    rounding += 16 * len(point.params) * np.finfo(np.float64).eps
    return curvature(product, len(point.params), float(rounding))


def hessian(
    quadratic: Quadratic, coordinates: Coordinates, penalty: Penalty
) -> NDArray[np.float64]:
    """Of the mean squared error and the penalty on squares, by the parameters of one target."""
    inverse, away = coordinates.inverse_scale, quadratic.mean - coordinates.center
    by_coef = quadratic.scatter / quadratic.weights + np.outer(away, away)
    by_coef[np.diag_indices_from(by_coef)] += penalty.squares
    half = by_coef * inverse * inverse[:, np.newaxis]
    if coordinates.fit_intercept:
        beside = away * inverse
        half = np.block([[half, beside[:, np.newaxis]], [beside, np.ones(1)]])
    return np.asarray(2.0 * half)


def rounding_unit(objective: Objective, source: Source, settings: Settings) -> float:
    """The rounding unit of the products: moments are float64 whatever the precision."""
    from_moments = isinstance(objective.read, Reader) and objective.read.from_moments
    single = settings.precision == "single" and not from_moments
    return float(np.finfo(source.dtype if single else np.float64).eps)
