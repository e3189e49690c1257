"""Timing of several callables side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from statistics import median
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")

# Long enough beside the clock's resolution, short enough that what else runs on the machine
# meets all callables alike.
BATCH_SECONDS = 1e-3
LEAST_ROUNDS = 5
MOST_ROUNDS = 200


def in_turn(calls: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Median seconds of a call for each of `calls`, timed by `rounds`."""
    return {name: median(values) for name, values in rounds(calls, seconds).items()}


def rounds(
    calls: Mapping[str, Callable[[], object]],
    seconds: float,
    between: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Seconds of a call of each of `calls` in every round, timed one after the other.

    Short calls are timed in batches. Rounds go on for about `seconds`, but at least
    `LEAST_ROUNDS`; `between` is called after each. The first call of each of `calls`, which may
    compile, is not timed.
    """
    sizes = {name: batch_size(call) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = perf_counter() + seconds
    for done in range(MOST_ROUNDS):
        if done >= LEAST_ROUNDS and perf_counter() > end:
            break
        for name, call in calls.items():
            times[name].append(time_batch(call, sizes[name]) / sizes[name])
        between()
    return times


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """What `call` returns, and the seconds it took."""
    start = perf_counter()
    result = call()
    return result, perf_counter() - start


def duration(seconds: float) -> str:
    """Seconds in a unit that suits them."""
    for unit, scale in (("s ", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{seconds / scale:.2f} {unit}"
    return f"{seconds * 1e6:.2f} us"


def batch_size(call: Callable[[], object]) -> int:
    """How many calls take at least `BATCH_SECONDS`."""
    call()
    return max(1, ceil(BATCH_SECONDS / time_batch(call, 1)))


def time_batch(call: Callable[[], object], size: int) -> float:
    """Seconds of `size` calls."""
    start = perf_counter()
    for _ in range(size):
        call()
    return perf_counter() - start
