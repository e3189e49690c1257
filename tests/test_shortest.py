"""Collinear columns of data that are streamed: named, and the shortest answer."""

import numpy as np
import pytest

from fastgd import CollinearityWarning, fit

N, D = 4000, 12


def collinear(rng, dtype="f8"):
    X = rng.standard_normal((N, D)) * np.logspace(-2, 2, D)
    X[:, 3] = X[:, 0] / 2 - X[:, 1]
    X[:, 7] = 2 * X[:, 9]
    X = X.astype(dtype)
    return X, (X / X.std(axis=0)).sum(axis=1) + rng.standard_normal(N).astype(dtype)


def shortest(X, y, fit_intercept=True):
    """In columns of equal length."""
    size = X.std(axis=0) if fit_intercept else np.sqrt((X**2).mean(axis=0))
    centred = (X - X.mean(axis=0) * fit_intercept) / size
    right = np.linalg.lstsq(centred, y - y.mean(axis=0) * fit_intercept, rcond=1e-6)[0]
    return (right.T / size).T


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("n_targets", [None, 2])
def test_names_the_columns_and_returns_the_shortest(fit_intercept, dtype, n_targets, backend, rng):
    X, y = collinear(rng, dtype)
    y = y if n_targets is None else np.column_stack([y, -y + X[:, 4]])
    with pytest.warns(CollinearityWarning) as told:
        result = fit(X, y, strategy="stream", fit_intercept=fit_intercept, backend=backend)
    names = "X[:, 0], X[:, 1], X[:, 3], X[:, 7], X[:, 9]: they are sums"
    assert names in str(told[0].message)
    assert told[0].filename == __file__
    assert result.converged
    assert result.moments is None
    right = shortest(X.astype("f8"), y.astype("f8"), fit_intercept)
    size = np.median(np.abs(right.T * X.std(axis=0)))
    assert ((result.coef - right).T * X.std(axis=0)) == pytest.approx(0, abs=1e-4 * size)
    assert result.condition_number == np.inf


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("target", ["zero", "uncorrelated"])
def test_where_all_coefficients_are_0(target, fit_intercept, backend, rng):
    X, y = collinear(rng)
    others = np.column_stack([X[:, :3], X[:, 4:7], X[:, 8:], np.ones(N)])
    basis = np.linalg.qr(others)[0]
    y = np.zeros(N) if target == "zero" else y - basis @ (basis.T @ y)
    with pytest.warns(CollinearityWarning, match=r"X\[:, 1\], X\[:, 3\], X\[:, 7\], "):
        result = fit(X, y, strategy="stream", fit_intercept=fit_intercept, backend=backend)
    assert result.coef * X.std(axis=0) == pytest.approx(np.zeros(D), abs=1e-8)


def test_of_batches_by_their_names(rng):
    pandas = pytest.importorskip("pandas")
    X, y = collinear(rng)
    table = pandas.DataFrame(X, columns=list("abcdefghijkl"))
    batches = [(table[i : i + 1000], y[i : i + 1000]) for i in range(0, N, 1000)]
    with pytest.warns(CollinearityWarning, match="of 'a', 'b', 'd', 'h', 'j': they are sums"):
        result = fit(batches, strategy="stream")
    assert result.coef == pytest.approx(shortest(X, y), rel=1e-5, abs=1e-5)


def test_a_penalty_determines_them(rng):
    X, y = collinear(rng)
    assert fit(X, y, alpha=0.1, strategy="stream").converged


def test_not_where_rows_beyond_the_sample_tell_the_columns_apart(rng):
    X = rng.standard_normal((20_000, 5))
    X[:, 3] = X[:, 0]
    X[16, 3] += 1.0
    y = X.sum(axis=1)
    result = fit(X, y, strategy="stream", max_iter=200)
    assert result.condition_number == np.inf  # of the sample, which has not that row
    assert result.coef == pytest.approx(np.ones(5), rel=1e-3)


def test_ordinary_data_cost_no_further_read(rng):
    X = rng.standard_normal((N, D)) * np.logspace(-6, 6, D)
    X[:, 5] += X[:, 6] * 100  # condition number some 1e3
    result = fit(X, X.sum(axis=1), strategy="stream")
    assert result.condition_number > 100
    assert result.strategy.startswith(f"stream: {result.n_iter + 2} reads")
