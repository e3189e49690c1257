"""Callbacks, early stopping, rows held out, progress, schedules and batches."""

import sys
import types

import numpy as np
import pytest
from compare import fit_anyway
from problems import bowl

from fastgd import Moments, StopReason, fit
from fastgd._schedule import Schedule


class TestCallback:
    def test_sees_every_epoch(self, backend, strategy):
        X, y = bowl(10.0)
        seen = []
        options = {"learning_rate": 0.1, "max_iter": 7, "tol": 0, "strategy": strategy}
        result = fit_anyway(X, y, callback=seen.append, backend=backend, **options)
        assert [state.epoch for state in seen] == list(range(1, 8))
        assert [state.loss for state in seen] == result.loss_history[1:].tolist()
        assert np.array_equal(seen[-1].coef, result.coef)
        assert seen[-1].intercept == result.intercept
        assert seen[-1].validation_loss is None

    @pytest.mark.parametrize("method", ["gd", "cg", "adam"])
    def test_may_stop_the_fit(self, method):
        X, y = bowl(1e4)
        last = 1 if method == "cg" else 3
        result = fit(X, y, method=method, callback=lambda state: state.epoch == last)
        assert result.n_iter == last
        assert result.stop_reason is StopReason.CALLBACK
        assert not result.converged

    def test_gets_a_scalar_for_one_feature(self):
        seen = []
        fit([1.0, 2.0, 4.0], [1.0, 2.0, 3.0], callback=seen.append)
        assert isinstance(seen[-1].coef, float)

    def test_must_be_callable(self):
        with pytest.raises(TypeError, match="callback must be callable"):
            fit([1.0, 2.0], [1.0, 2.0], callback=3)


class TestEarlyStopping:
    def test_when_the_loss_no_longer_improves(self):
        X, y = bowl(10.0)
        options = {"learning_rate": 0.1, "tol": 1e-3, "n_iter_no_change": 4}
        result = fit_anyway(X, y, method="gd", **options)
        losses = result.loss_history
        assert result.stop_reason in (StopReason.NO_CHANGE, StopReason.CONVERGED)
        result = fit(X, y, method="sgd", batch_size=10, random_state=0, **options)
        assert result.stop_reason is StopReason.NO_CHANGE
        losses = result.loss_history
        assert losses[-5:].min() >= losses[:-4].min() * (1 - 1e-3)

    def test_by_rows_held_out_keeps_the_best(self, backend):
        rng = np.random.default_rng(0)
        X = rng.standard_normal((60, 40))
        y = X[:, 0] + rng.standard_normal(60)
        seen = []
        result = fit(
            X,
            y,
            learning_rate=0.01,
            validation_fraction=0.3,
            n_iter_no_change=20,
            random_state=2,
            callback=seen.append,
            backend=backend,
        )
        losses = [state.validation_loss for state in seen]
        best = int(np.argmin(losses))
        assert 0 < best < len(losses) - 1
        assert np.array_equal(result.coef, seen[best].coef)
        assert result.stop_reason is StopReason.NO_CHANGE

    def test_the_held_out_loss_is_that_of_the_other_rows(self):
        X, y = bowl(10.0, n=50)
        seen = []
        fit_anyway(X, y, learning_rate=0.05, max_iter=1, validation_fraction=0.2, random_state=1,
                   callback=seen.append)  # fmt: skip
        held = np.random.default_rng(1).permutation(50)[:10]
        residual = X[held] @ seen[0].coef + seen[0].intercept - y[held]
        assert seen[0].validation_loss == pytest.approx(np.mean(residual**2), rel=1e-12)
        rest = np.delete(np.arange(50), held)
        alone = fit_anyway(X[rest], y[rest], learning_rate=0.05, max_iter=1)
        assert seen[0].coef == pytest.approx(alone.coef, rel=1e-12)

    def test_of_arrays_alone(self):
        with pytest.raises(ValueError, match="validation_fraction needs arrays"):
            fit(Moments.of([1.0, 2.0], [1.0, 2.0]), validation_fraction=0.5)
        with pytest.raises(ValueError, match="validation_fraction must be at least 0"):
            fit([1.0, 2.0], [1.0, 2.0], validation_fraction=1.0)


class TestSchedule:
    def test_of_a_function_of_the_epoch(self, strategy):
        X, y = bowl(10.0)
        options = {"max_iter": 3, "tol": 0, "strategy": strategy}
        result = fit_anyway(X, y, learning_rate=lambda epoch: 0.3 / epoch, **options)
        by_hand = None
        for epoch in (1, 2, 3):
            start = {} if by_hand is None else {
                "coef_init": by_hand.coef, "intercept_init": by_hand.intercept
            }  # fmt: skip
            by_hand = fit_anyway(X, y, learning_rate=0.3 / epoch, max_iter=1, tol=0, **start)
        assert result.coef == pytest.approx(by_hand.coef, rel=1e-12)
        assert result.learning_rate == 0.3

    def test_that_scales_inversely(self):
        schedule = Schedule("invscaling", 0.5, 0.25)
        assert [schedule.next() for _ in range(3)] == [0.5, 0.5 / 2**0.25, 0.5 / 3**0.25]

    def test_that_adapts(self):
        schedule = Schedule("adaptive", 1.0, 0.25)
        rates = [(schedule.next(), schedule.slow_down()) for _ in range(11)]
        assert [rate for rate, _ in rates] == pytest.approx(
            [*(5.0**-k for k in range(9)), 1e-6, 1e-6]
        )
        assert [lower for _, lower in rates] == [True] * 9 + [False] * 2

    @pytest.mark.parametrize("name", ["constant", "invscaling", "adaptive"])
    def test_by_name(self, name):
        X, y = bowl(10.0)
        result = fit_anyway(X, y, learning_rate=name, eta0=0.2, max_iter=300)
        assert result.method == "gd"
        assert result.learning_rate == 0.2
        assert result.loss < result.loss_history[0] / 100

    @pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan, np.inf])
    def test_that_returns_no_rate(self, wrong):
        with pytest.raises(ValueError, match="learning_rate must return"):
            fit([1.0, 2.0], [1.0, 2.0], learning_rate=lambda epoch: wrong)


