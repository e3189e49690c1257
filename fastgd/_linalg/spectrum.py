"""The curvatures that fix a constant step: extreme eigenvalues of the Hessian, by Lanczos."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._linalg.product import product

MAX_PASSES = 32
# Lanczos approaches the largest eigenvalue from below. After 32 steps it is within some 1.5 %
# of it at n_features = 5000 (Kuczynski and Wozniakowski 1992, theorem 3.2); the margin covers that.
MARGIN = 1.05
# Up to so many features all eigenvalues take some tenth of a second at most.
MOST_EXACT = 512


class Curvature(NamedTuple):
    """Bounds of the Hessian's spectrum; `smallest` leaves out directions without curvature.

    `is_definite` says that there are none of those, as far as is known.
    """

    smallest: float
    largest: float
    is_definite: bool = False


def curvature(
    times: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    n_params: int,
    relative_rounding: float,
) -> Curvature:
    """Estimate the extreme eigenvalues of a symmetric positive semi-definite operator.

    Parameters
    ----------
    times : callable
        The operator times a vector of shape (n_params,); one read of the data each.
    n_params : int
    relative_rounding : float
        Eigenvalues below this part of the largest are taken for zero.

    Notes
    -----
    Lanczos with full reorthogonalisation from a fixed pseudo-random start, so that the answer is
    a function of the data alone. Up to `MAX_PASSES` parameters the spectrum is complete.

    References
    ----------
    G. H. Golub, C. F. Van Loan, "Matrix Computations", 4th ed., section 10.1.
    J. Kuczynski, H. Wozniakowski, "Estimating the largest eigenvalue by the power and Lanczos
    algorithms with a random start", SIAM J. Matrix Anal. Appl. 13 (1992), 1094-1122.
    """
    n_steps = min(n_params, MAX_PASSES)
    eigenvalues, complete = _lanczos(times, n_params, n_steps, relative_rounding)
    largest = float(eigenvalues[-1]) * (1.0 + relative_rounding if complete else MARGIN)
    if largest <= 0.0:
        return Curvature(0.0, 0.0)
    positive = eigenvalues[eigenvalues > relative_rounding * largest]
    return Curvature(float(positive[0]), largest, len(positive) == n_params)


def exact_curvature(hessian: NDArray[np.float64]) -> Curvature:
    """The extreme eigenvalues of a matrix that is at hand."""
    rounding = 16 * len(hessian) * float(np.finfo(np.float64).eps)
    eigenvalues = eigenvalues_of(hessian)
    largest = float(eigenvalues[-1])
    if largest <= 0.0:
        return Curvature(0.0, 0.0)
    positive = eigenvalues[eigenvalues > rounding * largest]
    return Curvature(
        float(positive[0]), largest * (1.0 + rounding), len(positive) == len(eigenvalues)
    )


def eigenvalues_of(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of a symmetric positive semi-definite matrix, in rising order; equal ones may come once.

    LAPACK is some seven times as fast (512 columns: 15 against 100 ms), but the bits of a large
    matrix hang on how many threads BLAS has: a tridiagonal one gives them nothing to share.
    """
    n = len(matrix)
    if n > MOST_EXACT:
        return np.asarray(np.linalg.eigvalsh(matrix))
    return _lanczos(lambda v: product(matrix, v), n, n, float(np.finfo(np.float64).eps))[0]


def _lanczos(
    times: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    n_params: int,
    n_steps: int,
    relative_rounding: float,
) -> tuple[NDArray[np.float64], bool]:
    """Eigenvalues of the operator in the space of so many steps; and whether it has no others."""
    basis = np.zeros((n_steps + 1, n_params))
    start = np.random.default_rng(0).standard_normal(n_params)
    basis[0] = start / np.linalg.norm(start)
    diagonal = np.zeros(n_steps)
    off_diagonal = np.zeros(n_steps)
    complete = n_steps == n_params
    for k in range(n_steps):
        w = times(basis[k])
        diagonal[k] = basis[k] @ w
        w = _orthogonal(w, basis[: k + 1])
        off_diagonal[k] = np.linalg.norm(w)
        if off_diagonal[k] <= relative_rounding * diagonal[: k + 1].max(initial=0.0):
            n_steps, complete = k + 1, True
            break
        basis[k + 1] = w / off_diagonal[k]
    tridiagonal = np.diag(diagonal[:n_steps])
    for k in range(n_steps - 1):
        tridiagonal[k, k + 1] = tridiagonal[k + 1, k] = off_diagonal[k]
    return np.asarray(np.linalg.eigvalsh(tridiagonal)), complete


def _orthogonal(w: NDArray[np.float64], basis: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the rows of an orthonormal basis leave of a vector.

    Twice is enough (Parlett, "The Symmetric Eigenvalue Problem", 6.9), unless what once leaves is
    rounding: of the vectors of an eigenvalue that comes several times.
    """
    before, length = np.inf, float(np.linalg.norm(w))
    while length < before / 2.0:
        w = w - product(basis.T, product(basis, w))
        before, length = length, float(np.linalg.norm(w))
    return w
