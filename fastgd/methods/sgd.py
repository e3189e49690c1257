"""Stochastic gradient descent: plain steps down the gradients of batches."""

from __future__ import annotations

from fastgd.methods import Spectrum, Tuning
from fastgd.methods.gd import BATCHES, MOMENTUM, PROXIMAL, State, init, step

__all__ = ["BATCHES", "MOMENTUM", "PROXIMAL", "State", "init", "step", "tune"]


def tune(curvature: Spectrum, size: float) -> Tuning:
    """``1 / (2 L)``: a batch may curve more than all the data do."""
    return Tuning(0.5 / curvature.largest if curvature.largest > 0 else 1.0)
