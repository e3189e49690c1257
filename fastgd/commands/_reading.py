"""What commands that read data have in common: their options, the progress, the moments."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fastgd import Moments
from fastgd._missing import CHOICES, NoRowsError
from fastgd._plan import moments_and_size
from fastgd._problem import as_problem
from fastgd._settings import Settings
from fastgd.commands import CommandError, count
from fastgd.commands._data import Block, Data, Roles, explained
from fastgd.commands._open import open_data


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what data to read, and how."""
    parser.add_argument(
        "data",
        type=Path,
        help=".parquet, .feather, .arrow or .csv; .npz with arrays X, y and sample_weight, if "
        "any; or an .npy file of X",
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
    data = open_data(args.data, args.y)
    arrays = args.data.suffix.lower() in (".npy", ".npz")
    if not arrays and args.target is None:
        raise CommandError(f"--target is needed: which column of {args.data} to predict")
    return data, Roles(args.target, args.features, args.weight)


def read_moments(args: argparse.Namespace) -> tuple[Moments, int]:
    """The moments of all data from one read, block by block, and the bytes fit() would read."""
    data, roles = open_arguments(args)
    total = _Total(args)
    with explained(args.data):
        for block in with_progress(data, roles):
            total.add(block)
        return total.moments, total.n_bytes


def read_folds(args: argparse.Namespace, n_folds: int) -> list[Moments]:
    """The moments of folds of neighbouring rows, from one read."""
    data, roles = open_arguments(args)
    n_rows = data.count()
    if n_folds > n_rows:
        raise CommandError(f"--cv {n_folds} needs as many rows; {args.data} has {n_rows}")
    borders = [n_rows * fold // n_folds for fold in range(n_folds + 1)]
    folds = [_Total(args) for _ in range(n_folds)]
    with explained(args.data):
        for block in with_progress(data, roles):
            for fold, total in enumerate(folds):
                total.add(block.rows(borders[fold], borders[fold + 1]))
        return [total.moments for total in folds]


class _Total:
    """The moments of blocks, summed as they come: memory is that of two."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._moments: Moments | None = None
        self.n_bytes = 0  # of the arrays that the blocks become

    @property
    def moments(self) -> Moments:
        if self._moments is None:
            raise CommandError(f"{self._args.data} has no rows to fit")
        return self._moments

    def add(self, block: Block) -> None:
        if not block.n_rows:
            return
        found = _read(block, self._args)
        if found is not None:
            moments, n_bytes = found
            self._moments = moments if self._moments is None else self._moments + moments
            self.n_bytes += n_bytes


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _read(block: Block, args: argparse.Namespace) -> tuple[Moments, int] | None:
    """The moments of some rows, and the bytes of their arrays; None if all are left out."""
    if block.y is None:
        raise CommandError(f"{args.data} has no y to fit; see fastgd {args.command} --help")
    if block.weight is not None and not np.asarray(block.weight).any():
        return None
    try:
        problem = as_problem(block.X, block.y, block.weight, missing=args.missing)
        moments, n_bytes = moments_and_size(problem, Settings(n_threads=args.threads))
    except NoRowsError:
        return None
    except ValueError as error:
        told = str(error).replace('missing="drop"', "--missing drop")
        raise ValueError(f"counting from row {block.start}: {told}") from None
    return moments, n_bytes or 0


def with_progress(data: Data, roles: Roles) -> Iterator[Block]:
    """The blocks of `data`, with a bar on standard error if people see it."""
    blocks = data.blocks(roles)
    if not sys.stderr.isatty():
        yield from blocks
        return
    total = data.count()
    with _bar() as draw:
        for block in blocks:
            yield block
            draw((block.start + block.n_rows) / total)


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
