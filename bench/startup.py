"""Seconds to the first fit of a new process: ``python -m bench.startup [--rounds N] [--readme]``.

From ``import fastgd`` to the end of the fit, with the import of numba apart: with no compiled code
on disk, with what that first process left there, and the same fit once more. Medians of some
rounds, each with a cache of its own. ``--readme`` puts the table into bench/README.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from statistics import median

from bench import readme

# Layout, rows and features.
SHAPES = (
    ("C", 200_000, 1),
    ("C", 200_000, 4),
    ("C", 200_000, 10),
    ("C", 200_000, 16),
    ("C", 200_000, 100),
    ("F", 200_000, 100),
)
FIT = """
import sys, time
import numpy as np

order, n, d = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
X = np.asarray(np.random.default_rng(0).standard_normal((n, d), dtype=np.float32), order=order)
y = X.sum(axis=1) + 1
X = X[:, 0] if d == 1 else X
begin = time.perf_counter()
import numba
after_numba = time.perf_counter()
import fastgd
fastgd.fit(X, y)
after_fit = time.perf_counter()
fastgd.fit(X, y)
print(after_numba - begin, after_fit - after_numba, time.perf_counter() - after_fit)
"""
HEADER = """\
Seconds from `import fastgd` to the end of the first fit, {n:,} rows of float32, medians of \
{rounds}: with no compiled code on disk, with that of an earlier process, and of a second fit. \
`import numba` alone took {numba:.2f} s. Made by `python -m bench.startup --readme`.

| layout | features | first ever | first of a process | second |
|---|---:|---:|---:|---:|"""


def seconds(cache: str, order: str, n: int, d: int) -> list[float]:
    """Of importing numba, of a first fit and of a second one, in a new process."""
    command = [sys.executable, "-c", FIT, order, str(n), str(d)]
    environment = {**os.environ, "FASTGD_CACHE_DIR": cache}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [float(part) for part in done.stdout.split()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--readme", action="store_true", help="put the table into bench/README.md")
    args = parser.parse_args()
    imports, lines = [], []
    for order, n, d in SHAPES:
        cold, warm = [], []
        for _ in range(args.rounds):
            with tempfile.TemporaryDirectory() as cache:
                cold.append(seconds(cache, order, n, d))
                warm.append(seconds(cache, order, n, d))
        imports += [each[0] for each in cold + warm]
        layout = "1-D" if d == 1 else order
        _, first, second = map(median, zip(*warm, strict=True))
        figures = (median(each[1] for each in cold), first, second)
        lines.append(f"| {layout} | {d} | " + " | ".join(f"{each:.3f}" for each in figures) + " |")
        print(lines[-1], flush=True)
    table = HEADER.format(n=SHAPES[0][1], rounds=args.rounds, numba=median(imports))
    table = "\n".join([table, *lines])
    print(f"\n{table}")
    if args.readme:
        readme.put("startup", table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
