"""warmup(): afterwards, nothing is left to compile."""

import numpy as np
import pytest

from fastgd import fit, mse_and_gradient, warmup
from fastgd.backends.numba import _choice, _compile


@pytest.fixture
def no_more(monkeypatch):
    """Nothing is compiled or loaded yet; once it is called, to do so is an error."""
    monkeypatch.setattr(_compile, "_entries", {})

    def refuse(*_):
        raise AssertionError("compiled after all")

    return lambda: monkeypatch.setattr(_compile, "_compile", refuse)


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::fastgd.CollinearityWarning")
@pytest.mark.parametrize(
    ("dtype", "order", "weighted", "precision"),
    [
        ("float32", "F", True, "double"),
        ("float32", "C", False, "single"),
        ("float64", "C", True, "double"),
        ("float64", "F", False, "double"),
    ],
)
def test_leaves_nothing_to_compile(no_more, dtype, order, weighted, precision):
    warmup(3, dtype=dtype, order=order, sample_weight=weighted, precision=precision)
    no_more()
    X = np.array([[1, 2, 0], [3, 4, 1], [5, 7, 0], [8, 8, 1]], dtype, order=order)
    y = X.sum(axis=1)
    weight = np.ones(4, dtype) if weighted else None
    options = {"sample_weight": weight, "precision": precision}
    for prediction in (None, np.empty_like(y)):
        mse_and_gradient(X, y, np.zeros(3), prediction=prediction, **options)
    for strategy in ("auto", "stream", "moments"):
        fit(X, y, strategy=strategy, tol=1e-3, **options)
        fit(X, y, strategy=strategy, learning_rate=0.01, tol=0.9, max_iter=5, **options)
    if order == "C":
        half = None if weight is None else weight[::2].copy()
        fit(X[::2], y[::2], tol=1e-3, precision=precision, sample_weight=half)


# 8 divides all limits of what counts as in cache, and the others do not.
@pytest.mark.parametrize(("d", "order"), [(8, "C"), (9, "C"), (40, "C"), (130, "C"), (25, "F")])
def test_is_for_data_of_any_size_and_with_gaps(no_more, d, order):
    warmup(d, order=order)
    no_more()
    limits = {_choice.NEAR_BYTES, _choice.CACHED_BYTES}
    sizes = {10, *(limit // (4 * d) + more for limit in limits for more in (0, 1))} - {0}
    for n in sizes:
        X, y = np.ones((2 * n, d), "f4", order), np.ones(n, "f4")
        mse_and_gradient(X[:n], y, np.zeros(d))
        if order == "C":
            mse_and_gradient(X[::2], y, np.zeros(d))


def test_of_one_feature_serves_one_dimension(no_more):
    x = np.arange(50, dtype="f4")
    warmup(1)
    no_more()
    fit(x, 2 * x, tol=1e-3)
    mse_and_gradient(x, 2 * x, 0.5)


def test_without_arguments_is_quick_the_second_time():
    warmup()
    before = len(_compile._entries)
    warmup()
    assert len(_compile._entries) == before


def test_is_silent(capsys):
    warmup(3, dtype=np.float64)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"n_features": 0}, ValueError, "n_features must be an integer of at least 1"),
        ({"n_features": -1}, ValueError, "n_features must be an integer of at least 1"),
        ({"n_features": "3"}, TypeError, "n_features must be an integer"),
        ({"n_features": True}, TypeError, "n_features must be an integer"),
        ({"n_features": 2.0}, TypeError, "n_features must be an integer"),
        ({"dtype": "float16"}, ValueError, "dtype must be float32 or float64; got float16"),
        ({"dtype": int}, ValueError, "dtype must be float32 or float64; got int64"),
        ({"dtype": "decimal"}, TypeError, "decimal"),
        ({"order": "A"}, ValueError, "order must be one of 'C', 'F'"),
        ({"order": None}, ValueError, "order must be one of 'C', 'F'"),
        ({"precision": None}, ValueError, "precision must be one of 'double', 'single'"),
        ({"sample_weight": [1.0]}, TypeError, "sample_weight must be True or False"),
        ({"precision": "half"}, ValueError, "precision must be one of 'double', 'single'"),
    ],
)
def test_refuses_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        warmup(**arguments)
