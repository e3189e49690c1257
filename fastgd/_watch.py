"""What is done after each epoch besides stepping: report, ask, hold out, stop early."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastgd._data.problem import Source, as_given
from fastgd._moments.coordinates import Coordinates
from fastgd._objective import Point
from fastgd._results.result import StopReason
from fastgd._settings import Settings


class EpochState(NamedTuple):
    """What a callback is given after each epoch.

    Attributes
    ----------
    epoch : int
        From 1.
    coef, intercept
        After the epoch's step, as in `FitResult`.
    loss : float
        At `coef` and `intercept`.
    validation_loss : float or None
        Mean squared error on the rows held out, if there are any.
    """

    epoch: int
    coef: float | NDArray[np.float64]
    intercept: float | NDArray[np.float64]
    loss: float
    validation_loss: float | None


class Watch(Protocol):
    """Looks at an epoch: at its number, the point after its step and the loss before it."""

    def __call__(self, epoch: int, point: Point, before: float) -> StopReason | None:
        """A reason to stop, or None."""
        ...


class Watches:
    """All that `settings` ask to be done after each epoch; `best` is set by validation."""

    def __init__(
        self,
        coordinates: Coordinates,
        source: Source,
        settings: Settings,
        validate: Callable[[NDArray[np.float64]], float] | None,
    ) -> None:
        self._coordinates, self._source, self._settings = coordinates, source, settings
        self._validate = validate
        self._least, self._waited = math.inf, 0
        self.best: Point | None = None

    def __call__(self, epoch: int, point: Point, before: float) -> StopReason | None:
        settings = self._settings
        if settings.verbose > 0:
            print(self._line(epoch, point.params, before), flush=True)
        validation = None if self._validate is None else self._validate(point.params)
        if settings.callback is not None and settings.callback(
            self._state(epoch, point, validation)
        ):
            return StopReason.CALLBACK
        return self._without_change(point, point.loss if validation is None else validation)

    def _without_change(self, point: Point, loss: float) -> StopReason | None:
        """Remember the least loss; count the epochs that do not improve on it by `tol`."""
        improved = loss < self._least - self._settings.tol * abs(loss)
        if loss < self._least:
            self._least = loss
            self.best = point if self._validate is not None else None
        self._waited = 0 if improved else self._waited + 1
        patience = self._settings.n_iter_no_change
        if patience is None or self._waited < patience:
            return None
        # What shortens the steps there stops when they cannot be shorter.
        is_adaptive = self._settings.learning_rate == "adaptive" and self._validate is None
        return None if is_adaptive else StopReason.NO_CHANGE

    def _state(self, epoch: int, point: Point, validation: float | None) -> EpochState:
        coef, intercept = self._coordinates.from_params(point.params)
        return EpochState(epoch, as_given(coef, self._source), intercept, point.loss, validation)

    def _line(self, epoch: int, params: NDArray[np.float64], loss: float) -> str:
        """Coefficients after the step, loss before it."""
        coef, intercept = self._coordinates.from_params(params)
        line = f"Epoch: {epoch}/{self._settings.max_iter}, weights: "
        if self._source.one_dimensional and not self._source.targets:
            line += f"{coef[0]:.3f}"
        else:
            line += _text(coef)
        if self._settings.fit_intercept:
            line += f", intercept: {_text(np.asarray(intercept))}"
        return f"{line}, loss: {loss:.3f}"


def _text(values: NDArray[np.float64]) -> str:
    return np.array2string(
        values, separator=", ", threshold=6, formatter={"float_kind": "{:.3f}".format}
    )


def _bar(wanted: bool | None, **options: Any) -> Any:
    """A bar of tqdm on stderr; None where nobody looks, or it is not installed."""
    if wanted is False or (wanted is None and not sys.stderr.isatty()):
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        if wanted:
            raise ImportError("progress=True needs tqdm: pip install 'fastgd[progress]'") from None
        return None
    return tqdm(delay=0.0 if wanted else 1.0, leave=False, **options)


class RowsBar:
    """A bar of the rows of one read of blocks, with their rate, if it takes over a second."""

    def __init__(self, wanted: bool | None, n_rows: int | None) -> None:
        self._bar = _bar(wanted, total=n_rows, unit="row", unit_scale=True)

    def __enter__(self) -> RowsBar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, n_rows: int) -> None:
        """So many more rows were read."""
        if self._bar is not None:
            self._bar.update(n_rows)


class Progress:
    """A progress bar on stderr, for fits over a second, where tqdm is installed."""

    def __init__(self, settings: Settings) -> None:
        self._bar = _bar(settings.progress, total=settings.max_iter, unit="epoch")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def after(self, watch: Watch) -> Watch:
        """`watch`, and then the bar."""
        if self._bar is None:
            return watch

        def both(epoch: int, point: Point, before: float) -> StopReason | None:
            reason = watch(epoch, point, before)
            self._bar.set_postfix(loss=f"{point.loss:.6g}", refresh=False)
            self._bar.update(1)
            return reason

        return both
