"""The moments pass: second moments of X and y in one read, as sums over groups of rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd._data.arrays import Floats, aligned_empty
from fastgd._data.problem import Problem
from fastgd._threads import Team, ordered_sum
from fastgd.backends import RawMoments
from fastgd.backends.numba._choice import group_rows
from fastgd.backends.numba._compile import compiled
from fastgd.backends.numba._moments import gram, pack
from fastgd.backends.numba._moments.centre import about_mean
from fastgd.backends.numba._moments.gram import PACKED_ROWS
from fastgd.backends.numba._moments.kernels import FEW_KERNELS, KERNELS, TILES
from fastgd.backends.numba._signatures import moments_signature
from fastgd.backends.numba._vectors import emit
from fastgd.backends.numba._vectors.assemble import Kernel

# Rows of a chunk: a band and a panel of its columns stay in the second cache (see `gram.py`). A
# chunk of thousands of columns is kept shorter, for those of all threads to stay in the last.
CHUNK_ROWS = 192
CHUNK_BYTES = 4 << 20
# Groups of many columns are kept long: as many numbers as there are products are added for each.
# (8,000 rows of 5,000 columns took 2.0 times as long in groups of 256 rows, 2,000 columns in groups
# of 500 rows 1.25 times.) They are read in calls of a tenth of a second or so, and of one chunk
# where that takes longer (96 rows of 10,000 columns: 0.4 s), for an interrupt waits for one.
FEW_COLUMNS = 64
LEAST_GROUP_ROWS, MOST_GROUP_ROWS = 2048, 4096
CALL_PRODUCTS = 2_000_000_000
# Sums of groups that are kept at once, and the chunks beside them: of many columns, few.
WAITING_BYTES = 48 << 20
# Those that need room for a chunk.
PACKING = frozenset(KERNELS.values())
# Below this a pass stays in the caller's thread: a millisecond or two, of which to start threads
# takes a third of one (16 features: 1.4 times as long for half of this, with two threads).
THREADING_PRODUCTS = 40_000_000


def read_moments(problem: Problem, n_threads: int | None, precision: str) -> RawMoments:
    """The moments of `problem`, from one read; from two where the first found a bad pivot."""
    y = problem.y.reshape(problem.n_samples, -1)
    pivot = typical_row(problem.X, y)
    with np.errstate(over="ignore", invalid="ignore"):
        raw, far = _read_about(problem, y, pivot, n_threads, precision)
        if far and np.isfinite(raw.mean).all():
            raw, _ = _read_about(problem, y, raw.mean, n_threads, precision)
    return raw


def _read_about(
    problem: Problem, y: Floats, pivot: NDArray[np.float64], n_threads: int | None, precision: str
) -> tuple[RawMoments, bool]:
    """Sums about `pivot`, group by group of rows, added in the order of the groups.

    And whether a pivot turned out to be far from the mean.
    """
    X, weight = problem.X, problem.sample_weight
    n, d = X.shape
    n_columns = d + y.shape[1]
    dtype = X.dtype if precision == "single" else np.dtype(np.float64)
    kernel, fixed_X, fixed_y = choose_kernel(X, y, dtype)
    key = (X.dtype, y.dtype, weight is not None, dtype, len(fixed_X), len(fixed_y))
    add_rows = compiled(kernel, key, moments_signature)

    length = moments_rows(problem, n_columns, LEAST_GROUP_ROWS)
    n_groups = -(-n // length)
    rows, panel, step = 0, 0, 0
    if kernel in PACKING:
        rows = chunk_rows(n_columns + 1, dtype.itemsize, min(CHUNK_ROWS, length))
        row_bytes = max(X.strides[0], d * X.itemsize)  # gaps and all
        panel, step = gram.plan_products(n_columns + 1, rows, dtype.itemsize, row_bytes)

    def add_group(group: int) -> NDArray[np.float64]:
        out = np.zeros((n_columns + 1, n_columns + 1))
        if rows:
            scratch = new_scratch(n_columns + 1, rows, dtype)
            scratch[-1] = 1.0
        else:
            scratch = np.empty((0, 0), dtype)
        for first, stop in calls(group * length, min((group + 1) * length, n), n_columns, rows):
            if team.is_interrupted:
                break
            add_rows(X, y, weight, pivot, fixed_X, fixed_y, scratch, out, first, stop, panel, step)
        return out

    with_scratch = (n_columns + 1) * (8 * (n_columns + 1) + dtype.itemsize * rows)
    at_once = max(2, WAITING_BYTES // with_scratch)
    threaded = n_groups > 1 and n * (n_columns + 1) ** 2 >= THREADING_PRODUCTS
    with closing(Team(n_threads if threaded else 1)) as team:
        sums = ordered_sum(add_group, n_groups, team, at_once)
    weights = float(n) if weight is None else float(sums[n_columns, n_columns])
    return about_mean(sums, pivot, weights)


def choose_kernel(
    X: Floats, y: Floats, dtype: np.dtype[Any]
) -> tuple[Kernel, tuple[float, ...], tuple[float, ...]]:
    """A kernel, and tuples whose lengths fix the numbers of columns where those count.

    All but `KERNELS` sum in float64 alone. Of very few features that is as fast as any, and with
    AVX-512 of some, too: packed for sums in float32, rows of 5 to 20 features took 1.1 to 1.6 times
    as long, columns of 5 to 16 features 1.05 to 2 times. Else some are packed for other sums.
    """
    layout_X, fixed_X = choose_pack(X)
    layout_y, fixed_y = choose_pack(y)
    d = X.shape[1]
    if y.shape[1] == 1 and layout_y == "columns":
        by_columns = layout_X == "columns"
        few, some = ("columns", "some_columns") if by_columns else ("few", "rows")
        if d <= TILES[few].most_features:
            return FEW_KERNELS[few], (0.0,) * d, fixed_y
        in_float64 = dtype == np.float64 or emit.REGISTER_BYTES == 64
        if d <= TILES[some].most_features and in_float64:
            return FEW_KERNELS[some], (0.0,) * d, fixed_y
    return KERNELS[layout_X, layout_y], fixed_X, fixed_y


def chunk_rows(n_columns: int, itemsize: int, most: int) -> int:
    """Rows of a chunk of so many columns."""
    fitting = CHUNK_BYTES // (n_columns * itemsize) // PACKED_ROWS * PACKED_ROWS
    return max(2 * PACKED_ROWS, min(most, fitting))


def new_scratch(n_columns: int, length: int, dtype: np.dtype[Any]) -> Floats:
    """Room for columns that begin where lines of the cache do; zeros would fill the nearest one."""
    room = aligned_empty(-(-n_columns * length * dtype.itemsize // 8)).view(dtype)
    return room[: n_columns * length].reshape(n_columns, length)


def moments_rows(problem: Problem, n_columns: int, least: int) -> int:
    """Rows of each group but the last."""
    length = group_rows(problem)
    if n_columns > FEW_COLUMNS:
        swift = CALL_PRODUCTS // n_columns**2
        length = max(least, min(max(length, MOST_GROUP_ROWS), swift))
    return length


def calls(start: int, stop: int, n_columns: int, chunk: int) -> Iterator[tuple[int, int]]:
    """The rows of a group in runs, each for a call; of whole chunks, where those have a length."""
    length = CALL_PRODUCTS // n_columns**2
    if chunk:
        length = max(length // chunk, 1) * chunk
    for first in range(start, stop, length):
        yield first, min(first + length, stop)


def choose_pack(columns: Floats) -> tuple[str, tuple[float, ...]]:
    """How to read `columns`, and a tuple whose length fixes their number where that counts."""
    if columns.strides[0] == columns.itemsize:
        return "columns", (0.0,)
    if columns.shape[1] < pack.at_once(columns.itemsize):
        return "few", (0.0,) * columns.shape[1]
    return "rows", (0.0,)


def typical_row(*parts: Floats) -> NDArray[np.float64]:
    """The median of five rows of each column, of matrices side by side; or of all, up to six.

    Any pivot is right; one within some deviations of the mean keeps the sums free of cancellation,
    and a median is, even where two of the five are outliers.
    """
    step = (len(parts[0]) - 1) // 6
    rows = slice(step, 6 * step, step) if step else slice(None)
    sample = np.concatenate([part[rows] for part in parts], axis=1, dtype=np.float64)
    sample.sort(axis=0)
    # Copied: rows of columns side by side are not contiguous, and kernels read them so.
    typical: NDArray[np.float64] = sample[len(sample) // 2].copy()
    typical[~np.isfinite(typical)] = 0.0
    return typical
