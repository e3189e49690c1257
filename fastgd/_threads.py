"""How many threads, and how they share the groups of a pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor


class Addable(Protocol):
    """What can be summed."""

    def __add__(self, other: Any, /) -> Any: ...


Sum = TypeVar("Sum", bound=Addable)

VARIABLES = ("FASTGD_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS")


def available_threads() -> int:
    """Threads that a pass may use if its caller does not say.

    The first of `VARIABLES` that holds a positive integer, else the CPUs of this process'
    affinity, within its control group's quota.
    """
    for variable in VARIABLES:
        text = os.environ.get(variable, "").strip()
        if text.isdecimal() and int(text) > 0:
            return int(text)
    try:
        cpus = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cpus = os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, cpus if quota is None else min(cpus, round(quota)))


def _cgroup_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """CPUs that the control group may use; None if there is no limit."""
    try:
        quota, period = (root / "cpu.max").read_text().split()  # version 2
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text()
            period = (root / "cpu/cpu.cfs_period_us").read_text()
        except OSError:
            return None
    try:
        cpus = float(quota) / float(period)  # "max" is no number
    except (ValueError, ZeroDivisionError):
        return None
    return cpus if cpus > 0 else None


def batches(n_groups: int, n_threads: int, most: int) -> Iterator[range]:
    """All groups, in runs of at most `most` for a thread to take at once.

    What several threads take is half of their share of what is left, so that all end together.
    """
    first = 0
    while first < n_groups:
        left = n_groups - first
        share = left if n_threads == 1 else left // (2 * n_threads)
        stop = first + min(most, max(1, share))
        yield range(first, stop)
        first = stop


class Team:
    """Threads that live as long as a pass, at most as one fit, and are started when first wanted.

    The caller's thread works too. Groups, or batches of them, are handed out one by one, and each
    writes to a place of its own, so that who takes which does not show in the result. Work that
    takes long looks from time to time whether the team `is_interrupted`, and ends.
    """

    def __init__(self, n_threads: int | None) -> None:
        self.n_threads = n_threads or available_threads()
        self.is_interrupted = False
        self._executor: ThreadPoolExecutor | None = None

    def close(self) -> None:
        """End the threads."""
        if self._executor is not None:
            self._executor.shutdown()

    def run(self, work: Callable[[int], None], n_groups: int) -> None:
        """Call ``work(group)`` for every group; compiled work that has let go of the GIL."""
        numbers = count()
        self.is_interrupted = False

        def take_groups() -> None:
            try:
                while not self.is_interrupted and (group := next(numbers)) < n_groups:
                    work(group)
            except BaseException:
                self.is_interrupted = True
                raise

        helpers: list[Future[None]] = []
        try:
            try:
                for _ in range(min(self.n_threads, n_groups) - 1):
                    helpers.append(self._pool().submit(take_groups))
            except RuntimeError:
                pass  # the interpreter is shutting down and starts no threads: work alone
            take_groups()
            for helper in helpers:
                helper.result()
        except BaseException:
            self.is_interrupted = True
            for helper in helpers:
                helper.exception()  # waits until it has ended with what it is at
            raise

    def _pool(self) -> ThreadPoolExecutor:
        if self._executor is None:
            from concurrent.futures import ThreadPoolExecutor

            self._executor = ThreadPoolExecutor(self.n_threads - 1, "fastgd")
        return self._executor


def ordered_sum(
    work: Callable[[int], Sum],
    n_groups: int,
    team: Team,
    most_at_once: int,
) -> Sum:
    """Sum of ``work(group)`` over all groups, added in the order of the groups.

    At most `most_at_once` results are kept beside the sum, and no more threads work than that.
    """
    if team.n_threads == 1 or n_groups == 1:
        total = work(0)
        for group in range(1, n_groups):
            total += work(group)
        return total
    total = _sum_of(team, work, range(min(most_at_once, n_groups)), None)
    for first in range(most_at_once, n_groups, most_at_once):
        groups = range(first, min(first + most_at_once, n_groups))
        total = _sum_of(team, work, groups, total)
    return total


def _sum_of(
    team: Team,
    work: Callable[[int], Sum],
    groups: range,
    total: Sum | None,
) -> Sum:
    """`total`, if there is one yet, and the results of `groups`, in their order."""
    results: list[Any] = [None] * len(groups)

    def keep(index: int) -> None:
        results[index] = work(groups[index])

    team.run(keep, len(groups))
    if total is None:
        total = results[0]
    else:
        total += results[0]
    for index in range(1, len(groups)):
        total += results[index]
    results.clear()  # a thread may still hold `keep`
    return total
