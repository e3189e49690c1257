"""Conjugate gradients as fit() runs them: what they start with, and how few reads they take."""

import numpy as np
import pytest
from compare import fit_anyway
from naive import evaluate, least_squares
from problems import bowl

from fastgd import Moments, StopReason, fit
from fastgd._descent import conjugate, loop
from fastgd._descent.shortest import TURNS
from fastgd._linalg.inverse import inverse_of
from fastgd._sums.costs import Sample, best_sample, moments_cost
from fastgd.methods import Tuning, cg


@pytest.fixture
def small_samples(monkeypatch):
    """Samples that are not all of the rows, as those of large data are."""
    monkeypatch.setattr(conjugate, "best_sample", lambda n, d, itemsize: Sample(10 * d, 1.0, 20.0))


def rare_columns(seed, d=300, dtype="f4"):
    """Columns of zeros and ones, some of which are zero but in a row or two."""
    rng = np.random.default_rng(seed)
    X = (rng.random((5000, d)) < 10.0 ** rng.uniform(-4, -0.5, d)).astype(dtype)
    return X, (X @ rng.standard_normal(d) + rng.standard_normal(5000)).astype(dtype)


def excess(X, y, result, weight=None):
    least = evaluate(X, y, *least_squares(X, y, weight), weight).mse
    loss = evaluate(X, y, result.coef, result.intercept, weight).mse
    return float(loss / least - 1)


@pytest.mark.parametrize("condition", [10.0, 1e4, 1e8])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.usefixtures("small_samples")
class TestFromASample:
    def test_take_few_reads_whatever_the_conditioning(self, backend, dtype, condition):
        X, y = bowl(condition, n=4000, d=30)
        X, y = (100 + X).astype(dtype), y.astype(dtype)
        result = fit(X, y, strategy="stream", backend=backend)
        assert result.converged
        assert result.n_iter <= 25
        assert "preconditioned by the moments of " in result.strategy
        assert excess(X, y, result) < 1e-9

    def test_start_near_the_answer(self, backend, dtype, condition):
        X, y = bowl(condition, n=4000, d=30)
        result = fit(X.astype(dtype), y.astype(dtype), strategy="stream", backend=backend)
        assert result.loss_history[1] < 1.3 * result.loss


