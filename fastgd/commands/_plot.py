"""The loss curve of ``fastgd demo``, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastgd.commands._sections import NOISE, Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's blue and vermilion, which the colour-blind tell apart, too.
STYLES = {
    "numpy": {"color": "#D55E00", "marker": "o", "markersize": 8, "markerfacecolor": "white"},
    "numba": {"color": "#0072B2", "marker": "o", "markersize": 4},
}


def draw(curves: Mapping[str, Curve], rows: int, path: Path) -> None:
    """Draw the losses of both backends over epochs, and over time, to a PNG file."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9.6, 4.2), layout="constrained")  # draws with Agg, unlike pyplot
    figure.suptitle(f"Gradient descent on {rows:,} rows, float32", fontsize=13)
    by_epoch, by_time = figure.subplots(1, 2, sharey=True)
    for name, curve in curves.items():
        losses = curve.result.loss_history
        epochs = np.arange(len(losses))
        seconds = epochs * (curve.seconds / epochs[-1])
        by_epoch.plot(epochs, losses, label=name, linewidth=1.5, **STYLES[name])
        by_time.plot(seconds, losses, label=name, linewidth=1.5, **STYLES[name])
    for axes, title, below in ((by_epoch, "by epoch", "epoch"), (by_time, "by time", "seconds")):
        _label(axes, f"Loss {title}", below)
    by_epoch.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    by_epoch.set_ylabel("mean squared error")
    figure.savefig(path, format="png", dpi=150)


def _label(axes: Axes, title: str, below: str) -> None:
    axes.axhline(NOISE**2, color="0.45", linewidth=1, linestyle="--", label="noise")
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(below)
    axes.set_yscale("log")
    axes.grid(which="major", color="0.88", linewidth=0.8)
    axes.grid(which="minor", color="0.95", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
