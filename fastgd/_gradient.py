"""mse_and_gradient(): one fused pass, for use in optimisers other than ours."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd import _check
from fastgd._data.arrays import Floats
from fastgd._data.problem import as_prediction_buffer, as_problem, explain_non_finite
from fastgd._objective import REDUCTIONS, value_from_sums
from fastgd.backends import BACKENDS, PRECISIONS, load_backend


class MSEAndGradient(NamedTuple):
    """What `mse_and_gradient` returns.

    Attributes
    ----------
    mse : float
        Mean squared error.
    gradient : float or ndarray of shape (n_features,), float64
        Its derivative by the coefficients; a float for 1-D X.
    intercept_gradient : float
        Its derivative by the intercept.
    """

    mse: float
    gradient: float | NDArray[np.float64]
    intercept_gradient: float


def mse_and_gradient(
    X: ArrayLike,
    y: ArrayLike,
    coef: ArrayLike,
    intercept: float = 0.0,
    *,
    prediction: Floats | None = None,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
    backend: str = "numba",
    precision: str = "double",
    n_threads: int | None = None,
) -> MSEAndGradient:
    """Mean squared error of ``X @ coef + intercept`` and its gradient, from one read of X.

    Parameters
    ----------
    X : array_like of shape (n_samples,) or (n_samples, n_features)
        float32 and float64 are used where they lie; see `fastgd.fit`.
    y : array_like of shape (n_samples,)
    coef : float or array_like of shape (n_features,)
        A scalar if X is 1-D.
    intercept : float, default 0.0
    prediction : ndarray of shape (n_samples,), optional
        A contiguous buffer of X's dtype, filled with the predictions in the same pass.
    sample_weight : array_like of shape (n_samples,), optional
        Not negative, with a positive sum.
    reduction : {"mean", "sum"}, default "mean"
        "sum" leaves out the division by the sum of weights in the gradients (not in the mse).
    backend : {"numba", "numpy"}, default "numba"
    precision : {"double", "single"}, default "double"
        As in `fastgd.fit`.
    n_threads : int, optional
        As in `fastgd.fit`.

    Returns
    -------
    MSEAndGradient
        A named tuple ``(mse, gradient, intercept_gradient)`` of float64 values:
        ``mse = sum(s * r**2) / sum(s)`` with ``r = X @ coef + intercept - y``, and
        ``gradient = 2 / sum(s) * X.T @ (s * r)``: the mean is not halved.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used, or X or y hold NaN or infinity.
    OverflowError
        If the data are finite but the sums of their products are not.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> X = np.array([[1, 0], [1, 1], [1, 2]], dtype=np.float32)
    >>> y = np.array([1, 3, 5], dtype=np.float32)
    >>> mse, gradient, _ = fastgd.mse_and_gradient(X, y, [0.0, 0.0])
    >>> round(mse, 4), gradient.round(4).tolist()
    (11.6667, [-6.0, -8.6667])

    In an optimiser of your own choice (here SciPy's):

    >>> from scipy.optimize import minimize
    >>> found = minimize(lambda w: fastgd.mse_and_gradient(X, y, w)[:2], np.zeros(2), jac=True)
    >>> found.x.round(3).tolist()
    [1.0, 2.0]
    """
    _check.choice("reduction", reduction, REDUCTIONS)
    _check.choice("backend", backend, BACKENDS)
    _check.choice("precision", precision, PRECISIONS)
    threads = _check.n_threads(n_threads)
    problem = as_problem(X, y, sample_weight)
    w = _check.coefficients("coef", coef, problem.n_features, scalar=problem.one_dimensional)
    b = _check.scalar("intercept", intercept)
    buffer = (
        None
        if prediction is None
        else as_prediction_buffer(prediction, problem, X, y, sample_weight)
    )

    # What overflows or is not a number is looked for, and never returned.
    with (
        np.errstate(over="ignore", invalid="ignore"),
        load_backend(backend).open_pass(problem, threads, buffer, precision) as read,
    ):
        value = value_from_sums(read(w, b), reduction)
    if not value.is_finite:
        explain_non_finite(problem, may_drop=False)
        raise OverflowError(
            f"the squared errors of these coefficients exceed the range of {problem.X.dtype}"
        )
    gradient = float(value.gradient[0]) if problem.one_dimensional else value.gradient
    return MSEAndGradient(value.mse, gradient, float(value.intercept_gradient))
