"""The table of equivalents: every library's own way to the same least-squares fit.

An adapter is called with ``X, y`` (float32, C order) and returns coefficients and intercept. All
fit an intercept; where a library has no such option, X and y are centred as its users would.
What it does in a call is timed: checks and conversions, too. A new peer is one function and one
line in `PEERS`.

Solvers that take a tolerance have it tried from the loosest on, and are timed with the first one
that gives the accuracy asked for: the best that a user who tunes could get.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bench.frameworks import (
    jax_cg,
    jax_normal,
    torch_lbfgs,
    torch_lbfgs_compiled,
    torch_lstsq,
)
from bench.problems import blocks

Solution = tuple[Any, float]
Solve = Callable[..., Solution]

CG_STEPS = 2_000
TOLERANCES = tuple(10.0**-k for k in range(3, 10))


class Peer(NamedTuple):
    """A way to fit, and what it needs."""

    load: Callable[[], Solve]  # imports the library and returns the adapter
    requires: str = ""  # the module; pip knows it under `package`
    package: str = ""
    tolerances: tuple[float, ...] = ()


def fastgd_default() -> Solve:
    import fastgd

    def solve(X: Any, y: Any) -> Solution:
        result = fastgd.fit(X, y)
        return result.coef, result.intercept

    return solve


def one_read() -> Solve:
    """The floor: reads the data once and answers zeros."""
    from bench.yardstick import reader
    from fastgd._threads import available_threads

    n_threads = available_threads()  # looks into files: not to be timed

    def solve(X: Any, y: Any) -> Solution:
        reader(X.reshape(-1), n_threads)()
        return np.zeros(X.shape[1]), 0.0

    return solve


def numpy_lstsq() -> Solve:
    def solve(X: Any, y: Any) -> Solution:
        mean, y_mean = X.mean(axis=0), y.mean()
        coef = np.linalg.lstsq(X - mean, y - y_mean, rcond=None)[0]
        return coef, float(y_mean - mean @ coef)

    return solve


def numpy_normal_32() -> Solve:
    def solve(X: Any, y: Any) -> Solution:
        mean, y_mean = X.mean(axis=0), y.mean()
        A = X - mean
        coef = np.linalg.solve(A.T @ A, A.T @ (y - y_mean))
        return coef, float(y_mean - mean @ coef)

    return solve


def numpy_normal_64() -> Solve:
    """Blocks of rows: less memory than a float64 copy of X, and faster."""

    def solve(X: Any, y: Any) -> Solution:
        n, d = X.shape
        G, b = np.zeros((d + 1, d + 1)), np.zeros(d + 1)
        for block in blocks(n, d):
            part = np.ones((len(X[block]), d + 1))
            part[:, :d] = X[block]
            G += part.T @ part
            b += y[block] @ part
        coef = np.linalg.solve(G, b)
        return coef[:d], float(coef[d])

    return solve


def cg_by_hand() -> Solve:
    """Conjugate gradients on the centred normal equations: two float32 BLAS calls an iteration."""

    def solve(X: Any, y: Any, tol: float) -> Solution:
        n = len(y)
        mean, y_mean = X.mean(axis=0, dtype=np.float64), float(y.mean(dtype=np.float64))
        r = ((y - np.float32(y_mean)) @ X).astype(np.float64)
        p, coef, rr = r.copy(), np.zeros(X.shape[1]), float(r @ r)
        end = tol**2 * rr
        for _ in range(CG_STEPS):
            if rr <= end:
                break
            q = ((X @ p.astype(np.float32)) @ X) - n * float(mean @ p) * mean
            step = rr / float(p @ q)
            coef += step * p
            r -= step * q
            rr, before = float(r @ r), rr
            p = r + rr / before * p
        return coef, y_mean - float(mean @ coef)

    return solve


def _estimator(module: str, name: str, **options: Any) -> Callable[[], Solve]:
    """scikit-learn's interface."""

    def load() -> Solve:
        from importlib import import_module

        make = getattr(import_module(module), name)

        def solve(X: Any, y: Any, tol: float | None = None) -> Solution:
            tuned = options if tol is None else {**options, "tol": tol}
            model = make(**tuned).fit(X, y)
            return model.coef_, float(np.ravel(model.intercept_)[0])

        return solve

    return load


def _polars_ds(solver: Any) -> Callable[[], Solve]:
    def load() -> Solve:
        from polars_ds.linear_models import LR

        def solve(X: Any, y: Any) -> Solution:
            model = LR(has_bias=True, solver=solver).fit(X, y)
            return model.coeffs(), model.bias()

        return solve

    return load


def _sklearn(name: str, *tolerances: float, **options: Any) -> Peer:
    load = _estimator("sklearn.linear_model", name, **options)
    return Peer(load, "sklearn", "scikit-learn", tolerances)


def _ridge(solver: str, *tolerances: float, **options: Any) -> Peer:
    return _sklearn("Ridge", *tolerances, alpha=TINY, solver=solver, **options)


def _intelex(name: str, **options: Any) -> Peer:
    load = _estimator("sklearnex.linear_model", name, **options)
    return Peer(load, "sklearnex", "scikit-learn-intelex")


TINY = 1e-8  # a penalty that does not show; 0 takes other ways through some solvers

PEERS = {
    "one read": Peer(one_read),
    "fastgd": Peer(fastgd_default),
    "numpy lstsq": Peer(numpy_lstsq),
    "numpy normal float32": Peer(numpy_normal_32),
    "numpy normal float64": Peer(numpy_normal_64),
    "CG by hand": Peer(cg_by_hand, tolerances=TOLERANCES),
    "sklearn LinearRegression": _sklearn("LinearRegression"),
    "sklearn Ridge cholesky": _ridge("cholesky"),
    "sklearn Ridge lsqr": _ridge("lsqr", *TOLERANCES, max_iter=10_000),
    "sklearn Ridge sparse_cg": _ridge("sparse_cg", *TOLERANCES, max_iter=10_000),
    "sklearn Ridge sag": _ridge("sag", *TOLERANCES, max_iter=10_000),
    "sklearn SGDRegressor": _sklearn(
        "SGDRegressor", *TOLERANCES, alpha=0.0, penalty=None, max_iter=10_000, average=True
    ),
    "sklearnex LinearRegression": _intelex("LinearRegression"),
    "sklearnex Ridge": _intelex("Ridge", alpha=TINY),
    "polars-ds LR qr": Peer(_polars_ds("qr"), "polars_ds", "polars-ds"),
    "polars-ds LR cholesky": Peer(_polars_ds("cholesky"), "polars_ds", "polars-ds"),
    "torch lstsq": Peer(torch_lstsq, "torch", "torch"),
    "torch LBFGS": Peer(torch_lbfgs, "torch", "torch", TOLERANCES),
    "torch LBFGS compiled": Peer(torch_lbfgs_compiled, "torch", "torch", TOLERANCES),
    "jax normal float64": Peer(jax_normal, "jax", "jax"),
    "jax CG": Peer(jax_cg, "jax", "jax", TOLERANCES),
}

FLOOR = "one read"
OURS = "fastgd"
