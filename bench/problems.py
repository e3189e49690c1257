"""The problems of ``python -m bench.solve``, and the float64 oracle that judges answers to them."""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

UNEXPLAINED = 5e-6  # 1 - R^2
BLOCK_BYTES = 32 << 20  # of float64 rows that are held at a time
REFINEMENTS = 2


class Row(NamedTuple):
    """One row of the benchmark: a shape, and the condition number of X'X."""

    n: int
    d: int
    condition: float

    def __str__(self) -> str:
        return f"{self.n}x{self.d}@{self.condition:g}"

    @property
    def x_bytes(self) -> int:
        return 4 * self.n * self.d


SHAPES = ((2_000_000, 16), (1_000_000, 100), (200_000, 1_000), (20_000, 5_000))
ROWS = [Row(n, d, condition) for n, d in SHAPES for condition in (10.0, 1e4)]
ROWS.append(Row(1_000, 10, 10.0))
QUICK_ROWS = [Row(20_000, 16, 10.0), Row(20_000, 16, 1e4), Row(5_000, 100, 1e4), ROWS[-1]]


class Oracle(NamedTuple):
    """The exact answer; the excess of any other is a quadratic form about it.

    So it keeps all its digits, where the difference of two losses would lose them.
    """

    coef: Floats
    intercept: float
    least: float  # the mean squared error at the minimum
    mean: Floats
    n: int
    scatter: Path  # float64, (d, d): sum of outer(x - mean, x - mean)

    def excess(self, coef: Floats, intercept: float) -> float:
        """How far the loss is above its minimum, as a part of the minimum.

        The matrix is read by rows: the process whose memory is measured does not grow by it.
        """
        away = np.asarray(coef, np.float64) - self.coef
        shift = intercept - self.intercept + float(self.mean @ away)
        total, d = 0.0, len(away)
        with self.scatter.open("rb") as file:
            for i in range(d):
                total += float(away[i] * (np.fromfile(file, np.float64, d) @ away))
        return (total / self.n + shift**2) / self.least

    def save(self, path: Path) -> None:
        arrays = self._asdict()
        np.savez(path, **arrays | {"scatter": np.array(str(self.scatter))})

    @classmethod
    def load(cls, path: Path) -> Oracle:
        with np.load(path) as file:
            coef, mean = file["coef"], file["mean"]
            intercept, least = float(file["intercept"]), float(file["least"])
            return cls(coef, intercept, least, mean, int(file["n"]), Path(str(file["scatter"])))


def make_data(row: Row) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Columns of mean 0 whose X'X has a geometric spectrum, before sampling; and y, R^2 near 1.

    The eigenvectors are a Kronecker product of two random rotations: as dense as one random
    rotation, and quickly applied.
    """
    n, d, condition = row
    rng = np.random.default_rng(1)
    a = next(k for k in range(isqrt(d), 0, -1) if d % k == 0)
    left, right = (np.linalg.qr(rng.standard_normal((k, k)))[0] for k in (a, d // a))
    scale = np.geomspace(1, condition**-0.5, d).astype(np.float32)
    left, right = left.astype(np.float32), right.astype(np.float32)
    w = rng.standard_normal(d, dtype=np.float32)
    X = np.empty((n, d), np.float32)
    for block in blocks(n, d):
        part = X[block]
        rng.standard_normal(out=part, dtype=np.float32)
        part *= scale
        rows = len(part)
        turned = (part.reshape(-1, d // a) @ right).reshape(rows, a, d // a)
        part[:] = np.einsum("kij,il->klj", turned, left, optimize=True).reshape(rows, d)
    y = X @ w
    y += np.float32(np.sqrt(UNEXPLAINED) * y.std(dtype=np.float64)) * rng.standard_normal(
        n, dtype=np.float32
    )
    return X, y


def solve_exactly(X: NDArray[np.float32], y: NDArray[np.float32], scatter: Path) -> Oracle:
    """Centred normal equations in float64, refined by residuals taken from the data."""
    n, d = X.shape
    mean = np.mean(X, axis=0, dtype=np.float64)
    y_mean = float(np.mean(y, dtype=np.float64))
    S = np.zeros((d, d))
    for block in blocks(n, d):
        part = X[block] - mean
        S += part.T @ part
    coef, least = np.zeros(d), 0.0
    for refinement in range(REFINEMENTS + 1):
        gradient, least = np.zeros(d), 0.0
        for block in blocks(n, d):
            part = X[block] - mean
            r = y[block].astype(np.float64) - y_mean - part @ coef  # or float32 would stay
            gradient += r @ part
            least += float(r @ r)
        if refinement < REFINEMENTS:
            coef += np.linalg.solve(S, gradient)
    S.tofile(scatter)
    return Oracle(coef, y_mean - float(mean @ coef), least / n, mean, n, scatter)


def blocks(n: int, d: int) -> Iterator[slice]:
    """Runs of rows that take at most `BLOCK_BYTES` as float64."""
    step = max(1, BLOCK_BYTES // (8 * d))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def write(row: Row, folder: Path) -> None:
    """Put the row's data and its oracle into a folder."""
    X, y = make_data(row)
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y)
    solve_exactly(X, y, folder / "scatter").save(folder / "oracle.npz")


def read(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.float32], Oracle]:
    """What `write` wrote, in memory."""
    oracle = Oracle.load(folder / "oracle.npz")
    return np.load(folder / "X.npy"), np.load(folder / "y.npy"), oracle
