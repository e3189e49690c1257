"""The kernels of the moments pass: chunks of rows, packed into columns, and their products.

Each adds the sums of rows `start` to `stop` to `out`, all products of the columns (features,
targets, ones). Its arguments are X, y, weight, pivot, fixed_X, fixed_y, scratch, out, start, stop,
panel and step: see `moments_signature`, and `gram.py` for the last two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product
from typing import Any, NamedTuple

from numba import types
from numba.core import cgutils

from fastgd.backends.numba._moments import few, gram, outer, outer_columns, outer_long, pack
from fastgd.backends.numba._moments.gram import PACKED_ROWS
from fastgd.backends.numba._vectors import emit
from fastgd.backends.numba._vectors.assemble import Kernel
from fastgd.backends.numba._vectors.emit import Builder, Value, const


class Packing:
    """Chunks of rows in columns of scratch: the arguments are those of a moments kernel.

    The columns of X and y are less their pivots and, if `by_roots`, times the roots of the weights,
    which then go last.
    """

    def __init__(
        self,
        context: Any,
        b: Builder,
        signature: Any,
        args: Any,
        layouts: tuple[str, str],
        by_roots: bool,
    ) -> None:
        self._context, self._b, self._layouts, self._by_roots = context, b, layouts, by_roots
        self._kinds, self._args = signature.args, args
        self._arrays = emit.arrays(context, b, signature, args)
        self._pivot, self._scratch = self._arrays[3], self._arrays[6]
        self._kept = context.get_value_type(signature.args[6].dtype)
        self._n_columns, self._length = cgutils.unpack_tuple(b, self._scratch.shape, 2)

    @contextmanager
    def chunks(self, start: Value, stop: Value) -> Iterator[tuple[Value, Value, Value]]:
        """For each chunk: its first row, how many there are, and the next multiple of 16.

        Up to there, scratch holds zeros.
        """
        b = self._b
        n, d = cgutils.unpack_tuple(b, self._arrays[0].shape, 2)
        with emit.loop_by(b, start, stop, self._length) as first:
            n_rows = emit.smaller(b, self._length, b.sub(stop, first))
            # The last row of all is packed by itself: some layouts read into the next.
            whole = self._packs(emit.smaller(b, n_rows, b.sub(b.sub(n, const(1)), first)))
            padded = self._packs(b.add(n_rows, const(PACKED_ROWS - 1)))
            if self._by_roots:
                self._pack_roots(first, n_rows)
            for k, column in enumerate((const(0), d)):
                self._pack(k, first, whole, column)
            with b.if_then(b.icmp_signed("<", whole, padded)):
                for k, column in enumerate((const(0), d)):
                    self._pack_remaining(k, first, whole, n_rows, column)
                self._clear(n_rows, padded)
            yield first, n_rows, padded

    def _packs(self, n_rows: Value) -> Value:
        size = const(PACKED_ROWS)
        return self._b.mul(self._b.sdiv(n_rows, size), size)

    def _place(self, column: Value, row: Value) -> Value:
        b = self._b
        return b.gep(self._scratch.data, [b.add(b.mul(column, self._length), row)])

    def _root(self, row: Value) -> Value:
        return self._place(self._b.sub(self._n_columns, const(1)), row)

    def _pack_roots(self, first: Value, n_rows: Value) -> None:
        b = self._b
        with emit.loop(b, const(0), n_rows) as i:
            s = b.load(b.gep(self._arrays[2].data, [b.add(first, i)]))
            root = emit.square_root(b, emit.convert(b, s, emit.DOUBLE))
            b.store(emit.convert(b, root, self._kept), self._root(i))

    def _pack(self, k: int, first: Value, n_rows: Value, column: Value) -> None:
        kinds, args = self._kinds, self._args
        weight = (types.none, self._context.get_dummy_value())
        emit.call(
            self._context,
            self._b,
            pack.PACKS[self._layouts[k]],
            (kinds[k], args[k]),
            (kinds[2], args[2]) if self._by_roots else weight,
            (kinds[3], args[3]),
            (kinds[6], args[6]),
            (types.int64, first),
            (types.int64, n_rows),
            (types.int64, column),
            (kinds[4 + k], args[4 + k]),
        )

    def _pack_remaining(
        self, k: int, first: Value, start: Value, stop: Value, column: Value
    ) -> None:
        """Rows of a chunk one by one, and in float64."""
        b, kind, array = self._b, self._kinds[k], self._arrays[k]
        number = cgutils.unpack_tuple(b, array.shape, 2)[1]
        with emit.loop(b, start, stop) as i, emit.loop(b, const(0), number) as j:
            place = [b.add(first, i), j]
            x = b.load(cgutils.get_item_pointer(self._context, b, kind, array, place))
            shift = b.load(b.gep(self._pivot.data, [b.add(column, j)]))
            z = b.fsub(emit.convert(b, x, emit.DOUBLE), shift)
            if self._by_roots:
                z = b.fmul(z, emit.convert(b, b.load(self._root(i)), emit.DOUBLE))
            b.store(emit.convert(b, z, self._kept), self._place(b.add(column, j), i))

    def _clear(self, start: Value, stop: Value) -> None:
        b = self._b
        with emit.loop(b, const(0), self._n_columns) as j, emit.loop(b, start, stop) as i:
            b.store(self._kept(0.0), self._place(j, i))


def _write_products(
    context: Any, b: Builder, signature: Any, args: Any, layouts: tuple[str, str]
) -> None:
    arrays = emit.arrays(context, b, signature, args)
    row_bytes, column_bytes = cgutils.unpack_tuple(b, arrays[0].strides, 2)
    length = cgutils.unpack_tuple(b, arrays[6].shape, 2)[1]
    begin, index = b.ptrtoint(arrays[0].data, emit.I64), types.int64
    start, stop, panel, step = args[8:]
    # What the next chunk takes: a run of each column, or one of all rows.
    run = b.mul(length, row_bytes)
    gap = b.sub(column_bytes, run) if layouts[0] == "columns" else const(0)
    n, d = cgutils.unpack_tuple(b, arrays[0].shape, 2)
    last_row = b.mul(b.sub(n, const(1)), row_bytes)
    last = b.add(b.add(begin, last_row), b.mul(b.sub(d, const(1)), column_bytes))
    packing = Packing(context, b, signature, args, layouts, by_roots=arrays[2] is not None)
    with packing.chunks(start, stop) as (first, _, padded):
        emit.call(
            context,
            b,
            gram.add_products,
            (signature.args[6], args[6]),
            (signature.args[7], args[7]),
            (index, padded),
            (index, panel),
            (index, b.add(begin, b.mul(b.add(first, length), row_bytes))),
            (index, step),
            (index, run),
            (index, gap),
            (index, last),
        )


class Tiles(NamedTuple):
    """How tiles of rows of few features are summed, and of how many features at most."""

    add: Any
    rows_at_once: Callable[[Any], int]  # where features are stored as this floating type
    most_features: int
    row_follows: bool = True  # whether one must, for parts of it are read with the last of a tile


_outer_rows = outer_long if emit.REGISTER_BYTES == 64 else outer
# By layout: rows and columns of very few features, then of more.
TILES = {
    "few": Tiles(few.TILES["few"], few.rows_at_once, few.MOST_FEATURES),
    "columns": Tiles(few.TILES["columns"], few.rows_at_once, few.MOST_FEATURES, False),
    "rows": Tiles(
        _outer_rows.add_tiles, lambda _: _outer_rows.ROWS_AT_ONCE, _outer_rows.MOST_FEATURES
    ),
    "some_columns": Tiles(
        outer_columns.add_tiles,
        lambda _: outer_columns.ROWS_AT_ONCE,
        outer_columns.MOST_FEATURES,
        False,
    ),
}


def _write_few(context: Any, b: Builder, signature: Any, args: Any, layout: str) -> None:
    X, tiles = emit.arrays(context, b, signature, args)[0], TILES[layout]
    start, stop = args[8], args[9]
    n = cgutils.unpack_tuple(b, X.shape, 2)[0]
    rows = const(tiles.rows_at_once(context.get_value_type(signature.args[0].dtype)))
    last = emit.smaller(b, stop, b.sub(n, const(int(tiles.row_follows))))
    n_tiles = b.sdiv(b.sub(last, start), rows)
    typed = list(zip(signature.args, args, strict=True))
    index = types.int64
    emit.call(context, b, tiles.add, *typed[:5], typed[7], (index, start), (index, n_tiles))
    done = b.add(start, b.mul(n_tiles, rows))
    _add_remaining(context, b, signature, args, done, stop)


def _add_remaining(
    context: Any, b: Builder, signature: Any, args: Any, start: Value, stop: Value
) -> None:
    """Rows of few features that fill no tile, one by one."""
    arrays = emit.arrays(context, b, signature, args)
    X, weight, pivot, out = (arrays[i] for i in (0, 2, 3, 7))
    z = cgutils.alloca_once(b, emit.DOUBLE, size=signature.args[4].count + 2)
    # Their number is fixed, but loops over a number in memory are not unrolled: quicker to compile.
    d = cgutils.unpack_tuple(b, X.shape, 2)[1]
    n_columns = b.add(d, const(2))

    def keep_shifted(k: int, i: Value, j: Value, column: Value) -> None:
        place = cgutils.get_item_pointer(context, b, signature.args[k], arrays[k], [i, j])
        shift = b.load(b.gep(pivot.data, [column]))
        shifted = b.fsub(emit.convert(b, b.load(place), emit.DOUBLE), shift)
        b.store(shifted, b.gep(z, [column]))

    b.store(emit.DOUBLE(1.0), b.gep(z, [b.add(d, const(1))]))
    with emit.loop(b, start, stop) as i:
        with emit.loop(b, const(0), d) as j:
            keep_shifted(0, i, j, j)
        keep_shifted(1, i, const(0), d)
        with emit.loop(b, const(0), n_columns) as j:
            left = b.load(b.gep(z, [j]))
            if weight is not None:
                s = emit.convert(b, b.load(b.gep(weight.data, [i])), emit.DOUBLE)
                left = b.fmul(s, left)
            with emit.loop(b, j, n_columns) as k:
                term = b.fmul(left, b.load(b.gep(z, [k])))
                emit.add_to_memory(b, term, out.data, b.add(b.mul(j, n_columns), k))


# By the layouts of the features and of the targets.
KERNELS = {
    layouts: Kernel("moments_{}_{}".format(*layouts), partial(_write_products, layouts=layouts))
    for layouts in product(pack.PACKS, pack.PACKS)
}
# Of few features and one target: as `few.py` has them, or more in rows and in columns.
FEW_KERNELS = {
    layout: Kernel(f"moments_of_{layout}", partial(_write_few, layout=layout)) for layout in TILES
}
