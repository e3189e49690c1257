"""How the learning rate changes from step to step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from fastgd import _check

SCHEDULES = ("constant", "invscaling", "adaptive")
# As scikit-learn's SGDRegressor has it: divided by 5 where the loss fails to fall.
ADAPTIVE_FACTOR = 5.0
LEAST_RATE = 1e-6


class Schedule:
    """The rate of each step: a number, a function of the epoch, or one of `SCHEDULES`.

    Parameters
    ----------
    kind : str or callable
        "invscaling" is ``eta0 / step**power_t``; "adaptive" is eta0, divided by 5 with each
        `slow_down`. A callable gets the epoch, from 1.
    eta0, power_t : float
    """

    def __init__(self, kind: str | Callable[[int], Any], eta0: float, power_t: float) -> None:
        self._kind, self._power = kind, power_t
        self._eta0 = self._rate = eta0
        self._step = 0

    @property
    def first(self) -> float:
        """The rate of the first step."""
        return self._called(1) if callable(self._kind) else self._eta0

    @property
    def is_constant(self) -> bool:
        return self._kind == "constant"

    @property
    def is_adaptive(self) -> bool:
        return self._kind == "adaptive"

    def start_epoch(self, epoch: int) -> None:
        """Take notice of an epoch, from 1."""
        if callable(self._kind):
            self._rate = self._called(epoch)

    def slow_down(self) -> bool:
        """Shorten the steps to come; whether they were not the shortest yet."""
        before, least = self._rate, LEAST_RATE * self._eta0
        self._rate = max(before / ADAPTIVE_FACTOR, least)
        return before > least

    def next(self) -> float:
        """The rate of the next step."""
        self._step += 1
        if self._kind == "invscaling":
            return float(self._eta0 / self._step**self._power)
        return self._rate

    def _called(self, epoch: int) -> float:
        assert callable(self._kind)
        returned = self._kind(epoch)
        try:
            rate = float(returned)
        except (TypeError, ValueError):
            rate = math.nan
        if not math.isfinite(rate) or rate <= 0.0:
            raise ValueError(
                f"learning_rate must return a finite number greater than 0; "
                f"for epoch {epoch} it returned {_check.describe(returned)}"
            )
        return rate
