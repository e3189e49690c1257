"""fit(): the whole path of the data, from arrays to result."""

from __future__ import annotations

import math
import warnings
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from fastgd._convergence import Convergence
from fastgd._coordinates import Coordinates, literal, standardised
from fastgd._errors import ConvergenceWarning, DivergenceError
from fastgd._inference import infer
from fastgd._loop import Descent, descend
from fastgd._moments import Moments
from fastgd._objective import Objective, Point
from fastgd._problem import Problem, Source, as_problem, check_finite_sums
from fastgd._replay import descend_quadratic
from fastgd._report import epoch_printer
from fastgd._result import FitResult, StopReason
from fastgd._settings import Settings, check_settings, check_start
from fastgd._step import curvature_at, plan_step
from fastgd._strategy import Reader
from fastgd.methods import load_method


def fit(
    X: ArrayLike | Moments,
    y: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    missing: str = "error",
    fit_intercept: bool = True,
    learning_rate: float | str = "auto",
    max_iter: int = 10_000,
    tol: float = 1e-10,
    reduction: str = "mean",
    coef_init: ArrayLike | None = None,
    intercept_init: float | None = None,
    strategy: str = "auto",
    backend: str = "numba",
    precision: str = "double",
    n_threads: int | None = None,
    verbose: int = 0,
) -> FitResult:
    """Fit a linear model by gradient descent on the mean squared error.

    Minimises ``sum(s * (X @ coef + intercept - y)**2) / sum(s)``; the mean is not halved.

    Parameters
    ----------
    X : array_like of shape (n_samples,) or (n_samples, n_features)
        1-D X is one feature, and its coefficient a scalar. float32 and float64 arrays are used
        where they lie, and never changed, if each row or each column is contiguous (C or F order,
        slices of rows or columns, read-only, memory-mapped); anything else is copied once,
        float16 to float32, other numbers to float64. Tensors (DLPack) and tables of pandas,
        polars, PyArrow and others are arrays, too; `fastgd.Moments` stand for X and y together.
    y : array_like of shape (n_samples,)
        Cast to float64 if X is float64; otherwise kept as float32 or float64.
    sample_weight : array_like of shape (n_samples,), optional
        Not negative, with a positive sum; used in the dtype of X.
    missing : {"error", "drop"}, default "error"
        "drop" leaves out rows with NaN, or a null of a table, in X, y or `sample_weight`.
    fit_intercept : bool, default True
    learning_rate : float or "auto", default "auto"
        A number is the step, taken literally, in the user's own units. "auto" descends in
        standardised coordinates (see Notes) with the best constant step for their spectrum.
    max_iter : int, default 10_000
        Epochs at most. An epoch is one step and reads X once.
    tol : float, default 1e-10
        The fit stops once the estimated excess of the loss over its minimum is below `tol` times
        the loss. The error in the coefficients is then about ``sqrt(n_samples * tol)`` of their
        standard errors. 0 asks for `max_iter` epochs, and no warning: only the library's own step
        stops before them, at the limit of rounding.
    reduction : {"mean", "sum"}, default "mean"
        "sum" takes the gradient without the division by the sum of weights, for literal learning
        rates meant so; losses stay means. No effect with ``learning_rate="auto"``.
    coef_init : float or array_like of shape (n_features,), optional
        Where to start; 0 by default.
    intercept_init : float, optional
    strategy : {"auto", "stream", "moments"}, default "auto"
        "stream" reads X once an epoch. "moments" reads it once in all, for its first and second
        moments (see `fastgd.Moments`), and takes every epoch's loss and gradient from those: the
        same descent. "auto" does what costs less; see Notes.
    backend : {"numba", "numpy"}, default "numba"
        Fused compiled kernels, or the plain numpy reference.
    precision : {"double", "single"}, default "double"
        For float32 data: products and sums in float64, in registers, or products in float32 and
        sums in float32 over short runs, then float64. Read from memory the two take about the
        same time; "single" is up to twice as fast where X stays in cache. Relative to the sum of
        absolute terms, losses and gradients err by less than 1e-12 and 1e-6.
    n_threads : int, optional
        At most so many threads. By default the environment variables FASTGD_NUM_THREADS,
        NUMBA_NUM_THREADS and OMP_NUM_THREADS, then the CPUs that this process may use.
    verbose : int, default 0
        1 prints a line for every epoch: the coefficients after its step, the loss before it.

    Returns
    -------
    FitResult

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used, or the data hold NaN or infinity.
    DivergenceError
        If the loss or a coefficient stops being finite or the loss keeps growing. It carries the
        last finite result and a learning rate that would have worked.
    OverflowError
        If the data are finite but the sums of their products are not.

    Warns
    -----
    ConvergenceWarning
        If `max_iter` epochs did not meet `tol`.

    Notes
    -----
    With "auto", one read of X takes the mean m and the deviation d of each column, the descent
    runs on the coefficients of ``(X - m) / d`` by algebra (X is not touched), and Lanczos steps,
    one read of X each and 32 at most, give the extreme eigenvalues L and mu of the Hessian there,
    hence the step ``2 / (L + mu)``.

    Moments take one read of X and some ``n_features**2`` operations a sample. ``strategy="auto"``
    collects them beforehand where the reads asked for are known to cost more, with a literal
    learning rate from `max_iter`; where it is not known, it streams until as much has been spent
    on reads as moments cost, and then collects them. ``result.strategy`` says what was done.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> x = np.arange(6, dtype=np.float32)
    >>> result = fastgd.fit(x, 2 * x + 1)
    >>> round(result.coef, 4), round(result.intercept, 4), round(result.predict(10), 4)
    (2.0, 1.0, 21.0)
    """
    settings = check_settings(
        fit_intercept,
        learning_rate,
        max_iter,
        tol,
        reduction,
        strategy,
        backend,
        precision,
        n_threads,
        verbose,
    )
    problem = as_source(X, y, sample_weight, settings, missing)
    coef, intercept = check_start(problem, settings, coef_init, intercept_init)
    # What overflows or is not a number is looked for, and never returned.
    with np.errstate(over="ignore", invalid="ignore"), Reader(problem, settings) as read:
        coordinates = _choose_coordinates(problem, read, settings)
        objective = Objective(read, coordinates, settings.gradient_reduction)
        start = objective(coordinates.to_params(coef, intercept))
        check_finite_sums(problem, start.loss, start.gradient)
        plan = plan_step(objective, start, problem, settings)
        descent = _descend(read, objective, start, plan, problem, settings)
        reason = descent.stop_reason
        if reason is StopReason.DIVERGED:
            working = curvature_at(objective, problem, settings, start).best_step
            raise _divergence(_result(descent, reason, plan, objective, problem, read), working)
        if reason is StopReason.MAX_ITER and plan.is_met(descent.last):
            reason = StopReason.CONVERGED
        result = _result(descent, reason, plan, objective, problem, read)
        if not result.converged and settings.tol > 0.0:
            advice = _advice(result, plan.excess(descent.last), settings)
            warnings.warn(advice, ConvergenceWarning, stacklevel=2)
    return result


