"""What moments cost and what they save: ``python -m bench.moments [--json PATH] [--readme]``.

Three tables, each row timed in turn in one process, medians:

* a whole fit of 20 epochs in 1-D against one read of x and y at the streaming limit, against the
  notebook's own numpy and against numpy's two matrix products, and the error of its coefficient;
* the moments pass against the larger of one read and ``n d (d + 1)`` operations at the rate of
  a large matrix product (float64, as the sums are), each of the same round, and against one epoch;
* the default fit to its solution, and the excess of its loss over the minimum, from normal
  equations in float64; with scikit-learn's LinearRegression, and Intel's extension of it, where
  they are installed.

``--readme`` puts the main rows between the markers of README.md.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastgd
from bench import readme
from bench._rounds import Times, rounds
from bench.yardstick import reader
from fastgd._threads import available_threads
from fastgd.commands._timing import in_turn, timed

EPOCHS = 20
FEATURES = (2, 4, 8, 16, 32, 100, 300, 1000)
MAIN_COLUMNS = (2, 16, 100, 1000)  # in Fortran order, in README.md
SQUARE = 1024  # rows and columns of the matrices of the large product
TABLES = {
    "one_dimension": f"1-D, {EPOCHS} epochs",
    "moments": "Moments pass",
    "solution": "Default fit",
}
SOLUTIONS = ((2_000_000, 16), (1_000_000, 100))


def random_values(n: int) -> NDArray[np.float32]:
    """Normal deviates; few enough are drawn that drawing takes no longer than measuring."""
    drawn = np.random.default_rng(0).standard_normal(min(n, 7_654_321), dtype=np.float32)
    return np.resize(drawn, n)


def notebook(x: NDArray[Any], y: NDArray[Any], epochs: int) -> float:
    """The notebook's loop."""
    w = 0.0
    for _ in range(epochs):
        predicted = w * x
        np.mean((predicted - y) ** 2)
        w -= 0.1 * np.mean(2 * x * (predicted - y))
    return float(w)


def two_products(x: NDArray[Any], y: NDArray[Any], epochs: int) -> float:
    """The same loop in as few calls of numpy as it takes."""
    w = np.float32(0.0)
    X, n = x[:, np.newaxis], len(x)
    for _ in range(epochs):
        r = X @ np.array([w], x.dtype)
        r -= y
        r @ r / n
        w -= np.float32(0.2 * (r @ X)[0] / n)
    return float(w)


def exact_descent(x: NDArray[Any], y: NDArray[Any], epochs: int) -> float:
    """The coefficient in float64: sums of exact products, block by block."""
    blocks = [slice(i, i + 65536) for i in range(0, len(x), 65536)]
    squares, products = [], []
    for rows in blocks:
        a, b = x[rows].astype(np.float64), y[rows].astype(np.float64)
        squares.append(float((a * a).sum()))
        products.append(float((a * b).sum()))
    square, product = math.fsum(squares) / len(x), math.fsum(products) / len(x)
    w = 0.0
    for _ in range(epochs):
        w -= 0.1 * 2 * (square * w - product)
    return w


def one_dimension(n: int, seconds: float) -> dict[str, float]:
    x = random_values(n)
    y = np.float32(1.5) * x + x[::-1]

    def fit() -> Any:
        return fastgd.fit(x, y, learning_rate=0.1, max_iter=EPOCHS, tol=0, fit_intercept=False)

    limits = [reader(x, available_threads()), reader(y, available_threads())]
    times = in_turn({"fit": fit, "read": lambda: [read() for read in limits]}, seconds)
    _, plain = timed(lambda: notebook(x, y, 2))
    _, blas = timed(lambda: two_products(x, y, 2))
    exact = exact_descent(x, y, EPOCHS)
    return {
        "n": n,
        "fit_s": times["fit"],
        "over_one_read": times["fit"] / times["read"],
        "notebook_over_fit": plain / 2 * EPOCHS / times["fit"],
        "two_products_over_fit": blas / 2 * EPOCHS / times["fit"],
        "relative_error": abs(fit().coef / exact - 1),
    }


def moments_pass(d: int, layout: str, megabytes: float, seconds: float) -> dict[str, Any]:
    n = int(megabytes * 1e6 / (4 * (d + 1)))
    values = random_values(n * (d + 1))
    X, y = values[: n * d].reshape((n, d), order=layout), values[n * d :]
    square = np.random.default_rng(0).standard_normal((SQUARE, SQUARE))
    calls: dict[str, Callable[[], Any]] = {
        "moments": lambda: fastgd.Moments.of(X, y),
        "limit": reader(values, available_threads()),
        "epoch": lambda: fastgd.mse_and_gradient(X, y, np.ones(d)),
        "numpy": lambda: square @ square,
    }
    times = rounds(calls, seconds)
    work = n * d * (d + 1) / (2 * SQUARE**3) * times["numpy"]

    def over(limit: Times) -> float:
        return float(np.median(times["moments"] / limit))

    return {
        "n": n,
        "d": d,
        "layout": layout,
        "moments_s": float(np.median(times["moments"])),
        "over_limit": over(np.maximum(times["limit"], work)),
        "over_read": over(times["limit"]),
        "over_epoch": over(times["epoch"]),
        "gflops": n * d * (d + 1) / float(np.median(times["moments"])) / 1e9,
        "product_gflops": 2 * SQUARE**3 / float(np.median(times["numpy"])) / 1e9,
    }


