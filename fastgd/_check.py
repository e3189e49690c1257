"""Checks of single arguments: each names the argument, what was given and what is accepted."""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def real(name: str, value: object, *, positive: bool = False) -> float:
    """A finite real number; greater than zero if `positive`, else not negative."""
    bound = "greater than 0" if positive else "0 or more"
    if type(value) is not float and (isinstance(value, bool) or not isinstance(value, Real)):
        raise TypeError(f"{name} must be a real number {bound}, got {describe(value)}")
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        number = math.inf
    if not math.isfinite(number) or number < 0 or (positive and number == 0):
        raise ValueError(f"{name} must be finite and {bound}, got {shortened(value)}")
    return number


def integer(name: str, value: object, *, least: int, others: str = "") -> int:
    """A whole number of at least `least`; `others` says what else would have been taken."""
    wanted = f"{name} must be an integer of at least {least}{others}"
    if type(value) is not int and (isinstance(value, bool) or not isinstance(value, Integral)):
        raise TypeError(f"{wanted}, got {describe(value)}")
    if value < least:
        raise ValueError(f"{wanted}, got {shortened(value)}")
    return int(value)


def random_state(name: str, value: object) -> int | np.random.Generator:
    """A seed, or what draws."""
    if isinstance(value, np.random.Generator):
        return value
    return integer(name, value, least=0, others=" or a numpy.random.Generator")


def flag(name: str, value: object) -> bool:
    """True or False, and nothing that merely behaves like them."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {describe(value)}")
    return bool(value)


def n_threads(value: object) -> int | None:
    """A number of threads of at least 1, or None."""
    return None if value is None else integer("n_threads", value, least=1)


def choice(name: str, value: object, valid: Collection[str]) -> str:
    """One of the names in `valid`."""
    if not isinstance(value, str) or value not in valid:
        listed = ", ".join(repr(known) for known in valid)
        raise ValueError(f"{name} must be one of {listed}; got {describe(value)}")
    return value


def part(name: str, value: object, *, closed: bool = False) -> float:
    """A number from 0 up to 1, which is one of them where `closed`."""
    number = real(name, value)
    if number > 1.0 or (number == 1.0 and not closed):
        bound = "0 to 1" if closed else "at least 0 and less than 1"
        raise ValueError(f"{name} must be {bound}, got {value!r}")
    return number


def array(name: str, value: object, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Finite numbers of a shape, as float64; a scalar for ``()``."""
    wanted = f"an array of shape {shape}" if shape else "a scalar, since X is 1-D"
    numbers = _numbers(name, value, wanted)
    if numbers.shape != shape:
        raise ValueError(f"{name} must be {wanted}; got shape {numbers.shape}")
    return numbers


def coefficients(name: str, value: object, n_features: int, *, scalar: bool) -> NDArray[np.float64]:
    """Finite coefficients as a float64 vector of `n_features`; a scalar for 1-D X."""
    return array(name, value, () if scalar else (n_features,)).reshape(n_features)


def scalar(name: str, value: object) -> float:
    """A finite number of either sign."""
    if type(value) is float and math.isfinite(value):
        return value
    number = _numbers(name, value, "a scalar")
    if number.shape != ():
        raise ValueError(f"{name} must be a scalar; got shape {number.shape}")
    return float(number)


def _numbers(name: str, value: object, wanted: str) -> NDArray[np.float64]:
    try:
        given = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be {wanted}: {error}") from None
    if given.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be {wanted} of real numbers; got {describe(value)}")
    numbers = given.astype(np.float64)  # always a copy: the caller's array is never aliased
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be finite; got NaN or infinity")
    return numbers


def float_dtype(name: str, value: Any) -> np.dtype[Any]:
    """float32 or float64, under any of their names."""
    try:
        # NumPy takes None for float64.
        dtype: np.dtype[Any] | None = None if value is None else np.dtype(value)
    except TypeError:
        dtype = None
    if dtype is None:
        raise TypeError(f"{name} must be float32 or float64; got {describe(value)}")
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"{name} must be float32 or float64; got {dtype}")
    return np.dtype(dtype)


def path(name: str, value: object) -> Path:
    """A place in the file system."""
    if not isinstance(value, (str, os.PathLike)) or isinstance(os.fspath(value), bytes):
        raise TypeError(f"{name} must be a str or path-like; got {describe(value)}")
    return Path(value)


def describe(value: object) -> str:
    """A value and its type, at a length for messages."""
    if isinstance(value, np.ndarray):
        return f"an array of dtype {value.dtype} and shape {value.shape}"
    return f"{shortened(value)} ({type(value).__name__})"


def shortened(value: object) -> str:
    """The repr, or as much of it as a line of text bears."""
    try:
        shown = repr(value)
    except ValueError:  # Python does not print integers of thousands of digits
        shown = "..."
    return shown if len(shown) <= 60 else shown[:57] + "..."
