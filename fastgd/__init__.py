"""Least squares by gradient descent on large arrays, at the speed of reading the array once."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastgd._cross_validation import CrossValidation, cross_validate
    from fastgd._errors import CollinearityWarning, ConvergenceWarning, DivergenceError
    from fastgd._fit import fit
    from fastgd._gradient import MSEAndGradient, mse_and_gradient
    from fastgd._moments.moments import Moments
    from fastgd._plan import Plan, plan
    from fastgd._results.inference import Inference
    from fastgd._results.load import load
    from fastgd._results.result import FitResult, StopReason
    from fastgd._warmup import warmup
    from fastgd._watch import EpochState
    from fastgd.sources.scan import scan

__version__ = "0.1.0"

__all__ = [
    "CollinearityWarning",
    "ConvergenceWarning",
    "CrossValidation",
    "DivergenceError",
    "EpochState",
    "FitResult",
    "Inference",
    "MSEAndGradient",
    "Moments",
    "Plan",
    "StopReason",
    "cross_validate",
    "fit",
    "load",
    "mse_and_gradient",
    "plan",
    "scan",
    "warmup",
]

# Names are loaded at first use (PEP 562): who fits a line pays for no cross-validation.
_MODULES = {
    "CollinearityWarning": "_errors",
    "ConvergenceWarning": "_errors",
    "CrossValidation": "_cross_validation",
    "DivergenceError": "_errors",
    "EpochState": "_watch",
    "FitResult": "_results.result",
    "Inference": "_results.inference",
    "MSEAndGradient": "_gradient",
    "Moments": "_moments.moments",
    "Plan": "_plan",
    "StopReason": "_results.result",
    "cross_validate": "_cross_validation",
    "fit": "_fit",
    "load": "_results.load",
    "mse_and_gradient": "_gradient",
    "plan": "_plan",
    "scan": "sources.scan",
    "warmup": "_warmup",
}

# Modules that are loaded by their name; the first two need what is not installed with fastgd.
_SUBMODULES = ("onnx", "sklearn", "distributed")


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        try:
            return import_module(f"{__name__}.{name}")
        except ImportError as error:  # not one for hasattr() and help(), which look for names
            raise AttributeError(str(error)) from error
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, *_SUBMODULES, "__version__"]
