"""Estimators for scikit-learn; needs the package scikit-learn."""

try:
    from sklearn.utils.validation import validate_data as _needed  # noqa: F401
except ImportError:
    raise ImportError(
        "fastgd.sklearn needs scikit-learn 1.6 or newer: python -m pip install 'fastgd[sklearn]'"
    ) from None

from fastgd.sklearn._base import ConvergenceWarning
from fastgd.sklearn._cv import GDRegressorCV
from fastgd.sklearn._regressor import GDRegressor

__all__ = ["ConvergenceWarning", "GDRegressor", "GDRegressorCV"]

for _public in (ConvergenceWarning, GDRegressor, GDRegressorCV):
    _public.__module__ = __name__  # in pickles and messages: not the file they happen to be in
