"""How close is close: one table of tolerances and the helpers that use it."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

import fastgd

# Relative to the sum of absolute terms, by the precision of products.
TOLERANCE = {"single": 1e-6, "double": 1e-12}
EPSILON = {"single": 2.0**-23, "double": 2.0**-52}


class Kind(NamedTuple):
    """A dtype of X and the precision to compute in."""

    dtype: str
    precision: str

    @property
    def tolerance(self) -> float:
        return TOLERANCE[self.precision]

    @property
    def epsilon(self) -> float:
        return EPSILON[self.precision]


KINDS = (Kind("f4", "single"), Kind("f4", "double"), Kind("f8", "double"))


def assert_close(actual, expected, terms, tolerance, what="") -> None:
    """|actual - expected| <= tolerance * terms, entry by entry."""
    actual = np.asarray(actual, np.longdouble)
    assert actual.shape == np.shape(expected), what
    error, allowed = abs(actual - expected), tolerance * np.asarray(terms)
    if not (error <= allowed).all():
        worst = np.argmax(error - allowed)
        off, bound = (
            float(np.ravel(error)[worst]),
            float(np.broadcast_to(allowed, error.shape).flat[worst]),
        )
        raise AssertionError(f"{what}[{worst}] is off by {off:.3g}, which is more than {bound:.3g}")


def assert_evaluation(value, expected, tolerance) -> None:
    """The three values of `mse_and_gradient` against the oracle's."""
    assert_close(value.mse, expected.mse, expected.mse_terms, tolerance, "mse")
    assert_close(value.gradient, expected.gradient, expected.gradient_terms, tolerance, "gradient")
    assert_close(
        value.intercept_gradient,
        expected.intercept_gradient,
        expected.intercept_terms,
        tolerance,
        "intercept gradient",
    )


def assert_prediction(prediction, expected, tolerance) -> None:
    """A buffer of predictions, which is as exact as its dtype, against the oracle's."""
    tolerance = max(tolerance, 4 * float(np.finfo(prediction.dtype).eps))
    assert_close(
        prediction, expected.prediction, expected.prediction_terms, tolerance, "prediction"
    )


def fit_anyway(*args, **kwargs) -> fastgd.FitResult:
    """fit(), where stopping early is what is asked for and no cause for a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastgd.ConvergenceWarning)
        return fastgd.fit(*args, **kwargs)
