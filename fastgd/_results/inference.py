"""What moments say of a fit besides its coefficients: R^2, standard errors, t values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastgd._data.arrays import check_one_target
from fastgd._moments.coordinates import CONSTANT, literal
from fastgd._moments.design import ROUNDING, design_root, scaled
from fastgd._moments.moments import Moments
from fastgd._moments.quadratic import Quadratic, quadratic_of
from fastgd._penalty import Penalty
from fastgd._results.student import f_upper_tail, t_quantile, two_sided
from fastgd._results.table import coefficient_table, header, short

if TYPE_CHECKING:
    from fastgd._results.result import FitResult

LEVEL = 0.95

ROOM = 22  # for the name of y

# Residuals below this part of the target's squares have few digits left.
_FEW_DIGITS = 1e-12


@dataclass(frozen=True, eq=False, repr=False)
class Inference:
    """Statistics of a fit by least squares; printed, a table. `FitResult.summary` makes them.

    Arrays have one entry a parameter, in the order of `names`: the intercept first, if there is
    one. The definitions are those of statsmodels' OLS and, where there were sample weights, WLS.

    Attributes
    ----------
    names : tuple of str
        "const" and the names of the features; "x1", "x2" and so on where they have none.
    coef : ndarray of shape (n_params,)
    standard_errors : ndarray of shape (n_params,)
        NaN for parameters that the data do not determine.
    t_values, p_values : ndarray of shape (n_params,)
        Two-sided, by Student's t with `df_residual` degrees of freedom.
    confidence_intervals : ndarray of shape (n_params, 2)
        Of 95 %.
    r_squared, adjusted_r_squared : float
        About the weighted mean of y, or about 0 if `is_uncentred`.
    is_uncentred : bool
        The model has no constant: neither an intercept nor a constant column.
    residual_variance : float
        ``sum(s * residual**2) / df_residual``.
    f_value, f_p_value : float
        Of the model against the constant, or against 0 if `is_uncentred`.
    condition_number : float
        Largest over smallest singular value of the design: the columns of X as they are and the
        column of ones, each row times the root of its weight. Infinite if its rank is not full.
    n_samples, df_model, df_residual : int
        `df_residual` is `n_samples` less the rank of the design. Samples of weight 0 count.
    notes : tuple of str
        Sentences on what limits the numbers.
    target : str
        How the table calls y.
    """

    names: tuple[str, ...]
    coef: NDArray[np.float64]
    standard_errors: NDArray[np.float64]
    t_values: NDArray[np.float64]
    p_values: NDArray[np.float64]
    confidence_intervals: NDArray[np.float64]
    r_squared: float
    adjusted_r_squared: float
    is_uncentred: bool
    residual_variance: float
    f_value: float
    f_p_value: float
    condition_number: float
    n_samples: int
    df_model: int
    df_residual: int
    method: str
    n_iter: int
    stop_reason: str
    notes: tuple[str, ...]
    target: str = "y"

    def __repr__(self) -> str:
        """The table."""
        kind = " (uncentered)" if self.is_uncentred else ""
        target = self.target if len(self.target) <= ROOM else f"{self.target[: ROOM - 3]}..."
        pairs = [
            ("Dep. Variable:", target, f"R-squared{kind}:", f"{self.r_squared:.3f}"),
            ("Method:", self.method, f"Adj. R-squared{kind}:", f"{self.adjusted_r_squared:.3f}"),
            ("No. Observations:", str(self.n_samples), "F-statistic:", f"{self.f_value:.4g}"),
            ("Df Residuals:", str(self.df_residual), "Prob (F):", f"{self.f_p_value:.3g}"),
            ("Df Model:", str(self.df_model), "Residual Variance:", short(self.residual_variance)),
            ("Epochs:", str(self.n_iter), "Cond. No.:", f"{self.condition_number:.3g}"),
        ]
        values = np.column_stack(
            [
                self.coef,
                self.standard_errors,
                self.t_values,
                self.p_values,
                self.confidence_intervals,
            ]
        )
        table = coefficient_table(self.names, values)
        end = [f"Stopped: {self.stop_reason}.", *(f"Note: {note}." for note in self.notes)]
        return "\n".join([*header("Least squares by gradient descent", pairs), *table, *end])


def infer(result: FitResult, given: Moments | None, *, fit_intercept: bool) -> Inference:
    """Statistics of `result` as a fit to the data that the moments are of."""
    moments = _moments_for(result, given)
    quadratic = quadratic_of(moments)
    root = design_root(quadratic, literal(moments.n_features, fit_intercept))
    root = np.roll(root, 1, axis=1) if fit_intercept else root
    clear = fit_intercept and quadratic.inverse.is_clear and not _constant(moments).any()
    variances, rank = _clear_variances(quadratic) if clear else _unit_variances(root)

    names, coef = _parameters(result, fit_intercept)
    squares = quadratic.sums(coef[-moments.n_features :], result.intercept).squares
    if given is not None:
        _check_loss(result, given, squares)
    uncentred = not (fit_intercept or _has_constant(moments))
    df_residual = moments.n_samples - rank
    variance = squares / df_residual if df_residual > 0 else math.nan
    errors = np.sqrt(variance * variances)
    with np.errstate(divide="ignore", invalid="ignore"):  # of residuals that are all 0
        t_values = coef / errors
    reach = t_quantile(1.0 - LEVEL, df_residual) * errors
    total = _total_squares(moments, uncentred)
    df_model = rank - (not uncentred)
    f_value = _ratio(_ratio(total - squares, df_model), variance)
    r_squared = 1.0 - squares / total if total > 0.0 else math.nan
    spread = _ratio(moments.n_samples - (not uncentred), df_residual)
    return Inference(
        names=names,
        coef=coef,
        standard_errors=errors,
        t_values=t_values,
        p_values=np.array([two_sided(t, df_residual) for t in t_values.tolist()]),
        confidence_intervals=np.column_stack([coef - reach, coef + reach]),
        r_squared=r_squared,
        adjusted_r_squared=1.0 - (1.0 - r_squared) * spread,
        is_uncentred=uncentred,
        residual_variance=variance,
        f_value=f_value,
        f_p_value=f_upper_tail(f_value, df_model, df_residual),
        condition_number=_condition(root, rank),
        n_samples=moments.n_samples,
        df_model=df_model,
        df_residual=df_residual,
        method=result.method,
        n_iter=result.n_iter,
        stop_reason=str(result.stop_reason),
        notes=tuple(_notes(result, moments, rank, len(coef), squares <= _FEW_DIGITS * total)),
    )


def _moments_for(result: FitResult, given: Moments | None) -> Moments:
    """The moments that were given, or else those of the fit."""
    if given is not None and not isinstance(given, Moments):
        raise TypeError(f"moments must be fastgd.Moments; got {type(given).__name__}")
    moments = result.moments if given is None else given
    if moments is None:
        raise ValueError(
            "the fit streamed the data and has no moments of them: fit with "
            'strategy="moments", or give summary(fastgd.Moments.of(X, y, sample_weight))'
        )
    scalar = not isinstance(result.coef, np.ndarray)
    check_one_target("moments must be of one target, from 1-D y", moments.targets)
    if moments.one_dimensional != scalar or moments.n_features != np.size(result.coef):
        raise ValueError(
            f"moments must be of the {'1-D X' if scalar else f'{np.size(result.coef)} features'} "
            f"of the fit; got {'1-D X' if moments.one_dimensional else f'{moments.n_features}'}"
        )
    return moments


def _check_loss(result: FitResult, given: Moments, squares: float) -> None:
    """Raise if the loss is far from that of the fit: the moments are of other data.

    Not near it: rows may have been held out, and where columns are close to sums of each other
    moments are not as exact as a descent.
    """
    found = squares / given.weight_sum
    of_fit = result.loss - Penalty(result.alpha, result.l1_ratio).value(np.asarray(result.coef))
    rounding = _FEW_DIGITS**0.5 * _total_squares(given, True) / given.weight_sum
    if abs(found - of_fit) > max(found, of_fit) / 2.0 + rounding:
        raise ValueError(
            "moments must be of the data of the fit: on theirs the mean squared error of its "
            f"coefficients is {found:.6g}, and that of the fit was {of_fit:.6g}"
        )


def _parameters(
    result: FitResult, fit_intercept: bool
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    coef = np.atleast_1d(np.asarray(result.coef, np.float64))
    names = result.feature_names or tuple(f"x{j + 1}" for j in range(len(coef)))
    if not fit_intercept:
        return names, coef
    return ("const", *names), np.append(result.intercept, coef)


def _clear_variances(quadratic: Quadratic) -> tuple[NDArray[np.float64], int]:
    """As `_unit_variances`, where no column is close to a sum of others or a constant; for bits."""
    solve, mean = quadratic.inverse.solve, quadratic.mean
    constant = 1.0 / quadratic.weights + float(mean @ solve(mean))
    variances = np.append(constant, np.diagonal(solve(np.eye(len(mean)))))
    return variances, len(variances)


def _unit_variances(root: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """The diagonal of ``inv(root' root)``, NaN where it is not determined; and the rank."""
    length, singular, rows = decomposed = scaled(root)
    rank = decomposed.rank
    variances = (singular[:rank] ** -2.0 @ rows[:rank] ** 2) / length**2
    undetermined = np.linalg.norm(rows[rank:], axis=0) > np.sqrt(ROUNDING)
    return np.where(undetermined, math.nan, variances), rank


def _condition(root: NDArray[np.float64], rank: int) -> float:
    if rank < root.shape[1]:
        return math.inf
    singular = np.linalg.svd(root, compute_uv=False)
    return _ratio(float(singular[0]), float(singular[-1]))


def _has_constant(moments: Moments) -> bool:
    """Whether a column of X is constant and not 0."""
    return bool((_constant(moments) & (moments.mean[: moments.n_features] != 0.0)).any())


def _constant(moments: Moments) -> NDArray[np.bool_]:
    """Columns of X that are constant to rounding."""
    d = moments.n_features
    deviation = np.sqrt(np.diagonal(moments.scatter)[:d] / moments.weight_sum)
    return np.asarray(deviation <= CONSTANT * np.abs(moments.mean[:d]))


def _total_squares(moments: Moments, uncentred: bool) -> float:
    """The weighted sum of squares of y, about its mean or about 0."""
    d = moments.n_features
    total = float(moments.scatter[d, d])
    return total + moments.weight_sum * float(moments.mean[d]) ** 2 if uncentred else total


def _ratio(numerator: float, denominator: float) -> float:
    if denominator != 0.0:
        return numerator / denominator
    return math.inf if numerator > 0.0 else math.nan


def _notes(result: FitResult, moments: Moments, rank: int, n_params: int, exact: bool) -> list[str]:
    notes = []
    if not result.converged:
        notes.append("the fit did not converge: standard errors are those of least squares")
    if result.alpha > 0.0:
        notes.append(
            f"coefficients are shrunk by the penalty alpha={result.alpha:g}: standard errors, t "
            "and p are those of least squares, without the penalty, and test nothing here"
        )
    elif math.isnan(result.alpha):
        notes.append("whether there was a penalty is not known; t and p are for fits without one")
    if rank < n_params:
        notes.append(
            f"the design has rank {rank} of {n_params} to the rounding of moments: parameters "
            "without a standard error are not determined by the data"
        )
    if moments.n_samples <= rank:
        notes.append("there are no more samples than parameters: no degrees of freedom are left")
    elif exact:
        notes.append("the residuals are close to rounding, and so are the standard errors")
    if moments.weight_sum != moments.n_samples:
        notes.append("weights count as inverse variances, up to a factor, not as repetitions")
    return notes
