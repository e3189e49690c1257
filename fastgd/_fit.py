"""fit(): the whole path of the data, from arrays to result."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from fastgd._conclusion import conclude
from fastgd._data.problem import Problem, check_finite_sums
from fastgd._descent.descent import choose_coordinates, run
from fastgd._moments.moments import Moments
from fastgd._objective import Objective
from fastgd._results.result import FitResult
from fastgd._settings import Settings, check_settings, check_start
from fastgd._sums.opened import opened
from fastgd._sums.reads import BlockReads
from fastgd._sums.strategy import Reader
from fastgd._validation import hold_out
from fastgd._watch import EpochState, Watches


def fit(
    X: ArrayLike | Moments,
    y: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    missing: str = "error",
    fit_intercept: bool = True,
    method: str = "auto",
    learning_rate: float | str | Callable[[int], float] = "auto",
    eta0: float = 0.01,
    power_t: float = 0.25,
    momentum: float | None = None,
    alpha: float = 0.0,
    l1_ratio: float = 0.0,
    max_iter: int = 10_000,
    tol: float = 1e-10,
    n_iter_no_change: int | None = None,
    validation_fraction: float | None = None,
    batch_size: int | None = None,
    shuffle: bool = True,
    average: bool = False,
    random_state: int | np.random.Generator | None = None,
    reduction: str = "mean",
    coef_init: ArrayLike | None = None,
    intercept_init: ArrayLike | None = None,
    strategy: str = "auto",
    backend: str = "numba",
    precision: str = "auto",
    n_threads: int | None = None,
    callback: Callable[[EpochState], object] | None = None,
    verbose: int = 0,
    progress: bool | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> FitResult:
    """Fit a linear model by gradient descent on the mean squared error.

    Minimises ``sum(s * (X @ coef + intercept - y)**2) / sum(s)``, which is not halved, plus
    ``alpha * (1 - l1_ratio) * sum(coef**2) + 2 * alpha * l1_ratio * sum(abs(coef))``. With
    several targets the errors of a sample are summed over them: each target's descent is what it
    would be alone.

    Parameters
    ----------
    X : array_like of shape (n_samples,) or (n_samples, n_features)
        1-D X is one feature, and its coefficient a scalar. float32 and float64 arrays are used
        where they lie, and never changed, if each row or each column is contiguous (C or F order,
        slices of rows or columns, read-only, memory-mapped); anything else is copied once,
        float16 to float32, other numbers to float64. Tensors (DLPack) and tables of pandas,
        polars, PyArrow and others are arrays, too. `fastgd.Moments` stand for X and y together,
        and so does what yields them in batches: see Notes.
    y : array_like of shape (n_samples,) or (n_samples, n_targets), optional
        Cast to float64 if X is float64; otherwise kept as float32 or float64. Not given where X
        holds it: moments and batches.
    sample_weight : array_like of shape (n_samples,), optional
        Not negative, with a positive sum; used in the dtype of X.
    missing : {"error", "drop"}, default "error"
        "drop" leaves out rows with NaN, or a null of a table, in X, y or `sample_weight`.
    fit_intercept : bool, default True
    method : {"auto", "gd", "momentum", "nesterov", "adam", "cg", "sgd"}, default "auto"
        "auto" is conjugate gradients ("cg"), preconditioned: see Notes; "nesterov" where there is
        a penalty on sizes, "gd" where a learning rate is given, "sgd" where a batch size is.
    learning_rate : float, "auto", "constant", "invscaling", "adaptive" or callable, default "auto"
        A number is the step, taken literally, in the user's own units. "auto" descends in
        standardised coordinates (see Notes) with the method's best constants for their spectrum.
        "constant" is `eta0`; "invscaling" is ``eta0 / t**power_t`` with t the number of the step;
        "adaptive" is eta0; when the loss has not fallen for `n_iter_no_change` epochs (5 by
        default), the fit goes back to the best point, without its momentum if it has any, and
        where that gains nothing it divides the rate by 5. A callable gets the number of the epoch,
        from 1.
    eta0, power_t : float, default 0.01, 0.25
        For the schedules.
    momentum : float, optional
        Of "momentum" and "nesterov", below 1; other methods refuse it. 0.9 by default, the best
        for the spectrum with ``learning_rate="auto"``.
    alpha, l1_ratio : float, default 0.0
        The penalty, as in scikit-learn's ElasticNet. The intercept carries none. A penalty on
        sizes (`l1_ratio` above 0) is taken by proximal steps, which give exact zeros.
    max_iter : int, default 10_000
        Epochs at most. An epoch is one step and reads X once; with batches, one step a batch, and
        a read of X for the loss.
    tol : float, default 1e-10
        The fit stops once the estimated excess of the loss over its minimum is below `tol` times
        the loss. The error in the coefficients is then about ``sqrt(n_samples * tol)`` of their
        standard errors. 0 asks for `max_iter` epochs, and no warning: only the library's own step
        stops before them, at the limit of rounding.
    n_iter_no_change : int, optional
        Stop when for so many epochs the loss (on the rows held out, if any) has not been better
        than the best by `tol` times itself. With "adaptive", and no rows held out, the rate is
        lowered instead, and the fit stops where it has been lowered to a millionth.
    validation_fraction : float, optional
        Hold out this part of the rows, in blocks of neighbours drawn at random, and return the
        epoch that did best on them.
    batch_size : int, optional
        Rows of a batch; 1024 by default for "sgd". Batches are blocks of neighbouring rows, so
        that memory is read in runs: shuffle the rows first where their order means something.
        Constant steps end somewhere about the minimum; "adaptive" comes closer.
    shuffle : bool, default True
        Take the batches in an order drawn anew each epoch.
    average : bool, default False
        Go on from the mean of the epoch's iterates: less noise from batches.
    random_state : int or numpy.random.Generator, optional
        Fixes what is drawn, and so every bit of the result. By default each fit draws anew.
    reduction : {"mean", "sum"}, default "mean"
        "sum" takes the gradient without the division by the sum of weights, for literal learning
        rates meant so; losses stay means. No effect with ``learning_rate="auto"``.
    coef_init : array_like of the shape of `coef`, optional
        Where to start; 0 by default. Give a former result's for a warm start.
    intercept_init : float or array_like of shape (n_targets,), optional
    strategy : {"auto", "stream", "moments"}, default "auto"
        "stream" reads X once an epoch. "moments" reads it once in all, for its first and second
        moments (see `fastgd.Moments`), and takes every epoch's loss and gradient from those: the
        same descent. "auto" does what costs less; see Notes.
    backend : {"numba", "numpy"}, default "numba"
        Fused compiled kernels, or the plain numpy reference.
    precision : {"auto", "double", "single", "exact"}, default "auto"
        "double" has products and sums in float64, in registers. For float32 data "single" has
        products in float32 and sums in float32 over short runs, then float64: read from memory the
        two take about the same time; "single" is up to twice as fast where X stays in cache.
        Relative to the sum of absolute terms, losses and gradients err by less than 1e-12 and
        1e-6. "exact" collects moments whose products are exact and whose sums have some 30 digits,
        and "cg" solves in the same arithmetic: right to the last digits wherever float64 data
        determine coefficients at all. It takes 2 to 8 times as long as double moments, and
        cannot stream. "auto" is "double"; if the default method then finds the columns so close to
        sums of each other that float64 moments leave too few digits (a variance inflation of 1e4,
        of float32 columns 1e9), it reads the data once more, exactly.
    n_threads : int, optional
        At most so many threads. By default the environment variables FASTGD_NUM_THREADS,
        NUMBA_NUM_THREADS and OMP_NUM_THREADS, then the CPUs that this process may use.
    callback : callable, optional
        Called with an `EpochState` after each epoch; the fit stops where it returns true.
    verbose : int, default 0
        1 prints a line for every epoch: the coefficients after its step, the loss before it.
    progress : bool, optional
        Show a progress bar, of epochs, or of the rows of batches with their rate; needs tqdm. By
        default on what takes over a second, where tqdm is installed and stderr is a terminal.
    checkpoint : str or path, optional
        Keep the moments of what was read in this file, every few seconds until the read is done.
        A fit that was killed, given the same data and file, goes on from there, to the same bits.
        Arrays are then read in batches; what streams every epoch has nothing to keep.

    Returns
    -------
    FitResult

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used, or the data hold NaN or infinity, or numbers so small that
        their squares underflow.
    DivergenceError
        If the loss or a coefficient stops being finite or, but with "adaptive", the loss keeps
        growing. It carries the last finite result and a learning rate that would have worked.
    OverflowError
        If the data are finite but the sums of their products are not.

    Warns
    -----
    ConvergenceWarning
        If `tol` was not met in `max_iter` epochs, or at the lowest rate of "adaptive".
    CollinearityWarning
        If moments show that columns are sums of others, so that many answers predict alike: it
        names them. The answer is the shortest in columns of equal length.
    RuntimeWarning
        If the checkpoint cannot be written; the fit goes on.

    Notes
    -----
    With ``learning_rate="auto"``, one read of X takes the mean m and the deviation d of each
    column, and the descent runs on the coefficients of ``(X - m) / d`` by algebra (X is not
    touched). For all methods but "cg", Lanczos steps, one read of X each and 32 at most, give the
    extreme eigenvalues L and mu of the Hessian there, hence the method's constants; for "gd" the
    step ``2 / (L + mu)``.

    "cg" inverts what it knows of the Hessian: from the moments, all of it, and one step arrives.
    Where moments would cost more, those of two to some thirty random rows a feature serve, and
    usually five to thirty steps arrive, whatever the conditioning; with "auto", the moments of all
    rows after all, once twice as much has been spent or the loss falls no further. Where even a
    sample costs much, plain conjugate gradients go first, until they have taken as long.

    Moments take one read of X and some ``n_features**2`` operations a sample. ``strategy="auto"``
    collects them beforehand where the reads asked for are known to cost more, with a literal
    learning rate from `max_iter`; where it is not known, it streams until as much has been spent
    on reads as moments cost, and then collects them. ``result.strategy`` says what was done.

    Data larger than memory come in batches: X is what `fastgd.scan` returns for files; or a list
    or other iterable of tuples ``(X, y)`` or ``(X, y, weight)`` of anything named above; or a
    function that returns an iterator of them. Moments are then taken in one read, unless
    ``strategy="stream"`` asks for a read an epoch, for which an iterator, read only once, is
    refused. But for lists, the next batch is fetched, in another thread, while the last is worked
    on. A pyarrow Dataset or RecordBatchReader goes with the names of columns for `y` and
    `sample_weight`. Batches are merged by their number in one fixed order.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> x = np.arange(6, dtype=np.float32)
    >>> result = fastgd.fit(x, 2 * x + 1)
    >>> round(result.coef, 4), round(result.intercept, 4), round(result.predict(10), 4)
    (2.0, 1.0, 21.0)
    """
    settings = check_settings(locals())
    with opened(X, y, sample_weight, settings, missing) as source:
        return _fit(source, settings, coef_init, intercept_init)


def _fit(
    problem: Problem | Moments | BlockReads,
    settings: Settings,
    coef_init: ArrayLike | None,
    intercept_init: ArrayLike | None,
) -> FitResult:
    coef, intercept = check_start(problem, settings, coef_init, intercept_init)
    held_out = None
    if settings.validation_fraction is not None and isinstance(problem, Problem):
        problem, held_out = hold_out(problem, settings)
    # What overflows or is not a number is looked for, and never returned.
    with np.errstate(over="ignore", invalid="ignore"), Reader(problem, settings) as read:
        coordinates = choose_coordinates(problem, read, settings)
        objective = Objective(read, coordinates, settings.gradient_reduction, settings.penalty)
        start = objective(coordinates.to_params(coef, intercept))
        check_finite_sums(problem, start.loss, start.gradient)
        read.check_target(start.loss)
        watches = Watches(coordinates, problem, settings, held_out and held_out(coordinates))
        descent, judge = run(read, objective, start, problem, settings, watches)
        if watches.best is not None:
            descent = descent._replace(last=watches.best)
        return conclude(descent, judge, objective, problem, read, settings)