def as_source(
    X: ArrayLike | Moments,
    y: ArrayLike | None,
    sample_weight: ArrayLike | None,
    settings: Settings,
    missing: str = "error",
) -> Problem | Moments:
    """What a descent reads: checked arrays, or moments as they were given."""
    if not isinstance(X, Moments):
        if y is None:
            raise TypeError("y must be given, unless X is fastgd.Moments; got None")
        return as_problem(X, y, sample_weight, missing=missing)
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise TypeError(f"{name} must not be given where X is fastgd.Moments, which hold it")
    if settings.strategy == "stream":
        raise ValueError('strategy="stream" needs arrays; X is fastgd.Moments')
    if not X.single_target:
        raise ValueError(f"X must be moments of one target, from 1-D y; it has {X.n_targets}")
    return X


def _choose_coordinates(problem: Source, read: Reader, settings: Settings) -> Coordinates:
    if settings.learning_rate is not None:
        return literal(problem.n_features, settings.fit_intercept)
    columns = read.column_statistics()
    check_finite_sums(problem, columns.mean, columns.deviation)
    return standardised(columns, settings.fit_intercept)


def _descend(
    read: Reader,
    objective: Objective,
    start: Point,
    plan: Convergence,
    problem: Source,
    settings: Settings,
) -> Descent:
    replay = read.load_replay()
    if replay is not None and read.quadratic is not None and settings.verbose == 0:
        return descend_quadratic(replay, read.quadratic, objective, start, plan, settings.max_iter)
    return descend(
        objective,
        start,
        load_method("gd"),
        plan.learning_rate,
        plan.stops,
        plan.is_rounding,
        settings.max_iter,
        epoch_printer(objective.coordinates, problem, settings),
    )


def _result(
    descent: Descent,
    reason: StopReason,
    plan: Convergence,
    objective: Objective,
    problem: Source,
    read: Reader,
) -> FitResult:
    last = descent.last
    coef, intercept = objective.coordinates.from_params(last.params)
    gradient = objective.coordinates.user_gradient(last.gradient) / plan.gradient_scale
    return FitResult(
        coef=float(coef[0]) if problem.one_dimensional else coef,
        intercept=intercept,
        loss=last.loss,
        loss_history=np.array(descent.losses),
        # Not BLAS: its sums may depend on where a vector lies in memory.
        grad_norm=math.hypot(*gradient.tolist()),
        n_iter=descent.n_iter,
        converged=reason is StopReason.CONVERGED,
        stop_reason=reason,
        learning_rate=plan.learning_rate,
        method="gd",
        strategy=read.strategy,
        backend=read.backend,
        moments=read.moments,
        fit_intercept=objective.coordinates.fit_intercept,
        feature_names=problem.feature_names,
        _infer=partial(infer, fit_intercept=objective.coordinates.fit_intercept),
    )


def _divergence(result: FitResult, working: float) -> DivergenceError:
    known = math.isfinite(working)
    hint = 'use learning_rate="auto"'
    if known:
        hint = f"learning_rate={working:.4g} would have worked; or {hint}"
    return DivergenceError(
        f"the descent diverged after {result.n_iter} epochs with "
        f"learning_rate={result.learning_rate:g}: {result.stop_reason}; {hint}",
        result,
        working if known else None,
    )


def _advice(result: FitResult, excess: float, settings: Settings) -> str:
    remedy = "raise max_iter or tol"
    if settings.learning_rate is not None:
        remedy += ', or use learning_rate="auto"'
    return (
        f"after {result.n_iter} epochs the loss may still be {excess:.2g} above its minimum, "
        f"which is more than tol={settings.tol:g} times the loss {result.loss:.6g}; {remedy}"
    )
