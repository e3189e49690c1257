"""Files of ours: .npz and JSON, versioned, written beside and renamed, read without pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file beside `path`, renamed to it once the block has ended well, else removed."""
    from uuid import uuid4

    # Opened as any file is, so that it gets the usual permissions.
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{uuid4().hex}.tmp")
    file = open(temporary, "xb")  # noqa: SIM115  # an error here leaves nothing to remove
    try:
        with file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_npz(path: Path, kind: str, version: int, fields: Mapping[str, Any]) -> None:
    """Write `fields` to `path`, whole or not at all."""
    with replacing(path) as file:
        np.savez(file, format=np.str_(kind), version=np.int64(version), **fields)


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
        raise ValueError(f"{path} cannot be read as a file of {kind}: {error}") from None
    if not isinstance(fields, dict) or fields.get("format") != kind:
        raise ValueError(f"{path} is not a file of {kind}")
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
    import zipfile
    import zlib

    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                fields = {name: archive[name] for name in archive.files}
        except (
            zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, KeyError, TypeError,
            AttributeError, NotImplementedError, RuntimeError, SyntaxError, MemoryError,
            OverflowError,
        ) as error:  # fmt: skip  # whatever a damaged archive makes numpy and zipfile raise
            raise ValueError(f"{path} cannot be read as a file of {kind}: {error}") from None
    if str(fields.get("format")) != kind:
        raise ValueError(f"{path} is not a file of {kind}")
    _check_version(path, kind, version, fields)
    return fields


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
