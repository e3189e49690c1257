"""The inverse of a Gram matrix, as far as it has one: what quadratics and CG solve with."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._linalg.product import product, shared_product
from fastgd._threads import Team

Array = NDArray[np.float64]

# Triangles are made and solved in blocks of so many columns, whose diagonals are inverted: numpy
# has no triangular solver, and the bits of its factorisation of a large matrix depend on the
# number of BLAS's threads, which share no factorisation of fewer than 64 columns. One thread takes
# as long as numpy's factorisation with two at 1,000 columns, and 1.4 times as long at 5,000; two
# of ours, as long.
# Eigenvectors are not so: where columns are sums of others, and there are some 70, bits may differ
# (README, "Compare the backends").
BLOCK = 48
# Inverses are shared from 9 columns on (OpenBLAS 0.3.23).
LEAST_BLOCK = 8
# A pivot of the correlation matrix is the part of a column that the columns before it leave
# unexplained. Below this the eigenvalues decide what is rounding.
LEAST_PIVOT = 1e-10
# Where columns are of equal length, eigenvalues below this times their number are rounding.
ROUNDING = float(np.finfo(np.float64).eps)


class Inverse(NamedTuple):
    """``solve(b)`` is the shortest solution of ``matrix @ x = b`` in columns of equal length.

    Attributes
    ----------
    solve : callable
    rank : int
        Columns of zeros do not count.
    inflation : callable
        The largest variance inflation: of a column's squares over what the other columns leave of
        them unexplained. Infinite where that is nothing.
    is_clear : bool
        Every column is clear of what the others explain.
    """

    solve: Callable[[Array], Array]
    rank: int
    inflation: Callable[[], float]
    is_clear: bool


def inverse_of(matrix: Array, n_threads: int | None = 1) -> Inverse:
    """Factor a symmetric positive semi-definite matrix, (n, n).

    Rows and columns are brought to equal length first: else the rounding of large ones would
    drown the small. Cholesky serves where every pivot is clear of rounding; else eigenvectors,
    whose directions without curvature are left out. The bits hang on no number of threads.
    """
    n = len(matrix)
    size = np.sqrt(np.maximum(matrix.diagonal(), 0.0))
    inverse_size = np.divide(1.0, size, out=np.zeros(n), where=size > 0.0)
    correlation = matrix * inverse_size
    correlation *= inverse_size[:, np.newaxis]
    correlation.flat[:: n + 1] = 1.0  # of a column of zeros, too: its solution is scaled by 0
    with closing(Team(n_threads)) as team:
        by_cholesky = _by_cholesky(correlation, team)
    factors = by_cholesky or _by_eigenvectors(correlation)
    rank = factors.rank - (n - int(np.count_nonzero(size)))

    def solve(b: Array) -> Array:
        scale = inverse_size if b.ndim == 1 else inverse_size[:, np.newaxis]
        return scale * factors.solve(scale * b)

    def inflation() -> float:
        if factors.rank < n:
            return math.inf
        return float(factors.diagonal().max())

    return Inverse(solve, rank, inflation, by_cholesky is not None)


class _Factors(NamedTuple):
    """What solves with a matrix, and the diagonal of its inverse."""

    solve: Callable[[Array], Array]
    diagonal: Callable[[], Array]
    rank: int


class _Block(NamedTuple):
    """Some rows of a triangle: the inverse of their corner, and what lies to its left."""

    place: slice
    inverse: Array
    left: Array


def _by_cholesky(matrix: Array, team: Team) -> _Factors | None:
    n = len(matrix)
    lower, blocks = np.zeros(matrix.shape), []
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        block, left = slice(start, stop), lower[start:stop, :start]
        panel = matrix[start:, block].copy()
        if start:
            panel -= shared_product(lower[start:, :start], left.T, team)
        try:
            corner = np.linalg.cholesky(panel[: stop - start]).astype(np.float64, copy=False)
        except np.linalg.LinAlgError:
            return None
        if float(corner.diagonal().min()) ** 2 < LEAST_PIVOT:
            return None
        inverse = _inverse_of_triangle(corner)
        if stop < n:
            lower[stop:, block] = product(panel[stop - start :], inverse.T)
        blocks.append(_Block(block, inverse, left))

    def solve(b: Array) -> Array:
        x = b.copy()
        for block, inverse, left in blocks:
            x[block] = product(inverse, _less(x[block], left, x[: block.start]))
        for block, inverse, left in reversed(blocks):
            x[block] = product(inverse.T, x[block])
            if block.start:
                x[: block.start] -= product(left.T, x[block])
        return x

    def diagonal_of_inverse() -> Array:
        whole = np.zeros(lower.shape)
        for block, inverse, left in blocks:
            whole[block, block] = inverse
            if block.start:
                before = whole[: block.start, : block.start]
                whole[block, : block.start] = -product(inverse, product(left, before))
        return np.asarray((whole**2).sum(axis=0))

    return _Factors(solve, diagonal_of_inverse, n)


def _less(x: Array, a: Array, b: Array) -> Array:
    """``x - a @ b``, which is `x` where there are no columns of `a`."""
    return x - product(a, b) if len(b) else x


def _inverse_of_triangle(lower: Array) -> Array:
    n = len(lower)
    if n <= LEAST_BLOCK:
        return np.asarray(np.linalg.inv(lower), np.float64)
    half, inverse = n // 2, np.zeros(lower.shape)
    inverse[:half, :half] = top = _inverse_of_triangle(lower[:half, :half])
    inverse[half:, half:] = bottom = _inverse_of_triangle(lower[half:, half:])
    inverse[half:, :half] = -bottom @ (lower[half:, :half] @ top)
    return inverse


def _by_eigenvectors(matrix: Array) -> _Factors:
    eigenvalues, vectors = np.linalg.eigh(matrix)
    kept = eigenvalues > len(matrix) * ROUNDING * max(float(eigenvalues[-1]), 0.0)
    vectors, inverse = vectors[:, kept], 1.0 / eigenvalues[kept]

    def solve(b: Array) -> Array:
        along = vectors.T @ b
        return vectors @ (along * (inverse if b.ndim == 1 else inverse[:, np.newaxis]))

    def diagonal() -> Array:
        return np.asarray(vectors**2 @ inverse, np.float64)

    return _Factors(solve, diagonal, int(kept.sum()))
