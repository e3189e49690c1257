"""Dask: arrays and dataframes, each block's sums taken where the block lies."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import numpy as np

from fastgd._data.blocks import layout_of, merge_in_order, work_on
from fastgd._data.problem import Problem

try:
    import dask
    import dask.array as da
    from dask._task_spec import DataNode, Task, TaskRef  # tuples would miss keys of futures
    from dask.core import flatten
    from dask.delayed import Delayed
    from dask.highlevelgraph import HighLevelGraph
except ImportError as error:  # dask itself is there: X is of it
    raise ImportError(
        f"fitting Dask's collections needs {error.name}: python -m pip install 'fastgd[dask]'"
    ) from None

T = TypeVar("T")

# Sums that one task merges: fewer tasks, and the same bits, as it is a power of two.
AT_ONCE = 8


class DaskBlocks:
    """The chunks of arrays, or the partitions of dataframes; see `fastgd.distributed`."""

    is_read_once = False
    n_threads = 1  # a worker has as many threads of its own as it should

    def __init__(self, X: Any, y: Any, sample_weight: Any, missing: str) -> None:
        layout = layout_of(_meta("X", X), _meta("y", y))
        _check_rows_whole(X)
        self.n_features, self.one_dimensional, self.dtype, self.targets, self.feature_names = layout
        self._missing = missing
        given = [X, _along("y", y, X)]
        if sample_weight is not None:
            given.append(_along("sample_weight", sample_weight, X))
        self._collections = _together(given)

    def reduce(self, work: Callable[[Problem], T], merge: Callable[[T, T], T]) -> T | None:
        """One task for each block, and some that merge, in one graph."""
        name = f"fastgd-{uuid4().hex}"
        graph: dict[Any, Any] = {
            name: DataNode(name, work)
        }  # by name, so that it is sent once and not by block
        keys: list[Any] = []
        columns = [flatten(collection.__dask_keys__()) for collection in self._collections]
        for number, parts in enumerate(zip(*columns, strict=True)):
            keys.append((f"{name}-block", number))
            does = partial(_work_on, self._missing, number)
            graph[keys[-1]] = Task(keys[-1], does, TaskRef(name), *map(TaskRef, parts))
        level = 0
        while len(keys) > 1:
            level += 1
            groups = [keys[i : i + AT_ONCE] for i in range(0, len(keys), AT_ONCE)]
            keys = [(f"{name}-merge-{level}", number) for number in range(len(groups))]
            for key, group in zip(keys, groups, strict=True):
                graph[key] = Task(key, partial(merge_in_order, merge), *map(TaskRef, group))
        layers = HighLevelGraph.from_collections(name, graph, dependencies=self._collections)
        total: T | None = _compute(Delayed(keys[0], layers, layer=name))
        return total


def as_blocks(X: Any, y: Any, sample_weight: Any, missing: str) -> DaskBlocks:
    """Arrays or dataframes as blocks.

    Raises
    ------
    TypeError, ValueError
        If they are of other kinds, or are not cut into blocks alike.
    """
    if y is None:
        raise TypeError("y must be given, unless X is fastgd.Moments; got None")
    return DaskBlocks(X, y, sample_weight, missing)


def predict(X: Any, predict_block: Callable[[Any], Any], targets: tuple[int, ...]) -> Any:
    """Predictions for an array or a dataframe, as lazy as it is."""
    kind = layout_of(_meta("X", X), np.empty((0, *targets)))
    if isinstance(X, da.Array):
        _check_rows_whole(X)
        chunks = (X.chunks[0], *((n,) for n in targets))
        options = {"drop_axis": 1} if X.ndim > 1 + len(targets) else {}
        if X.ndim < 1 + len(targets):
            options = {"new_axis": 1}
        meta = np.empty((0,) * len(chunks), kind.dtype)
        return X.map_blocks(predict_block, chunks=chunks, meta=meta, **options)
    import pandas as pd

    def of_partition(part: Any) -> Any:
        values = predict_block(part)
        return (pd.DataFrame if targets else pd.Series)(values, index=part.index)

    empty = np.empty((0, *targets), kind.dtype)
    return X.map_partitions(
        of_partition, meta=(pd.DataFrame if targets else pd.Series)(empty, index=X._meta.index)
    )


def _work_on(missing: str, number: int, work: Callable[[Problem], T], *parts: Any) -> T | None:
    if isinstance(parts[0], tuple):  # from dataframes
        (parts,) = parts
    X, y, weight = (*parts, None)[:3]
    return work_on(work, number, X, y, weight, missing)


def _together(given: list[Any]) -> tuple[Any, ...]:
    """Collections whose blocks, side by side, are the data: what they share is made once."""
    if isinstance(given[0], da.Array):
        arrays: tuple[Any, ...] = dask.optimize(*given)
        return arrays
    import dask.dataframe as dd

    # As one expression: optimised together, each would read its columns, or all would read all.
    packed = dd.map_partitions(
        _pack, *given, meta=given[0]._meta, enforce_metadata=False, align_dataframes=False
    )
    return (packed.optimize(),)


def _pack(*parts: Any) -> tuple[Any, ...]:
    return parts


def _compute(total: Delayed) -> Any:
    try:
        return total.compute()
    except CancelledError as error:
        raise ConnectionError(
            "the Dask cluster was lost, and the fit with it: connect to another and fit again"
        ) from error


def _meta(name: str, value: Any) -> Any:
    """What `value` would be without any rows: known to Dask without computing."""
    if isinstance(value, da.Array):
        return np.empty((0, *value.shape[1:]), value.dtype)
    if hasattr(value, "npartitions") and hasattr(value, "_meta"):
        return value._meta
    raise TypeError(
        f"{name} must be a dask array, dataframe or series, in blocks like those of X; "
        f"got {type(value).__name__}: see dask.array.from_array"
    )


def _check_rows_whole(X: Any) -> None:
    if isinstance(X, da.Array) and X.ndim > 1 and X.numblocks[1] > 1:
        raise ValueError(
            f"X must not be cut between columns, and has {X.numblocks[1]} blocks of them; "
            "X.rechunk({1: -1}) joins them, once if it is persisted"
        )


def _along(name: str, value: Any, X: Any) -> Any:
    """`value` in blocks of the same rows as those of X, as far as Dask knows."""
    _meta(name, value)
    if isinstance(X, da.Array) and not isinstance(value, da.Array):
        value = value.to_dask_array()
    if isinstance(value, da.Array) and value.ndim > 1 and value.numblocks[1] > 1:
        value = value.rechunk({1: -1})  # columns of y or of weights: little beside X
    if isinstance(value, da.Array) and isinstance(X, da.Array) and _known(value) and _known(X):
        if len(value) != len(X):
            raise ValueError(f"{name} has {len(value)} entries where X has {len(X)} samples")
        return value.rechunk({0: X.chunks[0]})
    if value.npartitions != X.npartitions:
        raise ValueError(
            f"{name} has {value.npartitions} blocks where X has {X.npartitions}, and rows cannot "
            "be matched where sizes are not known: see compute_chunk_sizes() and repartition()"
        )
    if isinstance(value, da.Array) and not isinstance(X, da.Array):
        import dask.dataframe as dd

        value = dd.from_dask_array(value)
    return value


def _known(array: da.Array) -> bool:
    return not np.isnan(array.shape[0])
