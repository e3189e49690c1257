"""Which kernel reads which array, and in which groups of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fastgd._problem import Problem
from fastgd.backends.numba import _kernels

MOST_TILE_COLUMNS = 16
LEAST_SHORT_ROW, MOST_SHORT_ROW = 7, 64
MOST_IN_TURN_BYTES = 3071

# Groups of rows are what threads share and what an interrupt waits for. Their number is a
# function of the shape and the dtype alone, so that the order of all sums is, too.
MOST_GROUPS = 64
GROUP_BYTES = 1 << 20
# Runs of each of many columns are no shorter, but for what leaves so many groups to share.
LEAST_COLUMN_RUN, LEAST_GROUPS = 4096, 4
GROUP_ROWS = 64  # whole vectors and blocks in every group but the last


class Choice(NamedTuple):
    """A kernel, and whether its type fixes the number of features."""

    kernel: Callable[..., None]
    fixed_features: bool


def choose_kernel(problem: Problem) -> Choice:
    """The fastest kernel for the layout and the number of features, as measured.

    One thread, float32, 256 KB and 410 MB: see ``python -m bench.bandwidth``. Tiles of rows take
    the least work of up to 6 features (double, 7: 0.70 of the limit in tiles, 0.94 by rows; 5: 0.89
    and 0.66); then transposing them costs more than adding up each row by itself. That, with the
    number of features fixed and the rows that follow fetched ahead, reaches about 0.9 of the limit
    up to 48 features and 0.75 (double) to 0.94 (single) at 64, where reading abreast or in turn
    reached 0.6 to 0.75; at 100 it is slower than they are (0.52 and 0.65, double).

    Longer rows are read one after the other, since hardware prefetch follows one run of lines
    where it loses track of several in one page; rows near a page are followed abreast again.
    Prefetch in software gains nothing that lasts there: a block ahead, 512 to 2048 bytes ahead, or
    in one loop with the gradient of the block before, it took as much from some shapes (300 and
    5000 features: up to a third) as it gave others (1000 features, double: a fifth).

    Gaps between rows (slices) change nothing, so that bits do not hang on them; rows of 100
    features with gaps would be a third faster abreast.
    """
    X, d = problem.X, problem.n_features
    if X.strides[0] == X.itemsize:
        if d <= MOST_TILE_COLUMNS:
            return Choice(_kernels.column_tiles, True)
        return Choice(_kernels.column_blocks, False)
    if d < LEAST_SHORT_ROW:
        return Choice(_kernels.row_tiles, True)
    if d <= MOST_SHORT_ROW:
        return Choice(_kernels.short_rows, True)
    if d * X.itemsize <= MOST_IN_TURN_BYTES:
        return Choice(_kernels.rows_by_four, False)
    return Choice(_kernels.rows_abreast, False)


def group_rows(problem: Problem) -> int:
    """Rows of each group but the last."""
    n, row_bytes = problem.n_samples, problem.n_features * problem.X.itemsize
    n_groups = min(MOST_GROUPS, max(1, n * row_bytes // GROUP_BYTES))
    rows = -(-n // n_groups)
    return _whole_blocks(rows)


def pass_rows(problem: Problem) -> int:
    """Rows of each group of a fused pass but the last: `group_rows`, or more of many columns.

    5000 columns (410 MB) in groups of 320 rows were read at 0.32 of the limit (two threads: 0.22),
    and at 0.53 (0.46) in groups of 4096.
    """
    n, X = problem.n_samples, problem.X
    rows = group_rows(problem)
    if X.strides[0] == X.itemsize and problem.n_features > MOST_TILE_COLUMNS:
        rows = max(rows, _whole_blocks(min(LEAST_COLUMN_RUN, -(-n // LEAST_GROUPS))))
    return rows


def _whole_blocks(rows: int) -> int:
    return -(-rows // GROUP_ROWS) * GROUP_ROWS
