"""Which files are meant by a path, a list of paths, a folder or a pattern."""

from __future__ import annotations

import os
from glob import glob
from pathlib import Path
from typing import Any

from fastgd.sources._rows import DataError
from fastgd.sources.files import TABLES


def paths_of(data: Any) -> list[Path]:
    """The files that are meant: those of a list, a single one, or all of a folder or a pattern.

    Raises
    ------
    DataError, TypeError
        If it is none of these.
    FileNotFoundError
        If there are no files of data in a folder, or of a pattern.
    """
    if isinstance(data, (list, tuple)):
        if not data:
            raise DataError("data must be at least one file; got none")
        return [Path(path) for path in data]
    if not isinstance(data, (str, os.PathLike)):
        raise TypeError(
            "data must be a path, a list of paths or a pyarrow Dataset; "
            f"got {type(data).__name__}: fastgd.fit takes other data as they are"
        )
    path = Path(data)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in TABLES)
        found = [file for file in found if not file.name.startswith((".", "_"))]
    elif any(mark in str(path) for mark in "*?[") and not path.exists():
        found = [Path(name) for name in sorted(glob(str(path), recursive=True))]
    else:
        return [path]
    if not found:
        raise FileNotFoundError(f"{path} holds no files of data, which end in {', '.join(TABLES)}")
    return found
