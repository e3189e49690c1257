"""What is used where it lies, what is copied, and what is refused in which words."""

import re

import numpy as np
import pytest
from compare import fit_anyway
from hypothesis import given
from naive import least_squares
from scipy.sparse import coo_array, csr_matrix
from strategies import COPIED_1D, COPIED_2D, IN_PLACE_1D, IN_PLACE_2D, SMALL_SIZES, data_sets

from fastgd import fit, mse_and_gradient
from fastgd._data.problem import as_problem


def named(layout):
    return layout.__name__


class TestUsedInPlace:
    @pytest.mark.parametrize("layout", IN_PLACE_2D, ids=named)
    @pytest.mark.parametrize("shape", [(7, 3), (2, 5), (1, 4), (6, 1), (1, 1)])
    def test_two_dimensions(self, layout, shape, dtype, rng):
        values = rng.standard_normal(shape).astype(dtype)
        X = layout(values)
        problem = as_problem(X, np.zeros(len(X)))
        assert np.shares_memory(problem.X, X)
        assert np.array_equal(problem.X, values)
        assert problem.X.shape == shape
        assert problem.X.dtype == dtype
        assert not problem.one_dimensional

    @pytest.mark.parametrize("layout", IN_PLACE_1D, ids=named)
    def test_one_dimension(self, layout, dtype, rng):
        values = rng.standard_normal(9).astype(dtype)
        x = layout(values)
        problem = as_problem(x, np.zeros(9))
        assert np.shares_memory(problem.X, x)
        assert np.array_equal(problem.X, values[:, None])
        assert problem.one_dimensional

    def test_y_and_weights(self, dtype):
        X, y, s = np.ones((4, 2), dtype), np.zeros(4, dtype), np.ones(4, dtype)
        problem = as_problem(X, y, s)
        assert np.shares_memory(problem.y, y)
        assert np.shares_memory(problem.sample_weight, s)


class TestCopiedOnce:
    def test_a_single_row_whose_features_lie_apart(self, dtype):
        X = np.arange(6, dtype=dtype)[np.newaxis, ::2]
        value = mse_and_gradient(X, np.ones(1, dtype), np.ones(3))
        assert not np.shares_memory(as_problem(X, np.ones(1)).X, X)
        assert value.gradient.tolist() == [0.0, 20.0, 40.0]

    @pytest.mark.parametrize("layout", COPIED_2D, ids=named)
    def test_two_dimensions(self, layout, dtype, rng):
        values = rng.standard_normal((7, 3)).astype(dtype)
        X = layout(values)
        problem = as_problem(X, np.zeros(7))
        assert not np.shares_memory(problem.X, X)
        assert_native(problem.X, dtype)
        assert np.array_equal(problem.X, values)
        assert np.array_equal(X, values)

    @pytest.mark.parametrize("layout", COPIED_1D, ids=named)
    def test_one_dimension(self, layout, dtype, rng):
        values = rng.standard_normal(9).astype(dtype)
        problem = as_problem(layout(values), layout(values), layout(abs(values)))
        for array in (problem.X[:, 0], problem.y):
            assert_native(array, dtype)
            assert np.array_equal(array, values)
        assert np.array_equal(problem.sample_weight, abs(values))

    def test_rows_that_are_one_and_the_same(self, dtype):
        row = np.arange(3, dtype=dtype)
        problem = as_problem(np.broadcast_to(row, (5, 3)), np.broadcast_to(row[1], 5))
        assert np.array_equal(problem.X, [row] * 5)
        assert problem.X.strides[0] > 0
        assert np.array_equal(problem.y, np.ones(5))

    def test_rows_that_overlap(self, dtype):
        X = np.lib.stride_tricks.sliding_window_view(np.arange(9, dtype=dtype), 3)
        problem = as_problem(X, np.zeros(7))
        assert not np.shares_memory(problem.X, X)
        assert np.array_equal(problem.X, X)

    def test_y_and_weights_that_are_not_contiguous(self, dtype):
        around = np.arange(8, dtype=dtype)
        problem = as_problem(np.ones((4, 2), dtype), around[::2], around[1::2])
        assert problem.y.flags.c_contiguous
        assert problem.y.tolist() == [0, 2, 4, 6]
        assert problem.sample_weight.flags.c_contiguous
        assert problem.sample_weight.tolist() == [1, 3, 5, 7]


