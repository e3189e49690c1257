"""What fit() returns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


class StopReason(Enum):
    """Why a fit ended; the value is a sentence for people."""

    CONVERGED = "the loss is within the tolerance of its minimum"
    MAX_ITER = "max_iter epochs were run before the tolerance was met"
    DIVERGED = "the loss or a coefficient grew beyond all bounds"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class FitResult:
    """A fitted linear model and how it was found.

    Attributes
    ----------
    coef : float or ndarray of shape (n_features,), float64
        A float if X was 1-D.
    intercept : float
        0.0 if none was fitted.
    loss : float
        Mean squared error at `coef` and `intercept`.
    loss_history : ndarray of shape (n_iter + 1,), float64
        The loss before the first step, and after each.
    grad_norm : float
        Euclidean norm of the gradient of the mean squared error by `coef` and `intercept`.
    n_iter : int
        Steps taken.
    converged : bool
    stop_reason : StopReason
        ``str(result.stop_reason)`` is a sentence.
    learning_rate : float
        The step that was used: the one given, or, for "auto", one in standardised coordinates,
        which is not a number to give back as `learning_rate` for the same data.
    method : str
    strategy : str
        Whether X was read each epoch or once, for its moments, how often in all, and why.
    backend : str
    """

    coef: float | NDArray[np.float64]
    intercept: float
    loss: float
    loss_history: NDArray[np.float64]
    grad_norm: float
    n_iter: int
    converged: bool
    stop_reason: StopReason
    learning_rate: float
    method: str
    strategy: str
    backend: str

    def predict(self, X: ArrayLike) -> float | NDArray[np.floating[Any]]:
        """Predict ``X @ coef + intercept``.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            For a model fitted on 1-D X: a scalar or 1-D array.

        Returns
        -------
        float or ndarray of shape (n_samples,)
            float32 for float32 X, else float64; a float for a scalar.

        Raises
        ------
        TypeError, ValueError
            If X does not hold real numbers, or not as many features as the model.
        """
        array = np.asarray(X)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"X must hold real numbers; got dtype {array.dtype}")
        if array.dtype != np.float32:
            array = array.astype(np.float64, copy=False)
        dtype = array.dtype.type
        if not isinstance(self.coef, np.ndarray):
            if array.ndim > 1:
                raise ValueError(f"X must be a scalar or 1-D, as in fit; got shape {array.shape}")
            line = array * dtype(self.coef) + dtype(self.intercept)
            return float(line) if array.ndim == 0 else line
        if array.ndim != 2 or array.shape[1] != len(self.coef):
            raise ValueError(
                f"X must be of shape (n_samples, {len(self.coef)}), as in fit; got {array.shape}"
            )
        predicted: NDArray[np.floating[Any]] = array @ self.coef.astype(dtype)
        predicted += dtype(self.intercept)
        return predicted
