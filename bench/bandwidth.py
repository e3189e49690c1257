"""Fraction of the streaming limit that a fused pass reaches, by shape, layout, dtype and threads.

``python -m bench.bandwidth`` prints the table for 410 MB of X and y, which lie in main memory;
``--megabytes 1`` or ``--megabytes 0.064`` for what lies in cache; ``--json PATH`` writes it;
``--readme`` puts its main rows between the markers of README.md.

Every row times its contestants in turn, in one process, over the same bytes: the yardstick (a
read-only sum), fastgd in both precisions and numpy's best. "of limit" is the yardstick's time
over fastgd's: the median of the ratios of one round each, for other users of a machine's memory
come and go. Of a slice, whose gaps share lines of cache with it, the yardstick reads the rows
alone, or all that lies between the first and the last, whichever takes less time. In cache a call
from Python can take longer than the read: there the kernel is timed alone, and what a call that
reads nothing takes is left out, of fastgd and yardstick alike.

Of many columns no algorithm that reads them once can read each from end to end. "in blocks" is what
a read-only sum reaches that reads so many rows of each column in turn as stay in the second cache.

In cache, arithmetic takes longer than reading. "in double" is what a sum reaches that multiplies
each value twice in float64, which is the least that a pass in double precision can do.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import readme
from bench._rounds import Times, rounds
from bench.yardstick import block_readers, fastest_sum, product_sums, reader
from fastgd._data.problem import as_problem
from fastgd._threads import available_threads
from fastgd.backends.numba import Pass, open_pass
from fastgd.backends.numba._choice import MOST_TILE_COLUMNS

C_FEATURES = (*range(2, 17), 24, 32, 64, 100, 300, 1000, 5000)
F_FEATURES = (2, 16, 24, 100, 1000, 5000)
README_ROWS = {("1-D", 1), ("rows", 16), ("columns", 16)}
README_ROWS |= {("C", d) for d in (2, 4, 8, 16, 100, 1000, 5000)} | {("F", d) for d in (16, 100)}
SLICES = ("rows", "columns")
IN_CACHE = 4 << 20  # bytes
LEAST_BLOCKED = MOST_TILE_COLUMNS + 1  # columns; a line of each of fewer is read in turn


class Case(NamedTuple):
    layout: str  # "1-D", "C", "F", "rows" for X[::2], "columns" for X[:, :k]
    d: int
    extra: str = ""  # "weighted" or "predicting"


class Row(NamedTuple):
    layout: str
    d: int
    extra: str
    dtype: str
    megabytes: float
    threads: int
    limit_gbs: float
    single: float  # fraction of the limit
    double: float
    in_blocks: float  # fraction of the limit that a sum of many columns, in blocks, reaches
    in_double: float  # that two products of each value in float64 reach, of what is in cache
    numpy_ratio: float  # numpy's best time over fastgd's (double)


def cases(sizes: str) -> Iterator[Case]:
    yield Case("1-D", 1)
    for d in C_FEATURES:
        yield Case("C", d)
    for d in F_FEATURES:
        yield Case("F", d)
    if sizes == "memory":
        for d in (4, 16, 100, 1000):
            yield Case("rows", d)
            yield Case("columns", d)
        for extra in ("weighted", "predicting"):
            yield Case("1-D", 1, extra)
            yield Case("C", 4, extra)
            yield Case("C", 16, extra)


def arrays(case: Case, buffer: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], int]:
    """X and y within `buffer`, and how many elements they have."""
    d = case.d
    spread = 2 if case.layout in ("rows", "columns") else 1
    n = len(buffer) // (spread * d + 1)
    y, body = buffer[-n:], buffer[: n * d * spread]
    if case.layout == "rows":
        return body.reshape(2 * n, d)[::2], y, n * (d + 1)
    if case.layout == "columns":
        return body.reshape(n, 2 * d)[:, :d], y, n * (d + 1)
    order = "F" if case.layout == "F" else "C"
    X = body.reshape((n, d), order=order)
    return (X[:, 0] if case.layout == "1-D" else X), y, n * (d + 1)


def numpy_best(X: NDArray[Any], y: NDArray[Any], w: NDArray[Any]) -> Callable[[], Any]:
    """The two BLAS calls; in 1-D the notebook's own expressions."""
    if X.ndim == 1:

        def notebook() -> Any:
            predicted = w[0] * X
            loss = np.mean((predicted - y) ** 2)
            return loss, np.mean(2 * X * (predicted - y))

        return notebook

    def two_calls() -> Any:
        r = X @ w
        r -= y
        return r @ r, r @ X

    return two_calls


