"""Files of ours: .npz, versioned, written beside and renamed, read without pickle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_npz(path: Path, kind: str, version: int, fields: Mapping[str, Any]) -> None:
    """Write `fields` to `path`, whole or not at all."""
    from uuid import uuid4

    # Opened as any file is, so that it gets the usual permissions.
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{uuid4().hex}.tmp")
    file = open(temporary, "xb")  # noqa: SIM115  # an error here leaves nothing to remove
    try:
        with file:
            np.savez(file, format=np.str_(kind), version=np.int64(version), **fields)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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
    return fields
