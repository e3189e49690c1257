"""Batches from iterables, functions and iterators, and the thread that fetches them."""

import threading
import time
import types
from operator import add

import numpy as np
import pytest
from compare import fit_anyway

import fastgd
from fastgd import Moments, fit
from fastgd._data.blocks import Tree
from fastgd._data.prefetch import Prefetch
from fastgd.methods import METHODS

N, LENGTH = 1000, 130


@pytest.fixture
def arrays(rng):
    X = rng.standard_normal((N, 3), dtype=np.float32)
    return X, X @ np.float32([1, 2, 3]) + 4 + rng.standard_normal(N), rng.uniform(0, 2, N)


@pytest.fixture
def parts(arrays):
    return cut(*arrays[:2])


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def cut(*arrays, length=LENGTH):
    starts = range(0, len(arrays[0]), length)
    return [tuple(array[start : start + length] for array in arrays) for start in starts]


class Own:
    """A class with an __iter__ of its own."""

    def __init__(self, parts):
        self.parts = parts

    def __iter__(self):
        yield from self.parts


KINDS = {
    "list": list,
    "tuple": tuple,
    "own": Own,
    "function": lambda parts: lambda: iter(parts),
    "iterator": iter,
    "generator": lambda parts: (part for part in parts),
}
ANEW = [name for name in KINDS if name not in ("iterator", "generator")]


def same(result, other):
    return np.asarray(result.coef).tobytes() == np.asarray(other.coef).tobytes()


class TestKinds:
    @pytest.mark.parametrize("kind", KINDS)
    def test_have_the_bits_of_moments_merged_in_order(self, kind, parts, backend):
        tree = Tree(add)
        for part in parts:
            tree.add(Moments.of(*part, backend=backend))
        result = fit(KINDS[kind](parts), backend=backend)
        assert result.moments == tree.total()
        assert same(result, fit(tree.total(), backend=backend))
        assert Moments.of(KINDS[kind](parts), backend=backend) == tree.total()

    @pytest.mark.parametrize("kind", KINDS)
    def test_are_the_whole_arrays_to_rounding(self, kind, arrays):
        X, y, s = arrays
        for whole, batches in (((X, y), cut(X, y)), ((X, y, s), cut(X, y, s))):
            result = fit(KINDS[kind](batches))
            expected = fit(*whole[:2], sample_weight=whole[2] if len(whole) > 2 else None)
            assert result.coef == pytest.approx(expected.coef, rel=1e-9)
            assert result.intercept == pytest.approx(expected.intercept, rel=1e-9)

    @pytest.mark.parametrize("kind", ANEW)
    def test_stream_as_often_as_asked(self, kind, parts, arrays):
        result = fit(KINDS[kind](parts), strategy="stream")
        assert result.strategy.startswith("stream: ")
        assert result.coef == pytest.approx(fit(*arrays[:2]).coef, rel=1e-4)

    @pytest.mark.parametrize("method", [name for name in METHODS if name != "sgd"])
    def test_descend_by_every_method(self, method, parts, arrays, strategy):
        options = {"method": method, "max_iter": 20, "tol": 0, "strategy": strategy}
        result = fit_anyway(Own(parts), **options)
        expected = fit_anyway(*arrays[:2], **options)
        n = min(len(result.loss_history), len(expected.loss_history))
        assert result.loss_history[:n] == pytest.approx(expected.loss_history[:n], rel=1e-6)

    @pytest.mark.parametrize("kind", ["iterator", "generator"])
    def test_are_not_read_twice(self, kind, parts):
        batches = KINDS[kind](parts)
        with pytest.raises(ValueError, match="can be read only once"):
            fit(batches, strategy="stream")

    def test_of_many_features_are_not_read_twice(self, monkeypatch, parts):
        monkeypatch.setattr("fastgd._sums.costs.MOST_FEATURES", 2)
        with pytest.raises(ValueError, match='use strategy="moments"'):
            fit(iter(parts))
        assert fit(iter(parts), strategy="moments").converged

    def test_of_several_targets(self, arrays):
        X, y, _ = arrays
        both = np.column_stack([y, -y])
        result = fit(iter(cut(X, both)))
        assert result.coef == pytest.approx(fit(X, both).coef, rel=1e-9)

    def test_of_one_dimension(self, arrays):
        X, y, _ = arrays
        assert isinstance(fit(iter(cut(X[:, 0], y))).coef, float)

    @pytest.mark.parametrize("module", ["pandas", "polars", "pyarrow"])
    def test_of_tables(self, module, parts):
        library = pytest.importorskip(module)
        make = getattr(library, "DataFrame", None) or library.table
        tables = [(make(dict(zip("abc", X.T.copy(), strict=True))), y) for X, y in parts]
        result = fit(iter(tables))
        assert result.feature_names == ("a", "b", "c")
        assert result.coef == pytest.approx(fit(parts).coef, rel=1e-12)
        renamed = (make(dict(zip("abd", parts[0][0].T.copy(), strict=True))), parts[0][1])
        with pytest.raises(ValueError, match="batch 8: columns a, b, d, where those before had"):
            fit([*tables, renamed])

    def test_of_tensors_in_lists(self, parts):
        torch = pytest.importorskip("torch")
        tensors = [[torch.from_numpy(X.copy()), torch.from_numpy(y)] for X, y in parts]
        assert same(fit(Own(tensors)), fit(parts))

    def test_are_planned_for(self, parts, arrays):
        expected = fastgd.plan(*arrays[:2])
        assert fastgd.plan(iter(parts)).epochs_auto == expected.epochs_auto


