"""Tables and tensors of other libraries, against the equal NumPy arrays."""

import subprocess
import sys

import numpy as np
import pytest

import fastgd
from fastgd._data.problem import as_problem
from fastgd.sources import KINDS

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
nw = pytest.importorskip("narwhals")

NAMES = ("a", "b", "c")


class Foreign:
    """A frame of a library that fastgd has never heard of, but that speaks Arrow."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


def polars_of(columns):
    return pl.DataFrame({name: pl.Series(values) for name, values in columns.items()})


FRAMES = {
    "pandas": pd.DataFrame,
    "polars": polars_of,
    "Arrow table": pa.table,
    "Arrow batch": lambda columns: pa.RecordBatch.from_pydict(
        {name: pa.array(values) for name, values in columns.items()}
    ),
    "Arrow reader": lambda columns: pa.table(columns).to_reader(max_chunksize=3),
    "Arrow chunks": lambda columns: pa.concat_tables(
        [pa.table(columns).slice(0, 2), pa.table(columns).slice(2)]
    ),
    "narwhals of pandas": lambda columns: nw.from_native(pd.DataFrame(columns)),
    "narwhals of polars": lambda columns: nw.from_native(polars_of(columns)),
    "foreign": lambda columns: Foreign(pa.table(columns)),
}
SERIES = {
    "pandas": pd.Series,
    "polars": pl.Series,
    "Arrow array": pa.array,
    "Arrow chunks": lambda values: pa.chunked_array([values[:2], values[2:]]),
    "narwhals": lambda values: nw.from_native(pl.Series(values), series_only=True),
}

frames = pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)
serieses = pytest.mark.parametrize("make", SERIES.values(), ids=SERIES)


def columns_of(rng, *dtypes, n=9):
    names = NAMES[: len(dtypes)]
    return {
        name: (rng.standard_normal(n) * 50).astype(dtype)
        for name, dtype in zip(names, dtypes, strict=True)
    }


@frames
@pytest.mark.parametrize(
    ("dtypes", "wanted"),
    [
        (("f4", "f4", "f4"), "f4"),
        (("f8", "f8", "f8"), "f8"),
        (("f4", "f8", "f4"), "f8"),
        (("i4", "u1", "i8"), "f8"),
        (("f4", "i1", "f4"), "f8"),
        (("?", "f4"), "f8"),
    ],
)
def test_a_frame_is_the_equal_array(make, dtypes, wanted, rng):
    columns = columns_of(rng, *dtypes)
    problem = as_problem(make(columns), np.zeros(9))
    assert problem.X.dtype == wanted
    assert problem.X.flags.f_contiguous
    assert np.array_equal(problem.X, np.column_stack([*columns.values()]).astype(wanted))
    assert problem.feature_names == NAMES[: len(dtypes)]
    assert not problem.one_dimensional


@serieses
@pytest.mark.parametrize(("dtype", "wanted"), [("f4", "f4"), ("f8", "f8"), ("i4", "f8")])
def test_a_series_is_the_equal_array(make, dtype, wanted, rng):
    values = (rng.uniform(1, 50, 9)).astype(dtype)
    problem = as_problem(make(values), make(values), make(values))
    assert problem.one_dimensional
    for array in (problem.X[:, 0], problem.y, problem.sample_weight):
        assert array.dtype == wanted
        assert np.array_equal(array, values.astype(wanted))


@frames
def test_results_have_the_bits_of_the_equal_array(make, backend, rng):
    columns = columns_of(rng, "f4", "f4", "f4", n=500)
    X, y = np.asfortranarray(np.column_stack([*columns.values()])), columns["a"] * 2 + 1
    for data in (make, lambda columns: pd.DataFrame(X, columns=NAMES)):
        ours = fastgd.fit(data(columns), pl.Series(y), backend=backend)
        plain = fastgd.fit(X, y, backend=backend)
        assert ours.coef.tobytes() == plain.coef.tobytes()
        assert ours.loss_history.tobytes() == plain.loss_history.tobytes()
        assert ours.predict(data(columns)).tobytes() == plain.predict(X).tobytes()


@frames
def test_every_function_takes_frames(make, rng):
    columns = columns_of(rng, "f8", "f8", n=60)
    y = columns["a"] + rng.standard_normal(60)
    X = np.column_stack([*columns.values()])
    value = fastgd.mse_and_gradient(make(columns), y, [1.0, 2.0], backend="numpy")
    assert value.mse == pytest.approx(fastgd.mse_and_gradient(X, y, [1.0, 2.0]).mse)
    assert fastgd.plan(make(columns), y, backend="numpy").n_features == 2
    scores = fastgd.cross_validate(make(columns), y, backend="numpy")
    assert scores.mse == pytest.approx(fastgd.cross_validate(X, y).mse)
    assert fastgd.Moments.of(make(columns), make(columns)).n_targets == 2


class TestNames:
    @pytest.fixture
    def result(self, rng):
        self.columns = columns_of(rng, "f8", "f8", "f8", n=50)
        y = self.columns["a"] - 3 * self.columns["b"] + rng.standard_normal(50)
        return fastgd.fit(pd.DataFrame(self.columns), y, strategy="moments", backend="numpy")

    def test_come_back(self, result):
        assert result.feature_names == result.moments.feature_names == NAMES
        summary = result.summary()
        assert summary.names == ("const", *NAMES)
        assert "\nb  " in repr(summary)

    def test_long_ones_keep_the_table_straight(self, result):
        frame = pd.DataFrame(self.columns).rename(columns={"b": "b" * 30})
        summary = fastgd.fit(frame, self.columns["a"], strategy="moments").summary()
        table = repr(summary).split("\n" + "=" * 78 + "\n")[-1].splitlines()
        assert len({len(line) for line in table[:6] if line.strip()}) == 1

    @frames
    def test_choose_the_columns_to_predict_from(self, result, make):
        moved = {"c": self.columns["c"], "text": ["x"] * 50, **self.columns}
        moved = dict(reversed(moved.items()))
        assert list(moved) != list(NAMES)
        expected = result.predict(np.column_stack([*self.columns.values()]))
        assert result.predict(make(moved)) == pytest.approx(expected, rel=1e-12)

    @frames
    def test_that_are_missing_are_named(self, result, make):
        with pytest.raises(ValueError, match="X lacks the columns 'a', 'c'"):
            result.predict(make({"b": [1.0], "d": [2.0]}))

    def test_that_are_there_twice_are_refused(self, result):
        twice = pd.DataFrame(np.ones((2, 4)), columns=["a", "b", "b", "c"])
        with pytest.raises(ValueError, match="more than one column 'b'"):
            result.predict(twice)

    def test_that_the_model_has_twice_are_for_the_same_columns(self):
        frame = pd.DataFrame(np.random.default_rng(0).standard_normal((9, 3)), columns=[*"aab"])
        result = fastgd.fit(frame, np.arange(9.0))
        expected = result.predict(np.asfortranarray(frame.to_numpy()))
        assert np.array_equal(result.predict(frame), expected)
        for other in (frame.iloc[:, 1:], frame[["b", "a"]], frame.rename(columns={"b": "c"})):
            with pytest.raises(ValueError, match=r"2 of them are called 'a'|lacks the column 'b'"):
                result.predict(other)

    def test_are_those_of_all_columns_but_an_index_of_pandas(self):
        frame = pd.DataFrame(self.numbers(), columns=["a", "b"], index=[3, 1, 2])
        table = pa.Table.from_pandas(frame)
        assert table.column_names == ["a", "b", "__index_level_0__"]
        for data in (table, table.to_batches()[0], table.to_reader(), Foreign(table)):
            problem = as_problem(data, np.ones(3))
            assert problem.feature_names == ("a", "b")
            assert np.array_equal(problem.X, self.numbers())

    def test_that_are_numbers_are_none(self):
        problem = as_problem(pd.DataFrame(np.ones((3, 2))), np.ones(3))
        assert problem.feature_names is None

    def test_of_moments_must_agree(self):
        x, y = np.ones((3, 1)), np.ones(3)
        a, b = (fastgd.Moments.of(pd.DataFrame(x, columns=[name]), y) for name in "ab")
        with pytest.raises(ValueError, match="same columns: a against b"):
            _ = a + b
        assert (a + fastgd.Moments.of(x, y)).feature_names == ("a",)

    def test_of_moments_are_kept_in_files(self, tmp_path):
        moments = fastgd.Moments.of(pd.DataFrame(self.numbers(), columns=["é", "b"]), [1, 2, 4])
        moments.save(tmp_path / "m.npz")
        assert fastgd.Moments.load(tmp_path / "m.npz").feature_names == ("é", "b")

    def numbers(self):
        return np.array([[1.0, 2.0], [3.0, 5.0], [8.0, 13.0]])


@frames
@pytest.mark.parametrize("values", [["x", "y", "z"], [b"1", b"2", b"3"]], ids=["text", "bytes"])
def test_a_column_that_holds_no_numbers_is_named(make, values):
    frame = make({"a": [1.0, 2.0, 4.0], "carrier": values})
    with pytest.raises(
        TypeError, match=r"^X must .*'carrier' is of type .*; choose columns of numbers"
    ):
        as_problem(frame, np.ones(3))


@pytest.mark.parametrize(
    "series",
    [
        pd.Series(["a", "b", "a"], dtype="category"),
        pd.Series(pd.to_datetime(["2013-01-01"] * 3)),
        pd.Series([1j, 2j, 3j]),
        pl.Series(["a", "b", "a"], dtype=pl.Categorical),
        pl.Series(["1", "2", "3"]).cast(pl.Decimal(5, 2)),
        pa.array(["a", "b", "a"]).dictionary_encode(),
        pa.array([1, 2, 3], pa.timestamp("s")),
    ],
    ids=lambda series: str(getattr(series, "dtype", getattr(series, "type", ""))),
)
def test_other_types_are_refused(series):
    with pytest.raises(TypeError, match=r"^y must hold real numbers; its values are of type"):
        as_problem(np.ones((3, 1)), series)


class TestMissing:
    GAPS = (1.0, None, 4.0, 8.0)

    def series(self):
        gaps = list(self.GAPS)
        yield from (pd.Series(gaps, dtype=kind) for kind in (None, "Float32", "Int16"))
        yield pd.Series([True, None, True, False], dtype="boolean")
        yield pd.Series(gaps, dtype="double[pyarrow]")
        yield from (pl.Series(gaps).cast(kind) for kind in (pl.Float32, pl.Int8, pl.Boolean))
        yield from (pa.array(gaps).cast(kind) for kind in ("float", "int8", "bool"))

    def test_values_are_nan(self):
        for series in self.series():
            problem = as_problem(series, np.ones(4))
            assert np.isnan(problem.X[:, 0]).tolist() == [False, True, False, False], series
            assert problem.X[0, 0] == 1.0

    @frames
    def test_values_are_told_by_column_and_row(self, make, backend):
        frame = make({"a": [1.0, 2.0, 4.0], "b": [1.0, float("nan"), 3.0]})
        told = r"^X must be finite; column 'b' in row 1 is nan; missing=\"drop\" leaves such rows"
        with pytest.raises(ValueError, match=told):
            fastgd.fit(frame, np.ones(3), backend=backend)

    def test_what_cannot_be_left_out_is_not_offered(self):
        with pytest.raises(ValueError, match=r"X\[1\] is inf$"):
            fastgd.fit([1.0, np.inf], [1.0, 2.0])
        with pytest.raises(ValueError, match=r"X\[1\] is nan$"):
            fastgd.mse_and_gradient([1.0, np.nan], [1.0, 2.0], 0.0)

    @pytest.mark.parametrize("order", ["C", "F"])
    def test_rows_are_left_out(self, rng, dtype, order):
        X = np.asarray(rng.standard_normal((70_000, 3)), dtype, order=order)
        y, s = rng.standard_normal((70_000, 2)).astype(dtype), rng.uniform(1, 2, 70_000)
        X[5, 1] = y[69_999, 1] = s[66_000] = np.nan
        keep = np.ones(70_000, bool)
        keep[[5, 66_000, 69_999]] = False
        before = X.tobytes()
        problem = as_problem(X, y, s, targets=True, missing="drop")
        assert np.array_equal(problem.X, X[keep])
        assert np.array_equal(problem.y, y[keep])
        assert np.array_equal(problem.sample_weight, s[keep].astype(dtype))
        assert X.tobytes() == before
        moments = fastgd.Moments.of(X, y, s, missing="drop")
        assert moments == fastgd.Moments.of(X[keep], y[keep], s[keep])

    def test_nothing_is_copied_where_nothing_is_missing(self, rng):
        X, y = rng.standard_normal((50, 3)), rng.standard_normal(50)
        problem = as_problem(X, y, missing="drop")
        assert np.shares_memory(problem.X, X)
        assert np.shares_memory(problem.y, y)

    def test_every_function_leaves_them_out(self, rng):
        x, y = rng.standard_normal(80), rng.standard_normal(80)
        x[3] = y[70] = np.nan
        keep = ~np.isnan(x + y)
        for read in (fastgd.fit, fastgd.plan, fastgd.cross_validate, fastgd.Moments.of):
            ours, plain = read(x, y, missing="drop"), read(x[keep], y[keep])
            assert repr(ours) == repr(plain)

    def test_at_least_one_row_must_be_left(self):
        with pytest.raises(ValueError, match="leaves no rows"):
            fastgd.fit([1.0, np.nan], [np.nan, 2.0], missing="drop")

    def test_is_an_error_or_a_choice(self):
        with pytest.raises(ValueError, match="missing must be one of 'error', 'drop'; got 'zero'"):
            fastgd.fit([1.0, 2.0], [1.0, 2.0], missing="zero")


class Tensor:
    """What PyTorch and JAX offer."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class FarTensor:
    def __dlpack__(self, **options):
        raise BufferError("it is on another device")

    def __dlpack_device__(self):
        return (2, 0)

    def __array__(self, dtype=None, copy=None):
        raise TypeError("move it to the CPU first")


