"""Products of matrices whose bits hang on no number of BLAS's threads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastgd._threads import Team

Array = NDArray[np.float64]

# OpenBLAS leaves to one thread what takes at most 64**3 multiplications, and less than 96**2 for a
# matrix times a vector. Of more, each thread takes a part that hangs on how many there are, and
# sums differ at its edges (0.3.31: of 150 features and 2 threads; 0.3.23: of 65).
ROWS, DEPTH = 48, 96
LEAST_SHARED = 96**2
# Times a vector, 2 to 7 long rows take up to twice as long as one by one, and 8 less.
FEW_ROWS = 8
# A thread gets at least so many pieces of a matrix, times their depth: half a millisecond of work.
LEAST_SHARE = 10_000


def product(a: Array, b: Array) -> Array:
    """``a @ b`` of a matrix and a vector or matrix, in pieces that no threads share."""
    if b.ndim == 1:
        if a.size < LEAST_SHARED:
            return np.asarray(a @ b)
        count = (LEAST_SHARED - 1) // len(b) // FEW_ROWS * FEW_ROWS
        return _by_rows(a, b, max(count, 1))
    out = np.zeros((len(a), b.shape[1]))
    for left in range(0, b.shape[1], ROWS):
        for first in range(0, len(b), DEPTH):
            # Half the time of one that lies the other way.
            piece = np.ascontiguousarray(b[first : first + DEPTH, left : left + ROWS])
            out[:, left : left + ROWS] += _by_rows(a[:, first : first + DEPTH], piece, ROWS)
    return out


def shared_product(a: Array, b: Array, team: Team) -> Array:
    """The `product` of two matrices, with the same bits: threads share its pieces."""
    n_pieces = -(-len(a) // ROWS)
    n_shares = min(team.n_threads, n_pieces * len(b) // LEAST_SHARE)
    if n_shares < 2:
        return product(a, b)
    rows = -(-n_pieces // n_shares) * ROWS
    out = np.empty((len(a), b.shape[1]))

    def take(share: int) -> None:
        part = slice(share * rows, (share + 1) * rows)
        out[part] = product(a[part], b)

    team.run(take, n_shares)
    return out


def _by_rows(a: Array, b: Array, count: int) -> Array:
    """``a @ b``, so many rows of `a` at a time."""
    if len(a) <= count:
        return np.asarray(a @ b)
    out = np.empty((len(a), *b.shape[1:]))
    whole = len(a) // count * count
    rows = a[:whole].reshape(-1, count, a.shape[1])
    np.matmul(rows, b, out=out[:whole].reshape(-1, count, *b.shape[1:]))
    np.matmul(a[whole:], b, out=out[whole:])
    return out
