"""A search over penalties of a pipeline on the flights, beside scikit-learn's Ridge.

``python -m bench.pipeline``: arrival delays on scaled numbers and one-hot carriers, `GridSearchCV`
on processes. The same pipeline ends in `GDRegressor` and in `Ridge`; the scores of all penalties
must agree. Timed in turn: the search, and the last step alone.
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
from fastgd.sklearn import GDRegressor

ALPHAS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
FOLDS = 5
AGREEMENT = 1e-6  # of a score, R^2
NAMES = ("GDRegressor", "Ridge")


class Contest(NamedTuple):
    """The largest difference of a score, and median seconds by name."""

    shape: tuple[int, int]
    difference: float
    best_score: float
    search: dict[str, float]
    last_step: dict[str, float]


def make_pipeline(last: BaseEstimator) -> Pipeline:
    coded = OneHotEncoder(sparse_output=False, dtype=np.float32, handle_unknown="ignore")
    columns = ColumnTransformer(
        [("scaled", StandardScaler(), list(FEATURES)), ("coded", coded, ["carrier"])]
    )
    return Pipeline([("columns", columns), ("last", last)])


def make_search(name: str, n_rows: int, n_jobs: int) -> GridSearchCV:
    """`alpha` of Ridge is not divided by the number of rows, of which a fold leaves some out."""
    factor = {"GDRegressor": 1.0, "Ridge": n_rows * (1.0 - 1.0 / FOLDS)}[name]
    last = {"GDRegressor": GDRegressor, "Ridge": Ridge}[name]()
    grid = {"last__alpha": [alpha * factor for alpha in ALPHAS]}
    return GridSearchCV(make_pipeline(last), grid, cv=FOLDS, n_jobs=n_jobs)


def compete(n_rows: int | None, n_jobs: int, rounds: int) -> Contest:
    table = read_flights([*FEATURES, TARGET, "carrier"])[:n_rows]
    table = table.astype(dict.fromkeys((*FEATURES, TARGET), np.float32))
    X, y = table.drop(columns=TARGET), table[TARGET].to_numpy()
    searches = {name: make_search(name, len(X), n_jobs) for name in NAMES}
    ours, theirs = (searches[name].fit(X, y) for name in NAMES)  # starts the processes, too
    scores = [search.cv_results_["mean_test_score"] for search in (ours, theirs)]
    design = ours.best_estimator_[0].transform(X)
    steps = {name: search.best_estimator_[-1] for name, search in searches.items()}
    return Contest(
        design.shape,
        float(np.abs(scores[0] - scores[1]).max()),
        float(ours.best_score_),
        medians({name: partial(searches[name].fit, X, y) for name in NAMES}, rounds),
        in_turn({name: partial(steps[name].fit, design, y) for name in NAMES}, rounds / 10),
    )


def medians(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    times = [{name: timed(call)[1] for name, call in calls.items()} for _ in range(rounds)]
    return {name: median(round_[name] for round_ in times) for name in calls}


def line(what: str, seconds: dict[str, float]) -> str:
    ours, theirs = (seconds[name] for name in NAMES)
    return f"{what:16}{duration(ours):>14}{duration(theirs):>14}{theirs / ours:>22.2f}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.pipeline", description=__doc__)
    parser.add_argument("--rows", type=int, metavar="N", help="only the first N flights")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes (2)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="(3)")
    args = parser.parse_args(argv)
    found = compete(args.rows, args.jobs, args.rounds)
    n, d = found.shape
    print(f"{n:,} flights, {d} columns, float32; {len(ALPHAS)} penalties, {FOLDS} folds")
    print(f"{'':16}{NAMES[0]:>14}{NAMES[1]:>14}{'Ridge / GDRegressor':>22}")
    print(line("whole search", found.search))
    print(line("last step alone", found.last_step))
    print(f"best R^2 {found.best_score:.6f}; scores differ by {found.difference:.1e} at most")
    return int(found.difference > AGREEMENT)


if __name__ == "__main__":
    raise SystemExit(main())
