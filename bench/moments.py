"""What moments cost and what they save: ``python -m bench.moments [--json PATH]``.

Three tables, each row timed in turn in one process, medians:

* a whole fit of 20 epochs in 1-D against one read of x and y at the streaming limit, and against
  the notebook's own numpy;
* the moments pass against the larger of one read and ``n d (d + 1)`` operations at the rate of
  the machine's own large matrix product (float64, as the sums are);
* the default fit to its solution, and the excess of its loss over the minimum, from normal
  equations in float64 about the means.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastgd
from bench.yardstick import reader
from fastgd._threads import available_threads
from fastgd.commands._timing import in_turn

EPOCHS = 20
FEATURES = (2, 4, 8, 16, 32, 100, 300, 1000)
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


def one_dimension(n: int, seconds: float) -> dict[str, float]:
    x = random_values(n)
    y = np.float32(1.5) * x + x[::-1]
    options: dict[str, Any] = {"learning_rate": 0.1, "max_iter": EPOCHS, "fit_intercept": False}

    def fit() -> Any:
        return fastgd.fit(x, y, tol=0, **options)

    limits = [reader(x, available_threads()), reader(y, available_threads())]
    times = in_turn({"fit": fit, "read": lambda: [read() for read in limits]}, seconds)
    start = perf_counter()
    plain = notebook(x, y, 2)
    slow = (perf_counter() - start) / 2 * EPOCHS
    return {
        "n": n,
        "fit_s": times["fit"],
        "over_one_read": times["fit"] / times["read"],
        "notebook_over_fit": slow / times["fit"],
        "coef": fit().coef,
        "notebook_coef_after_2": plain,
    }


def matrix_product_rate() -> float:
    """Operations a second of a large float64 matrix product, the best of five."""
    a = np.random.default_rng(0).standard_normal((2048, 2048))

    def once() -> float:
        start = perf_counter()
        a @ a
        return perf_counter() - start

    once()
    return 2 * 2048**3 / min(once() for _ in range(5))


def moments_pass(d: int, megabytes: float, rate: float, seconds: float) -> dict[str, float]:
    n = int(megabytes * 1e6 / (4 * (d + 1)))
    values = random_values(n * (d + 1))
    X, y = values[: n * d].reshape(n, d), values[n * d :]
    calls: dict[str, Callable[[], Any]] = {
        "moments": lambda: fastgd.Moments.of(X, y),
        "read": reader(values, available_threads()),
        "epoch": lambda: fastgd.mse_and_gradient(X, y, np.ones(d)),
    }
    times = in_turn(calls, seconds)
    work = n * d * (d + 1) / rate
    return {
        "n": n,
        "d": d,
        "moments_s": times["moments"],
        "over_limit": times["moments"] / max(times["read"], work),
        "over_read": times["moments"] / times["read"],
        "over_epoch": times["moments"] / times["epoch"],
        "gflops": n * d * (d + 1) / times["moments"] / 1e9,
    }


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
    times = in_turn({"fit": lambda: fastgd.fit(X, y)}, seconds)
    return {
        "n": n,
        "d": d,
        "condition": condition,
        "fit_s": times["fit"],
        "excess": loss / least - 1,
        "n_iter": result.n_iter,
    }


def show(title: str, rows: list[dict[str, float]]) -> None:
    print(f"\n{title}")
    print("".join(f"{name:>22}" for name in rows[0]))
    for row in rows:
        print("".join(f"{value:>22.5g}" for value in row.values()), flush=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.moments", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000_000, help="of the 1-D fit; 10^8")
    parser.add_argument("--megabytes", type=float, default=400, help="of X and y; 400")
    parser.add_argument("--features", type=int, nargs="*", default=FEATURES)
    parser.add_argument("--seconds", type=float, default=2.0, help="a row, at least; 2")
    parser.add_argument("--json", metavar="PATH")
    args = parser.parse_args(argv)
    report: dict[str, Any] = {"one_dimension": [one_dimension(args.rows, args.seconds)]}
    show(f"1-D, {EPOCHS} epochs", report["one_dimension"])
    rate = matrix_product_rate()
    report["moments"] = [moments_pass(d, args.megabytes, rate, args.seconds) for d in args.features]
    show(f"Moments pass; large matrix product: {rate / 1e9:.0f} GFLOP/s", report["moments"])
    report["solution"] = [
        solution(n, d, condition, args.seconds) for n, d in SOLUTIONS for condition in (10.0, 1e4)
    ]
    show("Default fit", report["solution"])
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
