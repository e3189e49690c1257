"""Tables of plain text, in the layout that users of statsmodels know."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WIDTH = 78
_COLUMNS = ("coef", "std err", "t", "P>|t|", "[0.025", "0.975]")


def header(title: str, rows: Sequence[tuple[str, str, str, str]]) -> list[str]:
    """A title and two columns of names and values."""
    rule = "=" * WIDTH
    lines = [
        f"{left}{value:>{37 - len(left)}}   {right}{other:>{38 - len(right)}}"
        for left, value, right, other in rows
    ]
    return [title.center(WIDTH).rstrip(), rule, *lines, rule]


def coefficient_table(names: Sequence[str], values: NDArray[np.float64]) -> list[str]:
    """One line a parameter: coefficient, standard error, t, p, and both ends of its interval."""
    width = max(10, *(len(name) + 1 for name in names))
    lines = [" " * width + f"{_COLUMNS[0]:>13}" + "".join(f"{name:>11}" for name in _COLUMNS[1:])]
    lines.append("-" * len(lines[0]))
    for name, (coef, error, t, p, low, high) in zip(names, values.tolist(), strict=True):
        cells = (short(error, 3), short(t, 3), f"{p:.3f}", short(low, 3), short(high, 3))
        lines.append(f"{name:<{width}}{short(coef):>13}" + "".join(f"{cell:>11}" for cell in cells))
    return [*lines, "=" * len(lines[0])]


def short(value: float, places: int = 4) -> str:
    """A number in fixed notation where that shows it, else with so many digits."""
    if value == 0.0 or 0.1 <= abs(value) < 1e5:
        return f"{value:.{places}f}"
    return f"{value:.{places}g}"
