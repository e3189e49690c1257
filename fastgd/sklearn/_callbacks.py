"""scikit-learn's callbacks, where the installed version has them: 1.9 and newer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from fastgd._watch import EpochState

__all__ = ["CallbackSupportMixin", "FitTasks", "has_callbacks", "with_callbacks"]

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Without callbacks there is nothing to mix in."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Without callbacks there is nothing to take down."""
        return method


def has_callbacks(estimator: BaseEstimator) -> bool:
    """Whether `set_callbacks` was called, by the user or by what the estimator is part of."""
    return bool(getattr(estimator, "_skl_callbacks", None))


class FitTasks:
    """A fit and its epochs, as tasks that callbacks are told of.

    A fit reports an epoch when it is done, and does not know before whether there is a next one:
    an epoch's task begins and ends at that moment, so that there are as many tasks as epochs.
    """

    def __init__(
        self, estimator: BaseEstimator, max_iter: int, X: Any, y: Any, sample_weight: Any
    ) -> None:
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._told = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._callback: Callable[[EpochState], object] | None = estimator.callback
        self._fit = estimator._init_callback_context(max_subtasks=max_iter)
        self._fit.call_on_fit_task_begin(**self._told)

    def after_epoch(self, state: EpochState) -> bool:
        """Ask the callback of the estimator's parameters, then scikit-learn's, whether to stop."""
        stops = self._callback is not None and bool(self._callback(state))
        epoch = self._fit.subcontext(task_name="epoch")
        epoch.call_on_fit_task_begin(**self._told)
        fitted = {
            "coef_": np.asarray(state.coef).T,
            "intercept_": state.intercept,
            "n_iter_": state.epoch,
        }
        return epoch.call_on_fit_task_end(**self._told, reconstruction_attributes=fitted) or stops

    def end(self) -> None:
        """The estimator is fitted."""
        self._fit.call_on_fit_task_end(**self._told, reconstruction_attributes={})
