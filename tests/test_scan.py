"""scan(): files of every kind, read in batches, never whole."""

import threading
from operator import add

import numpy as np
import pytest

import fastgd
from fastgd import Moments, fit, scan
from fastgd._data.blocks import Tree
from fastgd.sources import _rows, array_files

pa = pytest.importorskip("pyarrow")
for part in ("csv", "dataset", "feather", "parquet"):
    pytest.importorskip(f"pyarrow.{part}")

N, LENGTH = 1000, 130
NAMES = ("a", "b", "c")


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.fixture(autouse=True)
def short_batches(monkeypatch):
    monkeypatch.setattr(_rows, "ROWS", LENGTH)
    monkeypatch.setattr(array_files, "WINDOW", LENGTH * 3 * 8)


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(7)
    X = rng.standard_normal((N, 3))
    return X, X @ [1, 2, 3] + 4 + rng.standard_normal(N), rng.uniform(0.5, 2, N)


def as_table(X, y, weight):
    columns = dict(zip(NAMES, X.T.copy(), strict=True))
    return pa.table({**columns, "y": y, "s": weight})


def thirds(table):
    """Parts of unequal length, none of them a whole number of batches."""
    return [table.slice(0, 300), table.slice(300, 450), table.slice(750)]


def write_csv(table, path):
    pa.csv.write_csv(table, path)


def write_parquet(table, path):
    pa.parquet.write_table(table, path, row_group_size=200)


def write_ipc(table, path, new=pa.ipc.new_file):
    with new(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=170)


def write_stream(table, path):
    write_ipc(table, path, pa.ipc.new_stream)


WRITERS = {
    ".parquet": write_parquet,
    ".feather": lambda table, path: pa.feather.write_feather(table, str(path), chunksize=170),
    ".arrow": write_ipc,
    ".arrows": write_stream,
    ".csv": write_csv,
}


def one(suffix):
    def make(table, folder, **roles):
        path = folder / f"data{suffix}"
        WRITERS[suffix](table, path)
        return scan(path, **roles)

    return make


def parts(choose):
    def make(table, folder, **roles):
        (folder / "deep").mkdir(exist_ok=True)
        paths = [folder / "2024-01.parquet", folder / "2024-02.parquet", folder / "deep/03.parquet"]
        if choose == "pattern":
            paths[2] = folder / "2024-03.parquet"
        for part, path in zip(thirds(table), paths, strict=True):
            write_parquet(part, path)
        (folder / "_SUCCESS.csv").write_text("")
        (folder / "notes.txt").write_text("")
        found = {"folder": folder, "pattern": str(folder / "2024-*.parquet"), "list": paths}
        return scan(found[choose], **roles)

    return make


def dataset(table, folder, **roles):
    (folder / "set").mkdir(exist_ok=True)
    for number, part in enumerate(thirds(table)):
        write_parquet(part, folder / f"set/{number}.parquet")
    return scan(pa.dataset.dataset(folder / "set"), **roles)


def reader(table, folder, **roles):
    return scan(table.to_reader(max_chunksize=170), **roles)


TABLES = {
    **{suffix: one(suffix) for suffix in WRITERS},
    **{choose: parts(choose) for choose in ("folder", "pattern", "list")},
    "dataset": dataset,
    "reader": reader,
}


def npy(order):
    def make(X, y, weight, folder):
        paths = [folder / f"{name}.npy" for name in ("X", "y", "s")]
        np.save(paths[0], np.asarray(X, order=order))
        np.save(paths[1], y)
        np.save(paths[2], weight)
        return scan(paths[0], target=paths[1], weight=paths[2])

    return make


def npz(X, y, weight, folder):
    np.savez(folder / "data.npz", X=X, y=y, sample_weight=weight)
    return scan(folder / "data.npz")


ARRAYS = {"npy": npy("C"), "npy of columns": npy("F"), "npz": npz}
KINDS = [*TABLES, *ARRAYS]
AGAIN = [kind for kind in KINDS if kind != "reader"]
OF_PARTS = ("folder", "pattern", "list")


def scanned(kind, arrays, folder):
    if kind in ARRAYS:
        return ARRAYS[kind](*arrays, folder)
    return TABLES[kind](as_table(*arrays), folder, target="y", weight="s")


def by_hand(kind, arrays):
    """Moments of the batches, merged in order."""
    bounds = [(0, 300), (300, 750), (750, N)] if kind in OF_PARTS else [(0, N)]
    tree = Tree(add)
    for first, last in bounds:
        for start in range(first, last, LENGTH):
            rows = slice(start, min(start + LENGTH, last))
            X = arrays[0][rows]
            X = X if kind in ("npy", "npz") else np.asfortranarray(X)
            tree.add(Moments.of(X, arrays[1][rows], sample_weight=arrays[2][rows]))
    return tree.total()


