"""``fastgd cv``: cross-validation of penalties on a file of data."""

from __future__ import annotations

import argparse
import json

import fastgd
from fastgd.commands import CommandError, Subparsers, count, told
from fastgd.commands._reading import add_data_arguments, read_folds
from fastgd.commands.fit import finite


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "cv",
        help="cross-validate ridge penalties on a file of data",
        description="Cross-validate ridge penalties on a file of data, read once, in folds of "
        "neighbouring rows.",
    )
    add_data_arguments(parser)
    parser.add_argument("--cv", type=count, default=5, metavar="N", help="number of folds (5)")
    parser.add_argument(
        "--alpha",
        type=_numbers,
        default=[0.0, 0.001, 0.01, 0.1, 1.0, 10.0],
        metavar="A,...",
        help="penalties (0,0.001,0.01,0.1,1,10)",
    )


def run(args: argparse.Namespace) -> int:
    """Read and print."""
    if args.cv < 2:
        raise CommandError(f"--cv {args.cv}: there are at least 2 folds")
    folds = read_folds(args, args.cv)
    with told():
        found = fastgd.cross_validate(folds, alpha=args.alpha, fit_intercept=not args.no_intercept)
    rows = [
        {**setting, "mse": finite(mean), "standard_error": finite(error)}
        for setting, mean, error in zip(
            found.settings, found.mean.tolist(), found.standard_error.tolist(), strict=True
        )
    ]
    print(json.dumps({"best": found.best, "settings": rows}, indent=1) if args.json else found)
    return 0


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers") from None
