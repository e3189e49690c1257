"""``fastgd fit``: a model of a file of data."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import fastgd
from fastgd import FitResult, Inference
from fastgd._settings import check_settings
from fastgd.commands import CommandError, Subparsers, count, told
from fastgd.commands._coefficients import NOTE, coefficients, named_coefficients
from fastgd.commands._data import files_read
from fastgd.commands._output import check_not_read, replacing
from fastgd.commands._reading import add_data_arguments, read_moments
from fastgd.methods import METHODS

# Batches need the data themselves, which are read once.
_METHODS = ("auto", *(name for name in METHODS if name != "sgd"))
SUFFIX = ".json"  # of models
_OPTIONS = ("method", "alpha", "l1_ratio", "momentum", "learning_rate", "max_iter", "tol")


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "fit",
        help="fit a model to a file of data and print its summary",
        description="Fit a linear model to a file of data, read once, in blocks of rows. Prints "
        "a summary.",
    )
    add_data_arguments(parser)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="PATH", help=f"write the model here: {SUFFIX}"
    )
    parser.add_argument("--method", choices=_METHODS, default="auto", help="(auto)")
    parser.add_argument("--alpha", type=float, default=0.0, metavar="A", help="penalty (0)")
    parser.add_argument(
        "--l1-ratio", type=float, default=0.0, metavar="P", help="part of it on sizes (0)"
    )
    parser.add_argument("--momentum", type=float, metavar="M", help="of momentum and nesterov")
    parser.add_argument("--learning-rate", type=_rate, default="auto", metavar="R", help="(auto)")
    parser.add_argument("--max-iter", type=count, default=10_000, metavar="N", help="(10000)")
    parser.add_argument("--tol", type=float, default=1e-10, metavar="T", help="(1e-10)")


def run(args: argparse.Namespace) -> int:
    """Read, fit, write and print."""
    if args.output is not None and args.output.suffix.lower() != SUFFIX:
        raise CommandError(f"{args.output}: models go to files that end in {SUFFIX}")
    check_not_read(args.output, (*files_read(args.data), args.y))
    with nullcontext() if args.output is None else replacing(args.output) as file:
        result = _fit(args)
        if file is not None:
            result.save(file)
    if np.ndim(result.intercept):  # statistics are of a single target
        print(json.dumps(_report(result), indent=1) if args.json else coefficients(result))
        return 0
    summary = result.summary()
    summary = replace(summary, target=args.target or summary.target)
    report = {**_report(result), **_statistics(summary)}
    print(json.dumps(report, indent=1) if args.json else summary)
    return 0


def _fit(args: argparse.Namespace) -> FitResult:
    options = {name: getattr(args, name) for name in _OPTIONS}
    options["fit_intercept"] = not args.no_intercept
    with told():
        check_settings(options)  # before the read, which may take long
    moments, _ = read_moments(args)
    with warnings.catch_warnings(record=True) as caught, told():
        warnings.simplefilter("always")
        result = fastgd.fit(moments, **options)
    for warning in caught:
        print(f"fastgd: warning: {warning.message}", file=sys.stderr)
    return result


def _report(result: FitResult) -> dict[str, Any]:
    names, coef = named_coefficients(result)
    return {
        "coef": dict(zip(names, coef.tolist(), strict=True)),
        "intercept": np.asarray(result.intercept).tolist(),
        "standard_errors": None,
        "notes": (NOTE,),
        "method": result.method,
        "loss": result.loss,
        "r_squared": None,
        "n_samples": None if result.moments is None else result.moments.n_samples,
        "n_iter": result.n_iter,
        "converged": result.converged,
        "stop_reason": str(result.stop_reason),
        "learning_rate": finite(result.learning_rate),
    }


def _statistics(summary: Inference) -> dict[str, Any]:
    errors = map(finite, summary.standard_errors.tolist())
    return {
        "standard_errors": dict(zip(summary.names, errors, strict=True)),
        "notes": summary.notes,
        "r_squared": finite(summary.r_squared),
    }


def _rate(text: str) -> float | str:
    try:
        return text if text == "auto" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor a number") from None


def finite(number: float) -> float | None:
    """The number, or None for what JSON has no number for."""
    return number if np.isfinite(number) else None
