"""How short rows that are in cache are put into registers of 64 bytes, by `near_rows`."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastgd.backends.numba._vectors import emit

# The longest rows, as they are computed in: eight registers. Float32, against blocks of rows of any
# length: 33 to 64 features are 1.2 to 1.4 times as fast in double precision and 1.6 to 2.1 times in
# single, 72 to 128 are 0.7 to 0.9 times in double and 1.2 to 1.6 times in single.
MOST_BYTES = 512


class Layout(NamedTuple):
    """How rows lie in registers.

    `firsts`: the first feature of each vector of a row. `last_width`: of the last, what is loaded.
    `in_pairs`: each vector is of two rows, in its halves. `rows`: in a block. `behind`: the
    gradient of a block is added up when the next is read, so that it waits for nothing; not where
    the registers do not hold both.
    """

    d: int
    lanes: int
    firsts: range
    last_width: int
    in_pairs: bool
    rows: int
    behind: bool

    @property
    def inside(self) -> list[bool]:
        """Which lanes of the last vector are features."""
        if self.in_pairs:
            return [i % (self.lanes // 2) < self.d for i in range(self.lanes)]
        return [self.firsts[-1] + i < self.d for i in range(self.lanes)]


def layout(context: Any, signature: Any) -> Layout:
    """The fastest for the types of a kernel (float32, 500 KB).

    In blocks of four, not eight, 9 to 16 features in double precision are 0.9 times as fast, in
    blocks of eight, not four, 17 to 32 in single precision 0.85 to 1.0 times; 33 to 64 one block
    behind 0.8 to 1.0 times in single and 1.0 to 1.2 times in double precision.
    """
    stored, scalar = (context.get_value_type(signature.args[i].dtype) for i in (0, 4))
    d, lanes = signature.args[4].count, emit.register_lanes(scalar)
    firsts = range(0, d, lanes)
    if 2 * d <= lanes:
        return Layout(d, lanes, firsts, d, True, lanes, False)
    rest = d - firsts[-1]
    last_width = min(lanes, 1 << (rest - 1).bit_length())
    converted = stored != scalar
    rows = {1: 8, 2: 8 if converted else 4, 3: 4, 4: 4}.get(len(firsts), 2)
    behind = converted or len(firsts) <= 2
    return Layout(d, lanes, firsts, last_width, False, rows, behind)
