"""The fused kernels: one signature, one for each shape and layout of X.

Each reads rows `start` to `stop` in groups of `length`, and adds the sums of a group to its row of
`out`, a float64 vector of (products, squares, residuals, weights). Its arguments are X, y, weight,
prediction, coef, intercept, out, start, stop, length and scratch. X is (n_samples, n_features) of
any layout whose rows, or columns, are contiguous; weight and prediction may be None, which is
settled at compile time. The dtype of coef, an array or a tuple whose length fixes the number of
features, is the precision to compute in. What is written below is one group: its arguments have no
`length`, and its `out` is one row.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from numba import types
from numba.core import cgutils
from numba.np.arrayobj import populate_array

from fastgd.backends.numba._fused import (
    column_tiles,
    columns,
    kept_rows,
    near_rows,
    short_rows,
    there_and_back,
    tile,
)
from fastgd.backends.numba._fused import rows as _rows
from fastgd.backends.numba._fused import sweeps as _sweeps
from fastgd.backends.numba._fused.remaining import add_remaining
from fastgd.backends.numba._fused.row_forms import FORMS, Form
from fastgd.backends.numba._vectors import emit
from fastgd.backends.numba._vectors.assemble import Kernel
from fastgd.backends.numba._vectors.emit import Builder, Value, const

DOUBLES = types.Array(types.float64, 1, "C")

_short = kept_rows if emit.REGISTER_BYTES == 64 else short_rows


def _before_last(context: Any, b: Builder, signature: Any, args: Any) -> Value:
    """The row to stop at, or the last row of X, so that there is a row to be read beyond."""
    X = emit.arrays(context, b, signature, args)[0]
    n = cgutils.unpack_tuple(b, X.shape, 2)[0]
    return emit.smaller(b, args[8], b.sub(n, const(1)))


def _write_tiles(
    context: Any,
    b: Builder,
    signature: Any,
    args: Any,
    start: Value,
    by_columns: bool,
    near: bool = False,
) -> None:
    stop = args[8]
    rows = tile.tile_rows(context, signature.args[4], by_columns)
    last = stop if by_columns else _before_last(context, b, signature, args)
    n_tiles = b.sdiv(b.sub(last, start), const(rows))
    tile.add_tiles(context, b, signature, args, start, n_tiles, by_columns, near)
    done = b.add(start, b.mul(n_tiles, const(rows)))
    add_remaining(context, b, signature, args, done, stop, by_columns)


def write_row_tiles(context: Any, b: Builder, signature: Any, args: Any, near: bool) -> None:
    """Contiguous rows of few features, in cache or not; coef is a tuple."""
    _write_tiles(context, b, signature, args, args[7], by_columns=False, near=near)


def write_column_tiles(context: Any, b: Builder, signature: Any, args: Any) -> None:
    """Contiguous columns, few of them; coef is a tuple."""
    start = args[7]
    if signature.args[4].count >= column_tiles.LEAST_COLUMNS:
        rows = column_tiles.tile_rows(context, signature.args[0])
        n_tiles = b.sdiv(b.sub(args[8], start), const(rows))
        column_tiles.add_column_tiles(context, b, signature, args, start, n_tiles)
        start = b.add(start, b.mul(n_tiles, const(rows)))
    _write_tiles(context, b, signature, args, start, by_columns=True)


def _write_runs(
    context: Any,
    b: Builder,
    signature: Any,
    args: Any,
    add_runs: Any,
    rows: int,
    last: Value | None = None,
    by_columns: bool = False,
) -> None:
    """What `add_runs` does with whole runs of `rows` rows, up to `last`, and the other rows."""
    start, stop = args[7], args[8]
    n_runs = b.sdiv(b.sub(stop if last is None else last, start), const(rows))
    add_runs(context, b, signature, args, start, n_runs)
    done = b.add(start, b.mul(n_runs, const(rows)))
    add_remaining(context, b, signature, args, done, stop, by_columns)


def write_short_rows(context: Any, b: Builder, signature: Any, args: Any) -> None:
    """Contiguous rows of a vector to a few; coef is a tuple."""
    rows = _short.rows_at_once(context, signature)
    _write_runs(context, b, signature, args, _short.add_rows, rows)


def write_near_rows(context: Any, b: Builder, signature: Any, args: Any, gaps: bool) -> None:
    """Contiguous rows of a vector to eight, in cache; coef is a tuple."""
    rows = near_rows.rows_at_once(context, signature)
    add_rows = partial(near_rows.add_rows, gaps=gaps)
    last = _before_last(context, b, signature, args)
    _write_runs(context, b, signature, args, add_rows, rows, last)


def write_row_blocks(context: Any, b: Builder, signature: Any, args: Any, form: Form) -> None:
    """Contiguous rows, of more features than `write_short_rows` is for."""
    add_blocks = partial(_rows.add_row_blocks, form=form)
    _write_runs(context, b, signature, args, add_blocks, form.rows)


def write_columns(
    context: Any, b: Builder, signature: Any, args: Any, cached: bool, abreast: int
) -> None:
    """Contiguous columns, more of them than `write_column_tiles` is for; see `columns.py`."""
    rows, _ = columns.turn_rows(context, signature)
    add_blocks = partial(columns.add_column_blocks, cached=cached, abreast=abreast)
    _write_runs(context, b, signature, args, add_blocks, rows, by_columns=True)


def write_column_sweeps(context: Any, b: Builder, signature: Any, args: Any) -> None:
    """Contiguous columns, any number of them, where registers are long and many."""
    start, stop = args[7], args[8]
    sweeps = _sweeps.Sweeps(context, b, signature, args)
    for vectors in (_sweeps.VECTORS, 2):
        rows = vectors * _sweeps.LANES
        n_tiles = b.sdiv(b.sub(stop, start), const(rows))
        sweeps.add_tiles(start, n_tiles, vectors)
        start = b.add(start, b.mul(n_tiles, const(rows)))
    sweeps.finish()
    add_remaining(context, b, signature, args, start, stop, by_columns=True)


def write_columns_there_and_back(
    context: Any, b: Builder, signature: Any, args: Any, fetched: bool
) -> None:
    """Contiguous columns, any number of them; see `there_and_back`."""
    sweeps = there_and_back.Sweeps(context, b, signature, args, fetched)
    sweeps.add(args[7], args[8])
    sweeps.finish()


def _by_groups(name: str, write: Any, zeroed: bool = True, **options: Any) -> Kernel:
    """The kernel that reads one group after the other by what `write` emits.

    For each its scratch, if any, is `zeroed`.

    Between two calls from Python, after so much data, its own code is no longer in cache: a call
    for each of 64 groups took 3 to 8 percent of the time that 410 MB take.
    """

    def write_groups(context: Any, b: Builder, signature: Any, args: Any) -> None:
        arrays = emit.arrays(context, b, signature, args)
        out, scratch = arrays[6], arrays[10]
        start, stop, length = args[7:10]
        n_sums = cgutils.unpack_tuple(b, out.shape, 2)[1]
        itemsize = const(emit.size(emit.DOUBLE))
        sums = context.make_array(DOUBLES)(context, b)
        kinds = (*signature.args[:6], DOUBLES, *signature.args[7:9], signature.args[10])
        one_group = partial(write, **options)
        with emit.loop_by(b, start, stop, length) as first:
            group = b.sdiv(b.sub(first, start), length)
            data = b.gep(out.data, [b.mul(group, n_sums)])
            populate_array(sums, data, [n_sums], [itemsize], itemsize, meminfo=None)
            if zeroed and scratch is not None:
                cgutils.memset(b, scratch.data, b.mul(scratch.nitems, itemsize), 0)
            last = emit.smaller(b, b.add(first, length), stop)
            values = (*args[:6], sums._getvalue(), first, last, args[10])
            typed = zip(kinds, values, strict=True)
            emit.call_apart(context, b, f"{name}_of_a_group", one_group, *typed)

    return Kernel(name, write_groups)


ROW_TILES = _by_groups("row_tiles", write_row_tiles, near=False)
NEAR_ROW_TILES = _by_groups("near_row_tiles", write_row_tiles, near=True)
COLUMN_TILES = _by_groups("column_tiles", write_column_tiles)
SHORT_ROWS = _by_groups("short_rows", write_short_rows)
NEAR_ROWS, NEAR_ROWS_WITH_GAPS = (
    _by_groups(name, write_near_rows, gaps=gaps)
    for name, gaps in (("near_rows", False), ("near_rows_with_gaps", True))
)
ROW_BLOCKS = {
    form: _by_groups(form.name, write_row_blocks, zeroed=False, form=form) for form in FORMS
}
COLUMN_BLOCKS, COLUMN_BLOCKS_BY_4, COLUMN_RUNS = (
    _by_groups(name, write_columns, cached=cached, abreast=abreast)
    for name, cached, abreast in (
        ("column_blocks", True, columns.COLUMNS_ABREAST),
        ("column_blocks_by_4", True, columns.FEWER_ABREAST),
        ("column_runs", False, columns.COLUMNS_ABREAST),  # no cache holds a block of so many
    )
)
COLUMN_SWEEPS = _by_groups("column_sweeps", write_column_sweeps)
COLUMNS_IN_CACHE, FETCHED_COLUMNS = (
    _by_groups(name, write_columns_there_and_back, fetched=fetched)
    for name, fetched in (("columns_in_cache", False), ("fetched_columns", True))
)
