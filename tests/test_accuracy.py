"""Right to the last digit: exact moments, the solution they give, and when they are chosen."""

import json
from fractions import Fraction

import numpy as np
import pytest

import fastgd
from bench.accuracy import LSTSQ, NIST, digits, nist_problems, numpy_lstsq, solve_rationally
from fastgd import CollinearityWarning, Moments, cross_validate, fit
from fastgd._linalg.double_double import DoubleDouble, Factor
from fastgd._sums.costs import MOST_INFLATION
from fastgd.backends import BACKENDS
from fastgd.methods import METHODS

PROBLEMS = {name: rest for name, *rest in nist_problems()}
EXACT = 2.0**-98  # a few units of double-doubles

DTYPES = [("f4", "f4", None), ("f4", "f8", "f4"), ("f8", "f8", None), ("f4", "f4", "f4")]
DTYPES += [("f8", "f8", "f8")]
SHAPES = [(1, "C"), (4, "F"), (7, "C"), (17, "C")]
# Code is compiled for each.
KINDS = [(dtypes, 3, "C") for dtypes in DTYPES]
KINDS += [(DTYPES[-1 if d == 7 else 2], d, order) for d, order in SHAPES]


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def rational(high, low):
    return [
        Fraction(float(a)) + Fraction(float(b)) for a, b in zip(high.flat, low.flat, strict=True)
    ]


def exact_scatter(X, y, s):
    Z = [[Fraction(float(v)) for v in row] for row in np.column_stack([X, y]).astype(float)]
    weights = [Fraction(float(v)) for v in s] if s is not None else [Fraction(1)] * len(Z)
    total, k = sum(weights), len(Z[0])
    mean = [sum(w * z[j] for w, z in zip(weights, Z, strict=True)) / total for j in range(k)]
    return mean, [
        sum(w * (z[i] - mean[i]) * (z[j] - mean[j]) for w, z in zip(weights, Z, strict=True))
        for i in range(k)
        for j in range(k)
    ]


def collected(n, d, order, dtypes, rng):
    X = np.array(rng.standard_normal((n, d)) + 3, dtypes[0], order=order)
    y = rng.standard_normal(n).astype(dtypes[1])
    s = None if dtypes[2] is None else rng.uniform(0, 2, n).astype(dtypes[2])
    return X, y, s


class TestExactMoments:
    @pytest.mark.parametrize(("dtypes", "d", "order"), KINDS, ids=str)
    def test_have_thirty_digits(self, d, order, dtypes, backend, rng):
        X, y, s = collected(281 if d < 8 else 60, d, order, dtypes, rng)
        moments = Moments.of(X, y, s, precision="exact", backend=backend)
        mean, scatter = exact_scatter(X, y, s)
        size = np.sqrt(np.diagonal(moments.scatter))
        for found, right in zip(rational(moments.mean, moments.low.mean), mean, strict=True):
            assert abs(found - right) <= EXACT * 4
        found = rational(moments.scatter, moments.low.scatter)
        for value, right, terms in zip(found, scatter, np.outer(size, size).flat, strict=True):
            assert abs(value - right) <= EXACT * 16 * Fraction(terms)

    @pytest.mark.parametrize("dtypes", DTYPES[2:], ids=str)
    def test_have_the_same_bits_for_any_number_of_threads(self, dtypes, rng):
        X, y, s = collected(300_000, 3, "C", dtypes, rng)
        one, *others = (Moments.of(X, y, s, precision="exact", n_threads=n) for n in (1, 2, 3))
        assert one.low is not None
        assert all(one == other for other in others)
        shifted = np.empty(X.nbytes + 8, np.uint8)[8:].view(X.dtype).reshape(X.shape)
        shifted[:] = X
        assert one == Moments.of(shifted, y, s, precision="exact")

    def test_lose_nothing_to_large_numbers_beside_small(self, backend):
        x = np.array([1e16, 1.0, -1e16, 1.0, 3.0])
        moments = Moments.of(x, x, precision="exact", backend=backend)
        assert moments.mean.tolist() == [1.0, 1.0]

    def test_are_merged_and_taken_apart_exactly(self, backend, rng):
        X, y, s = collected(90, 3, "C", ("f8", "f8", "f8"), rng)
        of = [Moments.of(X[r], y[r], s[r], precision="exact", backend=backend) for r in ROWS]
        whole, first, second = of
        size = np.abs(whole.scatter).max()
        for found, right in ((first + second, whole), (whole - first, second)):
            difference = found.exact.scatter - right.exact.scatter
            assert np.abs(difference.high).max() <= 64 * float(EXACT) * size
            assert found.n_samples == right.n_samples

    def test_are_no_longer_exact_with_others(self, rng):
        X, y, _ = collected(90, 3, "C", ("f8", "f8", None), rng)
        exact, double = Moments.of(X, y, precision="exact"), Moments.of(X, y)
        assert (exact + double).low is None
        assert (exact + exact - double).low is None
        assert exact != double
        assert "exact" in repr(exact)
        assert "exact" not in repr(double)

    def test_are_kept_in_files(self, tmp_path, rng):
        X, y, _ = collected(90, 3, "C", ("f8", "f8", None), rng)
        moments = Moments.of(X, y, precision="exact")
        moments.save(tmp_path / "m.npz")
        assert Moments.load(tmp_path / "m.npz") == moments
        fields = dict(np.load(tmp_path / "m.npz"))
        fields["low_mean"] = fields["low_mean"] + 1.0
        np.savez(tmp_path / "bad.npz", **fields)
        with pytest.raises(ValueError, match="low parts are more than the rounding"):
            Moments.load(tmp_path / "bad.npz")

    def test_are_penalised_and_scaled(self, rng):
        X, y, _ = collected(90, 3, "C", ("f8", "f8", None), rng)
        moments = Moments.of(X, y, precision="exact")
        plain = Moments.of(X, y)
        for change in (lambda m: m.penalised(0.1), lambda m: m.scaled(0.3)):
            assert change(moments).low is not None
            assert np.allclose(change(moments).scatter, change(plain).scatter, rtol=1e-12)


