"""Which kernel reads which array, and in which groups of rows."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np

from fastgd._data.problem import Problem
from fastgd.backends.numba._fused import columns, kernels, near_layout, sweeps, there_and_back
from fastgd.backends.numba._fused import rows as _rows
from fastgd.backends.numba._fused.row_forms import choose_form, choose_near_form
from fastgd.backends.numba._vectors import emit
from fastgd.backends.numba._vectors.assemble import Kernel

MOST_TILE_COLUMNS = 44 if emit.REGISTER_BYTES == 64 else 22
# Registers of AVX-512, which are long and many, make other kernels worth while, as measured there.
LEAST_FEWER_ABREAST, LEAST_SWEPT_BYTES = (
    (96, 1152) if emit.REGISTER_BYTES == 64 else (sys.maxsize, sys.maxsize)
)
# There and back, of columns: so few bytes of them that they lie in cache, and any number where rows
# are so long, and not converted.
LEAST_COLUMNS_IN_CACHE, CACHED_BYTES, LEAST_FETCHED_BYTES = (
    ({4: 24, 8: 32}, 8 << 20, 768)
    if emit.REGISTER_BYTES == 64
    else (dict.fromkeys((4, 8), sys.maxsize), 0, sys.maxsize)
)
LEAST_SHORT_ROW, MOST_SHORT_ROW = 7, 32
# As much as stays in some cache, and is read by one thread. There are kernels for that: by them, 7
# to 1000 features of float32, 4 MB, are 1.0 to 1.85 times as fast, but 32 in single precision 0.96
# times; of 8 MB, 0.91 to 1.9 times.
NEAR_BYTES = 4 << 20

# Groups of rows are what threads share. Their number is a function of the shape and the dtype
# alone, so that the order of all sums is, too.
MOST_GROUPS = 64
GROUP_BYTES = 1 << 20
# Groups are made in multiples of this, as far as whole blocks allow, so that two or four threads
# have as many each: of five groups, one of two threads reads three.
SHARES = 4
GROUP_ROWS = 64  # whole vectors and blocks in every group but the last

# Below this a pass stays in the caller's thread: it takes about half a millisecond at 10 GB/s,
# and waking a thread up to a tenth of one. To start threads and end them takes a third of one, so
# that the first pass, which may be the only one, is shared only if it is longer: with two threads,
# single calls took 1.3 to 1.5 times as long for 8 MB, and level for 16.
THREADING_BYTES, STARTING_BYTES = 5 << 20, 16 << 20


class Choice(NamedTuple):
    """A kernel, and the scratch it needs; with none, its type fixes the number of features."""

    kernel: Kernel
    scratch: int | None


def choose_kernel(problem: Problem, dtype: np.dtype[Any]) -> Choice:
    """The fastest kernel for layout, number of features and precision, `dtype`, as measured.

    Fractions of the limit are of 410 MB, see ``python -m bench.bandwidth``, float32 in double
    precision. What is in cache has other kernels, with AVX-512.
    """
    by_columns = problem.X.strides[0] == problem.X.itemsize
    return _choose_for_columns(problem, dtype) if by_columns else _choose_for_rows(problem, dtype)


def _choose_for_rows(problem: Problem, dtype: np.dtype[Any]) -> Choice:
    """Of contiguous rows.

    Tiles of rows take the least work of up to 6 features (one thread, AVX2, 5: 0.74 of the limit,
    and 0.47 by short rows; 8: 0.73 and 0.77); then transposing them costs more than adding up each
    row by itself. That, with the number of features fixed, is faster than blocks of rows of any
    length, 1.1 to 1.7 times from 17 to 32 features, but each number of them takes a kernel of its
    own. Gaps between rows (slices) change no order of sums, so that bits do not hang on them. With
    AVX-512, 17 to 32 features of float64 take up to 1.1 times as long as in blocks, but in X[::2]
    0.6 to 0.8 times.
    """
    X, d = problem.X, problem.n_features
    gaps, near = X.strides[0] != d * X.itemsize, is_near(problem)
    if d < LEAST_SHORT_ROW:
        return Choice(kernels.NEAR_ROW_TILES if near else kernels.ROW_TILES, None)
    if near and d * dtype.itemsize <= near_layout.MOST_BYTES:
        return Choice(kernels.NEAR_ROWS_WITH_GAPS if gaps else kernels.NEAR_ROWS, None)
    if d <= MOST_SHORT_ROW:
        return Choice(kernels.SHORT_ROWS, None)
    if near:
        form = choose_near_form(d, X.itemsize, dtype.itemsize)
    else:
        form = choose_form(d, X.itemsize, gaps)
    return Choice(kernels.ROW_BLOCKS[form], _rows.scratch_size(d, form))


def _choose_for_columns(problem: Problem, dtype: np.dtype[Any]) -> Choice:
    """Of contiguous columns.

    Tiles take the least work, but hardware follows some twenty streams and no more. Against blocks
    of them, tiles are 1.2 times as fast at 20 and at 22 (one thread, AVX2, 22: 0.55 of the limit,
    and 0.46), 0.9 at 24, where in single precision it is 0.75, and 0.6 at 32. With AVX-512, 23 to
    28 are 1.4 to 1.9 times as fast in one thread (24: 0.94 of the limit, and 0.66), 1.1 to 1.2
    times in two; 33 to 44, in both precisions and of float64, 1.1 to 1.5 times in one thread, and
    in two 1.2 to 1.5 times while memory gives 72 GB/s, 0.86 to 1.05 times while others use it,
    too, and it gives 47; 48 are level in double precision, and 56 and more 0.7 to 1.0 times.

    With AVX-512, sweeps of 300 columns are 1.2 times as fast as blocks in one thread, and level in
    two; of 192 to 256 columns 0.75 to 1.2 times, as their distance in memory has it; of 32 to 48 as
    little as 0.6. Sweeps there and back are faster for what is not converted, 1.1 times (200 to
    1500 columns of float32, one thread; 2000 to 5000 level) to 1.2 times (two; float64 of 100 to
    1000, one); 180 columns of float32, and 80 of float64, take 1.1 to 1.3 times as long so, and
    converted ones 1.1 to 1.3 times. In cache, 1 MB, they read 24 columns in double precision 1.3
    times as fast as tiles do, 40 to 300 1.4 to 1.6 times as blocks, 1000 to 5000 twice as sweeps;
    of 8 MB 1.1 to 1.5 times, of 40 MB some only 0.6. Of float64, 24 come 0.8 times as fast so.
    """
    X, d = problem.X, problem.n_features
    if d >= LEAST_COLUMNS_IN_CACHE[X.itemsize] and X.nbytes <= CACHED_BYTES:
        return Choice(kernels.COLUMNS_IN_CACHE, 0)
    if d <= MOST_TILE_COLUMNS:
        return Choice(kernels.COLUMN_TILES, None)
    if dtype == X.dtype and d * X.itemsize >= LEAST_FETCHED_BYTES:
        return Choice(kernels.FETCHED_COLUMNS, there_and_back.scratch_size(d))
    if _is_swept(problem):
        return Choice(kernels.COLUMN_SWEEPS, sweeps.scratch_size(d))
    return Choice(_column_blocks(d), columns.block_rows(d, X.itemsize))


def is_near(problem: Problem) -> bool:
    """Whether rows are in cache, where that makes a difference."""
    return emit.REGISTER_BYTES == 64 and problem.X.nbytes <= NEAR_BYTES


def _column_blocks(d: int) -> Kernel:
    if d > columns.MOST_BLOCKED_COLUMNS:  # with AVX-512, they have been swept
        return kernels.COLUMN_RUNS
    return kernels.COLUMN_BLOCKS if d < LEAST_FEWER_ABREAST else kernels.COLUMN_BLOCKS_BY_4


def group_rows(problem: Problem) -> int:
    """Rows of each group but the last."""
    n, row_bytes = problem.n_samples, problem.n_features * problem.X.itemsize
    n_groups = min(MOST_GROUPS, max(1, n * row_bytes // GROUP_BYTES))
    if n_groups > 2:
        n_groups += -n_groups % SHARES
    return _whole(GROUP_ROWS, -(-n // n_groups))


def pass_rows(problem: Problem) -> int:
    """Rows of each group of a fused pass but the last: `group_rows`, or more of many columns.

    5000 columns (410 MB) in groups of 320 rows were read at 0.32 of the limit (two threads: 0.22),
    and at 0.53 (0.46) in groups of 4096.
    """
    n, d, X = problem.n_samples, problem.n_features, problem.X
    block = whole_rows(problem)
    rows = _whole(block, group_rows(problem))
    if X.strides[0] != X.itemsize or d <= MOST_TILE_COLUMNS:
        return rows
    run = columns.LEAST_RUN_ROWS
    if d <= columns.MOST_BLOCKED_COLUMNS and not _is_swept(problem):
        return max(rows, _whole(block, min(run, -(-n // SHARES))))
    n_runs = max(1, n // run // SHARES) * SHARES
    return max(rows, _whole(block, -(-n // n_runs)))


def whole_rows(problem: Problem) -> int:
    """Rows of which groups are multiples, for the kernel to have no rest in each."""
    X, d = problem.X, problem.n_features
    if X.strides[0] == X.itemsize and d >= LEAST_COLUMNS_IN_CACHE[X.itemsize]:
        return max(sweeps.TILE_ROWS, there_and_back.TILE_ROWS)  # powers of two
    return GROUP_ROWS


def _is_swept(problem: Problem) -> bool:
    X, d = problem.X, problem.n_features
    by_columns = X.strides[0] == X.itemsize and d > MOST_TILE_COLUMNS
    return by_columns and d * X.itemsize >= LEAST_SWEPT_BYTES


def _whole(block: int, rows: int) -> int:
    return -(-rows // block) * block
