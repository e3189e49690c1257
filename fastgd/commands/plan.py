"""``fastgd plan``: what a descent on a file of data would take."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from fastgd._plan import forecast
from fastgd._settings import check_settings
from fastgd.commands import Subparsers, told
from fastgd.commands._reading import add_data_arguments, read_moments


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "plan",
        help="forecast learning rates and epochs of plain descent on a file of data",
        description="Which learning rates are stable for a file of data, and how many epochs a "
        "fit by plain gradient descent (--method gd, which is not the default) takes.",
    )
    add_data_arguments(parser)
    parser.add_argument("--tol", type=float, default=1e-10, metavar="T", help="(1e-10)")


def run(args: argparse.Namespace) -> int:
    """Read and print."""
    with told():
        settings = check_settings(
            {
                "fit_intercept": not args.no_intercept,
                "tol": args.tol,
                "method": "gd",
                "n_threads": args.threads,
            }
        )
    moments, size = read_moments(args, one_target=True)
    with told():
        found = forecast(moments, size, settings)
    print(json.dumps(asdict(found), indent=1) if args.json else found)
    return 0
