"""Streaming, moments, and the choice between them: one trajectory, whatever it is read from."""

import math
import re
from itertools import product

import naive
import numpy as np
import pytest
from compare import fit_anyway
from hypothesis import given
from hypothesis import strategies as st

import fastgd
from fastgd import DivergenceError, Moments, StopReason
from fastgd._sums.costs import MOST_FEATURES, moments_cost
from fastgd.backends import BACKENDS, load_backend

RATE = {"mean": 0.1, "sum": 0.1 / 400}  # literal steps that work on the data below


def data(d=4, n=400, dtype="f8", seed=3, location=0.5):
    """X, y and weights of condition near 1; d=None is 1-D."""
    rng = np.random.default_rng(seed)
    X = (location + rng.standard_normal((n, d or 1))).astype(dtype)
    y = (X.sum(axis=1) + 2 + rng.standard_normal(n)).astype(dtype)
    return (X[:, 0] if d is None else X), y, rng.uniform(0.5, 1.5, n).astype(dtype)


def assert_same_descent(one, other, tolerance):
    """The same epochs, losses, coefficients and reason."""
    assert one.n_iter == other.n_iter
    assert one.stop_reason is other.stop_reason
    assert one.loss_history == pytest.approx(other.loss_history, rel=tolerance, abs=0)
    assert one.learning_rate == pytest.approx(other.learning_rate, rel=tolerance)
    size = np.abs(np.append(other.coef, other.intercept)).max()
    assert one.coef == pytest.approx(other.coef, rel=0, abs=tolerance * size)
    assert one.intercept == pytest.approx(other.intercept, rel=0, abs=tolerance * size)
    assert np.shape(one.coef) == np.shape(other.coef)


