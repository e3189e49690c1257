"""Rows held out, to judge a fit by."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fastgd._data.problem import Problem
from fastgd._moments.coordinates import Coordinates
from fastgd._settings import Settings
from fastgd.backends import load_backend

# Rows are held out in blocks of neighbours: so many in all, or single rows where there are fewer.
BLOCKS = 1000

Validate = Callable[[NDArray[np.float64]], float]


def hold_out(
    problem: Problem, settings: Settings
) -> tuple[Problem, Callable[[Coordinates], Validate]]:
    """The problem without some of its rows, and what tells the loss on those.

    X stays where it is: the rows are given no weight, in a vector of weights for each part.
    """
    n = problem.n_samples
    n_blocks = min(n, BLOCKS)
    rng = np.random.default_rng(settings.random_state)
    fraction = settings.validation_fraction or 0.0
    n_held = min(max(round(fraction * n_blocks), 1), n_blocks - 1)
    held = np.zeros(n_blocks, bool)
    held[rng.permutation(n_blocks)[:n_held]] = True
    block_of_row = (np.arange(n) * n_blocks) // n
    weight = problem.sample_weight
    if weight is None:
        weight = np.ones(n, problem.dtype)
    out = held[block_of_row]
    training, validation = (np.where(out == part, weight, weight.dtype.type(0)) for part in (0, 1))
    if not training.any() or not validation.any():
        raise ValueError(
            f"validation_fraction={fraction:g} leaves no weight to the rows that are held out, or "
            "to the others"
        )
    test = problem._replace(sample_weight=validation)

    def validator(coordinates: Coordinates) -> Validate:
        def validate(params: NDArray[np.float64]) -> float:
            backend = load_backend(settings.backend)
            with backend.open_pass(test, settings.n_threads, None, settings.precision) as read:
                sums = read(*coordinates.from_params(params))
            return sums.squares / sums.weights

        return validate

    return problem._replace(sample_weight=training), validator
