"""A read that was ended goes on from its checkpoint, to the same bits."""

import ast
import os
import signal
import subprocess
import sys
import time

import ended_fit
import numpy as np
import pytest

from fastgd import fit
from fastgd._sums import checkpoint
from fastgd.sources import batches


@pytest.fixture
def parts(rng):
    X = rng.standard_normal((1000, 3), dtype=np.float32)
    y = X @ np.float32([1, 2, 3]) + rng.standard_normal(1000)
    return [(X[start : start + 30], y[start : start + 30]) for start in range(0, 1000, 30)]


def failing(parts, count):
    yield from parts[:count]
    raise ConnectionError("gone")


@pytest.mark.parametrize("interval", [0.0, 5.0])
@pytest.mark.parametrize("count", [1, 5, 16, 33, 34])
def test_goes_on_to_the_same_bits(parts, count, interval, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "INTERVAL", interval)
    path = tmp_path / "kept.npz"
    with pytest.raises(ConnectionError):
        fit(failing(parts, count), checkpoint=path)
    with np.load(path) as kept:
        assert kept["n_done"] == count
    again = fit(lambda: iter(parts), checkpoint=path)
    assert again.moments == fit(parts).moments
    assert os.listdir(tmp_path) == []


def test_of_other_data_is_refused(parts, tmp_path):
    path = tmp_path / "kept.npz"
    with pytest.raises(ConnectionError):
        fit(failing(parts, 5), checkpoint=path)
    with pytest.raises(ValueError, match="is of other data"):
        fit([(X + 1, y) for X, y in parts], checkpoint=path)


def test_that_cannot_be_written_ends_no_fit(parts, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    monkeypatch.setattr(checkpoint, "write_npz", full)
    with pytest.warns(RuntimeWarning, match="cannot be written, and the fit goes on: .*No space"):
        result = fit(parts, checkpoint=tmp_path / "kept.npz")
    assert result.moments == fit(parts).moments


def same(result, other):
    return np.asarray(result.coef).tobytes() == np.asarray(other.coef).tobytes()


def ended(*args):
    """A process of tests/ended_fit.py."""
    argv = [sys.executable, "-W", "error", ended_fit.__file__, *map(str, args)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def n_kept(path):
    with np.load(path) as kept:
        return int(kept["n_done"])


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
class TestEndedProcesses:
    def test_killed_goes_on_to_the_same_bits(self, tmp_path):
        process = ended(tmp_path, "batches", 20)
        assert process.communicate(timeout=60) == ("", "")
        assert process.returncode == -signal.SIGKILL
        # The batch before may be at work as the next is asked for.
        assert n_kept(tmp_path / "kept.npz") in (19, 20)
        parts = ended_fit.cut(1000)
        again = fit(parts, checkpoint=tmp_path / "kept.npz", backend="numpy")
        assert again.moments == fit(parts, backend="numpy").moments
        assert os.listdir(tmp_path) == []

    @pytest.mark.slow
    def test_killed_at_ten_random_moments(self, tmp_path, monkeypatch):
        n, path, n_done = 400_000, tmp_path / "kept.npz", [0]
        for pause in np.random.default_rng().uniform(0.01, 0.4, 10):
            process = ended(tmp_path, "slices", n)
            assert process.stdout.readline() == "begins\n"
            time.sleep(pause)
            process.kill()
            assert process.communicate(timeout=60) == ("", "")
            assert process.returncode == -signal.SIGKILL
            n_done.append(n_kept(path) if path.exists() else 0)
        assert n_done == sorted(n_done)
        assert n_done[-1] > 0
        monkeypatch.setattr(batches, "SLICE", ended_fit.SLICE)
        X, y = ended_fit.arrays(n)
        again = fit(X, y, checkpoint=path, backend="numpy")
        assert os.listdir(tmp_path) == []
        unbroken = fit(X, y, checkpoint=path, backend="numpy")
        assert again.moments == unbroken.moments
        assert same(again, unbroken)

    def test_a_full_disk_ends_no_fit(self, tmp_path):
        out, err = ended(tmp_path, "full", 0).communicate(timeout=60)
        assert err == ""
        warned, found, left = map(ast.literal_eval, out.splitlines())
        assert len(warned) == 1
        assert warned[0].startswith("RuntimeWarning: the checkpoint cannot be written, and the fit")
        result = fit(ended_fit.cut(1000), backend="numpy")
        assert found == [float(value).hex() for value in (*result.coef, result.intercept)]
        assert left == []