@given(data=data_sets(sizes=SMALL_SIZES))
def test_every_layout_holds_the_same_numbers(data):
    problem = as_problem(data.X, data.y, data.sample_weight)
    X = data.X if data.X.ndim == 2 else data.X[:, None]
    assert np.array_equal(problem.X, X)
    assert np.array_equal(problem.y, data.y)
    assert problem.y.flags.c_contiguous
    assert (problem.n_samples, problem.n_features) == X.shape
    if data.sample_weight is not None:
        assert problem.sample_weight.dtype == problem.X.dtype
        assert np.allclose(problem.sample_weight, data.sample_weight, rtol=1e-7)


class TestDtypes:
    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("f4", "f4"),
            (">f4", "f4"),
            ("f2", "f4"),
            ("f8", "f8"),
            (">f8", "f8"),
            ("g", "f8"),
            ("i1", "f8"),
            ("i4", "f8"),
            (">i8", "f8"),
            ("u2", "f8"),
            ("?", "f8"),
        ],
    )
    def test_of_features(self, given, kept):
        X = np.array([[0, 1], [1, 1], [1, 0]], given)
        problem = as_problem(X, [1, 2, 3], [1, 1, 2])
        assert_native(problem.X, kept)
        assert np.array_equal(problem.X, X.astype(float))
        assert problem.sample_weight.dtype == kept

    @pytest.mark.parametrize(
        ("X", "y", "kept"), [("f4", "f4", "f4"), ("f4", "f8", "f8"), ("f8", "f4", "f8")]
    )
    def test_of_target(self, X, y, kept):
        assert as_problem(np.ones((3, 1), X), np.ones(3, y)).y.dtype == kept

    def test_lists_tuples_and_tables(self):
        pandas = pytest.importorskip("pandas")
        table = pandas.DataFrame({"a": [1.0, 2.0, 3.0], "b": [4, 5, 7], "y": [1.0, 2.0, 4.0]})
        rows = [[1.0, 4], [2.0, 5], [3.0, 7]]
        expected = np.array(rows)
        for X in (rows, tuple(map(tuple, rows)), table[["a", "b"]]):
            for y in ([1, 2, 4], table["y"]):
                problem = as_problem(X, y)
                assert np.array_equal(problem.X, expected)
                assert problem.y.tolist() == [1.0, 2.0, 4.0]

    def test_what_is_copied_is_still_fitted_right(self, backend):
        # 8-bit integers would overflow, float16 would round, if they were calculated with.
        X = np.array([[100, 1, 0], [120, -3, 1], [-90, 2, 0], [7, 90, 1], [-9, 3, 120]], np.int8)
        y = np.array([100, 50, 25, 0, 90], np.int8)
        expected, intercept = least_squares(X.astype(float), y.astype(float))
        for kind in ("i1", "f2", ">f4"):
            result = fit(X.astype(kind), y.astype(kind), backend=backend)
            assert result.coef == pytest.approx(expected, rel=1e-4)
            assert result.intercept == pytest.approx(intercept, rel=1e-4)


class TestInputsAreLeftAlone:
    @pytest.mark.parametrize("layout", IN_PLACE_2D + COPIED_2D, ids=named)
    def test_by_fit(self, backend, layout, dtype, rng):
        X = layout(rng.standard_normal((40, 3)).astype(dtype))
        y = rng.standard_normal(40).astype(dtype)
        s = rng.uniform(0, 1, 40).astype(dtype)
        start = np.ones(3)
        before = [array.tobytes() for array in (X, y, s, start)]
        fit(X, y, sample_weight=s, coef_init=start, backend=backend)
        fit_anyway(X, y, sample_weight=s, learning_rate=0.01, coef_init=start, max_iter=3)
        assert [array.tobytes() for array in (X, y, s, start)] == before


# Every function that takes data refuses the same, in the same words.
def by_fit(X, y, s, backend):
    fit(X, y, sample_weight=s, strategy="stream", backend=backend)


def by_moments(X, y, s, backend):
    fit(X, y, sample_weight=s, strategy="moments", backend=backend)


def by_fit_with_a_step(X, y, s, backend):
    options = {"learning_rate": 0.01, "max_iter": 5, "strategy": "stream", "backend": backend}
    fit_anyway(X, y, sample_weight=s, **options)


def by_gradient(X, y, s, backend):
    try:
        coef = np.zeros(np.shape(X)[1:])
    except ValueError:
        coef = 0.0
    mse_and_gradient(X, y, coef, sample_weight=s, backend=backend)


entry = pytest.mark.parametrize(
    "entry", [by_fit, by_fit_with_a_step, by_moments, by_gradient], ids=named
)

