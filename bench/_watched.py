"""A process that may take long: a sign of life each minute, and an end in any case."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

MINUTE = 60.0


def watched(
    command: Sequence[object], limit: float, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command; after `limit` seconds it is killed.

    So is all that it started and left, however it ends, where there are groups of processes.
    What it prints goes to a file: a pipe would be waited for as long as a child of it is open.
    """
    start = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        )
        try:
            status = _wait(process, start, limit)
        finally:
            _end(process)
        output.seek(0)
        told = output.read()
    if status is None:
        told += f"\nstopped: it took longer than {limit:.0f} s\n"
    return subprocess.CompletedProcess(command, process.returncode, told)


def _end(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):  # nothing is left
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _wait(process: subprocess.Popen[bytes], start: float, limit: float) -> int | None:
    """The status that a process ends with; None if it takes too long."""
    while (left := start + limit - time.monotonic()) > 0.0:
        try:
            return process.wait(min(left, MINUTE))
        except subprocess.TimeoutExpired:
            minutes = (time.monotonic() - start) / MINUTE
            print(f"  after {minutes:.0f} min: at work", file=sys.stderr, flush=True)
    return None
