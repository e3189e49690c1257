"""Compiled kernels on disk: whatever becomes of them, a call returns what it should."""

import os
import subprocess
import sys

import pytest

CODE = """
import numpy as np, fastgd
X = np.array([[1, 2, 0], [3, 4, 1], [5, 7, 0], [8, 8, 1]], "f4")
value = fastgd.mse_and_gradient(X, np.ones(4, "f4"), [1.0, -1.0, 0.0])
assert value.mse == (4 + 4 + 9 + 1) / 4, value
"""
NO_COMPILING = """
from numba.core.dispatcher import _FunctionCompiler
def refuse(*_):
    raise AssertionError("compiled although it was on disk")
_FunctionCompiler.compile = refuse
"""


def run(folder, code=CODE):
    """A new process that keeps its kernels in `folder`."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "FASTGD_CACHE_DIR": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def entries(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache") / "made" / "on the way"
    run(folder)
    return folder


@pytest.fixture
def copied(filled, tmp_path):
    for path in entries(filled):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_a_second_process_compiles_nothing(filled):
    before = [(path, path.stat().st_mtime_ns) for path in entries(filled)]
    assert before
    run(filled, NO_COMPILING + CODE)
    assert [(path, path.stat().st_mtime_ns) for path in entries(filled)] == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:1000] + bytes([data[1000] ^ 1]) + data[1001:],
    ],
    ids=["half", "one bit"],
)
def test_a_damaged_entry_is_made_anew(copied, filled, damage):
    for path in entries(copied):
        path.write_bytes(damage(path.read_bytes()))
    run(copied)
    assert [p.stat().st_size for p in entries(copied)] == [
        p.stat().st_size for p in entries(filled)
    ]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    run(tmp_path / "file" / "below")


def test_a_folder_in_the_place_of_an_entry(copied):
    for path in entries(copied):
        path.unlink()
        path.mkdir()
    run(copied)


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    run(tmp_path)
    assert entries(tmp_path) == []


def test_processes_that_write_at_once(tmp_path):
    environment = {**os.environ, "FASTGD_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-c", CODE]
    together = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [process.wait(timeout=120) for process in together] == [0, 0, 0]
    run(tmp_path, NO_COMPILING + CODE)
    assert not [path for path in entries(tmp_path) if path.suffix == ".tmp"]
