"""mse_and_gradient against the oracle, against itself, and inside another optimiser."""

import os

import numpy as np
import pytest
from compare import TOLERANCE, assert_evaluation, assert_prediction
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import evaluate, least_squares
from scipy.optimize import minimize
from strategies import (
    SMALL_SIZES,
    WEIGHTINGS,
    WIDTHS,
    c_order,
    data_sets,
    f_order,
    slice_of_columns,
)

from fastgd import mse_and_gradient

# Three rows by hand: at coef (1, -1, 0) and intercept 0.5 every prediction is -0.5, so the
# residuals are -1.5, -2.5, -3.5.
X_HAND = [[1.0, 2.0, 2.0], [3.0, 4.0, 0.0], [5.0, 6.0, -2.0]]
Y_HAND = [1.0, 2.0, 3.0]
AT_HAND = ([1.0, -1.0, 0.0], 0.5)

twice_as_many = settings(max_examples=2 * settings().max_examples)


def assert_agrees(data, backend, predicting=True, reduction="mean", precision="double"):
    """One call against the oracle; its inputs and what lies around its buffer stay as they were."""
    before = [array.tobytes() for array in data.arrays]
    dtype = np.dtype(np.float32 if data.X.dtype.itemsize == 4 else np.float64)
    around = np.full(len(data.y) + 2, 7.0, dtype)
    prediction = around[1:-1]
    prediction[:] = np.nan

    value = mse_and_gradient(
        data.X,
        data.y,
        data.coef,
        data.intercept,
        prediction=prediction if predicting else None,
        sample_weight=data.sample_weight,
        reduction=reduction,
        backend=backend,
        precision=precision,
    )

    expected = evaluate(
        data.X, data.y, data.coef, data.intercept, data.sample_weight, reduction=reduction
    )
    assert_evaluation(value, expected, TOLERANCE[precision])
    if predicting:
        assert_prediction(prediction, expected, TOLERANCE[precision])
    assert around[0] == around[-1] == 7.0
    assert [array.tobytes() for array in data.arrays] == before


class TestAgainstTheOracle:
    @given(data=data_sets(weightings=WEIGHTINGS), reduction=st.sampled_from(["mean", "sum"]))
    @twice_as_many
    def test_with_all_there_is(self, backend, data, reduction):
        assert_agrees(data, backend, reduction=reduction)

    @given(data=data_sets(weightings=[None], widths=(3, 33)))
    def test_without_weights_or_prediction(self, backend, data):
        assert_agrees(data, backend, predicting=False)

    @given(data=data_sets(weightings=WEIGHTINGS, dtypes=["f4"]))
    def test_in_single_precision(self, backend, data):
        assert_agrees(data, backend, precision="single")

    @given(data=data_sets(weightings=WEIGHTINGS, dtypes=["f4"], y_dtype="f8", widths=(3, 17)))
    def test_of_a_target_finer_than_the_features(self, backend, data):
        assert_agrees(data, backend, precision="single")

    @pytest.mark.parametrize("d", WIDTHS)
    @pytest.mark.parametrize("layout", [c_order, f_order, slice_of_columns])
    def test_at_any_number_of_rows(self, backend, kind, layout, d, rng):
        coef = rng.standard_normal(d)
        all_X = rng.standard_normal((35, d)).astype(kind.dtype)
        all_y, all_s = rng.uniform(0, 2, (2, 35)).astype(kind.dtype)
        for n in range(1, 36):
            X, y, s = layout(all_X[:n]), all_y[:n], all_s[:n]
            prediction = np.empty(n, kind.dtype)
            value = mse_and_gradient(
                X,
                y,
                coef,
                0.5,
                sample_weight=s,
                prediction=prediction,
                backend=backend,
                precision=kind.precision,
            )
            expected = evaluate(X, y, coef, 0.5, s)
            assert_evaluation(value, expected, kind.tolerance)
            assert_prediction(prediction, expected, kind.tolerance)

    # Numbers of features have code of their own up to a vector or so.
    @pytest.mark.parametrize(
        "d", range(1, 50) if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else (5, 12)
    )
    @pytest.mark.parametrize("layout", [c_order, f_order])
    def test_at_any_number_of_features(self, backend, dtype, layout, d, rng):
        X = layout(rng.standard_normal((43, d)).astype(dtype))
        y, s = rng.uniform(0, 2, (2, 43)).astype(dtype)
        at = (rng.standard_normal(d), 0.5)
        prediction = np.empty(43, dtype)
        value = mse_and_gradient(X, y, *at, sample_weight=s, prediction=prediction, backend=backend)
        expected = evaluate(X, y, *at, s)
        assert_evaluation(value, expected, TOLERANCE["double"])
        assert_prediction(prediction, expected, TOLERANCE["double"])