class TestEmptyBatches:
    def test_are_passed_over(self, arrays, parts):
        none = (parts[0][0][:0], parts[0][1][:0])
        result = fit([none, *parts[:2], none, *parts[2:]])
        assert result.moments.n_samples == N
        assert result.coef == pytest.approx(fit(parts).coef, rel=1e-12)

    @pytest.mark.parametrize("strategy", ["stream", "moments"])
    def test_are_those_whose_rows_are_all_dropped(self, arrays, strategy):
        X, y, _ = arrays
        X = X.copy()
        X[:LENGTH] = np.nan
        X[500:600, 1] = np.nan
        result = fit(Own(cut(X, y)), missing="drop", strategy=strategy)
        expected = fit(X, y, missing="drop", strategy=strategy)
        assert result.coef == pytest.approx(expected.coef, rel=1e-4)

    def test_are_those_without_weight(self, arrays):
        X, y, s = arrays
        s = s.copy()
        s[LENGTH : 3 * LENGTH] = 0
        result = fit(iter(cut(X, y, s)))
        assert result.coef == pytest.approx(fit(X, y, sample_weight=s).coef, rel=1e-9)

    @pytest.mark.parametrize(
        ("batches", "text"),
        [
            ([], "X yields no batches"),
            (iter([]), "X yields no batches"),
            ([(np.empty((0, 2)), np.empty(0))] * 2, "X yields no rows"),
            (iter([(np.full((3, 2), np.nan), np.ones(3))]), "X yields no rows"),
        ],
    )
    def test_may_not_be_all(self, batches, text):
        with pytest.raises(ValueError, match=text):
            fit(batches, missing="drop")


ONE = (np.ones((4, 2), np.float32), np.arange(4.0))
GAP = np.where(np.arange(8).reshape(4, 2) == 5, np.nan, 1).astype(np.float32)
WRONG = {
    "width": (([ONE, (np.ones((4, 3), np.float32), ONE[1])]), "batch 1: 3 features, where those"),
    "dtype": ([ONE, (np.ones((4, 2)), ONE[1])], "batch 1: X of dtype float64, where those before"),
    "axes": (
        [(ONE[0][:, :1], ONE[1]), (ONE[0][:, 0], ONE[1])],
        "batch 1: 1-D X, where those before had 2-D X",
    ),
    "targets": ([ONE, (ONE[0], np.ones((4, 2)))], "batch 1: 2 targets, where .* 1-D y"),
    "weights": ([ONE, (*ONE, np.ones(4))], "batch 1: weights, where those before had no weights"),
    "rows": ([ONE, ONE, (ONE[0], np.ones(3))], "batch 2: y has 3 entries where X has 4"),
    "nan": ([ONE, (GAP, ONE[1])], r"batch 1: X must be finite; X\[2, 1\] is nan; missing="),
    "words": ([ONE, (ONE[0], ["a"] * 4)], "batch 1: y must hold real numbers"),
    "one": ([ONE, (ONE[0],)], r"batch 1 must be a tuple \(X, y\) .*; got a tuple of 1"),
    "an array": ([ONE, ONE[0]], r"batch 1 must be a tuple .*; got an array of shape \(4, 2\)"),
    "numbers": ([[1.0, 2.0], [3.0, 4.0]], "batch 0 must be a tuple .* its X is float"),
    "huge": ([ONE, (np.full((4, 2), 1e200, np.float64).astype(object), ONE[1])], "batch 1: X must"),
}


