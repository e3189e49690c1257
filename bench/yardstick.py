"""The streaming limit: how fast this machine can read an array at all."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fastgd._threads import Team

GROUPS = 64


@njit(nogil=True, fastmath={"reassoc"})
def fastest_sum(x):
    """The sum of `x`, of whose quarters four streams are read at once."""
    n = x.shape[0] // 4
    first, second, third, fourth = x[:n], x[n : 2 * n], x[2 * n : 3 * n], x[3 * n : 4 * n]
    a = b = c = d = x.dtype.type(0)
    for i in range(n):
        a += first[i]
        b += second[i]
        c += third[i]
        d += fourth[i]
    for i in range(4 * n, x.shape[0]):
        a += x[i]
    return (a + b) + (c + d)


@njit(nogil=True, fastmath={"reassoc"})
def fastest_row_sum(x):
    """The sum of `x` of contiguous rows with gaps between them, read as four streams."""
    n = x.shape[0] // 4
    total = x.dtype.type(0)
    for i in range(n):
        for j in range(x.shape[1]):
            total += (x[i, j] + x[n + i, j]) + (x[2 * n + i, j] + x[3 * n + i, j])
    for i in range(4 * n, x.shape[0]):
        for j in range(x.shape[1]):
            total += x[i, j]
    return total


@njit(nogil=True, fastmath={"reassoc", "contract"})
def product_sums(x, first, second):
    """Two products of every value, summed in float64: the least work of a pass in double precision.

    A pass multiplies each value by its coefficient, and by its row's residual.
    """
    n = x.shape[0] // 4
    quarters = x[:n], x[n : 2 * n], x[2 * n : 3 * n], x[3 * n : 4 * n]
    a = b = c = d = e = f = g = h = 0.0
    for i in range(n):
        p, q = np.float64(quarters[0][i]), np.float64(quarters[1][i])
        r, s = np.float64(quarters[2][i]), np.float64(quarters[3][i])
        a += p * first
        b += q * first
        c += r * first
        d += s * first
        e += p * second
        f += q * second
        g += r * second
        h += s * second
    for i in range(4 * n, x.shape[0]):
        a += x[i] * first
        e += x[i] * second
    return (a + b) + (c + d), (e + f) + (g + h)


@njit(nogil=True, fastmath={"reassoc"})
def block_sum(columns, start, stop, rows):
    """The sum of rows `start` to `stop` of contiguous columns, so many rows of each in turn."""
    total = columns.dtype.type(0)
    d = columns.shape[0]
    for first in range(start, stop, rows):
        last = min(first + rows, stop)
        for j in range(0, d - 3, 4):
            a, b = columns[j, first:last], columns[j + 1, first:last]
            c, e = columns[j + 2, first:last], columns[j + 3, first:last]
            for i in range(a.shape[0]):
                total += (a[i] + b[i]) + (c[i] + e[i])
        for j in range(d // 4 * 4, d):
            a = columns[j, first:last]
            for i in range(a.shape[0]):
                total += a[i]
    return total


def block_readers(X: NDArray[np.floating], n_threads: int) -> dict[str, Callable[[], float]]:
    """Functions that sum contiguous columns in blocks of rows, which the second cache holds.

    So must every algorithm read many columns that reads them once: it needs all features of a row
    before it can go on. By blocks of 128 KB to 1 MB, or of 64 rows where these are more: which is
    the fastest depends on the number of columns.
    """
    columns, n = X.T, len(X)
    bounds = np.linspace(0, n, GROUPS + 1).astype(np.int64)
    sums = np.zeros(GROUPS)

    def read(rows: int) -> float:
        def add(group: int) -> None:
            sums[group] = block_sum(columns, bounds[group], bounds[group + 1], rows)

        team = Team(n_threads)
        try:
            team.run(add, GROUPS)
        finally:
            team.close()
        return float(sums.sum())

    sizes = {max(64, (kb << 10) // X[0].nbytes) for kb in (128, 256, 512, 1024)}
    return {f"blocks of {rows} rows": lambda rows=rows: read(rows) for rows in sizes}


def reader(array: NDArray[np.floating], n_threads: int) -> Callable[[], float]:
    """A function that sums `array` in groups shared by `n_threads`.

    It is contiguous and 1-D, or of contiguous rows.

    A sum in vectors does the least that a reader of every byte can do. Four streams at once are the
    fastest form found: of 410 MB, one thread reads 20 GB/s so, 16 in one stream and 14 in NumPy's
    ``x @ x``; fetching ahead in software, eight streams, and larger or fewer groups are no faster.
    In cache one stream and four are level.
    """
    total = fastest_sum if array.ndim == 1 else fastest_row_sum
    if array.nbytes < (4 << 20):
        return lambda: float(total(array))
    bounds = np.linspace(0, len(array), GROUPS + 1).astype(np.int64)
    parts = [array[start:stop] for start, stop in pairwise(bounds)]
    sums = np.zeros(GROUPS)

    def read() -> float:
        team = Team(n_threads)
        try:
            team.run(lambda group: sums.__setitem__(group, total(parts[group])), GROUPS)
        finally:
            team.close()
        return float(sums.sum())

    return read