X1 = [1.0, 2.0, 4.0]
X2 = [[1.0, 2.0], [3.0, 5.0], [8.0, 13.0]]
Y = [1.0, 2.0, 3.0]
MASKED = np.ma.masked_array([1.0, 2.0, 4.0], [0, 1, 0])
OBJECTS = np.array([1.0, 2.0, None])
DATES = np.array(["2013-01-01", "2013-01-02", "2013-01-03"], "M8[D]")

BAD = {
    "empty X": ([], [], None, ValueError, r"X must have at least one sample.*\(0,\)"),
    "no samples": (np.empty((0, 3)), [], None, ValueError, r"at least one sample.*\(0, 3\)"),
    "no features": (np.empty((3, 0)), Y, None, ValueError, r"one feature.*\(3, 0\)"),
    "empty y": (X1, [], None, ValueError, "y has 0 entries where X has 3 samples"),
    "scalar X": (1.0, [1.0], None, ValueError, "X must be 1-D or 2-D.*0-D"),
    "3-D X": (np.ones((3, 1, 1)), Y, None, ValueError, r"X must be 1-D or 2-D.*3-D.*\(3, 1, 1\)"),
    "scalar y": (X1, 1.0, None, ValueError, r"y must be 1-D \(n_samples,\).*got shape \(\)"),
    "3-D y": (X2, np.ones((3, 1, 1)), None, ValueError, r"y must be 1-D.*\(3, 1, 1\)"),
    "no targets": (X2, np.ones((3, 0)), None, ValueError, r"y must be 1-D.*\(3, 0\)"),
    "short y": (X2, [1.0, 2.0], None, ValueError, "y has 2 entries where X has 3 samples"),
    "long y": (X1, [1.0] * 4, None, ValueError, "y has 4 entries where X has 3 samples"),
    "transposed X": (np.ones((2, 3)), Y, None, ValueError, "y has 3 entries where X has 2 samples"),
    "short weights": (X2, Y, [1.0], ValueError, "sample_weight has 1 entries where X has 3"),
    "2-D weights": (X2, Y, [[1.0]] * 3, ValueError, r"sample_weight must be 1-D.*\(3, 1\)"),
    "scalar weights": (X2, Y, 1.0, ValueError, "sample_weight must be 1-D"),
    "NaN weight": (X2, Y, [1, np.nan, 1], ValueError, "sample_weight must be finite"),
    "infinite weight": (X1, Y, [1, np.inf, 1], ValueError, "sample_weight must be finite"),
    "both infinities": (X1, Y, [np.inf, -np.inf, 1], ValueError, "sample_weight must be finite"),
    "negative weight": (X2, Y, [1, -0.5, 1], ValueError, "sample_weight must not be neg.*-0.5"),
    "weights cancel": (X2, Y, [1, -1, 0], ValueError, "sample_weight must not be negative.*-1"),
    "all weights 0": (X1, Y, [0, 0, 0], ValueError, "sample_weight must have a positive sum"),
    "complex X": (np.array(X2) + 0j, Y, None, TypeError, "X must hold real.*complex128"),
    "complex y": (X1, np.array(Y) + 0j, None, TypeError, "y must hold real.*complex128"),
    "complex weights": (X1, Y, [1j, 1, 1], TypeError, "sample_weight must hold real.*complex128"),
    "object X": (OBJECTS, Y, None, TypeError, "X must hold real numbers; got dtype object"),
    "object y": (X1, OBJECTS, None, TypeError, "y must hold real numbers; got dtype object"),
    "object weights": (X1, Y, OBJECTS, TypeError, "sample_weight must hold real.*object"),
    "string X": (["a", "b", "c"], Y, None, TypeError, "X must hold real numbers; got dtype <U1"),
    "numbers as text": (X1, ["1", "2", "3"], None, TypeError, "y must hold real numbers.*<U1"),
    "bytes": ([b"1", b"2", b"3"], Y, None, TypeError, "X must hold real numbers.*S1"),
    "dates as X": (DATES, Y, None, TypeError, r"X must hold real.*datetime64\[D\]"),
    "dates as y": (X1, DATES, None, TypeError, r"y must hold real.*datetime64\[D\]"),
    "durations": (X1, DATES - DATES[0], None, TypeError, "y must hold real.*timedelta64"),
    "masked X": (MASKED, Y, None, TypeError, "X is a masked array"),
    "masked y": (X2, MASKED, None, TypeError, "y is a masked array"),
    "masked weights": (X2, Y, MASKED, TypeError, "sample_weight is a masked array"),
    "sparse X": (
        *(csr_matrix(X2), Y, None, TypeError),
        r"^X is a sparse matrix; only dense arrays are taken: X\.toarray\(\)$",
    ),
    "sparse array": (coo_array(X2), Y, None, TypeError, r"X is a sparse.*: X\.toarray\(\)"),
    "sparse y": (X2, csr_matrix(Y), None, TypeError, r"y is a sparse.*: y\.toarray\(\)"),
    "ragged X": ([[1.0], [2.0, 3.0], [4.0]], Y, None, ValueError, "X cannot be read as an array"),
    "ragged y": (X1, [1.0, [2.0], 3.0], None, ValueError, "y cannot be read as an array"),
    "no X": (None, Y, None, TypeError, "X must hold real numbers; got dtype object"),
    "no y": (X1, None, None, TypeError, "^y must (be given|hold real numbers)"),
    "a dict": ({"a": 1}, Y, None, TypeError, "X must hold real numbers; got dtype object"),
}


