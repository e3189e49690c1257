"""What a fit can end with besides a result."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastgd._result import FitResult


class ConvergenceWarning(UserWarning):
    """The fit stopped before its tolerance was met; the text says what to do."""


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
