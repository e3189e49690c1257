"""The streaming limit: how fast this machine can read an array at all."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fastgd._threads import Team

GROUPS = 64


@njit(nogil=True, fastmath={"reassoc"})
def plain_sum(x):
    total = x.dtype.type(0)
    for i in range(x.shape[0]):
        total += x[i]
    return total


def reader(array: NDArray[np.floating], n_threads: int) -> Callable[[], float]:
    """A function that sums `array`, contiguous and 1-D, in groups shared by `n_threads`.

    A sum in vectors does the least that a reader of every byte can do. It is the fastest form
    found here: eight streams at once, or larger or fewer groups, are no faster.
    """
    if len(array) * array.itemsize < (4 << 20):
        return lambda: float(plain_sum(array))
    bounds = np.linspace(0, len(array), GROUPS + 1).astype(np.int64)
    parts = [array[start:stop] for start, stop in pairwise(bounds)]
    sums = np.zeros(GROUPS)

    def read() -> float:
        team = Team(n_threads)
        try:
            team.run(lambda group: sums.__setitem__(group, plain_sum(parts[group])), GROUPS)
        finally:
            team.close()
        return float(sums.sum())

    return read