ROWS = (slice(None), slice(0, 40), slice(40, None))


class TestArithmetic:
    @pytest.mark.parametrize("n", [1, 2, 5, 9])
    def test_solves_the_hilbert_matrix(self, n):
        exact = [[Fraction(1, i + j + 1) for j in range(n)] for i in range(n)]
        high = np.array([[float(v) for v in row] for row in exact])
        low = [
            [float(v - Fraction(h)) for v, h in zip(r, hs, strict=True)]
            for r, hs in zip(exact, high, strict=True)
        ]
        matrix = DoubleDouble(high, np.array(low))
        scale = 2.0 ** -np.floor(np.log2(np.sqrt(np.diagonal(high))))
        factor = Factor(matrix.scaled(scale).scaled(scale[:, None]), np.zeros(n), np.ones(n))
        total = DoubleDouble(matrix.high.T, matrix.low.T).sum()[:, np.newaxis]
        solved = factor.solve(total.scaled(scale[:, None])).scaled(scale[:, None])
        assert np.abs(solved.high - 1).max() <= 1e-15
        assert factor.rank == n


class TestNIST:
    @pytest.mark.parametrize("precision", ["auto", "exact"])
    @pytest.mark.parametrize("name", PROBLEMS)
    def test_no_fewer_digits_than_lstsq(self, name, precision, backend):
        X, y, intercept, exact = PROBLEMS[name]
        result = fit(X, y, fit_intercept=intercept, precision=precision, backend=backend)
        coef = np.append(result.intercept, result.coef) if intercept else result.coef
        # What comes after is luck: of sums in float64 (lstsq itself has 12.3 or 12.8 digits on
        # norris, by the BLAS), and of data that were rounded to float64.
        sound = 12.0 if precision == "auto" else digits(solve_rationally(X, y, intercept), exact)
        theirs = digits(numpy_lstsq(X, y, intercept), exact)
        assert digits(coef, exact) >= min(theirs, sound - 0.1), LSTSQ

    @pytest.mark.parametrize("name", PROBLEMS)
    def test_exact_is_right_for_the_numbers_given(self, name, backend):
        X, y, intercept, _ = PROBLEMS[name]
        given = solve_rationally(X, y, intercept)
        result = fit(X, y, fit_intercept=intercept, precision="exact", backend=backend)
        coef = np.append(result.intercept, result.coef) if intercept else result.coef
        assert digits(coef, given) >= 13.0
        assert result.converged

    def test_residuals_are_those_certified(self):
        known = json.loads((NIST / "exact.json").read_text())
        X, y, _, _ = PROBLEMS["filip"]
        squares = fit(X, y, precision="exact").loss * len(y)
        assert squares == pytest.approx(known["filip"]["residual_sum_of_squares"], rel=1e-6)

    @pytest.mark.parametrize("method", [name for name in METHODS if name != "sgd"])
    def test_every_method_runs_on_exact_moments(self, method):
        X, y, _, exact = PROBLEMS["norris"]
        options = {"max_iter": 20_000} if method != "adam" else {"max_iter": 20_000, "tol": 1e-6}
        result = fit(X, y, method=method, precision="exact", **options)
        assert result.coef[0] == pytest.approx(exact[1], rel=1e-3)
        assert result.moments.low is not None


