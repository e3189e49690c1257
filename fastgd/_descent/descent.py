"""The descent itself: by which loop, from which sums, in which coordinates."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd._data.problem import Problem, Source
from fastgd._descent.adaptive import Adaptive
from fastgd._descent.batches import Batches
from fastgd._descent.conjugate import descend_conjugate
from fastgd._descent.convergence import Convergence
from fastgd._descent.loop import GROWTH, SWING, Advance, Descent, descend
from fastgd._descent.replay import descend_quadratic
from fastgd._descent.step import Plan, plan_step
from fastgd._moments.coordinates import Coordinates, literal, standardised
from fastgd._objective import Objective, Point
from fastgd._results.result import StopReason
from fastgd._settings import Settings
from fastgd._sums.strategy import Reader
from fastgd._watch import Progress, Watches


def choose_coordinates(problem: Source, read: Reader, settings: Settings) -> Coordinates:
    """The user's own for a literal learning rate, else standardised ones."""
    if settings.learning_rate is not None:
        return literal(problem.n_features, settings.fit_intercept, problem.targets)
    return standardised(read.column_statistics(), settings.fit_intercept, problem.targets)


def run(
    read: Reader,
    objective: Objective,
    start: Point,
    problem: Source,
    settings: Settings,
    watches: Watches,
) -> tuple[Descent, Convergence]:
    """From `start` to the end; and what judged it."""
    if settings.method == "cg":
        with Progress(settings) as show:
            watch = show.after(watches)
            return descend_conjugate(read, objective, start, problem, settings, watch)
    plan = plan_step(objective, start, problem, settings)
    replay = _replay_of(read, problem, plan, settings)
    if replay is not None:
        return replay(objective, start, plan.convergence), plan.convergence
    adaptive = Adaptive(plan, start, settings) if plan.schedule.is_adaptive else None
    advance = _advance(plan, objective, problem, settings)
    with Progress(settings) as show:
        watch = show.after(watches)
        descent = descend(
            objective,
            start,
            plan.method.init(start.params, plan.tuning),
            advance if adaptive is None else adaptive.before(advance),
            plan.convergence,
            settings.max_iter,
            watch if adaptive is None else adaptive.after(watch),
            growth=_growth(adaptive, settings),
        )
    if adaptive is not None and descent.stop_reason is not StopReason.DIVERGED:
        descent = descent._replace(last=min(descent.last, adaptive.best, key=lambda p: p.loss))
    return _settled(descent, objective, plan), plan.convergence


def _growth(adaptive: Adaptive | None, settings: Settings) -> float:
    """From where on a loss that rises diverges; never where steps are shortened for it."""
    if adaptive is not None:
        return math.inf
    return GROWTH if settings.method == "gd" else SWING


def _replay_of(
    read: Reader, problem: Source, plan: Plan, settings: Settings
) -> Callable[[Objective, Point, Convergence], Descent] | None:
    """The compiled loop, where it does the same: plain steps on moments, unwatched."""
    replay = read.load_replay()
    plain = settings.method == "gd" and plan.schedule.is_constant and not problem.targets
    if replay is None or not plain or settings.is_watched or settings.penalty.sizes > 0.0:
        return None
    quadratic = read.penalised(settings.penalty)
    return partial(descend_quadratic, replay, quadratic, settings.max_iter)


def _advance(plan: Plan, objective: Objective, problem: Source, settings: Settings) -> Advance:
    """An epoch: one step, or one for each batch."""
    if settings.batch_size is not None and isinstance(problem, Problem):
        return Batches(problem, objective, plan.method, plan.schedule, plan.prox, settings)

    def step(epoch: int, point: Point, state: Any) -> tuple[NDArray[np.float64], Any]:
        plan.schedule.start_epoch(epoch)
        rate = plan.schedule.next()
        return plan.method.step(point.gradient, state, point.params, rate, plan.prox)

    return step


def _settled(descent: Descent, objective: Objective, plan: Plan) -> Descent:
    """With a penalty on sizes, end on a plain proximal step: on zeros that are exact."""
    if plan.convergence.slopes is None or descent.stop_reason is StopReason.DIVERGED:
        return descent
    last, rate = descent.last, plan.tuning.rate
    point = objective(plan.prox(last.params - rate * last.gradient, rate))
    if not point.loss <= last.loss:
        return descent
    losses = descent.losses
    if last.loss == losses[-1]:  # else it is the best of an earlier epoch
        losses = [*losses[:-1], point.loss]
    return descent._replace(last=point, losses=losses)
