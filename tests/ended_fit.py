"""A fit that keeps a checkpoint in the folder given, as often as it can, and comes to an end.

``batches N`` is killed as it asks for batch N; ``slices`` says when it begins, and waits for no
one; ``full`` may write files of 1,000 bytes at most, and prints what it warned of and its moments.
"""

import os
import signal
import sys
import warnings
from pathlib import Path

import numpy as np

from fastgd import fit
from fastgd._sums import checkpoint
from fastgd.sources import batches

# Rows of a batch, and the bytes of X in it.
LENGTH = 20
SLICE = LENGTH * 3 * 8


def arrays(n):
    """Rows that are the same in every process."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((n, 3))
    return X, X @ [1.0, 2.0, 3.0] + rng.standard_normal(n)


def cut(n):
    """The same rows as batches."""
    X, y = arrays(n)
    return [(X[at : at + LENGTH], y[at : at + LENGTH]) for at in range(0, n, LENGTH)]


def killed(parts, count):
    """Batches, until SIGKILL."""
    yield from parts[:count]
    os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, mode: str, count: int) -> None:
    checkpoint.INTERVAL, checkpoint.SHARE = 0.0, np.inf
    options = {"checkpoint": folder / "kept.npz", "backend": "numpy"}
    if mode == "batches":
        parts = cut(1000)
        fit(lambda: killed(parts, count), **options)
    elif mode == "slices":
        batches.SLICE = SLICE
        X, y = arrays(count)
        print("begins", flush=True)
        fit(X, y, **options)
    else:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = fit(cut(1000), **options)
        print([f"{one.category.__name__}: {one.message}" for one in caught])
        print([float(value).hex() for value in (*result.coef, result.intercept)])
        print(os.listdir(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
