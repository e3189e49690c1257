"""Moments of a part of the data, kept in a file, so that a read that was ended goes on."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from glob import escape
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from fastgd._data.problem import Problem
from fastgd._errors import warn
from fastgd._files import read_npz, write_npz
from fastgd._moments.file import fields_of
from fastgd._moments.moments import Moments

FORMAT = "fastgd.Checkpoint"
VERSION = 1

# Seconds between writes, at least; and at most this part of the time goes into them.
INTERVAL = 5.0
SHARE = 0.05

# Rows of the first batch by which data are known.
KNOWN_ROWS = 64

Parts = tuple[tuple[int, Any], ...]


class Checkpoint:
    """All parts of a tree of moments and how many blocks they are of, written now and then.

    What cannot be written is no reason to end a read: that warns once.
    """

    def __init__(self, path: Path, identity: tuple[str, ...]) -> None:
        self._path, self._identity = path, identity
        self._offered: tuple[int, Parts] | None = None
        self._written = perf_counter()
        self._cost = 0.0
        self._warned = False

    def restore(self) -> tuple[int, Parts]:
        """How many blocks were done, and the parts of their tree.

        Raises
        ------
        ValueError
            If the file is none of a checkpoint, or one of other data.
        """
        self._clear()
        try:
            fields = read_npz(self._path, FORMAT, VERSION)
        except FileNotFoundError:
            return 0, ()
        try:
            self._compare(json.loads(str(fields["identity"])))
            counts = [int(count) for count in fields["counts"]]
            parts = [_unpacked(fields, number) for number in range(len(counts))]
            n_done = int(fields["n_done"])
            if n_done != sum(counts):
                raise ValueError(f"{n_done} blocks are not {sum(counts)}")
        except _OtherDataError as error:
            raise ValueError(f"{self._path} {error}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{self._path} is not a whole checkpoint: {error}") from None
        return n_done, tuple(zip(counts, parts, strict=True))

    def offer(self, n_done: int, parts: Parts) -> None:
        """Write these, if it is time."""
        self._offered = n_done, parts
        if perf_counter() - self._written >= max(INTERVAL, self._cost / SHARE):
            self.keep()

    def keep(self) -> None:
        """Write what was offered last."""
        if self._offered is None:
            return
        start = perf_counter()
        try:
            self._write(*self._offered)
            self._offered = None
        except OSError as error:
            if not self._warned:
                self._warned = True
                warn(
                    f"the checkpoint cannot be written, and the fit goes on: {error}",
                    RuntimeWarning,
                )
        self._written = perf_counter()
        self._cost = self._written - start

    def remove(self) -> None:
        """All is done."""
        self._offered = None
        self._clear()
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _write(self, n_done: int, parts: Parts) -> None:
        fields: dict[str, Any] = {
            "identity": np.str_(json.dumps(self._identity)),
            "n_done": np.int64(n_done),
            "counts": np.array([count for count, _ in parts], np.int64),
        }
        for number, (_, moments) in enumerate(parts):
            if moments is not None:
                of_part = fields_of(moments)
                fields |= {f"{number}.{name}": value for name, value in of_part.items()}
        write_npz(self._path, FORMAT, VERSION, fields)

    def _compare(self, found: list[str]) -> None:
        for theirs, ours in zip(found, self._identity, strict=False):
            if theirs != ours:
                raise _OtherDataError(f"is of other data: it has {theirs}, and X {ours}; remove it")
        if len(found) != len(self._identity):
            raise _OtherDataError("is of other data; remove it")

    def _clear(self) -> None:
        """Remove what a write left that was killed."""
        with suppress(OSError):
            for left in self._path.parent.glob(f"{escape(self._path.name)}.*-*.tmp"):
                left.unlink(missing_ok=True)


class _OtherDataError(ValueError):
    pass


def _unpacked(fields: dict[str, Any], number: int) -> Moments | None:
    start = f"{number}."
    found = {
        name.removeprefix(start): value for name, value in fields.items() if name.startswith(start)
    }
    return Moments.from_fields(found) if found else None


def identity_of(first: Problem, backend: str) -> tuple[str, ...]:
    """What moments depend on besides the source: the first rows, in short, and what computes."""
    from fastgd import __version__

    hashed = hashlib.blake2b(digest_size=8)
    for part in first[:3]:
        if part is not None:
            hashed.update(np.ascontiguousarray(part[:KNOWN_ROWS]).tobytes())
    return f"first rows of hash {hashed.hexdigest()}", f"backend {backend}", f"fastgd {__version__}"