@pytest.mark.usefixtures("small_samples")
class TestTheSample:
    def test_has_weights(self):
        X, y = bowl(1e4, n=4000, d=30)
        weight = np.random.default_rng(0).uniform(0.0, 3.0, 4000)
        result = fit(X, y, sample_weight=weight, strategy="stream")
        assert excess(X, y, result, weight) < 1e-9
        assert result.n_iter <= 25

    def test_may_have_no_weight_at_all(self):
        X, y = bowl(10.0, n=4000, d=5)
        weight = np.zeros(4000)
        weight[[7, 100, 2000, 2001, 2002, 3000, 3999]] = 1.0
        result = fit(X, y, sample_weight=weight, strategy="stream")
        assert excess(X, y, result, weight) < 1e-8

    def test_may_miss_what_is_rare(self):
        rng = np.random.default_rng(0)
        X = rng.standard_normal((5000, 12))
        X[:, 3:9] = 0.0
        for j in range(3, 9):  # ones in j rows, which a sample of 120 hardly has
            X[rng.integers(0, 5000, j), j] = 1.0
        y = X @ np.arange(12.0) + 0.1 * rng.standard_normal(5000)
        result = fit(X, y, strategy="stream")
        assert result.converged
        assert excess(X, y, result) < 1e-9
        assert result.coef[3:9] == pytest.approx(np.arange(3.0, 9.0), abs=0.5)
        assert result.n_iter <= 25

    def test_without_an_intercept(self):
        X, y = bowl(1e4, n=4000, d=30)
        result = fit(X + 1, y, fit_intercept=False, strategy="stream")
        coef, _ = least_squares(X + 1, y, fit_intercept=False)
        assert result.coef == pytest.approx(coef, abs=1e-2)
        assert result.n_iter <= 25

    def test_with_a_penalty_on_squares(self):
        X, y = bowl(1e4, n=4000, d=30)
        options = {"alpha": 0.01, "tol": 1e-14}
        streamed = fit(X, y, strategy="stream", **options)
        assert streamed.coef == pytest.approx(fit(X, y, **options).coef, abs=1e-6)

    def test_is_no_use_where_the_start_is_better(self):
        X, y = bowl(1e4, n=4000, d=30)
        found = fit(X, y)
        again = fit(X, y, strategy="stream", coef_init=found.coef, intercept_init=found.intercept)
        assert again.n_iter == 0

    def test_is_left_where_its_answer_is_worse_than_the_start(self):
        X, y = bowl(1e4, n=4000, d=30)
        found = fit(X, y)
        start = {"coef_init": found.coef + 1e-4, "intercept_init": found.intercept}
        again = fit(X, y, strategy="stream", **start)
        assert again.loss_history[1] > again.loss_history[0]
        assert again.loss_history[2] < again.loss_history[0]
        assert again.coef == pytest.approx(found.coef, abs=1e-4)

    def test_is_solved_with_once_a_step(self, monkeypatch):
        solved = []

        def counting(*arguments):
            made = sketched(*arguments)
            return made._replace(apply=lambda g: solved.append(1) or made.apply(g))

        sketched = conjugate.sketched
        monkeypatch.setattr(conjugate, "sketched", counting)
        X, y = bowl(1e4, n=4000, d=30)
        result = fit(X, y, strategy="stream")
        assert result.n_iter > 5
        assert len(solved) <= result.n_iter + 1 + TURNS

    @pytest.mark.parametrize("seed", range(4))
    def test_is_solved_with_to_rounding_however_bad_it_is(self, seed):
        rng = np.random.default_rng(seed)
        hessian, inverse = 10.0 ** rng.uniform(-6, 0, 40), 10.0 ** rng.uniform(0, 8, 40)
        params = rng.standard_normal(40)
        state = cg.init(params, Tuning(0.5, precondition=lambda gradient: inverse * gradient))
        for _ in range(60):
            params, state = cg.step(hessian * params, state, params, 0.0, lambda p, rate: p)
            solved = inverse * state.gradient
            assert np.linalg.norm(state.solved - solved) < 1e-4 * np.linalg.norm(solved)

    def test_that_says_little_of_the_rest_gives_way_to_moments(self, backend, monkeypatch):
        monkeypatch.setattr(conjugate, "best_sample", lambda n, d, itemsize: Sample(2 * d, 1.0, 20))
        strategies = []
        for X, y in map(rare_columns, range(6)):
            least = fit(X, y, strategy="moments").loss
            result = fit(X, y, backend=backend)
            assert result.converged
            assert result.loss / least - 1 < 1e-9
            assert result.n_iter < 70
            strategies.append(result.strategy)
        assert any(strategy.startswith("stream, then moments") for strategy in strategies)

    def test_gives_way_to_moments_where_the_loss_falls_no_further(self, monkeypatch):
        monkeypatch.setattr(loop, "STALLED_EPOCHS", 2)
        X, y = rare_columns(2)
        least = fit(X, y, strategy="moments").loss
        result = fit(X, y)
        assert result.converged
        assert result.loss / least - 1 < 1e-9
        assert "which got nowhere" in result.strategy
        assert len(result.loss_history) == result.n_iter + 1

    def test_that_says_little_gives_way_to_exact_moments_of_columns_that_are_close(self):
        X, y = rare_columns(2, 250, "f8")
        X[:, 1] = X[:, 0] + 1e-7 * np.random.default_rng(0).standard_normal(5000)
        result = fit(X, y)
        assert result.strategy.endswith("and 2 for them")
        assert len(result.loss_history) == result.n_iter + 1
        assert (result.coef == fit(X, y, strategy="moments").coef).all()

    @pytest.mark.parametrize("n_threads", [1, 3, None])
    def test_is_solved_with_by_the_threads_of_the_fit(self, n_threads, monkeypatch):
        asked = []

        def asking(matrix, n_threads=1):
            asked.append(n_threads)
            return inverse_of(matrix)

        monkeypatch.setattr("fastgd._descent.preconditioner.inverse_of", asking)
        X, y = bowl(1e4, n=4000, d=30)
        fit(X, y, strategy="stream", n_threads=n_threads)
        assert asked == [n_threads]

    def test_is_the_same_every_time(self):
        X, y = bowl(1e4, n=4000, d=30)
        runs = {fit(X, y, strategy="stream", n_threads=n).coef.tobytes() for n in (1, 2, 1)}
        assert len(runs) == 1