@given(data=data_sets(widths=[3], weightings=WEIGHTINGS))
def test_separate_calls_agree(backend, data):
    arguments = (data.X, data.y, data.coef, data.intercept)
    options = {"sample_weight": data.sample_weight, "backend": backend}
    buffer = np.empty(len(data.y), "f4" if data.X.dtype.itemsize == 4 else "f8")

    first = mse_and_gradient(*arguments, **options)
    second = mse_and_gradient(*arguments, **options)
    with_prediction = mse_and_gradient(*arguments, prediction=buffer, **options)

    assert second.mse == first.mse
    assert np.array_equal(second.gradient, first.gradient)
    assert second.intercept_gradient == first.intercept_gradient
    expected = evaluate(*arguments, data.sample_weight)
    assert_evaluation(first, expected, TOLERANCE["double"])
    assert_evaluation(with_prediction, expected, TOLERANCE["double"])


def test_hand_computed_values(backend, dtype):
    X, y = np.array(X_HAND, dtype), np.array(Y_HAND, dtype)

    mean = mse_and_gradient(X, y, *AT_HAND, backend=backend)
    assert mean.mse == pytest.approx(20.75 / 3, rel=1e-7)
    assert mean.gradient == pytest.approx([-53 / 3, -68 / 3, 8 / 3], rel=1e-7)
    assert mean.intercept_gradient == pytest.approx(-5.0, rel=1e-7)

    total = mse_and_gradient(X, y, *AT_HAND, reduction="sum", backend=backend)
    assert total.mse == pytest.approx(20.75 / 3, rel=1e-7)  # the loss stays a mean
    assert total.gradient == pytest.approx([-53.0, -68.0, 8.0], rel=1e-7)
    assert total.intercept_gradient == pytest.approx(-15.0, rel=1e-7)

    weighted = mse_and_gradient(X, y, *AT_HAND, sample_weight=[1, 0, 3], backend=backend)
    assert weighted.mse == pytest.approx(9.75, rel=1e-7)
    assert weighted.gradient == pytest.approx([-27.0, -33.0, 9.0], rel=1e-7)
    assert weighted.intercept_gradient == pytest.approx(-6.0, rel=1e-7)


def test_hand_computed_values_in_one_dimension(backend, dtype):
    x = np.arange(6, dtype=dtype)
    value = mse_and_gradient(x, 2 * x, 0.0, backend=backend)
    assert value.mse == pytest.approx(220 / 6, rel=1e-7)
    assert value.gradient == pytest.approx(-220 / 6, rel=1e-7)
    assert value.intercept_gradient == pytest.approx(-10.0, rel=1e-7)


def test_types_of_the_result(backend, dtype):
    X, y = np.array(X_HAND, dtype), np.array(Y_HAND, dtype)
    value = mse_and_gradient(X, y, *AT_HAND, backend=backend)
    assert type(value.mse) is float
    assert value.gradient.dtype == np.float64
    assert type(value.intercept_gradient) is float
    assert type(mse_and_gradient(X[:, 0], y, 1.0, backend=backend).gradient) is float


