"""summary(): against closed forms in exact fractions, tables of distributions, and its layout."""

import json
import math
import pickle
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from compare import fit_anyway
from scipy import stats

import fastgd
from fastgd._results.student import f_upper_tail, t_quantile, two_sided

NIST = Path(__file__).parent / "nist"
EXACT = json.loads((NIST / "exact.json").read_text("utf-8"))


def read(name):
    """X, y and whether there is an intercept."""
    x, y = np.loadtxt(NIST / f"{name}.csv", delimiter=",", skiprows=1, unpack=True)
    X = np.column_stack([x**power for power in range(1, EXACT[name]["degree"] + 1)])
    return X, y, EXACT[name]["intercept"]


def inverse(matrix):
    """Of a matrix of fractions, by Gauss and Jordan."""
    n = len(matrix)
    rows = [[*row, *(Fraction(i == j) for j in range(n))] for i, row in enumerate(matrix)]
    for i in range(n):
        pivot = next(j for j in range(i, n) if rows[j][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for j in set(range(n)) - {i}:
            rows[j] = [a - rows[j][i] * b for a, b in zip(rows[j], rows[i], strict=True)]
    return [row[n:] for row in rows]


class Exact:
    """Weighted least squares in fractions; the constant first."""

    def __init__(self, X, y, intercept, weight=None):
        n = len(y)
        A = [[Fraction(value) for value in row] for row in np.atleast_2d(X).tolist()]
        if intercept:
            A = [[Fraction(1), *row] for row in A]
        y = [Fraction(value) for value in y.tolist()]
        w = [Fraction(1)] * n if weight is None else [Fraction(v) for v in weight.tolist()]
        k = range(len(A[0]))
        gram = [[sum(w[i] * A[i][p] * A[i][q] for i in range(n)) for q in k] for p in k]
        products = [sum(w[i] * A[i][p] * y[i] for i in range(n)) for p in k]
        cov = inverse(gram)
        self.coef = [sum(cov[p][q] * products[q] for q in k) for p in k]
        fitted = [sum(A[i][p] * self.coef[p] for p in k) for i in range(n)]
        self.squares = sum(w[i] * (y[i] - fitted[i]) ** 2 for i in range(n))
        centre = sum(map(Fraction.__mul__, w, y)) / sum(w) if intercept else 0
        self.total = sum(w[i] * (y[i] - centre) ** 2 for i in range(n))
        self.df = n - len(k)
        self.variance = self.squares / self.df
        self.errors = [math.sqrt(self.variance * cov[p][p]) for p in k]
        self.r_squared = 1 - self.squares / self.total
        self.adjusted = 1 - (1 - self.r_squared) * Fraction(n - intercept, self.df)
        df_model = len(k) - intercept
        self.f = (self.total - self.squares) / df_model / self.variance if self.variance else None


def at_the_minimum(X, y, exact, intercept, weight=None):
    """A result with the exact coefficients, where a descent would take long."""
    result = fit_anyway(
        X, y, sample_weight=weight, fit_intercept=intercept, strategy="moments", max_iter=1
    )
    coef = np.array([float(value) for value in exact.coef])
    if intercept:
        return replace(result, coef=coef[1:], intercept=coef[0])
    return replace(result, coef=coef)


def check(table, exact, tolerance):
    errors = np.array(exact.errors)
    coef = np.array([float(value) for value in exact.coef])
    assert table.coef == pytest.approx(coef, rel=tolerance)
    assert table.standard_errors == pytest.approx(errors, rel=tolerance)
    assert table.t_values == pytest.approx(coef / errors, rel=tolerance)
    assert table.residual_variance == pytest.approx(float(exact.variance), rel=tolerance)
    assert 1 - table.r_squared == pytest.approx(
        float(1 - exact.r_squared), rel=tolerance, abs=1e-15
    )
    assert table.adjusted_r_squared == pytest.approx(float(exact.adjusted), rel=tolerance)
    assert table.f_value == pytest.approx(float(exact.f), rel=tolerance)
    assert table.df_residual == exact.df
    reach = stats.t.isf(0.025, exact.df) * errors
    assert table.confidence_intervals[:, 0] == pytest.approx(coef - reach, rel=1e3 * tolerance)
    assert table.confidence_intervals[:, 1] == pytest.approx(coef + reach, rel=1e3 * tolerance)
    p = 2 * stats.t.sf(abs(coef / errors), exact.df)
    # Errors of t count as many times over as there are degrees of freedom.
    assert table.p_values == pytest.approx(p, rel=1e3 * tolerance, abs=1e-300)


class TestNIST:
    @pytest.mark.parametrize(
        ("name", "tolerance"),
        [("norris", 1e-9), ("pontius", 1e-8), ("noint1", 1e-12), ("noint2", 1e-12)],
    )
    def test_equals_the_closed_forms(self, name, tolerance):
        X, y, intercept = read(name)
        exact = Exact(X, y, intercept)
        table = at_the_minimum(X, y, exact, intercept).summary()
        check(table, exact, tolerance)
        assert table.is_uncentred is not intercept

    @pytest.mark.parametrize(
        ("name", "tolerance"), [("norris", 1e-7), ("noint1", 1e-12), ("noint2", 1e-12)]
    )
    def test_of_a_descent_that_has_arrived(self, name, tolerance):
        X, y, intercept = read(name)
        table = fastgd.fit(
            X, y, fit_intercept=intercept, strategy="moments", tol=1e-20, max_iter=10**6
        ).summary()
        check(table, Exact(X, y, intercept), tolerance)
        assert table.notes == ()

    @pytest.mark.parametrize("name", ["wampler1", "wampler2"])
    def test_of_a_polynomial_without_noise(self, name):
        X, y, intercept = read(name)
        exact = Exact(X, y, intercept)
        table = at_the_minimum(X, y, exact, intercept).summary()
        assert table.df_residual == 15
        assert table.r_squared == pytest.approx(1.0, abs=1e-12)
        assert 0.0 <= table.residual_variance < 1e-11 * np.var(y)
        assert "close to rounding" in " ".join(table.notes)

    @pytest.mark.parametrize("name", ["norris", "pontius", "noint1", "noint2", "wampler1"])
    def test_condition_number_is_that_of_the_design(self, name):
        X, y, intercept = read(name)
        A = np.column_stack([np.ones(len(y)), X]) if intercept else X
        table = at_the_minimum(X, y, Exact(X, y, intercept), intercept).summary()
        expected = np.linalg.cond(A)
        assert table.condition_number == pytest.approx(expected, rel=1e-8 + 1e-15 * expected)

    def test_norris_as_certified(self):
        # https://www.itl.nist.gov/div898/strd/lls/data/Norris.shtml
        X, y, _ = read("norris")
        table = fastgd.fit(X, y, strategy="moments", tol=1e-20).summary()
        assert table.standard_errors == pytest.approx(
            [0.232818234301152, 0.429796848199937e-3], rel=1e-9
        )
        assert table.residual_variance == pytest.approx(0.884796396144373**2, rel=1e-9)
        assert table.r_squared == pytest.approx(0.999993745883712, abs=1e-14)
        assert table.f_value == pytest.approx(5436385.54079785, rel=1e-9)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("d", [1, 3])
def test_weights_count_as_in_wls(rng, intercept, d):
    X, y = rng.standard_normal((24, d)) + 0.5, rng.standard_normal(24)
    weight = rng.uniform(0.1, 5.0, 24)
    weight[3] = 0.0
    exact = Exact(X, y, intercept, weight)
    table = at_the_minimum(X, y, exact, intercept, weight).summary()
    check(table, exact, 1e-11)
    A = np.column_stack([np.ones(24), X]) if intercept else X
    expected = np.linalg.cond(A * np.sqrt(weight)[:, np.newaxis])
    assert table.condition_number == pytest.approx(expected, rel=1e-10)
    assert "inverse variances" in " ".join(table.notes)
    scaled = at_the_minimum(X, y, exact, intercept, 7.0 * weight).summary()
    assert scaled.standard_errors == pytest.approx(table.standard_errors, rel=1e-10)


def test_of_a_small_example_by_hand():
    # x = -1, 0, 1 and y = 0, 0, 3: the line 1 + 1.5 x leaves 0.5, -1, 0.5, in squares 1.5.
    table = fastgd.fit([-1.0, 0, 1], [0.0, 0, 3], strategy="moments").summary()
    assert table.names == ("const", "x1")
    assert table.coef == pytest.approx([1, 1.5])
    assert (table.df_model, table.df_residual) == (1, 1)
    assert table.residual_variance == pytest.approx(1.5)
    assert table.standard_errors == pytest.approx([math.sqrt(0.5), math.sqrt(0.75)])
    assert table.t_values == pytest.approx([math.sqrt(2), math.sqrt(3)])
    # With one degree of freedom t is Cauchy's: p = 1 - 2 / pi * atan(t), and atan(sqrt(3)) = pi/3.
    assert table.p_values[1] == pytest.approx(1 / 3)
    assert table.f_p_value == pytest.approx(1 / 3)
    assert table.r_squared == pytest.approx(0.75)
    assert table.adjusted_r_squared == pytest.approx(0.5)
    assert table.f_value == pytest.approx(3)
    assert table.condition_number == pytest.approx(math.sqrt(1.5))


class TestDistributions:
    @pytest.mark.parametrize(
        ("df", "tail", "t"),
        [  # NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2
            (1, 0.05, 12.706),
            (2, 0.05, 4.303),
            (5, 0.01, 4.032),
            (10, 0.05, 2.228),
            (30, 0.10, 1.697),
            (100, 0.002, 3.174),
            (10**9, 0.05, 1.960),
        ],
    )
    def test_t_is_that_of_the_tables(self, df, tail, t):
        assert t_quantile(tail, df) == pytest.approx(t, abs=5.1e-4)
        assert two_sided(t_quantile(tail, df), df) == pytest.approx(tail, rel=1e-12)

    def test_closed_forms(self):
        for t in (1e-3, 0.5, 1.0, 1.7, 3.0, 50.0, 1e6):
            assert two_sided(t, 1) == pytest.approx(2 / math.pi * math.atan(1 / t), rel=1e-12)
            tail = 2 / (math.sqrt(2 + t * t) * (math.sqrt(2 + t * t) + t))
            assert two_sided(t, 2) == pytest.approx(tail, rel=1e-12)
            assert two_sided(t, 1e14) == pytest.approx(math.erfc(t / math.sqrt(2)), rel=1e-11)

    @pytest.mark.parametrize("df", [1, 2, 3, 9, 19, 20, 21, 100, 12_345, 10**8])
    def test_t_equals_scipy(self, df):
        for t in (1e-3, 0.1, 1.0, 1.6, 1.7, 1.8, 2.5, 10.0, 100.0):
            expected = 2 * stats.t.sf(t, df)
            assert two_sided(t, df) == pytest.approx(expected, rel=1e-11, abs=1e-300)
            assert two_sided(-t, df) == two_sided(t, df)

    @pytest.mark.parametrize("df1", [1, 2, 7, 100, 1500])
    @pytest.mark.parametrize("df2", [1, 3, 40, 10_000])
    def test_f_equals_scipy(self, df1, df2):
        for f in (1e-3, 0.3, 0.9, 1.0, 1.1, 2.0, 30.0):
            expected = stats.f.sf(f, df1, df2)
            assert f_upper_tail(f, df1, df2) == pytest.approx(expected, rel=1e-10, abs=1e-300)

    def test_at_the_ends(self):
        assert two_sided(0.0, 5) == 1.0
        assert two_sided(math.inf, 5) == two_sided(1e200, 5) == 0.0
        assert math.isnan(two_sided(math.nan, 5))
        assert math.isnan(two_sided(1.0, 0))
        assert math.isnan(t_quantile(0.05, 0))


GOLDEN = """\
                      Least squares by gradient descent
==============================================================================
Dep. Variable:                      y   R-squared:                       1.000
Method:                            gd   Adj. R-squared:                  1.000
No. Observations:                  36   F-statistic:                 5.436e+06
Df Residuals:                      34   Prob (F):                     4.65e-90
Df Model:                           1   Residual Variance:              0.7829
Epochs:                             1   Cond. No.:                         855
==============================================================================
                   coef    std err          t      P>|t|     [0.025     0.975]
------------------------------------------------------------------------------
const           -0.2623      0.233     -1.127      0.268     -0.735      0.211
x1               1.0021    0.00043   2331.606      0.000      1.001      1.003
==============================================================================
Stopped: the loss is within the tolerance of its minimum."""


class TestTable:
    def test_of_norris(self):
        X, y, _ = read("norris")
        table = fastgd.fit(X, y, method="gd", strategy="moments").summary()
        assert str(table) == repr(table) == GOLDEN

    def test_has_the_name_of_the_target(self):
        X, y, _ = read("norris")
        table = fastgd.fit(X, y, method="gd", strategy="moments").summary()
        for name, shown in (("delay", "delay"), ("n" * 22, "n" * 22), ("n" * 23, "n" * 19 + "...")):
            line = f"Dep. Variable:{shown:>23}"
            expected = GOLDEN.replace(f"Dep. Variable:{'y':>23}", line)
            assert str(replace(table, target=name)) == expected

    def test_says_where_it_is_uncentred(self):
        X, y, _ = read("noint1")
        lines = str(fastgd.fit(X, y, fit_intercept=False, strategy="moments").summary())
        assert "R-squared (uncentered):          0.999" in lines
        assert "const" not in lines
        assert "\nx1               2.0744     0.0165    125.500      0.000" in lines

    @pytest.mark.filterwarnings("ignore::fastgd.CollinearityWarning")
    def test_stays_within_its_width(self, rng):
        X = rng.standard_normal((50, 120)) * 10.0 ** rng.integers(-30, 30, 120)
        table = fit_anyway(X, -1e20 * rng.standard_normal(50), strategy="moments").summary()
        lines = str(table).split("Stopped")[0].splitlines()
        assert len(lines) == 12 + 121
        assert max(map(len, lines)) == 78


class TestLimits:
    def test_a_constant_column_is_a_constant(self, rng):
        x, y = rng.standard_normal(20), rng.standard_normal(20)
        X = np.column_stack([np.full(20, 3.0), x])
        with_column = fastgd.fit(
            X, y, fit_intercept=False, strategy="moments", tol=1e-20, max_iter=10**6
        ).summary()
        with_intercept = fastgd.fit(x, y, strategy="moments", tol=1e-20).summary()
        assert not with_column.is_uncentred
        for name in ("r_squared", "adjusted_r_squared", "f_value", "residual_variance"):
            assert getattr(with_column, name) == pytest.approx(
                getattr(with_intercept, name), rel=1e-8
            )
        assert with_column.t_values == pytest.approx(with_intercept.t_values, rel=1e-8)

    @pytest.mark.filterwarnings("ignore::fastgd.CollinearityWarning")
    def test_parameters_that_the_data_do_not_determine(self, rng):
        X, y = rng.standard_normal((30, 3)), rng.standard_normal(30)
        table = fastgd.fit(np.column_stack([X, X[:, 0]]), y, strategy="moments").summary()
        whole = fastgd.fit(X, y, strategy="moments").summary()
        assert np.isnan(table.standard_errors).tolist() == [False, True, False, False, True]
        assert table.standard_errors[[0, 2, 3]] == pytest.approx(
            whole.standard_errors[[0, 2, 3]], rel=1e-7
        )
        assert table.condition_number == math.inf
        assert (table.df_model, table.df_residual) == (3, 26)
        assert "rank 4 of 5" in " ".join(table.notes)

    def test_no_degrees_of_freedom(self):
        table = fastgd.fit([0.0, 1.0], [1.0, 3.0], strategy="moments").summary()
        assert table.df_residual == 0
        assert np.isnan(table.standard_errors).all()
        assert np.isnan(table.p_values).all()
        assert "no degrees of freedom" in str(table)

    def test_a_target_that_is_constant(self):
        table = fastgd.fit([0.0, 1.0, 5.0], [2.0, 2.0, 2.0], strategy="moments").summary()
        assert math.isnan(table.r_squared)
        assert table.residual_variance < 1e-30

    def test_a_fit_that_did_not_converge_is_printed_with_a_note(self, rng):
        X = rng.standard_normal((50, 3))
        result = fit_anyway(X, X @ [1.0, 2, 3], learning_rate=1e-6, max_iter=5, strategy="moments")
        assert "Note: the fit did not converge" in str(result.summary())

    @pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
    def test_a_penalty_is_told(self, rng, l1_ratio):
        X = rng.standard_normal((50, 3))
        y = X @ [1.0, 2, 3] + rng.standard_normal(50)
        result = fastgd.fit(X, y, alpha=0.5, l1_ratio=l1_ratio)
        assert (result.alpha, result.l1_ratio) == (0.5, l1_ratio)
        assert "Note: coefficients are shrunk by the penalty alpha=0.5: " in str(result.summary())
        assert fastgd.fit(X, y, l1_ratio=l1_ratio).summary().notes == ()

    def test_a_fit_that_diverged_too(self, rng):
        X = rng.standard_normal((50, 3))
        with pytest.raises(fastgd.DivergenceError) as caught:
            fastgd.fit(X, X[:, 0], learning_rate=10.0, strategy="moments")
        assert "beyond all bounds" in str(caught.value.result.summary())


class TestMoments:
    @pytest.fixture
    def data(self):
        rng = np.random.default_rng(4)
        X = rng.standard_normal((40, 2))
        return X, X @ [1.0, 2.0] + rng.standard_normal(40)

    def test_a_streamed_fit_asks_for_them(self, data):
        result = fastgd.fit(*data, strategy="stream")
        assert result.moments is None
        with pytest.raises(ValueError, match='strategy="moments"'):
            result.summary()
        given = result.summary(fastgd.Moments.of(*data))
        assert given.standard_errors == pytest.approx(
            fastgd.fit(*data, strategy="moments").summary().standard_errors
        )

    def test_of_a_fit_of_moments(self, data):
        moments = fastgd.Moments.of(*data)
        result = fastgd.fit(moments)
        assert result.moments is moments
        assert result.summary().n_samples == 40

    @pytest.mark.parametrize("of", ["wider", "line", "targets"])
    def test_refuses_those_of_other_data(self, data, of):
        X, y = data
        moments = {
            "wider": lambda: fastgd.Moments.of(np.hstack([X, X]), y),
            "line": lambda: fastgd.Moments.of(X[:, 0], y),
            "targets": lambda: fastgd.Moments.of(X, np.column_stack([y, y])),
        }[of]()
        with pytest.raises(ValueError, match="moments must be of"):
            fastgd.fit(X, y).summary(moments)

    @pytest.mark.parametrize("penalty", [{}, {"alpha": 0.2}, {"alpha": 0.2, "l1_ratio": 0.5}])
    def test_refuses_those_of_another_loss(self, data, penalty):
        X, y = data
        result = fastgd.fit(X, y, strategy="stream", **penalty)
        for wrong in (y[::-1].copy(), 2 * y, np.zeros(40), y + 3):
            with pytest.raises(
                ValueError, match="moments must be of the data of the fit: on their"
            ):
                result.summary(fastgd.Moments.of(X, wrong))
        for right in (fastgd.Moments.of(X, y), fastgd.Moments.of(X, y).scaled(9.0)):
            assert result.summary(right).r_squared > 0.5

    @pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
    def test_takes_those_of_a_fit_without_residuals(self, data, size):
        X = data[0].astype("f4")
        y = (size * (X @ np.float32([1, 2]) + 5)).astype("f4")
        for options in ({}, {"precision": "single", "method": "gd"}):
            result = fit_anyway(X, y, strategy="stream", **options)
            assert result.summary(fastgd.Moments.of(X, y)).r_squared > 0.999999

    def test_takes_those_of_all_rows_where_some_were_held_out(self, data):
        result = fit_anyway(*data, validation_fraction=0.3, random_state=0)
        assert result.summary(fastgd.Moments.of(*data)).n_samples == 40

    def test_refuses_arrays(self, data):
        with pytest.raises(TypeError, match=r"moments must be fastgd\.Moments; got ndarray"):
            fastgd.fit(*data).summary(data[0])

    def test_a_result_made_by_hand_has_no_summary(self, data):
        result = replace(fastgd.fit(*data), _infer=None)
        with pytest.raises(
            ValueError, match=r"summary\(\) needs a result that fit\(\) or load\(\) returned"
        ):
            result.summary()

    def test_a_pickle_of_before_knows_of_no_penalty(self, data):
        result = fastgd.fit(*data, alpha=0.5)
        state = {k: v for k, v in vars(result).items() if k not in ("alpha", "l1_ratio")}
        again = object.__new__(type(result))
        again.__setstate__(state)
        assert np.isnan(again.alpha)
        assert any("penalty" in note for note in again.summary().notes)

    def test_results_and_tables_are_pickled(self, data):
        result = fastgd.fit(*data, strategy="moments")
        table = pickle.loads(pickle.dumps(result)).summary()
        assert str(pickle.loads(pickle.dumps(table))) == str(result.summary())

    def test_results_print_without_them(self, data):
        assert "Moments" not in repr(fastgd.fit(*data, strategy="moments"))


@pytest.mark.filterwarnings("ignore::fastgd.CollinearityWarning")
def test_a_column_that_is_constant_to_rounding_is_not_determined(rng):
    X = rng.standard_normal((60, 3))
    X[:, 1] = 1e6 + 1.2e-10 * rng.integers(0, 3, 60)
    table = fastgd.fit(X, X[:, 0] + rng.standard_normal(60)).summary()
    assert table.df_residual == 57
    assert np.isnan(table.standard_errors).tolist() == [True, False, True, False]