def peers(X: NDArray[Any], y: NDArray[Any]) -> dict[str, Callable[[], Any]]:
    """Other libraries' direct solutions, where they are installed."""
    found: dict[str, Callable[[], Any]] = {}
    for name, module in (
        ("sklearn", "sklearn.linear_model"),
        ("sklearnex", "sklearnex.linear_model"),
    ):
        with suppress(ImportError):
            model = import_module(module).LinearRegression()
            found[name] = lambda model=model: model.fit(X, y)
    return found


def solution(n: int, d: int, condition: float, seconds: float) -> dict[str, float]:
    """Geometric spectrum of X'X of the given condition number, R^2 near 1."""
    rng = np.random.default_rng(1)
    rotation, _ = np.linalg.qr(rng.standard_normal((d, d)))
    mix = (rotation * np.geomspace(1, condition**-0.5, d)).astype(np.float32)
    X = random_values(n * d).reshape(n, d) @ mix
    y = X @ np.ones(d, np.float32) + np.float32(0.01) * random_values(n)
    result = fastgd.fit(X, y)
    design = np.column_stack([X.astype(np.float64), np.ones(n)])
    exact = np.linalg.solve(design.T @ design, design.T @ y)
    least = float(np.mean((design @ exact - y) ** 2))
    loss = float(np.mean((design @ np.append(result.coef, result.intercept) - y) ** 2))
    others = peers(X, y)
    times = in_turn({"fit": lambda: fastgd.fit(X, y), **others}, seconds)
    return {
        "n": n,
        "d": d,
        "condition": condition,
        "fit_s": times["fit"],
        "excess": loss / least - 1,
        "n_iter": result.n_iter,
        **{f"{name}_over_fit": times[name] / times["fit"] for name in others},
    }


def show(title: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{title}")
    print("".join(f"{name:>22}" for name in rows[0]))
    for row in rows:
        cells = (v if isinstance(v, str) else f"{v:.5g}" for v in row.values())
        print("".join(f"{cell:>22}" for cell in cells), flush=True)


def markdown(report: dict[str, Any], megabytes: float) -> str:
    """The main rows."""
    line = report["one_dimension"][0]
    lines = [
        f"In 1-D, {line['n']:,} float32 rows and {EPOCHS} epochs, a whole fit takes"
        f" {line['over_one_read']:.2f} times as long as reading x and y once, the notebook's numpy"
        f" {line['notebook_over_fit']:.0f} times as long as the fit, and numpy's two matrix"
        f" products an epoch {line['two_products_over_fit']:.0f} times. The coefficient is off by"
        f" {line['relative_error']:.0e} of itself.",
        "",
        f"Collecting moments, float32, {megabytes:.0f} MB,"
        f" {available_threads()} threads: the time over that of one read of the data; over"
        " that of one epoch; and over the larger"
        " of one read and n d (d + 1) operations as fast as a large float64 matrix product does"
        " them. Made by `python -m bench.moments --readme`.",
        "",
        "| layout | features | of a read | of an epoch | of the limit |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in report["moments"]:
        if row["layout"] == "F" and row["d"] not in MAIN_COLUMNS:
            continue
        ratios = (f"{row[name]:.1f}" for name in ("over_read", "over_epoch", "over_limit"))
        lines.append(f"| {row['layout']} | {row['d']} | " + " | ".join(ratios) + " |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.moments", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000_000, help="of the 1-D fit; 10^8")
    parser.add_argument("--megabytes", type=float, default=400, help="of X and y; 400")
    parser.add_argument("--features", type=int, nargs="*", default=FEATURES)
    parser.add_argument("--layout", nargs="*", choices=("C", "F"), default=["C", "F"])
    parser.add_argument("--seconds", type=float, default=2.0, help="a row, at least; 2")
    parser.add_argument("--tables", nargs="*", choices=TABLES, default=list(TABLES))
    parser.add_argument("--json", metavar="PATH")
    parser.add_argument("--readme", action="store_true", help="put the main rows into README.md")
    args = parser.parse_args(argv)
    tables: dict[str, Callable[[], list[dict[str, float]]]] = {
        "one_dimension": lambda: [one_dimension(args.rows, args.seconds)],
        "moments": lambda: [
            moments_pass(d, layout, args.megabytes, args.seconds)
            for layout in args.layout
            for d in args.features
        ],
        "solution": lambda: [
            solution(n, d, condition, args.seconds)
            for n, d in SOLUTIONS
            for condition in (10.0, 1e4)
        ],
    }
    report: dict[str, Any] = {}
    for name in args.tables:
        report[name] = tables[name]()
        show(TABLES[name], report[name])
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=1))
    if args.readme:
        readme.put("moments", markdown(report, args.megabytes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
