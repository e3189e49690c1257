"""What verbose=1 prints."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fastgd._coordinates import Coordinates
from fastgd._problem import Source
from fastgd._settings import Settings


def epoch_printer(
    coordinates: Coordinates, problem: Source, settings: Settings
) -> Callable[[int, NDArray[np.float64], float], None] | None:
    """A function that prints one line: coefficients after the step, loss before it."""
    if settings.verbose < 1:
        return None

    def print_epoch(epoch: int, params: NDArray[np.float64], loss: float) -> None:
        coef, intercept = coordinates.from_params(params)
        line = f"Epoch: {epoch}/{settings.max_iter}, weights: "
        if problem.one_dimensional:
            line += f"{coef[0]:.3f}"
        else:
            line += np.array2string(
                coef, separator=", ", threshold=6, formatter={"float_kind": "{:.3f}".format}
            )
        if settings.fit_intercept:
            line += f", intercept: {intercept:.3f}"
        print(f"{line}, loss: {loss:.3f}", flush=True)

    return print_epoch
