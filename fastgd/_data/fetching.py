"""Batches as they are fetched: checked, each by itself and against the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from fastgd._data.blocks import as_block
from fastgd._data.prefetch import Prefetch
from fastgd._data.problem import Problem
from fastgd.sources._rows import Batches


class Layout(NamedTuple):
    """What all batches have in common: that of blocks, and whether there are weights."""

    n_features: int
    one_dimensional: bool
    dtype: np.dtype[Any]
    targets: tuple[int, ...]
    feature_names: tuple[str, ...] | None
    weighted: bool


# How a layout is told, by the name of what differs.
_WORDS: dict[str, Callable[[Any], str]] = {
    "n_features": lambda n: f"{n} features",
    "one_dimensional": lambda is_so: "1-D X" if is_so else "2-D X",
    "dtype": lambda dtype: f"X of dtype {dtype}",
    "targets": lambda shape: f"{shape[0]} targets" if shape else "1-D y",
    "feature_names": lambda names: (
        f"columns {', '.join(names)}" if names else "no names of columns"
    ),
    "weighted": lambda is_so: "weights" if is_so else "no weights",
}


class Fetched(NamedTuple):
    """A batch, checked; `block` is None if no row of it counts."""

    number: int
    where: str
    n_rows: int
    block: Problem | None


class Fetcher:
    """Fetches the batches of a source, in another thread where that may gain time."""

    def __init__(self, batches: Batches, missing: str) -> None:
        self._batches, self.missing = batches, missing
        self.layout: Layout | None = None
        # What the caller makes is fetched in turn until it shows that it leaves the last batch be.
        self._ahead = 0 if batches.is_foreign else 1

    def fetch(self, first: int) -> Iterator[Fetched]:
        """The batches from number `first` on; a `Prefetch` is closed by who asks for it."""
        if self._batches.is_in_memory:
            return self._fetch(first)
        return Prefetch(lambda: self._fetch(first), lambda: self._ahead)

    def _fetch(self, first: int) -> Iterator[Fetched]:
        number, before = first, None
        for batch in self._batches.read(first):
            with told(batch.where):
                block = as_block(batch.X, batch.y, batch.weight, self.missing)
                if block is not None:
                    if batch.names is not None:
                        block = block._replace(feature_names=batch.names)
                    self._check_alike(block)
                    before = self._check_overwriting(before, block)
            fetched = Fetched(number, batch.where, batch.n_rows, block)
            del batch, block  # what is converted is not kept beside what it became
            yield fetched
            del fetched
            number += 1

    def _check_alike(self, block: Problem) -> None:
        layout = Layout(
            block.n_features,
            block.one_dimensional,
            block.dtype,
            block.targets,
            block.feature_names,
            block.sample_weight is not None,
        )
        if self.layout is None:
            self.layout = layout
        for name, first, found in zip(Layout._fields, self.layout, layout, strict=True):
            if found != first:
                tell = _WORDS[name]
                raise ValueError(f"{tell(found)}, where those before had {tell(first)}")

    def _check_overwriting(self, before: Problem | None, block: Problem) -> Problem | None:
        """Whether the batch was made in the memory of the one before, which may be in use."""
        if not self._batches.is_foreign or self._batches.is_in_memory:
            return None
        if before is not None:
            shared = _share_memory(before, block)
            if shared and self._ahead:
                raise ValueError(
                    "it lies in the memory of the batch before, which was still in use; yield "
                    "copies, or a new array for each batch"
                )
            self._ahead = 0 if shared else 1
        return block


def _share_memory(first: Problem, second: Problem) -> bool:
    pairs = zip(first[:3], second[:3], strict=True)
    return any(a is not None and b is not None and np.may_share_memory(a, b) for a, b in pairs)


@contextmanager
def told(where: str) -> Iterator[None]:
    """Say which batch an error is about."""
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        for kind in (TypeError, OverflowError, ValueError):
            if isinstance(error, kind):
                raise kind(f"{where}: {error}") from None
        raise
