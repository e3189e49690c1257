"""Kernels compiled for the types at hand, once a process, and kept on disk between processes.

Numba's own disk cache can fail a call: on a truncated file, a full disk, a folder that cannot be
written; and it overlooks changes in what a kernel calls. Here nothing that happens to the cache
can do more than cost a compilation: entries carry a checksum, are written beside and renamed,
and are named after everything they depend on.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import njit
from numba.core import config, serialize
from numba.core.compiler import CompileResult
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys  # type: ignore[attr-defined]

from fastgd.backends.numba._vectors.assemble import Kernel, assemble

FASTMATH = frozenset({"reassoc", "contract"})
DIGEST_BYTES = hashlib.sha256().digest_size
# Of Numba's settings, those that a server or a scheduler sets and no code depends on.
RUNTIME_SETTINGS = frozenset({"NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER", "NUMBA_CACHE_DIR"})

_lock = threading.Lock()


def _new_lock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # a lock held by another thread stays locked in the child
    os.register_at_fork(after_in_child=_new_lock)


_entries: dict[tuple[Any, ...], Callable[..., None]] = {}


def compiled(
    kernel: Kernel | Callable[..., None],
    key: tuple[Any, ...],
    make_signature: Callable[..., Any],
    fastmath: frozenset[str] = FASTMATH,
) -> Callable[..., None]:
    """`kernel` as machine code for ``make_signature(*key)``, compiled or loaded at the first call.

    Numba puts the flags of `fastmath` on every operation of the kernel that has none.

    The types of the arguments are not looked at again when the code is called.
    """
    place = (kernel, key)
    entry = _entries.get(place)
    if entry is None:
        with _lock:
            entry = _entries.get(place)
            if entry is None:
                work = partial(_compile, kernel, make_signature(*key), fastmath)
                entry = _entries[place] = _out_of_reach(work)
    return entry


def _out_of_reach(work: Callable[[], Callable[..., None]]) -> Callable[..., None]:
    """Do `work` in a thread of its own, where no interrupt comes.

    Ctrl-C while LLVM calls back into Python ended the process with a segmentation fault. It is
    answered once the kernel is compiled.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, "fastgd-compile") as executor:
        try:
            done = executor.submit(work)
        except RuntimeError:  # the interpreter is shutting down and starts no threads
            return work()
        return done.result()


def _compile(
    kernel: Kernel | Callable[..., None], signature: Any, fastmath: frozenset[str]
) -> Callable[..., None]:
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        raise RuntimeError(
            'backend="numba" needs compiled kernels; unset NUMBA_DISABLE_JIT or use backend="numpy"'
        )
    if isinstance(kernel, Kernel):
        return _load_or_assemble(kernel, signature, fastmath)
    # Its allocations, and no more: target.refresh() takes 0.4 s, most of it to import scipy.linalg.
    rtsys.initialize(cpu_target.target_context)
    dispatcher = njit(nogil=True, fastmath=set(fastmath))(kernel)
    dispatcher._cache = _DiskCache(kernel.__name__)  # type: ignore[attr-defined]
    entry: Callable[..., None] = dispatcher.compile(signature)
    return entry


def _load_or_assemble(
    kernel: Kernel, signature: Any, fastmath: frozenset[str]
) -> Callable[..., None]:
    target, cache = cpu_target.target_context, _DiskCache(kernel.name)
    with global_compiler_lock:
        result = cache.load_overload(signature, target)
        if result is None:
            result = assemble(kernel, signature, fastmath, target)
            cache.save_overload(signature, result)
    entry: Callable[..., None] = result.entry_point
    return entry


class _DiskCache:
    """What a Numba dispatcher asks of its cache, answered so that no answer is an error."""

    def __init__(self, name: str) -> None:
        self._name = name

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Return the compiled code for `signature`, or None."""
        try:
            path = self._path(signature, target)
            # Entries are pickles: only those that this user wrote are read.
            if hasattr(os, "getuid") and path.stat().st_uid != os.getuid():
                return None
            data = path.read_bytes()
            payload = data[DIGEST_BYTES:]
            if hashlib.sha256(payload).digest() != data[:DIGEST_BYTES]:
                return None
            result = CompileResult._rebuild(target, *pickle.loads(payload))
        except Exception:  # whatever is wrong with an entry, the kernel is compiled anew
            return None
        return result

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep `result` for other processes, if that can be done."""
        temporary = None
        try:
            path = self._path(signature, result.target_context)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            payload = serialize.dumps(result._reduce())
            handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(payload).digest() + payload)
            os.replace(temporary, path)
        except Exception:
            if temporary is not None:
                with suppress(OSError):
                    os.unlink(temporary)

    def _path(self, signature: Any, target: Any) -> Path:
        parts = (signature, target.codegen().magic_tuple(), _build())
        digest = hashlib.sha256(repr(parts).encode()).hexdigest()
        return cache_folder() / f"{self._name}-{digest[:32]}.bin"


def cache_folder() -> Path:
    """The folder of compiled kernels: FASTGD_CACHE_DIR, or fastgd in the user's cache folder."""
    chosen = os.environ.get("FASTGD_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fastgd"


@cache
def _build() -> tuple[str, ...]:
    """Everything but types and processor that compiled code depends on."""
    sources = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        sources.update(path.read_bytes())
    versions = (numba.__version__, llvmlite.__version__, np.__version__, sys.version)
    settings = sorted(
        item
        for item in os.environ.items()
        if item[0].startswith("NUMBA_") and item[0] not in RUNTIME_SETTINGS
    )
    return (*versions, repr(settings), sources.hexdigest())
