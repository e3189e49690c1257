"""learning_rate="adaptive": it arrives, and never ends at a point worse than one it passed."""

import numpy as np
import pytest
from compare import fit_anyway

from fastgd import ConvergenceWarning, DivergenceError, StopReason, fit

METHODS = ["gd", "momentum", "nesterov", "adam"]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1000, 3))
    return X, X @ [1.0, 2.0, 3.0] + rng.standard_normal(1000)


def adaptive(data, method, **options):
    return fit_anyway(*data, method=method, learning_rate="adaptive", **options)


class TestMomentum:
    @pytest.mark.parametrize("method", ["momentum", "nesterov"])
    @pytest.mark.parametrize("eta0", [0.01, 0.1, 0.5, 0.8])
    def test_swings_without_shorter_steps(self, data, strategy, method, eta0):
        # Swings last longer than 5 epochs: they were taken for steps that are too long.
        result = adaptive(data, method, eta0=eta0, max_iter=500, strategy=strategy)
        assert result.converged
        assert result.loss <= fit(*data).loss * (1 + 1e-9)

    @pytest.mark.parametrize("method", METHODS)
    def test_is_shortened_where_it_diverges(self, data, method):
        if method in ("gd", "nesterov"):
            with pytest.raises(DivergenceError):
                fit(*data, method=method, learning_rate=1.5)
        assert adaptive(data, method, eta0=1.5, max_iter=500).converged

    def test_goes_on_from_the_best_at_rest(self, data):
        losses = adaptive(data, "momentum", max_iter=30, n_iter_no_change=3).loss_history
        best = int(np.argmax(np.diff(losses) > 0))  # the first that is followed by a worse one
        assert best > 5
        at_best = adaptive(data, "momentum", max_iter=best)
        assert at_best.loss == losses[best]
        start = {"coef_init": at_best.coef, "intercept_init": at_best.intercept}
        step = fit_anyway(*data, learning_rate=0.01, max_iter=1, **start)
        assert losses[best + 4] == pytest.approx(step.loss, rel=1e-12)


class TestEnd:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("eta0", [0.01, 0.4, 30.0])
    def test_is_the_best_point_passed(self, data, method, eta0):
        for max_iter in (*range(1, 12), 17, 30, 60):
            result = adaptive(data, method, eta0=eta0, max_iter=max_iter)
            assert result.loss == result.loss_history.min()
            assert result.n_iter == len(result.loss_history) - 1

    @pytest.mark.parametrize("method", METHODS)
    def test_is_the_best_point_however_long_the_loss_rises(self, data, method):
        for max_iter in (12, 19, 30):
            result = adaptive(data, method, eta0=1.5, max_iter=max_iter, n_iter_no_change=20)
            assert result.n_iter == max_iter
            assert result.loss == result.loss_history.min()

    def test_leaves_the_losses_of_epochs_as_they_were(self, data):
        seen = []
        options = {"eta0": 0.1, "alpha": 0.1, "l1_ratio": 1, "max_iter": 12}
        result = adaptive(data, "momentum", **options, callback=lambda s: seen.append(s.loss))
        assert result.loss_history[1:].tolist() == seen
        assert result.loss <= min(seen) < seen[-1]

    def test_at_the_lowest_rate_is_told(self, data):
        options = {"batch_size": 100, "average": True, "random_state": 0}
        with pytest.warns(
            ConvergenceWarning, match=r"after .* epochs .*; raise tol, or use a larg"
        ):
            result = fit(*data, learning_rate="adaptive", **options)
        assert result.stop_reason is StopReason.LEAST_RATE
        assert not result.converged
        assert result.n_iter < 1000
        assert result.loss == result.loss_history.min()

    def test_comes_no_sooner_than_asked_without_a_tolerance(self, data):
        assert adaptive(data, "momentum", tol=0, max_iter=400).n_iter == 400

    def test_does_not_come_where_the_rate_can_be_lowered(self, data):
        for method in ("momentum", "nesterov"):
            result = adaptive(data, method, n_iter_no_change=3, max_iter=500)
            assert result.stop_reason is StopReason.CONVERGED

    def test_comes_by_the_rows_held_out(self, data):
        options = {"validation_fraction": 0.2, "random_state": 0, "n_iter_no_change": 3}
        assert adaptive(data, "momentum", **options).stop_reason is StopReason.NO_CHANGE

    def test_of_batches_is_closer_than_of_constant_steps(self, data):
        options = {"batch_size": 50, "max_iter": 100, "random_state": 0}
        least = fit(*data).loss
        constant = fit_anyway(*data, learning_rate=0.01, **options).loss - least
        assert 0 < adaptive(data, "sgd", **options).loss - least < 0.1 * constant


def test_a_line_tells_the_loss_that_its_step_began_at(data, capsys):
    losses = adaptive(data, "gd", eta0=1.5, max_iter=6, verbose=1).loss_history
    told = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    assert losses[0] == losses[:6].min()  # five epochs gain nothing: the sixth starts there again
    assert told == pytest.approx([*losses[:5], losses[0]], rel=1e-3)
