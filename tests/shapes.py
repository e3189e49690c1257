"""One table of shapes that between them use every kernel, and data for each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from fastgd.backends.numba import _choice
from fastgd.backends.numba._fused import columns, row_forms
from fastgd.backends.numba._moments import exact, moments
from fastgd.backends.numba._vectors import emit

SMALL_GROUP_BYTES = 1 << 11


class Shape(NamedTuple):
    """A number of features, an order, and the kernel that reads float32 of it in small groups.

    The kernel in double precision, and in single, where that is another.
    """

    d: int
    order: str
    kernel: str
    in_single: str = ""

    def data(self, n: int, dtype: str = "f4", seed: int = 11):
        """X, y and weights of `n` rows."""
        rng = np.random.default_rng(seed)
        X = np.array(rng.standard_normal((n, self.d)).astype(dtype), order=self.order)
        y = (X.sum(axis=1) + rng.standard_normal(n)).astype(dtype)
        return X, y, rng.uniform(0.1, 2.0, n).astype(dtype)

    def __str__(self) -> str:
        return f"{self.order}{self.d}"


def rows(name: str) -> str:
    """`name`, of a kernel for rows where registers are of 64 bytes, or of the one elsewhere."""
    return name if emit.REGISTER_BYTES == 64 else "rows_by_4"


def near(name: str, far: str = "rows_by_4") -> str:
    """`name`, of a kernel for rows in cache where registers are of 64 bytes, or `far`."""
    return name if emit.REGISTER_BYTES == 64 else far


# Rows of so many features are taken to be in cache, with small groups, and no others.
NEAR = (2, 4, 5, 7, 10, 26, 42, 63, 150, 310)

SHAPES = (
    Shape(1, "F", "column_tiles"),
    Shape(2, "C", near("near_row_tiles", "row_tiles")),
    Shape(3, "C", "row_tiles"),
    Shape(4, "C", near("near_row_tiles", "row_tiles")),
    Shape(5, "C", near("near_row_tiles", "row_tiles")),
    Shape(6, "C", "row_tiles"),
    Shape(7, "C", near("near_rows", "short_rows")),
    Shape(8, "C", "short_rows"),
    Shape(9, "C", "short_rows"),
    Shape(10, "C", near("near_rows", "short_rows")),
    Shape(16, "C", "short_rows"),
    Shape(17, "C", "short_rows"),
    Shape(26, "C", near("near_rows", "short_rows")),
    Shape(32, "C", "short_rows"),
    Shape(33, "C", "rows_by_4"),
    Shape(42, "C", near("near_rows")),
    Shape(63, "C", near("near_rows")),
    Shape(64, "C", rows("copied_rows_by_4")),
    Shape(150, "C", near("near_copied_rows_by_4")),
    Shape(200, "C", rows("copied_rows_by_2")),
    Shape(310, "C", near("near_rows_by_4"), near("near_copied_rows_by_2")),
    Shape(515, "C", rows("copied_rows_by_1")),
    Shape(521, "C", rows("copied_rows_by_1_and_lines")),
    Shape(530, "C", rows("long_rows")),
    Shape(2, "F", "column_tiles"),
    Shape(5, "F", "column_tiles"),
    Shape(16, "F", "column_tiles"),
    Shape(22, "F", "column_tiles"),
    Shape(44, "F", near("column_tiles", "column_blocks")),
    Shape(46, "F", "column_blocks"),
    Shape(60, "F", "column_blocks_by_4"),
    Shape(200, "F", "column_runs"),
    Shape(500, "F", "column_sweeps", "fetched_columns"),
    Shape(510, "F", "columns_in_cache"),
)
FEW = ("F1", "C3", "C5", "C7", "C9", "C33", "C42", "C64", "C150", "C200", "C310")
FEW += ("C515", "C521", "C530")
FEW += ("F16", "F46", "F60", "F200", "F500", "F510")
# A vector and its tail for every kernel: few, since each is compiled in every variant.
FEW_SHAPES = tuple(shape for shape in SHAPES if str(shape) in FEW)


def use_small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have little data shared by threads in many groups, as much data is; nor fit into caches.

    But rows of `NEAR` features, which are taken to.
    """
    monkeypatch.setattr(_choice, "THREADING_BYTES", 0)
    monkeypatch.setattr(_choice, "STARTING_BYTES", 0)
    monkeypatch.setattr(_choice, "GROUP_BYTES", SMALL_GROUP_BYTES)
    monkeypatch.setattr(columns, "LEAST_RUN_ROWS", 64)
    monkeypatch.setattr(columns, "MOST_BLOCKED_COLUMNS", 100)
    monkeypatch.setattr(_choice, "LEAST_FEWER_ABREAST", 50)
    monkeypatch.setattr(_choice, "LEAST_SWEPT_BYTES", 2000)
    monkeypatch.setattr(_choice, "LEAST_FETCHED_BYTES", 2000)
    monkeypatch.setattr(_choice, "LEAST_COLUMNS_IN_CACHE", {4: 510, 8: 510})
    monkeypatch.setattr(_choice, "CACHED_BYTES", 8 << 20)
    monkeypatch.setattr(row_forms, "MOST_COPIED_BYTES", {4: 2100, 8: 4200})
    monkeypatch.setattr(row_forms, "LEAST_BYTES_BY_LINES", {4: 2080, 8: 0})
    monkeypatch.setattr(row_forms, "MOST_BYTES_OF_COPIES", 4800)
    if emit.REGISTER_BYTES == 64:
        monkeypatch.setattr(_choice, "is_near", lambda problem: problem.n_features in NEAR)
    monkeypatch.setattr(moments, "THREADING_PRODUCTS", 0)
    monkeypatch.setattr(moments, "LEAST_GROUP_ROWS", 64)
    monkeypatch.setattr(exact, "LEAST_GROUP_ROWS", 64)
    monkeypatch.setattr(moments, "MOST_GROUP_ROWS", 64)
