"""Problems whose answers are known: every method is tried on all of them."""

from __future__ import annotations

import numpy as np


def bowl(condition, n=120, d=6):
    """X'X has a geometric spectrum of this condition number."""
    rng = np.random.default_rng(11)
    left, _ = np.linalg.qr(rng.standard_normal((n, d)))
    right, _ = np.linalg.qr(rng.standard_normal((d, d)))
    X = np.sqrt(n) * (left * np.geomspace(1.0, condition**-0.5, d)) @ right.T
    return X, X @ np.arange(1.0, d + 1) + 2.0 + 0.1 * rng.standard_normal(n)


def collinear():
    X, y = bowl(10.0)
    return np.column_stack([X, X[:, 0] - 2 * X[:, 1]]), y


def constant_column():
    X, y = bowl(10.0)
    return np.column_stack([X, np.full(len(X), 3.0)]), y


def fewer_rows_than_columns():
    rng = np.random.default_rng(12)
    return rng.standard_normal((8, 20)), rng.standard_normal(8)


def constant_target():
    X, y = bowl(10.0)
    return X, np.full_like(y, 4.0)


def perfect_fit():
    X, _ = bowl(10.0)
    return X, X @ np.ones(X.shape[1]) - 1.0


PROBLEMS = {
    **{f"condition-{c:g}": (lambda c=c: bowl(c)) for c in (1.0, 10.0, 1e4, 1e6)},
    "collinear": collinear,
    "constant-column": constant_column,
    "fewer-rows-than-columns": fewer_rows_than_columns,
    "constant-target": constant_target,
    "perfect-fit": perfect_fit,
}
