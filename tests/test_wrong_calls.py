"""Every wrong call of the tables in wrong_calls.py is refused, in the words that are tabled."""

import re

import numpy as np
import pytest
import wrong_calls

import fastgd
from fastgd.cli import main

LIBRARY = (*wrong_calls.FIT, *wrong_calls.GRADIENT, *wrong_calls.MOMENTS, *wrong_calls.RESULT)
LIBRARY += (*wrong_calls.VALIDATION,)


def refused(row, names):
    call, error, words = row
    with pytest.raises(error, match=words) as caught:
        eval(call, names)
    assert len(str(caught.value).splitlines()[0]) < 500
    return caught.value


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    found = wrong_calls.names(tmp_path_factory.mktemp("files"))
    arrays = {key: value for key, value in found.items() if isinstance(value, np.ndarray)}
    before = {key: value.tobytes() for key, value in arrays.items()}
    yield found
    assert {key: value.tobytes() for key, value in arrays.items()} == before


def call_of(row):
    return row[0]


@pytest.mark.parametrize("row", LIBRARY, ids=call_of)
def test_of_the_library(names, row):
    error = refused(row, names)
    assert "\n" not in str(error)


@pytest.mark.parametrize("row", wrong_calls.ESTIMATORS, ids=call_of)
def test_of_the_estimators(names, row):
    module = pytest.importorskip("fastgd.sklearn")
    refused(row, {**names, **{name: getattr(module, name) for name in module.__all__}})


@pytest.mark.parametrize("row", wrong_calls.ONNX, ids=call_of)
def test_of_onnx(names, row):
    refused(row, {**names, "to_onnx": pytest.importorskip("fastgd.onnx").to_onnx})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    X, y = np.arange(12.0).reshape(6, 2) ** 2, np.arange(6.0)
    np.savez(folder / "data.npz", X=X, y=y)
    np.savez(folder / "X.npz", X=X)
    np.save(folder / "y.npy", y)
    (folder / "junk.npz").write_bytes(b"junk")
    fastgd.fit(X, y).save(folder / "model.json")
    return folder


@pytest.mark.parametrize(("arguments", "words"), wrong_calls.COMMANDS)
def test_of_the_command_line(folder, arguments, words, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    before = sorted(path.name for path in folder.iterdir())
    assert main(arguments.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert re.match(rf"fastgd: error: .*{words}", captured.err), captured.err
    assert sorted(path.name for path in folder.iterdir()) == before


def test_tables_are_long_and_hold_no_call_twice():
    calls = [row[0] for row in (*LIBRARY, *wrong_calls.ESTIMATORS, *wrong_calls.ONNX)]
    calls += [f"fastgd {arguments}" for arguments, _ in wrong_calls.COMMANDS]
    assert len(calls) == len(set(calls)) >= 100