class TestBatches:
    @pytest.mark.parametrize("average", [False, True])
    def test_have_the_same_bits_for_a_seed(self, backend, average):
        X, y = bowl(10.0)
        options = {"batch_size": 16, "learning_rate": 0.05, "max_iter": 5, "average": average}
        runs = [
            fit_anyway(X, y, random_state=seed, backend=backend, **options) for seed in (4, 4, 5)
        ]
        assert runs[0].method == "sgd"
        assert runs[0].coef.tobytes() == runs[1].coef.tobytes()
        assert runs[0].coef.tobytes() != runs[2].coef.tobytes()

    def test_in_order_are_steps_on_slices(self):
        X, y = bowl(10.0)
        options = {"learning_rate": 0.05, "max_iter": 1, "tol": 0}
        result = fit_anyway(X, y, batch_size=50, shuffle=False, **options)
        coef, intercept = np.zeros(6), 0.0
        for first in (0, 50, 100):
            rows = slice(first, first + 50)
            step = fit_anyway(X[rows], y[rows], coef_init=coef, intercept_init=intercept, **options)
            coef, intercept = step.coef, step.intercept
        assert result.coef == pytest.approx(coef, rel=1e-12)
        assert result.intercept == pytest.approx(intercept, rel=1e-12)

    def test_of_all_rows_are_plain_descent(self):
        X, y = bowl(10.0)
        options = {"learning_rate": 0.1, "max_iter": 5, "tol": 0}
        batches = fit_anyway(X, y, batch_size=len(y), **options)
        plain = fit_anyway(X, y, **options)
        assert batches.loss_history == pytest.approx(plain.loss_history, rel=1e-12)

    def test_averages_come_closer(self):
        X, y = bowl(10.0, n=2000)
        y = y + np.random.default_rng(0).standard_normal(len(y))
        exact = fit(X, y)
        options = {"batch_size": 20, "learning_rate": 0.05, "max_iter": 15, "random_state": 0}
        excess = [
            fit_anyway(X, y, average=average, **options).loss - exact.loss
            for average in (False, True)
        ]
        assert 0 <= excess[1] < excess[0] / 3

    def test_without_weight_are_passed_over(self):
        X, y = bowl(10.0)
        weight = np.r_[np.zeros(60), np.ones(60)]
        options = {"batch_size": 20, "learning_rate": 0.05, "max_iter": 100}
        result = fit_anyway(X, y, sample_weight=weight, **options)
        assert np.isfinite(result.coef).all()

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"batch_size": 0}, "batch_size"),
            ({"batch_size": 8, "method": "cg"}, "cannot take batch_size"),
            ({"batch_size": 8, "strategy": "moments"}, "strategy"),
            ({"average": True}, "average=True needs batch_size"),
            ({"method": "sgd", "strategy": "moments"}, "strategy"),
            ({"method": "cg", "learning_rate": 0.1}, "learning_rate"),
            ({"learning_rate": "faster"}, "learning_rate"),
            ({"momentum": 1.0}, "momentum"),
            ({"method": "newton"}, "'gd', 'momentum'"),
            ({"n_iter_no_change": 0}, "n_iter_no_change"),
            ({"eta0": 0.0}, "eta0"),
        ],
    )
    def test_what_cannot_be_used(self, options, text):
        with pytest.raises((TypeError, ValueError), match=text):
            fit([1.0, 2.0], [1.0, 2.0], **options)


class TestProgress:
    def test_is_shown_when_asked_for(self, monkeypatch):
        shown = []

        class Bar:
            def __init__(self, **options):
                shown.append(options["total"])

            def set_postfix(self, **values):
                shown.append(values["loss"])

            def update(self, n):
                shown.append(n)

            def close(self):
                shown.append("closed")

        monkeypatch.setitem(sys.modules, "tqdm", types.SimpleNamespace(tqdm=Bar))
        fit_anyway([1.0, 2.0, 4.0], [1.0, 2.0, 3.0], method="adam", max_iter=2, progress=True)
        assert shown[0] == 2
        assert shown.count(1) == 2
        assert shown[-1] == "closed"

    def test_says_how_to_get_it(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "tqdm", None)
        with pytest.raises(ImportError, match=r"pip install 'fastgd\[progress\]'"):
            fit([1.0, 2.0], [1.0, 3.0], progress=True)

    def test_is_silent_where_nobody_looks(self, capsys):
        fit([1.0, 2.0], [1.0, 3.0])
        assert capsys.readouterr() == ("", "")


def test_the_loss_can_be_drawn():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    X, y = bowl(10.0)
    result = fit(X, y, method="gd")
    ax = result.plot()
    assert ax.lines[0].get_ydata().tolist() == result.loss_history.tolist()
    assert ax.get_yscale() == "log"
    assert result.plot(ax) is ax
    pyplot.close("all")
