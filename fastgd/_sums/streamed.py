"""Batches as blocks: the next is fetched while the last is worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike

from fastgd._data.blocks import Tree, either
from fastgd._data.fetching import Fetched, Fetcher, Layout, told
from fastgd._data.missing import NoRowsError
from fastgd._data.prefetch import Prefetch
from fastgd._data.problem import Problem, as_problem
from fastgd._watch import RowsBar
from fastgd.sources._rows import Batches
from fastgd.sources.batches import Slices, as_batches
from fastgd.sources.scan import scan

T = TypeVar("T")
Parts = tuple[tuple[int, Any], ...]


class Kept(Protocol):
    """What keeps the parts of a tree, to go on from."""

    def restore(self) -> tuple[int, Parts]:
        """How many blocks were done, and the parts of their tree."""
        ...

    def offer(self, n_done: int, parts: Parts) -> None:
        """Keep these, if it is time."""
        ...

    def keep(self) -> None:
        """Keep what was offered last."""
        ...


class Streamed:
    """Batches as `fastgd._data.blocks.Blocks`; who makes one closes it.

    The first batch is fetched at once, for the layout, and waits for the first read.
    """

    def __init__(self, batches: Batches, missing: str) -> None:
        self._batches = batches
        self._fetcher = Fetcher(batches, missing)
        self._is_read = False
        self._waiting: list[Fetched] = []
        self._open = self._fetcher.fetch(0)
        self.progress: bool | None = False
        try:
            self.first = self._look_ahead()
        except BaseException:
            self.close()
            raise

    @property
    def _layout(self) -> Layout:
        assert self._fetcher.layout is not None  # the first batch is looked at
        return self._fetcher.layout

    @property
    def n_features(self) -> int:
        return self._layout.n_features

    @property
    def one_dimensional(self) -> bool:
        return self._layout.one_dimensional

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._layout.dtype

    @property
    def targets(self) -> tuple[int, ...]:
        return self._layout.targets

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        return self._layout.feature_names

    @property
    def is_read_once(self) -> bool:
        return self._batches.is_read_once

    @property
    def identity(self) -> tuple[str, ...]:
        """What tells these data from others, as far as it is known."""
        layout = zip(Layout._fields, self._layout, strict=True)
        told = (f"{name} {value}" for name, value in layout)
        return (*self._batches.identity, *told, f"missing {self._fetcher.missing}")

    def close(self) -> None:
        """End the thread that fetches, if there is one."""
        if isinstance(self._open, Prefetch):
            self._open.close()
        self._open, self._waiting = iter(()), []

    def reduce(
        self, work: Callable[[Problem], T], merge: Callable[[T, T], T], kept: Kept | None = None
    ) -> T | None:
        """Do `work` on every block, and merge the results in the order of a `Tree`.

        Goes on from what is `kept`, and keeps it up to date.
        """
        n_done, parts = (0, ()) if kept is None else kept.restore()
        tree: Tree[T | None] = Tree(either(merge), parts)
        try:
            with RowsBar(self.progress, self._batches.n_rows) as bar:
                for fetched in self._from(n_done):
                    tree.add(_done(work, fetched))
                    bar.update(fetched.n_rows)
                    if kept is not None:
                        kept.offer(fetched.number + 1, tree.parts)
        except BaseException:
            if kept is not None:
                kept.keep()
            raise
        finally:
            self.close()
        return tree.total()

    def _from(self, first: int) -> Iterator[Fetched]:
        """The batches from number `first` on."""
        if self._is_read and self.is_read_once:
            raise ValueError(
                "X can be read only once, being an iterator, and a second read was asked for; give "
                "a list, an object whose __iter__ starts anew or a function that returns a new "
                'iterator, or use strategy="moments"'
            )
        waiting = [fetched for fetched in self._waiting if fetched.number >= first]
        if self._is_read or (self._batches.skips and first > len(self._waiting)):
            self.close()
            self._open = self._fetcher.fetch(first)
        self._is_read, self._waiting = True, []
        while waiting:
            yield waiting.pop(0)
        for fetched in self._open:
            if fetched.number >= first:
                yield fetched
            del fetched

    def _look_ahead(self) -> Problem:
        """The first batch that has rows."""
        for fetched in self._open:
            self._waiting.append(fetched)
            if fetched.block is not None:
                return fetched.block
        raise NoRowsError(
            "X yields no rows, or none that are complete and of any weight"
            if self._waiting
            else "X yields no batches"
        )


def _done(work: Callable[[Problem], T], fetched: Fetched) -> T | None:
    if fetched.block is None:
        return None
    with told(fetched.where):
        return work(fetched.block)


def as_blocks(X: object, y: object, sample_weight: object, missing: str) -> Streamed | None:
    """What yields batches, as blocks; None for anything else."""
    if isinstance(y, str):  # a column of what PyArrow reads in batches
        return Streamed(scan(X, target=y, weight=cast(Any, sample_weight)), missing)
    if y is not None:
        return None
    batches = cast(Batches, X) if hasattr(X, "is_foreign") else as_batches(X)
    if batches is None:
        return None
    if sample_weight is not None:
        raise TypeError("sample_weight must not be given where X yields batches, which hold it")
    return Streamed(batches, missing)


def array_blocks(
    X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None, missing: str
) -> Streamed:
    """Arrays as batches of neighbouring rows."""
    whole = as_problem(X, y, sample_weight, targets=True)
    features = whole.X[:, 0] if whole.one_dimensional else whole.X
    return Streamed(Slices(features, whole.y, whole.sample_weight, whole.feature_names), missing)
