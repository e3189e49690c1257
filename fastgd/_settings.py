"""The arguments of fit() that are not data, checked."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd import _check
from fastgd._data.problem import Source
from fastgd._objective import REDUCTIONS
from fastgd._penalty import Penalty
from fastgd._schedule import SCHEDULES
from fastgd.backends import BACKENDS, FIT_PRECISIONS
from fastgd.methods import METHODS, load_method

STRATEGIES = ("auto", "stream", "moments")
LearningRate = float | str | Callable[[int], Any]


class Settings(NamedTuple):
    """What fit() was asked to do; ``None`` where it was left to the library.

    Attributes
    ----------
    method : str
        The name of a method: "auto" is resolved.
    learning_rate : float, str, callable or None
        A literal step, a schedule, or None for "auto".
    """

    fit_intercept: bool = True
    method: str = "gd"
    learning_rate: LearningRate | None = None
    eta0: float = 0.01
    power_t: float = 0.25
    momentum: float | None = None
    penalty: Penalty = Penalty()
    max_iter: int = 10_000
    tol: float = 1e-10
    n_iter_no_change: int | None = None
    validation_fraction: float | None = None
    batch_size: int | None = None
    shuffle: bool = True
    average: bool = False
    random_state: int | np.random.Generator | None = None
    reduction: str = "mean"
    strategy: str = "auto"
    backend: str = "numba"
    precision: str = "auto"
    n_threads: int | None = None
    callback: Callable[[Any], object] | None = None
    verbose: int = 0
    progress: bool | None = None
    checkpoint: Path | None = None

    @property
    def gradient_reduction(self) -> str:
        """What the loop descends: a step chosen by the library is one for the mean."""
        return "mean" if self.learning_rate is None else self.reduction

    @property
    def is_watched(self) -> bool:
        """Whether something is to be done after every epoch."""
        watched = (self.callback, self.n_iter_no_change, self.validation_fraction)
        return self.verbose > 0 or any(value is not None for value in watched)


def check_settings(given: dict[str, Any]) -> Settings:
    """Raise TypeError or ValueError for the first argument that cannot be used.

    `given` holds arguments of fit() by name.
    """
    checked = {name: CHECKS[name](name, value) for name, value in given.items() if name in CHECKS}
    alpha, l1_ratio = checked.pop("alpha", 0.0), checked.pop("l1_ratio", 0.0)
    settings = Settings(**checked, penalty=Penalty(alpha, l1_ratio))
    settings = settings._replace(method=_resolve(settings))
    _check_together(settings)
    if settings.method == "sgd" and settings.batch_size is None:
        settings = settings._replace(batch_size=DEFAULT_BATCH)
    return settings


DEFAULT_BATCH = 1024


def _resolve(settings: Settings) -> str:
    """What method="auto" stands for."""
    if settings.method != "auto":
        return settings.method
    if settings.batch_size is not None:
        return "sgd"
    if settings.learning_rate is not None:
        return "gd"
    return "nesterov" if settings.penalty.sizes > 0.0 else "cg"


def _check_together(s: Settings) -> None:
    """Arguments that exclude each other."""
    method = load_method(s.method)
    if s.penalty.sizes > 0.0 and not method.PROXIMAL:
        raise ValueError(
            f"method={s.method!r} cannot take a penalty on sizes; use l1_ratio=0, or one of "
            f"{_names(lambda m: m.PROXIMAL)}"
        )
    if s.batch_size is not None and not method.BATCHES:
        raise ValueError(
            f"method={s.method!r} cannot take batch_size; use one of {_names(lambda m: m.BATCHES)}"
        )
    if s.momentum is not None and not method.MOMENTUM:
        raise ValueError(
            f"momentum cannot be set: the method would be {s.method!r}, which has none; give "
            f"method as one of {_names(lambda m: m.MOMENTUM)}"
        )
    if s.method == "cg" and s.learning_rate is not None:
        raise ValueError('method="cg" finds its own steps: learning_rate must be "auto"')
    batches = s.batch_size is not None or s.method == "sgd"
    if batches and s.strategy == "moments":
        raise ValueError('strategy="moments" has no batches: use strategy="stream" or "auto"')
    if batches and s.penalty.sizes > 0.0 and s.gradient_reduction == "sum":
        raise ValueError('reduction="sum" cannot go with both batch_size and l1_ratio')
    if s.average and not batches:
        raise ValueError("average=True needs batch_size: it averages the iterates of an epoch")
    if s.precision == "exact" and (batches or s.strategy == "stream" or s.validation_fraction):
        raise ValueError(
            'precision="exact" is one of moments: it cannot go with strategy="stream", batches or '
            "validation_fraction"
        )
    if s.validation_fraction is not None and s.strategy == "moments":
        raise ValueError('validation_fraction needs strategy="stream" or "auto"')


def _names(has: Callable[[Any], bool]) -> str:
    return ", ".join(repr(name) for name in METHODS if has(load_method(name)))


def check_start(
    problem: Source, settings: Settings, coef_init: ArrayLike | None, intercept_init: object
) -> tuple[NDArray[np.float64], float | NDArray[np.float64]]:
    """Coefficients and intercept to start from."""
    d, targets = problem.n_features, problem.targets
    coef = np.zeros((d, *targets))
    if coef_init is not None:
        shape = targets if problem.one_dimensional else (d, *targets)
        coef = _check.array("coef_init", coef_init, shape).reshape(d, *targets)
    if intercept_init is None:
        return coef, np.zeros(targets) if targets else 0.0
    if not settings.fit_intercept:
        raise ValueError("intercept_init cannot be given with fit_intercept=False")
    if targets:
        return coef, _check.array("intercept_init", intercept_init, targets)
    return coef, _check.scalar("intercept_init", intercept_init)


def _learning_rate(name: str, value: object) -> LearningRate | None:
    if callable(value):
        return value
    if isinstance(value, str):
        _check.choice(name, value, ["auto", *SCHEDULES])
        return None if value == "auto" else value
    if value is None:
        raise TypeError(f'{name} must be "auto" or a positive number, got None')
    return _check.real(name, value, positive=True)


def _callback(name: str, value: object) -> Callable[[Any], object]:
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {type(value).__name__}")
    return value


def _checkpoint(name: str, value: object) -> Path:
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, got {type(value).__name__}")
    path = Path(value)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ValueError(f"{name} must be a file in a folder that is there; got {path}")
    return path


def _optional(check: Callable[[str, object], Any]) -> Callable[[str, object], Any]:
    return lambda name, value: None if value is None else check(name, value)


def _at_least(least: int) -> Callable[[str, object], int]:
    return lambda name, value: _check.integer(name, value, least=least)


def _one_of(valid: Any) -> Callable[[str, object], str]:
    return lambda name, value: _check.choice(name, value, valid)


def _positive(name: str, value: object) -> float:
    return _check.real(name, value, positive=True)


CHECKS: dict[str, Callable[[str, object], Any]] = {
    "fit_intercept": _check.flag,
    "method": _one_of(("auto", *METHODS)),
    "learning_rate": _learning_rate,
    "eta0": _positive,
    "power_t": _check.real,
    "momentum": _optional(_check.part),
    "alpha": _check.real,
    "l1_ratio": lambda name, value: _check.part(name, value, closed=True),
    "max_iter": _at_least(1),
    "tol": _check.real,
    "n_iter_no_change": _optional(_at_least(1)),
    "validation_fraction": _optional(_check.part),
    "batch_size": _optional(_at_least(1)),
    "shuffle": _check.flag,
    "average": _check.flag,
    "random_state": _optional(_check.random_state),
    "reduction": _one_of(REDUCTIONS),
    "strategy": _one_of(STRATEGIES),
    "backend": _one_of(BACKENDS),
    "precision": _one_of(FIT_PRECISIONS),
    "n_threads": lambda _, value: _check.n_threads(value),
    "callback": _optional(_callback),
    "verbose": _at_least(0),
    "progress": _optional(_check.flag),
    "checkpoint": _optional(_checkpoint),
}