class TestTensors:
    def test_are_used_in_place(self, dtype):
        X, y = np.ones((4, 2), dtype), np.zeros(4, dtype)
        problem = as_problem(Tensor(X), Tensor(y))
        assert np.shares_memory(problem.X, X)
        assert np.shares_memory(problem.y, y)

    def test_of_another_device_are_refused_in_their_words(self):
        with pytest.raises(TypeError, match=r"X cannot be read.*it is on another device"):
            as_problem(FarTensor(), [1.0])

    def test_of_torch(self):  # PyTorch is in no extra: run where it is
        torch = pytest.importorskip("torch")
        X, y = torch.ones((4, 2)), torch.zeros(4)
        problem = as_problem(X, y)
        assert problem.X.ctypes.data == X.data_ptr()
        assert problem.y.ctypes.data == y.data_ptr()
        with pytest.raises(TypeError, match="X cannot be read as an array"):
            as_problem(torch.ones((4, 2), requires_grad=True), y)

    def test_of_jax(self):  # nor is JAX
        jax = pytest.importorskip("jax")
        X, y = jax.numpy.ones((4, 2)), jax.numpy.zeros(4)
        problem = as_problem(X, y)
        assert problem.X.ctypes.data == X.unsafe_buffer_pointer()
        assert problem.y.ctypes.data == y.unsafe_buffer_pointer()

    def test_the_buffer_of_predictions_may_not_be_one_of_them(self):
        X, y = np.ones((4, 2)), np.zeros(4)
        with pytest.raises(ValueError, match="must not share memory with y"):
            fastgd.mse_and_gradient(X, Tensor(y), [1.0, 1.0], prediction=y)


def test_lazy_frames_are_refused():
    for lazy in (pl.LazyFrame({"a": [1.0]}), nw.from_native(pl.LazyFrame({"a": [1.0]}))):
        with pytest.raises(TypeError, match="must be collected first"):
            as_problem(lazy, [1.0])


def test_what_is_needed_and_not_there_is_told(monkeypatch):
    frame = Foreign(pa.table({"a": [1.0]}))
    monkeypatch.setitem(sys.modules, "narwhals", None)
    with pytest.raises(ImportError, match=r"needs narwhals: .* 'fastgd\[dataframe\]'"):
        as_problem(frame, [1.0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_imports_only_its_own_library(kind):
    maker = {"pandas": "DataFrame", "polars": "DataFrame", "pyarrow": "table"}[kind]
    code = (
        f"import {kind}, sys; data = {kind}.{maker}({{'a': [1., 2., 4.]}}); "
        "before = set(sys.modules); from fastgd._data.problem import as_problem; "
        "as_problem(data, [1., 2., 3.]); "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        f"assert not new & ({{'narwhals', 'pandas', 'polars', 'pyarrow'}} - {{'{kind}'}}), new"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
