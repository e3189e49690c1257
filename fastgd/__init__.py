"""Least squares by gradient descent on large arrays, at the speed of reading the array once."""

from fastgd._errors import ConvergenceWarning, DivergenceError
from fastgd._fit import fit
from fastgd._gradient import MSEAndGradient, mse_and_gradient
from fastgd._moments import Moments
from fastgd._result import FitResult, StopReason
from fastgd._warmup import warmup

__version__ = "0.1.0"

__all__ = [
    "ConvergenceWarning",
    "DivergenceError",
    "FitResult",
    "MSEAndGradient",
    "Moments",
    "StopReason",
    "fit",
    "mse_and_gradient",
    "warmup",
]
