"""``fastgd predict``: predictions of a saved model for a file of data."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

import fastgd
from fastgd._files import OtherKindError
from fastgd.commands import CommandError, Subparsers
from fastgd.commands._data import Data, files_read
from fastgd.commands._explained import explained
from fastgd.commands._output import check_not_read, replacing
from fastgd.commands._reading import with_progress
from fastgd.sources._rows import Roles

COLUMN = "prediction"
SUFFIXES = (".parquet", ".feather", ".arrow", ".csv", ".npy")

Write = Callable[[NDArray[Any]], object]


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "predict",
        help="predict from a model that fit wrote",
        description="Predict from a model and a file of data, read in blocks of rows. Prints a "
        "prediction a line, or writes a file.",
    )
    parser.add_argument("model", type=Path, help="what fastgd fit wrote with -o")
    parser.add_argument("data", type=Path, help="as for fastgd fit; other columns may be there")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="PATH", help=f"write here: {', '.join(SUFFIXES)}"
    )


def run(args: argparse.Namespace) -> int:
    """Read, predict and write."""
    check_not_read(args.output, (args.model, *files_read(args.data)))
    model = _load(args.model)
    data = Data(args.data)
    with _destination(args.output, _columns(model)) as write:
        for predicted in _predictions(model, data, args.data):
            write(predicted)
    return 0


def _load(path: Path) -> fastgd.FitResult:
    with explained(path):
        try:
            return fastgd.load(path)
        except OtherKindError:
            raise CommandError(
                f"{path} is not a model that fastgd fit wrote; give the model, then the data"
            ) from None


def _predictions(model: fastgd.FitResult, data: Data, path: Path) -> Iterator[NDArray[Any]]:
    """Batch by batch; what goes wrong with the data is told, what does in writing passes by."""
    features = None if data.names is None else model.feature_names
    with explained(path):
        for batch in with_progress(data, Roles(features=features)):
            yield np.atleast_1d(model.predict(batch.X))


def _columns(model: fastgd.FitResult) -> list[str]:
    """A column a target, with a number where y had two axes."""
    targets = np.shape(model.intercept)
    return [f"{COLUMN}{k + 1}" for k in range(*targets)] if targets else [COLUMN]


@contextmanager
def _destination(path: Path | None, columns: list[str]) -> Iterator[Write]:
    """Where predictions go, block by block."""
    if path is None:
        yield _print
        return
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise CommandError(f"{path}: predictions go to files that end in {', '.join(SUFFIXES)}")
    make = _npy if kind == ".npy" else partial(_arrow, kind=kind, columns=columns)
    with replacing(path) as file, make(file) as write:
        yield write


def _print(block: NDArray[Any]) -> None:
    rows = block.reshape(len(block), -1).tolist()
    sys.stdout.writelines(f"{','.join(map(repr, row))}\n" for row in rows)


@contextmanager
def _npy(file: Path) -> Iterator[Write]:
    """Block by block; the header, which NumPy pads so that the length may grow, is put last."""
    shape: tuple[int, ...] = (0,)
    descr: Any = "<f8"
    with open(file, "wb") as out:

        def write(block: NDArray[Any]) -> None:
            nonlocal shape, descr
            if not out.tell():
                descr = np.lib.format.dtype_to_descr(block.dtype)
                _put_header(out, descr, block.shape)
            shape = (shape[0] + len(block), *block.shape[1:])
            out.write(block.data if block.flags.c_contiguous else block.tobytes())

        yield write
        out.seek(0)
        _put_header(out, descr, shape)


def _put_header(out: BinaryIO, descr: Any, shape: tuple[int, ...]) -> None:
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, header)


@contextmanager
def _arrow(file: Path, kind: str, columns: list[str]) -> Iterator[Write]:
    try:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError:
        raise CommandError(
            f"writing {kind} files needs pyarrow: python -m pip install 'fastgd[arrow]'"
        ) from None
    makers = {".parquet": pa.parquet.ParquetWriter, ".csv": pa.csv.CSVWriter}
    schema = pa.schema([(name, pa.float64()) for name in columns])

    def batch_of(block: NDArray[Any]) -> pa.RecordBatch:
        values = block.astype(np.float64).reshape(len(block), -1)
        parts = [pa.array(np.ascontiguousarray(column)) for column in values.T]
        return pa.record_batch(parts, schema=schema)

    with makers.get(kind, pa.ipc.new_file)(str(file), schema) as writer:
        yield lambda block: writer.write_batch(batch_of(block))
