"""The moments of each fold of cross-validation, and of all the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import accumulate
from operator import add

import numpy as np

from fastgd import _check
from fastgd._data.arrays import check_one_target
from fastgd._data.problem import Problem, explain_non_finite
from fastgd._moments.moments import Moments, moments_of

# Shuffled, rows go to the folds in so many blocks for each fold.
SHUFFLED_BLOCKS = 64


def number_of_folds(cv: object, n_samples: int) -> int:
    """`cv`, if it is a number of folds that `n_samples` can be divided into."""
    if np.ndim(cv) > 0 or hasattr(cv, "split"):  # type: ignore[arg-type]
        raise TypeError(
            "cv must be a number of folds, since folds of arbitrary rows would need more than one "
            f"read; got {_check.describe(cv)}"
        )
    n_folds = _check.integer("cv", cv, least=2)
    if n_folds > n_samples:
        raise ValueError(f"cv={n_folds} folds need as many samples; X has {n_samples}")
    return n_folds


def given_folds(folds: Sequence[Moments], y: object, sample_weight: object) -> list[Moments]:
    """Folds that are given as moments, checked."""
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise TypeError(f"{name} must not be given where X is moments, which hold it")
    if len(folds) < 2:
        raise ValueError(f"X must be moments of at least 2 folds; got {len(folds)}")
    check_one_target("X must be moments of one target, from 1-D y", folds[0].targets)
    for other in folds[1:]:
        folds[0].check_alike(other)
    return list(folds)


def fold_moments(
    problem: Problem,
    n_folds: int,
    rng: np.random.Generator | None,
    backend: str,
    n_threads: int | None,
) -> list[Moments]:
    """Moments of contiguous folds, or with `rng` of folds of blocks of rows; one read in all."""
    n = problem.n_samples
    n_blocks = n_folds if rng is None else min(n, SHUFFLED_BLOCKS * n_folds)
    order = list(range(n_blocks)) if rng is None else rng.permutation(n_blocks).tolist()
    folds = []
    for fold in range(n_folds):
        blocks = sorted(order[fold::n_folds])
        rows = [slice(n * block // n_blocks, n * (block + 1) // n_blocks) for block in blocks]
        try:
            parts = list(_moments_of_blocks(problem, rows, backend, n_threads))
            if parts:
                folds.append(reduce(add, parts))
        except (ValueError, OverflowError):
            explain_non_finite(problem)  # with the row's number in X
            raise
        if not parts:
            raise ValueError(f"fold {fold} has no weight: all of its sample_weight are 0")
    return folds


def _moments_of_blocks(
    problem: Problem, blocks: list[slice], backend: str, n_threads: int | None
) -> Iterator[Moments]:
    for rows in blocks:
        weight = None if problem.sample_weight is None else problem.sample_weight[rows]
        if weight is not None and not weight.any():
            continue  # it has no say, and no mean
        part = problem._replace(X=problem.X[rows], y=problem.y[rows], sample_weight=weight)
        yield moments_of(part, backend, "double", n_threads)


def all_but_one(folds: list[Moments]) -> Iterator[Moments]:
    """For each fold, the moments of all others, from the left and from the right of it."""
    before = list(accumulate(folds[:-1]))
    after = list(accumulate(folds[:0:-1]))[::-1]
    yield after[0]
    for left, right in zip(before, after[1:], strict=False):
        yield left + right
    yield before[-1]
