"""Moments: everything that squared error can know of the data, in d x d numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from operator import add
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd import _check
from fastgd._data.arrays import SMALL, all_finite
from fastgd._data.blocks import as_blocks
from fastgd._data.blocks import merged as merged_blocks
from fastgd._data.problem import Problem, as_problem, check_finite_sums, check_not_small
from fastgd._files import read_npz, write_npz
from fastgd._linalg.double_double import DoubleDouble
from fastgd._moments import exact as _exact
from fastgd._moments import merging
from fastgd._moments.correlation import condition_number
from fastgd._moments.exact import ExactMoments, Low
from fastgd._moments.file import arguments_of, check_whole, fields_of
from fastgd.backends import BACKENDS, MOMENTS_PRECISIONS, RawMoments, load_backend

FORMAT = "fastgd.Moments"
VERSION = 1

TOO_LARGE = (
    "their means are so far apart, or their weights so large, that sums of squares exceed the "
    "range of float64"
)


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, means and centred second moments of X and y: sufficient statistics of a linear fit.

    They are collected from one read of the data (`Moments.of`), and any number of epochs, folds
    or penalties then costs nothing that depends on the number of samples. Moments of parts are
    merged with ``+``, and taken out again with ``-``.

    Attributes
    ----------
    n_samples : int
    weight_sum : float
        Sum of the sample weights; `n_samples` if there were none.
    mean : ndarray of shape (n_features + n_targets,), float64
        Weighted means of the columns of X, then of y.
    scatter : ndarray of shape (n_features + n_targets, n_features + n_targets), float64
        ``sum(s * outer(z - mean, z - mean))`` over the samples z, X and y side by side.
    n_targets : int
    one_dimensional : bool
        X was 1-D: coefficients are scalars.
    single_target : bool
        y was 1-D: coefficients have no axis for targets.
    feature_names : tuple of str or None
        Names of the columns of X, where it was a table.
    low : tuple or None
        With ``precision="exact"``, what float64 leaves of `weight_sum`, `mean` and `scatter`, as
        three numbers or arrays of the same shapes: the exact ones are the sums, to some 30 digits.

    Notes
    -----
    Sums are float64 about a row of the data, then centred, and merged by the pairwise formula of
    Chan, Golub and LeVeque, "Algorithms for computing the sample variance", The American
    Statistician 37 (1983): large means cost no digits. The borders of the partial sums are a
    function of shape and dtype alone, so that the bits do not depend on the number of threads.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> X = np.arange(8, dtype=np.float32).reshape(4, 2) ** 2
    >>> y = X @ np.float32([1, 2]) + 3
    >>> whole = fastgd.Moments.of(X, y)
    >>> parts = fastgd.Moments.of(X[:2], y[:2]) + fastgd.Moments.of(X[2:], y[2:])
    >>> np.allclose(whole.scatter, parts.scatter)
    True
    """

    n_samples: int
    weight_sum: float
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]
    n_targets: int = 1
    one_dimensional: bool = False
    single_target: bool = True
    feature_names: tuple[str, ...] | None = None
    low: Low | None = None

    @classmethod
    def of(
        cls,
        X: ArrayLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        missing: str = "error",
        backend: str = "numba",
        precision: str = "double",
        n_threads: int | None = None,
    ) -> Moments:
        """Collect the moments of arrays, or of batches of them, in one read.

        Parameters
        ----------
        X : array_like of shape (n_samples,) or (n_samples, n_features)
            Or what yields batches ``(X, y)``, as in `fastgd.fit`.
        y : array_like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array_like of shape (n_samples,), optional
        missing, backend, n_threads
            As in `fastgd.fit`.
        precision : {"double", "single", "exact"}, default "double"
            As in `fastgd.fit`. Exact moments stay so in sums and differences with exact ones.

        Raises
        ------
        TypeError, ValueError
            If an argument cannot be used, or the data hold NaN or infinity.
        OverflowError
            If the data are finite but sums of their squares, with the weights, are not.
        """
        _check.choice("backend", backend, BACKENDS)
        _check.choice("precision", precision, MOMENTS_PRECISIONS)
        threads = _check.n_threads(n_threads)
        blocks = as_blocks(X, y, sample_weight, missing)
        if blocks is not None:
            work = partial(moments_of, backend=backend, precision=precision, n_threads=threads)
            moments: Moments = merged_blocks(blocks, work, add)
            return moments
        if y is None:
            raise TypeError("y must be given, unless X yields batches (X, y); got None")
        problem = as_problem(X, y, sample_weight, targets=True, missing=missing)
        moments = moments_of(problem, backend, precision, threads)
        small = moments.small_columns()
        if small.any():
            check_not_small(problem, small)
        return moments

    @property
    def n_features(self) -> int:
        """Number of columns of X."""
        return len(self.mean) - self.n_targets

    @property
    def targets(self) -> tuple[int, ...]:
        """(n_targets,), or () where y was 1-D."""
        return () if self.single_target else (self.n_targets,)

    @property
    def dtype(self) -> np.dtype[np.float64]:
        """The dtype of the sums."""
        return self.scatter.dtype

    def condition_number(self, fit_intercept: bool = True) -> float:
        """Largest over smallest singular value of X, in columns of equal length.

        That is about the mean, or without an intercept about 0. The relative error of
        coefficients is about so many times that of the data. Infinite where columns are sums of
        others; columns that are constant are left to the intercept.
        """
        return condition_number(self.raw, self.n_features, fit_intercept, self.exact)

    def small_columns(self) -> NDArray[np.bool_]:
        """Columns that vary so little that their squares may have underflowed."""
        return self.scatter.diagonal() <= SMALL**2 * max(self.weight_sum, 1.0)

    def explain(self) -> None:
        """Nothing: all numbers are finite."""

    def update(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Moments:
        """Moments of these data and a further batch; these are left as they are."""
        return self + Moments.of(X, y, sample_weight)

    def scaled(self, factor: float) -> Moments:
        """The same moments with all weights times `factor`, to forget by degrees.

        Raises
        ------
        TypeError, ValueError
            If `factor` is not a positive number.
        """
        f = _check.real("factor", factor, positive=True)
        least, most = np.finfo(np.float64).tiny, np.finfo(np.float64).max
        if not (least < self.weight_sum * f < most and self.scatter.max() * f < most):
            raise ValueError(f"factor={f:g} takes the sums beyond the range of float64")
        exact = self.exact
        if exact is None:
            return replace(self, weight_sum=self.weight_sum * f, scatter=self.scatter * f)
        weights, scatter = exact.weights * f, exact.scatter * f
        return self._of_exact(exact._replace(weights=weights, scatter=scatter), self.n_samples)

    def penalised(self, alpha: float) -> Moments:
        """Moments whose mean squared error is that of these plus ``alpha * sum(coef**2)``."""
        a = _check.real("alpha", alpha)
        features, exact = np.arange(self.n_features), self.exact
        diagonal = (features, features)
        if exact is not None:
            total = exact.scatter.copy()
            total.put(diagonal, total[diagonal] + exact.weights * a)
            return self._of_exact(exact._replace(scatter=total), self.n_samples)
        scatter = self.scatter.copy()
        scatter[diagonal] += a * self.weight_sum
        return replace(self, scatter=scatter)

    def __add__(self, other: Moments) -> Moments:
        """Moments of both data sets together.

        Raises
        ------
        OverflowError
            If the means are so far apart, or the weights so large, that sums of squares are not
            finite.
        """
        self.check_alike(other)
        n_samples = self.n_samples + other.n_samples
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
            if self.exact is not None and other.exact is not None:
                both = self._of_exact(_exact.merged(self.exact, other.exact), n_samples)
            else:
                both = self._of(merging.merged(self.raw, other.raw), n_samples)
        if not all_finite(both.weight_sum, both.mean, both.scatter):
            raise OverflowError(f"the moments cannot be merged: {TOO_LARGE}; rescale the data")
        return both

    def __radd__(self, other: object) -> Moments:
        """These moments, for the 0 that ``sum`` begins with."""
        return self if type(other) is int and other == 0 else NotImplemented

    def __sub__(self, other: Moments) -> Moments:
        """Moments of what is left when `other`, a part of these data, is taken out.

        Raises
        ------
        ValueError
            If nothing is left, `other` cannot have been a part, or the means are so far apart,
            or the weights so large, that sums of squares are not finite.
        """
        self.check_alike(other)
        n_left = self.n_samples - other.n_samples
        left = self.weight_sum - other.weight_sum
        if n_left <= 0 or left <= 0.0:
            raise ValueError(
                f"the difference of moments is no data: {other.n_samples} samples of weight "
                f"{other.weight_sum:g} from {self.n_samples} of weight {self.weight_sum:g}"
            )
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
            if self.exact is not None and other.exact is not None:
                rest = self._of_exact(_exact.without(self.exact, other.exact), n_left)
            else:
                rest = self._of(merging.without(self.raw, other.raw), n_left)
        if not all_finite(rest.mean, rest.scatter):
            raise ValueError(f"the moments cannot be subtracted: {TOO_LARGE}")
        variances = np.diagonal(rest.scatter)
        if (variances < -1e-8 * np.diagonal(self.scatter)).any():
            raise ValueError("the difference of moments is no data: a variance would be negative")
        np.fill_diagonal(rest.scatter, np.maximum(variances, 0.0))  # rounding
        return rest

    def __eq__(self, other: object) -> bool:
        """Whether all numbers are the same, to the last bit."""
        if not isinstance(other, Moments):
            return NotImplemented
        return (
            self._kind() == other._kind()
            and self.n_samples == other.n_samples
            and self.weight_sum == other.weight_sum
            and np.array_equal(self.mean, other.mean)
            and np.array_equal(self.scatter, other.scatter)
            and _are_same(self.low, other.low)
        )

    __hash__ = None  # type: ignore[assignment]  # equal by value, and arrays have no hash

    def __repr__(self) -> str:
        """Sizes, for people."""
        more = "" if self.weight_sum == self.n_samples else f", weight_sum={self.weight_sum:g}"
        more += "" if self.low is None else ", exact"
        return (
            f"Moments(n_samples={self.n_samples:,}, n_features={self.n_features}, "
            f"n_targets={self.n_targets}{more})"
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one .npz file, beside `path` first and then renamed.

        Raises
        ------
        OSError
            If it cannot be written; what was at `path` is then still there.
        """
        write_npz(_check.path("path", path), FORMAT, VERSION, fields_of(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Moments:
        """Read what `save` wrote. No pickle is read.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it is not a file of moments, is of a newer version, or is damaged.
        """
        fields = read_npz(_check.path("path", path), FORMAT, VERSION)
        try:
            return cls.from_fields(fields)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a whole file of moments: {error}") from None

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Moments:
        """Moments of what a file held, checked.

        Raises
        ------
        KeyError, TypeError, ValueError
            If that is not what these are.
        """
        moments = cls(**arguments_of(fields))
        check_whole(moments)
        return moments

    @property
    def exact(self) -> ExactMoments | None:
        """The numbers as double-doubles, where they were collected so."""
        if self.low is None:
            return None
        pairs = zip((self.weight_sum, self.mean, self.scatter), self.low, strict=True)
        return ExactMoments(*(DoubleDouble(np.asarray(a), np.asarray(b)) for a, b in pairs))

    @property
    def raw(self) -> RawMoments:
        """The numbers alone, in float64."""
        return RawMoments(self.weight_sum, self.mean, self.scatter)

    def _of(self, raw: RawMoments, n_samples: int, low: Low | None = None) -> Moments:
        """Moments of the same columns."""
        return replace(
            self,
            n_samples=n_samples,
            weight_sum=raw.weights,
            mean=raw.mean,
            scatter=raw.scatter,
            low=low,
        )

    def _of_exact(self, exact: ExactMoments, n_samples: int) -> Moments:
        return self._of(exact.rounded, n_samples, exact.low)

    def _kind(self) -> tuple[int, int, bool, bool]:
        return self.n_features, self.n_targets, self.one_dimensional, self.single_target

    def check_alike(self, other: Moments) -> None:
        """Raise unless `other` are moments of the same columns."""
        if not isinstance(other, Moments):
            raise TypeError(f"moments combine with moments, not with {type(other).__name__}")
        if self._kind() != other._kind():
            raise ValueError(
                f"moments must be of the same columns: {self.n_features} features and "
                f"{self.n_targets} targets (1-D X: {self.one_dimensional}, 1-D y: "
                f"{self.single_target}) against {other.n_features} and {other.n_targets} "
                f"({other.one_dimensional}, {other.single_target})"
            )
        mine, others = self.feature_names, other.feature_names
        if mine is not None and others is not None and mine != others:
            shown = f"{', '.join(mine)} against {', '.join(others)}"
            raise ValueError(f"moments must be of the same columns: {shown}")


def _are_same(low: Low | None, other: Low | None) -> bool:
    if low is None or other is None:
        return low is other
    pairs = zip(low, other, strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)


def moments_of(problem: Problem, backend: str, precision: str, n_threads: int | None) -> Moments:
    """Moments of a checked problem."""
    module = load_backend(backend)
    low = None
    if precision == "exact":
        with np.errstate(over="ignore", invalid="ignore"):
            exact = _exact.centred(module.exact_products(problem, n_threads))
        raw, low = exact.rounded, exact.low
    else:
        raw = module.moments(problem, n_threads, precision)
    check_finite_sums(problem, raw.scatter)  # a mean that is not finite shows in it, too
    return Moments(
        n_samples=problem.n_samples,
        weight_sum=raw.weights,
        mean=raw.mean,
        scatter=raw.scatter,
        n_targets=len(raw.mean) - problem.n_features,
        one_dimensional=problem.one_dimensional,
        single_target=problem.y.ndim == 1,
        feature_names=problem.feature_names,
        low=low,
    )
