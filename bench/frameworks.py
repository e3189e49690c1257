"""Adapters of the frameworks for machine learning; see `bench.peers`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

LBFGS_STEPS = 2000


def torch_lstsq() -> Callable[..., Any]:
    import torch

    def solve(X: Any, y: Any) -> Any:
        A, b = torch.from_numpy(X), torch.from_numpy(y)
        mean, b_mean = A.mean(dim=0), b.mean()
        coef = torch.linalg.lstsq(A - mean, (b - b_mean)[:, None]).solution[:, 0]
        return coef.numpy(), float(b_mean - mean @ coef)

    return solve


def torch_lbfgs() -> Callable[..., Any]:
    import torch

    return _lbfgs(torch, _mean_squared_error)


def torch_lbfgs_compiled() -> Callable[..., Any]:
    import torch

    return _lbfgs(torch, torch.compile(_mean_squared_error))


def _mean_squared_error(A: Any, b: Any, coef: Any, intercept: Any) -> Any:
    return ((A @ coef + intercept - b) ** 2).mean()


def _lbfgs(torch: Any, loss_of: Callable[..., Any]) -> Callable[..., Any]:
    def solve(X: Any, y: Any, tol: float) -> Any:
        A, b = torch.from_numpy(X), torch.from_numpy(y)
        coef = torch.zeros(A.shape[1], requires_grad=True)
        intercept = torch.zeros((), requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [coef, intercept],
            max_iter=LBFGS_STEPS,
            tolerance_grad=tol,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Any:
            optimizer.zero_grad()
            loss = loss_of(A, b, coef, intercept)
            loss.backward()
            return loss

        optimizer.step(closure)
        return coef.detach().numpy(), float(intercept)

    return solve


def jax_normal() -> Callable[..., Any]:
    import jax
    import jax.numpy as jnp
    import numpy as np

    jax.config.update("jax_enable_x64", True)

    @jax.jit
    def fit(X: Any, y: Any) -> Any:
        mean, y_mean = X.mean(axis=0, dtype=jnp.float64), y.mean(dtype=jnp.float64)
        A, b = X - mean, y - y_mean
        coef = jnp.linalg.solve(A.T @ A, A.T @ b)
        return coef, y_mean - mean @ coef

    def solve(X: Any, y: Any) -> Any:
        coef, intercept = fit(X, y)
        return np.asarray(coef), float(intercept)

    return solve


def jax_cg() -> Callable[..., Any]:
    import jax
    import numpy as np
    from jax.scipy.sparse.linalg import cg

    @jax.jit
    def fit(X: Any, y: Any, tol: float) -> Any:
        mean, y_mean = X.mean(axis=0), y.mean()
        A, b = X - mean, y - y_mean
        coef, _ = cg(lambda v: (A @ v) @ A, b @ A, tol=tol, maxiter=10_000)
        return coef, y_mean - mean @ coef

    def solve(X: Any, y: Any, tol: float) -> Any:
        coef, intercept = fit(X, y, tol)
        return np.asarray(coef), float(intercept)

    return solve
