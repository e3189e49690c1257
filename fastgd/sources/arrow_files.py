"""Parquet, Feather, Arrow IPC and CSV files through PyArrow, batch by batch."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol, TypeAlias

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.parquet

from fastgd.sources._rows import Batch, Roles, check_names, naming, rows_of_batch
from fastgd.sources.arrow import index_names

# Bytes of a column of a Parquet file read at a time.
PAGES = 2**20


class TableFile:
    """A file of named columns; the borders of its batches depend on their number alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with naming(path):
            self._kind: _Kind = _KINDS.get(path.suffix.lower(), _IPC)(path)
        self._know()

    def _know(self) -> None:
        self._names, self._index = self._kind.schema.names, index_names(self._kind.schema)
        self.names: tuple[str, ...] | None = tuple(self._names)
        self.n_rows = self._kind.n_rows

    def count(self) -> int:
        """The number of rows; a CSV file is read for it."""
        if self.n_rows is None:
            columns, length = self._names[:1], rows_of_batch(1)
            with naming(self.path):
                self.n_rows = sum(part.num_rows for part in self._kind.read(columns, length, 0))
        return self.n_rows

    def batches(self, roles: Roles, first: int) -> Iterator[Batch]:
        """The batches from number `first` on."""
        roles = roles._replace(features=self.features(roles))
        check_names(self.path, self._names, roles)
        features, columns = list(roles.features or ()), self._columns(roles)
        length = rows_of_batch(len(columns))
        start = first * length
        with naming(self.path), closing(self._kind.read(columns, length, start)) as parts:
            for table in _cut(parts, length):
                y, weight = (
                    None if name is None else table.column(name)
                    for name in (roles.target, roles.weight)
                )
                where = f"{self.path}, counting from row {start}"
                # Without what pandas wrote: an index that is among the features is one of them.
                X = table.select(features).replace_schema_metadata()
                yield Batch(X, y, weight, where, start)
                start += table.num_rows

    def n_batches(self, roles: Roles) -> int | None:
        """How many there are, where that is known."""
        length = rows_of_batch(len(self._columns(roles)))
        return None if self.n_rows is None else -(-self.n_rows // length)

    def features(self, roles: Roles) -> tuple[str, ...]:
        """The columns of X: those that are chosen, or all but y, weights and an index of pandas."""
        if roles.features is not None:
            return roles.features
        others = {roles.target, roles.weight, *self._index}
        return tuple(name for name in self._names if name not in others)

    def _columns(self, roles: Roles) -> list[str]:
        columns = list(self.features(roles))
        others = [name for name in (roles.target, roles.weight) if name is not None]
        return columns + [name for name in dict.fromkeys(others) if name not in columns]


_Parts: TypeAlias = "Generator[pa.RecordBatch, None, None]"


class _Kind(Protocol):
    schema: pa.Schema
    n_rows: int | None

    def read(self, columns: Sequence[str], length: int, start: int) -> _Parts:
        """The rows from `start` on, in parts of about `length`."""
        ...


class _Parquet:
    def __init__(self, path: Path) -> None:
        self._path = path
        with pa.parquet.ParquetFile(path) as file:
            self.schema = file.schema_arrow
            self.n_rows: int | None = file.metadata.num_rows
            groups = range(file.metadata.num_row_groups)
            self._groups = [file.metadata.row_group(group).num_rows for group in groups]

    def read(self, columns: Sequence[str], length: int, start: int) -> _Parts:
        group = 0
        while group < len(self._groups) and start >= self._groups[group]:
            start -= self._groups[group]
            group += 1
        groups = list(range(group, len(self._groups)))
        if not groups:
            return
        # Row groups are neither read ahead nor whole: memory is that of the batches.
        with pa.parquet.ParquetFile(self._path, buffer_size=PAGES, pre_buffer=False) as file:
            parts = file.iter_batches(length, row_groups=groups, columns=list(columns))
            yield from _without(start, parts)


class _CSV:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.n_rows: int | None = None
        with pa.csv.open_csv(path) as reader:
            self.schema = reader.schema

    def read(self, columns: Sequence[str], length: int, start: int) -> _Parts:
        options = pa.csv.ConvertOptions(include_columns=columns)
        with pa.csv.open_csv(self._path, convert_options=options) as reader:
            yield from _without(start, reader)


class _IPC:
    """The format with a table of its batches, or the one that is a stream of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.n_rows: int | None = None
        with pa.memory_map(str(path)) as file:
            self._is_stream = file.size() > 0 and file.read(6) != b"ARROW1"
            file.seek(0)
            if self._is_stream:
                self.schema = pa.ipc.open_stream(file).schema
                return
            reader = pa.ipc.open_file(file)
            self.schema = reader.schema
            batches = map(reader.get_batch, range(reader.num_record_batches))
            self.n_rows = sum(batch.num_rows for batch in batches)

    def read(self, columns: Sequence[str], length: int, start: int) -> _Parts:
        with pa.memory_map(str(self._path)) as file:
            if self._is_stream:
                parts = iter(pa.ipc.open_stream(file))
            else:
                reader = pa.ipc.open_file(file)
                parts = map(reader.get_batch, range(reader.num_record_batches))
            yield from (part.select(columns) for part in _without(start, parts))


_KINDS: dict[str, type[_Parquet] | type[_CSV]] = {".parquet": _Parquet, ".csv": _CSV}


def _without(n_rows: int, parts: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The parts after so many rows."""
    for part in parts:
        if n_rows < part.num_rows:
            yield part.slice(n_rows)
        n_rows = max(n_rows - part.num_rows, 0)


def _cut(parts: Iterator[pa.RecordBatch], length: int) -> Iterator[pa.Table]:
    """Tables of `length` rows, the last of them less; nothing is copied."""
    waiting: list[pa.RecordBatch] = []
    n_waiting = 0
    for part in parts:
        while n_waiting + part.num_rows >= length:
            taken = length - n_waiting
            yield pa.Table.from_batches([*waiting, part.slice(0, taken)])
            waiting, n_waiting, part = [], 0, part.slice(taken)
        if part.num_rows:
            waiting.append(part)
            n_waiting += part.num_rows
    if waiting:
        yield pa.Table.from_batches(waiting)


class TableStream(TableFile):
    """A pyarrow Dataset, or a RecordBatchReader, which is read once."""

    def __init__(self, data: pa.dataset.Dataset | pa.RecordBatchReader) -> None:
        if not isinstance(data, (pa.dataset.Dataset, pa.RecordBatchReader)):
            raise TypeError(f"tables are no files; fastgd.fit takes a {type(data).__name__} itself")
        self.path = Path(f"the {type(data).__name__}")
        self.is_read_once = isinstance(data, pa.RecordBatchReader)
        self._kind = _Stream(data)
        self._know()


class _Stream:
    n_rows: int | None = None

    def __init__(self, data: pa.dataset.Dataset | pa.RecordBatchReader) -> None:
        self._data = data
        self.schema = data.schema

    def read(self, columns: Sequence[str], length: int, start: int) -> _Parts:
        if isinstance(self._data, pa.RecordBatchReader):
            parts = (part.select(columns) for part in self._data)
        else:
            parts = self._data.to_batches(
                columns=list(columns), batch_size=length, batch_readahead=2, fragment_readahead=1
            )
        yield from _without(start, parts)