def yardsticks(
    case: Case, X: NDArray[Any], y: NDArray[Any], read: NDArray[Any], threads: int
) -> dict[str, Callable[[], Any]]:
    """Read-only sums over X and y, which are all of `read` but the gaps of a slice."""
    limits: dict[str, Callable[[], Any]] = {"limit": reader(read, threads)}
    if case.layout in SLICES:
        rows, targets = reader(X, threads), reader(y, threads)
        limits["limit of rows"] = lambda: (rows(), targets())
    if case.layout == "F" and case.d >= LEAST_BLOCKED:
        limits |= block_readers(X, threads)
    return limits


def kernel_alone(read: Pass, w: NDArray[Any]) -> Callable[[int], Any]:
    """The kernel of a pass over the first n rows, without what Python does around it."""
    coef = read._coef_of_kernel(w)
    out = np.zeros((1, len(w) + 3))
    length = read._n_samples
    return lambda stop: read._add_rows(*read._data, coef, 0.5, out, 0, stop, length)


def measure(case: Case, buffer: NDArray[Any], threads: int, seconds: float) -> Row:
    X, y, n_read = arrays(case, buffer)
    n = len(y)
    weight = np.abs(y) if case.extra == "weighted" else None
    prediction = np.empty_like(y) if case.extra == "predicting" else None
    n_read += n if case.extra else 0
    problem = as_problem(X, y, weight)
    w = np.linspace(1, 2, case.d)
    passes = {p: open_pass(problem, threads, prediction, p) for p in ("single", "double")}
    if buffer.nbytes < IN_CACHE:
        times = kernel_times(passes, w, buffer[:n_read], n, seconds)
    else:
        read = buffer if case.layout in SLICES else buffer[:n_read]
        calls = yardsticks(case, X, y, read, threads)
        for name, each in passes.items():
            calls[name] = lambda each=each: each(w, 0.5)
        if not case.extra:
            calls["numpy"] = numpy_best(X, y, w.astype(X.dtype))
        times = rounds(calls, seconds)
    for each in passes.values():
        each.__exit__(None, None, None)
    blocks = [name for name in times if name.startswith("blocks")]
    limit = np.minimum(times["limit"], times.get("limit of rows", np.inf))
    if case.extra:  # in arrays of their own, as long as y, which the yardstick has not read
        limit = limit * n_read / (n_read - n)
    return Row(
        *case,
        str(X.dtype),
        n_read * X.itemsize / 1e6,
        threads,
        n_read * X.itemsize / float(np.median(limit)) / 1e9,
        float(np.median(limit / times["single"])),
        float(np.median(limit / times["double"])),
        max((float(np.median(limit / times[name])) for name in blocks), default=np.nan),
        float(np.median(limit / times["least"])) if "least" in times else np.nan,
        float(np.median(times["numpy"] / times["double"])) if "numpy" in times else np.nan,
    )


