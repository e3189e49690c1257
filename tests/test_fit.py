"""fit(): the notebook, literal trajectories, the automatic step, and every way it can end."""

import math

import numpy as np
import pytest
from compare import Kind, assert_close, fit_anyway
from hypothesis import given
from hypothesis import strategies as st
from naive import descend, evaluate, extreme_curvatures, least_squares
from strategies import SMALL_SIZES, data_sets

from fastgd import ConvergenceWarning, DivergenceError, StopReason, fit


class TestNotebook:
    X = (0, 1, 2, 3, 4, 5)
    LINES = (
        "Epoch: 1/20, weights: 2.200, loss: 36.667",
        "Epoch: 2/20, weights: 1.980, loss: 0.367",
        "Epoch: 3/20, weights: 2.002, loss: 0.004",
        *(f"Epoch: {epoch}/20, weights: 2.000, loss: 0.000" for epoch in range(4, 21)),
    )

    def fit(self, x, backend, **options):
        settings = {"fit_intercept": False, "learning_rate": 0.01, "max_iter": 20}
        return fit(x, 2 * np.asarray(x), backend=backend, **settings, **options)

    @pytest.mark.parametrize("kind", [list, "i8", "f4", "f8"])
    def test_prints_its_lines(self, backend, strategy, capsys, kind):
        x = list(self.X) if kind is list else np.array(self.X, kind)
        result = self.fit(x, backend, reduction="sum", strategy=strategy, verbose=1)
        assert capsys.readouterr().out.splitlines() == list(self.LINES)
        assert result.predict(10) == pytest.approx(20.0, abs=1e-6)
        assert result.n_iter == 20
        assert result.converged

    def test_is_silent_unless_asked(self, backend, capsys):
        self.fit(self.X, backend, reduction="sum")
        captured = capsys.readouterr()
        assert captured.out == captured.err == ""

    def test_with_the_mean_takes_a_sixth_of_the_step(self, backend):
        result = fit_anyway(
            self.X,
            [2 * x for x in self.X],
            fit_intercept=False,
            learning_rate=0.01,
            max_iter=1,
            backend=backend,
        )
        assert result.coef == pytest.approx(2.2 / 6, rel=1e-12)  # 0.3667
        assert result.loss_history[0] == pytest.approx(220 / 6, rel=1e-12)


