"""Data in blocks: what a source or an engine offers, and in which order results are merged."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike

from fastgd._missing import NoRowsError
from fastgd._problem import Problem, as_problem

T = TypeVar("T")

# By the top-level package of the class of X, or of a class that it inherits from: modules with
# ``as_blocks(X, y, sample_weight, missing)``, which returns `Blocks`.
KINDS: dict[str, str] = {
    "pyarrow": "fastgd._streamed",
}

# Where X yields y, too, in batches.
BATCHES = "fastgd._streamed"


class Blocks(Protocol):
    """Data that are met one block at a time, here or elsewhere; each is a `Problem` on its own.

    Attributes
    ----------
    n_features, one_dimensional, dtype, targets, feature_names
        As of a `Problem`, and the same for every block.
    is_read_once : bool
        There is no second read of these data.
    """

    @property
    def n_features(self) -> int: ...

    @property
    def one_dimensional(self) -> bool: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def targets(self) -> tuple[int, ...]: ...

    @property
    def feature_names(self) -> tuple[str, ...] | None: ...

    @property
    def is_read_once(self) -> bool: ...

    def reduce(self, work: Callable[[Problem], T], merge: Callable[[T, T], T]) -> T | None:
        """Do `work` on every block, and merge the results in the order of a `Tree`.

        Both functions can be pickled, and `merge` takes None for either value. Blocks without a
        row, or without weight, are None; where all of them are, so is what is returned.
        """
        ...


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


def optional(work: Callable[[Problem], T]) -> Callable[[Problem | None], T | None]:
    """`work`, and None for blocks without rows."""
    return partial(_if_some, work)


def either(merge: Callable[[T, T], T]) -> Callable[[T | None, T | None], T | None]:
    """`merge`, where either value may be missing."""
    return partial(_merge_some, merge)


def _if_some(work: Callable[[Problem], T], block: Problem | None) -> T | None:
    return None if block is None else work(block)


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


def as_blocks(X: object, y: object, sample_weight: object, missing: str) -> Blocks | None:
    """Blocks, if X is a kind of data that comes in them; None if it is not."""
    if isinstance(X, (np.ndarray, int, float)) or (y is not None and isinstance(X, (list, tuple))):
        return None
    if hasattr(X, "reduce") and hasattr(X, "is_read_once"):
        return cast(Blocks, X)
    for base in type(X).__mro__:
        package = base.__module__.partition(".")[0]
        if package in KINDS:
            return _load(KINDS[package], X, y, sample_weight, missing)
    return _load(BATCHES, X, y, sample_weight, missing) if y is None else None


def _load(module: str, *given: object) -> Blocks | None:
    blocks: Blocks | None = import_module(module).as_blocks(*given)
    return blocks
