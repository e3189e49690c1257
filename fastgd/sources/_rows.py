"""Rows of numbers that come in batches, from files or from the caller."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol
from zipfile import BadZipFile

# Rows read at a time from files of tables, and numbers at most: a batch of so many float64 is
# 32 MB. Of many columns rows are fewer, but never less than the least.
ROWS, NUMBERS, LEAST_ROWS = 65536, 1 << 22, 1024


class DataError(ValueError):
    """Files that cannot be used, in words that name them."""


@contextmanager
def naming(path: object) -> Iterator[None]:
    """Name the file in what NumPy and PyArrow raise for one that is not what it says it is."""
    try:
        yield
    except DataError:
        raise
    except OSError as error:
        if error.errno is not None:
            raise
        raise DataError(f"{path}: {error}") from None
    except (ValueError, EOFError, NotImplementedError, BadZipFile) as error:
        raise DataError(f"{path}: {error}") from None


class Roles(NamedTuple):
    """Which columns are what; None where they are not asked for or not chosen."""

    target: str | None = None
    features: tuple[str, ...] | None = None
    weight: str | None = None


class Batch(NamedTuple):
    """Some rows: a table or an array, and arrays of a single column.

    Attributes
    ----------
    where : str
        For messages: what batch it is.
    start : int
        The number of its first row, where that is known.
    names : tuple of str or None
        Of the columns of X, where X is an array that was a table.
    """

    X: Any
    y: Any
    weight: Any
    where: str
    start: int = 0
    names: tuple[str, ...] | None = None

    @property
    def n_rows(self) -> int:
        """How many rows; 0 where that is not to be seen, and X will be refused."""
        if hasattr(self.X, "num_rows"):
            return int(self.X.num_rows)
        return len(self.X) if hasattr(self.X, "__len__") else 0

    def rows(self, start: int, stop: int) -> Batch:
        """Those of these rows, numbered as in the file, that lie in ``start:stop``."""
        first = max(start - self.start, 0)
        count = max(min(stop - self.start, self.n_rows) - first, 0)
        X, y, weight = (
            part if part is None or count == self.n_rows else _slice(part, first, count)
            for part in (self.X, self.y, self.weight)
        )
        return self._replace(X=X, y=y, weight=weight, start=self.start + first)


def _slice(part: Any, start: int, count: int) -> Any:
    return part.slice(start, count) if hasattr(part, "slice") else part[start : start + count]


class Batches(Protocol):
    """Batches of rows, always the same and in the same order.

    Attributes
    ----------
    is_read_once : bool
        There is no second read.
    is_in_memory : bool
        To fetch a batch takes no time.
    is_foreign : bool
        The caller makes the batches, perhaps in the memory of the last one.
    skips : bool
        Batches that are passed over are not read.
    n_rows : int or None
        Of all batches, where that is known.
    identity : tuple of str
        What tells these data from others, as far as it is known without reading them.
    """

    is_read_once: bool
    is_in_memory: bool
    is_foreign: bool
    skips: bool

    @property
    @abstractmethod
    def n_rows(self) -> int | None: ...

    @property
    @abstractmethod
    def identity(self) -> tuple[str, ...]: ...

    @abstractmethod
    def read(self, first: int) -> Iterator[Batch]:
        """The batches from number `first` on."""


def rows_of_batch(n_columns: int) -> int:
    """How many rows of a table are read at a time."""
    return min(ROWS, max(LEAST_ROWS, NUMBERS // max(n_columns, 1)))


def check_names(path: object, names: Sequence[str], roles: Roles) -> None:
    """Raise unless each column that is wanted is there, once, and for one thing."""
    features = roles.features or ()
    for name, number in Counter(features).items():
        if number > 1:
            raise DataError(f"{path}: features must be different columns; got {name!r} twice")
    others = {"target": roles.target, "weight": roles.weight}
    for what, column in others.items():
        if column in features:
            raise DataError(f"{path}: features must not have the {what} among them, {column!r}")
    for name in (*features, *(column for column in others.values() if column is not None)):
        found = names.count(name)
        if found == 0:
            raise DataError(f"{path} has no column {name!r}; it has {', '.join(names)}")
        if found > 1:
            raise DataError(f"{path} has {found} columns {name!r}")
