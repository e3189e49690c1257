"""``fastgd predict``: predictions of a saved model for a file of data."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

import fastgd
from fastgd._files import OtherKindError
from fastgd.commands import CommandError, Subparsers
from fastgd.commands._explained import explained
from fastgd.commands._output import check_not_read, replacing
from fastgd.commands._reading import with_progress
from fastgd.sources._rows import Roles
from fastgd.sources.files import ARRAYS, DataFile, open_file

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
    check_not_read(args.output, (args.model, args.data))
    model = _load(args.model)
    with explained(args.data):
        data = open_file(args.data)
    with _destination(args.output) as write:
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


def _predictions(model: fastgd.FitResult, data: DataFile, path: Path) -> Iterator[NDArray[Any]]:
    """Batch by batch; what goes wrong with the data is told, what does in writing passes by."""
    with explained(path):
        for batch in with_progress(data, Roles(features=_features(model, path))):
            yield np.atleast_1d(model.predict(batch.X))


def _features(model: fastgd.FitResult, path: Path) -> tuple[str, ...] | None:
    return None if path.suffix.lower() in ARRAYS else model.feature_names


@contextmanager
def _destination(path: Path | None) -> Iterator[Write]:
    """Where predictions go, block by block."""
    if path is None:
        yield lambda block: sys.stdout.writelines(f"{value!r}\n" for value in block.tolist())
        return
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise CommandError(f"{path}: predictions go to files that end in {', '.join(SUFFIXES)}")
    with replacing(path) as file, (_npy if kind == ".npy" else _arrow)(file, kind) as write:
        yield write


@contextmanager
def _npy(file: Path, kind: str) -> Iterator[Write]:
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
def _arrow(file: Path, kind: str) -> Iterator[Write]:
    try:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError:
        raise CommandError(
            f"writing {kind} files needs pyarrow: python -m pip install 'fastgd[arrow]'"
        ) from None
    makers = {".parquet": pa.parquet.ParquetWriter, ".csv": pa.csv.CSVWriter}
    schema = pa.schema([(COLUMN, pa.float64())])
    with makers.get(kind, pa.ipc.new_file)(str(file), schema) as writer:
        yield lambda block: writer.write_batch(
            pa.record_batch([pa.array(block.astype(np.float64))], schema=schema)
        )
