"""Files of ours: .npz and JSON, versioned, written beside and renamed, read without pickle."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

ZIP = b"PK\x03\x04"  # what a zip archive begins with
MOST_TOLD = 200  # characters of another's error: zipfile quotes the names of a damaged archive


class OtherKindError(ValueError):
    """A file that is of another kind altogether."""


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file beside `path`, renamed to it once the block has ended well, else removed."""
    from uuid import uuid4

    # Opened as any file is, so that it gets the usual permissions.
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{uuid4().hex}.tmp")
    try:
        file = open(temporary, "xb")  # noqa: SIM115  # an error here leaves nothing to remove
    except OSError as error:  # told of the file that was asked for
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        with file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_npz(path: Path, kind: str, version: int, fields: Mapping[str, Any]) -> None:
    """Write `fields` to `path`, whole or not at all."""
    from zipfile import ZipFile

    whole = {"format": kind, "version": version, **fields}
    # Not by np.savez, which leaves the archive to the garbage collector where the disk is full:
    # that tries again, and tells standard error of it.
    with replacing(path) as file, ZipFile(file, "w") as archive:
        for name, value in whole.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(value), allow_pickle=False)


def write_json(path: Path, kind: str, version: int, fields: Mapping[str, Any]) -> None:
    """Write `fields` to `path`, whole or not at all; floats to their last bit."""
    whole = {"format": kind, "version": version, **fields}
    text = json.dumps(whole, indent=1, allow_nan=False, ensure_ascii=False)
    with replacing(path) as file:
        file.write(f"{text}\n".encode())


def read_json(path: Path, kind: str, version: int) -> dict[str, Any]:
    """The fields of a file that `write_json` wrote for the same `kind`, of at most `version`.

    Raises
    ------
    OSError
        If `path` cannot be read.
    ValueError
        If it is no such file, is newer than this release, or is damaged.
    """
    try:
        fields = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise OtherKindError(f"{path} cannot be read as a file of {kind}: {error}") from None
    if not isinstance(fields, dict) or fields.get("format") != kind:
        raise OtherKindError(f"{path} is not a file of {kind}")
    _check_version(path, kind, version, fields)
    return fields


def read_npz(path: Path, kind: str, version: int) -> dict[str, NDArray[Any]]:
    """The fields of a file that `write_npz` wrote for the same `kind`, of at most `version`.

    Raises
    ------
    OSError
        If `path` cannot be read.
    ValueError
        If it is no such file, is newer than this release, or is damaged.
    """
    from zipfile import ZipFile

    with open(path, "rb") as file:
        if file.read(len(ZIP)) != ZIP:
            raise ValueError(f"{path} cannot be read as a file of {kind}: it is no .npz archive")
        try:
            with ZipFile(file) as archive:
                fields = {
                    member.filename.removesuffix(".npy"): _read_array(archive, member)
                    for member in archive.infolist()
                }
        except Exception as error:  # NumPy, zipfile and ast raise two dozen kinds of them
            told = " ".join(str(error).split())[:MOST_TOLD]
            raise ValueError(f"{path} cannot be read as a file of {kind}: {told}") from None
    if str(fields.get("format")) != kind:
        raise ValueError(f"{path} is not a file of {kind}")
    _check_version(path, kind, version, fields)
    return fields


def _read_array(archive: ZipFile, member: ZipInfo) -> NDArray[Any]:
    """An array of an archive, whose memory is that of the file: no size is taken on trust."""
    if member.file_size != member.compress_size:
        raise ValueError(f"{member.filename} is not stored as it is")
    file = BytesIO(archive.read(member))
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[np.lib.format.read_magic(file)]
    shape, _, dtype = read_header(file)
    if math.prod(shape) * dtype.itemsize > member.file_size:
        raise ValueError(f"{member.filename} is shorter than it says")
    file.seek(0)
    array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _check_version(path: Path, kind: str, version: int, fields: Mapping[str, Any]) -> None:
    try:
        found = int(fields["version"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path} has no version") from None
    if found < 1:
        raise ValueError(f"{path} says it is version {found} of {kind}, which never was")
    if found > version:
        raise ValueError(
            f"{path} is version {found} of {kind}; this release reads up to {version}: upgrade"
        )
