"""Parquet, Feather and CSV files through PyArrow, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from fastgd.commands import CommandError
from fastgd.commands._data import BLOCK, Block, Roles, explained

# Bytes of a column of a Parquet file read at a time.
PAGES = 2**20


class ArrowData:
    """A file of named columns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.names: list[str]
        self._n_rows: int | None
        with explained(path):
            if path.suffix.lower() == ".parquet":
                with pyarrow.parquet.ParquetFile(path) as file:
                    self.names, self._n_rows = file.schema_arrow.names, file.metadata.num_rows
            elif path.suffix.lower() == ".csv":
                with pyarrow.csv.open_csv(path) as reader:
                    self.names, self._n_rows = reader.schema.names, None
            else:
                with pa.memory_map(str(path)) as file:
                    reader = pa.ipc.open_file(file)
                    self.names = reader.schema.names
                    batches = map(reader.get_batch, range(reader.num_record_batches))
                    self._n_rows = sum(batch.num_rows for batch in batches)

    def count(self) -> int:
        """The number of rows; a CSV file is read for it."""
        if self._n_rows is None:
            with explained(self._path):
                self._n_rows = sum(batch.num_rows for batch in self._batches(self.names[:1]))
        return self._n_rows

    def blocks(self, roles: Roles) -> Iterator[Block]:
        """All rows, in order."""
        features = self._features(roles)
        columns = [*features]
        columns += [name for name in (roles.target, roles.weight) if name and name not in columns]
        self._check_names(columns)
        start = 0
        for whole in self._batches(columns):
            for first in range(0, whole.num_rows, BLOCK):
                batch = whole.slice(first, BLOCK)
                y, weight = (
                    None if name is None else batch.column(name)
                    for name in (roles.target, roles.weight)
                )
                yield Block(start, batch.select(features), y, weight)
                start += batch.num_rows

    def _features(self, roles: Roles) -> list[str]:
        if roles.features is not None:
            return list(roles.features)
        return [name for name in self.names if name not in (roles.target, roles.weight)]

    def _check_names(self, wanted: Sequence[str]) -> None:
        for name in wanted:
            found = self.names.count(name)
            if found == 0:
                raise CommandError(
                    f"{self._path} has no column {name!r}; it has {', '.join(self.names)}"
                )
            if found > 1:
                raise CommandError(f"{self._path} has {found} columns {name!r}")

    def _batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        path = self._path
        if path.suffix.lower() == ".parquet":
            # Row groups are neither read ahead nor whole: memory is that of the batches.
            with pyarrow.parquet.ParquetFile(path, buffer_size=PAGES, pre_buffer=False) as file:
                yield from file.iter_batches(BLOCK, columns=list(columns))
        elif path.suffix.lower() == ".csv":
            options = pyarrow.csv.ConvertOptions(include_columns=columns)
            with pyarrow.csv.open_csv(path, convert_options=options) as reader:
                yield from reader
        else:
            with pa.memory_map(str(path)) as file:
                reader = pa.ipc.open_file(file)
                for number in range(reader.num_record_batches):
                    yield reader.get_batch(number).select(columns)
