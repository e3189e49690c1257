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
        named = error.filename or path
        raise CommandError(f"cannot read {named}: {error.strerror or error}") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise CommandError(f"{path}: {error}") from None
