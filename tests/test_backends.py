"""The contract of a backend: sums over the data, in one pass, the same whoever asks."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from compare import KINDS, TOLERANCE, assert_close, assert_evaluation, assert_prediction
from hypothesis import given
from naive import Long, evaluate
from shapes import FEW_SHAPES, use_small_groups
from strategies import WEIGHTINGS, data_sets

from fastgd import fit, mse_and_gradient
from fastgd._data.problem import as_problem
from fastgd.backends import BACKENDS, ColumnStatistics, Sums, load_backend
from fastgd.backends.numba._vectors.emit import REGISTER_BYTES


def test_every_backend_offers_the_same(backend):
    assert BACKENDS[backend] == f"fastgd.backends.{backend}"
    module = load_backend(backend)
    assert callable(module.open_pass)
    assert callable(module.column_statistics)


def test_the_reference_is_among_them():
    assert "numpy" in BACKENDS


def test_a_name_unknown_lists_the_valid_ones():
    listed = ", ".join(f"'{name}'" for name in BACKENDS)
    with pytest.raises(ValueError, match=f"backend must be one of {listed}; got 'torch'"):
        fit([1.0, 2.0], [1.0, 2.0], backend="torch")
    with pytest.raises(ValueError, match=f"backend must be one of {listed}; got 'torch'"):
        mse_and_gradient([1.0, 2.0], [1.0, 2.0], 0.0, backend="torch")


@given(data=data_sets(weightings=WEIGHTINGS))
def test_a_pass_returns_sums(backend, data):
    problem = as_problem(data.X, data.y, data.sample_weight)
    coef = np.atleast_1d(np.asarray(data.coef, float))
    prediction = np.full(problem.n_samples, np.nan, problem.X.dtype)
    with load_backend(backend).open_pass(problem, None, prediction) as read:
        sums = read(coef, data.intercept)
        again = read(coef, data.intercept)

    assert isinstance(sums, Sums)
    assert type(sums.squares) is type(sums.residuals) is type(sums.weights) is float
    assert sums.products.shape == (problem.n_features,)
    assert sums.products.dtype == np.float64
    assert not np.shares_memory(sums.products, again.products)
    assert_sums(sums, data)
    assert not np.isnan(prediction).any()


@pytest.mark.parametrize("n", [1, 40, 5000])
def test_without_weights_their_sum_is_the_number_of_rows(backend, dtype, n, rng):
    X = rng.standard_normal((n, 3)).astype(dtype)
    with load_backend(backend).open_pass(as_problem(X, X[:, 0]), None) as read:
        assert read(np.zeros(3), 0.0).weights == n


# Around tiles of 128 rows and those of a half, a quarter and an eighth of them that take a rest.
@pytest.mark.parametrize("n", [1, 15, 16, 17, 32, 33, 47, 64, 65, 100, 127, 128, 129, 200, 271])
@pytest.mark.parametrize("d", [24, 37])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_rests_of_tiles_of_columns(kind, d, n, rng):
    X = np.asarray(rng.standard_normal((n, d)), kind.dtype, order="F")
    y, weight = (rng.uniform(0.5, 2.0, n).astype(kind.dtype) for _ in range(2))
    coef = rng.standard_normal(d)
    for s in (None, weight):
        prediction = np.full(n + 2, 7, kind.dtype)
        value = mse_and_gradient(
            X, y, coef, 0.75, sample_weight=s, prediction=prediction[:n], precision=kind.precision
        )
        exact = evaluate(X, y, coef, 0.75, s)
        assert_evaluation(value, exact, kind.tolerance)
        assert_prediction(prediction[:n], exact, kind.tolerance)
        assert (prediction[n:] == 7).all()


def assert_sums(sums, data):
    total = data.sample_weight.sum(dtype=Long)
    exact = evaluate(data.X, data.y, data.coef, data.intercept, data.sample_weight, "sum")
    products, product_terms = np.atleast_1d(exact.gradient), np.atleast_1d(exact.gradient_terms)
    for what, found, expected, terms in (
        ("squares", sums.squares, exact.mse * total, exact.mse_terms * total),
        ("products", sums.products, products / 2, product_terms / 2),
        ("residuals", sums.residuals, exact.intercept_gradient / 2, exact.intercept_terms / 2),
        ("weights", sums.weights, total, total),
    ):
        assert_close(found, expected, terms, TOLERANCE["double"], what)


def test_a_pass_reads_what_is_there_now(backend, dtype, rng):
    # Reads of the same problem at other coefficients, in any order, do not remember each other.
    X, y = rng.standard_normal((100, 3)).astype(dtype), rng.standard_normal(100).astype(dtype)
    with load_backend(backend).open_pass(as_problem(X, y), 1) as read:
        at = [rng.standard_normal(3) for _ in range(3)]
        first = [read(w, 0.5) for w in at]
        second = [read(w, 0.5) for w in reversed(at)][::-1]
    for one, other in zip(first, second, strict=True):
        assert one.squares == other.squares
        assert np.array_equal(one.products, other.products)


@given(data=data_sets())
def test_column_statistics(backend, data):
    problem = as_problem(data.X, data.y, data.sample_weight)
    statistics = load_backend(backend).column_statistics(problem, None)
    X = problem.X.astype(Long)
    s = np.ones(len(X), Long) if data.sample_weight is None else data.sample_weight.astype(Long)
    mean = s @ X / s.sum()
    deviation = np.sqrt(s @ (X - mean) ** 2 / s.sum())

    assert isinstance(statistics, ColumnStatistics)
    size = np.abs(X).max(axis=0)
    for found, exact in zip(statistics, (mean, deviation), strict=True):
        assert found.dtype == np.float64
        assert_close(found, exact, size, 1e-7 if data.X.dtype.itemsize == 4 else 1e-12)


class TestColumnStatistics:
    """Cases that decide the coordinates of a descent."""

    def statistics(self, backend, X, s=None):
        return load_backend(backend).column_statistics(as_problem(X, np.zeros(len(X)), s), None)

    # Around registers, rows abreast and runs of rows.
    @pytest.mark.parametrize("d", [1, 2, 3, 5, 8, 15, 65, 130])
    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_of_every_number_of_columns(self, backend, dtype, d, order, weighted, rng):
        for n in (2, 7, 8, 9, 16, 33, 4095, 4097):
            X = np.array(3 + rng.standard_normal((n, d)).astype(dtype), order=order)
            s = rng.uniform(0.5, 2.0, n).astype(dtype) if weighted else None
            mean, deviation = self.statistics(backend, X, s)
            exact = np.average(X.astype(float), axis=0, weights=s)
            spread = np.average((X - exact) ** 2, axis=0, weights=s)
            assert mean == pytest.approx(exact, rel=1e-13)
            assert deviation == pytest.approx(np.sqrt(spread), rel=1e-11)

    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_bits_with_any_number_of_threads(self, order, weighted, rng, monkeypatch):
        use_small_groups(monkeypatch)
        X = np.array(rng.standard_normal((3001, 67)).astype("f4"), order=order)
        s = rng.uniform(0.5, 2.0, 3001) if weighted else None
        problem = as_problem(X, np.zeros(3001), s)
        module = load_backend("numba")
        one = module.column_statistics(problem, 1)
        for n_threads in (2, 3, 8):
            several = module.column_statistics(problem, n_threads)
            for found, expected in zip(several, one, strict=True):
                assert found.tobytes() == expected.tobytes()

    @pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e6])
    @pytest.mark.parametrize("n", [1, 5, 4097, 20_000])
    def test_of_a_constant_column(self, backend, dtype, value, n):
        X = np.full((n, 2), value, dtype)
        mean, deviation = self.statistics(backend, X)
        assert mean == pytest.approx(X[0].astype(float), rel=1e-14)
        assert (deviation <= 1e-13 * abs(value)).all()

    @pytest.mark.parametrize("order", ["C", "F"])
    def test_far_from_zero(self, backend, dtype, rng, order):
        X = np.array(1e4 + rng.standard_normal((10_000, 3)), dtype, order=order)
        mean, deviation = self.statistics(backend, X)
        exact = X.astype(Long)
        assert mean == pytest.approx(exact.mean(axis=0).astype(float), rel=1e-12)
        assert deviation == pytest.approx(exact.std(axis=0).astype(float), rel=1e-6)

    @pytest.mark.parametrize("order", ["C", "F"])
    def test_where_many_weights_are_zero(self, backend, dtype, order, rng):
        X = np.array(rng.standard_normal((20_000, 3)), dtype, order=order)
        X[:, 1] = 0.1
        s = np.zeros(20_000)
        s[12_345:] = rng.uniform(0, 1, 20_000 - 12_345)
        # What rows of weight 0 hold does not matter, be it as far off as can be.
        X[:12_345:100] = 1e9
        mean, deviation = self.statistics(backend, X, s)
        kept = self.statistics(backend, X[12_345:], s[12_345:])
        assert mean == pytest.approx(kept.mean, abs=1e-9)
        assert deviation == pytest.approx(kept.deviation, rel=1e-9, abs=1e-14)


def large(n, d, order):
    """Data enough that a pass is worth more than one thread."""
    rng = np.random.default_rng(3)
    X = np.array(rng.standard_normal((n, d), np.float32), order=order)
    return X, X.sum(axis=1) + rng.standard_normal(n, np.float32), rng.random(n, np.float32)


class TestThreads:
    """The bits depend neither on how many there are nor on who else is calling."""

    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize(("n", "d"), [(700_003, 3), (40_011, 65), (1501, 1537)])
    def test_any_number_gives_the_same_bits(self, backend, n, d, order):
        X, y, s = large(n, d, order)
        coef = np.linspace(-1, 1, d)
        reference = None
        for n_threads in (1, 2, 3, 7, None):
            prediction = np.empty(n, np.float32)
            value = mse_and_gradient(
                X,
                y,
                coef,
                0.25,
                prediction=prediction,
                sample_weight=s,
                n_threads=n_threads,
                backend=backend,
            )
            bits = [value.mse, *value.gradient, value.intercept_gradient, prediction.tobytes()]
            if reference is None:
                expected = evaluate(X, y, coef, 0.25, s)
                assert_evaluation(value, expected, TOLERANCE["double"])
                assert_prediction(prediction, expected, TOLERANCE["double"])
            reference = reference or bits
            assert bits == reference

    def test_any_number_gives_the_same_fit(self, backend):
        X, y, s = large(700_003, 3, "C")
        one, two, many = (
            fit(X, y, sample_weight=s, n_threads=n, backend=backend) for n in (1, 2, None)
        )
        assert np.array_equal(one.coef, two.coef)
        assert np.array_equal(one.coef, many.coef)
        assert np.array_equal(one.loss_history, two.loss_history)

    def test_callers_in_several_threads_do_not_meet(self, backend):
        X, y, s = large(700_003, 3, "C")

        def loss_at(value):
            coef = np.full(3, value)
            return mse_and_gradient(X, y, coef, sample_weight=s, backend=backend).mse

        at = [0.0, 0.5, 1.0, 2.0] * 2
        alone = [loss_at(value) for value in at]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(loss_at, at)) == alone

    def test_end_with_the_call(self, backend):
        X, y, s = large(700_003, 3, "C")
        mse_and_gradient(X, y, np.zeros(3), sample_weight=s, n_threads=3, backend=backend)
        assert not [thread for thread in threading.enumerate() if "fastgd" in thread.name]


@pytest.mark.skipif(sys.platform != "linux", reason="forbids pages by mprotect")
def test_nothing_outside_of_the_arrays_is_read_or_written(backend):
    script = Path(__file__).with_name("guarded.py")
    done = subprocess.run([sys.executable, script, backend], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 1000


IN_REGISTERS_OF_ANOTHER_LENGTH = """
import sys
sys.path.insert(0, {tests!r})
from llvmlite import binding
have = binding.get_host_cpu_features()
# Before fastgd is imported, and of what it asks for alone: instructions stay this processor's.
binding.get_host_cpu_features = lambda: {{"avx512f": not have.get("avx512f")}}
from fastgd.backends.numba._vectors import emit
binding.get_host_cpu_features = lambda: have
import numpy as np
from compare import TOLERANCE, assert_evaluation
from guarded import layouts
from fastgd import Moments, mse_and_gradient
from naive import evaluate
from shapes import FEW_SHAPES
from test_moments import assert_exact
for shape in FEW_SHAPES:
    X, y, _ = shape.data(333)
    coef = np.linspace(-1, 1, shape.d)
    assert_evaluation(mse_and_gradient(X, y, coef), evaluate(X, y, coef, 0.0), TOLERANCE["double"])
    assert_exact(Moments.of(X, y, n_threads=1), X, y)
    print(shape)