def kernel_times(
    passes: dict[str, Pass], w: NDArray[Any], values: NDArray[Any], n: int, seconds: float
) -> dict[str, Times]:
    """Seconds of yardstick and kernels, less what a call of each takes that reads nothing."""
    works: dict[str, tuple[int, Callable[[int], Any]]] = {
        "limit": (len(values), lambda stop: fastest_sum(values[:stop])),
        "least": (len(values), lambda stop: product_sums(values[:stop], 1.5, 0.5)),
    }
    works |= {name: (n, kernel_alone(read, w)) for name, read in passes.items()}
    calls: dict[str, Callable[[], Any]] = {}
    for name, (size, work) in works.items():
        calls[name] = lambda work=work, size=size: work(size)
        calls[f"{name} of nothing"] = lambda work=work: work(0)
    times = rounds(calls, seconds)
    return {name: times[name] - times[f"{name} of nothing"] for name in works}


HEADER = (
    "layout      d  extra       dtype        MB  threads  limit GB/s  single  double  in blocks"
    "  in double  numpy/double"
)


def text(row: Row) -> str:
    return (
        f"{row.layout:<8}{row.d:>5}  {row.extra:<10}  {row.dtype}  {row.megabytes:>7.4g}"
        f"  {row.threads:>7}  {row.limit_gbs:>10.1f}  {row.single:>6.2f}  {row.double:>6.2f}"
        f"  {row.in_blocks:>9.2f}  {row.in_double:>9.2f}  {row.numpy_ratio:>12.1f}"
    )


def is_main(case: Case) -> bool:
    return (case.layout, case.d) in README_ROWS and not case.extra


def markdown(rows: list[Row]) -> str:
    """The main rows as a table."""
    lines = [
        f"Fraction of the streaming limit that an epoch reaches, float32,"
        f" {rows[0].megabytes:.0f} MB, {rows[0].threads} threads, in both precisions; and NumPy's"
        " time over fastgd's default (1-D: the notebook's expressions; else the two BLAS calls)."
        " The limit is a plain sum over the same bytes; a kernel that fetches ahead can come above"
        " it in two threads, and so can any on a machine whose memory others use, too."
        " Made by `python -m bench.bandwidth --readme`.",
        "",
        "| layout | features | double | single | NumPy / fastgd |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row.layout} | {row.d} | {row.double:.2f} | {row.single:.2f} | {row.numpy_ratio:.1f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.bandwidth", description=__doc__)
    parser.add_argument("--megabytes", type=float, default=410, help="bytes of X and y; 410")
    parser.add_argument("--seconds", type=float, default=1.0, help="a row, at least; 1")
    parser.add_argument("--threads", type=int, nargs="*", help="default: 1 and all")
    parser.add_argument("--dtype", nargs="*", default=["float32", "float64"])
    parser.add_argument("--layout", nargs="*", help="only these layouts")
    parser.add_argument("--features", type=int, nargs="*", help="only these")
    parser.add_argument("--json", metavar="PATH")
    parser.add_argument(
        "--readme",
        action="store_true",
        help="only the main rows, float32, all threads; and put them into README.md",
    )
    args = parser.parse_args(argv)
    if args.readme:
        args.dtype, args.threads = ["float32"], [available_threads()]
    threads = args.threads or sorted({1, available_threads()})
    rows = []
    print(HEADER, flush=True)
    for dtype in args.dtype:
        n = int(args.megabytes * 1e6) // np.dtype(dtype).itemsize
        buffer = np.resize(np.random.default_rng(0).standard_normal(min(n, 5_000_000)), n)
        buffer = buffer.astype(dtype)
        for case in cases("memory" if args.megabytes > 100 else "cache"):
            if args.layout and case.layout not in args.layout:
                continue
            if args.features and case.d not in args.features:
                continue
            if args.readme and not is_main(case):
                continue
            for count in threads:
                rows.append(measure(case, buffer, count, args.seconds))
                print(text(rows[-1]), flush=True)
    if args.json:
        Path(args.json).write_text(json.dumps([row._asdict() for row in rows], indent=1))
    if args.readme:
        readme.put("bandwidth", markdown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
