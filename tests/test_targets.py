"""Several targets at once: each as it would be alone."""

import numpy as np
import pytest
from compare import fit_anyway
from problems import bowl

import fastgd
from fastgd import Moments, fit


def data(dtype="f8", order="C"):
    X, y = bowl(10.0, n=700)
    Y = np.stack([y, X[:, 0] - y, np.random.default_rng(1).standard_normal(len(y))], axis=1)
    return np.asarray(X, dtype, order), np.asarray(Y, dtype, order)


def alone(X, Y, **options):
    """Coefficients and intercepts of a fit for each target, side by side."""
    results = [fit_anyway(X, np.ascontiguousarray(y), **options) for y in Y.T]
    coef = np.stack([result.coef for result in results], axis=-1)
    return coef, np.array([result.intercept for result in results]), results


@pytest.mark.parametrize("method", ["gd", "momentum", "nesterov", "adam"])
def test_a_literal_descent_is_that_of_each(method, backend, strategy, kind):
    X, Y = data(kind.dtype)
    options = {"method": method, "learning_rate": 0.05, "max_iter": 15, "tol": 0}
    options |= {"backend": backend, "strategy": strategy, "precision": kind.precision}
    together = fit_anyway(X, Y, **options)
    coef, intercept, results = alone(X, Y, **options)
    tolerance = 1e-4 if kind.precision == "single" else 1e-10
    assert together.coef.shape == (6, 3)
    assert together.intercept.shape == (3,)
    assert together.coef == pytest.approx(coef, rel=tolerance, abs=tolerance)
    assert together.intercept == pytest.approx(intercept, rel=tolerance, abs=tolerance)
    losses = sum(result.loss_history for result in results)
    assert together.loss_history == pytest.approx(losses, rel=tolerance)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_default_finds_each_minimum(backend, strategy, order, fit_intercept):
    X, Y = data("f4", order)
    weight = np.random.default_rng(2).uniform(0.5, 1.5, len(Y)).astype("f4")
    options = {"sample_weight": weight, "fit_intercept": fit_intercept, "tol": 1e-14}
    options |= {"backend": backend, "strategy": strategy}
    together = fit(X, Y, **options)
    coef, intercept, _ = alone(X, Y, **options)
    assert together.converged
    assert together.coef == pytest.approx(coef, abs=1e-6)
    assert together.intercept == pytest.approx(intercept, abs=1e-6)
    assert together.predict(X) == pytest.approx(X @ coef + intercept, abs=1e-4)


def test_of_one_feature_have_no_axis_of_features(backend, strategy):
    X, Y = data()
    options = {"backend": backend, "strategy": strategy, "tol": 1e-14}
    together = fit(X[:, 0], Y, **options)
    coef, intercept, _ = alone(X[:, 0], Y, **options)
    assert together.coef.shape == together.intercept.shape == (3,)
    assert together.coef == pytest.approx(coef, abs=1e-7)
    assert together.predict(2.0) == pytest.approx(2.0 * coef + intercept, abs=1e-6)
    assert together.predict([2.0, 3.0]).shape == (2, 3)


def test_of_one_column_keep_their_axis():
    X, Y = data()
    result = fit(X, Y[:, :1])
    assert result.coef.shape == (6, 1)
    assert result.predict(X).shape == (len(X), 1)


def test_with_a_penalty():
    X, Y = data()
    for l1_ratio in (0.0, 0.7):
        options = {"alpha": 0.1, "l1_ratio": l1_ratio, "tol": 1e-13}
        coef, _, _ = alone(X, Y, **options)
        together = fit(X, Y, **options)
        assert together.coef == pytest.approx(coef, abs=1e-5)
        assert ((together.coef == 0) == (coef == 0)).all()


def test_from_moments():
    X, Y = data()
    from_moments, from_arrays = fit(Moments.of(X, Y)), fit(X, Y)
    assert from_moments.coef == pytest.approx(from_arrays.coef, rel=1e-9)


def test_have_the_same_bits_for_any_number_of_threads():
    X, Y = bowl(10.0, n=60_000, d=40)[0].astype("f4"), None
    Y = np.stack([X[:, 0], X.sum(axis=1)], axis=1) + 0.5
    options = {"strategy": "stream", "learning_rate": 0.01, "max_iter": 3, "tol": 0}
    found = {fit_anyway(X, Y, n_threads=n, **options).coef.tobytes() for n in (1, 2, 3)}
    assert len(found) == 1


def test_start_where_they_are_told():
    X, Y = data()
    found = fit(X, Y)
    again = fit(X, Y, coef_init=found.coef, intercept_init=found.intercept)
    assert again.n_iter <= 1
    with pytest.raises(ValueError, match=r"coef_init must be an array of shape \(6, 3\)"):
        fit(X, Y, coef_init=np.zeros(6))
    with pytest.raises(ValueError, match="intercept_init"):
        fit(X, Y, intercept_init=1.0)


def test_are_refused_where_there_is_room_for_one():
    X, Y = data()
    with pytest.raises(ValueError, match="y must be 1-D"):
        fastgd.mse_and_gradient(X, Y, np.zeros(6))
    with pytest.raises(ValueError, match="one target"):
        fit(X, Y, strategy="moments").summary()
    for read in (fastgd.plan, lambda X, y: fit(X, y, strategy="moments").summary()):
        with pytest.raises(ValueError, match=r"of shape \(n_samples, 1\): give y\.ravel\(\)"):
            read(X, Y[:, :1])
    with pytest.raises(ValueError, match=r"of shape \(n_samples, 1\): give y\.ravel\(\)"):
        fastgd.cross_validate([Moments.of(X, Y[:, :1])] * 2)
    with pytest.raises(ValueError, match=r"got shape \(700, 1\): give y\.ravel\(\), or of a table"):
        fastgd.mse_and_gradient(X, Y[:, :1], np.zeros(6))
