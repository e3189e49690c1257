"""load(): models that FitResult.save wrote."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd import _check
from fastgd._files import read_json
from fastgd._results.inference import infer
from fastgd._results.result import FORMAT, VERSION, FitResult, StopReason, saved_fields

# Of fields that files of this version may lack: those that came later, and what stands for them.
_ADDED = {"alpha": "nan", "l1_ratio": "nan"}


def load(path: str | os.PathLike[str]) -> FitResult:
    """Read a model that `FitResult.save` wrote. No pickle is read.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    FitResult
        Equal to the one that was saved to the last bit, but for its moments, which are not kept.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not a model, is of a newer version, or is damaged.

    Examples
    --------
    >>> import os, tempfile, fastgd
    >>> result = fastgd.fit([0.0, 1.0, 2.0], [1.0, 3.0, 5.5])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.json")
    ...     result.save(path)
    ...     again = fastgd.load(path)
    >>> again.predict(10) == result.predict(10)
    True
    """
    found = read_json(_check.path("path", path), FORMAT, VERSION)
    try:
        return _result({name: {**_ADDED, **found}[name] for name in saved_fields()})
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} is not a whole model: {error!r}") from None


def _result(found: dict[str, Any]) -> FitResult:
    names = found["feature_names"]
    fit_intercept = _of(bool, found["fit_intercept"])
    result = FitResult(
        coef=_floats(found["coef"]),
        intercept=_floats(found["intercept"]),
        loss=_float(found["loss"]),
        loss_history=np.array([_float(loss) for loss in _of(list, found["loss_history"])]),
        grad_norm=_float(found["grad_norm"]),
        n_iter=_of(int, found["n_iter"]),
        converged=_of(bool, found["converged"]),
        stop_reason=StopReason[found["stop_reason"]],
        learning_rate=_float(found["learning_rate"]),
        method=_of(str, found["method"]),
        strategy=_of(str, found["strategy"]),
        backend=_of(str, found["backend"]),
        fit_intercept=fit_intercept,
        feature_names=None if names is None else tuple(_of(str, name) for name in names),
        alpha=_float(found["alpha"]),
        l1_ratio=_float(found["l1_ratio"]),
        _infer=partial(infer, fit_intercept=fit_intercept),
    )
    one_dimensional = np.ndim(result.coef) == np.ndim(result.intercept)
    n_features = 1 if one_dimensional else np.shape(result.coef)[0]
    targets = np.shape(result.intercept)
    if np.shape(result.coef) not in (targets, (n_features, *targets)):
        raise ValueError(f"coefficients {np.shape(result.coef)}, intercepts {targets}")
    if names is not None and len(names) != n_features:
        raise ValueError(f"{len(names)} names for {n_features} features")
    return result


def _floats(value: Any) -> float | NDArray[np.float64]:
    if not isinstance(value, list):
        return _float(value)
    if not value:
        raise ValueError("no coefficients")
    return np.array([_floats(number) for number in value])


def _float(value: Any) -> float:
    """A number, or a word for infinity or NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is not of type {kind.__name__}")
    return value
