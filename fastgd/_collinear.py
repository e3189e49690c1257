"""Columns that are sums of others: named in a warning, for their coefficients mean little."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd._errors import CollinearityWarning
from fastgd._moments import Moments
from fastgd._problem import Source
from fastgd._quadratic import Quadratic
from fastgd._settings import Settings
from fastgd._strategy import Reader

# Of a direction without curvature, in columns of equal length: a column with less of it than this
# is not part of the sum.
PART = 1e-5
MOST_NAMES = 8


def warn_of_collinear_columns(read: Reader, source: Source, settings: Settings) -> None:
    """Warn if moments say that the data leave some coefficients open."""
    if read.quadratic is None or read.moments is None or settings.penalty.alpha > 0.0:
        return
    if read.solution is not None:
        found = read.solution.undetermined
    elif read.quadratic.inverse.is_clear and (settings.fit_intercept or all_vary(read.quadratic)):
        return
    else:
        found = undetermined(read.moments, settings.fit_intercept, source.dtype)
    if not found.any():
        return
    rows = source.n_samples
    few = rows < source.n_features + settings.fit_intercept
    why = f"{rows} rows are fewer than coefficients" if few else "they are sums of each other"
    constant = " and a constant" if settings.fit_intercept and not few else ""
    warnings.warn(
        f"the data do not determine the coefficients of {_named(found, source)}: {why}{constant}, "
        "to rounding. The shortest of the answers that predict alike is returned; leave columns "
        "out, or give alpha, for one that means more",
        CollinearityWarning,
        stacklevel=4,
    )


def all_vary(quadratic: Quadratic) -> bool:
    """Whether no column is constant: without an intercept it may be a multiple of another."""
    return quadratic.inverse.rank == len(quadratic.scatter)


def undetermined(moments: Moments, fit_intercept: bool, dtype: np.dtype[Any]) -> NDArray[np.bool_]:
    """Which columns take part in sums that are constant (or 0, without an intercept).

    To the rounding of float64 sums, and to that of the data themselves.
    """
    found = np.zeros(moments.n_features, np.bool_)
    kept, correlation = moments.correlation(fit_intercept)
    if len(kept):
        eigenvalues, vectors = np.linalg.eigh(correlation)
        single = float(np.finfo(dtype).eps) ** 2
        least = len(kept) * max(float(np.finfo(np.float64).eps), single) * eigenvalues[-1]
        found[kept] = np.linalg.norm(vectors[:, eigenvalues <= least], axis=1) > PART
    return found


def _named(found: NDArray[np.bool_], source: Source) -> str:
    places = np.flatnonzero(found).tolist()
    shown = [
        f"X[:, {j}]" if source.feature_names is None else repr(source.feature_names[j])
        for j in places[:MOST_NAMES]
    ]
    more = len(places) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