class TestErrors:
    @pytest.mark.parametrize("kind", ["list", "iterator", "function"])
    @pytest.mark.parametrize("wrong", WRONG)
    def test_name_the_batch(self, wrong, kind):
        batches, text = WRONG[wrong]
        with pytest.raises((TypeError, ValueError), match=text):
            fit(KINDS[kind](batches))

    def test_name_the_batch_where_an_epoch_finds_nan(self):
        with pytest.raises(ValueError, match=r"batch 1: X must be finite; X\[2, 1\] is nan"):
            fit(WRONG["nan"][0], strategy="stream")

    def test_of_overflow(self):
        far = (np.arange(8.0).reshape(4, 2) ** 2 * 1e200, np.ones(4))
        with pytest.raises(OverflowError, match="batch 0: X, y and the initial"):
            fit([far])

    @pytest.mark.parametrize("strategy", ["stream", "moments"])
    @pytest.mark.parametrize("count", [0, 1, 4])
    def test_of_the_iterator_pass_unchanged(self, count, strategy, parts):
        error = ConnectionError("gone")

        def failing():
            yield from parts[:count]
            raise error

        with pytest.raises(ConnectionError) as caught:
            fit(failing, strategy=strategy)
        assert caught.value is error

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"sample_weight": [1.0]}, "sample_weight must not be given where X yields batches"),
            ({"batch_size": 3}, "batch_size needs arrays; X comes in blocks"),
            ({"validation_fraction": 0.5}, "validation_fraction needs arrays"),
            ({"coef_init": [1.0]}, "coef_init must be an array of shape"),
        ],
    )
    def test_of_options(self, options, text, parts):
        with pytest.raises((TypeError, ValueError), match=text):
            fit(iter(parts), **options)

    @pytest.mark.parametrize("X", [[1.0, 2.0], np.ones(3), "X", 3, {"X": 1}, None])
    def test_of_what_are_no_batches(self, X):
        with pytest.raises(TypeError, match="y must be given, unless X yields batches"):
            fit(X)

    def test_of_cross_validation(self, parts):
        with pytest.raises(TypeError, match=r"list of fastgd\.Moments"):
            fastgd.cross_validate(iter(parts))


class TestFetching:
    def test_happens_while_the_last_is_worked_on(self, parts):
        live = {"fetched": 0, "worked": 0, "most": 0}

        def batches():
            for part in parts:
                live["fetched"] += 1
                live["most"] = max(live["most"], live["fetched"] - live["worked"])
                yield part

        fetched = Prefetch(batches, lambda: 1)
        for number, _ in enumerate(fetched, 1):
            deadline = time.monotonic() + 10
            while live["fetched"] < min(number + 1, len(parts)):  # without being asked
                assert time.monotonic() < deadline
                time.sleep(0.001)
            live["worked"] += 1
        fetched.close()
        assert live["most"] == 2

    def test_stays_in_one_thread(self, parts):
        seen = set()

        def batches():
            for part in parts:
                seen.add(threading.current_thread())
                yield part
            seen.add(threading.current_thread())

        fit(batches())
        assert len(seen) == 1
        assert threading.current_thread() not in seen

    def test_closes_the_iterator_it_leaves(self, parts):
        closed = []

        def batches():
            try:
                yield from parts
                yield 3
                yield from parts
            finally:
                closed.append(threading.current_thread().name)

        with pytest.raises(TypeError, match="batch 8 must be"):
            fit(batches)
        assert closed == ["fastgd-fetch"]

    def test_ends_with_an_interrupt(self, parts, monkeypatch):
        def interrupted(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr("fastgd._sums.reads._moments", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(Own(parts))

    def test_waits_for_those_who_use_one_buffer_again(self, arrays, parts):
        room = np.empty((LENGTH, 3), np.float32)

        def batches():
            for X, y in parts:
                room[: len(X)] = X
                yield room[: len(X)], y

        assert same(fit(batches), fit(parts))
        assert same(fit(batches, strategy="stream"), fit(Own(parts), strategy="stream"))

    def test_takes_turns_at_two_buffers(self, parts):
        rooms = np.empty((2, LENGTH, 3), np.float32)

        def batches():
            for number, (X, y) in enumerate(parts):
                rooms[number % 2, : len(X)] = X
                yield rooms[number % 2, : len(X)], y

        assert same(fit(batches), fit(parts))

    def test_refuses_a_buffer_that_is_used_again_later(self, parts):
        def batches():
            yield from parts[:3]
            yield parts[2]

        with pytest.raises(ValueError, match="batch 3: it lies in the memory of the batch before"):
            fit(batches)

    def test_takes_the_same_arrays_again_and_again(self, parts):
        result = fit(parts[0] for _ in range(5))
        assert result.moments.n_samples == 5 * LENGTH


def test_a_pass_is_drawn_where_it_takes_long(parts, monkeypatch):
    shown = []

    class Bar:
        def __init__(self, **options):
            shown.append((options["unit"], options["total"]))

        def update(self, n):
            shown.append(n)

        def set_postfix(self, **_):
            pass

        def close(self):
            shown.append("closed")

    monkeypatch.setitem(__import__("sys").modules, "tqdm", types.SimpleNamespace(tqdm=Bar))
    fit(parts, progress=True)
    assert shown[0] == ("row", None)
    assert shown[1 : 1 + len(parts)] == [len(y) for _, y in parts]
    assert shown[1 + len(parts)] == "closed"
