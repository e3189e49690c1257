"""What commands that read data have in common: their options, the progress, the moments."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np

from fastgd import Moments
from fastgd._missing import CHOICES, NoRowsError
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


def read_moments(args: argparse.Namespace) -> Moments:
    """The moments of all data, from one read, block by block."""
    data, roles = open_arguments(args)
    parts = (_moments(block, args) for block in with_progress(data, roles))
    with explained(args.data):
        return _sum(parts, args)


def read_folds(args: argparse.Namespace, n_folds: int) -> list[Moments]:
    """The moments of folds of neighbouring rows, from one read."""
    data, roles = open_arguments(args)
    n_rows = data.count()
    if n_folds > n_rows:
        raise CommandError(f"--cv {n_folds} needs as many rows; {args.data} has {n_rows}")
    borders = [n_rows * fold // n_folds for fold in range(n_folds + 1)]
    parts: list[list[Moments]] = [[] for _ in range(n_folds)]
    with explained(args.data):
        for block in with_progress(data, roles):
            for fold in range(n_folds):
                part = block.rows(borders[fold], borders[fold + 1])
                moments = _moments(part, args) if part.n_rows else None
                if moments is not None:
                    parts[fold].append(moments)
        return [_sum(iter(fold), args) for fold in parts]


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _sum(parts: Iterator[Moments | None], args: argparse.Namespace) -> Moments:
    there = [part for part in parts if part is not None]
    if not there:
        raise CommandError(f"{args.data} has no rows to fit")
    return reduce(add, there)


def _moments(block: Block, args: argparse.Namespace) -> Moments | None:
    """The moments of some rows; None if all of them are left out."""
    if block.y is None:
        raise CommandError(f"{args.data} has no y to fit; see fastgd {args.command} --help")
    if block.weight is not None and not np.asarray(block.weight).any():
        return None
    try:
        return Moments.of(
            block.X, block.y, block.weight, missing=args.missing, n_threads=args.threads
        )
    except NoRowsError:
        return None
    except ValueError as error:
        told = str(error).replace('missing="drop"', "--missing drop")
        raise ValueError(f"counting from row {block.start}: {told}") from None


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
