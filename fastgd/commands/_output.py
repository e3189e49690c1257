"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fastgd.commands import CommandError


def check_not_read(output: Path | None, inputs: Iterable[Path | None]) -> None:
    """Raise if what is to be written is one of the files that are read, by whatever name."""
    for path in inputs:
        if output is not None and path is not None and _is_same(output, path):
            raise CommandError(f"cannot write {output}: it is what is read, {path}")


def _is_same(a: Path, b: Path) -> bool:
    try:
        return a.samefile(b)
    except OSError:  # one of them is not there, or not to be seen: told where it is opened
        return False


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new, empty file beside `path`, renamed to it once the block has ended well.

    It is made at once, so that a place that cannot be written shows before the work.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise CommandError(f"cannot write {path}: it is not a regular file")
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from None
    try:
        yield temporary
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
