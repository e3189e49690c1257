"""Numbers near the ends of their range: a right answer or a clear error, and never NaN."""

import numpy as np
import pytest

from fastgd import Moments, fit

COEF = np.array([1.0, -2.0, 3.0])
WAYS = [
    {"strategy": "moments", "precision": "double"},
    {"strategy": "moments", "precision": "exact"},
    {"strategy": "moments"},
    {"strategy": "stream"},
]


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 3)) + 1
    return X, X @ COEF + 5 + 0.1 * rng.standard_normal(500)


def least_squares(X, y, s=None):
    """In columns brought near 1, and weights, too: all by powers of two."""
    scale = np.ldexp(1.0, -np.frexp(np.abs(X).max(axis=0).astype(float))[1])
    root = np.ones(len(X)) if s is None else np.sqrt(s.astype(float) / s.max())
    design = np.column_stack([X * scale, np.ones(len(X))]) * root[:, None]
    found = np.linalg.lstsq(design, y.astype(float) * root, rcond=None)[0]
    return found[:-1] * scale, found[-1]


def assert_right(X, y, s=None, tolerance=1e-9, **options):
    result = fit(X, y, sample_weight=s, **options)
    coef, intercept = least_squares(X, y, s)
    assert result.coef == pytest.approx(coef, rel=tolerance, abs=0)
    assert result.intercept == pytest.approx(intercept, rel=tolerance)
    assert np.isfinite([result.loss, result.grad_norm, *result.loss_history]).all()


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("way", WAYS, ids=str)
class TestColumns:
    # Streaming stops within tol.
    @pytest.mark.parametrize("dtype", ["f4", "f8"])
    def test_of_very_different_size(self, dtype, way, backend, data):
        X, y = data
        X = (X * [1e30, 1e-30, 1.0]).astype(dtype)
        assert_right(X, y.astype(dtype), backend=backend, tol=0, **way)

    @pytest.mark.parametrize("size", [1e-130, 1e-30, 1e30, 1e145])
    def test_of_any_size_whose_squares_are_numbers(self, size, way, backend, data):
        X, y = data
        assert_right(X * size, y, backend=backend, tol=0, **way)

    @pytest.mark.parametrize("size", [1e-150, 1e-200, 1e-300, 1e-310])
    @pytest.mark.parametrize("columns", [[1], [0, 1, 2]], ids=str)
    def test_too_small_are_named(self, columns, size, way, backend, data):
        X, y = data
        X[:, columns] *= size
        with pytest.raises(ValueError, match=rf"X\[:, {columns[0]}\] is so small .* power of two"):
            fit(X, y, backend=backend, **way)
        X[:, columns] *= 2.0**600
        assert np.isfinite(fit(X, y, backend=backend, **way).coef).all() or size == 1e-310

    @pytest.mark.parametrize("size", [1e155, 1e200, 1e300])
    def test_too_large_are_refused(self, size, way, backend, data):
        X, y = data
        with pytest.raises(OverflowError, match="rescale"):
            fit(X * size, y, backend=backend, **way)

    def test_of_single_subnormals(self, way, backend, data):
        X, y = data
        X = (X * 1e-41).astype("f4")
        assert_right(X, y, backend=backend, tol=0, **way)

    def test_sums_beyond_single(self, way, backend, data):
        X, y = data
        X, y = (X * 3e37).astype("f4"), (y * 1e37).astype("f4")
        assert_right(X, y, backend=backend, tol=0, **way)

    def test_of_zeros_are_no_trouble(self, way, backend, data):
        X, y = data
        X[:, 1] = 0.0
        result = fit(X, y, backend=backend, **way)
        assert result.coef[1] == 0.0

    def test_targets_too_small_are_named(self, way, backend, data):
        X, y = data
        assert_right(X, y * 1e-120, backend=backend, tol=0, **way)
        with pytest.raises(ValueError, match="y is so small"):
            fit(X, y * 1e-200, backend=backend, **way)
        assert fit(X, y * 0.0, backend=backend, **way).coef.tolist() == [0.0, 0.0, 0.0]

    @pytest.mark.parametrize("dtype", ["f4", "f8"])
    def test_weights_of_twelve_decades(self, dtype, way, backend, data):
        X, y = (part.astype(dtype) for part in data)
        s = (10.0 ** np.random.default_rng(1).uniform(-6, 6, len(X))).astype(dtype)
        assert_right(X, y, s, backend=backend, tol=0, **way)

    def test_weights_of_any_size_or_an_error(self, way, backend, data):
        X, y = data
        s = np.random.default_rng(1).uniform(1, 2, len(X))
        for size in (1e-200, 1e-30, 1e200):
            assert_right(X, y, s * size, backend=backend, tol=0, **way)
        with pytest.raises(ValueError, match="sample_weight is so small"):
            fit(X, y, sample_weight=s * 1e-300, backend=backend, **way)


@pytest.mark.parametrize("precision", ["double", "exact"])
def test_moments_name_columns_that_are_too_small(precision, data):
    X, y = data
    with pytest.raises(ValueError, match=r"X\[:, 2\] is so small"):
        Moments.of(X * [1, 1, 1e-200], y, precision=precision)
    with pytest.raises(ValueError, match="y is so small"):
        Moments.of(X, y * 1e-200, precision=precision)


@pytest.mark.parametrize("size", [1e-20, 1e-41, 1e19, 3e37])
def test_products_in_single_are_right_or_refused(size, data):
    X, y = data
    X, y = (X * size).astype("f4"), y.astype("f4")
    try:
        result = fit(X, y, precision="single", strategy="stream")
    except (OverflowError, ValueError):
        return
    coef, _ = least_squares(X, y)
    assert result.coef == pytest.approx(coef, rel=1e-3)
