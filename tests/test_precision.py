"""How exact losses and gradients are, from ten rows to a hundred million, and with no number."""

import numpy as np
import pytest
from compare import TOLERANCE, assert_evaluation
from naive import Long, evaluate
from shapes import FEW_SHAPES, SHAPES, use_small_groups

from fastgd import fit, mse_and_gradient
from fastgd.backends.numba import _choice

CHUNK = 1 << 19
AT = (-0.7, 0.3)


def evaluate_by_chunks(X, y, coef, intercept=0.0):
    """The oracle, where its copy of all of X could not be afforded."""
    n, total = len(y), None
    for start in range(0, n, CHUNK):
        rows = slice(start, start + CHUNK)
        part = evaluate(X[rows], y[rows], coef, intercept, reduction="sum")
        size = Long(len(y[rows]))
        sums = [part.mse * size, part.gradient, part.intercept_gradient]
        sums += [part.mse_terms * size, part.gradient_terms, part.intercept_terms]
        total = sums if total is None else [a + b for a, b in zip(total, sums, strict=True)]
    mse, gradient, by_intercept, *terms = (value / n for value in total)
    return part._replace(
        mse=mse,
        gradient=gradient,
        intercept_gradient=by_intercept,
        mse_terms=terms[0],
        gradient_terms=terms[1],
        intercept_terms=terms[2],
        prediction=None,
        prediction_terms=None,
    )


def error(value, exact):
    """The largest of the errors, each relative to the sum of its absolute terms."""
    errors = (
        abs(value.mse - exact.mse) / exact.mse_terms,
        np.max(abs(value.gradient - exact.gradient) / exact.gradient_terms),
        abs(value.intercept_gradient - exact.intercept_gradient) / exact.intercept_terms,
    )
    return float(max(errors))


def random(n, rng):
    x = rng.standard_normal(n, np.float32)
    return x, 2 * x + rng.standard_normal(n, np.float32)


def all_positive(n, rng):
    return rng.random(n, np.float32), -rng.random(n, np.float32)


def constant(n, rng):
    return np.full(n, 0.1, np.float32), np.full(n, 0.3, np.float32)


def far_from_zero(n, rng):
    x = np.float32(1e4) + rng.standard_normal(n, np.float32)
    return x, np.float32(1e4) + rng.standard_normal(n, np.float32)


def alternating(n, rng):
    x = rng.random(n, np.float32) + np.float32(1)
    x[1::2] *= -1
    return x, x + np.float32(0.1)


def mostly_tiny(n, rng):
    # One row in a thousand has all the weight of the sum.
    x = rng.standard_normal(n, np.float32)
    x[np.arange(n) % 1000 != 7] *= np.float32(1e-6)
    return x, -x


DATA = (random, all_positive, constant, far_from_zero, alternating, mostly_tiny)
kinds_of_data = pytest.mark.parametrize("make", DATA, ids=lambda make: make.__name__)


