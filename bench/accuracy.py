"""Right digits of coefficients: ``python -m bench.accuracy [--large] [--cost] [--json PATH]``.

Digits are ``-log10`` of the largest relative error of a coefficient, 15 at most.

* NIST's reference problems (StRD), against coefficients solved in rational arithmetic from the
  published decimals: powers of x are rounded to float64, which no solver can undo. The last column
  is fastgd's default against the exact solution of the float64 numbers that it was given.
* ``--large``: 10^8 float32 rows in 1-D, and 10^7 rows of 16 features of condition 10^4. The
  oracle are normal equations in float64, refined until residuals taken in float64 say no more.
* ``--cost``: what exact moments take, in double ones, of 120 MB.

``--readme`` puts the tables made into bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastgd
from bench import readme
from fastgd.commands._timing import in_turn

NIST = Path(__file__).parent.parent / "tests" / "nist"
MOST = 15.0
ROWS, BLOCK = 10_000_000, 1 << 19
LINE_ROWS = 100_000_000
COST_FEATURES = (1, 4, 10, 16, 32)
COST_BYTES = 120_000_000

Array = NDArray[Any]
# Coefficients, the intercept first if there is one.
Solver = Callable[[Array, Array, bool], Array]


def ours(**options: Any) -> Solver:
    def solve(X: Array, y: Array, intercept: bool) -> Array:
        result = fastgd.fit(X, y, fit_intercept=intercept, progress=False, **options)
        coef = np.atleast_1d(result.coef)
        return np.append(result.intercept, coef) if intercept else coef

    return solve


def with_ones(X: Array, intercept: bool) -> Array:
    X = X[:, np.newaxis] if X.ndim == 1 else X
    return np.column_stack([np.ones(len(X), X.dtype), X]) if intercept else X


def numpy_lstsq(X: Array, y: Array, intercept: bool) -> Array:
    return np.asarray(np.linalg.lstsq(with_ones(X, intercept), y, rcond=None)[0])


def scikit_learn(X: Array, y: Array, intercept: bool) -> Array:
    model = import_module("sklearn.linear_model").LinearRegression(fit_intercept=intercept)
    model.fit(X[:, np.newaxis] if X.ndim == 1 else X, y)
    return np.append(model.intercept_, model.coef_) if intercept else model.coef_


def statsmodels_ols(X: Array, y: Array, intercept: bool) -> Array:
    OLS = import_module("statsmodels.regression.linear_model").OLS
    return np.asarray(OLS(y, with_ones(X, intercept)).fit().params)


DEFAULT, LSTSQ = "fastgd", "numpy lstsq"
OURS: dict[str, Solver] = {
    DEFAULT: ours(),
    "exact": ours(precision="exact"),
    "double": ours(precision="double"),
    "stream": ours(strategy="stream", tol=0.0, max_iter=200),
    "gd, exact": ours(method="gd", precision="exact", tol=0.0, max_iter=10_000),
    "nesterov, exact": ours(method="nesterov", precision="exact", tol=0.0, max_iter=10_000),
}
PEERS: dict[str, tuple[str, Solver]] = {
    LSTSQ: ("numpy", numpy_lstsq),
    "scikit-learn": ("sklearn", scikit_learn),
    "statsmodels": ("statsmodels", statsmodels_ols),
}


def peers() -> dict[str, Solver]:
    """Those that are installed."""
    found = {}
    for name, (module, solve) in PEERS.items():
        try:
            import_module(module)
        except ImportError:
            print(f"{name} is not installed and left out: pip install 'fastgd[peers]'")
            continue
        found[name] = solve
    return found


def digits(found: Array, exact: Array) -> float:
    """The least number of right digits of a coefficient."""
    with np.errstate(divide="ignore"):
        right = -np.log10(np.abs(found - exact) / np.abs(exact))
    return float(np.clip(right.min(), 0.0, MOST))


def solve_rationally(X: Array, y: Array, intercept: bool) -> Array:
    """The least squares solution of these very numbers, rounded once."""
    rows = [[Fraction(value) for value in row] for row in with_ones(X, intercept).tolist()]
    target = [Fraction(value) for value in y.tolist()]
    d = len(rows[0])
    matrix = [
        [sum(row[i] * row[j] for row in rows) for j in range(d)]
        + [sum(row[i] * t for row, t in zip(rows, target, strict=True))]
        for i in range(d)
    ]
    for k in range(d):
        matrix[k] = [value / matrix[k][k] for value in matrix[k]]
        for i in range(d):
            if i != k:
                factor = matrix[i][k]
                pairs = zip(matrix[i], matrix[k], strict=True)
                matrix[i] = [a - factor * b for a, b in pairs]
    return np.array([float(row[-1]) for row in matrix])


def nist_problems() -> Iterator[tuple[str, Array, Array, bool, Array]]:
    for name, known in json.loads((NIST / "exact.json").read_text()).items():
        x, y = np.loadtxt(NIST / f"{name}.csv", delimiter=",", skiprows=1, unpack=True)
        X = np.column_stack([x**power for power in range(1, known["degree"] + 1)])
        exact = np.array(known["coefficients_lowest_power_first"])
        yield name, X, y, bool(known["intercept"]), exact


def nist_table(solvers: dict[str, Solver]) -> list[dict[str, Any]]:
    rows = []
    for name, X, y, intercept, exact in nist_problems():
        row: dict[str, Any] = {"problem": name}
        for solver, solve in solvers.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                row[solver] = digits(solve(X, y, intercept), exact)
        given = solve_rationally(X, y, intercept)
        row["fastgd, of float64"] = digits(ours()(X, y, intercept), given)
        rows.append(row)
    return rows


def blocks(n: int) -> Iterator[slice]:
    for start in range(0, n, BLOCK):
        yield slice(start, min(start + BLOCK, n))


def refined(X: Array, y: Array) -> Array:
    """The solution in float64: normal equations, then corrections from residuals."""
    n, d = len(y), 1 if X.ndim == 1 else X.shape[1]

    def designs() -> Iterator[tuple[Array, Array]]:
        for rows in blocks(n):
            yield with_ones(X[rows], True).astype(np.float64), y[rows].astype(np.float64)

    gram, solution = np.zeros((d + 1, d + 1)), np.zeros(d + 1)
    for A, _ in designs():
        gram += A.T @ A
    for _ in range(4):
        products = np.zeros(d + 1)
        for A, target in designs():
            products += A.T @ (target - A @ solution)
        solution += np.linalg.solve(gram, products)
    return solution


def line(n: int) -> tuple[Array, Array]:
    x, y = np.empty(n, np.float32), np.empty(n, np.float32)
    for seed, rows in enumerate(blocks(n)):
        rng = np.random.default_rng(seed)
        x[rows] = rng.standard_normal(rows.stop - rows.start, np.float32) + 3
        y[rows] = 2 * x[rows] + 1 + rng.standard_normal(rows.stop - rows.start, np.float32)
    return x, y


def conditioned(n: int, d: int = 16, condition: float = 1e4) -> tuple[Array, Array]:
    """Columns whose singular values fall to ``1 / condition`` of the largest."""
    rotation, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((d, d)))
    mix = (rotation * np.geomspace(1, 1 / condition, d)) @ rotation.T
    X, y = np.empty((n, d), np.float32), np.empty(n, np.float32)
    for seed, rows in enumerate(blocks(n)):
        rng = np.random.default_rng(seed)
        X[rows] = rng.standard_normal((rows.stop - rows.start, d)) @ mix
        y[rows] = X[rows].sum(axis=1) + 0.01 * rng.standard_normal(rows.stop - rows.start)
    return X, y


def large_table(scale: float) -> list[dict[str, Any]]:
    """Largest error of a coefficient (not of the intercept), relative to the largest."""
    rows = []
    makers: dict[str, Callable[[], tuple[Array, Array]]] = {
        "1-D": lambda: line(int(LINE_ROWS * scale)),
        "16 features, condition 1e4": lambda: conditioned(int(ROWS * scale)),
    }
    contenders = {"fastgd": ours(), **peers()}
    contenders.pop("statsmodels", None)  # takes some ten copies of X in float64
    for name, make in makers.items():
        X, y = make()
        exact = refined(X, y)[1:]
        row: dict[str, Any] = {"problem": f"{len(y):,} rows, {name}"}
        for solver, solve in contenders.items():
            error = np.abs(solve(X, y, True)[1:] - exact)
            row[solver] = float(error.max() / np.abs(exact).max())
        rows.append(row)
        print(row, flush=True)
    return rows


def cost_table(seconds: float) -> list[dict[str, Any]]:
    """Time of exact moments over that of double ones."""
    rows = []
    drawn = np.random.default_rng(0).standard_normal(3_000_001)
    for d in COST_FEATURES:
        row: dict[str, Any] = {"features": d}
        for dtype in (np.float32, np.float64):
            n = COST_BYTES // np.dtype(dtype).itemsize // (d + 1)
            values = np.resize(drawn.astype(dtype), n * (d + 1))
            X, y = values[: n * d].reshape(n, d), values[n * d :]

            def moments(precision: str, X: Array = X, y: Array = y) -> Any:
                return fastgd.Moments.of(X, y, precision=precision)

            calls = {p: lambda p=p, m=moments: m(p) for p in ("double", "exact")}
            times = in_turn(calls, seconds)
            row[np.dtype(dtype).name] = times["exact"] / times["double"]
        rows.append(row)
        print(row, flush=True)
    return rows


def markdown(rows: list[dict[str, Any]], head: str, form: str) -> str:
    names = list(rows[0])
    lines = [head, "", f"| {' | '.join(names)} |", f"|---|{'---:|' * (len(names) - 1)}"]
    for row in rows:
        cells = [format(v, form) if isinstance(v, float) else str(v) for v in row.values()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


HEADS = {
    "accuracy": (
        "Right digits of the worst coefficient (15 at most) of NIST's reference problems, float64;"
        " the last column is against the exact solution of the powers of x as rounded to float64."
        " Made by `python -m bench.accuracy --readme`.",
        ".1f",
    ),
    "accuracy-large": (
        "Largest relative error of a coefficient, float32 data, against float64 with refinement."
        " Made by `python -m bench.accuracy --large --readme`.",
        ".0e",
    ),
    "accuracy-cost": (
        "Time of exact moments over that of double ones, 120 MB."
        " Made by `python -m bench.accuracy --cost --readme`.",
        ".1f",
    ),
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.accuracy", description=__doc__)
    parser.add_argument("--large", action="store_true", help="instead, the large problems")
    parser.add_argument("--scale", type=float, default=1.0, help="of the rows of --large; 1")
    parser.add_argument("--cost", action="store_true", help="instead, what exact moments take")
    parser.add_argument("--seconds", type=float, default=2.0, help="a row of --cost, at least; 2")
    parser.add_argument("--json", metavar="PATH")
    parser.add_argument("--readme", action="store_true", help="put the table into bench/README.md")
    args = parser.parse_args(argv)
    if args.large:
        name, rows = "accuracy-large", large_table(args.scale)
    elif args.cost:
        name, rows = "accuracy-cost", cost_table(args.seconds)
    else:
        name, rows = "accuracy", nist_table({**OURS, **peers()})
    table = markdown(rows, *HEADS[name])
    print(table)
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1))
    if args.readme:
        readme.put(name, table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
