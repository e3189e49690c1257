"""``fastgd demo``: six points, a real table, a large array, on both backends."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import numpy as np

import fastgd
from fastgd.backends import BACKENDS
from fastgd.commands import CommandError, Subparsers, count
from fastgd.commands._machine import available_memory, in_words
from fastgd.commands._output import replacing
from fastgd.commands._plot import draw
from fastgd.commands._sections import BYTES_A_ROW, flights, large, notebook

ROWS = 10_000_000
LEAST_ROWS = 1000
PLOT = Path("fastgd-demo.png")


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "demo",
        help="fit six points, a real table and a large array on both backends",
        description="Fit six points, a real table and a large array, on both backends side by "
        "side. The exit status is 1 if the backends disagree.",
    )
    parser.add_argument(
        "--rows", type=count, default=ROWS, metavar="N", help=f"rows of the large array ({ROWS:,})"
    )
    plot = parser.add_mutually_exclusive_group()
    plot.add_argument(
        "--plot", type=Path, default=PLOT, metavar="PATH", help=f"PNG of the loss curve ({PLOT})"
    )
    plot.add_argument("--no-plot", action="store_true", help="draw no loss curve")


def run(args: argparse.Namespace) -> int:
    """Show the sections one after the other."""
    _check_rows(args.rows)
    with _plot_file(args) as file:
        print(in_words())
        _warm_up()
        agreed = [notebook(), flights()]
        curves, agrees = large(args.rows)
        agreed.append(agrees)
        if file is not None:
            draw(curves, args.rows, file)
            print(f"\n4. Loss curve: {args.plot}")
        elif not args.no_plot:
            print('\n4. Loss curve: needs matplotlib: python -m pip install "fastgd[demo]"')
    return 0 if all(agreed) else 1


def _check_rows(rows: int) -> None:
    if rows < LEAST_ROWS:  # so few would be fitted down to rounding, where losses differ
        raise CommandError(f"--rows {rows}: the large array has at least {LEAST_ROWS} rows")
    available = available_memory()
    if rows * BYTES_A_ROW > available:
        raise CommandError(
            f"--rows {rows} needs {rows * BYTES_A_ROW / 2**30:.1f} GiB of memory; "
            f"{available / 2**30:.1f} GiB are available"
        )


@contextmanager
def _plot_file(args: argparse.Namespace) -> Iterator[Path | None]:
    """The file to draw to, or None if there is to be no plot or nothing to draw it with."""
    if args.no_plot or find_spec("matplotlib") is None:
        yield None
    elif args.plot.suffix.lower() != ".png":
        raise CommandError(f"--plot writes a PNG file; {args.plot} does not end in .png")
    else:
        with replacing(args.plot) as file:
            yield file


def _warm_up() -> None:
    """Call once what the sections call, so that they time no compilation."""
    start = perf_counter()
    rng = np.random.default_rng(0)
    table = rng.standard_normal((100, 3))
    line = rng.standard_normal(100, dtype=np.float32)
    for backend in BACKENDS:
        fastgd.fit(table, table.sum(axis=1) + line.astype(float), backend=backend)
        fastgd.fit(line, table[:, 0].astype(np.float32), learning_rate=0.1, backend=backend)
    seconds = perf_counter() - start
    print(f"Compiling took {seconds:.1f} s, which the times below leave out.")
