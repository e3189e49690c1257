"""Iterables of ``(X, y)`` or ``(X, y, weight)`` batches, and functions that return iterators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.sources._rows import Batch

SLICE = 64 << 20


class GivenBatches:
    """Batches of the caller."""

    is_foreign = True
    skips = False
    n_rows = None
    identity = ()

    def __init__(self, values: Iterable[Any] | Callable[[], Iterator[Any]]) -> None:
        self._values = values
        self.is_in_memory = isinstance(values, (list, tuple))
        self.is_read_once = isinstance(values, Iterator)

    def read(self, first: int) -> Iterator[Batch]:
        """The batches from number `first` on; those before are fetched, too."""
        values = iter(self._values()) if callable(self._values) else iter(self._values)
        number = first
        try:
            for value in islice(values, first, None):
                yield _as_batch(value, f"batch {number}")
                del value
                number += 1
        finally:
            if not self.is_read_once and hasattr(values, "close"):
                values.close()  # in the thread that it ran in


class Slices:
    """Arrays of equal length, as batches of neighbouring rows of about `SLICE` bytes."""

    is_read_once = False
    is_in_memory = True
    is_foreign = False
    skips = True

    def __init__(
        self,
        X: NDArray[Any],
        y: NDArray[Any],
        weight: NDArray[Any] | None,
        names: tuple[str, ...] | None,
    ) -> None:
        self.X, self.y, self.weight, self.names = X, y, weight, names

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.X)

    @property
    def identity(self) -> tuple[str, ...]:
        """How many rows there are."""
        return (f"{self.n_rows} rows",)

    def read(self, first: int) -> Iterator[Batch]:
        """The batches from number `first` on."""
        length = max(SLICE * self.n_rows // max(self.X.nbytes, 1), 1)
        for start in range(first * length, self.n_rows, length):
            rows = slice(start, start + length)
            weight = None if self.weight is None else self.weight[rows]
            where = f"counting from row {start}"
            yield Batch(self.X[rows], self.y[rows], weight, where, start, self.names)


def as_batches(X: object) -> GivenBatches | None:
    """What yields batches; None for what is data itself, or nothing that can be fitted."""
    if isinstance(X, (str, bytes, dict, np.ndarray)) or hasattr(X, "__array__"):
        return None
    if hasattr(X, "__dlpack__") or hasattr(X, "__arrow_c_stream__") or isinstance(X, type):
        return None
    if isinstance(X, (list, tuple)) and X and not isinstance(X[0], (list, tuple)):
        return None
    return GivenBatches(X) if isinstance(X, Iterable) or callable(X) else None


def _as_batch(value: object, where: str) -> Batch:
    if not isinstance(value, (tuple, list)) or len(value) not in (2, 3):
        raise TypeError(
            f"{where} must be a tuple (X, y) or (X, y, weight); got {_described(value)}"
        )
    X, y, weight = value if len(value) == 3 else (*value, None)
    if not (hasattr(X, "__len__") or hasattr(X, "__array__")):
        raise TypeError(f"{where} must be a tuple (X, y) of arrays; its X is {_described(X)}")
    return Batch(X, y, weight, where)


def _described(value: object) -> str:
    kind = type(value).__name__
    if isinstance(value, (tuple, list)):
        return f"a {kind} of {len(value)}"
    return f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else kind
