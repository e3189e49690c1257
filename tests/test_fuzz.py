"""Calls drawn at random: only what is documented is raised, and what is returned is right.

``FASTGD_FUZZ=10000`` makes 10,000 calls, half of either kind; the default run makes as many as
take some seconds.
"""

import os
import re
import warnings

import numpy as np
from compare import TOLERANCE, assert_close, assert_evaluation
from hypothesis import HealthCheck, given, settings
from naive import evaluate, least_squares
from random_calls import OPTIONS, calls

import fastgd

BUDGET = int(os.environ.get("FASTGD_FUZZ", "200")) // 2
fuzz = settings(
    max_examples=BUDGET,
    derandomize="FASTGD_FUZZ" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
FUNCTIONS = {
    "fit": fastgd.fit,
    "mse_and_gradient": fastgd.mse_and_gradient,
    "Moments.of": fastgd.Moments.of,
    "cross_validate": fastgd.cross_validate,
    "plan": fastgd.plan,
}
DOCUMENTED = (TypeError, ValueError, OverflowError, fastgd.DivergenceError)
# One of these is in every message: what is wrong with the call.
ARGUMENTS = {*OPTIONS, "X", "y", "sample_weight", "coef", "intercept", "backend", "cv", "data"}
ARGUMENTS |= {"coefficients", "rows", "fold", "diverged", "diverges"}


def answer(call):
    """What the call returns, or the error that it raises if that is a documented one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastgd.ConvergenceWarning)
        warnings.simplefilter("ignore", fastgd.CollinearityWarning)
        try:
            return FUNCTIONS[call.function](call.X, call.y, **call.options)
        except DOCUMENTED as error:
            return error


def check_error(error):
    words = set(re.findall(r"\w+", str(error)))
    assert words & ARGUMENTS, error
    assert "\n" not in str(error)


def snapshot(call):
    return [
        value.tobytes() if isinstance(value, np.ndarray) and value.dtype != object else repr(value)
        for value in call.arrays
    ]


def is_finite(values):
    return bool(np.isfinite(np.asarray(values, float)).all())


@fuzz
@given(call=calls())
def test_any_call(call):
    before = snapshot(call)
    found = answer(call)
    assert snapshot(call) == before
    check(call, found)


@fuzz
@given(call=calls(odd=0.01))
def test_calls_with_little_wrong_about_them(call):
    before = snapshot(call)
    found = answer(call)
    assert snapshot(call) == before
    check(call, found)


def check(call, found):
    """That an error tells what is wrong, or a result is finite and agrees with the oracle."""
    if isinstance(found, DOCUMENTED):
        check_error(found)
        return
    {
        "fit": check_fit,
        "mse_and_gradient": check_gradient,
        "Moments.of": check_moments,
        "cross_validate": check_folds,
        "plan": lambda call, plan: None,
    }[call.function](call, found)


def numbers(value):
    """As the library reads them: float16 is float32, all but float32 is float64."""
    array = np.asarray(value)
    return array.astype("f4" if array.dtype.kind == "f" and array.dtype.itemsize <= 4 else "f8")


def data(call):
    X, y = numbers(call.X), numbers(call.y)
    weight = call.options.get("sample_weight")
    if weight is not None:
        weight = np.asarray(weight).astype(X.dtype)
    keep = np.ones(len(X), bool)
    if call.options.get("missing") == "drop":
        for part in (X, y) if weight is None else (X, y, weight):
            keep &= ~np.isnan(part.reshape(len(part), -1)).any(axis=1)
    return X[keep], y[keep], None if weight is None else weight[keep]


def tolerance(call):
    single = call.options.get("precision") == "single" and numbers(call.X).dtype == "f4"
    return TOLERANCE["single" if single else "double"]


def check_gradient(call, found):
    assert is_finite([found.mse, found.intercept_gradient, *np.atleast_1d(found.gradient)])
    if call.is_tame:
        X, y, weight = data(call)
        coef, intercept = call.options["coef"], call.options["intercept"]
        reduction = call.options.get("reduction", "mean")
        expected = evaluate(X, y, coef, intercept, weight, reduction)
        assert_evaluation(found, expected, tolerance(call))


def check_moments(call, found):
    assert is_finite(found.mean)
    assert is_finite(found.scatter)
    assert (np.diagonal(found.scatter) >= 0).all()
    if call.is_tame:
        X, y, weight = data(call)
        rows = np.column_stack([X, y]).astype(np.longdouble)
        s = np.ones(len(rows)) if weight is None else weight.astype(np.longdouble)
        mean = s @ rows / s.sum()
        size = s @ rows**2
        scatter = (s[:, None] * (rows - mean)).T @ (rows - mean)
        bound = np.sqrt(np.outer(size, size))
        assert_close(found.scatter, scatter, bound, 10 * tolerance(call), "scatter")


def check_fit(call, found):
    assert is_finite(found.coef)
    assert is_finite(found.intercept)
    assert is_finite([found.loss, *found.loss_history])
    names = ("alpha", "validation_fraction")
    if not call.is_tame or any(call.options.get(name) for name in names):
        return
    X, y, weight = data(call)
    if y.ndim != 1:
        return
    at = evaluate(X, y, found.coef, found.intercept, weight)
    terms = at.mse_terms + (y.astype(float) ** 2).mean()
    assert_close(found.loss, at.mse, terms, 100 * tolerance(call), "loss")
    if found.converged and call.options.get("tol", 1e-10) <= 1e-10:
        best = least_squares(X, y, weight, call.options.get("fit_intercept", True))
        least = float(evaluate(X, y, *best, weight).mse)
        assert found.loss <= least * (1 + 1e-6) + 1e4 * tolerance(call) * float(terms)


def check_folds(call, found):
    assert is_finite(found.coef)
    assert not np.isnan(found.mse).any()
    assert (found.mse >= 0).all()
