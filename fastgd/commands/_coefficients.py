"""The coefficients of several targets, of which there are no statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd import FitResult
from fastgd._results.table import short

NOTE = "statistics are of one target, from 1-D y"


def named_coefficients(result: FitResult) -> tuple[tuple[str, ...], NDArray[Any]]:
    """Coefficients with their names, those of a feature first; "x1", "x2" where it has none."""
    single = np.ndim(result.coef) == np.ndim(result.intercept)
    coef = np.asarray(result.coef)[np.newaxis] if single else np.asarray(result.coef)
    return result.feature_names or tuple(f"x{j + 1}" for j in range(len(coef))), coef


def coefficients(result: FitResult) -> str:
    """A table: a line a parameter, a column a target."""
    names, coef = named_coefficients(result)
    lines = list(zip(names, coef, strict=True))
    if result.fit_intercept:
        lines.insert(0, ("const", np.asarray(result.intercept)))
    width = max(10, *(len(name) + 1 for name, _ in lines))
    head = " " * width + "".join(f"{f'y{k + 1}':>13}" for k in range(coef.shape[1]))
    return "\n".join(
        [
            f"Coefficients of {coef.shape[1]} target{'s' * (coef.shape[1] > 1)}",
            "=" * len(head),
            head,
            "-" * len(head),
            *(f"{name:<{width}}" + "".join(f"{short(v):>13}" for v in row) for name, row in lines),
            "=" * len(head),
            f"Stopped: {result.stop_reason}.",
            f"Note: {NOTE}.",
        ]
    )
