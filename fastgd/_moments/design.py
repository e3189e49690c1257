"""The design matrix, as far as moments know it: a root of its cross products."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._moments.coordinates import Coordinates
from fastgd._moments.quadratic import Quadratic

# Singular values below this part of the largest, times the number of columns, are rounding:
# where columns are of equal length.
ROUNDING = 16 * float(np.finfo(np.float64).eps)


def design_root(quadratic: Quadratic, coordinates: Coordinates) -> NDArray[np.float64]:
    """A matrix R with ``R' R = A' S A``: A the design in these coordinates, S the weights.

    The columns are the features, then the intercept if there is one. ``R @ params`` less
    `target_root` has the squares of the residuals for a sum, less the smallest that is possible.
    Singular values of R are good to sixteen digits of the largest; eigenvalues of ``A' S A``
    would be so of its square.
    """
    spread = _spread(quadratic)
    weight = np.sqrt(quadratic.weights)
    far = weight * (quadratic.mean - coordinates.center)
    root = np.vstack([spread, far]) * coordinates.inverse_scale
    if not coordinates.fit_intercept:
        return root
    one = np.zeros((len(root), 1))
    one[-1] = weight
    return np.hstack([root, one])


def target_root(quadratic: Quadratic) -> NDArray[np.float64]:
    """The target in the rows of `design_root`."""
    along = _spread(quadratic) @ quadratic.minimum
    return np.append(along, np.sqrt(quadratic.weights) * quadratic.target_mean)


def _spread(quadratic: Quadratic) -> NDArray[np.float64]:
    """A root of the scatter; directions whose curvature is rounding are left out."""
    scatter = quadratic.scatter
    # Columns of equal size: else the rounding of large ones would drown the small.
    size = np.sqrt(np.maximum(np.diagonal(scatter), 0.0))
    size = np.where(size > 0.0, size, 1.0)
    eigenvalues, vectors = np.linalg.eigh(scatter / np.outer(size, size))
    least = len(size) * np.finfo(np.float64).eps * max(float(eigenvalues[-1]), 0.0)
    root = np.sqrt(np.where(eigenvalues > least, eigenvalues, 0.0))
    return np.asarray(root[:, np.newaxis] * (vectors * size[:, np.newaxis]).T)


class Scaled(NamedTuple):
    """The singular values of a root whose columns were brought to equal length.

    Else the rounding of large columns would drown the small.
    """

    length: NDArray[np.float64]
    singular: NDArray[np.float64]
    rows: NDArray[np.float64]

    @property
    def rank(self) -> int:
        """How many are more than rounding."""
        least = ROUNDING * len(self.length) * float(self.singular[0])
        return int((self.singular > least).sum())


def scaled(root: NDArray[np.float64]) -> Scaled:
    """Decompose a root with its columns scaled."""
    length = np.linalg.norm(root, axis=0)
    length[length == 0.0] = 1.0
    _, singular, rows = np.linalg.svd(root / length, full_matrices=False)
    return Scaled(length, singular, rows)
