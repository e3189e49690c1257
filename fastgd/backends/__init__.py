"""The backends: what reads the data and returns sums.

A backend is a module with ``open_pass(problem, n_threads, prediction, precision)``. It returns
a context manager whose value is called once an epoch with coefficients (float64, in the
units of X) and an intercept (both of one more axis, the targets, where y is 2-D), reads the data
once, and returns `Sums`. Sums, not means, so that chunks, batches, threads and machines all
combine by addition.

A new backend is one module here and one line in `BACKENDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from fastgd._data.arrays import Floats
from fastgd._data.problem import Problem
from fastgd._linalg.double_double import DoubleDouble

# Import strings, so that choosing one backend imports no other.
BACKENDS = {
    "numba": "fastgd.backends.numba",
    "numpy": "fastgd.backends.numpy",
}


PRECISIONS = ("double", "single")
# Of moments only: sums in double-double.
MOMENTS_PRECISIONS = (*PRECISIONS, "exact")
FIT_PRECISIONS = ("auto", *MOMENTS_PRECISIONS)


class Sums(NamedTuple):
    """Sums over all samples, with residual r = x.w + b - y and weight s (1 where none is given).

    Attributes
    ----------
    squares : float
        sum of s * r**2, over targets too
    products : ndarray of shape (n_features,) or (n_features, n_targets), float64
        sum of s * r * x
    residuals : float or ndarray of shape (n_targets,)
        sum of s * r
    weights : float
        sum of s
    """

    squares: float
    products: NDArray[np.float64]
    residuals: float | NDArray[np.float64]
    weights: float


class RawMoments(NamedTuple):
    """Centred moments of the columns of X and y together, features first.

    Attributes
    ----------
    weights : float
        sum of s
    mean : ndarray of shape (n_columns,), float64
        Weighted means.
    scatter : ndarray of shape (n_columns, n_columns), float64
        sum of s * (z - mean) (z - mean)' over samples z.
    """

    weights: float
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]


# A compiled loop of gradient descent on moments; see backends/numba/_replay.py for its arguments.
Replay = Callable[..., tuple[int, int]]

Pass = Callable[[NDArray[np.float64], Any], Sums]


class ColumnStatistics(NamedTuple):
    """Weighted mean and population standard deviation of each column of X, float64."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


class Backend(Protocol):
    """What a backend module offers."""

    IN_CACHE_BYTES: int
    """X of more than this may be read by other compiled code than X of less."""

    def open_pass(
        self,
        problem: Problem,
        n_threads: int | None,
        prediction: Floats | None = None,
        precision: str = "double",
    ) -> AbstractContextManager[Pass]:
        """Make ready to read `problem` any number of times.

        `precision` is "double" (products and sums in float64) or "single" (products in the dtype
        of X, short sums of them too, then float64).
        """
        ...

    def column_statistics(self, problem: Problem, n_threads: int | None) -> ColumnStatistics:
        """Read X once for the location and the scale of its columns."""
        ...

    def moments(
        self, problem: Problem, n_threads: int | None, precision: str = "double"
    ) -> RawMoments:
        """Read X and y once for their first and second moments."""
        ...

    def exact_products(self, problem: Problem, n_threads: int | None) -> DoubleDouble:
        """Read X and y once for sums of s * z z', in double-double.

        z are the rows of X and y side by side, followed by a 1. Symmetric.
        """
        ...

    def load_replay(self) -> Replay | None:
        """The compiled loop over moments, if there is one."""
        ...


def load_backend(name: str) -> Backend:
    """The backend registered as `name`, which the caller has checked."""
    return cast(Backend, import_module(BACKENDS[name]))
