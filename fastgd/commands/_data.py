"""Rows of numbers from files, in blocks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from zipfile import BadZipFile

from fastgd.commands import CommandError

# Rows read at a time.
BLOCK = 65536


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
