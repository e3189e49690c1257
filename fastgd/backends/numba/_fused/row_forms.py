"""How contiguous rows of many features are read: how many at a time, and how again."""

from __future__ import annotations

from typing import NamedTuple

from fastgd.backends.numba._vectors import emit


class Form(NamedTuple):
    """How many rows to take at a time, and what is read again.

    `copied`: copies of them, converted. `long`: rows too long for that, which need not share the
    loop with the rows before unless they are converted. `by_lines`: as `lines.py` has it, unless
    they are converted; one row at a time. `near`: all rows are in cache, so that none is fetched
    ahead. `gaps`: between rows of some lines, which are fetched more than once.
    """

    rows: int
    copied: bool = False
    long: bool = False
    by_lines: bool = False
    near: bool = False
    gaps: bool = False

    @property
    def name(self) -> str:
        """The name of the kernel."""
        if self.long:
            return "long_rows"
        name = f"copied_rows_by_{self.rows}" if self.copied else f"rows_by_{self.rows}"
        if self.by_lines:
            name = f"{name}_and_lines"
        if self.gaps:
            name = f"{name}_with_gaps"
        return f"near_{name}" if self.near else name


LONG = Form(4, long=True)
ONE, ONE_BY_LINES = Form(1, copied=True), Form(1, copied=True, by_lines=True)
NEAR, NEAR_BY_4, NEAR_BY_2 = (
    Form(4, near=True),
    Form(4, copied=True, near=True),
    Form(2, copied=True, near=True),
)
FORMS = (
    *(Form(4), Form(4, copied=True), Form(2, copied=True), ONE, ONE_BY_LINES, LONG),
    *(Form(4, gaps=True), Form(2, gaps=True), NEAR, NEAR_BY_4, NEAR_BY_2),
)

# The longest rows that are copied, by bytes of an element: copies of longer ones do not fit into
# the nearest cache of 48 KB together with coefficients and gradient. Of float32, in double
# precision, 1500 features take 0.8 of the time by copies, and 1800 twice as long.
MOST_COPIED_BYTES = {4: 6000, 8: 8000}
# The shortest: of 33 features of float32, copies take 0.95 to 1.2 times as long from run to run; 48
# are 1.1 times as fast by copies.
LEAST_COPIED_BYTES = 160
# The shortest with gaps that are asked for again: 40 of float32 take up to 1.07 times as long so.
LEAST_BYTES_WITH_GAPS = 4 * emit.LINE_BYTES
# The longest rows that are taken by fours, and by twos: fewer at a time leave room in that cache.
# Float32, one thread, of the limit, in double precision: 150 features by fours 0.94, by twos 0.98;
# 500 by twos 0.98, one by one 0.97; 1000 0.72 and 0.93. In single precision, 700: 0.92 and 0.99.
MOST_BYTES_OF_FOUR, MOST_BYTES_OF_TWO = 640, 2048
# The shortest rows that are read by lines: 600 features of float32 in single precision take 1.07
# times as long so.
LEAST_BYTES_BY_LINES = {4: 3200, 8: 0}
# Copies of four rows that are in cache anyway take no more than this.
MOST_BYTES_OF_COPIES = 20 << 10


def choose_form(d: int, size: int, gaps: bool) -> Form:
    """The fastest form for rows of `d` elements of `size` bytes, which may have gaps between them.

    With AVX-512 a copy is faster than reading the same again (float32, one thread, 100 to 1000
    features, against four rows with no copy: 1.1 to 1.3 times in double precision, 1.05 to 1.25 in
    single), but not in rows with gaps, of 64 to 300 features. The number at a time, by which sums
    are ordered, does not depend on gaps, although in single precision those rows are best taken by
    fours (200 to 1400 features of X[::2] and X[:, :k]: 0.85 to 0.95 of the speed so; in double
    precision, 1000 features: 1.0 to 1.4).
    """
    row_bytes = d * size
    if emit.REGISTER_BYTES < 64:
        return Form(4)
    if row_bytes > MOST_COPIED_BYTES[size]:
        return LONG
    if row_bytes > MOST_BYTES_OF_TWO:
        return ONE_BY_LINES if row_bytes >= LEAST_BYTES_BY_LINES[size] else ONE
    rows = 4 if row_bytes <= MOST_BYTES_OF_FOUR else 2
    if gaps:
        return Form(rows, gaps=row_bytes >= LEAST_BYTES_WITH_GAPS)
    return Form(rows, copied=row_bytes >= LEAST_COPIED_BYTES)


def choose_near_form(d: int, size: int, computed_size: int) -> Form:
    """The fastest form for rows that are in cache, of more features than `near_rows` is for.

    They are computed in elements of `computed_size` bytes. One thread, float32, 1 MB, against the
    forms of others: in double precision, 100 to 150 features are level, 200 to 700 1.1 to 1.45
    times as fast, 850 to 1200 1.2 to 1.3 times; in single precision, 200 to 1300 1.1 to 1.6 times
    (float64: 100 to 1000 features, 1.2 to 1.4 times).
    Longer ones, which are read twice, come 1.4 times (2000 features, double precision) and 1.1
    times (5000) as fast by fours, with nothing asked for ahead, and 0.6 times in single precision.
    """
    if d * size > MOST_COPIED_BYTES[size]:
        return LONG if computed_size == size else NEAR
    if 4 * d * computed_size <= MOST_BYTES_OF_COPIES:
        return NEAR_BY_4
    return NEAR_BY_2 if computed_size == size else NEAR