@given(data=data_sets(sizes=SMALL_SIZES, widths=[3]))
def test_central_differences(backend, data):
    # In float64: the loss is quadratic, so that a central difference has no error but rounding,
    # however long its step.
    X = np.asarray(data.X, np.float64)
    y = np.asarray(data.y, np.float64)
    d = X.shape[1] if X.ndim == 2 else 1

    def loss(parameters):
        coef = parameters[:-1] if X.ndim == 2 else parameters[0]
        return mse_and_gradient(
            X, y, coef, parameters[-1], sample_weight=data.sample_weight, backend=backend
        ).mse

    at = np.append(data.coef, data.intercept)
    value = mse_and_gradient(
        X, y, data.coef, data.intercept, sample_weight=data.sample_weight, backend=backend
    )
    differences = [(loss(at + 0.5 * e) - loss(at - 0.5 * e)) for e in np.eye(d + 1)]
    scale = evaluate(X, y, abs(np.asarray(data.coef)) + 1, abs(data.intercept) + 1).mse_terms
    gradient = np.append(value.gradient, value.intercept_gradient)
    assert np.abs(gradient - differences).max() <= 1e-11 * scale * (1 + abs(X).max())


@given(data=data_sets(widths=[3], weightings=[None]), seed=st.integers(0, 2**32 - 1))
def test_whole_weights_are_repeated_rows(backend, data, seed):
    counts = np.random.default_rng(seed).integers(0, 4, len(data.y))
    counts[seed % len(counts)] = 2
    at = (data.coef, data.intercept)
    weighted = mse_and_gradient(data.X, data.y, *at, sample_weight=counts, backend=backend)
    # A weight of 0 is a row left out.
    X, y = np.repeat(data.X, counts, axis=0), np.repeat(data.y, counts)
    repeated = mse_and_gradient(X, y, *at, backend=backend)

    expected = evaluate(X, y, *at)
    assert_evaluation(weighted, expected, TOLERANCE["double"])
    assert_evaluation(repeated, expected, TOLERANCE["double"])


@pytest.mark.parametrize("factor", [2.0**-60, 1e-6, 3.0, 1e6, 2.0**60])
def test_scaling_the_weights_changes_nothing(backend, dtype, rng, factor):
    X = rng.standard_normal((500, 3)).astype(dtype)
    y = rng.standard_normal(500).astype(dtype)
    s = rng.uniform(0, 2, 500)
    at = ([1.0, -2.0, 0.5], 0.25)
    scaled = mse_and_gradient(X, y, *at, sample_weight=factor * s, backend=backend)
    # Weights are used in the dtype of X.
    assert_evaluation(scaled, evaluate(X, y, *at, s), 1e-7 if dtype == "f4" else 1e-12)


@pytest.mark.parametrize("d", [1, 3, 33])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("precision", ["single", "double"])
def test_the_error_does_not_grow_with_the_number_of_rows(backend, precision, d, order):
    # All terms equal, so that errors of a float32 sum would all have the same sign.
    n = 2_000_017 // d
    X = np.full((n, d), 0.1, np.float32, order)
    y = np.full(n, 0.3, np.float32)
    value = mse_and_gradient(X, y, np.zeros(d), backend=backend, precision=precision)
    expected = evaluate(X[:1], y[:1], np.zeros(d))  # a mean of equal terms
    assert_evaluation(value, expected, TOLERANCE[precision])


def test_large_offsets_do_not_swamp_the_sums(backend, kind, rng):
    X = (1e4 + rng.standard_normal((5000, 3))).astype(kind.dtype)
    y = (1e4 + rng.standard_normal(5000)).astype(kind.dtype)
    at = ([1.0, -1.0, 0.5], 3.0)
    value = mse_and_gradient(X, y, *at, backend=backend, precision=kind.precision)
    assert_evaluation(value, evaluate(X, y, *at), kind.tolerance)