class TestKinds:
    @pytest.mark.parametrize("kind", KINDS)
    def test_have_the_bits_of_batches_merged_in_order(self, kind, arrays, tmp_path):
        result = fit(scanned(kind, arrays, tmp_path))
        assert result.moments == by_hand(kind, arrays)
        expected = fit(*arrays[:2], sample_weight=arrays[2])
        assert result.coef == pytest.approx(expected.coef, rel=1e-9)
        assert result.intercept == pytest.approx(expected.intercept, rel=1e-9)
        assert result.feature_names == (None if kind in ARRAYS else NAMES)

    @pytest.mark.parametrize("kind", AGAIN)
    def test_are_read_from_any_batch_on(self, kind, arrays, tmp_path):
        data = scanned(kind, arrays, tmp_path)
        whole = [flat(batch) for batch in data.read(0)]
        assert len(whole) > 7
        for first in (1, 2, 3, 4, 7, len(whole) - 1, len(whole)):
            found = [flat(batch) for batch in data.read(first)]
            assert found == whole[first:]

    @pytest.mark.parametrize("kind", AGAIN)
    def test_stream_as_often_as_asked(self, kind, arrays, tmp_path):
        result = fit(scanned(kind, arrays, tmp_path), strategy="stream")
        expected = fit(*arrays[:2], sample_weight=arrays[2])
        assert result.coef == pytest.approx(expected.coef, rel=1e-4)

    def test_readers_are_not_read_twice(self, arrays, tmp_path):
        with pytest.raises(ValueError, match="can be read only once"):
            fit(scanned("reader", arrays, tmp_path), strategy="stream")

    @pytest.mark.parametrize("kind", KINDS)
    def test_drop_rows_with_gaps(self, kind, arrays, tmp_path):
        X, y, s = arrays
        X = X.copy()
        X[5, 1] = X[LENGTH : 2 * LENGTH, 2] = X[-1, 0] = np.nan
        if kind == ".csv":  # has no NaN but for nulls
            table = as_table(X, y, s)
            gaps = [pa.array(column.to_numpy(), from_pandas=True) for column in table.columns]
            data = one(".csv")(pa.table(gaps, table.column_names), tmp_path, target="y", weight="s")
        else:
            data = scanned(kind, (X, y, s), tmp_path)
        result = fit(data, missing="drop")
        expected = fit(X, y, sample_weight=s, missing="drop")
        assert result.moments.n_samples == expected.moments.n_samples == N - 2 - LENGTH
        assert result.coef == pytest.approx(expected.coef, rel=1e-9)

    @pytest.mark.parametrize("kind", KINDS)
    def test_are_iterated_over_as_batches(self, kind, arrays, tmp_path):
        batches = list(scanned(kind, arrays, tmp_path))
        assert sum(len(np.asarray(y)) for _, y, _ in batches) == N


def flat(batch):
    columns = getattr(batch.X, "columns", None)
    X = batch.X if columns is None else np.stack([column.to_numpy() for column in columns], 1)
    return [np.asarray(part).tobytes() for part in (X, batch.y, batch.weight)]


@pytest.mark.parametrize("kind", TABLES)
def test_columns_are_chosen_by_name(kind, arrays, tmp_path):
    table = as_table(*arrays)
    data = TABLES[kind](table, tmp_path, target="y", features=["c", "a"])
    assert data.feature_names == ("c", "a")
    result = fit(data)
    assert result.feature_names == ("c", "a")
    assert result.coef == pytest.approx(fit(arrays[0][:, [2, 0]], arrays[1]).coef, rel=1e-9)


WITH_SCHEMA = [kind for kind in TABLES if kind != ".csv"]