for d in (5, 9, 23):
    for X in layouts(33, d, "f4", True):
        y, coef = np.ones(33, "f4"), np.linspace(-1, 1, d)
        assert not Moments.of(X, y).scatter.any()
        for precision in ("double", "single"):
            found = mse_and_gradient(X, y, coef, precision=precision)
            assert_evaluation(found, evaluate(X, y, coef, 0.0), TOLERANCE[precision])
print(emit.REGISTER_BYTES)
"""


def test_registers_may_be_of_32_or_64_bytes(tmp_path):
    # As on processors with the longer registers, or without, whichever this one is.
    code = IN_REGISTERS_OF_ANOTHER_LENGTH.format(tests=str(Path(__file__).parent))
    env = {**os.environ, "FASTGD_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    *shapes, length = done.stdout.split()
    assert len(shapes) == len(FEW_SHAPES)
    assert int(length) == 96 - REGISTER_BYTES


@given(data=data_sets(widths=(3, 17), weightings=WEIGHTINGS, dtypes=["f4"]))
def test_single_precision_agrees_with_double(backend, data):
    exact = evaluate(data.X, data.y, data.coef, data.intercept, data.sample_weight)
    arguments = (data.X, data.y, data.coef, data.intercept)
    single, double = (
        mse_and_gradient(
            *arguments,
            sample_weight=data.sample_weight,
            prediction=np.empty(len(data.y), np.float32),
            backend=backend,
            precision=precision,
        )
        for precision in ("single", "double")
    )
    for one, other, terms in zip(
        single,
        double,
        (exact.mse_terms, exact.gradient_terms, exact.intercept_terms),
        strict=True,
    ):
        assert_close(one, np.asarray(other, Long), terms, TOLERANCE["single"])


def test_layouts_agree_with_each_other(backend, dtype, rng):
    X = rng.standard_normal((2000, 3)).astype(dtype)
    y = (X.sum(axis=1) + rng.standard_normal(2000)).astype(dtype)
    by_rows = fit(X, y, backend=backend)
    by_columns = fit(np.asfortranarray(X), y, backend=backend)
    assert by_columns.coef == pytest.approx(by_rows.coef, rel=1e-11)
    assert by_columns.loss == pytest.approx(by_rows.loss, rel=1e-11)
