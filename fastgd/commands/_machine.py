"""What the machine offers."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np

import fastgd

CGROUP = Path("/sys/fs/cgroup")
ASSUMED_MEMORY = 4 * 2**30


def available_memory() -> int:
    """Bytes that this process may still use; `ASSUMED_MEMORY` where the system does not tell."""
    known = [size for size in (_system_memory(), _cgroup_memory()) if size is not None]
    return min(known, default=ASSUMED_MEMORY)


def available_cpus() -> int:
    """CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_words() -> str:
    """Versions and CPUs, for the head of a report."""
    about = describe()
    cpus = available_cpus()
    return (
        f"fastgd {about['fastgd']}, numpy {about['numpy']}, numba {about['numba']}, "
        f"Python {about['python']}, {cpus} CPU{'s' * (cpus > 1)}"
    )


def describe() -> dict[str, str | int]:
    """Versions and CPUs."""
    return {
        "fastgd": fastgd.__version__,
        "numpy": np.__version__,
        "numba": version("numba"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": available_cpus(),
    }


def _system_memory() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return None


def _cgroup_memory() -> int | None:
    """What a container's limit leaves, version 2 or 1."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            left = int((CGROUP / limit).read_text()) - int((CGROUP / used).read_text())
        except (OSError, ValueError):  # not this version; "max" is no limit
            continue
        return max(left, 0)
    return None
