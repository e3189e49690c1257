"""Real data: the default fit of badly scaled columns against float64 least squares."""

import numpy as np
import pytest

from fastgd import fit, mse_and_gradient
from fastgd.commands import CommandError
from fastgd.commands.flights import N_FLIGHTS, load_flights


@pytest.fixture(scope="module")
def flights():
    try:
        return load_flights()
    except CommandError as error:
        pytest.skip(f"flights: {error}")


@pytest.fixture(scope="module")
def best(flights):
    """Coefficients of dep_delay, distance and air_time, then the intercept."""
    X, y = flights
    return np.linalg.lstsq(np.column_stack([X, np.ones(len(X))]), y, rcond=None)[0]


def test_are_all_there(flights):
    X, y = flights
    assert X.shape == (N_FLIGHTS, 3) == (327_346, 3)
    assert y.shape == (N_FLIGHTS,)
    assert np.isfinite(X).all()
    # From the tables of the package: a flight of 1400 miles takes 227 minutes.
    assert X[0].tolist() == [2.0, 1400.0, 227.0]
    assert y[0] == 11.0


@pytest.mark.parametrize("order", ["C", "F"])
def test_default_fit_is_the_least_squares(backend, flights, best, order):
    X, y = flights
    result = fit(np.array(X, order=order), y, backend=backend)
    assert result.converged
    assert result.coef == pytest.approx(best[:3], rel=1e-4)
    assert result.intercept == pytest.approx(best[3], rel=1e-4)
    residuals = X @ best[:3] + best[3] - y
    assert result.loss == pytest.approx(np.mean(residuals**2), rel=1e-9)


def test_default_fit_in_float32(backend, flights, best):
    X, y = flights
    result = fit(X.astype("f4"), y.astype("f4"), backend=backend)
    assert result.converged
    assert result.coef == pytest.approx(best[:3], rel=1e-4)
    assert result.intercept == pytest.approx(best[3], rel=1e-4)


def test_gradient_vanishes_at_the_least_squares(backend, flights, best):
    X, y = flights
    value = mse_and_gradient(X, y, best[:3], best[3], backend=backend)
    size = np.abs(X).mean(axis=0) * np.abs(y).mean()
    assert (np.abs(value.gradient) <= 1e-9 * size).all()
    assert abs(value.intercept_gradient) <= 1e-9 * np.abs(y).mean()
