"""Cross-validation from moments, against models fitted anew to the rows of each fold."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from compare import fit_anyway

import fastgd
from fastgd import Moments, cross_validate

ALPHAS = [0.0, 0.01, 1.0, 30.0]


def data(d=4, n=103, dtype="f8", location=2.0, seed=1):
    rng = np.random.default_rng(seed)
    X = (location + rng.standard_normal((n, d or 1)) * np.geomspace(1, 3, d or 1)).astype(dtype)
    y = (X.sum(axis=1) + 1 + rng.standard_normal(n)).astype(dtype)
    return (X[:, 0] if d is None else X), y, rng.uniform(0.2, 2.0, n).astype(dtype)


def folds_of(n, cv):
    borders = [n * fold // cv for fold in range(cv + 1)]
    for first, stop in pairwise(borders):
        held_out = np.arange(first, stop)
        yield np.setdiff1d(np.arange(n), held_out), held_out


def ridge(X, y, weight, alpha, fit_intercept):
    """The minimiser of mse + alpha |w|^2 by least squares on rows of square roots, in float64."""
    X, y = np.asarray(X, float).reshape(len(y), -1), np.asarray(y, float)
    s = np.ones(len(y)) if weight is None else np.asarray(weight, float)
    s = s / s.sum()
    d = X.shape[1]
    mean_X, mean_y = (s @ X, s @ y) if fit_intercept else (np.zeros(d), 0.0)
    root = np.sqrt(s)[:, np.newaxis]
    design = np.vstack([root * (X - mean_X), np.sqrt(alpha) * np.eye(d)])
    target = np.append(root[:, 0] * (y - mean_y), np.zeros(d))
    coef = np.linalg.lstsq(design, target, rcond=None)[0]
    return coef, mean_y - mean_X @ coef


def error(X, y, weight, coef, intercept):
    X, y = np.asarray(X, float).reshape(len(y), -1), np.asarray(y, float)
    return np.average((X @ np.atleast_1d(coef) + intercept - y) ** 2, weights=weight)


def part(rows, *arrays):
    return [None if array is None else array[rows] for array in arrays]


class TestRidge:
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("weighted", [True, False])
    @pytest.mark.parametrize("d", [None, 1, 4, 20])
    @pytest.mark.parametrize("cv", [2, 5, 103])
    def test_as_each_fold_fitted_anew(self, backend, dtype, d, cv, weighted, fit_intercept):
        X, y, weight = data(d, dtype=dtype)
        weight = weight if weighted else None
        copies = [array.copy() for array in (X, y)]
        result = cross_validate(
            X,
            y,
            sample_weight=weight,
            cv=cv,
            alpha=ALPHAS,
            fit_intercept=fit_intercept,
            backend=backend,
        )
        assert result.mse.shape == (len(ALPHAS), cv)
        assert result.settings == [{"alpha": alpha} for alpha in ALPHAS]
        folds = list(enumerate(folds_of(len(y), cv)))
        for fold, (training, held_out) in folds[:: max(cv // 8, 1)] + folds[-1:]:
            for row, alpha in enumerate(ALPHAS):
                model = ridge(*part(training, X, y, weight), alpha, fit_intercept)
                expected = error(*part(held_out, X, y, weight), *model)
                assert result.mse[row, fold] == pytest.approx(expected, rel=1e-8, abs=1e-12)
        coef, intercept = ridge(X, y, weight, result.best["alpha"], fit_intercept)
        assert result.coef == pytest.approx(float(coef[0]) if d is None else coef, rel=1e-8)
        assert result.intercept == pytest.approx(intercept, rel=1e-8, abs=1e-10)
        assert np.array_equal(X, copies[0])
        assert np.array_equal(y, copies[1])

    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_as_scikit_learn_says(self, fit_intercept):
        linear_model = pytest.importorskip("sklearn.linear_model")
        model_selection = pytest.importorskip("sklearn.model_selection")
        X, y, _ = data(n=100)  # scikit-learn divides what is left over otherwise
        result = cross_validate(X, y, cv=5, alpha=ALPHAS[1:], fit_intercept=fit_intercept)
        for row, alpha in enumerate(ALPHAS[1:]):
            # Its penalty is of the sum of squares: alpha * n, with n of the training rows.
            ridge = linear_model.Ridge(alpha=alpha * 80, fit_intercept=fit_intercept)
            scores = model_selection.cross_val_score(
                ridge, X, y, cv=5, scoring="neg_mean_squared_error"
            )
            assert result.mse[row] == pytest.approx(-scores, rel=1e-8)

    @pytest.mark.parametrize("location", [1e4, -1e6])
    def test_far_from_zero(self, location):
        X, y, _ = data(location=location)
        result = cross_validate(X, y, alpha=ALPHAS)
        for fold, (training, held_out) in enumerate(folds_of(len(y), 5)):
            for row, alpha in enumerate(ALPHAS):
                expected = error(X[held_out], y[held_out], None, *ridge(
                    X[training], y[training], None, alpha, True))  # fmt: skip
                assert result.mse[row, fold] == pytest.approx(expected, rel=1e-6)

    def test_a_fold_that_holds_most_of_the_spread_costs_no_digits(self):
        X, y, _ = data()
        X[:20] *= 1e8
        result = cross_validate(X, y, alpha=[0.1])
        training, held_out = next(folds_of(len(y), 5))
        model = ridge(X[training], y[training], None, 0.1, True)
        expected = error(X[held_out], y[held_out], None, *model)
        assert result.mse[0, 0] == pytest.approx(expected, rel=1e-8)

    def test_columns_of_other_scales_and_constant_ones(self):
        X, y, _ = data()
        scaled = np.column_stack([X * [1.0, 1e6, 1e-6, 1e3], np.full(len(y), 0.1)])
        assert cross_validate(scaled, y).mse == pytest.approx(cross_validate(X, y).mse, rel=1e-8)

    def test_columns_twice(self):
        X, y, _ = data()
        twice = cross_validate(np.hstack([X, X]), y, alpha=[0.0, 0.5])
        once = cross_validate(X, y, alpha=[0.0, 0.25])
        assert twice.mse == pytest.approx(once.mse, rel=1e-8)


class TestDescents:
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("weighted", [True, False])
    @pytest.mark.parametrize("d", [None, 4])
    def test_as_each_fold_descended_anew(self, backend, d, weighted, fit_intercept):
        X, y, weight = data(d)
        weight = weight if weighted else None
        rates, epochs = [0.001, 0.01], [1, 5, 60]
        result = cross_validate(
            X,
            y,
            sample_weight=weight,
            cv=3,
            learning_rate=rates,
            max_iter=epochs,
            fit_intercept=fit_intercept,
            backend=backend,
        )
        expected_settings = [
            {"alpha": 0.0, "learning_rate": rate, "max_iter": n} for rate in rates for n in epochs
        ]
        assert result.settings == expected_settings
        options = {"fit_intercept": fit_intercept, "tol": 0, "strategy": "stream"}
        for row, setting in enumerate(result.settings):
            literal = {name: setting[name] for name in ("learning_rate", "max_iter")}
            for fold, (training, held_out) in enumerate(folds_of(len(y), 3)):
                fitted = fit_anyway(
                    X[training],
                    y[training],
                    sample_weight=None if weight is None else weight[training],
                    **literal,
                    **options,
                )
                expected = error(*part(held_out, X, y, weight), fitted.coef, fitted.intercept)
                assert result.mse[row, fold] == pytest.approx(expected, rel=1e-8)

    def test_with_a_penalty_they_come_to_the_penalised_minimum(self, backend):
        X, y, weight = data(location=0.0)
        options = {"sample_weight": weight, "alpha": [0.5, 2.0], "backend": backend}
        descended = cross_validate(X, y, learning_rate=0.05, max_iter=600, **options)
        assert descended.mse == pytest.approx(cross_validate(X, y, **options).mse, rel=1e-8)

    def test_divergence_is_an_infinite_error(self, backend):
        X, y, _ = data()
        result = cross_validate(X, y, learning_rate=[0.01, 10.0], max_iter=[2000], backend=backend)
        assert np.isinf(result.mse[1]).all()
        assert result.best["learning_rate"] == 0.01
        assert "inf" in str(result)
        with pytest.raises(ValueError, match="every setting diverges"):
            cross_validate(X, y, learning_rate=10.0, max_iter=2000, backend=backend)

    def test_all_epochs_are_run_and_nothing_is_warned_of(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            cross_validate(*data()[:2], learning_rate=1e-6, max_iter=1)


class TestFolds:
    def test_shuffled_rows_of_an_order(self):
        X, _, _ = data(n=500, location=0.0)
        X = np.sort(X, axis=0)
        y = X[:, 0] ** 2
        in_order = cross_validate(X, y)
        shuffled = cross_validate(X, y, shuffle=True, random_state=0)
        assert shuffled.mean[0] < in_order.mean[0]

    def test_shuffling_is_fixed_by_the_state(self):
        X, y, _ = data(n=1000)
        one, same, other = (
            cross_validate(X, y, shuffle=True, random_state=state).mse
            for state in (3, np.random.default_rng(3), 4)
        )
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)
        assert cross_validate(X, y, shuffle=True).mse.shape == one.shape

    @pytest.mark.parametrize("n", [7, 300, 5001])
    def test_shuffled_folds_hold_every_row_once(self, n):
        X, y, weight = data(n=n)
        whole = cross_validate(X, y, sample_weight=weight, shuffle=True, random_state=1).moments
        expected = Moments.of(X, y, weight)
        assert whole.n_samples == n
        assert whole.scatter == pytest.approx(expected.scatter, rel=1e-9)
        assert whole.mean == pytest.approx(expected.mean, rel=1e-12)

    def test_the_moments_are_of_all_data(self):
        X, y, _ = data()
        result = cross_validate(X, y)
        fitted = fastgd.fit(result.moments, tol=1e-14)
        assert fitted.coef == pytest.approx(result.coef, rel=1e-6)

    def test_the_same_bits_for_any_number_of_threads(self, rng):
        X, y = rng.standard_normal((400_000, 16)).astype("f4"), np.ones(400_000, "f4")
        results = [cross_validate(X, y, cv=3, n_threads=n).mse for n in (1, 2, 3)]
        assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()

    def test_reads_the_data_once(self, monkeypatch):
        from fastgd.backends import numpy as module

        X, y, _ = data(n=400)
        rows, moments = [], module.moments
        monkeypatch.setattr(
            module,
            "moments",
            lambda part, *rest: rows.append(part.n_samples) or moments(part, *rest),
        )
        monkeypatch.setattr(module, "open_pass", None)
        options = {"learning_rate": [0.01, 0.02], "max_iter": [5, 9], "backend": "numpy"}
        cross_validate(X, y, alpha=ALPHAS, **options)
        cross_validate(X, y, alpha=ALPHAS, shuffle=True, backend="numpy")
        assert sum(rows) == 2 * len(y)


class TestResult:
    def test_best_and_spread(self):
        result = cross_validate(*data()[:2], alpha=ALPHAS)
        assert result.mean == pytest.approx(result.mse.mean(axis=1))
        spread = result.mse.std(axis=1, ddof=1) / np.sqrt(5)
        assert result.standard_error == pytest.approx(spread)
        assert result.best == result.settings[int(np.argmin(result.mean))]

    def test_of_1d_X_coef_is_a_scalar(self):
        assert isinstance(cross_validate(*data(None)[:2]).coef, float)

    def test_printed(self):
        result = cross_validate(*data()[:2], alpha=ALPHAS)
        lines = str(result).splitlines()
        assert lines[0].split() == ["alpha", "mse", "standard", "error"]
        assert len(lines) == 1 + len(ALPHAS)
        assert [line.endswith("best") for line in lines].count(True) == 1
        assert repr(result) == f"CrossValidation(n_settings=4, n_folds=5, best={result.best})"

    def test_is_frozen(self):
        with pytest.raises(AttributeError):
            cross_validate(*data()[:2]).coef = 1.0


class TestBadArguments:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"cv": 1}, ValueError, "cv must be an integer of at least 2"),
            ({"cv": 0}, ValueError, "cv must be an integer of at least 2"),
            ({"cv": 104}, ValueError, "cv=104 folds need as many samples; X has 103"),
            ({"cv": 2.0}, TypeError, "cv must be an integer"),
            ({"cv": True}, TypeError, "cv must be an integer"),
            ({"cv": None}, TypeError, "cv must be an integer"),
            ({"cv": [([0], [1])]}, TypeError, "more than one read"),
            ({"alpha": -1.0}, ValueError, "alpha must be finite and 0 or more"),
            ({"alpha": [0.1, np.nan]}, ValueError, "alpha must be finite and 0 or more"),
            ({"alpha": [np.inf]}, ValueError, "alpha must be finite and 0 or more"),
            ({"alpha": []}, ValueError, "alpha must hold at least one number"),
            ({"alpha": "0.1"}, TypeError, "alpha must be"),
            ({"alpha": ["0.1"]}, TypeError, "alpha must be a real number"),
            ({"alpha": None}, TypeError, "alpha must be a number or a sequence"),
            ({"alpha": [[0.1]]}, TypeError, "alpha must be"),
            ({"alpha": {0.1}}, TypeError, "alpha must be"),
            ({"learning_rate": 0.1}, ValueError, "given together"),
            ({"max_iter": 10}, ValueError, "given together"),
            ({"learning_rate": 0.0, "max_iter": 1}, ValueError, "learning_rate must be"),
            ({"learning_rate": "auto", "max_iter": 1}, TypeError, "learning_rate must be"),
            ({"learning_rate": [], "max_iter": 1}, ValueError, "learning_rate must hold"),
            ({"learning_rate": 0.1, "max_iter": 0}, ValueError, "max_iter must be"),
            ({"learning_rate": 0.1, "max_iter": [1.5]}, TypeError, "max_iter must be"),
            ({"fit_intercept": 1}, TypeError, "fit_intercept must be True or False"),
            ({"shuffle": "yes"}, TypeError, "shuffle must be True or False"),
            ({"random_state": 1}, ValueError, "no effect without shuffle=True"),
            ({"shuffle": True, "random_state": -1}, ValueError, "random_state must be"),
            ({"shuffle": True, "random_state": "a"}, TypeError, "random_state must be"),
            ({"backend": "cuda"}, ValueError, "backend must be one of"),
            ({"n_threads": 0}, ValueError, "n_threads must be"),
            (
                {"sample_weight": np.r_[np.zeros(50), np.ones(53)]},
                ValueError,
                "fold 0 has no weight",
            ),
            ({"sample_weight": np.ones(3)}, ValueError, "sample_weight has 3 entries"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_are_refused(self, options, error, message):
        with pytest.raises(error, match=message):
            cross_validate(*data()[:2], **options)

    def test_many_targets_and_moments(self):
        X, y, _ = data()
        with pytest.raises(ValueError, match="y must be 1-D"):
            cross_validate(X, X)
        with pytest.raises(TypeError, match="X must hold real numbers"):
            cross_validate(Moments.of(X, y), y)

    @pytest.mark.parametrize("shuffle", [False, True])
    def test_not_finite(self, backend, shuffle):
        X, y, _ = data()
        X[77, 2] = np.nan
        with pytest.raises(ValueError, match=r"X must be finite; X\[77, 2\] is nan"):
            cross_validate(X, y, shuffle=shuffle, backend=backend)


@pytest.mark.parametrize("size", [1e271, 1.7e308])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_numbers_whose_squares_overflow_are_refused_in_folds_of_one_row(size, fit_intercept):
    with pytest.raises(OverflowError, match="so large that sums of their squares"):
        cross_validate(np.ones(2), np.array([1.0, size]), cv=2, fit_intercept=fit_intercept)


def test_rows_too_far_apart_are_refused_in_shuffled_folds(backend):
    y = np.array([1.0, 1.7e308, 2.0, 1.0])
    with pytest.raises(OverflowError, match="cannot be merged: their means are so far apart"):
        cross_validate(np.arange(4.0), y, cv=2, shuffle=True, backend=backend)
    with pytest.raises(ValueError, match=r"X must be finite; X\[3\] is nan"):
        cross_validate([0, 1, 2, np.nan], y, cv=2, shuffle=True, backend=backend)
