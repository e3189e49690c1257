"""Calls timed in turn, round by round, for ratios of what was timed in the same round."""

from __future__ import annotations

from collections.abc import Callable
from time import sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.commands import _timing

# Threads of a BLAS go on spinning for a while after a call, and slow what is timed next.
BLAS_REST = 0.1  # seconds

Times = NDArray[np.float64]


def rounds(calls: dict[str, Callable[[], Any]], seconds: float) -> dict[str, Times]:
    """Seconds of each of `calls` in every round; "limit" is a read, "numpy" goes last."""

    def rest() -> None:
        if "numpy" in calls:
            sleep(BLAS_REST)
            # Untimed: a core that slept is slow at first. In two threads the limit took up to 1.2
            # times as long, which made what came behind look faster than it is.
            calls["limit"]()

    times = _timing.rounds(calls, seconds, rest)
    return {name: np.array(each) for name, each in times.items()}
