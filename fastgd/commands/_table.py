"""The table of ``fastgd bench``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fastgd.commands._machine import in_words
from fastgd.commands._timing import duration
from fastgd.commands.cells import AGREEMENT, Cell


class Measurement(NamedTuple):
    """Seconds of an epoch on each backend, and how far apart their results are."""

    cell: Cell
    numpy_seconds: float
    numba_seconds: float
    difference: float

    @property
    def ratio(self) -> float:
        return self.numpy_seconds / self.numba_seconds

    @property
    def gb_per_second(self) -> float:
        return self.cell.bytes_read / self.numba_seconds / 1e9

    @property
    def agrees(self) -> bool:
        return self.difference <= AGREEMENT  # not so for NaN


def head() -> str:
    """What was measured, and the names of the columns."""
    return (
        f"{in_words()}\n"
        "An epoch is one call of mse_and_gradient on float32: median time, backends in turn.\n"
        "ratio: numpy / numba; GB/s: X and y, numba; difference: relative, of loss and gradient;\n"
        f"agree: difference of at most {AGREEMENT:g}.\n\n"
        f"{'n':>11} {'d':>5} {'numpy':>10} {'numba':>10} {'ratio':>7} {'GB/s':>7} "
        f"{'difference':>11} agree"
    )


def row(m: Measurement) -> str:
    """One line of the table."""
    return (
        f"{m.cell.n:11,} {m.cell.width:>5} {duration(m.numpy_seconds):>10} "
        f"{duration(m.numba_seconds):>10} {m.ratio:7.2f} {m.gb_per_second:7.2f} "
        f"{m.difference:11.1e} {'yes' if m.agrees else 'NO'}"
    )


def skipped_row(cell: Cell, memory: int) -> str:
    """The line of a cell that was not measured."""
    return (
        f"{cell.n:11,} {cell.width:>5} skipped: X takes {cell.x_bytes / 2**30:.1f} GiB, more than "
        f"a third of the {memory / 2**30:.1f} GiB available"
    )


def summary(measured: Sequence[Measurement]) -> str:
    """Where the backends agree, and from where on numba is ahead."""
    apart = [m for m in measured if not m.agrees]
    lines = [f"The backends agree at {len(measured) - len(apart)} of {len(measured)} sizes."]
    rows = sorted({m.cell.n for m in measured})
    slower = max((m.cell.n for m in measured if m.ratio <= 1), default=0)
    ahead = [n for n in rows if n > slower]
    if ahead:
        lines.append(f"numba is ahead at every size from n = {ahead[0]:,} on.")
    return "\n".join(lines)
