"""What fit() returns."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd import _check
from fastgd._files import write_json
from fastgd._results.predict import predict

if TYPE_CHECKING:
    from fastgd._moments.moments import Moments
    from fastgd._results.inference import Inference


FORMAT = "fastgd.FitResult"
VERSION = 1

# Epochs of a plot that are marked each.
MOST_MARKED = 30


class StopReason(Enum):
    """Why a fit ended; the value is a sentence for people."""

    CONVERGED = "the loss is within the tolerance of its minimum"
    MAX_ITER = "max_iter epochs were run before the tolerance was met"
    STALLED = "the loss falls no further: rounding is all that is left"
    NO_CHANGE = "the loss has not improved for n_iter_no_change epochs"
    LEAST_RATE = "the loss falls no further, and the learning rate has fallen to its least"
    CALLBACK = "the callback asked to stop"
    DIVERGED = "the loss or a coefficient grew beyond all bounds"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, eq=False, repr=False)
class FitResult:
    """A fitted linear model and how it was found.

    It cannot be changed, nor can its arrays. It equals itself alone: compare what it holds.

    Attributes
    ----------
    coef : float or ndarray of shape (n_features,) or (n_features, n_targets), float64
        Without the axis of features if X was 1-D: a float, or an array of shape (n_targets,).
    intercept : float or ndarray of shape (n_targets,)
        0.0 if none was fitted.
    loss : float
        What was minimised, at `coef` and `intercept`: the mean squared error, summed over
        targets, and the penalties.
    loss_history : ndarray of shape (n_iter + 1,), float64
        The loss before the first step, and after each. With ``learning_rate="adaptive"``, and
        with rows held out, the fit returns the best point, which need not be the last; with a
        penalty on sizes as well, `loss` may be a little lower than any here.
    grad_norm : float
        Euclidean norm of the gradient of the loss by `coef` and `intercept`; with a penalty on
        sizes, of its shortest subgradient.
    n_iter : int
        Steps taken.
    converged : bool
    stop_reason : StopReason
        ``str(result.stop_reason)`` is a sentence.
    learning_rate : float
        The step that was used: the one given (the first of a schedule), or, for "auto", one in
        standardised coordinates, which is not a number to give back as `learning_rate` for the
        same data. For "cg", which has a length for each step, the last.
    method : str
    strategy : str
        Whether X was read each epoch or once, for its moments, how often in all, and why.
    backend : str
    moments : Moments or None
        Of the data, where the fit collected them or was given them.
    fit_intercept : bool
    feature_names : tuple of str or None
        Names of the columns of X, where it was a table.
    alpha, l1_ratio : float
        The penalty. NaN where it is not known: in a file that was written before it was kept.
    """

    coef: float | NDArray[np.float64]
    intercept: float | NDArray[np.float64]
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
    moments: Moments | None = None
    fit_intercept: bool = True
    feature_names: tuple[str, ...] | None = None
    alpha: float = 0.0
    l1_ratio: float = 0.0
    # Given by fit(): a result knows of no other part of the library.
    _infer: Callable[[FitResult, Moments | None], Inference] | None = None
    _sampled: Moments | None = None

    def __post_init__(self) -> None:
        for name in ("coef", "intercept", "loss_history"):
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                own = value.copy("K")
                own.flags.writeable = False
                object.__setattr__(self, name, own)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Pickles of before did not say what the penalty was.
        self.__dict__.update({"alpha": math.nan, "l1_ratio": math.nan, **state})
        self.__post_init__()  # pickles do not keep that arrays are read-only

    def __repr__(self) -> str:
        """Sizes, the loss and how it ended, for people."""
        one_dimensional = np.ndim(self.coef) == np.ndim(self.intercept)
        n_features = 1 if one_dimensional else len(np.atleast_1d(self.coef))
        n_targets = f", n_targets={np.size(self.intercept)}" if np.ndim(self.intercept) else ""
        return (
            f"FitResult(n_features={n_features}{n_targets}, loss={self.loss:.6g}, "
            f"n_iter={self.n_iter}, converged={self.converged}, method={self.method!r},\n"
            f"          stop_reason={str(self.stop_reason)!r},\n"
            f"          strategy={self.strategy!r})"
        )

    @property
    def condition_number(self) -> float:
        """Of X in columns of equal length, about the mean if there is an intercept.

        The coefficients' relative error is about so many times that of the data. Infinite where
        columns are sums of others. That of a sample of the rows where "cg" streamed, and NaN
        where other methods did.
        """
        known = self.moments or self._sampled
        return math.nan if known is None else known.condition_number(self.fit_intercept)

    def plot(self, ax: Any = None) -> Any:
        """Draw the loss of every epoch, on a logarithmic axis.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        if ax is None:
            try:
                import matplotlib.pyplot as plt
            except ImportError:
                raise ImportError("plot() needs matplotlib: pip install 'fastgd[plot]'") from None
            _, ax = plt.subplots()
        elif not hasattr(ax, "set_yscale"):
            raise TypeError(f"ax must be matplotlib axes; got {_check.describe(ax)}")
        # Few points are marked: a line through one is not seen.
        marker = "o" if len(self.loss_history) <= MOST_MARKED else None
        ax.plot(np.arange(len(self.loss_history)), self.loss_history, marker=marker)
        locator = ax.xaxis.get_major_locator()
        if type(locator).__name__ == "AutoLocator":  # the caller's own are left alone
            locator.set_params(integer=True, min_n_ticks=1)
        if (self.loss_history > 0.0).all():
            ax.set_yscale("log")
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss")
        ax.set_title(f"{self.method}: {self.stop_reason}", fontsize="medium")
        return ax

    def predict(
        self, X: ArrayLike, *, out: NDArray[np.floating[Any]] | None = None
    ) -> float | NDArray[np.floating[Any]]:
        """Predict ``X @ coef + intercept``.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            An array, tensor or table, as in `fastgd.fit`, read in blocks; for a model fitted on
            1-D X, a scalar or 1-D array. From a table, the columns are taken by `feature_names`,
            if the model has them, in whatever order and among whatever others they stand. Batches
            are predicted one by one, and files by the command ``fastgd predict``.
        out : ndarray of shape (n_samples,), optional
            Of float32 or float64; filled and returned.

        Returns
        -------
        float or ndarray of shape (n_samples,) or (n_samples, n_targets)
            float32 for float32 X, else float64; a float for a scalar. NaN where X has NaN.

        Raises
        ------
        TypeError, ValueError
            If X does not hold real numbers, or not the features of the model, or `out` does not
            fit.
        """
        return predict(X, self.coef, self.intercept, self.feature_names, out)

    def summary(self, moments: Moments | None = None) -> Inference:
        """R^2, residual variance, standard errors, t values and more; printed, a table.

        Computed when asked for, from moments: the data are not read again.

        Parameters
        ----------
        moments : Moments, optional
            Of the data of the fit; needed where the fit streamed and has none of its own.

        Returns
        -------
        Inference
            Standard errors take the coefficients for those of least squares; the notes say so
            where there was a penalty.

        Raises
        ------
        TypeError, ValueError
            If there are no moments, or not of such data, or they clearly are of other data: the
            loss is less than half or more than twice that of the fit.

        Examples
        --------
        >>> import fastgd
        >>> x, y = [0.0, 1.0, 2.0, 3.0, 4.0], [1.0, 2.9, 5.1, 7.2, 8.8]
        >>> table = fastgd.fit(x, y, strategy="moments").summary()
        >>> table.standard_errors.round(4).tolist(), round(table.r_squared, 4)
        ([0.1407, 0.0574], 0.9975)
        >>> print(table)
                              Least squares by gradient descent
        ...
                           coef    std err          t      P>|t|     [0.025     0.975]
        ------------------------------------------------------------------------------
        const            1.0200      0.141      7.249      0.005      0.572      1.468
        x1               1.9900     0.0574     34.641      0.000      1.807      2.173
        ...
        """
        if self._infer is None:
            raise ValueError("summary() needs a result that fit() or load() returned")
        return self._infer(self, moments)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as one JSON file, beside `path` first and then renamed.

        `fastgd.load` reads it, to the last bit. Moments are left out: see `Moments.save`.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        OSError
            If it cannot be written; what was at `path` is then still there.
        """
        values = {name: _plain(getattr(self, name)) for name in saved_fields()}
        write_json(_check.path("path", path), FORMAT, VERSION, values)


def _plain(value: Any) -> Any:
    """What JSON can hold; it has no infinity and no NaN, which become words."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value


def saved_fields() -> tuple[str, ...]:
    """Names of the fields that a file has: all that are plain data."""
    names = [item.name for item in fields(FitResult)]
    return tuple(name for name in names if name != "moments" and not name.startswith("_"))
