"""Conjugate gradients, in stages: each with a better preconditioner, if the last took too long."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd._data.problem import Source, check_finite_sums
from fastgd._descent.convergence import NewtonConvergence
from fastgd._descent.loop import Advance, Descent, Watch, descend
from fastgd._descent.preconditioner import Preconditioner, exact, plain, sketched
from fastgd._descent.shortest import shortest
from fastgd._descent.step import rounding_unit
from fastgd._objective import Objective, Point
from fastgd._results.result import StopReason
from fastgd._settings import Settings
from fastgd._sums.costs import best_sample
from fastgd._sums.strategy import Reader
from fastgd.methods import Method, Tuning, load_method

# Plain steps come first where the moments of the sample cost more reads than this.
CHEAP_SAMPLE = 16.0
# They end early where, after so many, the gradient falls so slowly that what is asked for would
# take more than so many times the steps that are left. (Its fall can become faster.)
LEAST_PLAIN, PATIENCE = 30, 1.5

Stage = tuple[int, Callable[[], Preconditioner]]


def descend_conjugate(
    read: Reader,
    objective: Objective,
    start: Point,
    source: Source,
    settings: Settings,
    watch: Watch,
) -> tuple[Descent, NewtonConvergence]:
    """The whole descent, and what judged its end."""
    point, losses, done = start, [start.loss], 0
    method = load_method("cg")
    for limit, make in _stages(read, objective, source, settings):
        if done >= settings.max_iter:
            break
        watch_on = _of_stage(watch, done, read, _outlook(point, settings, limit))
        if read.solution is not None:
            last, judge = _at_once(read, objective, point, source, settings, watch_on)
            return last._replace(losses=losses + last.losses[1:]), judge
        preconditioner = _remembering(make())
        judge = _judge(objective, settings, source, preconditioner)
        tuning = Tuning(preconditioner.trial, precondition=preconditioner.apply)
        descent = descend(
            objective,
            point,
            method.init(point.params, tuning),
            _from(point, preconditioner.guess, method),
            judge,
            min(limit, settings.max_iter - done),
            watch_on,
            stalls=True,
        )
        point, done = descent.last, done + descent.n_iter
        losses += descent.losses[1:]
        stalled = descent.stop_reason is StopReason.STALLED
        if stalled and read.quadratic is None and read.may_collect:
            read.collect()  # points so far from the line's minimum say nothing of rounding
        elif descent.stop_reason is not StopReason.MAX_ITER:
            break
    if judge.floor == np.inf and descent.state.lengths:
        met = 1.0 / (preconditioner.trial * descent.state.smallest)
        judge.condition = lambda: met
    epsilon = rounding_unit(objective, source, settings)
    point = shortest(read, objective, point, preconditioner, epsilon, source, settings)
    return descent._replace(last=point, losses=losses), judge


def _remembering(preconditioner: Preconditioner) -> Preconditioner:
    """The same, which solves once for what is asked for twice: by the judge, then by the step."""
    asked, solved, apply = None, None, preconditioner.apply

    def once(gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        nonlocal asked, solved
        if solved is None or asked is not gradient:
            asked, solved = gradient, apply(gradient)
        return solved

    return preconditioner._replace(apply=once)


def _of_stage(
    watch: Watch, done: int, read: Reader, is_slow: Callable[[int, Point], bool]
) -> Watch:
    """`watch`, with epochs counted from the first stage on, and the end of this stage.

    It ends where it is slow, or moments have been collected: they say where the minimum is.
    """
    began_with = read.quadratic

    def watch_on(epoch: int, point: Point, before: float) -> StopReason | None:
        reason = watch(done + epoch, point, before)
        if reason is None and (read.quadratic is not began_with or is_slow(epoch, point)):
            reason = StopReason.MAX_ITER
        return reason

    return watch_on


def _outlook(start: Point, settings: Settings, limit: int) -> Callable[[int, Point], bool]:
    """Whether a stage of at most `limit` steps, which another follows, is better ended."""
    falls = [_log_square(start)]
    accuracy = max(settings.tol, float(np.finfo(np.float64).eps))

    def is_slow(epoch: int, point: Point) -> bool:
        falls.append(min(falls[-1], _log_square(point)))
        if limit >= settings.max_iter or epoch < LEAST_PLAIN:
            return False
        if min(start.loss, point.loss) <= 0.0:
            return False
        asked = falls[0] + math.log(accuracy) + math.log(point.loss) - math.log(start.loss)
        a_step = (falls[epoch // 2] - falls[epoch]) / (epoch - epoch // 2)
        return falls[epoch] - asked > PATIENCE * (limit - epoch) * a_step

    return is_slow


def _log_square(point: Point) -> float:
    square = float(np.vdot(point.gradient, point.gradient))
    return math.log(square) if square > 0.0 else -math.inf


def _at_once(
    read: Reader,
    objective: Objective,
    start: Point,
    source: Source,
    settings: Settings,
    watch: Watch,
) -> tuple[Descent, NewtonConvergence]:
    """One step to the solution that exact moments gave."""
    assert read.quadratic is not None
    assert read.solution is not None
    coordinates = objective.coordinates
    shape = (len(coordinates.scale), *coordinates.targets)
    intercept = read.solution.intercept
    preconditioner = exact(read.quadratic, coordinates, settings.penalty.squares)
    judge = _judge(objective, settings, source, preconditioner)
    params = coordinates.to_params(
        read.solution.coef.reshape(shape), intercept if coordinates.targets else intercept[0]
    )
    point = objective(params)
    check_finite_sums(source, point.loss, params)
    reason = watch(1, point, start.loss) or StopReason.CONVERGED
    state = load_method("cg").init(params, Tuning(preconditioner.trial))
    return Descent(point, [start.loss, point.loss], reason, state), judge


def _from(start: Point, guess: NDArray[np.float64] | None, method: Method) -> Advance:
    """Steps of the method from the guess, if there is one and it is no worse than `start`."""

    def advance(epoch: int, point: Point, state: Any) -> tuple[NDArray[np.float64], Any]:
        if epoch == 1 and guess is not None:
            return guess, state
        if epoch == 2 and guess is not None and point.loss > start.loss:
            point = start
        return method.step(point.gradient, state, point.params, 0.0, lambda params, rate: params)

    return advance


def _judge(
    objective: Objective, settings: Settings, source: Source, preconditioner: Preconditioner
) -> NewtonConvergence:
    return NewtonConvergence(
        tol=settings.tol,
        learning_rate=preconditioner.trial,
        gradient_scale=1.0,
        coordinates=objective.coordinates,
        epsilon=rounding_unit(objective, source, settings),
        runs_on=False,
        find_curvature=_unknown,
        curvature=None,
        precondition=preconditioner.apply,
        floor=preconditioner.floor,
        condition=preconditioner.condition,
    )


def _unknown(point: Point) -> Any:
    raise AssertionError("conjugate gradients know their curvature")


def _stages(
    read: Reader, objective: Objective, source: Source, settings: Settings
) -> Iterator[Stage]:
    """How many steps at most, and with what: see the notes of `fastgd.fit`."""
    coordinates, ridge = objective.coordinates, settings.penalty.squares
    most = settings.max_iter

    def from_moments() -> Preconditioner:
        assert read.quadratic is not None
        return exact(read.quadratic, coordinates, ridge)

    if read.quadratic is not None:
        yield most, from_moments
        return
    n, d = source.n_samples, source.n_features
    n_rows, cost, _ = best_sample(n, d, source.dtype.itemsize)
    if n_rows == 0:
        yield most, lambda: plain(coordinates, ridge)
        return
    if cost > CHEAP_SAMPLE:
        yield int(cost), lambda: plain(coordinates, ridge)

    def from_sample() -> Preconditioner:
        sample = read.sample(n_rows)
        if sample is None:
            return plain(coordinates, ridge)
        read.note(f"preconditioned by the moments of {sample.n_samples:,} rows")
        epsilon = rounding_unit(objective, source, settings)
        return sketched(sample, n, coordinates, ridge, epsilon, settings.n_threads)

    if read.quadratic is None:
        yield most, from_sample
    if read.quadratic is not None:
        yield most, from_moments