class TestPredictionBuffer:
    def test_is_the_memory_that_is_filled(self, backend, dtype):
        X, y = np.array(X_HAND, dtype), np.array(Y_HAND, dtype)
        memory = np.full(3, np.nan, dtype)
        alias = memory[:]
        mse_and_gradient(X, y, *AT_HAND, prediction=memory, backend=backend)
        assert alias.tolist() == [-0.5, -0.5, -0.5]

    def test_may_be_a_memory_map(self, backend, dtype, tmp_path):
        X, y = np.array(X_HAND, dtype), np.array(Y_HAND, dtype)
        path = tmp_path / "prediction"
        buffer = np.memmap(path, dtype, "w+", shape=3)
        mse_and_gradient(X, y, *AT_HAND, prediction=buffer, backend=backend)
        buffer.flush()
        assert np.fromfile(path, dtype).tolist() == [-0.5, -0.5, -0.5]

    @pytest.mark.parametrize(
        ("buffer", "error", "words"),
        [
            (np.empty(4, "f4"), ValueError, r"shape \(3,\); got .* \(4,\)"),
            (np.empty((3, 1), "f4"), ValueError, r"shape \(3,\); got .* \(3, 1\)"),
            (np.empty((), "f4"), ValueError, r"shape \(3,\); got"),
            (np.empty(3, "f8"), ValueError, "float32 array.*got dtype float64"),
            (np.empty(3, "i4"), ValueError, "float32 array.*got dtype int32"),
            (np.empty(3, np.dtype("f4").newbyteorder()), ValueError, "float32 array.*got dtype"),
            (np.empty(6, "f4")[::2], ValueError, "contiguous.*strided"),
            (np.empty(3, "f4")[::-1], ValueError, "contiguous.*strided"),
            (np.frombuffer(b"\0" * 12, "f4"), ValueError, "writable.*read-only"),
            (np.frombuffer(bytearray(13), "f4", offset=1), ValueError, "unaligned"),
            ([0.0, 0.0, 0.0], TypeError, "got list"),
            (1.0, TypeError, "got float"),
        ],
        ids=lambda value: None if isinstance(value, np.ndarray) else str(value)[:20],
    )
    def test_that_cannot_be_used(self, backend, buffer, error, words):
        X, y = np.array(X_HAND, "f4"), np.array(Y_HAND, "f4")
        with pytest.raises(error, match=f"prediction must be .*{words}"):
            mse_and_gradient(X, y, *AT_HAND, prediction=buffer, backend=backend)

    def test_is_of_the_dtype_of_the_features(self, backend):
        with pytest.raises(ValueError, match=r"float64 array.*got dtype float32"):
            mse_and_gradient(
                X_HAND, Y_HAND, *AT_HAND, prediction=np.empty(3, "f4"), backend=backend
            )

    @pytest.mark.parametrize("name", ["X", "y", "sample_weight"])
    @pytest.mark.parametrize("as_given", [np.asarray, lambda array: array[::-1]])
    def test_must_not_be_an_input(self, backend, name, as_given):
        # Reversed arrays are copied, but they are the caller's all the same.
        memory = {name: np.ones(3, "f4") for name in ("X", "y", "sample_weight")}
        given = {key: as_given(array) for key, array in memory.items()}
        with pytest.raises(ValueError, match=f"prediction must not share memory with {name}"):
            mse_and_gradient(**given, coef=0.5, prediction=memory[name], backend=backend)
        assert (memory[name] == 1).all()