@pytest.mark.filterwarnings("ignore::fastgd.CollinearityWarning")  # fewer rows than columns
def test_verbose_shows_every_coefficient_and_the_intercept(backend, capsys):
    X = [[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [1.0, 1.0, 0.0]]
    y = [1.0, 2.0, 4.0]
    fit_anyway(X, y, learning_rate=0.2, max_iter=2, verbose=1, backend=backend)
    path = descend(X, y, learning_rate=0.2, n_epochs=2)
    expected = [
        f"Epoch: {k + 1}/2, weights: [{', '.join(f'{w:.3f}' for w in path.coefs[k + 1])}], "
        f"intercept: {path.intercepts[k + 1]:.3f}, loss: {path.losses[k]:.3f}"
        for k in range(2)
    ]
    assert capsys.readouterr().out.splitlines() == expected


class TestLiteralStep:
    """A number is the step, and the path is that of the formula, epoch by epoch."""

    @pytest.mark.filterwarnings("ignore::fastgd.CollinearityWarning")  # fewer rows than columns
    @given(
        data=data_sets(sizes=(*SMALL_SIZES, 257), widths=[3]),
        precision=st.sampled_from(["double", "single"]),
        strategy=st.sampled_from(["stream", "moments"]),
        fit_intercept=st.booleans(),
        reduction=st.sampled_from(["mean", "sum"]),
        from_start=st.booleans(),
        part=st.sampled_from([0.1, 0.5, 0.9]),
    )
    def test_follows_the_oracle(
        self, backend, data, precision, strategy, fit_intercept, reduction, from_start, part
    ):
        _, largest = extreme_curvatures(data.X, data.sample_weight, fit_intercept, reduction)
        options = {
            "learning_rate": float(2 * part / largest),
            "sample_weight": data.sample_weight,
            "fit_intercept": fit_intercept,
            "reduction": reduction,
        }
        ours = {"precision": precision, "strategy": strategy, "backend": backend}
        if from_start:
            options["coef_init"] = data.coef
            if fit_intercept:
                options["intercept_init"] = data.intercept
        result = fit_anyway(data.X, data.y, max_iter=12, tol=0, **ours, **options)
        path = descend(data.X, data.y, n_epochs=12, **options)

        assert result.n_iter == 12
        assert result.loss_history.shape == (13,)
        assert result.loss == result.loss_history[-1]
        single = data.X.dtype.itemsize == 4 and precision == "single"
        terms = max(
            evaluate(data.X, data.y, w, b, data.sample_weight).mse_terms
            for w, b in zip(path.coefs, path.intercepts, strict=True)
        )
        assert_close(result.loss_history, path.losses, terms, 2e-6 if single else 1e-13, "loss")
        size = 1 + abs(path.coefs).max() + abs(path.intercepts).max()
        tolerance = 2e-5 if single else 1e-12
        assert_close(result.coef, path.coefs[-1], size, tolerance, "coef")
        assert_close(result.intercept, path.intercepts[-1], size, tolerance, "intercept")

    def test_takes_exactly_as_many_steps_as_asked(self, backend, strategy, dtype, rng):
        X = rng.standard_normal((33, 3)).astype(dtype)
        y = rng.standard_normal(33).astype(dtype)
        s = rng.uniform(0, 2, 33)
        options = {"learning_rate": 0.2, "sample_weight": s}
        path = descend(X, y, n_epochs=6, **options)
        tolerance = 1e-6 if dtype == "f4" else 1e-12  # weights are used in the dtype of X
        for k in range(1, 7):
            result = fit_anyway(X, y, max_iter=k, strategy=strategy, backend=backend, **options)
            assert result.n_iter == k
            assert result.coef == pytest.approx(path.coefs[k].astype(float), abs=tolerance)
            assert result.intercept == pytest.approx(float(path.intercepts[k]), abs=tolerance)
            expected = path.losses[: k + 1].astype(float)
            assert result.loss_history == pytest.approx(expected, rel=tolerance)

    def test_stops_when_the_tolerance_is_met_and_not_before(self, backend, strategy, rng):
        X = rng.standard_normal((200, 3)) * [1.0, 0.3, 2.0]
        y = X @ [1.0, 2.0, 3.0] + rng.standard_normal(200)
        minimum = evaluate(X, y, *least_squares(X, y)).mse
        for tol in (1e-3, 1e-6, 1e-9):
            result = fit(X, y, learning_rate=0.1, tol=tol, strategy=strategy, backend=backend)
            assert result.converged
            assert result.stop_reason is StopReason.CONVERGED
            excess = (result.loss_history - float(minimum)) / result.loss
            assert excess[-1] <= 2 * tol
            assert excess[-10] > 0.5 * tol

    def test_is_not_called_converged_while_a_slow_direction_is_left(self, backend):
        # Columns of different scale: the first has arrived long before the second has started.
        for seed in range(5):
            rng = np.random.default_rng(seed)
            X = rng.standard_normal((2000, 3)) * [1.0, 1.0, 1e-3]
            y = X @ [1.0, 1.0, 5.0] + rng.standard_normal(2000)
            options = {"fit_intercept": False, "learning_rate": 0.4, "max_iter": 1000}
            result = fit_anyway(X, y, backend=backend, **options)
            coef, _ = least_squares(X, y, fit_intercept=False)
            minimum = evaluate(X, y, coef).mse
            assert not result.converged or result.loss - minimum <= 1e-9 * minimum

    def test_is_called_converged_at_the_limit_of_rounding(self, backend, strategy, kind):
        # Where rounding keeps the gradient from falling further there is nothing to warn of.
        for seed in range(5):
            rng = np.random.default_rng(seed)
            X = (3 * rng.standard_normal((1000, 3)) + 1).astype(kind.dtype)
            y = (X @ np.arange(1, 4) + 2).astype(kind.dtype)
            result = fit(
                X,
                y,
                learning_rate=0.05,
                max_iter=1000,
                strategy=strategy,
                backend=backend,
                precision=kind.precision,
            )
            assert result.converged
            assert result.coef == pytest.approx(np.arange(1, 4), abs=1e-5)

    @pytest.mark.parametrize("power", [-12, 12])
    def test_is_judged_the_same_in_any_unit(self, backend, strategy, kind, power, rng):
        # Powers of 2 change no digit: the same descent, in other units of X.
        X = (rng.standard_normal((200, 3)) * [1.0, 0.5, 0.1]).astype(kind.dtype)
        y = (X @ [1.0, 2.0, 3.0] + 0.1 * rng.standard_normal(200)).astype(kind.dtype)
        unit = 2.0**power
        for max_iter in (20, 60, 1200):
            options = {"max_iter": max_iter, "precision": kind.precision, "strategy": strategy}
            options |= {"fit_intercept": False, "backend": backend}
            one = fit_anyway(X, y, learning_rate=0.5, **options)
            other = fit_anyway(X * X.dtype.type(unit), y, learning_rate=0.5 / unit**2, **options)
            assert other.converged == one.converged
            if backend == "numba" and kind.precision == "double":
                assert np.array_equal(other.coef * unit, one.coef)
                assert np.array_equal(other.loss_history, one.loss_history)
            else:  # the bits of BLAS depend on where an array lies; single sees the curvature as
                # roughly as it rounds, and may stop some epochs apart
                assert other.coef * unit == pytest.approx(one.coef, rel=1e-5)

    @pytest.mark.parametrize("number", [np.float32(0.25), np.float64(0.25), 1])
    def test_may_be_any_real_number(self, backend, number):
        result = fit_anyway([1.0, -1.0], [1.0, 0.0], learning_rate=number, max_iter=1)
        assert result.learning_rate == float(number)
        assert result.coef == pytest.approx(float(number))


# Designs that plain gradient descent is bad at; of three columns where their number is no matter,
# since code is compiled for each.
def plain(rng):
    return rng.standard_normal((400, 3))


def one_column(rng):
    return rng.standard_normal(400)


def one_column_far_off(rng):
    return 300 + rng.standard_normal(400)


def of_all_scales(rng):
    return rng.standard_normal((400, 3)) * 10.0 ** np.array([-6, 0, 6])


def far_off(rng):
    return rng.standard_normal((400, 3)) + np.array([2013.0, -500.0, 30.0])


def of_all_scales_far_off(rng):
    return (rng.standard_normal((400, 3)) + np.array([30.0, -100.0, 0.0])) * [1e-5, 1.0, 1e5]


def correlated(rng):
    X = rng.standard_normal((400, 3))
    X[:, 2] = X[:, 0] + 0.1 * X[:, 2]
    return X


def with_a_square(rng):
    x = rng.uniform(0, 2, 400)
    return np.column_stack([x, x**2, np.sin(9 * x)])


def more_than_32_columns(rng):
    return rng.standard_normal((400, 70)) * np.geomspace(1, 1e3, 70)


def zero_and_one(rng):
    return (rng.random((400, 3)) < [0.5, 0.05, 0.9]).astype(float)


AROUND_ZERO = (plain, one_column, of_all_scales, correlated, zero_and_one)
# Without an intercept to take their means, columns far from 0 are all but collinear.
FAR_OFF = (one_column_far_off, far_off, of_all_scales_far_off, with_a_square)
FULL_RANK = [
    *((design, True) for design in AROUND_ZERO + FAR_OFF),
    *((design, False) for design in AROUND_ZERO),
]


def a_constant_column(rng):
    X = rng.standard_normal((400, 3))
    X[:, 1] = 7.1
    return X


def constant_columns_only(rng):
    return np.full((400, 3), [0.1, 1000.3, -7.0])


def a_column_of_zeros(rng):
    X = rng.standard_normal((400, 3))
    X[:, 2] = 0
    return X


def a_column_twice(rng):
    X = rng.standard_normal((400, 3))
    X[:, 2] = X[:, 1]
    return X


def a_column_that_is_a_sum(rng):
    X = np.round(8 * rng.standard_normal((400, 3)))
    X[:, 2] = X[:, 0] + X[:, 1]
    return X


def fewer_rows_than_columns(rng):
    return rng.standard_normal((7, 20))


def two_rows(rng):
    return rng.standard_normal((2, 3))


def a_single_row(rng):
    return rng.standard_normal((1, 3)) + 1


def two_rows_of_one_column(rng):
    return rng.standard_normal(2)


RANK_DEFICIENT = (
    a_constant_column,
    constant_columns_only,
    a_column_of_zeros,
    a_column_twice,
    a_column_that_is_a_sum,
    fewer_rows_than_columns,
    two_rows,
    a_single_row,
    two_rows_of_one_column,
)


def named(value):
    return getattr(value, "__name__", str(value))


def a_problem(design, dtype, rng, noise=0.5):
    X = design(rng).astype(dtype)
    # Coefficients as large as make each column count the same.
    scale = np.where(X.std(axis=0) > 1e-3 * abs(X.mean(axis=0)), X.std(axis=0), 1.0)
    coef = rng.uniform(1, 2, X.shape[1:]) / scale
    y = (X - X.mean(axis=0)) @ coef if X.ndim == 2 else (X - X.mean()) * coef
    y = y + 3.0 + noise * rng.standard_normal(len(X))
    return X, y.astype(dtype)


def assert_least_squares(result, X, y, s, fit_intercept, kind):
    coef, intercept = least_squares(X, y, s, fit_intercept)
    # Products of columns far from 0 are rounded in their own size.
    deviation = X.std(axis=0, dtype=float)
    offset = np.abs(X).max(axis=0) / deviation
    rounding = 40 * kind.epsilon * float(np.max(offset))
    spread = float(y.std())
    tolerance = (1e-3 if kind.precision == "single" else 1e-4) + rounding
    assert np.max(np.abs(result.coef - coef) * deviation) <= tolerance * spread
    allowed = tolerance * spread * (1 + float(np.sum(offset)))
    assert result.intercept == pytest.approx(intercept, abs=allowed)
    minimum = evaluate(X, y, coef, intercept, s).mse
    achieved = evaluate(X, y, result.coef, result.intercept, s).mse
    assert achieved - minimum <= 2e-10 * minimum + (rounding * spread) ** 2


class TestAutomaticStep:
    @pytest.mark.parametrize(("design", "fit_intercept"), FULL_RANK, ids=named)
    def test_finds_the_least_squares(self, backend, strategy, kind, design, fit_intercept, rng):
        X, y = a_problem(design, kind.dtype, rng)
        weighted = kind == ("f4", "double")  # one of three, since code is compiled for each
        s = rng.uniform(0, 2, len(X)) if weighted else None
        result = fit(
            X,
            y,
            sample_weight=s,
            fit_intercept=fit_intercept,
            strategy=strategy,
            backend=backend,
            precision=kind.precision,
        )
        assert result.converged
        assert result.strategy.startswith(strategy)
        assert_least_squares(result, X, y, s, fit_intercept, kind)

    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_of_more_features_than_lanczos_steps(self, backend, strategy, fit_intercept, rng):
        kind = Kind("f8", "double")
        X, y = a_problem(more_than_32_columns, kind.dtype, rng)
        result = fit(X, y, fit_intercept=fit_intercept, strategy=strategy, backend=backend)
        assert result.converged
        assert_least_squares(result, X, y, None, fit_intercept, kind)

    @pytest.mark.filterwarnings("ignore::fastgd.CollinearityWarning")
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("design", RANK_DEFICIENT, ids=named)
    def test_predicts_the_same_where_many_coefficients_would_do(
        self, backend, strategy, kind, design, fit_intercept
    ):
        # Whether curvature that is nought comes out as a small positive number is chance.
        for seed in range(4):
            X, y = a_problem(design, kind.dtype, np.random.default_rng(seed))
            result = fit(
                X,
                y,
                fit_intercept=fit_intercept,
                strategy=strategy,
                backend=backend,
                precision=kind.precision,
            )
            coef, intercept = least_squares(X, y, None, fit_intercept)
            assert result.converged
            expected = evaluate(X, y, coef, intercept)
            found = evaluate(X, y, result.coef, result.intercept)
            tolerance = 1e-3 if kind.precision == "single" else 1e-4
            assert_close(found.prediction, expected.prediction, 1 + abs(y).max(), tolerance)
            # From 0, descent does not move along directions that change nothing.
            assert np.linalg.norm(result.coef) <= 1.01 * np.linalg.norm(coef) + 1e-6

    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_knows_the_limit_of_single_precision(self, backend, strategy, fit_intercept):
        # Where rounding keeps the gradient from falling further there is nothing to warn of.
        for seed in (0, 1, 11):
            X, y = a_problem(correlated, "f4", np.random.default_rng(seed))
            result = fit(
                X,
                y,
                fit_intercept=fit_intercept,
                strategy=strategy,
                backend=backend,
                precision="single",
            )
            assert result.converged

    def test_leaves_a_constant_column_to_the_intercept(self, backend, strategy, kind, rng):
        X, y = a_problem(a_constant_column, kind.dtype, rng)
        options = {"strategy": strategy, "backend": backend, "precision": kind.precision}
        assert fit(X, y, **options).coef[1] == 0.0
        # Rows of weight 0 are none.
        s = np.ones(len(X))
        s[0], X[0] = 0.0, 3.0
        assert fit(X, y, sample_weight=s, **options).coef[1] == 0.0

    @pytest.mark.parametrize("learning_rate", ["auto", 0.1])
    def test_does_not_see_rows_of_weight_zero(self, backend, strategy, dtype, learning_rate, rng):
        X, y = a_problem(plain, dtype, rng)
        s = np.ones(len(X))
        s[:3] = 0.0
        X[:3], y[:3] = [[1e9], [-3e8], [7e7]], 1e9
        options = {"learning_rate": learning_rate, "strategy": strategy, "backend": backend}
        weighted, without = fit(X, y, sample_weight=s, **options), fit(X[3:], y[3:], **options)
        assert weighted.coef == pytest.approx(without.coef, rel=1e-5)
        assert weighted.intercept == pytest.approx(without.intercept, rel=1e-5)
        assert weighted.loss == pytest.approx(without.loss, rel=1e-9)

    @pytest.mark.parametrize("power", [-30, -10, 10, 18])
    def test_the_unit_of_the_features_makes_no_difference(self, backend, dtype, rng, power):
        X, y = a_problem(plain, "f8", rng)
        expected, intercept = least_squares(X, y)
        result = fit((X * 10.0**power).astype(dtype), y.astype(dtype), backend=backend)
        assert result.coef * 10.0**power == pytest.approx(expected, rel=1e-4)
        assert result.intercept == pytest.approx(intercept, rel=1e-4)

    @pytest.mark.parametrize("power", [-30, -10, 10, 18])
    def test_the_unit_of_the_target_makes_no_difference(self, backend, rng, power):
        X, y = a_problem(plain, "f8", rng)
        expected, intercept = least_squares(X, y)
        result = fit(X, y * 10.0**power, backend=backend)
        assert result.coef * 10.0**-power == pytest.approx(expected, rel=1e-4)
        assert result.intercept * 10.0**-power == pytest.approx(intercept, rel=1e-4)

    @pytest.mark.filterwarnings("ignore::fastgd.CollinearityWarning")  # fewer rows than columns
    @given(
        data=data_sets(sizes=(*SMALL_SIZES, 513), widths=[3]),
        strategy=st.sampled_from(["stream", "moments"]),
    )
    def test_of_any_data_ends_at_the_least_squares(self, backend, data, strategy):
        result = fit_anyway(
            data.X,
            data.y,
            sample_weight=data.sample_weight,
            strategy=strategy,
            backend=backend,
        )
        s = data.sample_weight
        assert (np.diff(result.loss_history) <= 1e-12 * (1 + result.loss_history[0])).all()
        if not result.converged:  # few rows can be as ill-conditioned as they like
            return
        best = evaluate(data.X, data.y, *least_squares(data.X, data.y, s), s)
        found = evaluate(data.X, data.y, result.coef, result.intercept, s)
        # Moments know a loss to the rounding of their terms, the data to that of residuals.
        rounding = 1e-14 if strategy == "moments" else 1e-24
        allowed = 1e-9 * best.mse + rounding * found.mse_terms
        assert found.mse - best.mse <= allowed

    def test_reduction_makes_no_difference(self, backend, rng):
        X, y = a_problem(plain, "f8", rng)
        mean = fit(X, y, reduction="mean", backend=backend)
        total = fit(X, y, reduction="sum", backend=backend)
        assert np.array_equal(total.coef, mean.coef)
        assert np.array_equal(total.loss_history, mean.loss_history)

    def test_whole_weights_are_repeated_rows(self, backend, dtype, rng):
        X, y = a_problem(correlated, dtype, rng)
        counts = rng.integers(0, 4, len(X))
        weighted = fit(X, y, sample_weight=counts, backend=backend)
        repeated = fit(np.repeat(X, counts, axis=0), np.repeat(y, counts), backend=backend)
        assert weighted.coef == pytest.approx(repeated.coef, rel=1e-4)
        assert weighted.intercept == pytest.approx(repeated.intercept, rel=1e-4)
        assert weighted.loss == pytest.approx(repeated.loss, rel=1e-6)

    def test_falls_at_every_epoch(self, backend, rng):
        X, y = a_problem(with_a_square, "f8", rng)
        result = fit(X, y, backend=backend)
        assert (np.diff(result.loss_history) < 1e-14 * result.loss_history[0]).all()

    def test_is_near_the_best_constant_step(self, backend, rng):
        # The best one contracts by (K - 1) / (K + 1), with K the condition of the Hessian.
        X = rng.standard_normal((400, 3)) @ [[1, 0.9, 0], [0, 0.3, 0], [0, 0, 1]]
        X = (X - X.mean(axis=0)) / X.std(axis=0)
        y = X @ [1.0, 2.0, 3.0] + rng.standard_normal(400)
        smallest, largest = extreme_curvatures(X)
        result = fit(X, y, method="gd", tol=1e-10, backend=backend)
        assert result.learning_rate == pytest.approx(2 / (smallest + largest), rel=1e-6)
        condition = largest / smallest
        contraction = (condition - 1) / (condition + 1)
        start = result.loss_history[0] / result.loss
        epochs = math.log(1e-10 / start) / math.log(contraction**2)
        assert result.n_iter <= 1.5 * epochs + 3


class TestPerfectFit:
    @pytest.mark.parametrize("learning_rate", ["auto", 0.1])
    def test_of_a_plane(self, backend, strategy, kind, learning_rate, rng):
        X = rng.integers(-8, 9, (50, 3)).astype(kind.dtype) / 8
        y = (X @ np.array([1, -2, 4]) + 0.5).astype(kind.dtype)
        result = fit_anyway(
            X,
            y,
            learning_rate=learning_rate,
            max_iter=2000,
            strategy=strategy,
            backend=backend,
            precision=kind.precision,
        )
        # Moments know a loss to the rounding of their terms, the data to that of residuals.
        rounding = kind.epsilon**2 if strategy == "stream" else kind.epsilon
        assert 0 <= result.loss < 100 * rounding
        tolerance = 40 * np.sqrt(rounding)
        assert result.coef == pytest.approx([1, -2, 4], abs=tolerance)
        assert result.intercept == pytest.approx(0.5, abs=tolerance)

    @pytest.mark.parametrize("value", [0.0, 5.0, -1e-3, 1e6])
    def test_of_a_constant(self, backend, strategy, kind, value, rng):
        X = rng.standard_normal((60, 3)).astype(kind.dtype)
        y = np.full(60, value, kind.dtype)
        result = fit(X, y, strategy=strategy, backend=backend, precision=kind.precision)
        allowed = abs(float(y[0])) * 20 * kind.epsilon
        assert result.converged
        assert np.abs(result.coef).max() <= allowed
        assert result.intercept == pytest.approx(float(y[0]), abs=allowed)

    def test_of_zeros_takes_no_step(self, backend, dtype, rng):
        result = fit(
            rng.standard_normal((10, 3)).astype(dtype), np.zeros(10, dtype), backend=backend
        )
        assert result.n_iter == 0
        assert result.loss == 0.0
        assert not result.coef.any()


class TestStart:
    @pytest.mark.parametrize("shape", [(300,), (300, 3)])
    def test_at_the_solution_ends_there(self, backend, strategy, dtype, shape, rng):
        X = (rng.standard_normal(shape) + 2).astype(dtype)
        y = (X.reshape(300, -1).sum(axis=1) + rng.standard_normal(300)).astype(dtype)
        options = {"strategy": strategy, "backend": backend}
        found = fit(X, y, **options)
        again = fit(X, y, coef_init=found.coef, intercept_init=found.intercept, **options)
        assert again.converged
        assert again.n_iter <= 1
        assert again.coef == pytest.approx(found.coef, rel=1e-6)
        assert again.intercept == pytest.approx(found.intercept, rel=1e-6)

    @pytest.mark.parametrize("seed", range(5))
    def test_at_the_solution_with_a_literal_step(self, backend, strategy, seed):
        # The gradient is rounding there: it does not contract from step to step.
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((300, 3))
        y = X.sum(axis=1) + rng.standard_normal(300)
        coef, intercept = least_squares(X, y)
        result = fit(
            X,
            y,
            learning_rate=0.1,
            coef_init=coef,
            intercept_init=intercept,
            strategy=strategy,
            backend=backend,
        )
        assert result.converged
        assert result.n_iter <= 2

    def test_at_a_perfect_fit_is_no_divergence(self, backend, strategy, kind):
        # The loss is rounding alone there, and may well rise from epoch to epoch.
        for seed in range(10):
            rng = np.random.default_rng(seed)
            X = rng.standard_normal((50, 3)).astype(kind.dtype)
            coef = rng.standard_normal(3)
            _, largest = extreme_curvatures(X)
            result = fit_anyway(
                X,
                (X @ coef + 1).astype(kind.dtype),
                learning_rate=float(1 / largest),
                max_iter=100,
                coef_init=coef,
                intercept_init=1.0,
                strategy=strategy,
                backend=backend,
                precision=kind.precision,
            )
            assert result.coef == pytest.approx(coef, rel=1e-5)

    def test_anywhere_leads_to_the_same_end(self, backend, rng):
        X, y = a_problem(far_off, "f8", rng)
        coef, intercept = least_squares(X, y)
        result = fit(X, y, coef_init=[3.0, -4.0, 100.0], intercept_init=1e4, backend=backend)
        assert result.coef == pytest.approx(coef, rel=1e-4)
        assert result.intercept == pytest.approx(intercept, rel=1e-4)

    def test_is_where_the_first_loss_is_taken(self, backend, rng):
        X, y = a_problem(plain, "f8", rng)
        at = ([1.0, 2.0, 3.0], -5.0)
        for step in ("auto", 0.01):
            result = fit_anyway(
                X,
                y,
                learning_rate=step,
                max_iter=1,
                coef_init=at[0],
                intercept_init=at[1],
                backend=backend,
            )
            expected = float(evaluate(X, y, *at).mse)
            assert result.loss_history[0] == pytest.approx(expected, rel=1e-9)


class TestDivergence:
    @pytest.mark.parametrize("factor", [2.001, 2.01, 2.5, 10.0, 1e10, 1e200])
    @pytest.mark.parametrize(("reduction", "fit_intercept"), [("mean", True), ("sum", False)])
    def test_carries_a_step_that_works(
        self, backend, strategy, dtype, factor, reduction, fit_intercept, rng
    ):
        X, y = a_problem(plain, dtype, rng)
        options = {
            "sample_weight": rng.uniform(0.5, 2, len(X)),
            "fit_intercept": fit_intercept,
            "reduction": reduction,
            "strategy": strategy,
            "backend": backend,
        }
        _, largest = extreme_curvatures(X, options["sample_weight"], fit_intercept, reduction)
        with pytest.raises(
            DivergenceError, match=r"diverged.*learning_rate=.*would have"
        ) as caught:
            fit(X, y, learning_rate=float(factor / largest), **options)

        last = caught.value.result
        assert np.isfinite(last.coef).all()
        assert math.isfinite(last.intercept)
        assert math.isfinite(last.loss)
        assert np.isfinite(last.loss_history).all()
        assert not last.converged
        assert last.stop_reason is StopReason.DIVERGED
        assert last.learning_rate == float(factor / largest)
        assert last.n_iter < 10_000  # seen while it grows, not in the end
        assert len(last.loss_history) == last.n_iter + 1
        exact = evaluate(X, y, last.coef, last.intercept, options["sample_weight"])
        assert_close(last.loss, exact.mse, exact.mse_terms, 1e-6, "loss")
        assert f"{caught.value.learning_rate:.4g}" in str(caught.value)

        result = fit_anyway(X, y, learning_rate=caught.value.learning_rate, **options)
        assert result.converged
        assert result.loss_history[-1] < result.loss_history[0]
        coef, _ = least_squares(X, y, options["sample_weight"], fit_intercept)
        assert result.coef == pytest.approx(coef, rel=1e-3)

    def test_so_slow_that_it_shows_only_in_the_end(self, dtype, rng):
        X, y = a_problem(plain, dtype, rng)
        _, largest = extreme_curvatures(X)
        with pytest.raises(DivergenceError, match="diverged"):
            fit(X, y, learning_rate=2.0002 / largest, max_iter=20_000, backend="numpy")

    def test_of_the_notebook_with_too_long_a_step(self, backend):
        x = np.arange(6.0)
        with pytest.raises(DivergenceError) as caught:
            fit(x, 2 * x, learning_rate=0.02, reduction="sum", max_iter=20, backend=backend)
        working = caught.value.learning_rate
        result = fit(x, 2 * x, learning_rate=working, reduction="sum", backend=backend)
        assert result.coef == pytest.approx(2.0, abs=1e-4)

    def test_is_seen_when_the_loss_fell_at_first(self, backend, rng):
        # One direction starts far off and converges, the other starts close and diverges.
        X = rng.standard_normal((300, 3)) * [1.0, 0.2, 0.2]
        y = X @ [1e-3, 100.0, 100.0]
        _, largest = extreme_curvatures(X, fit_intercept=False)
        with pytest.raises(DivergenceError):
            fit(X, y, learning_rate=2.1 / largest, fit_intercept=False, backend=backend)

    def test_is_seen_when_few_epochs_were_asked_for(self, backend, strategy):
        x = np.arange(6.0)
        with pytest.raises(DivergenceError):
            fit(x, 2 * x, learning_rate=1.0, max_iter=2, strategy=strategy, backend=backend)

    @pytest.mark.parametrize("factor", [1.9, 1.99, 1.9999])
    def test_is_not_seen_where_there_is_none(self, backend, dtype, factor, rng):
        X, y = a_problem(plain, dtype, rng)
        _, largest = extreme_curvatures(X)
        result = fit_anyway(X, y, learning_rate=factor / largest, max_iter=300, backend=backend)
        assert result.loss < result.loss_history[0]

    def test_is_an_arithmetic_error(self):
        assert issubclass(DivergenceError, ArithmeticError)

    def test_of_data_too_large_for_any_step(self, backend, strategy):
        # Finite data, but no finite sums: an error that says so, not a result.
        x = np.array([1.0, 2.0, 3.0]) * 1e200
        for step in ("auto", 0.1, 1e-300):
            with pytest.raises(OverflowError, match="so large that sums of their squares are not"):
                fit(x, x, learning_rate=step, strategy=strategy, backend=backend)


class TestNotConverging:
    @pytest.mark.parametrize("learning_rate", ["auto", 0.01])
    def test_warns_and_says_so(self, backend, dtype, learning_rate, rng):
        X, y = a_problem(correlated, dtype, rng)
        with pytest.warns(ConvergenceWarning, match=r"after 3 epochs.*raise max_iter or tol"):
            result = fit(
                X, y, method="gd", learning_rate=learning_rate, max_iter=3, backend=backend
            )
        assert not result.converged
        assert result.stop_reason is StopReason.MAX_ITER
        assert result.n_iter == 3
        assert np.isfinite(result.coef).all()

    def test_warns_where_it_was_called(self, rng):
        X, y = a_problem(correlated, "f8", rng)
        with pytest.warns(ConvergenceWarning) as caught:
            fit(X, y, method="gd", max_iter=2)
        assert caught[0].filename == __file__

    @pytest.mark.parametrize(
        ("options", "remedy"),
        [
            ({}, 'adaptive" or "invscaling", average=True or a larger batch_size, or raise tol$'),
            ({"learning_rate": 0.1}, 'use learning_rate="adaptive" or "invscaling", average=True'),
            ({"average": True}, '"invscaling", a larger batch_size, or raise tol$'),
            ({"learning_rate": "constant"}, '^after.*use learning_rate="adaptive" or "invscaling"'),
            ({"learning_rate": "invscaling"}, "raise max_iter or tol, or use a larger batch_size$"),
            ({"learning_rate": lambda epoch: 0.1 / epoch}, "; raise max_iter or tol$"),
        ],
    )
    def test_says_what_helps_batches(self, rng, options, remedy):
        X, y = a_problem(plain, "f8", rng)
        with pytest.warns(ConvergenceWarning, match=remedy):
            fit(X, y, batch_size=40, max_iter=3, **options)

    def test_ends_well_with_more_epochs_or_a_larger_tolerance(self, backend, rng):
        X, y = a_problem(correlated, "f8", rng)
        options = {"method": "gd", "backend": backend}
        needed = fit(X, y, **options).n_iter
        assert fit(X, y, max_iter=needed, **options).converged
        assert fit(X, y, tol=1e-2, max_iter=needed // 2, **options).converged
        with pytest.warns(ConvergenceWarning):
            fit(X, y, max_iter=needed - 2, **options)

    def test_without_a_tolerance_every_epoch_is_run(self, backend, rng):
        X, y = a_problem(plain, "f8", rng)
        assert fit_anyway(X, y, tol=0, learning_rate=0.1, max_iter=77).n_iter == 77


X_GOOD = [[1.0, 2.0], [3.0, 5.0], [8.0, 13.0]]
Y_GOOD = [1.0, 2.0, 3.0]

BAD_ARGUMENTS = [
    (
        {"learning_rate": "fast"},
        ValueError,
        "learning_rate must be one of 'auto', 'constant'.* got 'fast'",
    ),
    ({"learning_rate": "0.1"}, ValueError, "learning_rate must be one of 'auto'"),
    ({"learning_rate": 0}, ValueError, "learning_rate must be finite and greater than 0, got 0"),
    ({"learning_rate": -1.0}, ValueError, "learning_rate must be finite and greater than 0"),
    ({"learning_rate": np.nan}, ValueError, "learning_rate must be finite.* got nan"),
    ({"learning_rate": np.inf}, ValueError, "learning_rate must be finite.* got inf"),
    ({"learning_rate": True}, TypeError, "learning_rate must be a real number"),
    ({"learning_rate": None}, TypeError, 'learning_rate must be "auto" or a positive number'),
    ({"learning_rate": [0.1]}, TypeError, r"learning_rate must be .* got \[0.1\]"),
    ({"learning_rate": np.array([0.1])}, TypeError, "learning_rate must be .* got an array"),
    ({"learning_rate": 1j}, TypeError, "learning_rate must be a real number"),
    ({"max_iter": 0}, ValueError, "max_iter must be an integer of at least 1, got 0"),
    ({"max_iter": -1}, ValueError, "max_iter must be an integer of at least 1, got -1"),
    ({"max_iter": 1.5}, TypeError, "max_iter must be an integer of at least 1, got 1.5"),
    ({"max_iter": True}, TypeError, "max_iter must be an integer"),
    ({"max_iter": None}, TypeError, "max_iter must be an integer"),
    ({"max_iter": "10"}, TypeError, "max_iter must be an integer"),
    ({"tol": -1e-9}, ValueError, "tol must be finite and 0 or more"),
    ({"tol": np.nan}, ValueError, "tol must be finite and 0 or more, got nan"),
    ({"tol": np.inf}, ValueError, "tol must be finite and 0 or more, got inf"),
    ({"tol": "small"}, TypeError, "tol must be a real number"),
    ({"tol": None}, TypeError, "tol must be a real number"),
    ({"tol": False}, TypeError, "tol must be a real number"),
    ({"backend": "fortran"}, ValueError, "backend must be one of 'numba', 'numpy'; got 'fortran'"),
    ({"backend": None}, ValueError, "backend must be one of 'numba', 'numpy'"),
    ({"backend": ["numpy"]}, ValueError, "backend must be one of 'numba', 'numpy'"),
    ({"reduction": "none"}, ValueError, "reduction must be one of 'mean', 'sum'; got 'none'"),
    ({"reduction": 1}, ValueError, "reduction must be one of 'mean', 'sum'"),
    ({"precision": "half"}, ValueError, "precision must be one of 'auto', 'double', "),
    ({"precision": 64}, ValueError, "precision must be one of 'auto', 'double', "),
    ({"strategy": "batch"}, ValueError, "strategy must be one of 'auto', 'stream', 'moments'"),
    ({"strategy": None}, ValueError, "strategy must be one of 'auto', 'stream', 'moments'"),
    ({"n_threads": 0}, ValueError, "n_threads must be an integer of at least 1, got 0"),
    ({"n_threads": -2}, ValueError, "n_threads must be an integer of at least 1, got -2"),
    ({"n_threads": 2.0}, TypeError, "n_threads must be an integer of at least 1"),
    ({"n_threads": True}, TypeError, "n_threads must be an integer of at least 1"),
    ({"fit_intercept": 1}, TypeError, "fit_intercept must be True or False, got 1"),
    ({"fit_intercept": None}, TypeError, "fit_intercept must be True or False"),
    ({"fit_intercept": "no"}, TypeError, "fit_intercept must be True or False"),
    ({"verbose": -1}, ValueError, "verbose must be an integer of at least 0"),
    ({"verbose": "yes"}, TypeError, "verbose must be an integer of at least 0"),
    ({"coef_init": [1.0, np.nan]}, ValueError, "coef_init must be finite"),
    ({"coef_init": [1.0, np.inf]}, ValueError, "coef_init must be finite"),
    ({"coef_init": np.nan}, ValueError, "coef_init must be finite"),
    ({"coef_init": ["a", "b"]}, TypeError, "coef_init must be .* real numbers"),
    ({"coef_init": [1j, 0]}, TypeError, "coef_init must be .* real numbers"),
    ({"coef_init": [[1.0], [2.0, 3.0]]}, (TypeError, ValueError), "coef_init"),
    ({"intercept_init": np.nan}, ValueError, "intercept_init must be finite"),
    ({"intercept_init": [1.0]}, ValueError, "intercept_init must be a scalar"),
    ({"intercept_init": "a"}, TypeError, "intercept_init must be a scalar"),
    (
        {"intercept_init": 1.0, "fit_intercept": False},
        ValueError,
        "intercept_init cannot be given with fit_intercept=False",
    ),
]


class TestBadArguments:
    @pytest.mark.parametrize(
        ("arguments", "error", "words"), BAD_ARGUMENTS, ids=lambda v: str(v)[:40]
    )
    @pytest.mark.parametrize("X", [X_GOOD, [1.0, 2.0, 7.0]], ids=["2-D", "1-D"])
    def test_are_named(self, X, arguments, error, words):
        with pytest.raises(error, match=words):
            fit(X, Y_GOOD, **arguments)

    @pytest.mark.parametrize("coef", [1.0, [1.0], [1.0, 2.0, 3.0], [[1.0], [2.0]]])
    def test_coef_init_is_a_vector_in_two_dimensions(self, coef):
        with pytest.raises(ValueError, match=r"coef_init must be an array of shape \(2,\).*; got"):
            fit(X_GOOD, Y_GOOD, coef_init=coef)

    @pytest.mark.parametrize("coef", [[1.0], [1.0, 2.0], [[1.0]]])
    def test_coef_init_is_a_scalar_in_one_dimension(self, coef):
        with pytest.raises(ValueError, match="coef_init must be a scalar, since X is 1-D"):
            fit([1.0, 2.0, 4.0], Y_GOOD, coef_init=coef)

    def test_are_seen_before_the_data_are(self):
        with pytest.raises(ValueError, match="max_iter"):
            fit(None, None, max_iter=0)

    def test_options_are_given_by_name(self):
        with pytest.raises(TypeError, match="positional"):
            fit(X_GOOD, Y_GOOD, [1.0, 1.0, 1.0])

    def test_whole_numbers_of_numpy_are_fine(self, backend):
        result = fit_anyway(
            X_GOOD,
            Y_GOOD,
            max_iter=np.int64(2),
            tol=np.float32(0.1),
            n_threads=np.uint8(1),
            fit_intercept=np.True_,
            backend=backend,
        )
        assert result.n_iter <= 2
