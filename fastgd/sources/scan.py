"""scan(): files of data, to be read a batch at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from fastgd.sources._rows import Batch, DataError, Roles, check_names
from fastgd.sources.array_files import ArrayFiles
from fastgd.sources.files import ARRAYS, DataFile, open_file
from fastgd.sources.paths import paths_of

Name: TypeAlias = "str | os.PathLike[str]"


def scan(
    data: Any,
    *,
    target: Name | None = None,
    features: Iterable[str] | None = None,
    weight: Name | None = None,
) -> Scan:
    """Files of data for `fit`, which reads them in batches of rows, never whole.

    Parameters
    ----------
    data : path, list of paths, or pyarrow Dataset or RecordBatchReader
        ``.parquet``, ``.feather``, ``.arrow`` (files or streams) and ``.csv`` files need PyArrow,
        ``.npy`` and ``.npz`` do not. A folder stands for all files of tables in it and in its
        folders, in the order of their names, and so does a pattern such as ``"2024-*.parquet"``;
        for columns that only the names of folders hold, give their ``pyarrow.dataset``. A
        RecordBatchReader can be read once.
    target : str or path
        The column to predict; beside an .npy file of X, that of y. An .npz file has arrays X, y
        and, if any, sample_weight.
    features : iterable of str, optional
        The columns to predict it from; by default all others, less those that pandas wrote an
        index to.
    weight : str or path, optional
        The column, or the .npy file, of sample weights.

    Returns
    -------
    Scan
        `fastgd.fit`, `fastgd.plan` and `fastgd.Moments.of` take it in place of X and y.

    Raises
    ------
    ValueError
        If a file is not what it says it is, or has no such columns.
    OSError
        If a file cannot be read.
    ImportError
        If PyArrow is needed, and missing.

    Notes
    -----
    Batches of tables are 65,536 rows, or fewer of many columns; those of .npy files are windows of
    256 MB, mapped into memory and not copied. The next is read while the last is worked on. A fit
    has the same bits whenever it reads the same files.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, fastgd
    >>> X = np.arange(12, dtype=np.float32).reshape(6, 2) ** 2
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(os.path.join(folder, "X.npy"), X)
    ...     np.save(os.path.join(folder, "y.npy"), X @ np.float32([1, 2]) + 3)
    ...     data = fastgd.scan(os.path.join(folder, "X.npy"), target=os.path.join(folder, "y.npy"))
    ...     data
    ...     fastgd.fit(data).coef.round(3).tolist()
    Scan(1 file, 6 rows)
    [1.0, 2.0]
    """
    if type(data).__module__.partition(".")[0] == "pyarrow":
        from fastgd.sources.arrow_files import TableStream

        return Scan([TableStream(data)], *_columns(target, features, weight))
    paths = paths_of(data)
    if paths[0].suffix.lower() not in ARRAYS:
        return Scan([open_file(path) for path in paths], *_columns(target, features, weight))
    if features is not None:
        raise DataError(f"{paths[0]}: arrays have no names of columns to choose by")
    if len(paths) > 1:
        raise DataError(f"{paths[0]}: one file of arrays is read at a time; got {len(paths)}")
    others = (None if name is None else Path(name) for name in (target, weight))
    return Scan([open_file(paths[0], *others)], Roles())


class Scan:
    """What `fastgd.scan` returns: batches ``(X, y)`` or ``(X, y, weight)``, to go through.

    Attributes
    ----------
    feature_names : tuple of str or None
        Of the columns of X, where they have names.
    n_rows : int or None
        Where it is known without reading them.
    is_read_once : bool
    """

    is_in_memory = False
    is_foreign = False
    skips = True

    def __init__(self, files: list[DataFile], roles: Roles) -> None:
        self._files, self._roles = files, roles
        first = files[0]
        self.is_read_once = getattr(first, "is_read_once", False)
        self.feature_names = roles.features
        if first.names is not None:
            self._roles = self._with_features(first.names)
            self.feature_names = self._roles.features
        elif isinstance(first, ArrayFiles) and not first.has_target:
            raise DataError(f"{first.path} has no y to fit: give target=, the .npy file of y")
        counts = [file.n_rows for file in files]
        known = [count for count in counts if count is not None]
        self.n_rows = sum(known) if len(known) == len(counts) else None

    def _with_features(self, names: tuple[str, ...]) -> Roles:
        if self._roles.target is None:
            raise DataError(f"target must name a column: one of {', '.join(names)}")
        roles = self._roles._replace(features=self._files[0].features(self._roles))
        if not roles.features:
            raise DataError(f"{self._files[0].path} has no column but {', '.join(names)}")
        for file in self._files:
            check_names(file.path, file.names or (), roles)
        return roles

    @property
    def identity(self) -> tuple[str, ...]:
        """Names, sizes and times of the files."""
        return tuple(map(_identity, self._files))

    def read(self, first: int) -> Iterator[Batch]:
        """The batches from number `first` on; those before are not read, but for CSV files."""
        for file in self._files:
            if first > 0 and len(self._files) > 1:
                file.count()
            n_batches = file.n_batches(self._roles)
            if n_batches is None or first < n_batches:
                yield from file.batches(self._roles, first)
            first = 0 if n_batches is None else max(first - n_batches, 0)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for batch in self.read(0):
            yield (batch.X, batch.y) if batch.weight is None else (batch.X, batch.y, batch.weight)

    def __repr__(self) -> str:
        n = len(self._files)
        rows = "" if self.n_rows is None else f", {self.n_rows:,} rows"
        names = "" if self.feature_names is None else f", features: {', '.join(self.feature_names)}"
        return f"Scan({n} file{'s' * (n > 1)}{rows}{names})"


def _columns(target: object, features: Iterable[str] | None, weight: object) -> tuple[Roles]:
    for name, value in (("target", target), ("weight", weight)):
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name} must be the name of a column, got {type(value).__name__}")
    if isinstance(features, str):
        raise TypeError(f"features must be a list of names, got {features!r}")
    names = None if features is None else tuple(features)
    return (Roles(target, names, weight),)  # type: ignore[arg-type]


def _identity(file: DataFile) -> str:
    try:
        status = file.path.stat()
    except OSError:
        return str(file.path)
    return f"{file.path.name}: {status.st_size} bytes of {status.st_mtime_ns}"
