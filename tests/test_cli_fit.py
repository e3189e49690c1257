"""fastgd fit, predict, plan and cv on files of every kind."""

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict

import numpy as np
import pytest
from test_cli import error_of

import fastgd
from fastgd.cli import main
from fastgd.sources import _rows, array_files

pa = pytest.importorskip("pyarrow")
from pyarrow import csv, feather, parquet  # noqa: E402

from fastgd.commands import _reading  # noqa: E402
from fastgd.commands.fit import _METHODS  # noqa: E402

N = 1000
NOBODY = 65534

NAMED = (".parquet", ".feather", ".arrow", ".csv")
ALL = (*NAMED, ".npy", ".npz")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(_rows, "ROWS", 300)
    monkeypatch.setattr(array_files, "WINDOW", 300 * 16)


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, 2))
    return X, X @ [2.0, -1.0] + 3 + rng.standard_normal(N), rng.uniform(1, 2, N)


@contextmanager
def without_privileges():
    """As another user, where this one is root, who may read and write anything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def write(table, path):
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=400)
    elif path.suffix == ".csv":
        csv.write_csv(table, path)
    else:
        feather.write_feather(table, path, chunksize=350)
    return path


def table_of(arrays, **more):
    X, y, s = arrays
    return pa.table({"delay": y, "a": X[:, 0], "s": s, "b": X[:, 1], **more})


@pytest.fixture(params=ALL)
def data(request, arrays, tmp_path):
    """The arguments that name the same data in a file of each kind."""
    X, y, s = arrays
    path = tmp_path / f"data{request.param}"
    if request.param == ".npz":
        np.savez(path, X=X, y=y, sample_weight=s)
        return [str(path)]
    if request.param == ".npy":
        np.save(path, X)
        np.save(tmp_path / "y.npy", y)
        return [str(path), str(tmp_path / "y.npy")]
    write(table_of(arrays), path)
    return [str(path), "--target", "delay", "--features", "a,b", "--weight", "s"]


@pytest.fixture
def named(arrays, tmp_path):
    return str(write(table_of(arrays), tmp_path / "data.parquet"))


def weights(data, arrays):
    return None if data[0].endswith(".npy") else arrays[2]


class TestFit:
    def test_writes_the_model_and_prints_its_summary(self, data, arrays, tmp_path, capsys):
        X, y, _ = arrays
        model = tmp_path / "model.json"
        assert main(["fit", *data, "-o", str(model)]) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        result = fastgd.load(model)
        expected = fastgd.fit(X, y, sample_weight=weights(data, arrays), strategy="moments")
        assert result.coef == pytest.approx(expected.coef, rel=1e-9)
        assert result.intercept == pytest.approx(expected.intercept, rel=1e-9)
        names = ("a", "b") if os.path.splitext(data[0])[1] in NAMED else None
        assert result.feature_names == names
        assert f"\n{'a' if names else 'x1'}  " in printed.out
        assert "Method:" in printed.out

    def test_prints_json(self, named, arrays, capsys):
        argv = ["fit", named, "--target", "delay", "--features", "b,a", "--json", "--no-intercept"]
        assert main(argv) == 0
        report = json.loads(capsys.readouterr().out)
        X, y, _ = arrays
        expected = fastgd.fit(X[:, ::-1], y, fit_intercept=False)
        assert list(report["coef"]) == ["b", "a"] == list(report["standard_errors"])
        assert list(report["coef"].values()) == pytest.approx(expected.coef, rel=1e-4)
        assert report["n_samples"] == N

    def test_takes_all_other_columns_by_default(self, named, capsys):
        assert main(["fit", named, "--target", "delay", "--json"]) == 0
        assert list(json.loads(capsys.readouterr().out)["coef"]) == ["a", "s", "b"]

    def test_names_of_features_may_have_spaces_between_them(self, arrays, tmp_path, capsys):
        X, y, _ = arrays
        path = write(pa.table({"delay": y, "a": X[:, 0], " b": X[:, 1]}), tmp_path / "data.csv")
        for text, names in (("a , a", None), (" a", ["a"]), ("a, b", ["a", " b"])):
            argv = ["fit", str(path), "--target", "delay", "--features", text, "--json"]
            if names is None:
                assert "got 'a' twice" in error_of(argv, capsys)
            else:
                assert main(argv) == 0
                assert list(json.loads(capsys.readouterr().out)["coef"]) == names

    def test_the_summary_has_the_name_of_the_target(self, named, arrays, capsys):
        assert main(["fit", named, "--target", "delay"]) == 0
        assert re.search(r"^Dep\. Variable: +delay ", capsys.readouterr().out, re.M)

    @pytest.mark.parametrize(
        "options",
        [
            {"alpha": 0.3},
            {"alpha": 0.3, "l1_ratio": 0.5},
            {"method": "nesterov", "momentum": 0.5},
            *({"method": method} for method in _METHODS),
        ],
        ids=str,
    )
    def test_passes_its_options_on(self, named, arrays, options, capsys):
        argv = ["fit", named, "--target", "delay", "--features", "a,b", "--json"]
        for name, value in options.items():
            argv += [f"--{name.replace('_', '-')}", str(value)]
        assert main(argv) == 0
        report = json.loads(capsys.readouterr().out)
        expected = fastgd.fit(fastgd.Moments.of(*arrays[:2]), **options)
        assert list(report["coef"].values()) == pytest.approx(expected.coef, rel=1e-9)
        assert (report["method"], report["n_iter"]) == (expected.method, expected.n_iter)
        assert ("without the penalty" in str(report["notes"])) == ("alpha" in options)

    def test_warns_in_one_line(self, named, capsys):
        for number, words in ((1, "1 epoch "), (2, "2 epochs ")):
            options = ["--learning-rate", "1e-3", "--max-iter", str(number)]
            assert main(["fit", named, "--target", "delay", *options]) == 0
            told = capsys.readouterr().err
            assert told.startswith(f"fastgd: warning: after {words}the loss")
            assert told.count("\n") == 1

    def test_leaves_missing_values_out(self, arrays, tmp_path, capsys):
        gaps = [None if 300 <= i < 600 or i == 7 else float(i) for i in range(N)]
        path = str(write(table_of(arrays, c=gaps), tmp_path / "data.parquet"))
        argv = ["fit", path, "--target", "delay", "--json"]
        told = error_of(argv, capsys)
        assert "counting from row 0: X must be finite; column 'c' in row 7 is nan" in told
        assert "--missing drop leaves such rows out" in told
        assert main([*argv, "--missing", "drop"]) == 0
        assert json.loads(capsys.readouterr().out)["n_samples"] == N - 301

    def test_shows_progress_to_people_only(self, named, capsys, monkeypatch):
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        assert main(["fit", named, "--target", "delay"]) == 0
        shown = capsys.readouterr().err
        assert "100 %" in shown
        assert shown.endswith("\r\033[K")

    def test_leaves_an_index_of_pandas_out(self, arrays, tmp_path, capsys):
        frame = pytest.importorskip("pandas").DataFrame(arrays[0], columns=["a", "b"])
        frame = frame.assign(delay=arrays[1]).iloc[1:]
        path, model = str(tmp_path / "data.parquet"), str(tmp_path / "model.json")
        frame[frame.a > -1].to_parquet(path)
        assert main(["fit", path, "--target", "delay", "-o", model]) == 0
        assert fastgd.load(model).feature_names == ("a", "b")
        capsys.readouterr()
        assert main(["predict", model, path]) == 0
        found = np.array(capsys.readouterr().out.split(), float)
        expected = fastgd.load(model).predict(arrays[0][1:][frame.a > -1])
        assert found == pytest.approx(expected, rel=1e-12)


class TestPredict:
    @pytest.mark.parametrize("kind", [".parquet", ".feather", ".csv", ".npy", None])
    def test_writes_every_kind(self, data, kind, arrays, tmp_path, capsys):
        model, out = str(tmp_path / "model.json"), tmp_path / f"out{kind}"
        assert main(["fit", *data, "-o", model]) == 0
        expected = fastgd.load(model).predict(arrays[0])
        capsys.readouterr()
        argv = ["predict", model, data[0], *([] if kind is None else ["-o", str(out)])]
        assert main(argv) == 0
        printed = capsys.readouterr().out
        if kind is None:
            found = np.array(printed.split(), float)
        elif kind == ".npy":
            found = np.load(out)
        else:
            read = {".parquet": parquet.read_table, ".csv": csv.read_csv}
            table = read.get(kind, feather.read_table)(out)
            assert table.column_names == ["prediction"]
            found = table["prediction"].to_numpy()
        assert found == pytest.approx(expected, rel=1e-12)

    def test_leaves_nothing_behind_where_it_fails(self, named, tmp_path, capsys):
        model = str(tmp_path / "model.json")
        assert main(["fit", named, "--target", "delay", "-o", model]) == 0
        before = sorted(os.listdir(tmp_path))
        other = str(write(pa.table({"a": [1.0]}), tmp_path / "other.csv"))
        capsys.readouterr()
        line = error_of(["predict", model, other, "-o", str(tmp_path / "out.csv")], capsys)
        assert "other.csv has no column 's'; it has a" in line
        assert sorted(os.listdir(tmp_path)) == sorted([*before, "other.csv"])


class TestSeveralFiles:
    """A folder, or a pattern that no shell has replaced."""

    @pytest.fixture(params=["folder", "pattern"])
    def many(self, request, arrays, tmp_path):
        (tmp_path / "many").mkdir()
        table = table_of(arrays)
        for number, rows in enumerate((slice(0, 350), slice(350, 351), slice(351, N))):
            kind = (".parquet", ".csv", ".feather")[number]
            part = table.slice(rows.start, rows.stop - rows.start)
            write(part, tmp_path / f"many/2024-{number}{kind}")
        return str(tmp_path / ("many" if request.param == "folder" else "many/2024-*"))

    def test_are_one(self, many, arrays, tmp_path, capsys):
        X, y, s = arrays
        options = ["--target", "delay", "--features", "a,b", "--weight", "s"]
        model = str(tmp_path / "model.json")
        assert main(["fit", many, *options, "-o", model]) == 0
        result, expected = fastgd.load(model), fastgd.fit(X, y, sample_weight=s)
        assert result.coef == pytest.approx(expected.coef, rel=1e-6)
        assert main(["predict", model, many, "-o", str(tmp_path / "out.npy")]) == 0
        found = np.load(tmp_path / "out.npy")
        assert found == pytest.approx(result.predict(X), rel=1e-12)
        capsys.readouterr()
        assert main(["plan", many, *options, "--json"]) == 0
        plan = json.loads(capsys.readouterr().out)
        assert plan["n_samples"] == N
        assert plan["epochs_auto"] == fastgd.plan(X, y, sample_weight=s).epochs_auto

    def test_are_folded_as_one(self, many, arrays, capsys):
        options = ["--target", "delay", "--features", "a,b", "--weight", "s"]
        assert main(["cv", many, *options, "--cv", "7", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        expected = fastgd.cross_validate(
            *arrays[:2], sample_weight=arrays[2], cv=7, alpha=[0.0, 0.001, 0.01, 0.1, 1.0, 10.0]
        )
        assert [row["mse"] for row in found["settings"]] == pytest.approx(expected.mean)

    def test_are_not_written(self, many, tmp_path, capsys):
        model = str(tmp_path / "model.json")
        assert main(["fit", many, "--target", "delay", "-o", model]) == 0
        (tmp_path / "last.json").symlink_to(tmp_path / "many/2024-1.csv")
        before = (tmp_path / "many/2024-1.csv").read_bytes()
        capsys.readouterr()
        for argv in (
            ["predict", model, many, "-o", str(tmp_path / "many/2024-1.csv")],
            ["fit", many, "--target", "delay", "-o", str(tmp_path / "last.json")],
        ):
            assert "it is what is read" in error_of(argv, capsys)
        assert (tmp_path / "many/2024-1.csv").read_bytes() == before

    def test_have_the_same_columns(self, many, tmp_path, capsys):
        write(pa.table({"delay": [1.0], "a": [1.0], "s": [1.0]}), tmp_path / "many/2024-9.csv")
        assert "2024-9.csv has no column 'b'" in error_of(["fit", many, "--target", "s"], capsys)

    def test_are_no_arrays(self, tmp_path, capsys):
        for name in ("x.npy", "y.npy"):
            np.save(tmp_path / name, np.arange(3.0))
        told = error_of(["fit", str(tmp_path / "*.npy")], capsys)
        assert "*.npy: one file of arrays is read at a time; got 2" in told
        assert "holds no files of data" in error_of(["fit", str(tmp_path / "*.csv")], capsys)
        assert "holds no files of data" in error_of(["fit", str(tmp_path)], capsys)


class TestSeveralTargets:
    @pytest.fixture(params=[1, 2])
    def path(self, request, arrays, tmp_path):
        X, y, _ = arrays
        np.savez(tmp_path / "data.npz", X=X, y=np.column_stack([y, -y])[:, : request.param])
        return str(tmp_path / "data.npz")

    def test_are_fitted(self, path, arrays, tmp_path, capsys):
        assert main(["fit", path, "-o", str(tmp_path / "model.json")]) == 0
        printed = capsys.readouterr().out
        assert "Note: statistics are of one target" in printed
        result = fastgd.load(tmp_path / "model.json")
        for name, row in (("const", result.intercept), ("x1", result.coef[0])):
            (line,) = (line for line in printed.splitlines() if line.startswith(name))
            assert np.array(line.split()[1:], float) == pytest.approx(row, abs=1e-4)
        one = fastgd.fit(*arrays[:2])
        assert result.coef[:, 0] == pytest.approx(one.coef, rel=1e-6)

    @pytest.mark.parametrize("kind", [".csv", ".parquet", ".arrow", None])
    def test_are_predicted(self, path, kind, arrays, tmp_path, capsys):
        model, out = str(tmp_path / "model.json"), tmp_path / f"out{kind}"
        assert main(["fit", path, "-o", model]) == 0
        expected = fastgd.load(model).predict(arrays[0])
        capsys.readouterr()
        assert main(["predict", model, path, *([] if kind is None else ["-o", str(out)])]) == 0
        printed = capsys.readouterr().out
        if kind is None:
            found = np.array([line.split(",") for line in printed.splitlines()], float)
        else:
            read = {".parquet": parquet.read_table, ".csv": csv.read_csv}
            table = read.get(kind, feather.read_table)(out)
            assert table.column_names == ["prediction1", "prediction2"][: expected.shape[1]]
            found = np.column_stack(table.columns)
        assert found == pytest.approx(expected, rel=1e-12)

    def test_are_told_in_json(self, path, tmp_path, capsys):
        assert main(["fit", path, "--json", "-o", str(tmp_path / "model.json")]) == 0
        report = json.loads(capsys.readouterr().out)
        result = fastgd.load(tmp_path / "model.json")
        assert report["coef"] == {"x1": result.coef[0].tolist(), "x2": result.coef[1].tolist()}
        assert report["intercept"] == result.intercept.tolist()
        assert report["standard_errors"] is report["r_squared"] is None
        assert report["n_samples"] == N

    def test_of_one_feature(self, path, arrays, capsys):
        with np.load(path) as archive:
            y = archive["y"]
        np.savez(path, X=arrays[0][:, 0], y=y)
        assert main(["fit", path, "--no-intercept"]) == 0
        printed = capsys.readouterr().out
        assert "const" not in printed
        assert len(re.findall(r"^x1 .*$", printed, re.M)[0].split()) == 1 + y.shape[1]

    @pytest.mark.parametrize("command", ["plan", "cv"])
    def test_are_refused_at_once(self, path, command, capsys, monkeypatch):
        reads = []
        monkeypatch.setattr(_reading, "moments_and_size", lambda *_: reads.append(1))
        line = error_of([command, path], capsys)
        assert "data.npz, counting from row 0: y must be 1-D, one target; got" in line
        assert not reads


class TestWhatIsReadIsNotWritten:
    LINKS = pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])

    @pytest.fixture
    def model(self, named, tmp_path):
        assert main(["fit", named, "--target", "delay", "-o", str(tmp_path / "model.json")]) == 0
        return str(tmp_path / "model.json")

    def refused(self, argv, read, capsys):
        capsys.readouterr()
        with open(read, "rb") as file:
            before = file.read()
        assert f"it is what is read, {read}" in error_of(argv, capsys)
        with open(read, "rb") as file:
            assert file.read() == before

    @LINKS
    @pytest.mark.parametrize("at", [0, 1])
    def test_by_fit(self, link, at, tmp_path, capsys):
        x, y, out = (str(tmp_path / name) for name in ("x.npy", "y.npy", "model.json"))
        np.save(x, np.arange(4.0))
        np.save(y, np.arange(4.0) ** 2)
        link((x, y)[at], out)
        self.refused(["fit", x, y, "-o", out], (x, y)[at], capsys)

    def test_by_predict(self, model, named, capsys, monkeypatch):
        self.refused(["predict", model, named, "-o", named], named, capsys)
        monkeypatch.chdir(os.path.dirname(named))
        self.refused(["predict", model, named, "-o", os.path.basename(named)], named, capsys)

    @LINKS
    def test_by_predict_through_links(self, link, model, named, tmp_path, capsys):
        for number, read in enumerate((model, named)):
            out = str(tmp_path / f"out{number}.csv")
            link(read, out)
            self.refused(["predict", model, named, "-o", out], read, capsys)

    def test_models_are_json(self, data, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for out in (data[0], "model.pkl", "model"):
            assert "models go to files that end in .json" in error_of(
                ["fit", *data, "-o", out], capsys
            )


def test_plan_is_that_of_the_arrays(data, arrays, capsys):
    assert main(["plan", *data, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = asdict(fastgd.plan(*arrays[:2], sample_weight=weights(data, arrays)))
    assert found.keys() == expected.keys()
    for name, value in found.items():
        near = isinstance(value, float)
        assert value == (pytest.approx(expected[name]) if near else expected[name]), name
    assert main(["plan", *data]) == 0
    printed = capsys.readouterr().out
    assert 'Plan for 1,000 samples of 2 features, method="gd"\n' in printed
    assert re.search(r'reads, strategy="moments" +1, costing', printed)


def test_cv(data, arrays, capsys):
    argv = ["cv", *data, "--cv", "7", "--alpha", "0,0.5"]
    assert main([*argv, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    options = {"sample_weight": weights(data, arrays), "cv": 7, "alpha": [0, 0.5]}
    expected = fastgd.cross_validate(*arrays[:2], **options)
    assert [row["mse"] for row in found["settings"]] == pytest.approx(expected.mean)
    assert found["best"] == expected.best
    assert main(argv) == 0
    assert "best" in capsys.readouterr().out


class TestErrors:
    FIT = ("--target", "delay")

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (["--target", "arr"], "has no column 'arr'; it has delay, a, s, b"),
            (["--target", "delay", "--features", "a,c"], "has no column 'c'"),
            (["--target", "delay", "--weight", "w"], "has no column 'w'"),
            (["--target", "delay", "--features", "a,delay"], "the target among them, 'delay'"),
            (["--target", "delay", "--features", "a,s", "--weight", "s"], "the weight among them"),
            (["--target", "delay", "--features", "a,b,a"], "got 'a' twice"),
            ([], "--target is needed"),
            (["--target", "delay", "--missing", "zero"], "invalid choice: 'zero'"),
            (["--target", "delay", "--learning-rate", "9"], "the descent diverged"),
            (["--target", "delay", "--method", "sgd"], "invalid choice: 'sgd'"),
            (["--target", "delay", "--method", "cg", "--alpha", "1", "--l1-ratio", "1"], "'cg'"),
            (["--target", "delay", "--tol", "-1"], "tol must be finite and 0 or more"),
            (["--target", "delay", "-o", "no/folder/m.json"], "No such file"),
            (["y.npy", "--target", "delay"], "only an .npy file of X"),
        ],
    )
    def test_of_options(self, named, options, told, capsys):
        assert told in error_of(["fit", named, *options], capsys)

    @pytest.mark.parametrize("kind", NAMED)
    def test_of_a_text_column(self, arrays, kind, tmp_path, capsys):
        path = str(write(table_of(arrays, carrier=["UA"] * N), tmp_path / f"data{kind}"))
        line = error_of(["fit", path, *self.FIT], capsys)
        told = "X must hold real numbers; column 'carrier' is of type string; choose columns of "
        assert f"{told}numbers with --features" in line

    @pytest.mark.parametrize("kind", ALL)
    def test_of_files_that_are_not_what_they_say(self, kind, tmp_path, capsys):
        path = tmp_path / f"data{kind}"
        for content in (b"", b"PAR1 and more", b"\x93NUMPY\x01\x00", b"PK\x03\x04 zip"):
            path.write_bytes(content)
            target = () if kind in (".npy", ".npz") else self.FIT
            assert str(path) in error_of(["fit", str(path), *target], capsys)

    @pytest.mark.parametrize("kind", [".parquet", ".feather"])
    def test_of_truncated_files(self, arrays, kind, tmp_path, capsys):
        path = write(table_of(arrays), tmp_path / f"data{kind}")
        path.write_bytes(path.read_bytes()[:-100])
        assert str(path) in error_of(["fit", str(path), *self.FIT], capsys)

    def test_of_a_csv_file_that_turns_to_words(self, tmp_path, capsys):
        path = tmp_path / "data.csv"
        path.write_text("delay,a\n" + "1,2\n" * 500_000 + "1,word\n")
        assert str(path) in error_of(["fit", str(path), *self.FIT], capsys)

    @pytest.mark.parametrize("kind", ALL)
    def test_of_folders_and_files_that_are_not_there(self, kind, tmp_path, capsys):
        target = () if kind in (".npy", ".npz") else self.FIT
        path = tmp_path / f"data{kind}"
        assert "No such file" in error_of(["fit", str(path), *target], capsys)
        path.mkdir()
        told = error_of(["fit", str(path), *target], capsys)
        assert f"error: {path} holds no files of data, which end in" in told

    @pytest.mark.skipif(os.name == "nt", reason="rights of Unix")
    def test_of_rights(self, named, tmp_path, capsys):
        model, told = str(tmp_path / "model.json"), "Permission denied"
        assert main(["fit", named, *self.FIT, "-o", model]) == 0  # all is imported
        predict = ["predict", model, named, "-o", str(tmp_path / "out.npy")]
        tmp_path.chmod(0o500)
        with without_privileges():
            assert told in error_of(predict, capsys)
            assert told in error_of(["fit", named, *self.FIT, "-o", model], capsys)
        os.chmod(named, 0)
        with without_privileges():
            assert told in error_of(["fit", named, *self.FIT], capsys)

    def test_of_kinds(self, capsys):
        assert "files of data end in .parquet" in error_of(["fit", "data.xlsx"], capsys)
        assert "files of data end in .parquet" in error_of(["plan", "data"], capsys)

    def test_of_models(self, named, tmp_path, capsys):
        model = tmp_path / "model.json"
        assert "No such file" in error_of(["predict", str(model), named], capsys)
        for content in (b"{}", b"a,b\n1,2\n", b"", b"\xff\x00"):
            model.write_bytes(content)
            told = error_of(["predict", str(model), named], capsys)
            assert told.startswith(f"fastgd: error: {model} is not a model that fastgd fit wrote")
        told = error_of(["predict", named, str(model)], capsys)
        assert f"{named} is not a model that fastgd fit wrote; give the model, then the" in told
        fastgd.fit([1.0, 2.0, 4.0], [1.0, 2.0, 3.0]).save(model)
        model.write_text(model.read_text().replace('"version": 1', '"version": 2'))
        assert (
            f"error: {model} is version 2 of fastgd.FitResult; this release reads up to 1: upgrade"
            in error_of(["predict", str(model), named], capsys)
        )

    def test_of_arrays(self, tmp_path, capsys):
        x, y = str(tmp_path / "x.npy"), str(tmp_path / "y.npy")
        np.save(x, np.ones((4, 2)))
        np.save(y, np.ones(3))
        assert "has no y to fit" in error_of(["fit", x], capsys)
        assert "y has shape (3,)" in error_of(["fit", x, y], capsys)
        assert "no names of columns" in error_of(["fit", x, "--features", "a"], capsys)
        np.savez(tmp_path / "d.npz", a=np.ones(3))
        assert "has no array X; it has a" in error_of(["fit", str(tmp_path / "d.npz")], capsys)

    def test_of_folds(self, named, capsys):
        assert "at least 2 folds" in error_of(["cv", named, *self.FIT, "--cv", "1"], capsys)
        assert "as many rows" in error_of(["cv", named, *self.FIT, "--cv", "1001"], capsys)
        assert "not a list of numbers" in error_of(["cv", named, "--alpha", "a"], capsys)

    def test_of_packages_that_are_missing(self, named, monkeypatch, capsys):
        monkeypatch.delitem(sys.modules, "fastgd.sources.arrow_files")
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        assert "needs pyarrow: python -m pip install 'fastgd[arrow]'" in error_of(
            ["fit", named, *self.FIT], capsys
        )


def test_in_a_pipe_that_closes(named, tmp_path):
    model = str(tmp_path / "model.json")
    assert main(["fit", named, "--target", "delay", "-o", model]) == 0
    read, end = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "fastgd", "predict", model, named],
        stdout=end,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(end)
    assert (done.returncode, done.stderr) == (141, "")


MEASURED = """
import sys
from fastgd.cli import main

