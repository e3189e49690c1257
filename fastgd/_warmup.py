"""warmup(): compile before it matters."""

from __future__ import annotations

import warnings
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from fastgd import _check
from fastgd._data.problem import as_problem
from fastgd._errors import CollinearityWarning, ConvergenceWarning
from fastgd._fit import fit
from fastgd.backends import PRECISIONS, load_backend

# One kernel serves all numbers of features from some hundreds on.
MOST_FEATURES = 1_000_000


def warmup(
    n_features: int = 1,
    *,
    dtype: DTypeLike = np.float32,
    order: Literal["C", "F"] = "C",
    sample_weight: bool = False,
    precision: str = "double",
) -> None:
    """Compile what a later call on such data will use, or load it from the disk cache.

    Worth a call before a server forks its workers (a fork while another thread compiles can hang
    the child), or before the first fit that is timed. Data of other shapes are compiled for when
    they come, in some tenths of a second; a process after this one finds it all on disk.

    Parameters
    ----------
    n_features : int, default 1
        Kernels differ for each number of features up to 32, and up to 128 where X is small; 1
        serves 1-D X, too.
    dtype : {float32, float64}, default float32
        Of X and y.
    order : {"C", "F"}, default "C"
        Whether rows or columns of X are contiguous.
    sample_weight : bool, default False
        Whether the calls will have weights.
    precision : {"double", "single"}, default "double"

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used.

    Examples
    --------
    >>> import fastgd
    >>> fastgd.warmup(n_features=3, dtype="float32")
    """
    d = _check.integer("n_features", n_features, least=1)
    _check.choice("order", order, ["C", "F"])
    _check.flag("sample_weight", sample_weight)
    _check.choice("precision", precision, PRECISIONS)
    element = _check.float_dtype("dtype", dtype)
    if d > MOST_FEATURES:
        raise ValueError(f"n_features must be at most {MOST_FEATURES:,}, got {d}")
    X = np.ones((4, d), element, order=order)
    X[::2] = 2.0
    y = np.arange(4, dtype=element)
    weight = np.ones(4, element) if sample_weight else None
    with warnings.catch_warnings():
        for category in (CollinearityWarning, ConvergenceWarning):
            warnings.simplefilter("ignore", category)
        for method, strategy in product(("auto", "gd"), ("stream", "moments")):
            options: dict[str, Any] = {
                "method": method,
                "strategy": strategy,
                "precision": precision,
            }
            fit(X, y, sample_weight=weight, max_iter=1, **options)
    backend = load_backend("numba")
    for gaps in (False, True):
        for n in (4, backend.IN_CACHE_BYTES // (d * element.itemsize) + 1):
            shape = (2 * n, d) if gaps else (n, d)
            X, y = np.zeros(shape, element, order), np.ones(n, element)
            problem = as_problem(X[::2] if gaps else X, y, y if sample_weight else None)
            for prediction in (None, np.empty_like(y)):
                with backend.open_pass(problem, 1, prediction, precision):
                    pass
