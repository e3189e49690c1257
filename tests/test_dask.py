"""Fits of Dask's collections: the same bits wherever, and whenever, their blocks are worked on."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastgd
from fastgd._data.blocks import Layout, Tree, as_block, layout_of

dask = pytest.importorskip("dask", reason="the extra dask is not installed")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")
pd = pytest.importorskip("pandas")
distributed = pytest.importorskip("distributed")

N, D, ROWS = 2100, 5, 100  # 21 blocks: more than one task merges, and the last of them fewer
TARGETS = {"one target": None, "three targets": 3}
DTYPES = ["f4", "f8", "i4"]


@pytest.fixture(scope="module")
def client():
    """Two workers, each a process of its own."""
    with (
        dask.config.set({"distributed.worker.daemon": True}),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": ":0"},  # a server all the same: at any port
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(params=["synchronous", "threads", "distributed"])
def anywhere(request):
    """Every scheduler in turn."""
    if request.param != "distributed":
        with dask.config.set(scheduler=request.param):
            yield
    else:
        with request.getfixturevalue("client").as_current():
            yield


@pytest.fixture
def here():
    """In this thread."""
    with dask.config.set(scheduler="synchronous"):
        yield


class LocalBlocks:
    """Blocks of arrays, worked on and merged one after the other."""

    is_read_once = False

    def __init__(self, X, y, weight=None, rows=ROWS, missing="error"):
        layout = layout_of(X[:0], y[:0])
        for name, value in zip(Layout._fields, layout, strict=True):
            setattr(self, name, value)
        starts = range(0, len(X), rows)
        cut = [[None if a is None else a[i : i + rows] for a in (X, y, weight)] for i in starts]
        self.parts = [as_block(*arrays, missing) for arrays in cut]

    def reduce(self, work, merge):
        tree = Tree(merge)
        for part in self.parts:
            tree.add(None if part is None else work(part))
        return tree.total()


def data(dtype="f4", n_targets=None, n=N):
    rng = np.random.default_rng(7)
    X = (rng.standard_normal((n, D)) * 10 + 3).astype(dtype)
    shape = (D,) if n_targets is None else (D, n_targets)
    y = X @ rng.standard_normal(shape) + 4
    return X, (y + rng.standard_normal(y.shape)).astype(np.float32)


def in_chunks(*arrays, rows=ROWS):
    return [da.from_array(a, chunks=(rows, *a.shape[1:])) for a in arrays]


def assert_same_fit(result, expected):
    """To the last bit."""
    assert_array_equal(result.coef, expected.coef)
    assert_array_equal(result.intercept, expected.intercept)
    assert_array_equal(result.loss_history, expected.loss_history)
    assert (result.loss, result.n_iter) == (expected.loss, expected.n_iter)
    assert (result.stop_reason, result.strategy) == (expected.stop_reason, expected.strategy)
    assert result.moments == expected.moments


class TestBits:
    def test_are_those_of_local_blocks(self, anywhere):
        X, y = data()
        assert_same_fit(fastgd.fit(*in_chunks(X, y)), fastgd.fit(LocalBlocks(X, y)))

    def test_are_those_of_local_blocks_where_each_epoch_reads(self, anywhere):
        X, y = data(n=9 * ROWS)  # the fewest blocks that are merged twice
        options = {"strategy": "stream", "method": "nesterov", "max_iter": 2, "tol": 0}
        result = fastgd.fit(*in_chunks(X, y), **options)
        assert result.n_iter == 2
        assert_same_fit(result, fastgd.fit(LocalBlocks(X, y), **options))

    @pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
    @pytest.mark.parametrize("n_targets", TARGETS.values(), ids=TARGETS)
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("method", ["cg", "gd"])
    def test_hold_for_all_kinds_of_data(self, here, rng, method, dtype, n_targets, weighted):
        X, y = data(dtype, n_targets, n=9 * ROWS)
        weight = rng.integers(0, 3, len(X)) if weighted else None
        options = {"backend": "numpy", "method": method, "strategy": "moments"}
        if method == "gd":
            options |= {"strategy": "stream", "max_iter": 2, "tol": 0}
        dX, dy, *dweight = in_chunks(X, y, *([weight] if weighted else []))
        result = fastgd.fit(dX, dy, sample_weight=dweight[0] if weighted else None, **options)
        assert_same_fit(result, fastgd.fit(LocalBlocks(X, y, weight), **options))

    @pytest.mark.parametrize("n_blocks", [1, 7, 8, 9, 64, 65])
    def test_hold_for_any_number_of_blocks(self, here, n_blocks):
        X, y = data(n=n_blocks * 3)
        result = fastgd.fit(*in_chunks(X, y, rows=3), alpha=0.1)
        assert_same_fit(result, fastgd.fit(LocalBlocks(X, y, rows=3), alpha=0.1))

    def test_do_not_depend_on_threads_of_a_task(self, here):
        X, y = in_chunks(*data(n=40_000), rows=20_000)
        assert_same_fit(fastgd.fit(X, y, n_threads=2), fastgd.fit(X, y))

    def test_are_near_those_of_the_whole_array(self, here):
        X, y = data()
        result, whole = fastgd.fit(*in_chunks(X, y)), fastgd.fit(X, y, strategy="moments")
        np.testing.assert_allclose(result.coef, whole.coef, rtol=1e-9)
        assert fastgd.plan(*in_chunks(X, y)).epochs_auto == fastgd.plan(X, y).epochs_auto

    def test_one_dimension_stays_one(self, here):
        x = np.arange(30, dtype=np.float32)
        result = fastgd.fit(*in_chunks(x, 2 * x + 1, rows=7))
        assert isinstance(result.coef, float)
        assert result.coef == pytest.approx(2.0)

    def test_a_task_takes_one_thread_if_not_told(self, here, monkeypatch):
        asked = []
        import fastgd._sums.reads as reads

        original = reads.moments_of
        monkeypatch.setattr(reads, "moments_of", lambda *a: asked.append(a[-1]) or original(*a))
        X, y = in_chunks(*data())
        fastgd.fit(X, y)
        fastgd.fit(X, y, n_threads=3)
        assert set(asked[:21]) == {1}
        assert set(asked[21:]) == {3}

    def test_hold_where_blocks_are_kept(self, client):
        X, y = data()
        with client.as_current():
            dX, dy = (array.persist() for array in in_chunks(X, y))
            assert_same_fit(fastgd.fit(dX, dy), fastgd.fit(LocalBlocks(X, y)))

    def test_what_cannot_be_sent_stays(self, client):
        X, y = in_chunks(*data(n=2 * ROWS))
        with client.as_current(), open(os.devnull) as cannot_be_pickled:
            seen = []
            fastgd.fit(
                *(X, y),
                method="gd",
                strategy="stream",
                max_iter=2,
                tol=0,
                backend="numpy",
                learning_rate=lambda epoch: 1e-3 if cannot_be_pickled else 0,
                callback=lambda state: seen.append((state.epoch, cannot_be_pickled)) and None,
            )
        assert len(seen) == 2


def kill_worker_once(block, marker, at):
    """End the process that works on this block, if none was ended before."""
    if block.size and block[0, 0] == at:
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return block
        os.kill(os.getpid(), signal.SIGKILL)
    return block


class TestFaults:
    @pytest.mark.parametrize(
        "strategy", ["moments", pytest.param("stream", marks=pytest.mark.slow)]
    )
    @pytest.mark.filterwarnings("ignore::ResourceWarning")
    def test_a_killed_worker_does_not_show(self, client, tmp_path, strategy):
        X, y = data()
        marker = tmp_path / "killed"
        kill = partial(kill_worker_once, marker=str(marker), at=float(X[15 * ROWS, 0]))
        dX, dy = in_chunks(X, y)
        dX = dX.map_blocks(kill, meta=np.empty((0, D), X.dtype))
        with client.as_current():
            result = fastgd.fit(dX, dy, strategy=strategy, backend="numpy")
        assert marker.exists()
        expected = fastgd.fit(LocalBlocks(X, y), strategy=strategy, backend="numpy")
        assert_same_fit(result, expected)

    @pytest.mark.slow
    def test_a_lost_cluster_is_an_error(self, tmp_path):
        script = Path(__file__).with_name("lose_cluster.py")
        done = subprocess.run(
            [sys.executable, script, tmp_path], capture_output=True, text=True, timeout=60
        )
        assert done.stdout.startswith("ConnectionError: the Dask cluster was lost"), done.stderr

    def test_an_error_tells_the_block(self, anywhere):
        X, y = data()
        X[10 * ROWS + 7, 2] = np.nan
        with pytest.raises(ValueError, match=r"in block 10: X must be finite; X\[7, 2\] is nan"):
            fastgd.fit(*in_chunks(X, y), backend="numpy")
        with pytest.raises(ValueError, match=r"in block 10: X must be finite; X\[7, 2\] is nan"):
            fastgd.fit(*in_chunks(X, y), strategy="stream", backend="numpy")


class TestChunks:
    def test_those_of_y_follow_those_of_X(self, here):
        X, y = data()
        (dX,), (dy, weight) = in_chunks(X), in_chunks(y, np.ones(N), rows=77)
        result = fastgd.fit(dX, dy, sample_weight=weight)
        assert_same_fit(result, fastgd.fit(LocalBlocks(X, y, np.ones(N))))

    def test_columns_of_y_are_joined(self, here):
        X, y = data(n_targets=3)
        result = fastgd.fit(*in_chunks(X), da.from_array(y, chunks=(ROWS, 1)))
        assert_same_fit(result, fastgd.fit(LocalBlocks(X, y)))

    def test_columns_of_X_are_not(self):
        X, y = data()
        with pytest.raises(ValueError, match=r"between columns.*X.rechunk\({1: -1}\)"):
            fastgd.fit(da.from_array(X, chunks=(ROWS, 2)), *in_chunks(y))

    def test_of_unknown_size(self, here):
        X, y = data()
        keep = X[:, 0] > 0
        dX, dy, kept = in_chunks(X, y, keep)
        dX, dy = dX[kept], dy[kept]
        assert np.isnan(dX.shape[0])
        result = fastgd.fit(dX, dy)
        assert result.moments.n_samples == keep.sum()
        np.testing.assert_allclose(result.coef, fastgd.fit(X[keep], y[keep]).coef, rtol=1e-8)
        with pytest.raises(ValueError, match=r"y has 11 blocks where X has 21.*compute_chunk_"):
            fastgd.fit(
                dX, dy.rechunk(200) if not np.isnan(dy.shape[0]) else in_chunks(y, rows=200)[0]
            )

    def test_rows_that_do_not_match(self, here):
        X, y = in_chunks(*data())
        with pytest.raises(ValueError, match="y has 2000 entries where X has 2100 samples"):
            fastgd.fit(X, y[:2000])
        with pytest.raises(ValueError, match=r"in block 0: y has 99 .* where X has 100 samples"):
            fastgd.fit(X, y[da.from_array(np.arange(N) != 5, chunks=ROWS)])

    def test_without_rows_are_left_out(self, here):
        X, y = data()
        keep = (np.arange(N) // ROWS) % 2 == 0
        dX, dy, kept = in_chunks(X, y, keep)
        weights = in_chunks(keep.astype(float))[0]
        assert fastgd.fit(dX[kept], dy[kept]).moments.n_samples == keep.sum()
        assert fastgd.fit(dX, dy, sample_weight=weights).moments.weight_sum == keep.sum()
        with pytest.raises(ValueError, match="X has no rows"):
            fastgd.fit(dX, dy, sample_weight=0 * weights)

    def test_missing_rows_are_dropped(self, here):
        X, y = data()
        X[:150] = np.nan  # a block, and half of another
        result = fastgd.fit(*in_chunks(X, y), missing="drop")
        assert_same_fit(result, fastgd.fit(LocalBlocks(X, y, missing="drop")))
        assert result.moments.n_samples == N - 150

    @pytest.mark.parametrize("y", [None, np.zeros(N), [0.0] * N], ids=["None", "NumPy", "list"])
    def test_only_those_of_dask_go_along(self, y):
        (X,) = in_chunks(data()[0])
        with pytest.raises(TypeError, match=r"^y must be"):
            fastgd.fit(X, y)

    def test_of_complex_numbers_are_refused_unread(self):
        X = da.map_blocks(
            pytest.fail, chunks=((3,), (2,)), dtype=complex, meta=np.empty((0, 0), complex)
        )
        with pytest.raises(TypeError, match="X must hold real numbers"):
            fastgd.fit(X, da.zeros(3))


class TestFrames:
    @pytest.fixture
    def made(self):
        return []

    @pytest.fixture
    def frame(self, made):
        """A frame whose partitions, of unknown size, tell when they are made."""
        X, y = data()
        whole = pd.DataFrame(X, columns=list("abcde")).assign(y=y, z=-y, w=1.0)

        def make(number):
            made.append(number)
            return whole.iloc[number * ROWS : (number + 1) * ROWS]

        return dd.from_map(make, range(N // ROWS), meta=whole.iloc[:0])

    def test_have_the_bits_of_arrays(self, here, frame, made):
        X, y = data()
        result = fastgd.fit(frame[list("abcde")], frame["y"], sample_weight=frame["w"])
        assert sorted(made) == list(range(21))  # each made once, for X, y and weights
        assert result.feature_names == tuple("abcde")
        in_columns = LocalBlocks(np.asfortranarray(X), y, np.ones(N))  # as tables are
        assert_same_fit(result, fastgd.fit(in_columns))

    def test_with_several_targets(self, here, frame):
        both = fastgd.fit(frame[list("abc")], frame[["y", "z"]])
        assert both.coef.shape == (3, 2)
        np.testing.assert_allclose(both.coef[:, 0], -both.coef[:, 1], rtol=1e-6)

    def test_go_along_with_arrays(self, here, frame):
        X, y = data()
        dX, dy = in_chunks(X, y)
        in_columns = LocalBlocks(np.asfortranarray(X), y)  # as tables are
        assert_same_fit(fastgd.fit(frame[list("abcde")], dy), fastgd.fit(in_columns))
        assert_same_fit(fastgd.fit(dX, frame["y"]), fastgd.fit(LocalBlocks(X, y)))

    def test_of_words_are_refused_unread(self, frame, made):
        words = frame.assign(a="word")
        with pytest.raises(TypeError, match="column 'a'"):
            fastgd.fit(words[["a", "b"]], frame["y"])
        assert not made

    def test_that_are_cut_otherwise_are_refused(self, frame):
        with pytest.raises(ValueError, match="repartition"):
            fastgd.fit(frame[["a"]], frame["y"].repartition(npartitions=3))


class TestPredict:
    @pytest.mark.parametrize("n_targets", TARGETS.values(), ids=TARGETS)
    def test_of_an_array_is_lazy(self, here, n_targets):
        X, y = data(n_targets=n_targets)
        (dX,) = in_chunks(X)
        result = fastgd.fit(X, y)
        predicted = result.predict(dX)
        assert isinstance(predicted, da.Array)
        assert (predicted.shape, predicted.dtype) == (y.shape, X.dtype)
        assert predicted.chunks[0] == dX.chunks[0]
        assert_array_equal(predicted.compute(), result.predict(X))

    def test_of_one_dimension(self, here):
        x = np.arange(9.0)
        result = fastgd.fit(x, 2 * x)
        assert_array_equal(result.predict(da.from_array(x, chunks=4)), result.predict(x))
        both = fastgd.fit(x, np.column_stack([x, -x]))
        predicted = both.predict(da.from_array(x, chunks=4))
        assert predicted.shape == (9, 2)
        assert_array_equal(predicted, both.predict(x))

    @pytest.mark.parametrize("n_targets", TARGETS.values(), ids=TARGETS)
    def test_of_a_frame_keeps_its_index(self, here, n_targets):
        X, y = data(n_targets=n_targets)
        whole = pd.DataFrame(X, columns=list("abcde"), index=np.arange(N) + 5)
        result = fastgd.fit(whole, y)
        predicted = result.predict(dd.from_pandas(whole[list("edcba")], npartitions=4)).compute()
        # NumPy's products depend on the order in memory, which differs: equal but for rounding.
        expected = result.predict(whole)
        np.testing.assert_allclose(predicted, expected, rtol=1e-6, atol=1e-6 * abs(expected).max())
        assert_array_equal(predicted.index, whole.index)

    def test_takes_no_buffer(self):
        X, y = data()
        with pytest.raises(TypeError, match="out"):
            fastgd.fit(X, y).predict(*in_chunks(X), out=np.empty(N))
