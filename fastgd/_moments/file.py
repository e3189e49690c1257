"""What a file of moments holds, and whether it can be so."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgd._moments.exact import Low

if TYPE_CHECKING:
    from fastgd._moments.moments import Moments


def fields_of(moments: Moments) -> dict[str, Any]:
    """What a file holds."""
    fields = {
        "n_samples": np.int64(moments.n_samples),
        "weight_sum": np.float64(moments.weight_sum),
        "mean": moments.mean,
        "scatter": moments.scatter,
        "n_targets": np.int64(moments.n_targets),
        "one_dimensional": np.bool_(moments.one_dimensional),
        "single_target": np.bool_(moments.single_target),
    }
    if moments.feature_names is not None:
        fields["feature_names"] = np.array(moments.feature_names)
    if moments.low is not None:
        low = moments.low._asdict()
        fields |= {f"low_{name}": np.asarray(part) for name, part in low.items()}
    return fields


def arguments_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of moments that a file holds; files of earlier releases had no names."""
    names, low = fields.get("feature_names"), None
    if "low_mean" in fields:
        low = Low(float(fields["low_weight_sum"]), fields["low_mean"], fields["low_scatter"])
    return {
        "n_samples": int(fields["n_samples"]),
        "weight_sum": float(fields["weight_sum"]),
        "mean": fields["mean"],
        "scatter": fields["scatter"],
        "n_targets": int(fields["n_targets"]),
        "one_dimensional": bool(fields["one_dimensional"]),
        "single_target": bool(fields["single_target"]),
        "feature_names": None if names is None else _names_of(names),
        "low": low,
    }


def _names_of(array: NDArray[Any]) -> tuple[str, ...]:
    # Python ends in a SystemError on what is no character.
    code = np.dtype("u4").newbyteorder(array.dtype.byteorder)
    if array.dtype.kind != "U" or (np.frombuffer(array.tobytes(), code) > sys.maxunicode).any():
        raise ValueError("the names of features are not text")
    return tuple(array.tolist())


def check_whole(moments: Moments) -> None:
    """Raise a ValueError unless these can be moments of data."""
    n_columns = moments.mean.size
    if moments.mean.shape != (n_columns,) or moments.scatter.shape != (n_columns, n_columns):
        raise ValueError(f"shapes {moments.mean.shape} and {moments.scatter.shape} do not match")
    if moments.mean.dtype != np.float64 or moments.scatter.dtype != np.float64:
        raise ValueError("means and scatter must be float64")
    names = moments.feature_names
    if names is not None and (len(names) != moments.n_features or not _are_strings(names)):
        raise ValueError("the names of features are not those of the columns")
    if moments.n_samples < 1 or not 1 <= moments.n_targets < n_columns:
        raise ValueError(f"{moments.n_samples} samples and {moments.n_targets} targets cannot be")
    if (moments.one_dimensional and moments.n_features != 1) or (
        moments.single_target and moments.n_targets != 1
    ):
        raise ValueError("the number of columns is not that of 1-D arrays")
    finite = np.isfinite(moments.weight_sum) and np.isfinite(moments.mean).all()
    if not (finite and np.isfinite(moments.scatter).all() and moments.weight_sum > 0.0):
        raise ValueError("it holds NaN, infinity or no weight")
    if (np.diagonal(moments.scatter) < 0.0).any() or not np.array_equal(
        moments.scatter, moments.scatter.T
    ):
        raise ValueError("the scatter is not one of data")
    if moments.low is not None:
        _check_low(moments, moments.low)


def _check_low(moments: Moments, low: Low) -> None:
    """Whether low parts are no more than rounding of the high ones."""
    pairs = zip((moments.weight_sum, moments.mean, moments.scatter), low, strict=True)
    for high, part in ((np.asarray(high), np.asarray(part)) for high, part in pairs):
        if part.shape != high.shape or part.dtype != np.float64:
            raise ValueError("low parts are not of the shape of the high ones, or not float64")
        if not (high + part == high).all():
            raise ValueError("low parts are more than the rounding of high ones")
    if not np.array_equal(low.scatter, low.scatter.T):
        raise ValueError("the scatter is not one of data")


def _are_strings(values: tuple[object, ...]) -> bool:
    return all(isinstance(value, str) for value in values)
