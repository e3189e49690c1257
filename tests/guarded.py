"""Run by test_backends.py: every kernel on arrays that end, or begin, where memory does.

A read or write outside of an array ends this process with a segmentation fault.
"""

import ctypes
import mmap
import sys
from itertools import product

import numpy as np

from fastgd import Moments, mse_and_gradient
from fastgd._data.problem import as_problem
from fastgd.backends import load_backend
from fastgd.backends.numba import _choice

PROT_NONE = 0
PAGE = mmap.PAGESIZE
protect = ctypes.CDLL(None, use_errno=True).mprotect
protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

# Around vectors, tiles and blocks of rows; from one feature to more than a page of them.
ROWS = (1, 2, 7, 8, 9, 15, 16, 17, 18, 33, 66)
WIDTHS = (1, 2, 3, 5, 7, 9, 16, 17, 23, 33, 65, 200, 700, 1537)


def guarded(shape, dtype, order="C", at_end=True):
    """An array of ones between two forbidden pages, touching one of them."""
    size_of_array = int(np.prod(shape)) * np.dtype(dtype).itemsize
    size = -(-size_of_array // PAGE) * PAGE
    memory = mmap.mmap(-1, size + 2 * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (start, start + PAGE + size):
        if protect(page, PAGE, PROT_NONE):
            raise OSError(ctypes.get_errno(), "mprotect")
    offset = PAGE + (size - size_of_array if at_end else 0)
    array = np.ndarray(shape, dtype, memory, offset, order=order)
    array[...] = 1
    return array


def layouts(n, d, dtype, at_end):
    """All of shape (n, d), with a last, or first, element that nothing follows, or precedes."""
    edge = np.s_[2:] if at_end else np.s_[:-2]
    yield guarded((n, d), dtype, "C", at_end)
    yield guarded((n, d), dtype, "F", at_end)
    yield guarded((n, d + 2), dtype, "C", at_end)[:, edge]
    yield guarded((n + 2, d), dtype, "F", at_end)[edge]
    yield guarded((2 * n, d), dtype, "C", at_end)[1 if at_end else 0 :: 2]


def main(backend):
    count = check(backend, "double", moments=True) + check(backend, "single")
    _choice.NEAR_BYTES = _choice.CACHED_BYTES = 0  # as if all were in main memory
    print(count + check(backend, "double"))


def check(backend, precision, moments=False):
    """How many arrays pass."""
    count = 0
    for d, n, dtype, at_end in product(WIDTHS, ROWS, ("f4", "f8"), (True, False)):
        if dtype == "f8" and precision == "single":
            continue
        y, weight, prediction = (guarded(n, dtype, at_end=at_end) for _ in range(3))
        for X in layouts(n, d, dtype, at_end):
            value = mse_and_gradient(
                X,
                y,
                np.ones(d),
                sample_weight=weight,
                prediction=prediction,
                backend=backend,
                precision=precision,
            )
            assert value.mse == (d - 1) ** 2
            assert (value.gradient == 2 * (d - 1)).all()
            assert (prediction == d).all()
            count += 1
            if not moments:
                continue
            columns = load_backend(backend).column_statistics(as_problem(X, y, weight), 1)
            assert (columns.mean == 1).all()
            if d < 100:
                assert not Moments.of(X, y, weight, backend=backend).scatter.any()
    return count


if __name__ == "__main__":
    main(sys.argv[1])