@entry
@pytest.mark.parametrize("case", BAD)
def test_bad_data_are_refused_by_name(backend, entry, case):
    X, y, s, error, words = BAD[case]
    with pytest.raises(error, match=words):
        entry(X, y, s, backend)


@entry
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
class TestNotFinite:
    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("where", [(0, 0), (3, 1), (36, 2)])
    def test_in_features(self, backend, entry, value, dtype, order, where, rng):
        X = np.array(rng.standard_normal((37, 3)), dtype, order=order)
        X[where] = value
        with pytest.raises(ValueError, match=rf"^X must be finite; X\[{list_of(where)}\] is"):
            entry(X, np.ones(37, dtype), None, backend)

    @pytest.mark.parametrize("where", [0, 5, 36])
    def test_in_one_dimension(self, backend, entry, value, dtype, where, rng):
        x = rng.standard_normal(37).astype(dtype)
        x[where] = value
        with pytest.raises(ValueError, match=rf"^X must be finite; X\[{where}\] is {value}"):
            entry(x, np.ones(37, dtype), None, backend)

    @pytest.mark.parametrize("where", [0, 5, 36])
    def test_in_target(self, backend, entry, value, dtype, where, rng):
        y = rng.standard_normal(37).astype(dtype)
        y[where] = value
        with pytest.raises(ValueError, match=rf"^y must be finite; y\[{where}\] is {value}"):
            entry(rng.standard_normal((37, 3)).astype(dtype), y, None, backend)

    def test_where_the_weight_is_zero(self, backend, entry, value, dtype, rng):
        # A row of weight 0 is data all the same, and says that something is wrong with them.
        X, y, s = rng.standard_normal((37, 3)).astype(dtype), np.ones(37, dtype), np.ones(37)
        s[11] = 0
        y[11] = value
        with pytest.raises(ValueError, match=r"^y must be finite; y\[11\]"):
            entry(X, y, s, backend)
        X[11, 1] = value
        with pytest.raises(ValueError, match=r"^X must be finite; X\[11, 1\]"):
            entry(X, np.ones(37, dtype), s, backend)

    def test_at_the_end_of_many_rows(self, backend, entry, value, dtype, rng):
        X = rng.standard_normal((70_001, 3)).astype(dtype)
        X[70_000, 1] = value
        with pytest.raises(ValueError, match=r"^X must be finite; X\[70000, 1\]"):
            entry(X, np.ones(70_001, dtype), None, backend)


@entry
def test_opposite_infinities_do_not_cancel(backend, entry, dtype):
    X = np.array([[1, np.inf, 0], [2, -np.inf, 1], [3, 1, 0]], dtype)
    with pytest.raises(ValueError, match=r"^X must be finite; X\[0, 1\] is inf"):
        entry(X, np.ones(3, dtype), None, backend)


@entry
def test_a_y_too_large_for_its_squares(backend, entry, dtype):
    X = np.array([[1], [2], [3]], dtype)
    y = np.full(3, np.finfo(dtype).max / 4, dtype)
    try:
        entry(X, y, None, backend)
    except OverflowError as error:
        told = str(error)
    else:
        assert dtype == "f4"  # a backend is free to sum float32 data in float64
        return
    assert re.search("exceed the range of float|so large that sums of their squares are not", told)


def list_of(where):
    return ", ".join(map(str, where))


def assert_native(array, dtype):
    assert array.dtype == dtype
    assert array.dtype.isnative
    assert array.flags.aligned
    assert array.flags.c_contiguous
