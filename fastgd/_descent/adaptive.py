"""learning_rate="adaptive": what is done where the loss does not fall."""

from __future__ import annotations

from typing import Any

from fastgd._descent.loop import Advance, Params, Watch
from fastgd._descent.step import Plan
from fastgd._objective import Point
from fastgd._results.result import StopReason
from fastgd._settings import Settings

# Epochs without a better loss, by default.
PATIENCE = 5


class Adaptive:
    """Goes back to the best point, at rest, where the loss has not fallen for some epochs.

    Momentum swings past the minimum with steps that are short enough: only where nothing was gained
    since the descent was last set to rest, and always without momentum, are steps shortened.

    References
    ----------
    B. O'Donoghue, E. Candes, "Adaptive restart for accelerated gradient schemes", Foundations of
    Computational Mathematics 15 (2015), 715-732: the function scheme.
    """

    def __init__(self, plan: Plan, start: Point, settings: Settings) -> None:
        self._plan, self._tol = plan, settings.tol
        self._patience = settings.n_iter_no_change or PATIENCE
        self._swings = len(plan.method.init(start.params, plan.tuning)) > 0  # it has a state
        self._waited, self._gained, self._returns = 0, False, False
        self._before = start.loss
        self.best = start

    def after(self, watch: Watch) -> Watch:
        """`watch`, told the loss that the step began at, and then a look at the loss."""
        return lambda epoch, point, _: watch(epoch, point, self._before) or self._judge(point)

    def before(self, advance: Advance) -> Advance:
        """`advance`, from the best point where it is time for that."""

        def resume(epoch: int, point: Point, state: Any) -> tuple[Params, Any]:
            if self._returns:
                self._returns = False
                point = self.best
                state = self._plan.method.init(point.params, self._plan.tuning)
            self._before = point.loss
            return advance(epoch, point, state)

        return resume

    def _judge(self, point: Point) -> StopReason | None:
        """Count the epochs since the best; a reason to stop where steps cannot be shorter."""
        if point.loss < self.best.loss:
            self.best, self._waited, self._gained = point, 0, True
            return None
        self._waited += 1
        if self._waited < self._patience:
            return None
        self._waited, self._returns = 0, True
        if self._swings and self._gained:
            self._gained = False
            return None
        if self._plan.schedule.slow_down() or self._tol == 0.0:
            return None
        return StopReason.LEAST_RATE
