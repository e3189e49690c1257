"""The speed of an epoch on each backend: ``python -m pytest bench``, and ``--large`` for all sizes.

Times are for comparison within one run, side by side in the tables that pytest-benchmark prints.
Each benchmark also checks what it timed against the same sums taken in float64.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastgd import MSEAndGradient, mse_and_gradient
from fastgd.backends import BACKENDS
from fastgd.commands._machine import available_memory
from fastgd.commands.cells import AGREEMENT, CELLS, Cell, Data, difference, fits, make_data

REFERENCE_BLOCK = 1_000_000  # values converted to float64 at a time


class Case(NamedTuple):
    """The data of a size and what an epoch must return."""

    cell: Cell
    data: Data
    reference: MSEAndGradient


# The scope makes pytest run all benchmarks of a size before it makes the next one's data.
@pytest.fixture(scope="module", params=CELLS, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    cell: Cell = request.param
    if not (cell.is_quick or request.config.getoption("--large")):
        pytest.skip("run with --large")
    if not fits(cell, available_memory()):
        pytest.skip(f"X of {cell.x_bytes / 2**30:.1f} GiB is more than a third of the memory")
    data = make_data(cell)
    return Case(cell, data, _float64_reference(data))


@pytest.mark.parametrize("backend", BACKENDS)
def test_epoch(benchmark: BenchmarkFixture, case: Case, backend: str) -> None:
    benchmark.group = str(case.cell)
    epoch = partial(mse_and_gradient, *case.data, backend=backend)
    epoch()  # compiles

    found = benchmark(epoch)

    if benchmark.stats is not None:  # None with --benchmark-disable
        seconds = benchmark.stats.stats.median
        benchmark.extra_info["GB/s"] = case.cell.bytes_read / seconds / 1e9
    assert difference(found, case.reference) <= AGREEMENT


def _float64_reference(data: Data) -> MSEAndGradient:
    n = len(data.y)
    X = data.X.reshape(n, -1)
    w = np.reshape(data.coef, -1)
    squares, products, residuals = 0.0, np.zeros(len(w)), 0.0
    n_rows = max(1, REFERENCE_BLOCK // len(w))
    for start in range(0, n, n_rows):
        block = X[start : start + n_rows].astype(np.float64)
        r = block @ w + data.intercept - data.y[start : start + n_rows]
        squares += float(r @ r)
        products += r @ block
        residuals += float(r.sum())
    return MSEAndGradient(squares / n, 2 / n * products, 2 / n * residuals)
