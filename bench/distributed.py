"""What an engine costs: ``python -m bench.distributed [--json PATH] [--readme]``.

A fit on Dask, on a cluster of two worker processes of one thread each that hold the data, against
``fastgd.fit`` of the same rows in this process with two threads, timed in turn; once from moments
and once with epochs that read. Beside that, the bytes that the processes sent each other, as their
connections count them, and those of them that were sums; and a formula for both, with what it says
of a thousand workers. Needs the extra dask.

A pass over B blocks on W workers makes B sums of s bytes and (B - 1) / 7 merges of up to eight of
them, each where one of its sums already lies: at most B - 1 sums move, and one more, the total, to
the scheduler and on to the client. All but one of the workers fetch the work, c bytes with the
coefficients, from another. With T = B + (B - 1) / 7 tasks, e bytes around each message that holds
data, and messages of m bytes a task and p bytes a pass::

    sums <= (B + 1) (s + e) + (W - 1) (c + e)        all about sums + m T + p

s is 8 ((d + k)^2 + d + k) bytes for moments and 8 (d k + k) for an epoch, and some for pickling;
s and c are taken from what is really pickled. m, p, and the seconds of a task are measured, on
blocks of next to nothing.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
from operator import add
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import dask.array as da
import distributed
import numpy as np
from numpy.typing import NDArray

import fastgd
from bench import readme
from bench._traffic import count_bytes, passes_of, traffic
from fastgd._data.blocks import merge_in_order
from fastgd.backends import Sums
from fastgd.commands._timing import timed
from fastgd.distributed.dask import AT_ONCE

EPOCHS = 5
WORKERS = 2
BLOCK_BYTES = 32 << 20
ENVELOPE, OPTIONS = 600, 1500  # bytes around what a message holds, and of work but coefficients
LARGE = {"workers": 1000, "bytes": 100e12, "network": 1e9}
BLOCKS_AT_LARGE = (1e9, 10e9)
STREAM: dict[str, Any] = {
    "strategy": "stream", "method": "gd", "learning_rate": 1e-3, "max_iter": EPOCHS, "tol": 0,
}  # fmt: skip


class Costs(NamedTuple):
    """Of a task beside its work, and of a pass beside its tasks."""

    seconds: float
    bytes: float
    bytes_of_pass: float


def block_of(number: int, n_rows: int, d: int) -> NDArray[np.float32]:
    """Rows of X and, last, y."""
    rng = np.random.default_rng(number)
    return rng.standard_normal((n_rows, d + 1), dtype=np.float32)


def split(made: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    X = np.ascontiguousarray(made[:, :-1])
    return X, X.sum(axis=1) + made[:, -1]


def _part(block_info: Any, n_rows: int, d: int, which: int) -> NDArray[np.float32]:
    number = block_info[None]["chunk-location"][0]
    return split(block_of(number, n_rows, d))[which]


def made_in_workers(n_blocks: int, n_rows: int, d: int) -> tuple[Any, Any]:
    """X and y, which no other process ever sees."""
    rows = ((n_rows,) * n_blocks,)
    shapes = ((*rows, (d,)), rows)
    arrays = [
        da.map_blocks(
            _part, chunks=chunks, dtype=np.float32, n_rows=n_rows, d=d, which=which,
            meta=np.empty((0,) * len(chunks), np.float32),
        )
        for which, chunks in enumerate(shapes)
    ]  # fmt: skip
    X, y = (array.persist() for array in arrays)
    distributed.wait([X, y])
    return X, y


def cost_of_tasks(client: Any) -> Costs:
    """From passes over a few, and over many, blocks of next to nothing."""
    seconds, sent, tasks = [], [], []
    for n_blocks in (50, 400):
        X, y = made_in_workers(n_blocks, 10, 2)

        def fit(X: Any = X, y: Any = y) -> object:
            return quietly(X, y, strategy="moments")

        if passes_of(fit) != 1:
            raise AssertionError("moments took more than a pass")
        moved = traffic(client, fit)
        sent.append(moved["all"] - moved["sums"])
        seconds.append(min(timed(fit)[1] for _ in range(3)))
        tasks.append(n_tasks(n_blocks))
    more = tasks[1] - tasks[0]
    each = (sent[1] - sent[0]) / more
    return Costs((seconds[1] - seconds[0]) / more, each, sent[0] - each * tasks[0])


def n_tasks(n_blocks: int) -> int:
    """Tasks of a pass."""
    total = n_blocks
    while n_blocks > 1:
        n_blocks = -(-n_blocks // AT_ONCE)
        total += n_blocks
    return total


def size_of_sums(d: int, strategy: str, k: int = 1) -> int:
    """Bytes of what is made of one block, pickled."""
    if strategy == "moments":
        scatter = np.zeros((d + k, d + k))
        return len(pickle.dumps(fastgd.Moments(1, 1.0, scatter[0], scatter, k)))
    return len(pickle.dumps(Sums(1.0, 1.0, np.zeros(d), 1.0)))


def size_of_work(d: int, strategy: str) -> int:
    """Bytes of what is to be done to a block, pickled, with an allowance for names and options."""
    return OPTIONS + (0 if strategy == "moments" else len(pickle.dumps(np.zeros(d))))


def predicted(
    d: int, strategy: str, n_blocks: int, n_workers: int, costs: Costs
) -> dict[str, float]:
    """The formula's bytes of a pass, at most."""
    sums = (n_blocks + 1) * (size_of_sums(d, strategy) + ENVELOPE)
    sums += (n_workers - 1) * (size_of_work(d, strategy) + ENVELOPE)
    tasks = n_tasks(n_blocks)
    everything = sums + costs.bytes * tasks + costs.bytes_of_pass
    return {"sums": sums, "all": everything, "tasks": tasks, "seconds": costs.seconds * tasks}