class TestOneTrajectory:
    """The same weights and losses at every epoch, streamed or from moments."""

    @pytest.mark.parametrize("learning_rate", ["literal", "auto"])
    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("weighted", [True, False])
    @pytest.mark.parametrize("d", [None, 1, 4, 20])
    def test_streamed_and_from_moments(
        self, backend, kind, d, weighted, fit_intercept, reduction, learning_rate
    ):
        X, y, weight = data(d, dtype=kind.dtype)
        rate = RATE[reduction] / max(1, (d or 1) / 4)
        options = {
            "sample_weight": weight if weighted else None,
            "fit_intercept": fit_intercept,
            "reduction": reduction,
            "learning_rate": rate if learning_rate == "literal" else "auto",
            "precision": kind.precision,
            "backend": backend,
            "method": "gd",
            "tol": 0,
        }
        tolerance = 1e-10 if kind.precision == "double" else 1e-6
        for epochs in (1, 2, 30) if learning_rate == "literal" else (1, 5):
            streamed, replayed = (
                fit_anyway(X, y, max_iter=epochs, strategy=strategy, **options)
                for strategy in ("stream", "moments")
            )
            if kind.precision == "single" and learning_rate == "auto":
                assert streamed.coef == pytest.approx(replayed.coef, rel=1e-4)
                continue  # the steps differ by what single precision tells of the spectrum
            assert_same_descent(streamed, replayed, tolerance)
            assert replayed.loss == replayed.loss_history[-1]
            assert replayed.grad_norm == pytest.approx(
                streamed.grad_norm, rel=1e-8 if kind.precision == "double" else 1e-3, abs=1e-6
            )

    @given(
        seed=st.integers(0, 2**32 - 1),
        d=st.sampled_from([None, 1, 2, 3, 7]),
        location=st.sampled_from([0.0, 1.0, 10.0]),
        epochs=st.integers(1, 60),
        fit_intercept=st.booleans(),
        from_start=st.booleans(),
        part=st.floats(0.01, 0.99),
        backend=st.sampled_from(sorted(BACKENDS)),
    )
    def test_as_the_formulas_say(
        self, seed, d, location, epochs, fit_intercept, from_start, part, backend
    ):
        X, y, weight = data(d, n=60, seed=seed, location=location)
        _, largest = naive.extreme_curvatures(X, weight, fit_intercept)
        options = {"sample_weight": weight, "fit_intercept": fit_intercept}
        options["learning_rate"] = 2 * part / largest
        if from_start:
            options["coef_init"] = 0.5 if d is None else np.linspace(-1, 1, d)
            options |= {"intercept_init": 0.25} if fit_intercept else {}
        ours = fit_anyway(
            X, y, max_iter=epochs, tol=0, strategy="moments", backend=backend, **options
        )
        exact = naive.descend(X, y, n_epochs=epochs, **options)
        assert ours.loss_history == pytest.approx(exact.losses.astype(float), rel=1e-10)
        size = float(np.abs(np.append(exact.coefs[-1], exact.intercepts[-1])).max())
        assert ours.coef == pytest.approx(exact.coefs[-1].astype(float), abs=1e-10 * size)
        assert ours.intercept == pytest.approx(float(exact.intercepts[-1]), abs=1e-10 * size)

    @pytest.mark.parametrize("strategy", ["auto", "stream", "moments"])
    def test_given_moments_or_arrays(self, backend, strategy):
        X, y, weight = data()
        moments = Moments.of(X, y, weight, backend=backend)
        options = {"method": "gd", "backend": backend}
        given = fastgd.fit(moments, **options)
        arrays = fastgd.fit(X, y, sample_weight=weight, strategy=strategy, **options)
        assert_same_descent(given, arrays, 1e-10)
        assert given.strategy == "moments: as given"
        given_1d = fastgd.fit(Moments.of(X[:, 0], y, backend=backend), backend=backend)
        assert isinstance(given_1d.coef, float)

    @pytest.mark.parametrize("learning_rate", [0.1, "auto"])
    def test_the_moments_are_double_whatever_the_precision(self, backend, learning_rate):
        X, y, _ = data(dtype="f4")
        options = {"strategy": "moments", "learning_rate": learning_rate, "backend": backend}
        single = fastgd.fit(X, y, precision="single", **options)
        double = fastgd.fit(X, y, precision="double", **options)
        assert single.loss == pytest.approx(double.loss, rel=1e-9)

    def test_of_data_that_lie_on_a_line(self, backend):
        X, _, _ = data(2)
        y = X @ [1.0, -2.0] + 3
        streamed, replayed = (
            fit_anyway(X, y, learning_rate=0.1, max_iter=100, strategy=strategy, backend=backend)
            for strategy in ("stream", "moments")
        )
        history = streamed.loss_history
        assert replayed.loss_history == pytest.approx(history, rel=1e-9, abs=1e-13 * history[0])
        assert replayed.coef == pytest.approx(streamed.coef, rel=1e-10)


