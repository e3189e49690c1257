"""One peer on one problem, in a process of its own: ``python -m bench.attempt FOLDER PEER``.

Prints one line of JSON. The alarm ends the process where the time is up, in compiled code, too.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import signal
import sys
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from bench.peers import PEERS, Peer, Solve
from bench.problems import Oracle, read
from fastgd.commands._timing import in_turn, timed

ACCURACY = 1e-6  # relative excess of the training loss
STALLED = 2  # tolerances in a row that bring a peer no closer end its search
SHORT = 0.1  # seconds: calls worth rounds of several


class Attempt(NamedTuple):
    """What came of a peer on a problem."""

    status: str = "done"  # or a reason, in words, why there are no figures
    seconds: float | None = None
    first_seconds: float | None = None  # to a first answer: import, compiling, first call
    excess: float | None = None
    extra_bytes: int | None = None  # at the peak, over what the loaded data and library take
    tol: float | None = None  # the one that was needed, where the peer takes one

    @property
    def is_right(self) -> bool:
        return self.excess is not None and self.excess <= ACCURACY


def peak_memory() -> int:
    """Bytes this process held at most.

    Linux's own figure comes first: the portable one begins at the size of the parent process.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def is_missing(peer: Peer) -> bool:
    """Whether the peer's library is not installed."""
    return bool(peer.requires) and find_spec(peer.requires) is None


def attempt(
    peer: Peer, X: Any, y: Any, oracle: Oracle, seconds: float, rearm: Callable[[], object]
) -> Attempt:
    """Find a setting that is right, if there is one, and time it.

    `rearm` is called once the setting is known: the time limit holds for both parts.
    """
    solve, loading = timed(lambda: _started(peer))
    before = peak_memory()
    call, tol, first, excess = _first_right(peer, solve, X, y, oracle)
    extra = peak_memory() - before
    rearm()
    taken = seconds_of(call, seconds)
    return Attempt("done", taken, loading + first, excess, extra, tol)


def _started(peer: Peer) -> Solve:
    """The adapter, its library's lazy imports done: their memory is not the fit's."""
    solve = peer.load()
    X = np.random.default_rng(0).standard_normal((64, 2), np.float32)
    solve(X, X[:, 0], *peer.tolerances[:1])
    return solve


def _first_right(
    peer: Peer, solve: Solve, X: Any, y: Any, oracle: Oracle
) -> tuple[Callable[[], object], float | None, float, float]:
    """The loosest tolerance that is right; if none is, the one that came closest."""
    first, stalled = 0.0, 0
    best: tuple[Callable[[], object], float | None, float] | None = None
    for tol in peer.tolerances or (None,):

        def call(tol: float | None = tol) -> Any:
            return solve(X, y) if tol is None else solve(X, y, tol)

        (coef, intercept), taken = timed(call)
        first = first or taken
        excess = oracle.excess(coef, intercept)
        stalled += 1
        if best is None or excess < best[2]:
            best, stalled = (call, tol, excess), 0
        if excess <= ACCURACY or stalled == STALLED:
            break
    assert best is not None
    return best[0], best[1], first, best[2]


def seconds_of(call: Callable[[], object], seconds: float) -> float:
    """Median of a call, over at least `seconds`, and at least three calls unless they are long."""
    taken = timed(call)[1]
    if taken < SHORT:
        return in_turn({"call": call}, seconds)["call"]
    times = [taken]
    while sum(times) < seconds or (len(times) < 3 and sum(times) < 5 * seconds):
        times.append(timed(call)[1])
    return median(times)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.attempt", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--limit", type=int, default=60)
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore")  # a peer's tolerance may be out of its reach: the excess tells
    X, y, oracle = read(args.folder)

    def rearm() -> int:
        return signal.alarm(args.limit)

    rearm()
    found = attempt(PEERS[args.peer], X, y, oracle, args.seconds, rearm)
    print(json.dumps(found._asdict()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
