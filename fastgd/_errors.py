"""What a fit can end with besides a result."""

from __future__ import annotations

import os
import sys
import warnings
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastgd._results.result import FitResult


class ConvergenceWarning(UserWarning):
    """The fit stopped before its tolerance was met; the text says what to do."""


class CollinearityWarning(UserWarning):
    """The data leave some coefficients open; the text names their columns."""


# The class to warn with: an estimator's is scikit-learn's as well. Not passed through fit(), whose
# arguments are the user's; one for each thread, unlike the filters of warnings.catch_warnings.
warning_class: ContextVar[type[ConvergenceWarning]] = ContextVar(
    "warning_class", default=ConvergenceWarning
)


_HERE = f"{Path(__file__).parent}{os.sep}"


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the line that called into the library, whichever of its doors that was."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


class DivergenceError(ArithmeticError):
    """The descent moved away from the minimum.

    Attributes
    ----------
    result : FitResult
        The last iterate whose loss and coefficients were finite.
    learning_rate : float or None
        A constant step that would have worked with the same arguments; None where the data are
        so large that none could be computed.
    """

    def __init__(self, message: str, result: FitResult, learning_rate: float | None) -> None:
        super().__init__(message)
        self.result = result
        self.learning_rate = learning_rate