class TestBestSample:
    @pytest.mark.parametrize("d", [1, 16, 100, 1000, 5000])
    @pytest.mark.parametrize("rows", [3, 10, 100, 10_000])
    def test_is_cheaper_than_its_neighbours(self, d, rows):
        n = rows * d
        sample = best_sample(n, d)
        assert 2 * d <= sample.n_rows <= n
        assert sample.total < moments_cost(d) + 35
        assert sample.moments <= moments_cost(d) * sample.n_rows / n + 1e-9

    def test_of_few_rows_is_none(self):
        assert best_sample(199, 100).n_rows == 0
        assert best_sample(200, 100).n_rows == 200

    def test_keeps_to_its_memory(self):
        assert best_sample(10**8, 1000).n_rows * 4000 <= 64 << 20
        assert best_sample(20_000, 5000).n_rows == 10_000


class TestStages:
    def test_plain_steps_go_first_where_a_sample_costs_much(self, monkeypatch, backend):
        monkeypatch.setattr(conjugate, "CHEAP_SAMPLE", 0.0)
        monkeypatch.setattr(conjugate, "best_sample", lambda n, d, itemsize: Sample(n, 5.0, 9.0))
        X, y = bowl(1e6, n=900, d=20)
        seen = []
        result = fit(X, y, strategy="stream", callback=seen.append, backend=backend)
        assert result.converged
        assert [state.epoch for state in seen] == list(range(1, result.n_iter + 1))
        assert 5 < result.n_iter < 15
        assert excess(X, y, result) < 1e-8

    @pytest.mark.parametrize(("condition", "slow"), [(1e6, True), (10.0, False)])
    def test_plain_steps_end_early_where_they_gain_little(self, monkeypatch, condition, slow):
        monkeypatch.setattr(conjugate, "best_sample", lambda n, d, _: Sample(10 * d, 300.0, 330.0))
        X, y = bowl(condition, n=4000, d=200)
        result = fit(X, y, strategy="stream")
        assert result.converged
        assert ("preconditioned" in result.strategy) == slow
        assert result.n_iter <= 150
        assert excess(X, y, result) < 1e-8

    @pytest.mark.parametrize("tol", [0.0, 1e-10])
    def test_plain_steps_reach_a_loss_of_nothing(self, monkeypatch, tol):
        monkeypatch.setattr(conjugate, "best_sample", lambda n, d, _: Sample(10 * d, 300.0, 330.0))
        X = np.random.default_rng(0).standard_normal((1000, 100))
        start = {"coef_init": np.ones(100), "intercept_init": 1.0}
        result = fit_anyway(X, np.zeros(1000), strategy="stream", tol=tol, **start)
        assert result.n_iter > conjugate.LEAST_PLAIN
        assert result.loss < 1e-20

    def test_and_alone_where_there_are_few_rows(self, backend):
        rng = np.random.default_rng(0)
        X = rng.standard_normal((40, 30))
        y = X[:, 0] + rng.standard_normal(40)
        result = fit(X, y, strategy="stream", backend=backend)
        assert result.converged
        assert "preconditioned" not in result.strategy
        assert excess(X, y, result) < 1e-8
        assert 10 < result.n_iter <= 60

    def test_stop_at_max_iter(self):
        X, y = bowl(1e6, n=40, d=30)
        result = fit_anyway(X, y, strategy="stream", max_iter=4)
        assert result.n_iter == 4
        assert result.stop_reason is StopReason.MAX_ITER
        assert not result.converged


class TestFarFewerRowsThanColumns:
    """Where curvature is rounding, a step is of any length: the trial went to losses of 1e38."""

    @pytest.mark.parametrize("alpha", [0.0, 1.0])
    def test_the_best_point_is_returned(self, alpha):
        rng = np.random.default_rng(4)
        X, y = rng.standard_normal((100, 9000)), rng.standard_normal(100)
        result = fit_anyway(X, y, alpha=alpha)
        assert result.loss == result.loss_history[-1] < 1.01 * result.loss_history.min()
        assert result.loss_history.max() < 2 * result.loss_history[0]

    @pytest.mark.parametrize("max_iter", [3, 4, 5, 6, 9])
    def test_whatever_the_number_of_steps(self, max_iter, backend):
        rng = np.random.default_rng(4)
        X, y = rng.standard_normal((40, 3000)), rng.standard_normal(40)
        options = {"strategy": "stream", "method": "cg", "max_iter": max_iter}
        result = fit_anyway(X, y, backend=backend, **options)
        assert result.loss == result.loss_history[-1] <= 1.01 * result.loss_history.min()
        assert result.loss < result.loss_history[0] / 10


def test_from_moments_take_one_step(backend):
    X, y = bowl(1e6)
    result = fit(Moments.of(X, y), backend=backend)
    assert result.n_iter == 1
    assert result.method == "cg"
    assert excess(X, y, result) < 1e-9