def nearly_collinear(rng, away, dtype="f8"):
    X = rng.standard_normal((200, 4))
    X[:, 3] = X[:, 0] - X[:, 1] + away * X[:, 3]
    return X.astype(dtype), (X.sum(axis=1) + rng.standard_normal(200)).astype(dtype)


class TestChoice:
    @pytest.mark.parametrize("options", [{}, {"fit_intercept": False}, {"alpha": 1e-12}], ids=str)
    @pytest.mark.parametrize("away", [1e-7, 1e-4])
    def test_of_exact_moments_where_doubles_will_not_do(self, away, options, backend, rng):
        X, y = nearly_collinear(rng, away)
        result = fit(X, y, backend=backend, **options)
        assert result.strategy.startswith("moments: 2 reads, the second exact")
        assert result.moments.low is not None
        exact = fit(X, y, precision="exact", backend=backend, **options)
        assert np.array_equal(result.coef, exact.coef)
        if "alpha" not in options:
            given = solve_rationally(X, y, options.get("fit_intercept", True))
            assert digits(result.coef, given[-4:]) >= 14.0

    def test_of_doubles_for_ordinary_data(self, rng):
        X, y = nearly_collinear(rng, 10 * MOST_INFLATION[np.dtype(np.float64)] ** -0.5)
        result = fit(X, y)
        assert result.moments.low is None
        assert "1 read" in result.strategy

    @pytest.mark.parametrize(("away", "exact"), [(1e-3, False), (3e-6, True)])
    def test_for_single_columns_where_double_leaves_less_than_they_have(self, away, exact, rng):
        X, y = nearly_collinear(rng, away, "f4")
        result = fit(X, y)
        assert (result.moments.low is not None) == exact
        assert digits(result.coef, solve_rationally(X, y, True)[1:]) >= 7.0

    def test_of_doubles_where_asked_for_or_where_they_have_to_do(self, rng):
        X, y = nearly_collinear(rng, 1e-7)
        assert fit(X, y, precision="double").moments.low is None
        assert fit(X, y, method="gd", max_iter=5, tol=0).moments.low is None
        single, target = nearly_collinear(rng, 0.0, "f4")
        with pytest.warns(CollinearityWarning):
            assert fit(single, target).moments.low is None

    def test_a_penalty_may_make_doubles_do(self, rng):
        X, y = nearly_collinear(rng, 1e-7)
        assert fit(X, y, alpha=0.1).moments.low is None

    @pytest.mark.parametrize("options", [{}, {"fit_intercept": False}, {"alpha": 0.3}], ids=str)
    def test_of_several_targets(self, options, rng):
        X, y = nearly_collinear(rng, 1e-6)
        both = fit(X, np.column_stack([y, -2 * y]), precision="exact", **options)
        one = fit(X, y, precision="exact", **options)
        assert both.coef[:, 0] == pytest.approx(one.coef, rel=1e-15)
        assert both.coef[:, 1] == pytest.approx(-2 * one.coef, rel=1e-15)
        assert both.intercept == pytest.approx([one.intercept, -2 * one.intercept], rel=1e-15)

    def test_in_cross_validation_from_exact_folds(self, rng):
        X, y = nearly_collinear(rng, 1e-7)
        folds = [Moments.of(X[i::4], y[i::4], precision="exact") for i in range(4)]
        found = cross_validate(folds)
        assert digits(found.coef, solve_rationally(X, y, True)[1:]) >= 14.0

    @pytest.mark.parametrize(
        "options",
        [{"strategy": "stream"}, {"batch_size": 9}, {"validation_fraction": 0.1}],
        ids=str,
    )
    def test_of_exact_needs_moments(self, options, rng):
        X, y = nearly_collinear(rng, 1.0)
        with pytest.raises(ValueError, match='precision="exact" is one of moments'):
            fit(X, y, precision="exact", **options)
        with pytest.raises(ValueError, match="needs exact moments"):
            fit(Moments.of(X, y), precision="exact")


