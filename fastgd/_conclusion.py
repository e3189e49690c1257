"""How a fit ends: in a result, with a warning where it is not what was asked for, or an error."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from fastgd._collinear import warn_of_collinear_columns
from fastgd._data.problem import Source, as_given
from fastgd._descent.convergence import Convergence
from fastgd._descent.loop import Descent
from fastgd._descent.step import curvature_at
from fastgd._errors import DivergenceError, warn, warning_class
from fastgd._objective import Objective
from fastgd._penalty import least_subgradient, thresholds
from fastgd._results.inference import infer
from fastgd._results.result import FitResult, StopReason
from fastgd._settings import Settings
from fastgd._sums.strategy import Reader
from fastgd.methods import load_method


def conclude(
    descent: Descent,
    judge: Convergence,
    objective: Objective,
    problem: Source,
    read: Reader,
    settings: Settings,
) -> FitResult:
    """The result, or what is raised in its place; a warning where it is not what was asked for."""
    reason = descent.stop_reason
    if reason is StopReason.DIVERGED:
        curvature = curvature_at(objective, problem, settings, descent.last)
        working = load_method("gd").tune(curvature, 1.0).rate
        result = _result(descent, reason, judge, objective, problem, read, settings)
        raise _divergence(result, working)
    unfinished = (StopReason.MAX_ITER, StopReason.STALLED, StopReason.LEAST_RATE)
    if reason in unfinished and judge.is_met(descent.last, descent.state):
        reason = StopReason.CONVERGED
    result = _result(descent, reason, judge, objective, problem, read, settings)
    if reason in unfinished and settings.tol > 0.0:
        advice = _advice(result, judge.excess(descent.last, descent.state), settings)
        warn(advice, warning_class.get())
    warn_of_collinear_columns(read, problem, settings)
    return result


def _result(
    descent: Descent,
    reason: StopReason,
    judge: Convergence,
    objective: Objective,
    problem: Source,
    read: Reader,
    settings: Settings,
) -> FitResult:
    last, coordinates = descent.last, objective.coordinates
    coef, intercept = coordinates.from_params(last.params)
    if read.solution is not None and settings.method == "cg":  # less what coordinates round
        coef = read.solution.coef.reshape(coef.shape)
        intercept = read.solution.intercept
        intercept = intercept if coordinates.targets else float(intercept[0])
    slopes = thresholds(settings.penalty, coordinates, judge.gradient_scale)
    gradient = least_subgradient(last.gradient, last.params, slopes) / judge.gradient_scale
    rate = judge.learning_rate
    if settings.method == "cg" and descent.state.lengths:
        rate = descent.state.lengths[-1]
    return FitResult(
        coef=as_given(coef, problem),
        intercept=intercept,
        loss=last.loss,
        loss_history=np.array(descent.losses),
        # Not BLAS: its sums may depend on where a vector lies in memory.
        grad_norm=math.hypot(*coordinates.user_gradient(gradient).tolist()),
        n_iter=descent.n_iter,
        converged=reason is StopReason.CONVERGED,
        stop_reason=reason,
        learning_rate=rate,
        method=settings.method,
        strategy=read.strategy,
        backend=read.backend,
        moments=read.moments,
        _sampled=read.sampled,
        fit_intercept=coordinates.fit_intercept,
        feature_names=problem.feature_names,
        alpha=settings.penalty.alpha,
        l1_ratio=settings.penalty.l1_ratio,
        _infer=partial(infer, fit_intercept=coordinates.fit_intercept),
    )


def _divergence(result: FitResult, working: float) -> DivergenceError:
    known = math.isfinite(working)
    hint = 'use learning_rate="auto"'
    if known:
        hint = f"learning_rate={working:.4g} would have worked; or {hint}"
    return DivergenceError(
        f"the descent diverged after {_epochs(result)} with "
        f"learning_rate={result.learning_rate:g}: {result.stop_reason}; {hint}",
        result,
        working if known else None,
    )


def _epochs(result: FitResult) -> str:
    return f"{result.n_iter} epoch{'s' * (result.n_iter != 1)}"


def _advice(result: FitResult, excess: float, settings: Settings) -> str:
    told = (
        f"after {_epochs(result)} the loss may still be {excess:.2g} above its minimum, "
        f"which is more than tol={settings.tol:g} times the loss {result.loss:.6g}"
    )
    return f"{told}; {_remedy(result.stop_reason, settings)}"


def _remedy(reason: StopReason, settings: Settings) -> str:
    """What brings a fit on that ended so."""
    remedies = ["raise tol" if reason is StopReason.LEAST_RATE else "raise max_iter or tol"]
    if settings.batch_size is None:
        remedies += ['use learning_rate="auto"'] if settings.learning_rate is not None else []
    elif settings.learning_rate in ("adaptive", "invscaling"):
        remedies += ["use a larger batch_size"]
    elif not callable(settings.learning_rate):
        average = "" if settings.average else "average=True or "
        return (
            "constant steps down batches end somewhere about the minimum, however many: use "
            f'learning_rate="adaptive" or "invscaling", {average}a larger batch_size, or raise tol'
        )
    return ", or ".join(remedies)
