"""The inverse of a Gram matrix, as far as it has one: what quadratics and CG solve with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._product import product

Array = NDArray[np.float64]

# Triangles are made and solved in blocks of so many columns, whose diagonals are inverted: numpy
# has no triangular solver, and the bits of its factorisation of a large matrix depend on the
# number of BLAS's threads, which share no factorisation of fewer than 64 columns. Takes 1.9 times
# as long at 1,000 columns and 1.4 times at 3,000 as what two threads share (0.03 and 0.5 s).
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


def inverse_of(matrix: Array) -> Inverse:
    """Factor a symmetric positive semi-definite matrix, (n, n).

    Rows and columns are brought to equal length first: else the rounding of large ones would
    drown the small. Cholesky serves where every pivot is clear of rounding; else eigenvectors,
    whose directions without curvature are left out.
    """
    size = np.sqrt(np.maximum(np.diagonal(matrix), 0.0))
    inverse_size = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0.0)
    correlation = matrix * inverse_size * inverse_size[:, np.newaxis]
    np.fill_diagonal(correlation, 1.0)  # of a column of zeros, too: its solution is scaled by 0
    by_cholesky = _by_cholesky(correlation)
    factors = by_cholesky or _by_eigenvectors(correlation)
    rank = factors.rank - int((size == 0.0).sum())

    def solve(b: Array) -> Array:
        scale = inverse_size if b.ndim == 1 else inverse_size[:, np.newaxis]
        return scale * factors.solve(scale * b)

    def inflation() -> float:
        if rank < int((size > 0.0).sum()):
            return math.inf
        return float(factors.diagonal().max())

    return Inverse(solve, rank, inflation, by_cholesky is not None)


class _Factors(NamedTuple):
    """What solves with a matrix, and the diagonal of its inverse."""

    solve: Callable[[Array], Array]
    diagonal: Callable[[], Array]
    rank: int


def _by_cholesky(matrix: Array) -> _Factors | None:
    n = len(matrix)
    blocks = [slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]
    lower, diagonals = np.zeros_like(matrix), []
    for block in blocks:
        rows, done = slice(block.start, n), slice(0, block.start)
        panel = matrix[rows, block] - product(lower[rows, done], lower[block, done].T)
        size = block.stop - block.start
        try:
            corner = np.linalg.cholesky(panel[:size]).astype(np.float64, copy=False)
        except np.linalg.LinAlgError:
            return None
        if float(np.diagonal(corner).min()) ** 2 < LEAST_PIVOT:
            return None
        diagonals.append(_inverse_of_triangle(corner))
        lower[rows, block] = product(panel, diagonals[-1].T)

    def solve(b: Array) -> Array:
        x = b.copy()
        for block, diagonal in zip(blocks, diagonals, strict=True):
            above = product(lower[block, : block.start], x[: block.start])
            x[block] = product(diagonal, x[block] - above)
        for block, diagonal in zip(blocks[::-1], diagonals[::-1], strict=True):
            below = product(lower[block.stop :, block].T, x[block.stop :])
            x[block] = product(diagonal.T, x[block] - below)
        return x

    def diagonal_of_inverse() -> Array:
        inverse = np.zeros_like(lower)
        for block, diagonal in zip(blocks, diagonals, strict=True):
            done = slice(0, block.start)
            inverse[block, done] = -product(
                diagonal, product(lower[block, done], inverse[done, done])
            )
            inverse[block, block] = diagonal
        return np.asarray((inverse**2).sum(axis=0))

    return _Factors(solve, diagonal_of_inverse, n)


def _inverse_of_triangle(lower: Array) -> Array:
    n = len(lower)
    if n <= LEAST_BLOCK:
        return np.asarray(np.linalg.inv(lower), np.float64)
    half, inverse = n // 2, np.zeros_like(lower)
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
