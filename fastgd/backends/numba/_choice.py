"""Which kernel reads which array, and in which groups of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fastgd._problem import Problem
from fastgd.backends.numba import _kernels

MOST_TILE_COLUMNS = 16
LEAST_SHORT_ROW, MOST_SHORT_ROW = 8, 16
IN_TURN_BYTES = range(192, 3072)

# Groups of rows are what threads share and what an interrupt waits for. Their number is a
# function of the shape and the dtype alone, so that the order of all sums is, too.
MOST_GROUPS = 64
GROUP_BYTES = 1 << 20
GROUP_ROWS = 64  # whole vectors and blocks in every group but the last


class Choice(NamedTuple):
    """A kernel, and whether its type fixes the number of features."""

    kernel: Callable[..., None]
    fixed_features: bool


def choose_kernel(problem: Problem) -> Choice:
    """The fastest kernel for the layout and the number of features, as measured.

    One thread, float32, 256 KB and 410 MB: see ``python -m bench.bandwidth``. Tiles of rows take
    the least work of up to 7 features; then transposing them costs more than adding up each row
    by itself, while coefficients and gradient fit the registers. Rows of a few lines are best read
    abreast: a line from each. Longer rows are read one after the other, since hardware prefetch
    follows one run of lines where it loses track of several in one page; rows near a page are
    followed abreast again.

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
    if d * X.itemsize in IN_TURN_BYTES:
        return Choice(_kernels.rows_by_four, False)
    return Choice(_kernels.rows_abreast, False)


def group_rows(problem: Problem) -> int:
    """Rows of each group but the last."""
    n, row_bytes = problem.n_samples, problem.n_features * problem.X.itemsize
    n_groups = min(MOST_GROUPS, max(1, n * row_bytes // GROUP_BYTES))
    rows = -(-n // n_groups)
    return -(-rows // GROUP_ROWS) * GROUP_ROWS