def layouts_of(x):
    """The rows of `x` for each kernel, to name and X; of equal size whatever the kernel."""
    yield "1-D", x, -0.7
    rows, columns = (3, 9, 17, 64, 200, 515, 1600), (2, 9, 33, 100, 300)
    for d, order in [*((d, "C") for d in rows), *((d, "F") for d in columns)]:
        if len(x) >= 10 * d:
            X = np.array(x[: len(x) // d * d].reshape(-1, d), order=order)
            # With a sum of -0.7, so that predictions are as large as in one dimension.
            yield f"{order}{d}", X, np.full(d, -0.7 / d)


class TestError:
    @kinds_of_data
    @pytest.mark.parametrize("precision", ["single", "double"])
    def test_does_not_grow_with_the_number_of_rows(self, make, precision, rng):
        sizes = (10, 100, 1000, 10_000, 100_003, 1_000_003)
        errors = {}
        for n in sizes:
            x, y = make(n, rng)
            value = mse_and_gradient(x, y, *AT, precision=precision)
            exact = evaluate_by_chunks(x, y, *AT)
            assert_evaluation(value, exact, TOLERANCE[precision])
            errors[n] = error(value, exact)
        # Of a thousand times as many rows: twice the error, or a tenth of what is promised.
        few = max(errors[n] for n in sizes if n <= 1000)
        assert errors[sizes[-1]] <= max(2 * few, TOLERANCE[precision] / 10), errors

    @pytest.mark.parametrize("precision", ["single", "double"])
    @pytest.mark.parametrize("shape", FEW_SHAPES, ids=str)
    def test_of_as_long_groups_as_a_hundred_million_rows_have(self, shape, precision, monkeypatch):
        # All terms equal, so that errors have the same sign from the first row to the last.
        n = min(-(-100_000_000 // _choice.MOST_GROUPS), (1 << 25) // shape.d)
        monkeypatch.setattr(_choice, "MOST_GROUPS", 1)
        errors = []
        for x, y in ((0.1, 0.3), (0.9, 0.33), (0.3, 1.1)):
            X = np.full((n, shape.d), x, np.float32, shape.order)
            target = np.full(n, y, np.float32)
            coef = np.full(shape.d, -0.7 / shape.d)
            value = mse_and_gradient(X, target, coef, 0.3, precision=precision)
            errors.append(error(value, evaluate(X[:1], target[:1], coef, 0.3)))
        assert max(errors) <= TOLERANCE[precision], errors

    @kinds_of_data
    @pytest.mark.parametrize("precision", ["single", "double"])
    def test_in_every_kernel(self, make, precision, rng):
        x, y = make(300_000, rng)
        for name, X, coef in layouts_of(x):
            target = y[: len(X)]
            value = mse_and_gradient(X, target, coef, 0.3, precision=precision)
            exact = evaluate_by_chunks(X, target, coef, 0.3)
            try:
                assert_evaluation(value, exact, TOLERANCE[precision])
            except AssertionError as failure:
                raise AssertionError(f"{name}: {failure}") from None

    @kinds_of_data
    def test_in_double_precision_data(self, make, rng):
        x, y = (array.astype(float) * 1.1 for array in make(300_000, rng))
        for _, X, coef in layouts_of(x):
            target = y[: len(X)]
            value = mse_and_gradient(X, target, coef, 0.3)
            exact = evaluate_by_chunks(X, target, coef, 0.3)
            assert_evaluation(value, exact, TOLERANCE["double"])

    @pytest.mark.parametrize("precision", ["single", "double"])
    def test_with_weights_of_many_sizes(self, precision, rng):
        x, y = random(300_000, rng)
        for _, X, coef in layouts_of(x):
            target = y[: len(X)]
            s = (10.0 ** rng.uniform(-6, 6, len(X))).astype(np.float32)
            value = mse_and_gradient(X, target, coef, 0.3, sample_weight=s, precision=precision)
            exact = evaluate(X, target, coef, 0.3, s)
            assert_evaluation(value, exact, TOLERANCE[precision])

    def test_of_the_oracle_by_chunks(self, rng):
        X, y = rng.standard_normal((CHUNK + 17, 2)), rng.standard_normal(CHUNK + 17)
        whole, parts = evaluate(X, y, [1.0, 2.0], 0.5), evaluate_by_chunks(X, y, [1.0, 2.0], 0.5)
        for name in ("mse", "gradient", "intercept_gradient"):
            for field in (name, f"{name.removesuffix('_gradient')}_terms"):
                ratio = np.asarray(getattr(parts, field) / getattr(whole, field), float)
                assert ratio == pytest.approx(1.0, rel=1e-12), field


class TestATargetFinerThanTheFeatures:
    """Times in seconds since 1970, of which float32 keeps two minutes."""

    @pytest.mark.parametrize("precision", ["single", "double"])
    @pytest.mark.parametrize("shape", FEW_SHAPES, ids=str)
    def test_keeps_its_digits(self, precision, shape, rng):
        X, _, _ = shape.data(1003)
        coef = rng.standard_normal(shape.d)
        y = 1.7e9 + X.astype(float) @ coef + rng.standard_normal(1003)
        value = mse_and_gradient(X, y, coef, 1.7e9, precision=precision)
        # Relative to the residuals themselves, as if the target were near zero.
        exact = evaluate(X, y, coef, 1.7e9)
        near = evaluate(X, np.abs(X) @ np.abs(coef) + 1, -np.abs(coef))  # terms without 1.7e9
        tolerance = 2e-6 if precision == "single" else 1e-12
        tolerance += 2.0**-52 * 1.7e9 * 4  # the digits of y itself, in the difference
        bound = (near.mse_terms, near.gradient_terms, near.intercept_terms)
        names = ("mse", "gradient", "intercept_gradient")
        for name, terms in zip(names, bound, strict=True):
            error = abs(getattr(value, name) - getattr(exact, name))
            assert (error <= tolerance * terms).all(), name
        assert value.mse == pytest.approx(float(exact.mse), rel=1e-4)
        assert value.mse < 2

    @pytest.mark.parametrize("shape", FEW_SHAPES, ids=str)
    def test_of_float32_beside_a_large_intercept_keeps_its_digits(self, shape):
        # Rounded to float32, the intercept would be off by 0.0125.
        X, y, _ = shape.data(999)
        y = np.float32(1e6) + np.round(y)
        value = mse_and_gradient(X, y, np.zeros(shape.d), 1e6 + 0.3, precision="single")
        r = 1e6 + 0.3 - y.astype(float)
        assert value.mse == pytest.approx(np.mean(r**2), rel=1e-6)

    @pytest.mark.parametrize("precision", ["single", "double"])
    @pytest.mark.parametrize("strategy", ["stream", "moments"])
    def test_is_fitted(self, precision, strategy, rng):
        x = rng.standard_normal(20_000).astype(np.float32)
        y = 1.7e9 + 3.0 * x.astype(float) + rng.standard_normal(20_000)
        result = fit(x, y, precision=precision, strategy=strategy)
        slope, level = np.polyfit(x.astype(float), y - 1.7e9, 1)
        assert result.coef == pytest.approx(slope, abs=1e-4)
        assert result.intercept - 1.7e9 == pytest.approx(level, abs=1e-4)
        assert result.loss == pytest.approx(1.0, rel=0.05)


def places(n, d):
    """Rows and columns at every border there is: of vectors, blocks, groups and the array."""
    rows = (0, 1, 7, 15, 16, 63, 64, 127, 128, n // 2, n - 38, n - 17, n - 16, n - 8, n - 2, n - 1)
    columns = sorted({0, d // 2, max(d - 17, 0), max(d - 2, 0), d - 1})
    return [(row, columns[k % len(columns)]) for k, row in enumerate(rows)] + [
        (row, column) for row in (0, n // 2, n - 1) for column in columns
    ]


NO_NUMBERS = (np.nan, np.inf, -np.inf)


class TestNoNumber:
    """NaN and infinity come through every kernel, wherever they are."""

    @pytest.fixture(autouse=True)
    def small_groups(self, monkeypatch):
        use_small_groups(monkeypatch)

    def check(self, X, y, weight, precision, coef):
        n, d = X.shape

        def refused(name):
            with pytest.raises(ValueError, match=f"{name} must be finite"):
                mse_and_gradient(X, y, coef, 0.5, sample_weight=weight, precision=precision)

        for k, (row, column) in enumerate(places(n, d)):
            before = X[row, column]
            X[row, column] = NO_NUMBERS[k % 3]
            refused("X")
            X[row, column] = before
        for row in sorted({row for row, _ in places(n, d)}):
            before = y[row]
            y[row] = NO_NUMBERS[row % 3]
            refused("y")
            y[row] = before
        mse_and_gradient(X, y, coef, 0.5, sample_weight=weight, precision=precision)

    @pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
    @pytest.mark.parametrize("precision", ["single", "double"])
    @pytest.mark.parametrize("shape", FEW_SHAPES, ids=str)
    def test_is_found_at_every_border(self, shape, precision, weighted):
        X, y, weight = shape.data(64 * 5 + 37)
        coef = np.linspace(-1, 1.5, shape.d)
        self.check(X, y, weight if weighted else None, precision, coef)

    @pytest.mark.parametrize("shape", FEW_SHAPES, ids=str)
    def test_is_found_where_coefficients_are_zero(self, shape):
        X, y, _ = shape.data(64 * 5 + 37)
        self.check(X, y, None, "double", np.zeros(shape.d))

    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_is_found_at_any_number_of_features(self, shape):
        X, y, _ = shape.data(64 * 2 + 37)
        self.check(X, y, None, "double", np.ones(shape.d))

    @pytest.mark.parametrize("shape", FEW_SHAPES, ids=str)
    def test_is_found_in_double_precision_data(self, shape):
        X, y, weight = shape.data(64 * 5 + 37, "f8")
        self.check(X, y, weight, "double", np.ones(shape.d))

    @pytest.mark.parametrize("n", range(1, 20))
    @pytest.mark.parametrize("shape", FEW_SHAPES, ids=str)
    def test_is_found_in_every_row_of_few(self, shape, n):
        X, y, _ = shape.data(n)
        for row in range(n):
            X[row, -1 - row % shape.d] = NO_NUMBERS[row % 3]
            with pytest.raises(ValueError, match="X must be finite"):
                mse_and_gradient(X, y, np.ones(shape.d))
            X[row] = 1.0

    @pytest.mark.parametrize("strategy", ["stream", "moments"])
    @pytest.mark.parametrize("learning_rate", ["auto", 1e-3])
    @pytest.mark.parametrize("shape", FEW_SHAPES, ids=str)
    def test_is_found_by_a_fit(self, shape, learning_rate, strategy):
        X, y, weight = shape.data(64 * 5 + 37)
        options = {"learning_rate": learning_rate, "strategy": strategy, "max_iter": 3}
        for array, name in ((X, "X"), (y, "y")):
            for k, row in enumerate((0, 63, 64, 200, -17, -1)):
                place = (row, k % shape.d) if array is X else row
                before = array[place]
                array[place] = NO_NUMBERS[k % 3]
                with pytest.raises(ValueError, match=f"{name} must be finite"):
                    fit(X, y, sample_weight=weight if k % 2 else None, **options)
                array[place] = before

    def test_that_cancels_is_found(self):
        # Infinities of both signs, and of a weight that makes 0 of them.
        for shape in FEW_SHAPES:
            X, y, _ = shape.data(200)
            X[10, 0], X[11, 0] = np.inf, -np.inf
            with pytest.raises(ValueError, match=r"X must be finite; X\[10, 0\] is inf"):
                mse_and_gradient(X, y, np.zeros(shape.d))


@pytest.mark.slow
class TestAHundredMillionRows:
    N = 100_000_000

    @pytest.mark.parametrize("make", [all_positive, constant, far_from_zero])
    def test_are_as_exact_as_ten(self, make, rng):
        x, y = make(self.N, rng)
        exact = evaluate_by_chunks(x, y, *AT)
        errors = {}
        for precision in ("single", "double"):
            value = mse_and_gradient(x, y, *AT, precision=precision)
            assert_evaluation(value, exact, TOLERANCE[precision])
            errors[precision] = error(value, exact)
        # The same in numpy, in the dtype of the data.
        w, b = np.float32(AT[0]), np.float32(AT[1])
        r = w * x + b - y
        mse = np.mean(r * r)
        gradient = 2 * np.dot(x, r) / np.float32(self.N)
        assert mse.dtype == gradient.dtype == np.float32
        errors["numpy, mse"] = float(abs(mse - exact.mse) / exact.mse_terms)
        errors["numpy, gradient"] = float(abs(gradient - exact.gradient) / exact.gradient_terms)
        print(make.__name__, errors)
        assert errors["numpy, gradient"] > 5 * errors["single"]
        assert errors["numpy, mse"] > 1e4 * errors["double"]

    @pytest.mark.parametrize(("d", "order"), [(3, "C"), (17, "C"), (2, "F"), (9, "F"), (24, "F")])
    @pytest.mark.parametrize("precision", ["single", "double"])
    def test_of_several_features(self, d, order, precision):
        n = self.N * 2 // d if d > 2 else self.N
        X, y = np.full((n, d), 0.1, np.float32, order), np.full(n, 0.3, np.float32)
        value = mse_and_gradient(X, y, np.full(d, 1.0), precision=precision)
        exact = evaluate(X[:1], y[:1], np.full(d, 1.0))  # a mean of equal terms
        assert_evaluation(value, exact, TOLERANCE[precision])
