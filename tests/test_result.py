"""FitResult: what it holds and what it predicts."""

import copy
import dataclasses
import pickle
import tracemalloc

import numpy as np
import pytest
from compare import fit_anyway

from fastgd import StopReason, fit, load, mse_and_gradient, scan

X = np.array([[0.0, 1.0, 0], [1.0, 1.0, 1], [2.0, 0.0, 3], [3.0, 2.0, 0], [4.0, -1.0, 1]])
Y = X @ [2.0, -1.0, 0.0] + 0.5


@pytest.fixture(scope="module")
def plane():
    return fit(X, Y, backend="numpy")


@pytest.fixture(scope="module")
def line():
    return fit(X[:, 0], 2 * X[:, 0] + 1, backend="numpy")


class TestPredict:
    def test_of_a_line_takes_a_scalar(self, line):
        for ten in (10, 10.0, np.float32(10), np.float64(10), np.array(10)):
            assert type(line.predict(ten)) is float
            assert line.predict(ten) == pytest.approx(21.0, abs=1e-6)

    def test_of_a_line_takes_one_dimension(self, line):
        for x in ([0, 1, 10], (0.0, 1.0, 10.0), np.array([0, 1, 10])):
            predicted = line.predict(x)
            assert predicted.dtype == np.float64
            assert predicted == pytest.approx([1.0, 3.0, 21.0], abs=1e-6)
        assert line.predict([]).shape == (0,)

    def test_of_a_plane_takes_two_dimensions(self, plane):
        assert plane.predict(X) == pytest.approx(Y, abs=1e-6)
        assert plane.predict([[1, 1, 5]]) == pytest.approx([1.5], abs=1e-6)
        assert plane.predict(np.asfortranarray(X)[::2]) == pytest.approx(Y[::2], abs=1e-6)
        assert plane.predict(np.empty((0, 3))).shape == (0,)

    @pytest.mark.parametrize(
        ("given", "kept"), [("f4", "f4"), ("f8", "f8"), ("i4", "f8"), ("?", "f8")]
    )
    def test_keeps_float32(self, line, plane, given, kept):
        assert line.predict(X[:, 0].astype(given)).dtype == kept
        assert plane.predict(X.astype(given)).dtype == kept

    def test_leaves_what_it_is_given_alone(self, plane, line):
        for result, values in ((plane, X.copy()), (line, X[:, 0].copy())):
            before = values.tobytes()
            values.flags.writeable = False
            result.predict(values)
            assert values.tobytes() == before

    @pytest.mark.parametrize(
        "bad", [[1.0, 2.0, 3.0], [[1.0]], [[1.0, 2.0]], 1.0, np.ones((1, 1, 3))]
    )
    def test_of_a_plane_refuses_other_shapes(self, plane, bad):
        with pytest.raises(ValueError, match=r"X must be of shape \(n_samples, 3\)"):
            plane.predict(bad)

    def test_of_a_line_refuses_two_dimensions(self, line):
        with pytest.raises(ValueError, match=r"X must be a scalar or 1-D.*\(5, 1\)"):
            line.predict(X[:, :1])

    @pytest.mark.parametrize("bad", ["10", 1j, None, ["a"], np.array([1.0, None])])
    def test_refuses_what_is_not_a_real_number(self, line, bad):
        with pytest.raises(TypeError, match="X must hold real numbers"):
            line.predict(bad)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: scan("X.npy", target="y.npy"),
            lambda: [(X, Y)],
            lambda: iter([X]),
            lambda: lambda: iter([(X, Y)]),
            lambda: pytest.importorskip("pyarrow.dataset").dataset(
                pytest.importorskip("pyarrow").table({"a": X[:, 0]})
            ),
        ],
    )
    def test_refuses_batches(self, plane, make, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        np.save("X.npy", X)
        np.save("y.npy", Y)
        with pytest.raises(TypeError, match=r"^X must be an array or a table: .*batches.* one by"):
            plane.predict(make())


def test_is_frozen(plane):
    for field in dataclasses.fields(plane):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(plane, field.name, None)


class TestArrays:
    def check(self, result):
        for array in (result.coef, result.intercept, result.loss_history):
            if isinstance(array, np.ndarray):
                with pytest.raises(ValueError, match="read-only"):
                    array[...] = 3.0
                with pytest.raises(ValueError, match="cannot set WRITEABLE"):
                    array.view().flags.writeable = True

    @pytest.mark.parametrize("targets", [False, True])
    def test_cannot_be_changed(self, targets, tmp_path):
        y = np.column_stack([Y, Y**2]) if targets else Y
        result = fit(X, y, backend="numpy")
        result.save(tmp_path / "model.json")
        self.check(result)
        self.check(load(tmp_path / "model.json"))
        self.check(pickle.loads(pickle.dumps(result)))
        self.check(copy.deepcopy(result))

    def test_are_never_the_callers(self, plane):
        coef, losses = np.arange(3.0), np.arange(4.0)
        result = dataclasses.replace(plane, coef=coef, loss_history=losses)
        coef[:] = losses[:] = 9.0
        assert result.coef.tolist() == [0.0, 1.0, 2.0]
        assert result.loss_history.tolist() == [0.0, 1.0, 2.0, 3.0]
        self.check(result)


def test_equals_itself_alone(plane):
    other = fit(X, Y, backend="numpy")
    assert plane == plane
    assert plane != other
    assert plane in [other, plane]
    assert len({plane, other, plane}) == 2


class TestPlot:
    @pytest.fixture
    def axes(self):
        figure = pytest.importorskip("matplotlib.figure").Figure()
        return figure.subplots()

    @pytest.mark.parametrize("n_iter", [0, 1, 2, 40])
    def test_shows_whole_epochs(self, plane, axes, n_iter):
        losses = np.geomspace(10, 1, n_iter + 1)
        result = dataclasses.replace(plane, loss_history=losses, n_iter=n_iter)
        assert result.plot(axes) is axes
        (line,) = axes.lines
        assert line.get_xdata().tolist() == list(range(n_iter + 1))
        assert line.get_ydata().tolist() == losses.tolist()
        assert axes.get_yscale() == "log"
        assert (line.get_marker() == "o") == (n_iter < 30)
        ticks = axes.get_xticks()
        assert len(ticks) > 0
        assert (ticks == np.round(ticks)).all()

    def test_leaves_other_locators_alone(self, plane, axes):
        axes.set_xscale("log")
        plane.plot(axes)
        assert axes.get_xscale() == "log"

    def test_refuses_what_are_no_axes(self, plane):
        with pytest.raises(TypeError, match="ax must be matplotlib axes; got 3"):
            plane.plot(3)


class TestRepr:
    def test_is_short(self, plane):
        assert repr(plane) == (
            f"FitResult(n_features=3, loss={plane.loss:.6g}, n_iter={plane.n_iter}, "
            "converged=True, method='cg',\n"
            "          stop_reason='the loss is within the tolerance of its minimum',\n"
            f"          strategy={plane.strategy!r})"
        )
        assert repr(plane.strategy) in repr(plane)

    @pytest.mark.parametrize("n_targets", [1, 2])
    @pytest.mark.parametrize(("at", "n_features"), [(X, 3), (X[:, :1], 1), (X[:, 0], 1)])
    def test_counts_targets(self, at, n_features, n_targets):
        result = fit_anyway(at, np.column_stack([Y] * n_targets), backend="numpy")
        start = f"FitResult(n_features={n_features}, n_targets={n_targets}, loss="
        assert repr(result).startswith(start)
        assert "n_targets" not in repr(fit_anyway(at, Y, backend="numpy"))


def test_of_a_line_is_scalar(line):
    assert type(line.coef) is float
    assert type(line.intercept) is float


def test_fields_fit_together(plane):
    assert plane.coef.shape == (3,)
    assert plane.coef.dtype == np.float64
    assert plane.loss_history.shape == (plane.n_iter + 1,)
    assert plane.loss_history.dtype == np.float64
    assert plane.loss_history[0] == pytest.approx(np.mean(Y**2))
    assert plane.loss_history[-1] == plane.loss
    assert plane.converged
    assert plane.stop_reason is StopReason.CONVERGED
    assert plane.backend == "numpy"
    assert plane.method == "cg"


def test_a_single_column_stays_a_vector():
    result = fit(X[:, :1], Y, backend="numpy")
    assert result.coef.shape == (1,)
    assert result.predict(X[:, :1]).shape == (5,)


def test_does_not_follow_later_changes_of_its_inputs():
    start, x = np.ones(3), X.copy()
    result = fit_anyway(x, Y, coef_init=start, max_iter=1, learning_rate=1e-3, backend="numpy")
    before = result.coef.copy()
    start[:] = x[:] = 99.0
    assert np.array_equal(result.coef, before)


@pytest.mark.parametrize(
    "options", [{"learning_rate": 0.01}, {"learning_rate": 1e-3, "reduction": "sum"}, {}], ids=str
)
def test_grad_norm_is_that_of_the_mse_by_coef_and_intercept(dtype, backend, options):
    data = X.astype(dtype), (Y + np.array([0, 1, 0, -1, 0])).astype(dtype)
    result = fit_anyway(*data, max_iter=1, intercept_init=50.0, backend=backend, **options)
    value = mse_and_gradient(*data, result.coef, result.intercept, backend=backend)
    expected = np.linalg.norm(np.append(value.gradient, value.intercept_gradient))
    assert result.grad_norm == pytest.approx(expected, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("reason", StopReason)
def test_every_reason_to_stop_reads_as_a_sentence(reason):
    assert len(str(reason).split()) > 3


class TestOut:
    @pytest.mark.parametrize("kind", ["f4", "f8"])
    def test_is_filled_and_returned(self, plane, line, kind):
        for result, values in ((plane, X), (line, X[:, 0])):
            out = np.full((10,), np.nan, kind)[::2]
            assert result.predict(values, out=out) is out
            assert out == pytest.approx(result.predict(values), rel=1e-6)

    @pytest.mark.parametrize("layout", ["C", "F", "rows", "columns", "neither", "unaligned", "int"])
    def test_no_copy_of_all_data_is_made(self, plane, layout):
        n = 1_000_000
        values = np.arange(6 * n, dtype="f4")
        matrix = {
            "C": values[: 3 * n].reshape(n, 3),
            "F": values[: 3 * n].reshape(3, n).T,
            "rows": values.reshape(2 * n, 3)[::2],
            "columns": values.reshape(n, 6)[:, :3],
            "neither": values.reshape(n, 6)[:, ::2],
            "int": values[: 3 * n].reshape(n, 3).astype("i4"),
            "unaligned": values.view("u1")[1 : 1 + 12 * n].view("f4").reshape(n, 3),
        }[layout]
        if layout == "unaligned":
            matrix[:] = 1.5
        out = np.empty(n, "f8" if layout == "int" else "f4")
        converted = layout in ("unaligned", "int")
        tracemalloc.start()
        try:
            plane.predict(matrix, out=out)
            # A block of what has to be converted.
            assert tracemalloc.get_traced_memory()[1] < (10 if converted else 1) << 20
        finally:
            tracemalloc.stop()
        np.testing.assert_allclose(out, matrix @ plane.coef + plane.intercept, rtol=1e-5, atol=1e-2)

    @pytest.mark.parametrize("order", ["C", "F"])
    def test_many_rows_are_read_in_blocks(self, plane, order, rng):
        many = np.asarray(rng.standard_normal((400_000, 3)), np.float32, order=order)
        expected = many @ plane.coef.astype("f4") + np.float32(plane.intercept)
        np.testing.assert_allclose(plane.predict(many), expected, rtol=1e-4, atol=1e-5)
        whole = (many * 9).astype(int)
        expected = whole @ plane.coef + plane.intercept
        np.testing.assert_allclose(plane.predict(whole), expected, rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize(
        ("out", "error", "words"),
        [
            ([0.0] * 5, TypeError, "got list"),
            (np.empty(4), ValueError, r"shape \(4,\)"),
            (np.empty(5, int), ValueError, "dtype int64"),
            (np.broadcast_to(0.0, 5), ValueError, "read-only"),
        ],
    )
    def test_that_does_not_fit_is_refused(self, plane, out, error, words):
        with pytest.raises(error, match=rf"out must be a writable.*{words}"):
            plane.predict(X, out=out)

    def test_that_is_the_data_is_refused(self, plane):
        values = X.copy()
        with pytest.raises(ValueError, match="must not share memory"):
            plane.predict(values, out=values[:, 0])
