"""A read that was ended goes on from its checkpoint, to the same bits."""

import os

import numpy as np
import pytest

from fastgd import _checkpoint, fit


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
    monkeypatch.setattr(_checkpoint, "INTERVAL", interval)
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

    monkeypatch.setattr(_checkpoint, "INTERVAL", 0.0)
    monkeypatch.setattr(_checkpoint, "write_npz", full)
    with pytest.warns(RuntimeWarning, match="cannot be written, and the fit goes on: .*No space"):
        result = fit(parts, checkpoint=tmp_path / "kept.npz")
    assert result.moments == fit(parts).moments
