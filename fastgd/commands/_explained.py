"""What goes wrong with files of data, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastgd.commands import CommandError
from fastgd.sources._rows import DataError


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Name the file in what goes wrong."""
    try:
        yield
    except (DataError, ImportError) as error:  # which name it
        raise CommandError(str(error)) from None
    except OSError as error:
        if error.strerror is None:
            raise CommandError(str(error)) from None
        raise CommandError(f"cannot read {error.filename or path}: {error.strerror}") from None
    except (TypeError, ValueError, OverflowError) as error:
        told = str(error)
        raise CommandError(told if told.startswith(str(path)) else f"{path}: {told}") from None
