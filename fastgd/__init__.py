"""Least squares by gradient descent on large arrays, at the speed of reading the array once."""

from fastgd._cross_validation import CrossValidation, cross_validate
from fastgd._errors import ConvergenceWarning, DivergenceError
from fastgd._fit import fit
from fastgd._gradient import MSEAndGradient, mse_and_gradient
from fastgd._inference import Inference
from fastgd._moments import Moments
from fastgd._plan import Plan, plan
from fastgd._result import FitResult, StopReason
from fastgd._warmup import warmup

__version__ = "0.1.0"

__all__ = [
    "ConvergenceWarning",
    "CrossValidation",
    "DivergenceError",
    "FitResult",
    "Inference",
    "MSEAndGradient",
    "Moments",
    "Plan",
    "StopReason",
    "cross_validate",
    "fit",
    "mse_and_gradient",
    "plan",
    "warmup",
]