class TestReplay:
    """The compiled loop over moments, and the loop in Python, which the numpy backend has."""

    def both(self, *arrays, **options):
        return [fit_anyway(*arrays, backend=backend, **options) for backend in ("numba", "numpy")]

    def test_is_the_path_taken(self):
        assert load_backend("numba").load_replay() is not None
        assert load_backend("numpy").load_replay() is None

    @pytest.mark.parametrize("learning_rate", [1e-4, 0.1, "auto"])
    @pytest.mark.parametrize("tol", [1e-2, 1e-6, 1e-12, 0])
    @pytest.mark.parametrize("max_iter", [1, 7, 400])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_stops_where_the_loop_stops(self, learning_rate, tol, max_iter, fit_intercept):
        X, y, weight = data()
        replayed, looped = self.both(
            Moments.of(X, y, weight),
            learning_rate=learning_rate,
            tol=tol,
            max_iter=max_iter,
            fit_intercept=fit_intercept,
        )
        assert_same_descent(replayed, looped, 1e-10)
        assert replayed.converged == looped.converged

    @pytest.mark.parametrize("d", [None, 1, 2, 7, 60])
    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    def test_of_any_width(self, d, reduction):
        X, y, weight = data(d)
        rate = RATE[reduction] / (d or 1)
        replayed, looped = self.both(
            Moments.of(X, y, weight), learning_rate=rate, reduction=reduction, max_iter=300
        )
        assert_same_descent(replayed, looped, 1e-10)
        assert replayed.n_iter > 10

    def test_converged(self):
        replayed, looped = self.both(Moments.of(*data()), learning_rate=0.1, tol=1e-8)
        assert replayed.stop_reason is looped.stop_reason is StopReason.CONVERGED
        assert_same_descent(replayed, looped, 1e-10)

    def test_max_iter_is_said_and_warned_of(self, backend):
        with pytest.warns(fastgd.ConvergenceWarning, match="after 3 epochs"):
            result = fastgd.fit(
                Moments.of(*data()), learning_rate=1e-3, max_iter=3, backend=backend
            )
        assert result.stop_reason is StopReason.MAX_ITER
        assert result.n_iter == 3
        assert not result.converged

    @pytest.mark.parametrize(
        ("times", "fit_intercept", "reduction"),
        [
            (1.0001, True, "mean"),  # takes long
            *product([1.001, 1.01, 1.5, 10.0, 1e200], [True, False], ["mean", "sum"]),
        ],
    )
    def test_diverges_where_the_loop_and_the_stream_do(self, times, fit_intercept, reduction):
        X, y, weight = data()
        _, largest = naive.extreme_curvatures(X, weight, fit_intercept, reduction)
        options = {
            "learning_rate": times * 2 / largest,
            "fit_intercept": fit_intercept,
            "reduction": reduction,
        }
        errors = []
        for arrays, choice in (
            ((Moments.of(X, y, weight),), {"backend": "numba"}),
            ((Moments.of(X, y, weight),), {"backend": "numpy"}),
            ((X, y), {"strategy": "stream", "sample_weight": weight}),
        ):
            with pytest.raises(DivergenceError, match="would have worked") as caught:
                fastgd.fit(*arrays, **choice, **options)
            errors.append(caught.value)
        replayed, looped, streamed = (error.result for error in errors)
        assert_same_descent(replayed, looped, 1e-8)
        assert abs(streamed.n_iter - looped.n_iter) <= 1
        assert math.isfinite(replayed.loss)
        for error in errors:
            assert error.learning_rate == pytest.approx(errors[0].learning_rate, rel=1e-6)
            working = fit_anyway(
                X, y, sample_weight=weight, **{**options, "learning_rate": error.learning_rate}
            )
            assert working.loss < working.loss_history[0]

    def test_prints_as_the_loop_does(self, backend, capsys):
        moments = Moments.of(*data())
        silent = fastgd.fit(moments, learning_rate=0.1, backend=backend)
        loud = fastgd.fit(moments, learning_rate=0.1, verbose=1, backend=backend)
        assert_same_descent(loud, silent, 1e-10)
        assert len(capsys.readouterr().out.splitlines()) == loud.n_iter


@pytest.fixture
def reads(backend, monkeypatch):
    """How often the data were read, by what: counts of calls to the backend."""
    module = load_backend(backend)
    counts = {"passes": 0, "statistics": 0, "moments": 0}
    open_pass, statistics, moments = (
        module.open_pass,
        module.column_statistics,
        module.moments,
    )

    class Counted:
        def __init__(self, *arguments):
            self.context = open_pass(*arguments)

        def __enter__(self):
            read = self.context.__enter__()

            def counted(*arguments):
                counts["passes"] += 1
                return read(*arguments)

            return counted

        def __exit__(self, *error):
            return self.context.__exit__(*error)

    def counting(name, function):
        def counted(*arguments):
            counts[name] += 1
            return function(*arguments)

        return counted

    monkeypatch.setattr(module, "open_pass", Counted)
    monkeypatch.setattr(module, "column_statistics", counting("statistics", statistics))
    monkeypatch.setattr(module, "moments", counting("moments", moments))
    return counts


