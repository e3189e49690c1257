"""The curvatures that fix a constant step: extreme eigenvalues of the Hessian, by Lanczos."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_PASSES = 32
# Lanczos approaches the largest eigenvalue from below. After 32 steps it is within some 1.5 %
# of it at n_features = 5000 (Kuczynski and Wozniakowski 1992, theorem 3.2); the margin covers that.
MARGIN = 1.05


class Curvature(NamedTuple):
    """Bounds of the Hessian's spectrum; `smallest` leaves out directions without curvature.

    `is_definite` says that there are none of those, as far as is known.
    """

    smallest: float
    largest: float
    is_definite: bool = False


def curvature(
    product: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    n_params: int,
    relative_rounding: float,
) -> Curvature:
    """Estimate the extreme eigenvalues of a symmetric positive semi-definite operator.

    Parameters
    ----------
    product : callable
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
    basis = np.zeros((n_steps + 1, n_params))
    start = np.random.default_rng(0).standard_normal(n_params)
    basis[0] = start / np.linalg.norm(start)
    diagonal = np.zeros(n_steps)
    off_diagonal = np.zeros(n_steps)
    complete = n_steps == n_params
    for k in range(n_steps):
        w = product(basis[k])
        diagonal[k] = basis[k] @ w
        for _ in range(2):  # twice is enough (Parlett, "The Symmetric Eigenvalue Problem", 6.9)
            w = w - basis[: k + 1].T @ (basis[: k + 1] @ w)
        off_diagonal[k] = np.linalg.norm(w)
        if off_diagonal[k] <= relative_rounding * diagonal[: k + 1].max(initial=0.0):
            n_steps, complete = k + 1, True
            break
        basis[k + 1] = w / off_diagonal[k]
    tridiagonal = np.diag(diagonal[:n_steps])
    for k in range(n_steps - 1):
        tridiagonal[k, k + 1] = tridiagonal[k + 1, k] = off_diagonal[k]
    eigenvalues = np.linalg.eigvalsh(tridiagonal)
    largest = float(eigenvalues[-1]) * (1.0 + relative_rounding if complete else MARGIN)
    if largest <= 0.0:
        return Curvature(0.0, 0.0)
    positive = eigenvalues[eigenvalues > relative_rounding * largest]
    return Curvature(float(positive[0]), largest, len(positive) == n_params)


def exact_curvature(hessian: NDArray[np.float64]) -> Curvature:
    """The extreme eigenvalues of a matrix that is at hand."""
    eigenvalues = np.linalg.eigvalsh(hessian)
    largest = float(eigenvalues[-1])
    if largest <= 0.0:
        return Curvature(0.0, 0.0)
    rounding = 16 * len(hessian) * float(np.finfo(np.float64).eps)
    positive = eigenvalues[eigenvalues > rounding * largest]
    return Curvature(float(positive[0]), largest * (1.0 + rounding), len(positive) == len(hessian))
