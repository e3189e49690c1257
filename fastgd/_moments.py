"""Moments: everything that squared error can know of the data, in d x d numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd import _check
from fastgd._blocks import as_blocks, merged
from fastgd._files import read_npz, write_npz
from fastgd._problem import Problem, as_problem, check_finite_sums
from fastgd._settings import check_n_threads
from fastgd.backends import BACKENDS, PRECISIONS, load_backend

FORMAT = "fastgd.Moments"
VERSION = 1


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
        missing, backend, precision, n_threads
            As in `fastgd.fit`.

        Raises
        ------
        TypeError, ValueError
            If an argument cannot be used, or the data hold NaN or infinity.
        OverflowError
            If the data are finite but their squares are not.
        """
        _check.choice("backend", backend, BACKENDS)
        _check.choice("precision", precision, PRECISIONS)
        threads = check_n_threads(n_threads)
        blocks = as_blocks(X, y, sample_weight, missing)
        if blocks is not None:
            work = partial(moments_of, backend=backend, precision=precision, n_threads=threads)
            moments: Moments = merged(blocks, work, add)
            return moments
        if y is None:
            raise TypeError("y must be given, unless X yields batches (X, y); got None")
        problem = as_problem(X, y, sample_weight, targets=True, missing=missing)
        return moments_of(problem, backend, precision, threads)

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
        return replace(self, weight_sum=self.weight_sum * f, scatter=self.scatter * f)

    def penalised(self, alpha: float) -> Moments:
        """Moments whose mean squared error is that of these plus ``alpha * sum(coef**2)``."""
        a = _check.real("alpha", alpha)
        scatter = self.scatter.copy()
        features = np.arange(self.n_features)
        scatter[features, features] += a * self.weight_sum
        return replace(self, scatter=scatter)

    def __add__(self, other: Moments) -> Moments:
        """Moments of both data sets together."""
        self._check_alike(other)
        total = self.weight_sum + other.weight_sum
        shift = other.mean - self.mean
        between = np.outer(shift, shift) * (self.weight_sum * other.weight_sum / total)
        return replace(
            self,
            n_samples=self.n_samples + other.n_samples,
            weight_sum=total,
            mean=self.mean + shift * (other.weight_sum / total),
            scatter=self.scatter + other.scatter + between,
        )

    def __sub__(self, other: Moments) -> Moments:
        """Moments of what is left when `other`, a part of these data, is taken out.

        Raises
        ------
        ValueError
            If nothing is left, or `other` cannot have been a part.
        """
        self._check_alike(other)
        n_left = self.n_samples - other.n_samples
        left = self.weight_sum - other.weight_sum
        if n_left <= 0 or left <= 0.0:
            raise ValueError(
                f"the difference of moments is no data: {other.n_samples} samples of weight "
                f"{other.weight_sum:g} from {self.n_samples} of weight {self.weight_sum:g}"
            )
        mean = self.mean + (self.mean - other.mean) * (other.weight_sum / left)
        shift = other.mean - mean
        between = np.outer(shift, shift) * (left * other.weight_sum / self.weight_sum)
        scatter = self.scatter - other.scatter - between
        spread = np.diagonal(self.scatter)
        if (np.diagonal(scatter) < -1e-8 * spread).any():
            raise ValueError("the difference of moments is no data: a variance would be negative")
        np.fill_diagonal(scatter, np.maximum(np.diagonal(scatter), 0.0))  # rounding
        return replace(self, n_samples=n_left, weight_sum=left, mean=mean, scatter=scatter)

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
        )

    __hash__ = None  # type: ignore[assignment]  # equal by value, and arrays have no hash

    def __repr__(self) -> str:
        """Sizes, for people."""
        weights = "" if self.weight_sum == self.n_samples else f", weight_sum={self.weight_sum:g}"
        return (
            f"Moments(n_samples={self.n_samples:,}, n_features={self.n_features}, "
            f"n_targets={self.n_targets}{weights})"
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one .npz file, beside `path` first and then renamed.

        Raises
        ------
        OSError
            If it cannot be written; what was at `path` is then still there.
        """
        write_npz(Path(path), FORMAT, VERSION, self.to_fields())

    def to_fields(self) -> dict[str, Any]:
        """What a file of moments holds."""
        fields = {
            "n_samples": np.int64(self.n_samples),
            "weight_sum": np.float64(self.weight_sum),
            "mean": self.mean,
            "scatter": self.scatter,
            "n_targets": np.int64(self.n_targets),
            "one_dimensional": np.bool_(self.one_dimensional),
            "single_target": np.bool_(self.single_target),
        }
        if self.feature_names is not None:
            fields["feature_names"] = np.array(self.feature_names)
        return fields

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
        fields = read_npz(Path(path), FORMAT, VERSION)
        try:
            return cls.from_fields(fields)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a whole file of moments: {error}") from None

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Moments:
        """Moments of what `to_fields` gave, checked.

        Raises
        ------
        KeyError, TypeError, ValueError
            If that is not what these are.
        """
        names = fields.get("feature_names")  # not in files of earlier releases
        moments = cls(
            n_samples=int(fields["n_samples"]),
            weight_sum=float(fields["weight_sum"]),
            mean=fields["mean"],
            scatter=fields["scatter"],
            n_targets=int(fields["n_targets"]),
            one_dimensional=bool(fields["one_dimensional"]),
            single_target=bool(fields["single_target"]),
            feature_names=tuple(names.tolist()) if names is not None else None,
        )
        moments._check_whole()
        return moments

    def _kind(self) -> tuple[int, int, bool, bool]:
        return self.n_features, self.n_targets, self.one_dimensional, self.single_target

    def _check_alike(self, other: Moments) -> None:
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

    def _check_whole(self) -> None:
        n_columns = self.mean.size
        if self.mean.shape != (n_columns,) or self.scatter.shape != (n_columns, n_columns):
            raise ValueError(f"shapes {self.mean.shape} and {self.scatter.shape} do not match")
        if self.mean.dtype != np.float64 or self.scatter.dtype != np.float64:
            raise ValueError("means and scatter must be float64")
        names = self.feature_names
        if names is not None and (len(names) != self.n_features or not _are_strings(names)):
            raise ValueError("the names of features are not those of the columns")
        if self.n_samples < 1 or not 1 <= self.n_targets < n_columns:
            raise ValueError(f"{self.n_samples} samples and {self.n_targets} targets cannot be")
        if (self.one_dimensional and self.n_features != 1) or (
            self.single_target and self.n_targets != 1
        ):
            raise ValueError("the number of columns is not that of 1-D arrays")
        finite = np.isfinite(self.weight_sum) and np.isfinite(self.mean).all()
        if not (finite and np.isfinite(self.scatter).all() and self.weight_sum > 0.0):
            raise ValueError("it holds NaN, infinity or no weight")
        if (np.diagonal(self.scatter) < 0.0).any() or not np.array_equal(
            self.scatter, self.scatter.T
        ):
            raise ValueError("the scatter is not one of data")


def _are_strings(values: tuple[object, ...]) -> bool:
    return all(isinstance(value, str) for value in values)


def moments_of(problem: Problem, backend: str, precision: str, n_threads: int | None) -> Moments:
    """Moments of a checked problem."""
    raw = load_backend(backend).moments(problem, n_threads, precision)
    check_finite_sums(problem, raw.weights, raw.mean, raw.scatter)
    return Moments(
        n_samples=problem.n_samples,
        weight_sum=raw.weights,
        mean=raw.mean,
        scatter=raw.scatter,
        n_targets=len(raw.mean) - problem.n_features,
        one_dimensional=problem.one_dimensional,
        single_target=problem.y.ndim == 1,
        feature_names=problem.feature_names,
    )
