"""Penalties: against scikit-learn's models, optimality conditions, exact zeros."""

import numpy as np
import pytest
from compare import fit_anyway
from problems import bowl, fewer_rows_than_columns
from scipy.optimize import minimize

from fastgd import fit
from fastgd._penalty import duality_gap, least_subgradient, proximal_step

TIGHT = {"tol": 1e-16}
PENALTIES = [(0.1, 0.0), (1.0, 0.0), (0.02, 1.0), (0.3, 1.0), (0.05, 0.5), (0.2, 0.1)]


def objective(X, y, coef, intercept, alpha, l1_ratio):
    r = X @ coef + intercept - y
    sizes = 2 * alpha * l1_ratio * np.abs(coef).sum()
    return np.mean(r**2) + alpha * (1 - l1_ratio) * (coef**2).sum() + sizes


def scikit_learn(X, y, alpha, l1_ratio, fit_intercept, weight=None):
    linear_model = pytest.importorskip("sklearn.linear_model")
    if l1_ratio == 0.0:
        total = len(y) if weight is None else weight.sum()
        model = linear_model.Ridge(alpha=alpha * total, fit_intercept=fit_intercept)
    else:
        options = {"tol": 1e-15, "max_iter": 200_000, "fit_intercept": fit_intercept}
        model = linear_model.ElasticNet(alpha=alpha, l1_ratio=l1_ratio, **options)
    return model.fit(X, y, sample_weight=weight)


@pytest.mark.parametrize(("alpha", "l1_ratio"), PENALTIES)
@pytest.mark.parametrize("fit_intercept", [True, False])
class TestAgainstScikitLearn:
    def test_the_default_method(self, backend, strategy, alpha, l1_ratio, fit_intercept):
        X, y = bowl(100.0)
        options = {"alpha": alpha, "l1_ratio": l1_ratio, "fit_intercept": fit_intercept}
        result = fit(X, y, strategy=strategy, backend=backend, **options, **TIGHT)
        model = scikit_learn(X, y, alpha, l1_ratio, fit_intercept)
        assert result.converged
        assert result.coef == pytest.approx(model.coef_, abs=1e-6)
        assert result.intercept == pytest.approx(model.intercept_, abs=1e-6)
        assert ((result.coef == 0) == (model.coef_ == 0)).all()
        assert result.loss == pytest.approx(
            objective(X, y, result.coef, result.intercept, alpha, l1_ratio), rel=1e-10
        )

    def test_with_weights(self, alpha, l1_ratio, fit_intercept):
        X, y = bowl(100.0)
        weight = np.random.default_rng(3).uniform(0.5, 2.0, len(y))
        options = {"alpha": alpha, "l1_ratio": l1_ratio, "fit_intercept": fit_intercept}
        result = fit(X, y, sample_weight=weight, **options, **TIGHT)
        model = scikit_learn(X, y, alpha, l1_ratio, fit_intercept, weight)
        assert result.coef == pytest.approx(model.coef_, abs=1e-6)


@pytest.mark.parametrize("method", ["gd", "momentum", "nesterov"])
@pytest.mark.parametrize("learning_rate", ["auto", 0.2])
@pytest.mark.parametrize(("alpha", "l1_ratio"), [(0.3, 0.0), (0.3, 0.7)])
def test_every_method_comes_to_one_answer(method, learning_rate, alpha, l1_ratio, strategy):
    X, y = bowl(10.0)
    found = fit(X, y, alpha=alpha, l1_ratio=l1_ratio, **TIGHT)
    rate = 0.05 if learning_rate == 0.2 and method != "gd" else learning_rate
    result = fit_anyway(
        X,
        y,
        method=method,
        learning_rate=rate,
        alpha=alpha,
        l1_ratio=l1_ratio,
        strategy=strategy,
        max_iter=3000,
        **TIGHT,
    )
    assert result.coef == pytest.approx(found.coef, abs=1e-6)
    assert ((result.coef == 0) == (found.coef == 0)).all()


def test_the_sum_takes_the_penalty_along():
    X, y = bowl(10.0)
    options = {"alpha": 0.3, "l1_ratio": 0.5, "max_iter": 20, "tol": 0, "method": "gd"}
    mean = fit_anyway(X, y, learning_rate=0.1, **options)
    total = fit_anyway(X, y, learning_rate=0.1 / len(y), reduction="sum", **options)
    assert total.coef == pytest.approx(mean.coef, rel=1e-12)
    assert total.loss_history == pytest.approx(mean.loss_history, rel=1e-12)


