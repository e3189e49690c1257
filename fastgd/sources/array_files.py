"""Arrays in .npy and .npz files; those of .npy are mapped window by window, never whole."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.sources._rows import Batch, DataError, Roles, naming

# Bytes of X mapped at a time: smaller windows cost more turns, larger ones more address space.
# 64 MB were 0.75 times, 256 MB 0.95 times as fast as one window.
WINDOW = 256 << 20
# What is not in memory is read in pieces: page faults alone ask the disk for much less at a time.
PIECE = 8 << 20


class ArrayFiles:
    """An array X, one of y and one of weights, if they are there."""

    names: tuple[str, ...] | None = None

    def __init__(self, path: Path, y: Path | None = None, weight: Path | None = None) -> None:
        self.path = path
        self._arrays: list[Windows | NDArray[Any] | None]
        if path.suffix.lower() == ".npz":
            with naming(path):
                self._arrays = _load(path)
        else:
            self._arrays = [None if part is None else Windows(part) for part in (path, y, weight)]
        X, *columns = self._arrays
        assert X is not None
        self.n_rows: int | None = X.shape[0] if X.shape else 0
        for name, column in zip(("y", "sample_weight"), columns, strict=True):
            if column is not None and column.shape[:1] != X.shape[:1]:
                raise DataError(f"{path}: {name} has shape {column.shape} where X has {X.shape}")

    @property
    def has_target(self) -> bool:
        """Whether there is an array y."""
        return self._arrays[1] is not None

    def count(self) -> int:
        """The number of rows."""
        return self.n_rows or 0

    def features(self, roles: Roles) -> None:
        """Columns have no names."""

    def batches(self, roles: Roles, first: int) -> Iterator[Batch]:
        """The batches from number `first` on."""
        self._check(roles)
        length = self._length()
        for start in range(first * length, self.count(), length):
            rows = slice(start, start + length)
            X, y, weight = (None if part is None else part[rows] for part in self._arrays)
            yield Batch(X, y, weight, f"{self.path}, counting from row {start}", start)
            del X, y, weight

    def n_batches(self, roles: Roles) -> int | None:
        """How many there are."""
        return -(-self.count() // self._length())

    def _length(self) -> int:
        X = self._arrays[0]
        assert X is not None
        row_bytes = max(X.dtype.itemsize * prod(X.shape[1:]), 1)
        return max(WINDOW // row_bytes, 1)

    def _check(self, roles: Roles) -> None:
        if any(role is not None for role in roles):
            raise DataError(f"{self.path}: arrays have no names of columns to choose by")


class Windows:
    """An array of an .npy file, of which slices of rows are mapped into memory one by one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with open(path, "rb") as file, naming(path):
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if read is None:
                raise DataError(f"{path}: version {version} of .npy files is not read")
            self.shape, self._is_fortran, self.dtype = read(file)
            self._offset = file.tell()
            n_bytes = prod(self.shape) * self.dtype.itemsize
            found = file.seek(0, os.SEEK_END) - self._offset
        if self.dtype.hasobject:
            raise DataError(f"{path}: arrays of objects are not read")
        if found < n_bytes:
            raise DataError(f"{path} is truncated: it has {found} of {n_bytes} bytes of the array")

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        start, stop, _ = rows.indices(self.shape[0])
        if self._is_fortran and len(self.shape) > 1:
            whole = np.memmap(self._path, self.dtype, "r", self._offset, self.shape, "F")
            return whole[start:stop]
        shape = (stop - start, *self.shape[1:])
        row_bytes = self.dtype.itemsize * prod(self.shape[1:])
        if not prod(shape):
            return np.empty(shape, self.dtype)
        offset, n_bytes = self._offset + start * row_bytes, (stop - start) * row_bytes
        with open(self._path, "rb", buffering=0) as file:
            _bring_in(file.fileno(), offset, n_bytes)
            before = offset % mmap.ALLOCATIONGRANULARITY
            window = mmap.mmap(
                file.fileno(), before + n_bytes, access=mmap.ACCESS_READ, offset=offset - before
            )
        return np.frombuffer(window, self.dtype, prod(shape), before).reshape(shape)


def _bring_in(file: int, offset: int, n_bytes: int) -> None:
    """Read what is not in memory yet, and drop it: then it is."""
    now = getattr(os, "RWF_NOWAIT", None)
    if now is None:
        return
    page, piece = bytearray(1), bytearray(min(PIECE, n_bytes))
    for start in range(offset, offset + n_bytes, PIECE):
        stop = min(start + PIECE, offset + n_bytes)
        try:
            for probed in range(start, stop, PIECE // 8):
                os.preadv(file, [page], probed, now)
        except BlockingIOError:
            os.preadv(file, [memoryview(piece)[: stop - start]], start)
        except OSError:  # a file system that cannot tell
            return


def _load(path: Path) -> list[Windows | NDArray[Any] | None]:
    # Opened here, since NumPy leaves a file open that it cannot read.
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        if "X" not in archive:
            raise DataError(f"{path} has no array X; it has {', '.join(archive.files)}")
        return [archive.get(name) for name in ("X", "y", "sample_weight")]
