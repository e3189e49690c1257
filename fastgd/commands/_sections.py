"""The sections of ``fastgd demo``: each prints what it finds and tells whether backends agree."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import partial
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastgd
from fastgd.commands import CommandError
from fastgd.commands._timing import duration, timed
from fastgd.commands.cells import AGREEMENT
from fastgd.commands.flights import FEATURES, TARGET, load_flights

# The one that is timed first is the one the other is compared with.
NAMES = ("numpy", "numba")

LSTSQ_AGREEMENT = 1e-4  # of a coefficient; the default tolerance promises no more
LARGE_EPOCHS = 20
LARGE_STEP = 0.1
LARGE_ROUNDS = 3
NOISE = 0.1  # standard deviation
BYTES_A_ROW = 12  # x, y, and 2 x while y is made


class Curve(NamedTuple):
    """A fit of the large array on one backend; seconds are the median of `LARGE_ROUNDS`."""

    result: fastgd.FitResult
    seconds: float


def notebook() -> bool:
    """The table that the project starts from."""
    print(
        "\n1. Six points, y = 2 x: learning rate 0.01, sum of gradients, no intercept\n", flush=True
    )
    printed = {name: _notebook_lines(name) for name in NAMES}
    print(printed["numba"])
    agree = printed["numba"] == printed["numpy"]
    print(f"\nThe numpy backend prints {'the same' if agree else 'OTHER'} lines.")
    return agree


def _notebook_lines(backend: str) -> str:
    x = np.arange(6, dtype=np.float32)
    with redirect_stdout(io.StringIO()) as printed:
        result = fastgd.fit(
            x,
            2 * x,
            learning_rate=0.01,
            reduction="sum",
            fit_intercept=False,
            max_iter=20,
            backend=backend,
            verbose=1,
        )
        print(f"f(10) = {result.predict(10):.3f}")
    return printed.getvalue().rstrip()


def flights() -> bool:
    """Columns of quite different scales, next to a direct solver."""
    print(f"\n2. Real data: {TARGET} on {', '.join(FEATURES)}, default arguments", flush=True)
    try:
        X, y = load_flights()
    except CommandError as error:
        print(f"   left out: {error}")
        return True
    print(f"   {len(X):,} flights, float64\n")
    design = np.column_stack([X, np.ones(len(X))])
    (exact, *_), seconds = timed(partial(np.linalg.lstsq, design, y, rcond=None))
    print(f"{'':12}{''.join(f'{name:>12}' for name in (*FEATURES, 'intercept'))}{'time':>12}")
    _print_solution("numpy lstsq", exact, seconds)
    largest = 0.0
    for name in reversed(NAMES):
        result, seconds = timed(partial(fastgd.fit, X, y, backend=name))
        found = np.append(result.coef, result.intercept)
        _print_solution(
            f"fastgd {name}", found, seconds, f"{result.n_iter} epoch{'s' * (result.n_iter != 1)}"
        )
        largest = max(largest, _relative(found, exact))
    print(f"\nLargest relative difference from lstsq: {largest:.1e}")
    return largest <= LSTSQ_AGREEMENT


def _print_solution(
    name: str, solution: NDArray[np.float64], seconds: float, remark: str = ""
) -> None:
    numbers = "".join(f"{value:12.7f}" for value in solution)
    print(f"{name:12}{numbers}{duration(seconds):>12}  {remark}".rstrip())


def large(rows: int) -> tuple[Mapping[str, Curve], bool]:
    """One column, the same epochs on both backends."""
    print(
        f"\n3. {rows:,} rows of one float32 column, y = 2 x + 1 + noise: "
        f"{LARGE_EPOCHS} epochs with learning rate {LARGE_STEP}\n",
        flush=True,
    )
    curves = _fit_in_turn(rows)
    print(f"{'':12}{'coef':>12}{'intercept':>12}{'loss':>12}{'time':>12}{'an epoch':>12}")
    for name in reversed(NAMES):
        result, seconds = curves[name]
        print(
            f"fastgd {name}{result.coef:12.7f}{result.intercept:12.7f}{result.loss:12.7f}"
            f"{duration(seconds):>12}{duration(seconds / LARGE_EPOCHS):>12}"
        )
    (numpy, numpy_seconds), (numba, numba_seconds) = (curves[name] for name in NAMES)
    by_loss = _relative(numba.loss_history, numpy.loss_history)
    by_coef = _relative(_line(numba), _line(numpy))
    print(
        f"\nnumba is {numpy_seconds / numba_seconds:.1f} times as fast as numpy. Largest relative "
        f"difference: {by_loss:.1e} in the\nloss history, {by_coef:.1e} in the coefficients."
    )
    return curves, max(by_loss, by_coef) <= AGREEMENT


def _fit_in_turn(rows: int) -> dict[str, Curve]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(rows, dtype=np.float32)
    y = rng.standard_normal(rows, dtype=np.float32)
    y *= np.float32(NOISE)
    y += 2 * x
    y += 1
    seconds: dict[str, list[float]] = {name: [] for name in NAMES}
    results = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastgd.ConvergenceWarning)  # the epochs are fixed
        for _ in range(LARGE_ROUNDS):
            for name in NAMES:
                fit = partial(fastgd.fit, x, y, learning_rate=LARGE_STEP, max_iter=LARGE_EPOCHS)
                results[name], taken = timed(partial(fit, tol=0, backend=name))
                seconds[name].append(taken)
    return {name: Curve(results[name], median(seconds[name])) for name in NAMES}


def _line(result: fastgd.FitResult) -> NDArray[np.float64]:
    return np.append(result.coef, result.intercept)


def _relative(found: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    return float(np.max(np.abs(found - reference) / np.abs(reference)))