class TestBadArguments:
    @pytest.mark.parametrize(
        ("changed", "error", "words"),
        [
            ({"coef": 1.0}, ValueError, r"coef must be an array of shape \(3,\)"),
            ({"coef": [1.0]}, ValueError, r"coef must be an array of shape \(3,\)"),
            ({"coef": [[1.0, 2.0, 3.0]]}, ValueError, r"coef must be an array of shape \(3,\)"),
            ({"coef": [np.nan, 1.0, 1.0]}, ValueError, "coef must be finite"),
            ({"coef": [1j, 1.0, 1.0]}, TypeError, "coef must be .* real numbers"),
            ({"coef": ["a", "b", "c"]}, TypeError, "coef must be .* real numbers"),
            ({"coef": None}, TypeError, "coef must be .* real numbers"),
            ({"intercept": [1.0]}, ValueError, "intercept must be a scalar"),
            ({"intercept": np.inf}, ValueError, "intercept must be finite"),
            ({"intercept": "1"}, TypeError, "intercept must be a scalar"),
            ({"reduction": "median"}, ValueError, "reduction must be one of 'mean', 'sum'"),
            ({"reduction": None}, ValueError, "reduction must be one of 'mean', 'sum'"),
            ({"precision": "half"}, ValueError, "precision must be one of 'double', 'single'"),
            ({"precision": None}, ValueError, "precision must be one of 'double', 'single'"),
            ({"n_threads": 0}, ValueError, "n_threads must be an integer of at least 1"),
            ({"n_threads": 1.5}, TypeError, "n_threads must be an integer of at least 1"),
        ],
    )
    def test_are_named(self, backend, changed, error, words):
        arguments = {"X": X_HAND, "y": Y_HAND, "coef": [1.0, 1.0, 1.0], "backend": backend}
        with pytest.raises(error, match=words):
            mse_and_gradient(**{**arguments, **changed})

    def test_coef_is_a_scalar_in_one_dimension(self, backend):
        with pytest.raises(ValueError, match="coef must be a scalar, since X is 1-D"):
            mse_and_gradient([1.0, 2.0], [1.0, 2.0], [1.0], backend=backend)

    def test_an_unknown_backend_lists_those_there_are(self):
        with pytest.raises(ValueError, match="backend must be one of 'numba', 'numpy'"):
            mse_and_gradient(X_HAND, Y_HAND, [1.0, 1.0, 1.0], backend="fortran")

    @pytest.mark.parametrize("precision", ["single", "double"])
    @pytest.mark.parametrize(
        ("coef", "intercept"),
        [
            ([1e300, 0, 0], 0),
            ([0, 0, 0], 1e300),
            ([1e30, 0, 0], 0),
            ([-1e39, 0, 0], 0),
            ([0, 0, 0], 1e39),
        ],
    )
    def test_too_large_for_the_data(self, backend, precision, coef, intercept):
        # Whether or not 1e60 overflows is up to the backend; what it returns must be right.
        X, y = np.array(X_HAND, "f4"), np.array(Y_HAND, "f4")
        try:
            value = mse_and_gradient(X, y, coef, intercept, backend=backend, precision=precision)
        except OverflowError as error:
            told = str(error)
        else:
            assert_evaluation(value, evaluate(X, y, coef, intercept), TOLERANCE[precision])
            return
        assert "exceed the range of float" in told

    def test_a_prediction_too_large_for_its_buffer(self, backend):
        # Finite in float64, where the sums are, but not in the float32 of the buffer.
        X, y = np.array(X_HAND, "f4"), np.array(Y_HAND, "f4")
        prediction = np.empty(3, "f4")
        try:
            mse_and_gradient(X, y, [1e39, 0, 0], prediction=prediction, backend=backend)
        except OverflowError as error:
            told = str(error)
        else:
            assert prediction.tolist() == [np.inf] * 3
            return
        assert "exceed the range of float" in told


def test_drives_an_optimiser_of_scipy(backend, rng):
    X = rng.standard_normal((300, 3))
    y = X @ [1.0, -2.0, 0.0] + rng.standard_normal(300)
    s = rng.uniform(0.5, 2, 300)

    def objective(coef):
        return mse_and_gradient(X, y, coef, sample_weight=s, backend=backend)[:2]

    found = minimize(objective, np.zeros(3), jac=True)
    best, _ = least_squares(X, y, s, fit_intercept=False)
    assert found.success
    assert found.x == pytest.approx(best, abs=1e-5)
