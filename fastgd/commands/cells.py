"""The sizes that are measured, their data, and what counts as agreement.

One list for ``fastgd bench`` and for the benchmark suite.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd import MSEAndGradient

# Some hundred times the rounding unit of float32. Rounding leaves less than 1e-6, since sums go
# over to float64 after some thousands of terms; a term too many or too few at n = 10^4 shows.
AGREEMENT = 1e-5

# Values drawn; larger arrays repeat them, for drawing takes longer than any pass.
DRAWN = 10_000_000

QUICK_VALUES = 10_000_000
SHARE_OF_MEMORY = 1 / 3


class Cell(NamedTuple):
    """One size: X of shape (n,) if `d` is None, else (n, d)."""

    n: int
    d: int | None

    def __str__(self) -> str:
        return str(self.n) if self.d is None else f"{self.n}x{self.d}"

    @property
    def width(self) -> str:
        """The number of features, for people."""
        return "1-D" if self.d is None else str(self.d)

    @property
    def n_values(self) -> int:
        """Values in X."""
        return self.n * (self.d or 1)

    @property
    def x_bytes(self) -> int:
        """Size of X."""
        return self.n_values * np.dtype(np.float32).itemsize

    @property
    def bytes_read(self) -> int:
        """X and y."""
        return self.x_bytes + self.n * np.dtype(np.float32).itemsize

    @property
    def is_quick(self) -> bool:
        """Whether an epoch takes some hundredths of a second at most."""
        return self.n_values <= QUICK_VALUES


CELLS = [Cell(10**k, d) for d in (None, 1, 16, 100, 1000) for k in range(1, 9)]


def fits(cell: Cell, memory: int) -> bool:
    """Whether X leaves room enough in `memory` bytes."""
    return cell.x_bytes <= SHARE_OF_MEMORY * memory


class Data(NamedTuple):
    """What one call of `mse_and_gradient` is given."""

    X: NDArray[np.float32]
    y: NDArray[np.float32]
    coef: Any  # a float for 1-D X, else an array
    intercept: float


def make_data(cell: Cell) -> Data:
    """Normal deviates of unit size in X, y and the predictions; the same at every call."""
    rng = np.random.default_rng([cell.n, cell.d or 0])
    X = _normal(rng, cell.n_values)
    coef = rng.standard_normal(cell.d or 1) / np.sqrt(cell.d or 1)
    y = _normal(rng, cell.n)
    if cell.d is None:
        return Data(X, y, float(coef[0]), 0.5)
    return Data(X.reshape(cell.n, cell.d), y, coef, 0.5)


def _normal(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    values = np.empty(size, dtype=np.float32)
    rng.standard_normal(out=values[:DRAWN], dtype=np.float32)
    for start in range(DRAWN, size, DRAWN):
        part = values[start : start + DRAWN]
        part[:] = values[: len(part)]
    return values


def difference(found: MSEAndGradient, reference: MSEAndGradient) -> float:
    """The largest relative difference of loss and gradient.

    The loss is compared relative to itself: it is a sum of positive terms. A gradient's terms
    cancel, and it is compared relative to the bound ``2 |r| |x| / n`` that the lengths of the
    residuals and of a column set it: ``2 sqrt(mse)`` for columns of unit size.
    """
    size = 2 * np.sqrt(reference.mse)
    by_loss = abs(found.mse - reference.mse) / reference.mse
    by_coef = np.max(np.abs(np.subtract(found.gradient, reference.gradient))) / size
    by_intercept = abs(found.intercept_gradient - reference.intercept_gradient) / size
    return float(np.max([by_loss, by_coef, by_intercept]))  # unlike max(), keeps a NaN
