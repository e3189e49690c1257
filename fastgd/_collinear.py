"""Columns that are sums of others: named in a warning, for their coefficients mean little."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._data.problem import Source
from fastgd._errors import CollinearityWarning, warn
from fastgd._moments.correlation import correlation
from fastgd._moments.moments import Moments
from fastgd._moments.quadratic import Quadratic
from fastgd._settings import Settings
from fastgd._sums.strategy import Reader

# Of a direction without curvature, in columns of equal length: a column with less of it than this
# is not part of the sum.
PART = 1e-5
MOST_NAMES = 8


def warn_of_collinear_columns(read: Reader, source: Source, settings: Settings) -> None:
    """Warn if moments, or a streamed descent, say that the data leave some coefficients open."""
    if settings.penalty.alpha > 0.0:
        return
    if read.undetermined is not None:
        found = read.undetermined
    elif read.quadratic is None or read.moments is None:
        return
    elif read.solution is not None:
        found = read.solution.undetermined
    elif read.quadratic.inverse.is_clear and (settings.fit_intercept or all_vary(read.quadratic)):
        return
    else:
        found = flat_directions(read.moments, settings.fit_intercept, source.dtype).undetermined
    if not found.any():
        return
    rows = source.n_samples
    few = rows < source.n_features + settings.fit_intercept
    why = f"{rows} rows are fewer than coefficients" if few else "they are sums of each other"
    constant = " and a constant" if settings.fit_intercept and not few else ""
    warn(
        f"the data do not determine the coefficients of {_named(found, source)}: {why}{constant}, "
        "to rounding. The shortest of the answers that predict alike is returned; leave columns "
        "out, or give alpha, for one that means more",
        CollinearityWarning,
    )


def all_vary(quadratic: Quadratic) -> bool:
    """Whether no column is constant: without an intercept it may be a multiple of another."""
    return quadratic.inverse.rank == len(quadratic.scatter)


class Flat(NamedTuple):
    """Sums of columns that are constant (or 0, without an intercept), to rounding.

    Attributes
    ----------
    directions : ndarray of shape (n_features, n_directions)
        Orthonormal, in columns of equal length.
    size : ndarray of shape (n_features,)
        The lengths of the columns; 0 where constant.
    least : float
        Curvature below this is rounding, of float64 sums or of the data themselves.
    """

    directions: NDArray[np.float64]
    size: NDArray[np.float64]
    least: float

    @property
    def undetermined(self) -> NDArray[np.bool_]:
        """Which columns take part."""
        found: NDArray[np.bool_] = np.linalg.norm(self.directions, axis=1) > PART
        return found


def flat_directions(moments: Moments, fit_intercept: bool, dtype: np.dtype[Any]) -> Flat:
    """Those without curvature in these moments."""
    kept, matrix, lengths = correlation(moments.raw, moments.n_features, fit_intercept)
    size = np.zeros(moments.n_features)
    size[kept] = lengths
    if not len(kept):
        return Flat(np.zeros((len(size), 0)), size, 0.0)
    eigenvalues, vectors = np.linalg.eigh(matrix)
    single = float(np.finfo(dtype).eps) ** 2
    least = len(kept) * max(float(np.finfo(np.float64).eps), single) * float(eigenvalues[-1])
    flat = eigenvalues <= least
    directions = np.zeros((len(size), int(flat.sum())))
    directions[kept] = vectors[:, flat]
    return Flat(directions, size, least)


def _named(found: NDArray[np.bool_], source: Source) -> str:
    places = np.flatnonzero(found).tolist()
    shown = [
        f"X[:, {j}]" if source.feature_names is None else repr(source.feature_names[j])
        for j in places[:MOST_NAMES]
    ]
    more = len(places) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
