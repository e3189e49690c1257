"""Spark: a DataFrame, through Arrow, each partition's sums taken where it lies."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from fastgd._data.blocks import Tree, layout_of, work_on
from fastgd._data.problem import Problem

try:
    import pyarrow as pa
    from pyspark import TaskContext
    from pyspark.sql.pandas.types import to_arrow_schema
except ImportError as error:
    raise ImportError(
        f"fitting Spark's DataFrames needs {error.name}: python -m pip install 'fastgd[spark]'"
    ) from None

T = TypeVar("T")

SCHEMA = "partition int, sums binary"


class Columns(NamedTuple):
    """Names of columns, by what they are for."""

    features: list[str]
    targets: list[str]  # one, unless y was a list
    single_target: bool
    weight: str | None

    def of(self, table: pa.Table) -> tuple[Any, Any, Any]:
        """X, y and the weights among the columns of a table."""
        y = table.column(self.targets[0]) if self.single_target else table.select(self.targets)
        weight = None if self.weight is None else table.column(self.weight)
        return table.select(self.features), y, weight


class SparkBlocks:
    """The Arrow batches of the partitions; see `fastgd.distributed`."""

    is_read_once = False
    n_threads = 1  # Spark runs as many tasks as there are CPUs

    def __init__(self, frame: Any, columns: Columns, missing: str) -> None:
        X, y, _ = columns.of(to_arrow_schema(frame.schema).empty_table())
        layout = layout_of(X, y)
        self.n_features, self.one_dimensional, self.dtype, self.targets, self.feature_names = layout
        names = [*columns.features, *columns.targets]
        self._frame = frame.select(*names, *([] if columns.weight is None else [columns.weight]))
        self._columns, self._missing = columns, missing

    def reduce(self, work: Callable[[Problem], T], merge: Callable[[T, T], T]) -> T | None:
        """Batches merged in each partition, in their order, and then partitions in theirs."""
        columns, missing = self._columns, self._missing

        def sums(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            partition = TaskContext.get().partitionId()
            value: Any
            try:
                value = _sums(partition, batches, columns, missing, work, merge)
            except (TypeError, ValueError, OverflowError) as error:
                value = error  # of the data: to try it again would not help
            yield pa.record_batch(
                {"partition": pa.array([partition], pa.int32()), "sums": [pickle.dumps(value)]}
            )

        tree = Tree(merge)
        for _, pickled in sorted(self._frame.mapInArrow(sums, SCHEMA).collect()):
            value = pickle.loads(pickled)
            if isinstance(value, Exception):
                raise value
            tree.add(value)
        return tree.total()


def as_blocks(frame: Any, y: Any, sample_weight: Any, missing: str) -> SparkBlocks:
    """A DataFrame as blocks; `y` and `sample_weight` name columns of it.

    Raises
    ------
    TypeError, ValueError
        If they do not, or a column does not hold numbers.
    """
    targets = [y] if isinstance(y, str) else y
    if not _are_names(targets):
        raise TypeError(f"y must name a column of the DataFrame, or be a list of such; got {y!r}")
    if not isinstance(sample_weight, (str, type(None))):
        raise TypeError(f"sample_weight must name a column of the DataFrame; got {sample_weight!r}")
    special = [*targets, *([] if sample_weight is None else [sample_weight])]
    for name in special:
        if name not in frame.columns:
            raise ValueError(f"X has no column {name!r}; it has {', '.join(frame.columns)}")
    features = [name for name in frame.columns if name not in special]
    if not features:
        raise ValueError("X has no columns besides y and sample_weight")
    columns = Columns(features, list(targets), isinstance(y, str), sample_weight)
    return SparkBlocks(frame, columns, missing)


def _are_names(value: object) -> bool:
    if not isinstance(value, Sequence) or not value:
        return False
    return all(isinstance(name, str) for name in value)


def _sums(
    partition: int,
    batches: Iterator[pa.RecordBatch],
    columns: Columns,
    missing: str,
    work: Callable[[Problem], Any],
    merge: Callable[[Any, Any], Any],
) -> Any:
    tree = Tree(merge)
    for number, batch in enumerate(batches):
        arrays = columns.of(pa.Table.from_batches([batch]))
        tree.add(work_on(work, f"{number} of partition {partition}", *arrays, missing))
    return tree.total()
