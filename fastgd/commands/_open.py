"""Files of data, opened by the ends of their names; only those of .npz are read whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.commands import CommandError
from fastgd.commands._data import BLOCK, Block, Data, Roles, explained
from fastgd.sources import as_array

SUFFIXES = (".parquet", ".feather", ".arrow", ".csv", ".npy", ".npz")


def open_data(path: Path, target_path: Path | None = None) -> Data:
    """The data at `path`, by the end of its name; an .npy file of X may have one of y.

    Raises
    ------
    CommandError
        If the file cannot be read, or is of an unknown kind.
    """
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise CommandError(f"{path}: files of data end in {', '.join(SUFFIXES)}")
    if target_path is not None and kind != ".npy":
        raise CommandError(f"{path}: only an .npy file of X comes with a second one, of y")
    with explained(path):
        with open(path, "rb"):  # no folder, no rights, no file: told alike for all kinds
            pass
        if kind in (".npy", ".npz"):
            return _load_arrays(path, target_path)
    try:
        from fastgd.commands._arrow import ArrowData
    except ImportError:
        raise CommandError(
            f"reading {path} needs pyarrow: python -m pip install 'fastgd[arrow]'"
        ) from None
    return ArrowData(path)


class ArrayData(NamedTuple):
    """Arrays, in memory or mapped."""

    path: Path
    X: NDArray[Any]
    y: NDArray[Any] | None
    weight: NDArray[Any] | None

    def count(self) -> int:  # type: ignore[override]
        """The number of rows."""
        return len(self.X)

    def blocks(self, roles: Roles) -> Iterator[Block]:
        """All rows, in order."""
        if roles.target is not None or roles.features is not None or roles.weight is not None:
            raise CommandError(f"{self.path}: arrays have no names of columns to choose by")
        parts = (self.X, self.y, self.weight)
        for start in range(0, len(self.X), BLOCK):
            rows = slice(start, start + BLOCK)
            yield Block(start, *(None if part is None else part[rows] for part in parts))


def _load_arrays(path: Path, target_path: Path | None) -> ArrayData:
    if path.suffix.lower() == ".npz":
        # Opened here, since NumPy leaves a file open that it cannot read.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            if "X" not in archive:
                raise CommandError(f"{path} has no array X; it has {', '.join(archive.files)}")
            found = [archive.get(name) for name in ("X", "y", "sample_weight")]
    else:
        found = [np.lib.format.open_memmap(path, mode="r"), None, None]
        if target_path is not None:
            with explained(target_path):
                found[1] = np.lib.format.open_memmap(target_path, mode="r")
    X, *columns = found
    X = as_array("X", X)
    for name, column in zip(("y", "sample_weight"), columns, strict=True):
        if column is not None and np.shape(column) != X.shape[:1]:
            raise CommandError(f"{path}: {name} has shape {np.shape(column)} where X has {X.shape}")
    return ArrayData(path, X, *columns)
