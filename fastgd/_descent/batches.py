"""Mini-batches: an epoch as many steps, each down the gradient of a block of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from fastgd._data.problem import Problem
from fastgd._descent.loop import Params
from fastgd._objective import Objective, Point
from fastgd._schedule import Schedule
from fastgd._settings import Settings
from fastgd.backends import load_backend
from fastgd.methods import Method, Prox


class Batches:
    """Sweeps over blocks of neighbouring rows, in an order that is shuffled anew each epoch.

    Rows of a batch lie side by side, so that memory is read in runs; where their order means
    something (time, say), shuffle the rows themselves beforehand.
    """

    def __init__(
        self,
        problem: Problem,
        objective: Objective,
        method: Method,
        schedule: Schedule,
        prox: Prox,
        settings: Settings,
    ) -> None:
        assert settings.batch_size is not None
        self._problem, self._objective, self._settings = problem, objective, settings
        self._method, self._schedule, self._prox = method, schedule, prox
        self._size = settings.batch_size
        self._n_batches = -(-problem.n_samples // self._size)
        self._rng = np.random.default_rng(settings.random_state)

    def __call__(self, epoch: int, point: Point, state: Any) -> tuple[Params, Any]:
        """One sweep from `point`."""
        self._schedule.start_epoch(epoch)
        params, total, n_steps = point.params, np.zeros_like(point.params), 0
        for batch in self._in_order():
            gradient = self._gradient(batch, params)
            if gradient is None:
                continue
            rate = self._schedule.next()
            params, state = self._method.step(gradient, state, params, rate, self._prox)
            total += params
            n_steps += 1
        return total / n_steps if self._settings.average else params, state

    def _in_order(self) -> Iterator[Problem]:
        order = np.arange(self._n_batches)
        if self._settings.shuffle:
            self._rng.shuffle(order)
        for index in order.tolist():
            yield self._problem.rows(slice(index * self._size, (index + 1) * self._size))

    def _gradient(self, batch: Problem, params: Params) -> Params | None:
        """None for a batch without weight."""
        if batch.sample_weight is not None and not batch.sample_weight.any():
            return None
        settings = self._settings
        backend = load_backend(settings.backend)
        with backend.open_pass(batch, settings.n_threads, None, settings.precision) as read:
            return replace(self._objective, read=read)(params).gradient
