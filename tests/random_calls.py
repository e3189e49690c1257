"""Hypothesis strategies for calls of the library, right and wrong alike.

Hypothesis draws what a call is like and a seed; NumPy makes the values from the seed, so that a
failing call prints short. Numbers of features are few, since code is compiled for each.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from strategies import COPIED_1D, IN_PLACE_1D, memory_mapped, read_only, unaligned

FLOATS = ("f4", "f8", ">f4", "f2", "g")
NUMBERS = (*FLOATS, "i1", "i4", ">i8", "u2", "u8", "?")
OTHERS = ("O", "c8", "U3", "S3", "M8[D]", "m8[s]", "V4")
SIZES = (0, 1, 2, 3, 5, 9, 17, 40, 130)
# In the default run, widths that kernels have been compiled for by other tests.
WIDTHS = (0, 1, 3, 17) if "FASTGD_FUZZ" in os.environ else (0, 1, 3)

# Compiling is what takes time there.
BACKENDS = ("numba", "numpy") if "FASTGD_FUZZ" in os.environ else ("numba", *["numpy"] * 5)


def plain(rng, shape):
    return rng.standard_normal(shape) + 1.0


def whole(rng, shape):
    return rng.integers(-9, 10, shape).astype(float)


def constant(rng, shape):
    return np.full(shape, rng.choice([0.0, 1.0, -3.0, 0.1]))


def one_of(value):
    def make(rng, shape):
        values = np.array(plain(rng, shape))
        if values.size:
            values.flat[rng.integers(values.size)] = value
        return values

    return make


def of_scales(low, high):
    return lambda rng, shape: plain(rng, shape) * 10.0 ** rng.integers(low, high, shape)


def duplicated(rng, shape):
    values = plain(rng, shape)
    return values * 0 + values[..., :1] if values.ndim == 2 else values


TAME = {"plain": plain, "whole": whole, "duplicated": duplicated, "constant": constant}
WILD = {
    "NaN": one_of(np.nan),
    "inf": one_of(np.inf),
    "-inf": one_of(-np.inf),
    "largest": one_of(np.finfo(float).max),
    "tiny": of_scales(-320, -300),
    "small": of_scales(-30, -20),
    "large": of_scales(20, 30),
    "huge": of_scales(150, 300),
    "mixed": of_scales(-30, 30),
}


def as_list(values):
    return values.tolist()


def broadcast(values):
    return np.broadcast_to(values, values.shape)


def every_other(values):
    return np.repeat(values, 2, axis=0)[::2]


def reversed_(values):
    return np.ascontiguousarray(values[::-1])[::-1]


LAYOUTS = (np.ascontiguousarray, np.asfortranarray, read_only, broadcast, every_other, reversed_)
LAYOUTS += (as_list,)
FLAT_LAYOUTS = tuple({*IN_PLACE_1D, *COPIED_1D} - {memory_mapped, unaligned})

# Mostly what is accepted; all that is not must be refused by name.
OPTIONS: dict[str, tuple[Any, ...]] = {
    "fit_intercept": (True, False, None),
    "method": ("auto", "gd", "momentum", "nesterov", "adam", "cg", "sgd", "newton"),
    "learning_rate": ("auto", 1e-3, 0.3, 1e9, "constant", "adaptive", -1.0, np.nan, 10**400),
    "alpha": (0.0, 0.1, 1e30, -1, "1"),
    "l1_ratio": (0.0, 0.5, 1.0, 2.0),
    "max_iter": (1, 3, 50, 0, 1.5),
    "tol": (1e-10, 1e-3, 0, np.inf),
    "n_iter_no_change": (None, 2, 0),
    "validation_fraction": (None, 0.3, 1.0),
    "batch_size": (None, 1, 7, 1000, -1),
    "shuffle": (True, False, 3),
    "average": (False, True),
    "random_state": (0, None, -5),
    "reduction": ("mean", "sum", "max"),
    "strategy": ("auto", "stream", "moments", 0),
    "precision": ("double", "single", "half"),
    "n_threads": (None, 1, 3, 0),
    "missing": ("error", "drop", "fill"),
}
TAKES = {
    "fit": tuple(OPTIONS),
    "mse_and_gradient": ("reduction", "precision", "n_threads"),
    "Moments.of": ("missing", "precision", "n_threads"),
    "cross_validate": ("alpha", "fit_intercept", "shuffle", "n_threads", "missing"),
    "plan": ("fit_intercept", "tol", "max_iter", "reduction", "n_threads", "missing"),
}


@dataclass(frozen=True)
class Call:
    """A function of the library by name, and what it is called with."""

    function: str
    X: Any = field(repr=False)
    y: Any = field(repr=False)
    options: dict[str, Any]
    kinds: tuple[str, ...]
    told: str

    @property
    def arrays(self) -> list[Any]:
        """All data that are given."""
        return [self.X, self.y, self.options.get("sample_weight")]

    @property
    def is_tame(self) -> bool:
        """Numbers whose squares are neither lost nor infinite."""
        return all(kind in TAME for kind in self.kinds)


def _cast(values, dtype):
    if dtype == "O":
        return values.astype(object)
    with np.errstate(all="ignore"):
        if np.dtype(dtype).kind in "iu?Mm":
            return np.nan_to_num(values).astype("i8").astype(dtype)
        return np.zeros(values.shape, dtype) if dtype == "V4" else values.astype(dtype)


@st.composite
def calls(draw, *, functions=tuple(TAKES), odd=0.2) -> Call:
    """A call; a part `odd` of its properties are such as are refused, or at the edge of it."""

    def is_odd():
        return draw(st.integers(0, 99)) < 100 * odd

    def pick(usual, unusual):
        return draw(st.sampled_from(tuple(unusual) if is_odd() else tuple(usual)))

    function = draw(st.sampled_from(functions))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, d = pick(SIZES[2:], SIZES), pick(WIDTHS[1:], WIDTHS)
    shape = pick([(n,), (n, d)], [(), (n, d, 2), (d, n)])
    kinds = (pick(TAME, WILD), pick(TAME, WILD))
    dtypes = (pick(NUMBERS, OTHERS), pick(NUMBERS, OTHERS))
    y_shape = pick([(n,)], [(n, 2), (n, 1), (n + 1,), ()])
    everything = {**TAME, **WILD}
    X, y = (
        _cast(np.asarray(everything[kind](rng, of)), dtype)
        for kind, of, dtype in zip(kinds, (shape, y_shape), dtypes, strict=True)
    )
    layout = draw(st.sampled_from(LAYOUTS if X.ndim else (np.asarray, as_list)))
    flat = draw(st.sampled_from(FLAT_LAYOUTS)) if y.ndim == 1 and dtypes[1] in FLOATS else read_only
    options = {
        name: pick(OPTIONS[name][:-1], OPTIONS[name])
        for name in TAKES[function]
        if draw(st.integers(0, 3)) == 0
    }
    if "batch_size" in options and function == "fit":  # 40 steps an epoch: up to half a minute
        options.setdefault("max_iter", 50)
    options["backend"] = pick(BACKENDS, ("numba", "abacus"))
    if function == "cross_validate":
        options["cv"] = pick((2, 3), (0, 50))
    elif draw(st.booleans()):
        kind = pick(("positive",), ("zero", "negative", "NaN", "too few", "decades"))
        options["sample_weight"] = _weights(rng, n, kind)
    elif function == "mse_and_gradient":
        options["sample_weight"] = None
    if function == "mse_and_gradient":
        columns = shape[1:] if len(shape) == 2 else ()
        options["coef"] = rng.standard_normal(columns) if not is_odd() else [1.0, 2.0]
        options["intercept"] = float(rng.standard_normal())
    told = f"X {shape} {dtypes[0]} {layout.__name__}, y {y_shape} {dtypes[1]} {flat.__name__}"
    return Call(function, layout(X), flat(y), options, kinds, told)


def _weights(rng, n, kind):
    weights = rng.uniform(0.1, 3.0, n)
    if kind == "too few":
        return weights[1:]
    if kind == "decades":
        return 10.0 ** rng.uniform(-6, 6, n)
    if n and kind != "positive":
        weights[rng.integers(n)] = {"zero": 0.0, "negative": -1.0, "NaN": np.nan}[kind]
    return weights
