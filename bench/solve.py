"""Time to solution, beside other libraries: ``python -m bench.solve``.

Until the coefficients that are returned have a training loss within 1e-6, relative, of the least
there is, by a float64 oracle. Every peer runs on every problem in a process of its own. Times are
medians of whole calls as users write them; the import and the first call, which may compile, are
in the column "first" alone. `bench.peers` has the table of peers.

``--json PATH`` keeps the figures, ``--load PATH...`` prints them again instead of measuring,
``--readme`` puts the main ones into README.md and ``--plot PATH`` draws them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import readme
from bench.attempt import Attempt, is_missing
from bench.peers import PEERS
from bench.problems import QUICK_ROWS, ROWS, Row, write
from bench.solve_table import Results, markdown, text
from fastgd.commands._machine import describe, in_words


def blas() -> str:
    """The BLAS that numpy calls, and for which kind of CPU it runs."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "BLAS not known: pip install threadpoolctl"
    forced = {name: value for name, value in os.environ.items() if "CORETYPE" in name}
    # numpy's comes first: scipy, which has one of its own, is not imported here.
    found = [info for info in threadpool_info() if info["user_api"] == "blas"]
    described = "; ".join(
        f"{info['internal_api']} {info['version']} for {info.get('architecture', '?')},"
        f" {info['num_threads']} threads"
        for info in found[:1]
    )
    return described + (f", forced by {forced}" if forced else "")


def run_peer(name: str, folder: Path, seconds: float, limit: int) -> Attempt:
    """One peer in a fresh process."""
    command = [sys.executable, "-m", "bench.attempt", str(folder), name]
    options = ["--seconds", str(seconds), "--limit", str(limit)]
    done = subprocess.run(command + options, capture_output=True, text=True, check=False)
    if done.returncode == -signal.SIGALRM:
        return Attempt(f"not there within {limit} s")
    if done.returncode != 0:
        return Attempt(f"failed: {(done.stderr.strip().splitlines() or ['killed'])[-1][:70]}")
    return Attempt(**json.loads(done.stdout.splitlines()[-1]))


def measure(row: Row, peers: Sequence[str], seconds: float, limit: int) -> dict[str, Attempt]:
    """All peers on one row, whose data live as long as it takes."""
    found = {}
    with TemporaryDirectory() as folder:
        write(row, Path(folder))
        for name in peers:
            if is_missing(PEERS[name]):
                found[name] = Attempt(f"left out: pip install {PEERS[name].package}")
            else:
                found[name] = run_peer(name, Path(folder), seconds, limit)
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return found


def to_json(results: Results) -> list[dict[str, Any]]:
    return [
        {**row._asdict(), "peers": {name: a._asdict() for name, a in found.items()}}
        for row, found in results.items()
    ]


def load(paths: Sequence[str]) -> tuple[str, Results]:
    """Figures that were kept; of one row in several files, the peers are put together."""
    results: Results = {}
    head = ""
    for path in paths:
        report = json.loads(Path(path).read_text())
        head = report["head"]
        for entry in report["rows"]:
            row = Row(entry["n"], entry["d"], entry["condition"])
            found = {name: Attempt(**a) for name, a in entry["peers"].items()}
            results.setdefault(row, {}).update(found)
    return head, results


def chosen(names: Sequence[str] | None, known: Sequence[Any]) -> list[Any]:
    """What was asked for by name, or by the beginnings of names; everything by default."""
    if names is None:
        return list(known)
    wanted = set()
    for name in names:
        found = [str(each) for each in known if str(each).startswith(name)]
        if not found:
            raise SystemExit(f"{name!r} begins none of: {', '.join(map(str, known))}")
        wanted.update([name] if name in found else found)
    return [each for each in known if str(each) in wanted]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.solve", description=__doc__)
    parser.add_argument("--rows", nargs="*", help=f"only these; of {', '.join(map(str, ROWS))}")
    parser.add_argument("--peers", nargs="*", help=f"only these; of {', '.join(PEERS)}")
    parser.add_argument("--seconds", type=float, default=1.0, help="of timing a peer, at least; 1")
    parser.add_argument("--limit", type=int, default=60, help="seconds a peer may take; 60")
    parser.add_argument("--quick", action="store_true", help="small problems, a minute or two")
    parser.add_argument("--json", metavar="PATH")
    parser.add_argument("--load", nargs="+", metavar="PATH", help="figures of earlier runs")
    parser.add_argument("--readme", action="store_true", help="put the main rows into README.md")
    parser.add_argument("--plot", metavar="PATH", help="draw them to a PNG file")
    args = parser.parse_args(argv)
    results: Results = {}
    head = f"{in_words()}; {blas()}"
    if args.load:
        head, results = load(args.load)
    print(head)
    rows = chosen(args.rows, QUICK_ROWS if args.quick else ROWS)
    for row in results if args.load else rows:
        if not args.load:
            results[row] = measure(row, chosen(args.peers, list(PEERS)), args.seconds, args.limit)
        print(f"\n{text(row, results[row])}", flush=True)
        if args.json:
            report = {"head": head, "machine": describe(), "rows": to_json(results)}
            Path(args.json).write_text(json.dumps(report, indent=1))
    if args.readme:
        readme.put("solve", markdown(head, results))
    if args.plot:
        from bench.solve_plot import draw

        draw(results, Path(args.plot))
    return 0


if __name__ == "__main__":
    sys.exit(main())
