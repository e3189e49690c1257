"""Data in blocks: what a source or an engine offers, and in which order results are merged."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike

from fastgd._data.arrays import as_float_array
from fastgd._data.missing import NoRowsError
from fastgd._data.problem import Described, Problem, as_problem
from fastgd.sources import as_table

T = TypeVar("T")

# By the top-level package of the class of X, or of a class that it inherits from: modules with
# ``as_blocks(X, y, sample_weight, missing)``, which returns `Blocks`.
KINDS: dict[str, str] = {
    "dask": "fastgd.distributed.dask",
    "pyspark": "fastgd.distributed.spark",
    "pyarrow": "fastgd._sums.streamed",
}

# Where X yields y, too, in batches.
BATCHES = "fastgd._sums.streamed"


class Blocks(Described, Protocol):
    """Data that are met one block at a time, here or elsewhere; each is a `Problem` on its own.

    Attributes
    ----------
    n_features, one_dimensional, dtype, targets, feature_names
        As of a `Problem`, and the same for every block.
    is_read_once : bool
        There is no second read of these data.
    n_threads : int or None
        Threads for the work on a block, where the caller of `fastgd.fit` does not say. An engine
        that works on as many blocks as there are CPUs says 1. May be missing, which is None.
    """

    @property
    def is_read_once(self) -> bool: ...

    def reduce(self, work: Callable[[Problem], T], merge: Callable[[T, T], T]) -> T | None:
        """Do `work` on every block, and merge the results in the order of a `Tree`.

        Both functions can be pickled, and `merge` takes None for either value. Blocks without a
        row, or without weight, are None; where all of them are, so is what is returned.
        """
        ...


class Layout(NamedTuple):
    """What all blocks of some data have in common; see `Blocks`."""

    n_features: int
    one_dimensional: bool
    dtype: np.dtype[Any]
    targets: tuple[int, ...]
    feature_names: tuple[str, ...] | None


def layout_of(X: ArrayLike, y: ArrayLike) -> Layout:
    """The layout of blocks like these, which need not have any rows.

    Raises
    ------
    TypeError, ValueError
        If they do not hold real numbers, or have no columns.
    """
    table = as_table(X)
    features, target = as_float_array("X", X if table is None else table), as_float_array("y", y)
    for name, array in (("X", features), ("y", target)):
        if array.ndim not in (1, 2) or 0 in array.shape[1:]:
            raise ValueError(f"{name} must be 1-D or 2-D, with columns; got shape {array.shape}")
    n_features = 1 if features.ndim == 1 else features.shape[1]
    names = None if table is None else table.names
    return Layout(n_features, features.ndim == 1, features.dtype, target.shape[1:], names)


class Tree(Generic[T]):
    """Merges values in pairs, by their number alone: as if carried in binary addition.

    The order is the same for values as they come, for promises of values that an engine makes,
    and for any number of workers, and so are the bits of what comes out. No more than one value
    for each binary digit of their number is kept.

    Examples
    --------
    >>> tree = Tree(lambda a, b: f"({a}{b})")
    >>> for letter in "abcdef":
    ...     tree.add(letter)
    >>> tree.total()
    '(((ab)(cd))(ef))'
    """

    def __init__(self, merge: Callable[[T, T], T], parts: Iterable[tuple[int, T]] = ()) -> None:
        self._merge = merge
        # Values, with the number that each is made of.
        self._parts: list[tuple[int, T]] = list(parts)

    @property
    def parts(self) -> tuple[tuple[int, T], ...]:
        """All that is kept, from which another tree goes on."""
        return tuple(self._parts)

    def add(self, value: T) -> None:
        """The next value."""
        count = 1
        while self._parts and self._parts[-1][0] == count:
            value = self._merge(self._parts.pop()[1], value)
            count *= 2
        self._parts.append((count, value))

    def total(self) -> T | None:
        """All values merged; None if there were none."""
        if not self._parts:
            return None
        *others, (_, value) = self._parts
        for _, before in reversed(others):
            value = self._merge(before, value)
        return value


def merged(blocks: Blocks, work: Callable[[Problem], T], merge: Callable[[T, T], T]) -> T:
    """The results of `work` on all `blocks`, merged.

    Raises
    ------
    NoRowsError
        If there are none.
    """
    total = blocks.reduce(work, either(merge))
    if total is None:
        raise NoRowsError("X has no rows, or none that are complete and of any weight")
    return total


def merge_in_order(merge: Callable[[T, T], T], *values: T) -> T | None:
    """All `values` merged, in the order of a `Tree`.

    A tree of such trees, each over as many values as a power of two says and the last over what
    is left, is one tree: an engine may merge by twos or by eights.
    """
    tree = Tree(merge)
    for value in values:
        tree.add(value)
    return tree.total()


def either(merge: Callable[[T, T], T]) -> Callable[[T | None, T | None], T | None]:
    """`merge`, where either value may be missing."""
    return partial(_merge_some, merge)


def _merge_some(merge: Callable[[T, T], T], first: T | None, second: T | None) -> T | None:
    if first is None or second is None:
        return second if first is None else first
    return merge(first, second)


def as_block(
    X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None, missing: str
) -> Problem | None:
    """One block, checked; None if it has no rows, or none of any weight."""
    if len(X) == 0:  # type: ignore[arg-type]
        return None
    if sample_weight is not None and not np.asarray(sample_weight).any():
        return None
    try:
        return as_problem(X, y, sample_weight, targets=True, missing=missing)
    except NoRowsError:
        return None


def work_on(
    work: Callable[[Problem], T],
    number: int | str,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None,
    missing: str,
) -> T | None:
    """What `work` makes of the block of this number; errors tell the number."""
    try:
        block = as_block(X, y, sample_weight, missing)
        return None if block is None else work(block)
    except (TypeError, ValueError, OverflowError) as error:
        if type(error) not in (TypeError, ValueError, OverflowError):
            raise
        raise type(error)(f"in block {number}: {error}") from None


def as_blocks(X: object, y: object, sample_weight: object, missing: str) -> Blocks | None:
    """Blocks, if X is a kind of data that comes in them; None if it is not."""
    if isinstance(X, (np.ndarray, int, float)) or (y is not None and isinstance(X, (list, tuple))):
        return None
    if hasattr(X, "reduce") and hasattr(X, "is_read_once"):
        return cast(Blocks, X)
    kind = _kind(X) or (BATCHES if y is None else None)
    if kind is None:
        return None
    blocks: Blocks | None = import_module(kind).as_blocks(X, y, sample_weight, missing)
    return blocks


def lazy_prediction(X: object) -> Callable[..., Any] | None:
    """What predicts for X when asked to compute, where X is of such a kind."""
    kind = None if isinstance(X, (np.ndarray, int, float)) else _kind(X)
    return None if kind is None else getattr(import_module(kind), "predict", None)


def _kind(X: object) -> str | None:
    packages = (base.__module__.partition(".")[0] for base in type(X).__mro__)
    return next((KINDS[package] for package in packages if package in KINDS), None)