status = main(sys.argv[1:])
with open("/proc/self/status") as file:  # of this process alone, unlike getrusage after a fork
    print(next(line.split()[1] for line in file if line.startswith("VmHWM")), file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux")
def test_ten_million_rows_take_less_than_300_mb(tmp_path):
    path, rng = tmp_path / "data.parquet", np.random.default_rng(0)
    names = ("y", "a", "b", "c")
    schema = pa.schema([(name, pa.float32()) for name in names])
    with parquet.ParquetWriter(path, schema, compression="none") as writer:
        for _ in range(10):
            columns = rng.standard_normal((4, 1_000_000), dtype=np.float32)
            columns[0] += 3 * columns[1]
            table = pa.table(dict(zip(names, columns, strict=True)), schema=schema)
            writer.write_table(table, row_group_size=1_000_000)

    def megabytes(*argv):
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *argv], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return int(done.stderr) / 1024

    model, out = str(tmp_path / "model.json"), str(tmp_path / "out.parquet")
    fit = megabytes("fit", str(path), "--target", "y", "-o", model)
    predict = megabytes("predict", model, str(path), "-o", out)
    print(f"fit {fit:.0f} MB, predict {predict:.0f} MB")
    assert max(fit, predict) < 300
    assert fastgd.load(model).coef == pytest.approx([3, 0, 0], abs=0.01)
    assert parquet.read_metadata(out).num_rows == 10_000_000
