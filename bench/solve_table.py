"""The tables of ``python -m bench.solve``."""

from __future__ import annotations

from bench.attempt import ACCURACY, Attempt
from bench.peers import FLOOR, OURS
from bench.problems import Row
from fastgd.commands._timing import duration

Results = dict[Row, dict[str, Attempt]]

USUAL = "sklearn LinearRegression"  # the one most people use


def ranked(found: dict[str, Attempt]) -> list[str]:
    """Peers that are right, the fastest first."""
    right = [name for name, a in found.items() if a.is_right and name != FLOOR]
    return sorted(right, key=lambda name: found[name].seconds or 0.0)


def text(row: Row, found: dict[str, Attempt]) -> str:
    """The table of one row: those that are right, in order; then the others."""
    order = ranked(found)
    right = set(order)
    timed = [name for name, a in found.items() if a.seconds is not None and name not in right]
    order = [name for name in (FLOOR,) if name in timed] + order
    order += [name for name in found if name not in order]
    lines = [
        f"{row.n:,} x {row.d:,}, condition {row.condition:g}",
        f"{'':26}{'seconds':>11}{'/ fastgd':>9}{'first':>11}{'excess':>10}{'extra MB':>10}  tol",
    ]
    ours = found[OURS].seconds if OURS in found else None
    for name in order:
        lines.append(f"{name:26}{_figures(name, found[name], ours)}")
    return "\n".join(lines)


def _figures(name: str, a: Attempt, ours: float | None) -> str:
    if a.seconds is None or a.first_seconds is None or a.excess is None or a.extra_bytes is None:
        return f"  {a.status}"
    against = f"{a.seconds / ours:.2f}" if ours else ""
    tol = "" if a.tol is None else f"{a.tol:.0e}"
    missed = "" if a.is_right or name == FLOOR else f"  misses {ACCURACY:g}: not ranked"
    excess = "" if name == FLOOR else f"{a.excess:.1e}"
    return (
        f"{duration(a.seconds):>11}{against:>9}{duration(a.first_seconds):>11}{excess:>10}"
        f"{a.extra_bytes / 1e6:>10.0f}  {tol:5}{missed}".rstrip()
    )


def markdown(head: str, results: Results) -> str:
    """fastgd, the fastest other library that is right, and the library most people use."""
    lines = [
        f"Time until the training loss is within {ACCURACY:g} of its minimum (relative, float32"
        " data, R² near 1), and memory taken beyond the data. The best of the others is the"
        " fastest that is right, with its best tolerance; a dash: none was right within the time"
        f" limit of the run. Made by `python -m bench.solve --readme`; {head}.",
        "",
        "| n x d | condition | one read | fastgd | best other | | scikit-learn LinearRegression"
        " | memory of fastgd, of the best other |",
        "|---|---:|---:|---:|---:|---|---:|---:|",
    ]
    for row, found in results.items():
        others = [name for name in ranked(found) if name != OURS]
        best = others[0] if others else ""
        cells = [f"{row.n:,} x {row.d:,}", f"{row.condition:g}"]
        cells += [_time(found, name) for name in (FLOOR, OURS, best)]
        cells += [best, _time(found, USUAL), f"{_memory(found, OURS)}, {_memory(found, best)}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _time(found: dict[str, Attempt], name: str) -> str:
    a = found.get(name)
    if a is None or a.seconds is None:
        return "-"
    return duration(a.seconds).strip() + ("" if a.is_right or name == FLOOR else " (misses)")


def _memory(found: dict[str, Attempt], name: str) -> str:
    a = found.get(name)
    return "-" if a is None or a.extra_bytes is None else f"{a.extra_bytes / 1e6:.0f} MB"
