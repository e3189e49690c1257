"""The plot of ``python -m bench.solve``: time against accuracy, a panel a shape."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.attempt import ACCURACY, Attempt
from bench.peers import FLOOR, OURS
from bench.solve_table import USUAL, Results, ranked

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# A marker and a colour (Okabe and Ito's) for each family of peers.
FAMILIES = {
    OURS: ("*", "#D55E00"),
    "numpy": ("s", "#000000"),
    "CG by hand": ("P", "#000000"),
    "sklearn ": ("o", "#0072B2"),
    "sklearnex": ("D", "#009E73"),
    "polars-ds": ("^", "#CC79A7"),
    "torch": ("v", "#E69F00"),
    "jax": ("X", "#56B4E9"),
}
LEAST_EXCESS, MOST_EXCESS = 1e-14, 1e4  # what lies outside is drawn at the edge


def draw(results: Results, path: Path) -> None:
    """One panel a shape; filled markers for the lower condition number."""
    from matplotlib.figure import Figure

    shapes = list(dict.fromkeys((row.n, row.d) for row in results))
    columns = min(len(shapes), 3)
    lines = -(-len(shapes) // columns)
    figure = Figure(figsize=(5.2 * columns, 4.4 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, shape in zip(panels, shapes, strict=False):
        mine = {row: found for row, found in results.items() if (row.n, row.d) == shape}
        least = min(row.condition for row in mine)
        for row, found in mine.items():
            for name, a in found.items():
                _mark(axes, name, a, filled=row.condition == least)
            if row.condition == least:
                _name(axes, found)
        _dress(axes, f"{shape[0]:,} x {shape[1]:,}")
    for axes in panels[len(shapes) :]:
        axes.set_axis_off()
    drawn = {
        _family(name) for found in results.values() for name in found if _is_drawn(found[name])
    }
    _legend(panels[len(shapes)] if len(shapes) < len(panels) else panels[0], drawn)
    figure.savefig(path, format="png", dpi=80)


def _family(name: str) -> str:
    return next((family for family in FAMILIES if name.startswith(family)), "numpy")


def _is_drawn(a: Attempt) -> bool:
    return a.seconds is not None and a.excess is not None


def _mark(axes: Axes, name: str, a: Attempt, *, filled: bool) -> None:
    if not _is_drawn(a):
        return
    if name == FLOOR:
        if filled:
            axes.axvline(a.seconds, color="0.6", linewidth=1, linestyle=":")
        return
    marker, colour = FAMILIES[_family(name)]
    axes.plot(
        a.seconds,
        min(max(a.excess, LEAST_EXCESS), MOST_EXCESS),
        marker,
        color=colour,
        markerfacecolor=colour if filled else "none",
        markersize=13 if name == OURS else 7,
        zorder=3 if name == OURS else 2,
    )


def _name(axes: Axes, found: dict[str, Attempt]) -> None:
    """Names beside ours, the best other and the usual one: all would overlap."""
    others = [name for name in ranked(found) if name != OURS]
    for name in dict.fromkeys([OURS, *others[:1], USUAL]):
        a = found.get(name)
        if a is None or not _is_drawn(a):
            continue
        place = (a.seconds, max(a.excess, LEAST_EXCESS))
        axes.annotate(
            name,
            place,
            (0, 9),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
            zorder=4,
        )


def _dress(axes: Axes, title: str) -> None:
    axes.axhline(ACCURACY, color="0.35", linewidth=1, linestyle="--")
    axes.set(xscale="log", yscale="log", title=title, xlabel="seconds")
    axes.set_ylabel("relative excess of the training loss")
    axes.set_ylim(LEAST_EXCESS / 5, MOST_EXCESS * 5)
    axes.grid(which="major", color="0.9", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.margins(x=0.2)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(axes: Axes, drawn: set[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker=marker, color=colour, linestyle="", label=family.strip())
        for family, (marker, colour) in FAMILIES.items()
        if family in drawn
    ]
    handles += [
        Line2D([], [], color="0.35", linestyle="--", label=f"accuracy asked for, {ACCURACY:g}"),
        Line2D([], [], color="0.6", linestyle=":", label="one read of the data"),
        Line2D([], [], marker="o", color="0.3", linestyle="", label="condition 10"),
        Line2D([], [], marker="o", color="0.3", markerfacecolor="none", linestyle="", label="10^4"),
    ]
    axes.legend(handles=handles, frameon=False, loc="center", fontsize=9)
