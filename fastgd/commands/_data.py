"""Files of data, read in blocks of rows: never whole, but for .npz, which is a whole."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from fastgd.commands import CommandError
from fastgd.sources import as_array

# Rows read at a time.
BLOCK = 65536

SUFFIXES = (".parquet", ".feather", ".arrow", ".csv", ".npy", ".npz")


class Roles(NamedTuple):
    """Which columns are what; None where they are not asked for or not chosen."""

    target: str | None = None
    features: tuple[str, ...] | None = None
    weight: str | None = None


class Block(NamedTuple):
    """Some rows: a table or an array, and arrays of a single column."""

    start: int
    X: Any
    y: Any
    weight: Any

    @property
    def n_rows(self) -> int:
        return int(self.X.num_rows if hasattr(self.X, "num_rows") else len(self.X))

    def rows(self, start: int, stop: int) -> Block:
        """Those of these rows, numbered as in the file, that lie in ``start:stop``."""
        first = max(start - self.start, 0)
        count = max(min(stop - self.start, self.n_rows) - first, 0)
        parts = (
            part if part is None or count == self.n_rows else _slice(part, first, count)
            for part in (self.X, self.y, self.weight)
        )
        return Block(self.start + first, *parts)


def _slice(part: Any, start: int, count: int) -> Any:
    return part.slice(start, count) if hasattr(part, "slice") else part[start : start + count]


class Data(Protocol):
    """Rows of numbers in a file."""

    @abstractmethod
    def count(self) -> int:
        """The number of rows."""

    @abstractmethod
    def blocks(self, roles: Roles) -> Iterator[Block]:
        """All rows, in order."""


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


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Name the file in what goes wrong."""
    try:
        yield
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror or error}") from None
    except (
        TypeError, ValueError, OverflowError, EOFError, NotImplementedError, BadZipFile
    ) as error:  # fmt: skip  # what NumPy and PyArrow raise for files that are not as they say
        raise CommandError(f"{path}: {error}") from None


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
