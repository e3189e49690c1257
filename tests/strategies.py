"""Hypothesis strategies for data sets of all sizes and memory layouts.

Hypothesis draws shapes, dtypes, layouts and a seed; NumPy makes the values from the seed. So
examples are quick to make, shrink well, and print short.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

# Around the widths of vectors, unrolled loops and blocks of rows.
SIZES = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65)
SMALL_SIZES = SIZES
SIZES += (255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 4095, 4096, 4097)
# One or two for each way to read an array; few, since code is compiled for each of the small ones.
WIDTHS = (1, 3, 16, 17, 33, 65, 257)
MAX_CELLS = 150_000


# Layouts: each returns an array equal to `values`. Whatever lies between its elements in memory
# is NaN, so that reading past a row or a column cannot go unseen.


def c_order(values):
    return np.array(values, order="C")


def f_order(values):
    return np.array(values, order="F")


def read_only(values):
    values = np.array(values, order="C")
    values.flags.writeable = False
    return values


def read_only_f_order(values):
    values = np.array(values, order="F")
    values.flags.writeable = False
    return values


def every_second_row(values):
    return _within((2 * len(values), *values.shape[1:]), np.s_[::2], values)


def slice_of_rows(values):
    return _within((len(values) + 5, *values.shape[1:]), np.s_[2:-3], values)


def slice_of_rows_f_order(values):
    return _within((len(values) + 5, values.shape[1]), np.s_[2:-3], values, order="F")


def slice_of_columns(values):
    return _within((len(values), values.shape[1] + 3), np.s_[:, 1:-2], values)


def every_second_column(values):
    return _within((len(values), 2 * values.shape[1]), np.s_[:, ::2], values)


def every_second_column_f_order(values):
    return _within((len(values), 2 * values.shape[1]), np.s_[:, ::2], values, order="F")


def every_second_row_f_order(values):
    return _within((2 * len(values), values.shape[1]), np.s_[::2], values, order="F")


def reversed_rows(values):
    return np.ascontiguousarray(values[::-1])[::-1]


def reversed_columns(values):
    return np.ascontiguousarray(values[:, ::-1])[:, ::-1]


def reversed_columns_f_order(values):
    return np.asfortranarray(values[:, ::-1])[:, ::-1]


def byte_swapped(values):
    return values.astype(values.dtype.newbyteorder())


def unaligned(values):
    return np.frombuffer(b"\0" + values.tobytes(), values.dtype, offset=1).reshape(values.shape)


def memory_mapped(values):
    with tempfile.TemporaryFile() as file:
        file.write(values.tobytes())
        file.flush()
        return np.memmap(file, values.dtype, "r", shape=values.shape)


def a_column(values):
    return _within((len(values), 3), np.s_[:, 1], values)


def a_field(values):
    records = np.zeros(len(values), [("tag", "i1"), ("value", values.dtype)])
    records["value"] = values
    return records["value"]


def _within(shape, index, values, order="C"):
    around = np.full(shape, np.nan, values.dtype, order)
    around[index] = values
    return around[index]


# The first of each pair of tuples is used where it lies, the second is copied.
IN_PLACE_1D = (c_order, read_only, every_second_row, slice_of_rows, a_column, memory_mapped)
COPIED_1D = (reversed_rows, byte_swapped, unaligned, a_field)
IN_PLACE_2D = (
    c_order,
    f_order,
    read_only,
    read_only_f_order,
    every_second_row,
    slice_of_rows,
    slice_of_rows_f_order,
    slice_of_columns,
    every_second_column_f_order,
    memory_mapped,
)
COPIED_2D = (
    reversed_rows,
    reversed_columns,
    reversed_columns_f_order,
    every_second_column,
    every_second_row_f_order,
    byte_swapped,
    unaligned,
)


@dataclass(frozen=True, repr=False)
class Data:
    """One data set as the library is given it, and somewhere to evaluate the loss."""

    X: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray | None
    coef: float | np.ndarray
    intercept: float
    told: str

    def __repr__(self) -> str:
        return f"Data({self.told})"

    @property
    def arrays(self) -> list[np.ndarray]:
        return [a for a in (self.X, self.y, self.sample_weight) if a is not None]


WEIGHTINGS = ("random", "some zero", "only the last", "all the same")


@st.composite
def data_sets(
    draw,
    *,
    sizes=SIZES,
    widths=WIDTHS,
    dtypes=("f4", "f8"),
    y_dtype=None,
    weightings=(None, *WEIGHTINGS),
) -> Data:
    """1-D or 2-D data in any layout, with or without weights; often fewer rows than columns."""
    d = draw(st.sampled_from([None, *widths]))  # None: 1-D
    one_dimensional, d = d is None, d or 1
    n = draw(st.sampled_from([n for n in sizes if n * d <= MAX_CELLS]))
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    weighting = draw(st.sampled_from(weightings))
    layouts = IN_PLACE_1D + COPIED_1D if one_dimensional else IN_PLACE_2D + COPIED_2D
    layout = draw(st.sampled_from(layouts))
    y_layout = draw(st.sampled_from(IN_PLACE_1D + COPIED_1D))
    seed = draw(st.integers(0, 2**32 - 1))

    rng = np.random.default_rng(seed)
    X = (rng.standard_normal((n, d)) + rng.uniform(-1, 1, d)).astype(dtype)
    y = (X @ rng.standard_normal(d) + rng.standard_normal() + rng.standard_normal(n)).astype(
        y_dtype or dtype
    )
    weight = None
    if weighting is not None:
        weight = np.full(n, 0.7) if weighting == "all the same" else rng.uniform(0.1, 3.0, n)
        if weighting == "some zero":
            weight[rng.random(n) < 0.5] = 0.0
            weight[rng.integers(n)] = 1.0
        if weighting == "only the last":
            weight[:-1] = 0.0
        weight = y_layout(weight.astype(dtype))
    start = rng.standard_normal(d)
    return Data(
        X=layout(X[:, 0] if one_dimensional else X),
        y=y_layout(y),
        sample_weight=weight,
        coef=float(start[0]) if one_dimensional else start,
        intercept=float(rng.standard_normal()),
        told=f"n={n}, d={'1-D' if one_dimensional else d}, {dtype}, y {y.dtype}, "
        f"X {layout.__name__}, y {y_layout.__name__}, weights {weighting}, seed={seed}",
    )
