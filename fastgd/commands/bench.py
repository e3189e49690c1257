"""``fastgd bench``: speed of the numba backend beside the numpy backend, and their agreement."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from fastgd import mse_and_gradient
from fastgd.commands import CommandError, Subparsers, count
from fastgd.commands._machine import available_memory, describe
from fastgd.commands._output import replacing
from fastgd.commands._table import Measurement, head, row, skipped_row, summary
from fastgd.commands._timing import in_turn
from fastgd.commands.cells import AGREEMENT, CELLS, Cell, difference, fits, make_data

SECONDS_A_CELL = 1.0
QUICK_SECONDS_A_CELL = 0.3


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "bench",
        help="time both backends over sizes and compare their results",
        description="Time one epoch, a call of mse_and_gradient on float32, on both backends in "
        "turn. Sizes whose X exceeds a third of the available memory are left out. The exit "
        f"status is 1 if loss or gradient differ by more than {AGREEMENT:g} at any size.",
    )
    parser.add_argument("--quick", action="store_true", help="small sizes only, some 20 seconds")
    parser.add_argument("--max-n", type=count, metavar="N", help="only sizes of at most N rows")
    parser.add_argument("--threads", type=count, metavar="N", help="threads of the numba backend")
    parser.add_argument(
        "--json",
        metavar="PATH",
        help="write the measurements as JSON too; - is standard output, and sends the table to "
        "standard error",
    )


def run(args: argparse.Namespace) -> int:
    """Measure every size that is wanted and fits."""
    memory = available_memory()
    wanted = [cell for cell in CELLS if _is_wanted(cell, args)]
    if not wanted:
        raise CommandError(f"--max-n {args.max_n} leaves no size to measure")
    cells = [cell for cell in wanted if fits(cell, memory)]
    skipped = [cell for cell in wanted if not fits(cell, memory)]
    table = sys.stderr if args.json == "-" else sys.stdout
    with _destination(args.json) as write:
        measured = _measure_all(cells, args, table)
        for cell in skipped:
            print(skipped_row(cell, memory), file=table)
        print(f"\n{summary(measured)}", file=table, flush=True)
        write(json.dumps(_report(measured, skipped, memory, args), indent=1) + "\n")
    return 0 if all(m.agrees for m in measured) else 1


def _is_wanted(cell: Cell, args: argparse.Namespace) -> bool:
    if args.max_n is not None and cell.n > args.max_n:
        return False
    return cell.is_quick or not args.quick


@contextmanager
def _destination(path: str | None) -> Iterator[Callable[[str], object]]:
    """Where the JSON goes: nowhere, to standard output or to a file."""
    if path is None:
        yield lambda text: None
    elif path == "-":
        yield sys.stdout.write
    else:
        with replacing(Path(path)) as file:
            yield file.write_text


def _measure_all(
    cells: Sequence[Cell], args: argparse.Namespace, table: TextIO
) -> list[Measurement]:
    print(head(), file=table, flush=True)
    measured = []
    for number, cell in enumerate(cells, 1):
        _progress(f"size {cell} ({number} of {len(cells)})")
        measured.append(_measure(cell, args))
        _progress("")
        print(row(measured[-1]), file=table, flush=True)
    return measured


def _measure(cell: Cell, args: argparse.Namespace) -> Measurement:
    data = make_data(cell)
    # float32 products are what numpy is fastest at, and what anyone would write.
    numpy_epoch = partial(mse_and_gradient, *data, backend="numpy", precision="single")
    numba_epoch = partial(mse_and_gradient, *data, backend="numba", n_threads=args.threads)
    apart = difference(numba_epoch(), numpy_epoch())
    seconds = in_turn(
        {"numpy": numpy_epoch, "numba": numba_epoch},
        QUICK_SECONDS_A_CELL if args.quick else SECONDS_A_CELL,
    )
    return Measurement(cell, seconds["numpy"], seconds["numba"], apart)


def _progress(text: str) -> None:
    """A line that the next one replaces, for people only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _report(
    measured: Sequence[Measurement],
    skipped: Sequence[Cell],
    memory: int,
    args: argparse.Namespace,
) -> dict[str, Any]:
    return {
        **describe(),
        "dtype": "float32",
        "threads": args.threads,
        "available_memory": memory,
        "agreement": AGREEMENT,
        "cells": [
            {
                "n": m.cell.n,
                "d": m.cell.d,  # null: 1-D
                "bytes": m.cell.bytes_read,
                "numpy_seconds": m.numpy_seconds,
                "numba_seconds": m.numba_seconds,
                "ratio": m.ratio,
                "numba_gb_per_second": m.gb_per_second,
                "difference": m.difference,
                "agree": m.agrees,
            }
            for m in measured
        ],
        "skipped": [{"n": cell.n, "d": cell.d, "x_bytes": cell.x_bytes} for cell in skipped],
    }