def wide(d):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3 * d, d))
    return X, X.sum(axis=1) + rng.standard_normal(3 * d)


class TestChoice:
    D = 800  # moments cost a good many reads

    def test_cost_grows_with_the_features(self):
        costs = [moments_cost(d) for d in (1, 10, 100, 1000)]
        assert costs == sorted(costs)
        assert 1 <= costs[0] < 4 < moments_cost(self.D) < 100

    def test_a_few_known_epochs_are_streamed(self, backend, reads):
        epochs = int(moments_cost(self.D)) - 1
        result = fit_anyway(
            *wide(self.D), learning_rate=0.01, max_iter=epochs, tol=0, backend=backend
        )
        assert reads["moments"] == reads["statistics"] == 0
        assert reads["passes"] >= epochs + 1
        assert re.fullmatch(r"stream: \d+ reads, fewer than .*", result.strategy)
        assert str(reads["passes"]) in result.strategy

    def test_one_epoch_more_than_moments_cost_takes_moments(self, backend, reads):
        epochs = math.ceil(moments_cost(self.D))
        result = fit_anyway(
            *wide(self.D), learning_rate=0.01, max_iter=epochs, tol=0, backend=backend
        )
        assert reads == {"passes": 0, "statistics": 0, "moments": 1}
        assert result.strategy.startswith("moments: 1 read, less than")

    def test_many_known_epochs_take_moments(self, backend, reads):
        fit_anyway(*wide(self.D), learning_rate=0.01, max_iter=10_000, backend=backend)
        assert reads == {"passes": 0, "statistics": 0, "moments": 1}

    @pytest.mark.parametrize("d", [None, 1, 4, 30])
    @pytest.mark.parametrize("learning_rate", [0.01, "auto"])
    def test_few_features_take_moments_at_once(self, backend, reads, d, learning_rate):
        X, y, _ = data(d)
        result = fit_anyway(X, y, learning_rate=learning_rate, max_iter=50, backend=backend)
        assert reads == {"passes": 0, "statistics": 0, "moments": 1}
        assert result.strategy.startswith("moments: 1 read, less than")

    def test_one_epoch_of_a_line_is_streamed(self, backend, reads):
        result = fit_anyway(*data(None)[:2], learning_rate=0.01, max_iter=1, tol=0, backend=backend)
        assert reads["moments"] in (0, 1)  # by the measured constants
        assert result.strategy.startswith("moments" if reads["moments"] else "stream")

    def test_an_unknown_number_changes_over_once_as_much_is_spent(self, backend, reads):
        result = fastgd.fit(*wide(self.D), method="gd", backend=backend)
        spent = reads["passes"] + reads["statistics"]
        assert spent == math.ceil(moments_cost(self.D))
        assert reads["moments"] == 1
        assert result.strategy == (
            f"stream, then moments: {spent} reads, no fewer than moments cost, and 1 for them"
        )

    def test_changing_over_changes_nothing_in_the_result(self, backend):
        X, y = wide(self.D)
        results = [
            fastgd.fit(X, y, method="gd", strategy=strategy, backend=backend)
            for strategy in ("auto", "stream", "moments")
        ]
        for result in results[1:]:
            assert result.loss == pytest.approx(results[0].loss, rel=1e-9)
            assert result.coef == pytest.approx(results[0].coef, rel=1e-4)
            assert abs(result.n_iter - results[0].n_iter) <= 1

    def test_an_unknown_number_that_stays_small_is_streamed(self, backend, reads):
        rng = np.random.default_rng(0)
        d = 1200
        X = rng.standard_normal((8 * d, d)).astype("f4")
        y = X.sum(axis=1)
        y += rng.standard_normal(8 * d)
        result = fastgd.fit(X, y, method="gd", tol=1e-4, backend=backend)
        assert reads["moments"] == 0
        assert reads["passes"] + reads["statistics"] < moments_cost(d)
        assert result.strategy.startswith("stream: ")

    @pytest.mark.parametrize("tol", [1e-1, 1e-4, 1e-10])
    @pytest.mark.parametrize("d", [50, 100, 300])
    def test_is_never_worse_than_twice_the_better(self, backend, reads, d, tol):
        X, y = wide(d)
        spent = {}
        for strategy in ("auto", "stream", "moments"):
            for name in reads:
                reads[name] = 0
            fastgd.fit(X, y, method="gd", tol=tol, strategy=strategy, backend=backend)
            streamed = reads["passes"] + reads["statistics"]
            spent[strategy] = streamed + reads["moments"] * moments_cost(d)
        assert spent["moments"] == moments_cost(d)
        assert spent["auto"] <= 2 * min(spent["stream"], spent["moments"]) + 1

    @pytest.mark.parametrize("learning_rate", [0.01, "auto"])
    def test_is_as_asked_for(self, backend, reads, learning_rate):
        X, y, _ = data(3)
        options = {"learning_rate": learning_rate, "max_iter": 20, "backend": backend}
        options["method"] = "gd"
        result = fit_anyway(X, y, strategy="stream", **options)
        assert reads["moments"] == 0
        assert re.fullmatch(r"stream: \d+ reads, as asked for", result.strategy)
        spent = reads["passes"] + reads["statistics"]
        assert f" {spent} " in result.strategy
        result = fit_anyway(X, y, strategy="moments", **options)
        assert reads["moments"] == 1
        assert reads["passes"] + reads["statistics"] == spent
        assert result.strategy == "moments: 1 read, as asked for"

    def test_given_moments_nothing_is_read(self, backend, reads):
        moments = Moments.of(*data(), backend=backend)
        assert reads["moments"] == 1
        fastgd.fit(moments, backend=backend)
        assert reads == {"passes": 0, "statistics": 0, "moments": 1}

    def test_too_many_features_are_streamed(self, reads, backend):
        X = np.zeros((3, MOST_FEATURES + 1))
        X[:, 0] = [1.0, 2.0, 4.0]
        fit_anyway(X, [1.0, 2.0, 3.0], learning_rate=1e-3, max_iter=2000, backend=backend)
        assert reads["moments"] == 0


