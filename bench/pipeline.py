"""A search over penalties of a pipeline on the flights, beside scikit-learn's Ridge.

``python -m bench.pipeline``: arrival delays on scaled numbers and one-hot carriers, `GridSearchCV`
on processes. The same pipeline ends in `GDRegressor` and in `Ridge`; the scores of all penalties
must agree. Timed in turn: the searches; the same penalties and folds in one read, by a pipeline
that ends in `GDRegressorCV`; and the last step alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fastgd.commands._timing import duration, in_turn, timed
from fastgd.commands.flights import FEATURES, TARGET, read_flights
from fastgd.sklearn import GDRegressor, GDRegressorCV

ALPHAS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
FOLDS = 5
AGREEMENT = 1e-6  # of a score, R^2
NAMES = ("GDRegressor", "Ridge")
ONE_READ = "GDRegressorCV"


class Contest(NamedTuple):
    """The largest difference of a score, the penalties chosen, and seconds of rounds by name."""

    shape: tuple[int, int]
    difference: float
    best_score: float
    alphas: dict[str, float]
    search: dict[str, list[float]]
    last_step: dict[str, float]


def make_pipeline(last: BaseEstimator) -> Pipeline:
    coded = OneHotEncoder(sparse_output=False, dtype=np.float32, handle_unknown="ignore")
    columns = ColumnTransformer(
        [("scaled", StandardScaler(), list(FEATURES)), ("coded", coded, ["carrier"])]
    )
    return Pipeline([("columns", columns), ("last", last)])


def make_search(name: str, n_rows: int, n_jobs: int) -> GridSearchCV:
    factor = factor_of_alpha(name, n_rows)
    last = {"GDRegressor": GDRegressor, "Ridge": Ridge}[name]()
    grid = {"last__alpha": [alpha * factor for alpha in ALPHAS]}
    return GridSearchCV(make_pipeline(last), grid, cv=FOLDS, n_jobs=n_jobs)


def factor_of_alpha(name: str, n_rows: int) -> float:
    """`alpha` of Ridge is not divided by the number of rows, of which a fold leaves some out."""
    return n_rows * (1.0 - 1.0 / FOLDS) if name == "Ridge" else 1.0


def compete(n_rows: int | None, n_jobs: int, rounds: int) -> Contest:
    table = read_flights([*FEATURES, TARGET, "carrier"])[:n_rows]
    table = table.astype(dict.fromkeys((*FEATURES, TARGET), np.float32))
    X, y = table.drop(columns=TARGET), table[TARGET].to_numpy()
    searches = {name: make_search(name, len(X), n_jobs) for name in NAMES}
    ours, theirs = (searches[name].fit(X, y) for name in NAMES)  # starts the processes, too
    scores = [search.cv_results_["mean_test_score"] for search in (ours, theirs)]
    design = ours.best_estimator_[0].transform(X)
    steps = {name: search.best_estimator_[-1] for name, search in searches.items()}
    in_one = make_pipeline(GDRegressorCV(alpha=ALPHAS, cv=FOLDS)).fit(X, y)
    alphas = {
        name: search.best_params_["last__alpha"] / factor_of_alpha(name, len(X))
        for name, search in searches.items()
    }
    calls = {name: partial(searches[name].fit, X, y) for name in NAMES}
    calls[ONE_READ] = partial(in_one.fit, X, y)
    return Contest(
        design.shape,
        float(np.abs(scores[0] - scores[1]).max()),
        float(ours.best_score_),
        {**alphas, ONE_READ: in_one[-1].alpha_},
        seconds_of(calls, rounds),
        in_turn({name: partial(steps[name].fit, design, y) for name in NAMES}, rounds / 10),
    )


def seconds_of(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    times = [{name: timed(call)[1] for name, call in calls.items()} for _ in range(rounds)]
    return {name: [round_[name] for round_ in times] for name in calls}


def line(what: str, name: str, seconds: float, ratio: float) -> str:
    return f"{what:28}{name:15}{duration(seconds):>12}{ratio:>12.2f}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.pipeline", description=__doc__)
    parser.add_argument("--rows", type=int, metavar="N", help="only the first N flights")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes (2)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="(5)")
    args = parser.parse_args(argv)
    found = compete(args.rows, args.jobs, args.rounds)
    n, d = found.shape
    print(f"{n:,} flights, {d} columns, float32; {len(ALPHAS)} penalties, {FOLDS} folds")
    print(f"{'':43}{'':12}{'Ridge / it':>12}")
    ridge = found.search["Ridge"]
    for name, times in found.search.items():
        what = "one read of the columns" if name == ONE_READ else "GridSearchCV"
        ratio = median(r / t for r, t in zip(ridge, times, strict=True))
        print(line(what, name, median(times), ratio))
    for name, seconds in found.last_step.items():
        print(line("last step alone", name, seconds, found.last_step["Ridge"] / seconds))
    ahead = sum(o < r for o, r in zip(found.search["GDRegressor"], ridge, strict=True))
    print(f"GridSearchCV with GDRegressor took less time in {ahead} of {len(ridge)} rounds")
    print(f"best R^2 {found.best_score:.6f}; scores differ by {found.difference:.1e} at most")
    alphas = {float(f"{alpha:.6g}") for alpha in found.alphas.values()}
    print(f"alpha chosen: {', '.join(f'{alpha:g}' for alpha in sorted(alphas))}")
    return int(found.difference > AGREEMENT or len(alphas) > 1)


if __name__ == "__main__":
    raise SystemExit(main())