@pytest.mark.parametrize("precision", ["double", "exact", "auto"])
class TestCollinear:
    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_columns_are_named(self, fit_intercept, precision, backend, rng):
        X, y = nearly_collinear(rng, 0.0)
        X[:, [2, 3]] = X[:, [3, 2]]
        options = {"precision": precision, "backend": backend, "fit_intercept": fit_intercept}
        words = r"of X\[:, 0\], X\[:, 1\], X\[:, 2\]: they"
        with pytest.warns(CollinearityWarning, match=words) as told:
            result = fit(X, y, **options)
        assert told[0].filename == __file__  # the caller's line
        design = np.column_stack([X, np.ones(len(X))]) if fit_intercept else X
        shortest = np.linalg.lstsq(design, y, rcond=None)[0]
        assert design @ shortest == pytest.approx(X @ result.coef + result.intercept)
        # Shortest in columns of equal length.
        size = X.std(axis=0) if fit_intercept else np.sqrt((X**2).mean(axis=0))
        centred = (X - X.mean(axis=0) * fit_intercept) / size
        right = np.linalg.lstsq(centred, y - y.mean() * fit_intercept, rcond=1e-10)[0] / size
        assert result.coef == pytest.approx(right, abs=1e-8)

    def test_columns_of_a_table_by_their_names(self, precision, rng):
        pandas = pytest.importorskip("pandas")
        X, y = nearly_collinear(rng, 0.0)
        table = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
        with pytest.warns(CollinearityWarning, match="of 'a', 'b', 'd': they are sums"):
            fit(table, y, precision=precision)

    def test_more_columns_than_rows(self, precision, rng):
        X = rng.standard_normal((5, 12))
        words = r"X\[:, 7\] and 4 more: 5 rows are fewer than coefficients"
        with pytest.warns(CollinearityWarning, match=words):
            result = fit(X, X[:, 0], precision=precision)
        assert result.loss <= 1e-20

    def test_a_constant_column_is_left_to_the_intercept(self, precision, rng):
        X, y = nearly_collinear(rng, 1.0)
        X[:, 1] = 0.1
        assert fit(X, y, precision=precision).coef[1] == 0.0
        assert fit(X, y, precision=precision, fit_intercept=False).coef[1] != 0.0

    def test_a_penalty_determines_them(self, precision, rng):
        X, y = nearly_collinear(rng, 0.0)
        assert np.isfinite(fit(X, y, alpha=0.1, precision=precision).coef).all()


def test_is_exported():
    assert issubclass(fastgd.CollinearityWarning, UserWarning)


class TestConditionNumber:
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("precision", ["double", "exact"])
    def test_is_that_of_columns_of_equal_length(self, precision, fit_intercept, rng):
        X, y = nearly_collinear(rng, 1e-3)
        X += 2
        centred = X - X.mean(axis=0) * fit_intercept
        right = np.linalg.cond(centred / np.linalg.norm(centred, axis=0))
        result = fit(X, y, precision=precision, fit_intercept=fit_intercept)
        assert result.condition_number == pytest.approx(right, rel=1e-6)

    def test_beyond_what_doubles_tell(self, rng):
        X, y = nearly_collinear(rng, 1e-10)
        centred = X - X.mean(axis=0)
        right = np.linalg.cond(centred / np.linalg.norm(centred, axis=0))
        assert fit(X, y).condition_number == pytest.approx(right, rel=1e-3)

    def test_is_infinite_or_unknown_where_it_is(self, rng):
        X, y = nearly_collinear(rng, 0.0)
        for precision in ("double", "exact"):
            with pytest.warns(CollinearityWarning):
                assert fit(X, y, precision=precision).condition_number == np.inf
        assert np.isnan(fit(X, y, strategy="stream", method="gd", tol=1e-3).condition_number)
        X[:, 3] = 7.0
        assert fit(X, y).condition_number < 2

    def test_of_a_sample_where_conjugate_gradients_streamed(self, rng):
        X = rng.standard_normal((5000, 8)) @ np.diag(np.logspace(0, 3, 8))
        X[:, 7] += X[:, 6] * 100
        result = fit(X, X[:, 0], strategy="stream")
        assert result.moments is None
        whole = Moments.of(X, X[:, 0]).condition_number()
        assert result.condition_number == pytest.approx(whole, rel=0.3)