class TestIndexOfPandas:
    """Columns that pandas wrote an index to are features where they are named, and only there."""

    @pytest.fixture(params=[None, "id"])
    def table(self, request, arrays):
        frame = pytest.importorskip("pandas").DataFrame(arrays[0], columns=NAMES)
        frame["y"] = arrays[1]
        frame.index = pytest.importorskip("pandas").Index(np.arange(N)[::-1] ** 2.0)
        return pa.Table.from_pandas(frame.rename_axis(request.param))

    @pytest.mark.parametrize("kind", WITH_SCHEMA)
    def test_is_no_feature(self, kind, table, arrays, tmp_path):
        assert len(table.column_names) == 5
        result = fit(TABLES[kind](table, tmp_path, target="y"))
        assert result.feature_names == NAMES
        assert result.coef == pytest.approx(fit(*arrays[:2]).coef, rel=1e-9)

    @pytest.mark.parametrize("kind", WITH_SCHEMA)
    def test_is_one_by_name(self, kind, table, arrays, tmp_path):
        index = table.column_names[-1]
        data = TABLES[kind](table, tmp_path, target="y", features=["b", index])
        result = fit(data)
        assert result.feature_names == ("b", index)
        X = np.column_stack([arrays[0][:, 1], np.arange(N)[::-1] ** 2.0])
        assert result.coef == pytest.approx(fit(X, arrays[1]).coef, rel=1e-9)
        assert result.predict(table) == pytest.approx(result.predict(X), rel=1e-12)
        assert result.predict(table.slice(3, 2)) == pytest.approx(result.predict(X[3:5]), rel=1e-12)

    def test_is_one_where_it_was_selected(self, table, arrays):
        index = table.column_names[-1]
        for names in (("a", index), (index,)):
            assert fit(table.select(names), arrays[1]).feature_names == names

    def test_may_be_the_target_and_the_weight(self, table, arrays, tmp_path):
        index = table.column_names[-1]
        data = one(".parquet")(table, tmp_path, target=index, weight="y", features=["a"])
        assert data.feature_names == ("a",)
        assert one(".parquet")(table, tmp_path, target=index).feature_names == (*NAMES, "y")
        by_weight = one(".parquet")(table, tmp_path, target="y", weight=index)
        expected = fit(*arrays[:2], sample_weight=np.arange(N)[::-1] ** 2.0)
        assert fit(by_weight).coef == pytest.approx(expected.coef, rel=1e-9)

    def test_of_a_range_is_no_column(self, arrays, tmp_path):
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(arrays[0], columns=NAMES)
        data = one(".parquet")(pa.Table.from_pandas(frame), tmp_path, target="c")
        assert data.feature_names == ("a", "b")

    @pytest.mark.parametrize("told", [b"{", b"[]", b"{}", b'{"index_columns": 3}', b"\xff"])
    def test_in_words_that_are_not_those_of_pandas(self, told, arrays, tmp_path):
        table = as_table(*arrays).replace_schema_metadata({b"pandas": told})
        data = one(".parquet")(table, tmp_path, target="y", weight="s")
        assert data.feature_names == NAMES


def test_a_dataset_goes_without_scan(arrays, tmp_path):
    data = pa.dataset.dataset(as_table(*arrays))
    assert fit(data, "y", sample_weight="s").coef == pytest.approx(
        fit(*arrays[:2], sample_weight=arrays[2]).coef, rel=1e-9
    )


def test_plan_and_moments_take_it(arrays, tmp_path):
    data = scanned(".parquet", arrays, tmp_path)
    assert Moments.of(data) == by_hand(".parquet", arrays)
    expected = fastgd.plan(*arrays[:2], sample_weight=arrays[2])
    assert fastgd.plan(data).epochs_auto == expected.epochs_auto
    assert repr(data) == "Scan(1 file, 1,000 rows, features: a, b, c)"


def cut_short(kind):
    def make(table, folder):
        path = folder / f"data{kind}"
        WRITERS[kind](table, path)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) * 2 // 3])
        return path

    return make


def short_npy(table, folder):
    np.save(folder / "data.npy", np.ones((N, 3)))
    whole = (folder / "data.npy").read_bytes()
    (folder / "data.npy").write_bytes(whole[:-100])
    return folder / "data.npy"


def second(change):
    """Two files, of which the second is not like the first."""

    def make(table, folder):
        write_parquet(table, folder / "1.parquet")
        write_parquet(change(table), folder / "2.parquet")
        return [folder / "1.parquet", folder / "2.parquet"]

    return make


def words(table):
    return table.set_column(1, "b", pa.array(["x"] * table.num_rows))


def of_words(table, folder):
    write_parquet(words(table), folder / "data.parquet")
    return folder / "data.parquet"


def all_single(table):
    return pa.table({name: table[name].cast("float32") for name in table.column_names})


def nothing(table, folder):
    return folder


def written(name, content=b""):
    def make(table, folder):
        (folder / name).write_bytes(content)
        return folder / name

    return make