class TestBadArguments:
    def test_y_with_moments(self):
        X, y, _ = data()
        with pytest.raises(TypeError, match="y must not be given where X is fastgd"):
            fastgd.fit(Moments.of(X, y), y)

    def test_weights_with_moments(self):
        X, y, weight = data()
        with pytest.raises(TypeError, match="sample_weight must not be given where X is fastgd"):
            fastgd.fit(Moments.of(X, y), sample_weight=weight)

    def test_streaming_moments(self):
        with pytest.raises(ValueError, match='strategy="stream" needs arrays'):
            fastgd.fit(Moments.of(*data()), strategy="stream")

    def test_arrays_without_y(self):
        with pytest.raises(TypeError, match="y must be given"):
            fastgd.fit(data()[0])

    @pytest.mark.parametrize("strategy", ["Moments", "", None, 1, "replay"])
    def test_unknown_strategy(self, strategy):
        with pytest.raises(ValueError, match="strategy must be one of 'auto', 'stream', 'moments'"):
            fastgd.fit(*data()[:2], strategy=strategy)

    @pytest.mark.parametrize("strategy", ["auto", "stream", "moments"])
    @pytest.mark.parametrize("learning_rate", [1e-3, "auto"])
    @pytest.mark.parametrize("where", ["X", "y"])
    def test_not_finite(self, backend, strategy, learning_rate, where):
        X, y, _ = data()
        X[7, 2], y[5] = (np.nan, 1.0) if where == "X" else (1.0, np.inf)
        options = {"strategy": strategy, "learning_rate": learning_rate, "backend": backend}
        with pytest.raises(ValueError, match=r"X\[7, 2\] is nan" if where == "X" else r"y\[5\]"):
            fastgd.fit(X, y, **options)
