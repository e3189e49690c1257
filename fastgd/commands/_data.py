"""The data that a command line names: a file, or all tables in a folder or of a pattern."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fastgd.commands._explained import explained
from fastgd.sources._rows import Batch, DataError, Roles, check_names
from fastgd.sources.files import ARRAYS, open_file
from fastgd.sources.paths import paths_of


class Data:
    """Rows of files one after the other.

    Attributes
    ----------
    names : tuple of str or None
        Of the columns of the first file, where they have names.
    """

    def __init__(self, path: Path, y: Path | None = None) -> None:
        with explained(path):
            paths = paths_of(path)
            if len(paths) > 1:
                _check_tables(path, paths, y)
            self._files = [open_file(part, y) for part in paths]
        self.names = self._files[0].names

    def count(self) -> int:
        """The number of rows."""
        return sum(file.count() for file in self._files)

    def batches(self, roles: Roles) -> Iterator[Batch]:
        """All batches, numbered through; each file has the columns of the first."""
        if self.names is not None:
            roles = roles._replace(features=self._files[0].features(roles))
            for file in self._files:
                check_names(file.path, file.names or (), roles)
        start = 0
        for file in self._files:
            for batch in file.batches(roles, 0):
                yield batch._replace(start=start)
                start += batch.n_rows


def files_read(path: Path) -> list[Path]:
    """The files of the data at `path`."""
    with explained(path):
        return paths_of(path)


def _check_tables(path: Path, paths: list[Path], y: Path | None) -> None:
    if y is not None or any(part.suffix.lower() in ARRAYS for part in paths):
        raise DataError(f"{path}: one file of arrays is read at a time; got {len(paths)}")