WRONG = {
    "short parquet": (cut_short(".parquet"), {}, ValueError, r"data\.parquet: "),
    "short arrow": (cut_short(".arrow"), {}, ValueError, r"data\.arrow: "),
    "short stream": (cut_short(".arrows"), {}, ValueError, r"data\.arrows: "),
    "short feather": (cut_short(".feather"), {}, ValueError, r"data\.feather: "),
    "short npy": (short_npy, {}, ValueError, r"data\.npy is truncated: it has 23900 of 24000"),
    "not parquet": (written("data.parquet", b"PAR1 is not all"), {}, ValueError, r"data\.parquet:"),
    "empty csv": (written("data.csv"), {}, ValueError, r"data\.csv: "),
    "empty npy": (written("data.npy"), {}, ValueError, r"data\.npy: "),
    "other kind": (written("data.xlsx"), {}, ValueError, r"data\.xlsx: files of data end in"),
    "no such file": (lambda *_: "no.parquet", {}, FileNotFoundError, r"no\.parquet"),
    "no such pattern": (lambda *_: "no-*.csv", {}, FileNotFoundError, "holds no files of data"),
    "empty folder": (nothing, {}, FileNotFoundError, "holds no files of data, which end in"),
    "no files": (lambda *_: [], {}, ValueError, "at least one file; got none"),
    "a number": (lambda *_: 3, {}, TypeError, "data must be a path, a list of paths or a pyarrow"),
    "a table": (lambda table, _: table, {}, TypeError, "tables are no files; fastgd.fit takes a"),
    "words": (of_words, {}, TypeError, "counting from row 0: X must hold real numbers; column 'b'"),
    "column": (of_words, {"target": "z"}, ValueError, "has no column 'z'; it has a, b, c, y, s"),
    "feature": (of_words, {"features": ["a", "z"]}, ValueError, "has no column 'z'"),
    "weight": (of_words, {"weight": "z"}, ValueError, "has no column 'z'"),
    "features": (of_words, {"features": "ab"}, TypeError, "features must be a list of names"),
    "target among them": (
        of_words,
        {"features": ["a", "y"]},
        ValueError,
        r"data\.parquet: features must not have the target among them, 'y'",
    ),
    "weight among them": (
        of_words,
        {"features": ["a", "s"], "weight": "s"},
        ValueError,
        r"data\.parquet: features must not have the weight among them, 's'",
    ),
    "twice": (
        of_words,
        {"features": ["a", "c", "a"]},
        ValueError,
        r"data\.parquet: features must be different columns; got 'a' twice",
    ),
    "no features": (of_words, {"features": []}, ValueError, "has no column but"),
    "lacks": (second(lambda t: t.drop_columns(["b"])), {}, ValueError, "2.parquet has no column"),
    "text in second": (second(words), {}, TypeError, r"2\.parquet, counting from row 0: X must"),
    "single in second": (
        second(all_single),
        {},
        ValueError,
        r"2\.parquet, counting from row 0: X of dtype float32, where those before had X of dtype",
    ),
    "npy by name": (short_npy, {"features": ["a"]}, ValueError, "is truncated|have no names"),
}


@pytest.mark.parametrize("strategy", ["moments", "stream"])
@pytest.mark.parametrize("wrong", WRONG)
def test_errors_name_the_file(wrong, strategy, arrays, tmp_path, monkeypatch):
    make, roles, kind, text = WRONG[wrong]
    monkeypatch.chdir(tmp_path)
    data = make(as_table(*arrays), tmp_path)
    with pytest.raises(kind, match=text):
        fit(scan(data, **{"target": "y", **roles}), strategy=strategy)


def test_of_columns_in_another_order_is_no_error(arrays, tmp_path):
    write_parquet(as_table(*arrays), tmp_path / "1.parquet")
    other = as_table(*arrays).select(["s", "c", "y", "a", "b"])
    write_parquet(other, tmp_path / "2.parquet")
    both = fit(scan(tmp_path, target="y", weight="s"))
    assert both.coef == pytest.approx(fit(*arrays[:2], sample_weight=arrays[2]).coef, rel=1e-9)
    assert both.moments.n_samples == 2 * N


def test_no_target_is_told_with_the_names(arrays, tmp_path):
    write_csv(as_table(*arrays), tmp_path / "data.csv")
    with pytest.raises(ValueError, match="target must name a column: one of a, b, c, y, s"):
        scan(tmp_path / "data.csv")
    np.save(tmp_path / "X.npy", arrays[0])
    with pytest.raises(ValueError, match="has no y to fit: give target="):
        scan(tmp_path / "X.npy")


def test_y_of_another_length_is_told(arrays, tmp_path):
    np.save(tmp_path / "X.npy", arrays[0])
    np.save(tmp_path / "y.npy", arrays[1][:-1])
    with pytest.raises(ValueError, match=r"y has shape \(999,\) where X has \(1000, 3\)"):
        scan(tmp_path / "X.npy", target=tmp_path / "y.npy")


def test_a_file_cut_short_after_it_was_opened(arrays, tmp_path):
    data = scanned(".arrows", arrays, tmp_path)
    path = tmp_path / "data.arrows"
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(ValueError, match=r"data\.arrows: "):
        fit(data)
