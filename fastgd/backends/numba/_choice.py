"""Which kernel reads which array, and in which groups of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fastgd._problem import Problem
from fastgd.backends.numba import _kernels

VECTOR_BYTES = 64
MOST_TILE_FEATURES = 16

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

    One thread, float32, 400 MB, as a part of the streaming limit: see ``python -m
    bench.bandwidth``. Rows of a vector or two are best read abreast: a line from each. Longer
    rows are read one after the other, since hardware prefetch follows one run of lines where it
    loses track of several in one page; four rows share a read of the gradient while they stay in
    the first cache, then two. Rows of several pages are followed abreast again; so are rows with
    gaps between them, which end a run of lines each.
    """
    X, d = problem.X, problem.n_features
    columns = X.strides[0] == X.itemsize
    rows_in_tile = VECTOR_BYTES // X.itemsize
    if columns:
        if d <= MOST_TILE_FEATURES:
            return Choice(_kernels.column_tiles, True)
        return Choice(_kernels.column_blocks, False)
    if d <= 8 or d < rows_in_tile:
        return Choice(_kernels.row_tiles, True)
    row_bytes = d * X.itemsize
    gaps = X.strides[0] > row_bytes
    if row_bytes < 192 or row_bytes >= (1024 if gaps else 6144):
        return Choice(_kernels.rows_abreast, False)
    return Choice(_kernels.rows_by_four if row_bytes < 512 else _kernels.rows_by_two, False)


def group_rows(problem: Problem) -> int:
    """Rows of each group but the last."""
    n, row_bytes = problem.n_samples, problem.n_features * problem.X.itemsize
    n_groups = min(MOST_GROUPS, max(1, n * row_bytes // GROUP_BYTES))
    rows = -(-n // n_groups)
    return -(-rows // GROUP_ROWS) * GROUP_ROWS
