"""The only place that checks, casts and orients arrays.

Everything behind it takes a `Problem` on trust.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd import _check
from fastgd._data.arrays import (
    SMALL,
    Floats,
    all_finite,
    as_column,
    as_features,
    as_targets,
    check_weights,
    is_in_place,
)
from fastgd._data.missing import BLOCK, CHOICES, complete_rows
from fastgd.sources import as_table


class Described(Protocol):
    """What the rows of some data have in common."""

    @property
    def n_features(self) -> int: ...

    @property
    def one_dimensional(self) -> bool: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def targets(self) -> tuple[int, ...]: ...

    @property
    def feature_names(self) -> tuple[str, ...] | None: ...


class Source(Described, Protocol):
    """What a descent asks of its data, arrays, blocks or moments."""

    @property
    def n_samples(self) -> int: ...

    def explain(self) -> None:
        """Raise a ValueError that says where they hold NaN or infinity, if they do."""
        ...


def as_given(coef: NDArray[np.float64], source: Source) -> float | NDArray[np.float64]:
    """Coefficients in the shape of the user's X: without an axis of features if it was 1-D."""
    if not source.one_dimensional:
        return coef
    return coef[0] if source.targets else float(coef[0])


class Problem(NamedTuple):
    """Checked data of one least-squares problem; the arrays are the caller's wherever possible.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
        float32 or float64, native and aligned. Either every row or every column is contiguous.
    y : ndarray of shape (n_samples,) or, where asked for, (n_samples, n_targets)
        Contiguous. float64 if X is; otherwise float32 or float64, as it was given.
    sample_weight : ndarray of shape (n_samples,) or None
        Contiguous, of X's dtype, finite, not negative, with a positive sum.
    one_dimensional : bool
        X was given as 1-D: coefficients go in and out as scalars.
    feature_names : tuple of str or None
        Where X was a table whose columns all have names.
    """

    X: Floats
    y: Floats
    sample_weight: Floats | None
    one_dimensional: bool
    feature_names: tuple[str, ...] | None = None

    @property
    def n_samples(self) -> int:
        return int(self.X.shape[0])

    @property
    def n_features(self) -> int:
        return int(self.X.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of X."""
        return self.X.dtype

    @property
    def targets(self) -> tuple[int, ...]:
        """(n_targets,), or () where y is 1-D."""
        return self.y.shape[1:]

    def explain(self) -> None:
        """Raise a ValueError that says where X or y holds NaN or infinity, if one does."""
        explain_non_finite(self)

    def rows(self, rows: slice) -> Problem:
        """The same problem on some of the rows."""
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        return self._replace(X=self.X[rows], y=self.y[rows], sample_weight=weight)


def as_problem(
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    targets: bool = False,
    missing: str = "error",
) -> Problem:
    """Check `X`, `y` and `sample_weight`; copy only what cannot be used where it lies.

    float32 and float64 arrays are used in place if each row or each column of X is contiguous
    (C or F order, slices of rows and of columns, read-only and memory-mapped arrays). Everything
    else is copied once: float16 to float32, other numbers to float64. Tables of other libraries
    become arrays with contiguous columns. With `targets`, y may be 2-D (n_samples, n_targets).

    ``missing="drop"`` leaves out rows with a NaN, in a copy if there are any. Otherwise NaN, and
    in any case infinity, are not looked for in X and y here: the first pass over the data finds
    them in its sums, and `explain_non_finite` then says where they are.
    """
    _check.choice("missing", missing, CHOICES)
    table = as_table(X)
    features = as_features(X if table is None else table)
    n_samples = len(features)
    target = as_targets(y, n_samples) if targets else as_column("y", y, n_samples)
    weight = None
    if sample_weight is not None:
        weight = as_column("sample_weight", sample_weight, n_samples)
    if missing == "drop":
        rows = complete_rows(features, target, weight)
        features, target = features[rows], target[rows]
        weight = None if weight is None else weight[rows]

    one_dimensional = features.ndim == 1
    if one_dimensional:
        features = features[:, np.newaxis]
    if not is_in_place(features):
        features = np.ascontiguousarray(features)
    if features.dtype == np.float64:
        target = target.astype(np.float64, copy=False)
    if weight is not None:
        with np.errstate(over="ignore"):  # what overflows is refused just below
            weight = np.ascontiguousarray(weight, features.dtype)
        check_weights(weight)
    if target.ndim == 1 or not is_in_place(target):
        target = np.ascontiguousarray(target)
    names = None if table is None else table.names
    return Problem(features, target, weight, one_dimensional, names)


def explain_non_finite(problem: Problem, *, may_drop: bool = True) -> None:
    """Raise a ValueError that names the argument which holds NaN or infinity, if one does.

    `may_drop` says that the caller's function has the option ``missing="drop"``.
    """
    for name, array in (("X", problem.X), ("y", problem.y)):
        for start in range(0, len(array), BLOCK):
            finite = np.isfinite(array[start : start + BLOCK])
            if not finite.all():
                row, *column = (int(i) for i in np.argwhere(~finite)[0])
                value = array[start : start + BLOCK][~finite][0]
                where = _place(problem, name, start + row, column)
                told = f"{name} must be finite; {where} is {value}"
                if may_drop and np.isnan(value):
                    told += '; missing="drop" leaves such rows out'
                raise ValueError(told)


def _place(problem: Problem, name: str, row: int, column: list[int]) -> str:
    if name == "X" and problem.feature_names is not None:
        return f"column {problem.feature_names[column[0]]!r} in row {row}"
    if name == "X" and problem.one_dimensional:
        column = []
    return f"{name}[{', '.join(map(str, [row, *column]))}]"


def check_finite_sums(source: Source, *sums: float | NDArray[np.float64]) -> None:
    """Raise if what was summed over the data is not finite, and say why."""
    if not all_finite(*sums):
        source.explain()
        raise OverflowError(
            "X, y and the initial coefficients are finite, but so large that sums of their squares "
            f"are not: they exceed the range of {source.dtype}; rescale the data"
        )


def check_not_small(problem: Problem, columns: NDArray[np.bool_]) -> None:
    """Raise if these columns, of X and then of y, hold numbers whose squares underflow.

    Columns of zeros, and of one number that is large enough, are what they seem.
    """
    d = problem.n_features
    targets = problem.y.reshape(problem.n_samples, -1)
    for j in np.flatnonzero(columns).tolist():
        name, values = ("X", problem.X[:, j]) if j < d else ("y", targets[:, j - d])
        if values.dtype == np.float32:
            continue  # its least number has a square in float64
        for start in range(0, len(values), BLOCK):
            size = np.abs(values[start : start + BLOCK])
            if ((size > 0.0) & (size < SMALL)).any():
                where = f"X[:, {j}]" if name == "X" else "y"
                raise ValueError(
                    f"{where} is so small that squares of its numbers underflow (below "
                    f"{SMALL:g}): multiply it by a power of two, such as 2.0**600"
                )


def as_prediction_buffer(
    prediction: object, problem: Problem, X: object, y: object, sample_weight: object
) -> Floats:
    """Check a buffer for predictions, against the inputs as the caller gave them."""
    wanted = f"a writable, contiguous {problem.X.dtype} array of shape ({problem.n_samples},)"
    if not isinstance(prediction, np.ndarray):
        raise TypeError(f"prediction must be {wanted}; got {type(prediction).__name__}")
    if prediction.dtype != problem.X.dtype or prediction.shape != (problem.n_samples,):
        raise ValueError(
            f"prediction must be {wanted}; got dtype {prediction.dtype}, shape {prediction.shape}"
        )
    flags = prediction.flags
    if not (flags.writeable and flags.c_contiguous and flags.aligned):
        raise ValueError(f"prediction must be {wanted}; it is read-only, strided or unaligned")
    inputs = (
        *(("X", X), ("y", y), ("sample_weight", sample_weight)),
        *(("X", problem.X), ("y", problem.y), ("sample_weight", problem.sample_weight)),
    )
    for name, array in inputs:
        if isinstance(array, np.ndarray) and np.may_share_memory(prediction, array):
            raise ValueError(f"prediction must not share memory with {name}")
    return prediction
