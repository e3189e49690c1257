"""Fused kernels: prediction, squared error and gradient of a block while it is in cache."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(nogil=True, fastmath={"reassoc", "contract"})
def rows(X, y, weight, prediction, w, b, products):
    n, d = X.shape
    squares = residuals = weights = 0.0
    for i in range(n):
        x = X[i]
        p = b
        for j in range(d):
            p += x[j] * w[j]
        if prediction is not None:
            prediction[i] = p
        r = p - y[i]
        sr = r
        if weight is not None:
            sr = r * weight[i]
            weights += weight[i]
        squares += np.float64(sr) * r
        residuals += sr
        for j in range(d):
            products[j] += sr * x[j]
    if weight is None:
        weights = float(n)
    return squares, residuals, weights


@numba.njit(nogil=True, fastmath={"reassoc", "contract"})
def columns(XT, y, weight, prediction, w, b, products):
    d, n = XT.shape
    squares = residuals = weights = 0.0
    block = 1024
    scratch = np.empty(block, XT.dtype)
    for start in range(0, n, block):
        stop = min(start + block, n)
        r = scratch[: stop - start]
        r[:] = b
        for j in range(d):
            x = XT[j, start:stop]
            for i in range(r.shape[0]):
                r[i] += x[i] * w[j]
        if prediction is not None:
            prediction[start:stop] = r
        ys = y[start:stop]
        for i in range(r.shape[0]):
            e = r[i] - ys[i]
            se = e
            if weight is not None:
                se = e * weight[start + i]
                weights += weight[start + i]
            squares += np.float64(se) * e
            residuals += se
            r[i] = se
        for j in range(d):
            x = XT[j, start:stop]
            g = np.float64(0.0)
            for i in range(r.shape[0]):
                g += r[i] * x[i]
            products[j] += g
    if weight is None:
        weights = float(n)
    return squares, residuals, weights