def measure(client: Any, d: int, megabytes: int, n_rounds: int, costs: Costs) -> list[Any]:
    """Rows of the table for so many features."""
    n_rows = BLOCK_BYTES // (4 * d)
    n_blocks = max(megabytes * 10**6 // BLOCK_BYTES, 2)
    dX, dy = made_in_workers(n_blocks, n_rows, d)
    X, y = np.empty((n_blocks * n_rows, d), np.float32), np.empty(n_blocks * n_rows, np.float32)
    for number in range(n_blocks):
        rows = slice(number * n_rows, (number + 1) * n_rows)
        X[rows], y[rows] = split(block_of(number, n_rows, d))
    cut = range(0, len(X), n_rows)
    by_hand = merge_in_order(
        add, *(fastgd.Moments.of(X[i : i + n_rows], y[i : i + n_rows]) for i in cut)
    )
    table = []
    for strategy, options in (
        ("moments", {"strategy": "moments"}),
        ("stream", STREAM),
    ):
        here, there = (
            lambda arrays=arrays, options=options: quietly(*arrays, **options)
            for arrays in ((X, y), (dX, dy))
        )
        if strategy == "moments" and there().moments != by_hand:
            raise AssertionError("the bits are not those of local blocks")
        here()
        there()
        rounds = [(timed(here)[1], timed(there)[1]) for _ in range(n_rounds)]
        times = dict(zip(("local", "dask"), map(median, zip(*rounds, strict=True)), strict=True))
        passes = passes_of(there)
        moved = traffic(client, there)
        says = predicted(d, strategy, n_blocks, WORKERS, costs)
        table.append({
            "strategy": strategy, "features": d, "blocks": n_blocks, "passes": passes,
            "megabytes": X.nbytes / 1e6, **times, "ratio": times["dask"] / times["local"],
            "overhead": (times["dask"] - times["local"]) / passes,
            "sums": moved["sums"] / passes, "sums_at_most": says["sums"],
            "all": moved["all"] / passes, "all_at_most": says["all"],
        })  # fmt: skip
    return table


def quietly(X: Any, y: Any, **options: Any) -> fastgd.FitResult:
    return fastgd.fit(X, y, progress=False, **options)


def at_large(features: list[int], costs: Costs, bytes_a_second: float) -> list[dict[str, Any]]:
    """What the formula says of many workers."""
    n_workers = int(LARGE["workers"])
    table = []
    for block_bytes in BLOCKS_AT_LARGE:
        n_blocks = int(LARGE["bytes"] / block_bytes)
        for d in (*features, 1000):
            for strategy in ("moments", "stream"):
                says = predicted(d, strategy, n_blocks, n_workers, costs)
                table.append({
                    "features": d, "strategy": strategy, "block_bytes": block_bytes, **says,
                    "network": says["sums"] / n_workers / LARGE["network"],
                    "read": LARGE["bytes"] / n_workers / bytes_a_second,
                })  # fmt: skip
    return table


def markdown(report: dict[str, Any]) -> str:
    """The tables for bench/README.md."""
    return "\n".join([*_measured(report["measured"]), *_at_large(report)])


def _measured(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"A fit on a Dask cluster of {WORKERS} worker processes over the local fit of the same "
        f"float32 rows with {WORKERS} threads, and the bytes that the processes sent each other "
        "in one read of the data, beside what the formula in `bench/distributed.py` "
        "says. Made by `python -m bench.distributed --readme`.",
        "",
        "| fit | features | data, MB | blocks | reads | Dask / local | longer a read, ms "
        "| sums, kB | at most | with all messages, kB | by the formula |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        what = "moments" if row["strategy"] == "moments" else "epochs"
        sizes = (
            f"{row[name] / 1e3:,.1f}" for name in ("sums", "sums_at_most", "all", "all_at_most")
        )
        lines.append(
            f"| {what} | {row['features']} | {row['megabytes']:,.0f} | {row['blocks']} "
            f"| {row['passes']} | {row['ratio']:.2f} | {row['overhead'] * 1e3:,.0f} "
            f"| {' | '.join(sizes)} |"
        )
    return lines


def _at_large(report: dict[str, Any]) -> list[str]:
    rows, task = report["at_large"], report["task"]
    lines = [
        "",
        f"By the same formula, one read of {LARGE['bytes'] / 1e12:.0f} TB on "
        f"{LARGE['workers']:,} workers moves at most so much, and takes a worker so long: its "
        f"share of the sums at {LARGE['network'] / 1e9:.0f} GB/s (assumed); of the data, from its "
        f"memory, at the speed of the local fit here; and, for all workers together, the scheduler "
        f"at the {task['seconds'] * 1e3:.2f} ms a task it took here.",
        "",
        "| read for | features | blocks of, GB | sums, GB | all messages, GB | sums, s | data, s "
        "| tasks | scheduler, s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        what = "moments (a whole fit)" if row["strategy"] == "moments" else "an epoch"
        lines.append(
            f"| {what} | {row['features']} | {row['block_bytes'] / 1e9:.0f} "
            f"| {row['sums'] / 1e9:.3g} | {row['all'] / 1e9:.3g} | {row['network']:.2g} "
            f"| {row['read']:,.0f} | {row['tasks']:,} | {row['seconds']:,.0f} |"
        )
    limited = {
        size: all(r["seconds"] > max(r["network"], r["read"]) for r in of_size)
        for size in BLOCKS_AT_LARGE
        if (of_size := [r for r in rows if r["block_bytes"] == size])
    }
    by = [f"{size / 1e9:.0f} GB" for size, is_limit in limited.items() if is_limit]
    if by:
        lines += [
            "",
            f"With blocks of {' and of '.join(by)} the limit is the scheduler, not the bytes: it "
            "hands out tasks one by one, whatever the number of workers. Larger blocks are fewer "
            "tasks.",
        ]
    return lines


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.distributed", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500, help="of X; 500 by default")
    parser.add_argument("--features", nargs="*", type=int, default=[16, 100])
    parser.add_argument("--rounds", type=int, default=3, help="of timing; 3")
    parser.add_argument("--json", metavar="PATH")
    parser.add_argument("--readme", action="store_true", help="put the tables into bench/README.md")
    args = parser.parse_args(argv)
    cluster = distributed.LocalCluster(
        n_workers=WORKERS,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": ":0"},  # a server all the same: at any port
    )
    with cluster, distributed.Client(cluster) as client:
        count_bytes()
        client.run(count_bytes)
        costs = cost_of_tasks(client)
        rows: list[Any] = []
        for d in args.features:
            rows += measure(client, d, args.megabytes, args.rounds, costs)
    speed = min(1e6 * row["megabytes"] * row["passes"] / row["local"] for row in rows)
    report = {
        "measured": rows, "task": costs._asdict(),
        "at_large": at_large(args.features, costs, speed / WORKERS),
    }  # fmt: skip
    print(markdown(report))
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=1))
    if args.readme:
        readme.put("distributed", markdown(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
