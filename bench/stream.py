"""A fit of a file larger than the memory it may use, beside reading the file.

``python -m bench.stream --gb 16 --limit-gb 2`` writes an .npy file of float32 and one of y, and
removes them at the end. Each contestant runs in a process of its own: "read" goes through both
files with plain sequential reads; "fit" is ``fastgd.fit(fastgd.scan(...))`` under a limit on the
process' address space; "in turn" is the same without fetching ahead; "map" is
``fastgd.fit(np.load(..., mmap_mode="r"), y)``, with no limit, for a map needs as much address space
as the file. Cold: the files are dropped from the page cache before every run (a machine below this
one may still have them in its own). Warm: they were read just before.

"of reading" is the time of "read" over that of the contestant: the median of the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

import fastgd
from bench.readme import put
from fastgd._data import fetching
from fastgd.sources.array_files import Windows

CONTESTANTS = ("read", "fit", "in turn", "map")
# Of the reader: from the page cache, pieces of 64 kB came at 4 to 6 GB/s, of 256 kB to 8 MB, which
# the allocator maps anew, at 1 to 2.
PIECE = 64 << 10


def write(folder: Path, n_bytes: int, d: int) -> int:
    """X.npy and y.npy of so many bytes together; the number of rows."""
    n = n_bytes // (4 * (d + 1))
    rng = np.random.default_rng(0)
    block = rng.standard_normal((1 << 17, d), dtype=np.float32)
    noise = rng.standard_normal(1 << 17, dtype=np.float32)
    y = block @ np.arange(1, d + 1, dtype=np.float32) + 3 + noise
    for name, rows in (("X", block), ("y", y)):
        header = np.lib.format.header_data_from_array_1_0(rows)
        header["shape"] = (n, *rows.shape[1:])
        with open(folder / f"{name}.npy", "wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, n, len(rows)):
                file.write(rows[: n - start])
            file.flush()
            os.fsync(file.fileno())
    return n


def drop(path: Path) -> None:
    """Out of the page cache."""
    file = os.open(path, os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def read(path: Path, piece: bytearray) -> None:
    """All of the file, in order, a piece at a time."""
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while file.readinto(piece):
            pass


def run(contestant: str, folder: Path, limit: int) -> dict[str, Any]:
    """Seconds, and bytes of memory at most, of one contestant; in this process."""
    X, y = folder / "X.npy", folder / "y.npy"
    if contestant == "read":
        piece = bytearray(b"\1") * PIECE  # written to: in memory before the clock runs
        start = perf_counter()
        read(X, piece)
        read(y, piece)
        return {"seconds": perf_counter() - start}
    d = Windows(X).shape[1]  # mapping all of it would show in the peak of the address space
    small = np.random.default_rng(1).standard_normal((100_000, d), dtype=np.float32)
    fastgd.fit(small, small[:, 0].copy())  # imports; compiles, or loads what was compiled
    start = perf_counter()
    if contestant == "map":
        result = fastgd.fit(np.load(X, mmap_mode="r"), np.load(y, mmap_mode="r"))
    else:
        if contestant == "in turn":
            fetching.Prefetch = lambda make, ahead: make()
        if limit:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        result = fastgd.fit(fastgd.scan(X, target=y))
    seconds = perf_counter() - start
    assert np.allclose(result.coef, np.arange(1, d + 1), atol=0.05), result
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = {name: int(status[key].split()[0]) * 1024 for name, key in _PEAKS.items()}
    return {"seconds": seconds, **peak}


_PEAKS = {"address_space": "VmPeak", "resident": "VmHWM"}


def apart(contestant: str, folder: Path, limit: int) -> dict[str, Any]:
    """`run` in a new process."""
    argv = [sys.executable, "-m", "bench.stream", "--run", contestant, "--folder", str(folder)]
    argv += ["--limit-gb", str(limit / 1e9)]
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{contestant}: {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(folder: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """All contestants in turn, cold and warm."""
    n_bytes = int(args.gb * 1e9)
    n = write(folder, n_bytes, args.features)
    limit = int(args.limit_gb * 1e9)
    rows = []
    for state in args.states:
        if state == "warm":
            apart("read", folder, 0)
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in args.only}
        for _ in range(args.rounds):
            for name in args.only:
                if state == "cold":
                    for part in ("X", "y"):
                        drop(folder / f"{part}.npy")
                found[name].append(apart(name, folder, limit))
        reads = [one["seconds"] for one in found["read"]]
        for name, ones in found.items():
            times = [one["seconds"] for one in ones]
            rows.append(
                {
                    "state": state,
                    "contestant": name,
                    "n": n,
                    "d": args.features,
                    "gb": n_bytes / 1e9,
                    "gb_per_second": n_bytes / median(times) / 1e9,
                    "of_reading": median(a / b for a, b in zip(reads, times, strict=True)),
                    "address_space": max(one.get("address_space", 0) for one in ones),
                    "resident": max(one.get("resident", 0) for one in ones),
                }
            )
            print(text(rows[-1]), flush=True)
    return rows


def table(rows: list[dict[str, Any]], args: argparse.Namespace) -> str:
    """Markdown of all that was measured."""
    lines = [
        f"Fit of .npy files of {args.gb:g} GB, float32, {args.features} features and y, under a "
        f"limit of {args.limit_gb:g} GB on the address space, beside plain sequential reads of the "
        f"same files; medians of {args.rounds}. Made by `python -m bench.stream --gb {args.gb:g} "
        f"--limit-gb {args.limit_gb:g} --only {' '.join(args.only)} --readme`.",
        "",
        "| page cache | | GB/s | of reading | address space |",
        "|---|---|---:|---:|---:|",
    ]
    for row in rows:
        space = f"{row['address_space'] / 1e9:.2f} GB" if row["address_space"] else ""
        lines.append(
            f"| {row['state']} | {row['contestant']} | {row['gb_per_second']:.2f} "
            f"| {row['of_reading']:.2f} | {space} |"
        )
    return "\n".join(lines)


HEADER = "state  contestant    GB/s  of reading  address space  resident, with the file's pages"


def text(row: dict[str, Any]) -> str:
    line = f"{row['state']:<7}{row['contestant']:<11}{row['gb_per_second']:>7.2f}"
    line += f"{row['of_reading']:>12.2f}"
    if row["address_space"]:
        line += f"{row['address_space'] / 1e9:>12.2f} GB{row['resident'] / 1e9:>7.2f} GB"
    return line


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.stream", description=__doc__)
    parser.add_argument("--gb", type=float, default=1.0, help="of X and y (1)")
    parser.add_argument("--limit-gb", type=float, default=2.0, help="of the fit; 0 for none (2)")
    parser.add_argument("--features", type=int, default=8, help="columns of X (8)")
    parser.add_argument("--rounds", type=int, default=3, help="(3)")
    parser.add_argument("--states", nargs="*", choices=("cold", "warm"), default=["cold", "warm"])
    parser.add_argument("--only", nargs="*", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--folder", type=Path, help="on the disk to be measured; the system's own")
    parser.add_argument("--json", action="store_true", help="print JSON at the end, too")
    parser.add_argument("--readme", action="store_true", help="put the table into bench/README.md")
    parser.add_argument("--run", choices=CONTESTANTS, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.run:
        print(json.dumps(run(args.run, args.folder, int(args.limit_gb * 1e9))))
        return 0
    if "read" not in args.only:
        args.only.insert(0, "read")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # which removes the files
    print(f"{args.gb:g} GB of float32, {args.features} features and y\n{HEADER}", flush=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        rows = measure(Path(folder), args)
    if args.readme:
        put("stream", table(rows, args))
    if args.json:
        print(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
