"""What commands that read data have in common: their options, the progress, the moments."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastgd import Moments
from fastgd._data.arrays import CHOOSE, check_one_target
from fastgd._data.blocks import as_block
from fastgd._data.missing import CHOICES
from fastgd._plan import ONE_TARGET, moments_and_size
from fastgd._settings import Settings
from fastgd.commands import CommandError, count
from fastgd.commands._data import Data
from fastgd.commands._explained import explained
from fastgd.sources._rows import Batch, DataError, Roles


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what data to read, and how."""
    parser.add_argument(
        "data",
        type=Path,
        help=".parquet, .feather, .arrow or .csv, or a folder or a quoted pattern of them; .npz "
        "with arrays X, y and sample_weight, if any; or an .npy file of X",
    )
    parser.add_argument("y", type=Path, nargs="?", help="an .npy file of y, beside one of X")
    parser.add_argument("--target", metavar="NAME", help="the column to predict")
    parser.add_argument(
        "--features",
        type=_names,
        metavar="NAME,...",
        help="the columns to predict it from (all others)",
    )
    parser.add_argument("--weight", metavar="NAME", help="the column of sample weights")
    parser.add_argument(
        "--missing",
        choices=CHOICES,
        default="error",
        help="whether missing values are an error, or their rows are left out (error)",
    )
    parser.add_argument("--no-intercept", action="store_true", help="fit no intercept")
    parser.add_argument("--threads", type=count, metavar="N", help="threads at most")
    parser.add_argument("--json", action="store_true", help="print JSON")


def open_arguments(args: argparse.Namespace) -> tuple[Data, Roles]:
    """The data of a command line, and the roles of its columns."""
    data = Data(args.data, args.y)
    if data.names is not None and args.target is None:
        raise CommandError(f"--target is needed: which column of {args.data} to predict")
    features = args.features
    if features is not None:  # "a, b" has a space to look at, unless it is one of the name
        known = data.names or ()
        features = tuple(name if name in known else name.strip() for name in features)
    return data, Roles(args.target, features, args.weight)


def read_moments(args: argparse.Namespace, *, one_target: bool = False) -> tuple[Moments, int]:
    """The moments of all data from one read, batch by batch, and the bytes fit() would read."""
    data, roles = open_arguments(args)
    total = _Total(args, one_target)
    with explained(args.data):
        for batch in with_progress(data, roles):
            total.add(batch)
        return total.moments, total.n_bytes


def read_folds(args: argparse.Namespace, n_folds: int) -> list[Moments]:
    """The moments of folds of neighbouring rows, from one read."""
    data, roles = open_arguments(args)
    n_rows = data.count()
    if n_folds > n_rows:
        raise CommandError(f"--cv {n_folds} needs as many rows; {args.data} has {n_rows}")
    borders = [n_rows * fold // n_folds for fold in range(n_folds + 1)]
    folds = [_Total(args, one_target=True) for _ in range(n_folds)]
    with explained(args.data):
        for batch in with_progress(data, roles):
            for fold, total in enumerate(folds):
                total.add(batch.rows(borders[fold], borders[fold + 1]))
        return [total.moments for total in folds]


class _Total:
    """The moments of batches, summed as they come: memory is that of two."""

    def __init__(self, args: argparse.Namespace, one_target: bool) -> None:
        self._args, self._one_target = args, one_target
        self._moments: Moments | None = None
        self.n_bytes = 0  # of the arrays that the batches become

    @property
    def moments(self) -> Moments:
        if self._moments is None:
            raise CommandError(f"{self._args.data} has no rows to fit")
        return self._moments

    def add(self, batch: Batch) -> None:
        found = _read(batch, self._args, self._one_target)
        if found is not None:
            moments, n_bytes = found
            self._moments = moments if self._moments is None else self._moments + moments
            self.n_bytes += n_bytes


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _read(batch: Batch, args: argparse.Namespace, one_target: bool) -> tuple[Moments, int] | None:
    """The moments of some rows, and the bytes of their arrays; None if all are left out."""
    if batch.y is None:
        raise CommandError(f"{args.data} has no y to fit; see fastgd {args.command} --help")
    try:
        block = as_block(batch.X, batch.y, batch.weight, args.missing)
        if block is None:
            return None
        if one_target:
            check_one_target(ONE_TARGET, block.targets)
        moments, n_bytes = moments_and_size(block, Settings(n_threads=args.threads))
    except (TypeError, ValueError) as error:
        told = str(error).replace('missing="drop"', "--missing drop")
        told = told.replace(CHOOSE, "choose columns of numbers with --features")
        raise DataError(f"{batch.where}: {told}") from None
    return moments, n_bytes or 0


def with_progress(data: Data, roles: Roles) -> Iterator[Batch]:
    """The batches of `data`, with a bar on standard error if people see it."""
    batches = data.batches(roles)
    if not sys.stderr.isatty():
        yield from batches
        return
    total = data.count()
    with _bar() as draw:
        for batch in batches:
            yield batch
            draw((batch.start + batch.n_rows) / total)


@contextmanager
def _bar() -> Iterator:  # type: ignore[type-arg]
    shown = -1

    def draw(part: float) -> None:
        nonlocal shown
        if int(100 * part) > shown:
            shown = int(100 * part)
            done = "#" * (shown * 40 // 100)
            print(f"\r[{done:<40}] {shown:3} %", end="", file=sys.stderr, flush=True)

    try:
        yield draw
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
