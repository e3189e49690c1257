"""Gradient descent on moments, compiled: `fastgd._descent.loop` where an epoch costs d^2.

It follows the same rules as the loop in Python, which stays the reference (and serves the numpy
backend): the tests hold them together epoch by epoch.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numba import types

from fastgd.backends import Replay
from fastgd.backends.numba._compile import compiled

MAX_ITER, CONVERGED, DIVERGED, MAYBE, PAUSED = 0, 1, 2, 3, 4

# Sums in the order in which they are written. Where they may be reordered, LLVM makes two forms of
# a loop and asks how far apart its arrays lie which to run: the bits would depend on addresses.
STRICT: frozenset[str] = frozenset()

# Operations after which the loop comes back to Python, so that an interrupt waits no longer than
# some hundredths of a second.
OPERATIONS = 20_000_000


def replay_gd(quadratic, change, rule, limits, params, before, gradient, losses, first):
    """Epochs from `first` on, in place, until one of the codes above; it and the epoch go last.

    `losses` has room for ``max_iter + 1``; `before` holds the gradient of the epoch before, and
    `gradient` that of `params`. ``losses[-1]`` of a full run is the loss at `params`.
    """
    scatter, minimum, mean, least, target_mean, weights = quadratic
    center, inverse_scale, spread, far, apart, fit_intercept, factor = change
    rate, tol, curvature, gradient_scale, stop_rounding, growth_rounding = rule
    max_iter, growing_epochs, growth, runs_on = limits
    d = mean.shape[0]
    coef, away, slope = np.empty(d), np.empty(d), np.empty(d)
    last_params, last_gradient = params.copy(), gradient.copy()
    pause = first + max(1, OPERATIONS // (d * d + 1))
    for epoch in range(first, max_iter + 1):
        # The loss and the gradient at params, as Quadratic.sums and Coordinates.gradient have it.
        offset = 0.0
        residual = -target_mean
        for j in range(d):
            coef[j] = params[j] * inverse_scale[j]
            offset += coef[j] * center[j]
            residual += coef[j] * mean[j]
            away[j] = coef[j] - minimum[j]
            slope[j] = 0.0
        intercept = params[d] - offset if fit_intercept else 0.0
        residual += intercept
        for i in range(d):
            for j in range(d):
                slope[j] += away[i] * scatter[i, j]
        total = weights * residual
        squares = least + total * residual
        for j in range(d):
            squares += slope[j] * away[j]
        loss = squares / weights
        by_intercept = factor * total
        norm, terms = 0.0, loss * far + apart * intercept * intercept
        for i in range(d):
            product = slope[i] + total * mean[i]
            gradient[i] = (factor * product - by_intercept * center[i]) * inverse_scale[i]
            norm += gradient[i] * gradient[i]
            terms += coef[i] * coef[i] * spread[i]
        if fit_intercept:
            gradient[d] = by_intercept
            norm += by_intercept * by_intercept
        losses[epoch] = loss

        if not np.isfinite(loss) or not np.isfinite(norm):
            params[:], gradient[:] = last_params, last_gradient
            return DIVERGED, epoch - 1
        grown = epoch >= growing_epochs and loss > growth * losses[epoch - growing_epochs]
        if grown:
            for k in range(growing_epochs):
                grown = grown and losses[epoch - k] > losses[epoch - k - 1]
        if grown and loss > growth_rounding * terms:
            return DIVERGED, epoch

        allowed = tol * loss
        before_norm = 0.0
        for i in range(before.shape[0]):
            before_norm += before[i] * before[i]
        if runs_on:
            measured = 0.0
            if before_norm > 0.0:
                measured = (1.0 - np.sqrt(norm / before_norm)) / rate
            bound = loss
            if norm == 0.0:
                bound = 0.0
            elif measured > 0.0:
                bound = min(loss, norm / (2.0 * measured * gradient_scale))
            noise = norm * rate / (4.0 * gradient_scale) <= stop_rounding * loss
            if bound < allowed or (allowed > 0.0 and noise):
                if np.isnan(curvature):
                    return MAYBE, epoch
                bound = loss if curvature <= 0.0 else norm / (2.0 * curvature * gradient_scale)
                if min(loss, bound) < allowed:
                    return CONVERGED, epoch
        else:
            bound = loss if curvature <= 0.0 else norm / (2.0 * curvature * gradient_scale)
            if norm == 0.0 or min(loss, bound) <= max(allowed, stop_rounding * terms):
                return CONVERGED, epoch

        if epoch == max_iter:
            break
        if epoch == pause:
            return PAUSED, epoch
        last_params[:], last_gradient[:] = params, gradient
        before[:] = gradient
        for i in range(params.shape[0]):
            params[i] -= rate * gradient[i]
    if losses[max_iter] > growth * losses[0] and losses[max_iter] > growth_rounding * terms:
        return DIVERGED, max_iter
    return MAX_ITER, max_iter


def _signature() -> Any:
    real, flag, index = types.float64, types.boolean, types.int64
    vector, matrix = types.Array(real, 1, "C"), types.Array(real, 2, "C")
    quadratic = types.Tuple((matrix, vector, vector, real, real, real))
    change = types.Tuple((vector, vector, vector, real, real, flag, real))
    rule = types.UniTuple(real, 6)
    limits = types.Tuple((index, index, real, flag))
    result = types.UniTuple(index, 2)
    return result(quadratic, change, rule, limits, vector, vector, vector, vector, index)


def load_replay() -> Replay:
    """The compiled loop."""
    replay: Replay = cast(Any, compiled(replay_gd, (), _signature, STRICT))
    return replay
