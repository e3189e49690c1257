"""Files of data, opened by the ends of their names; only those of .npz are read whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from fastgd.sources._rows import Batch, DataError, Roles
from fastgd.sources.array_files import ArrayFiles

ARRAYS = (".npy", ".npz")
TABLES = (".parquet", ".feather", ".arrow", ".arrows", ".csv")


class DataFile(Protocol):
    """Rows of numbers in a file.

    Attributes
    ----------
    names : tuple of str or None
        Of the columns, where they have names.
    n_rows : int or None
        Where that is known without reading them.
    """

    path: Path
    names: tuple[str, ...] | None
    n_rows: int | None

    def count(self) -> int:
        """The number of rows."""
        ...

    def features(self, roles: Roles) -> tuple[str, ...] | None:
        """The columns of X: those that are chosen, or all that are for nothing else."""
        ...

    def batches(self, roles: Roles, first: int) -> Iterator[Batch]:
        """The batches from number `first` on."""
        ...

    def n_batches(self, roles: Roles) -> int | None:
        """How many there are, where that is known."""
        ...


def open_file(path: Path, target: Path | None = None, weight: Path | None = None) -> DataFile:
    """The data at `path`, by the end of its name; an .npy file of X may have others of y, weights.

    Raises
    ------
    DataError
        If the file is of an unknown kind, or is not what it says it is.
    ImportError
        If PyArrow is needed, and missing.
    OSError
        If the file cannot be read.
    """
    kind = path.suffix.lower()
    if kind not in (*TABLES, *ARRAYS):
        raise DataError(f"{path}: files of data end in {', '.join((*TABLES, *ARRAYS))}")
    if (target is not None or weight is not None) and kind != ".npy":
        raise DataError(f"{path}: only an .npy file of X comes with a second one, of y")
    with open(path, "rb"):  # no folder, no rights, no file: told alike for all kinds
        pass
    if kind in ARRAYS:
        return ArrayFiles(path, target, weight)
    try:
        from fastgd.sources.arrow_files import TableFile
    except ImportError:
        raise ImportError(
            f"reading {path} needs pyarrow: python -m pip install 'fastgd[arrow]'"
        ) from None
    return TableFile(path)
