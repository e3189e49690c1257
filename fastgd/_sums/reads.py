"""What is read for sums: arrays in memory by a backend, or blocks, each of them in its turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from operator import add
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastgd._data.blocks import Blocks, either, merged
from fastgd._data.problem import Problem, check_not_small, explain_non_finite
from fastgd._moments.moments import Moments, moments_of
from fastgd._settings import Settings
from fastgd._sums.checkpoint import Checkpoint, identity_of
from fastgd._sums.streamed import Streamed
from fastgd.backends import ColumnStatistics, Pass, Sums, load_backend

T = TypeVar("T")


class Reads(Protocol):
    """Reads of some data; each method takes one, and a pass one for each call."""

    @property
    def n_samples(self) -> int: ...

    @property
    def is_read_once(self) -> bool: ...

    def column_statistics(self) -> ColumnStatistics:
        """Means and deviations of the columns of X."""
        ...

    def moments(self, precision: str = "double") -> Moments:
        """First and second moments: never in single, or the minimum itself would move."""
        ...

    def check_not_small(self, columns: NDArray[np.bool_]) -> None:
        """Raise if squares underflow in these columns, of X and then of y."""
        ...

    def sample(self, n_rows: int) -> Moments | None:
        """Moments of about `n_rows` drawn at random, always the same; None if without weight."""
        ...

    def open_pass(self) -> AbstractContextManager[Pass]:
        """Make ready to read the data any number of times."""
        ...


class ArrayReads(NamedTuple):
    """Reads of arrays."""

    problem: Problem
    settings: Settings
    is_read_once: bool = False

    @property
    def n_samples(self) -> int:
        return self.problem.n_samples

    def column_statistics(self) -> ColumnStatistics:
        settings = self.settings
        return load_backend(settings.backend).column_statistics(self.problem, settings.n_threads)

    def moments(self, precision: str = "double") -> Moments:
        return _moments(self.settings, self.problem, precision)

    def check_not_small(self, columns: NDArray[np.bool_]) -> None:
        check_not_small(self.problem, columns)

    def sample(self, n_rows: int) -> Moments | None:
        return _sample(self.settings, n_rows / self.problem.n_samples, self.problem)

    def open_pass(self) -> AbstractContextManager[Pass]:
        settings = self.settings
        backend = load_backend(settings.backend)
        return backend.open_pass(self.problem, settings.n_threads, None, settings.precision)


class BlockReads:
    """Reads of blocks, which are also what a descent asks of its data: a `Source`.

    How many rows there are is known after the first read.
    """

    def __init__(self, blocks: Blocks, settings: Settings) -> None:
        if settings.n_threads is None:
            settings = settings._replace(n_threads=getattr(blocks, "n_threads", None))
        # What the work on a block does not ask for may not be possible to send, or be large.
        self._settings = settings._replace(callback=None, learning_rate=None, random_state=None)
        self.blocks = blocks
        if isinstance(blocks, Streamed):
            blocks.progress = settings.progress
        self.n_features = blocks.n_features
        self.one_dimensional, self.targets = blocks.one_dimensional, blocks.targets
        self.dtype, self.feature_names = blocks.dtype, blocks.feature_names
        self.is_read_once = blocks.is_read_once
        self._n_samples: int | None = None

    @property
    def n_samples(self) -> int:
        if self._n_samples is None:
            self.column_statistics()
        assert self._n_samples is not None
        return self._n_samples

    def close(self) -> None:
        """End what the blocks have open."""
        close(self.blocks)

    def explain(self) -> None:
        """Raise if a block holds NaN or infinity."""
        if self.blocks.is_read_once:
            return  # it was looked for in the moments of each
        self.blocks.reduce(explain_non_finite, either(_neither))

    def column_statistics(self) -> ColumnStatistics:
        columns = self._reduce(partial(_columns, self._settings), _Columns.merged)
        self._n_samples = columns.n_samples
        return ColumnStatistics(columns.mean, np.sqrt(columns.scatter / columns.weights))

    def moments(self, precision: str = "double") -> Moments:
        work = partial(_moments, self._settings, precision=precision)
        moments = self._checkpointed(work, precision) or self._reduce(work, add)
        self._n_samples = moments.n_samples
        return moments

    def check_not_small(self, columns: NDArray[np.bool_]) -> None:
        if not self.is_read_once:
            self.blocks.reduce(partial(check_not_small, columns=columns), either(_neither))

    def sample(self, n_rows: int) -> Moments | None:
        work = partial(_sample, self._settings, n_rows / self.n_samples)
        return self.blocks.reduce(work, either(add))

    @contextmanager
    def open_pass(self) -> Iterator[Pass]:
        def read(coef: NDArray[np.float64], intercept: Any) -> Sums:
            return self._reduce(partial(_sums, self._settings, coef, intercept), _added)

        yield read

    def _checkpointed(self, work: Callable[[Problem], Moments], precision: str) -> Moments | None:
        """The moments, with a file to go on from; None where none is asked for."""
        path, blocks = self._settings.checkpoint, self.blocks
        if path is None or not isinstance(blocks, Streamed):
            return None
        identity = identity_of(blocks.first, self._settings.backend)
        kept = Checkpoint(path, (*blocks.identity, *identity, precision))
        moments: Moments | None = blocks.reduce(work, add, kept)
        kept.remove()
        return moments

    def _reduce(self, work: Callable[[Problem], T], merge: Callable[[T, T], T]) -> T:
        return merged(self.blocks, work, merge)


def close(blocks: Blocks) -> None:
    """End what `blocks` have open: batches, a thread that fetches them."""
    if isinstance(blocks, Streamed):
        blocks.close()


class _Columns(NamedTuple):
    """Statistics of columns that can be merged."""

    n_samples: int
    weights: float
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]

    def merged(self, other: _Columns) -> _Columns:
        weights = self.weights + other.weights
        shift = other.mean - self.mean
        return _Columns(
            self.n_samples + other.n_samples,
            weights,
            self.mean + shift * (other.weights / weights),
            self.scatter + other.scatter + shift**2 * (self.weights * other.weights / weights),
        )


# The work on a block: functions of the module, so that an engine can send them to where it lies.


def _columns(settings: Settings, block: Problem) -> _Columns:
    mean, deviation = ArrayReads(block, settings).column_statistics()
    weight = block.sample_weight
    weights = float(block.n_samples) if weight is None else float(weight.sum(dtype=np.float64))
    return _Columns(block.n_samples, weights, mean, weights * deviation**2)


def _moments(settings: Settings, block: Problem, precision: str = "double") -> Moments:
    return moments_of(block, settings.backend, precision, settings.n_threads)


def _sums(settings: Settings, coef: NDArray[np.float64], intercept: Any, block: Problem) -> Sums:
    with ArrayReads(block, settings).open_pass() as read:
        return read(coef, intercept)


def _sample(settings: Settings, part: float, block: Problem) -> Moments | None:
    n = block.n_samples
    n_rows = max(round(part * n), 1)
    if n_rows >= n:
        return _moments(settings, block)
    rows = _drawn(n, n_rows)
    weight = None if block.sample_weight is None else block.sample_weight[rows]
    if weight is not None and not weight.any():
        return None
    X = block.X
    # Twice as fast as by index, but would copy all of what is not contiguous.
    drawn_X = X.take(rows, axis=0) if X.flags.c_contiguous else X[rows]
    drawn = block._replace(X=drawn_X, y=block.y[rows], sample_weight=weight)
    return _moments(settings, drawn)


def _drawn(n: int, number: int) -> NDArray[np.int64]:
    """Rows drawn at random, always the same, in order; less those that are drawn again.

    NumPy's `unique` takes 15 times as long for 50,000 of a million.
    """
    rows = np.random.default_rng(0).integers(0, n, number)
    rows.sort()
    return rows[np.diff(rows, prepend=-1) > 0]


def _added(first: Sums, second: Sums) -> Sums:
    return Sums(*map(add, first, second))


def _neither(first: None, second: None) -> None:
    return None