def test_replayed_and_looped_penalties_agree():
    X, y = bowl(10.0)
    options = {"alpha": 0.3, "learning_rate": 0.05, "max_iter": 30, "tol": 0}
    options["strategy"] = "moments"
    replayed = fit_anyway(X, y, **options)
    looped = fit_anyway(X, y, callback=lambda state: False, **options)
    assert replayed.loss_history == pytest.approx(looped.loss_history, rel=1e-12)
    assert replayed.coef == pytest.approx(looped.coef, rel=1e-12)


def test_a_lasso_of_fewer_rows_than_columns_is_certified():
    X, y = fewer_rows_than_columns()
    result = fit(X, y, alpha=0.05, l1_ratio=1.0)
    model = scikit_learn(X, y, 0.05, 1.0, True)
    assert result.converged
    at_model = objective(X, y, model.coef_, model.intercept_, 0.05, 1.0)
    assert result.loss <= at_model * (1 + 1e-9)
    assert (result.coef == 0).sum() >= 12  # no more than n_samples are needed


def test_zeros_are_exact_wherever_the_fit_ends():
    # Nesterov's iterates lie beyond those of the proximal steps, and are not zero where those are.
    X, y = bowl(100.0)
    result = fit_anyway(X, y, alpha=0.3, l1_ratio=1.0, max_iter=2)
    assert result.method == "nesterov"
    assert (result.coef == 0).any()


def test_so_strong_a_penalty_leaves_the_mean():
    X, y = bowl(10.0)
    result = fit(X, y, alpha=100.0, l1_ratio=1.0)
    assert not result.coef.any()
    assert result.intercept == pytest.approx(y.mean(), rel=1e-5)
    assert result.converged


class TestPieces:
    def test_the_proximal_step_minimises_what_it_should(self):
        slopes, rate = np.array([1.0, 2.0, 0.0]), 0.3
        shrink = proximal_step(slopes)
        for point in ([0.2, -3.0, 1.0], [-0.5, 0.5, -2.0]):
            found = shrink(np.array(point), rate)
            assert found.tolist() == pytest.approx(
                [
                    minimize(
                        lambda z, p=p, s=s: (z[0] - p) ** 2 / (2 * rate) + s * abs(z[0]),
                        [p],
                        method="Nelder-Mead",
                        options={"xatol": 1e-9, "fatol": 1e-14},
                    ).x[0]
                    for p, s in zip(point, slopes, strict=True)
                ],
                abs=1e-6,
            )

    def test_the_least_subgradient(self):
        slopes = np.array([1.0, 1.0, 1.0, 1.0])
        params = np.array([0.0, 0.0, 2.0, -2.0])
        found = least_subgradient(np.array([0.5, -3.0, 0.5, 0.5]), params, slopes)
        assert found.tolist() == [0.0, -2.0, 1.5, -0.5]

    def test_the_gap_bounds_the_excess_and_closes(self):
        X, y = fewer_rows_than_columns()
        X, y = X - X.mean(axis=0), y - y.mean()
        slopes = np.full(X.shape[1], 0.2)

        def value(w):
            return np.mean((X @ w - y) ** 2), 2 * X.T @ (X @ w - y) / len(y)

        best = fit(X, y, alpha=0.1, l1_ratio=1.0, fit_intercept=False, tol=1e-13)
        rng = np.random.default_rng(0)
        for size in (0.0, 1e-3, 0.1, 1.0):
            w = best.coef + size * rng.standard_normal(len(best.coef))
            smooth, gradient = value(w)
            gap = duality_gap(smooth, gradient, w, slopes)
            excess = smooth + slopes @ np.abs(w) - best.loss
            assert excess <= gap + 1e-12
            if size == 0.0:
                assert gap < 1e-9


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"alpha": -1}, ValueError, "alpha"),
        ({"alpha": "1"}, TypeError, "alpha"),
        ({"alpha": np.inf}, ValueError, "alpha"),
        ({"alpha": 1, "l1_ratio": 1.5}, ValueError, "l1_ratio"),
        ({"alpha": 1, "l1_ratio": -0.5}, ValueError, "l1_ratio"),
        ({"alpha": 1, "l1_ratio": 0.5, "method": "cg"}, ValueError, "'nesterov'"),
    ],
)
def test_what_cannot_be_used(options, error, text):
    with pytest.raises(error, match=text):
        fit([1.0, 2.0], [1.0, 2.0], **options)
