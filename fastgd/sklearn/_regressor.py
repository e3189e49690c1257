"""The estimator of a fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import MultiOutputMixin

from fastgd import _check
from fastgd._errors import warning_class
from fastgd._fit import fit
from fastgd._moments.moments import Moments
from fastgd._results.result import FitResult
from fastgd._settings import CHECKS
from fastgd._watch import EpochState
from fastgd.sklearn._base import ConvergenceWarning, LinearRegressor, validate
from fastgd.sklearn._callbacks import (
    CallbackSupportMixin,
    FitTasks,
    has_callbacks,
    with_callbacks,
)


class GDRegressor(CallbackSupportMixin, MultiOutputMixin, LinearRegressor):  # type: ignore[misc]
    """A linear model by gradient descent, as an estimator.

    Parameters
    ----------
    fit_intercept, method, learning_rate, eta0, power_t, momentum, alpha, l1_ratio, max_iter, tol, \
n_iter_no_change, validation_fraction, batch_size, shuffle, average, reduction, strategy, \
backend, precision, n_threads, callback, verbose, progress
        As in `fastgd.fit`.
    random_state : int, numpy.random.Generator, numpy.random.RandomState, optional
        Fixes what is drawn. By default each fit draws anew.
    warm_start : bool, default False
        Whether `fit` starts at the coefficients of the fit before.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features), float64
    intercept_ : float or ndarray of shape (n_targets,)
        0.0 if none is fitted.
    n_iter_ : int
        Epochs run.
    loss_history_ : ndarray of shape (n_iter_ + 1,)
        The loss before the first epoch and after each, summed over targets.
    converged_ : bool
        Whether the model was fitted to `tol`.
    moments_ : Moments or None
        Of all data seen, where the fit collected them.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only where X has names of columns that are all strings.

    See Also
    --------
    fastgd.fit : The same without scikit-learn; takes more kinds of arguments.

    Notes
    -----
    float32 X is used as it is, neither copied nor converted. Several targets share the reads of X.

    `alpha` and `l1_ratio` mean what they mean in ElasticNet, Lasso and SGDRegressor, whose
    ``penalty="l2"`` is ``l1_ratio=0``, and "l1" ``l1_ratio=1``. The `alpha` of Ridge is
    `n_samples` times as large.

    Where `max_iter` ends a fit, or the lowest rate of "adaptive" does, the warning is
    `fastgd.ConvergenceWarning` and scikit-learn's ConvergenceWarning at once.

    Where scikit-learn has callbacks (1.9 and newer), those given to ``set_callbacks`` see `fit` and
    each of its epochs as a task, and may stop it. Both hooks of an epoch are called at its end.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from fastgd.sklearn import GDRegressor
    >>> X = np.array([[0, 1], [1, 0], [2, 2], [3, 1], [4, 3]], dtype=np.float32)
    >>> y = X @ np.float32([2, -1]) + 1
    >>> model = make_pipeline(StandardScaler(), GDRegressor()).fit(X, y)
    >>> model.predict(X).round(3).tolist()
    [0.0, 3.0, 3.0, 6.0, 6.0]
    """

    moments_: Moments | None

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        method: str = "auto",
        learning_rate: float | str | Callable[[int], float] = "auto",
        eta0: float = 0.01,
        power_t: float = 0.25,
        momentum: float | None = None,
        alpha: float = 0.0,
        l1_ratio: float = 0.0,
        max_iter: int = 10_000,
        tol: float = 1e-10,
        n_iter_no_change: int | None = None,
        validation_fraction: float | None = None,
        batch_size: int | None = None,
        shuffle: bool = True,
        average: bool = False,
        random_state: int | np.random.Generator | np.random.RandomState | None = None,
        reduction: str = "mean",
        strategy: str = "auto",
        backend: str = "numba",
        precision: str = "auto",
        n_threads: int | None = None,
        warm_start: bool = False,
        callback: Callable[[EpochState], object] | None = None,
        verbose: int = 0,
        progress: bool | None = None,
    ) -> None:
        self.fit_intercept = fit_intercept
        self.method = method
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.momentum = momentum
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.validation_fraction = validation_fraction
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.average = average
        self.random_state = random_state
        self.reduction = reduction
        self.strategy = strategy
        self.backend = backend
        self.precision = precision
        self.n_threads = n_threads
        self.warm_start = warm_start
        self.callback = callback
        self.verbose = verbose
        self.progress = progress

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
        y : array_like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array_like of shape (n_samples,), optional

        Returns
        -------
        GDRegressor
            The estimator itself.
        """
        features, target, weight = validate(self, X, y, sample_weight, reset=True)
        start = self._start(target.shape[1:])
        fit = self._fit_with_callbacks if has_callbacks(self) else self._fit
        return fit(features, target, sample_weight=weight, **start)

    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Take in further data, and fit the model to all data seen so far.

        It is the model that `fit` finds for all of them at once, up to rounding: the moments of
        the data are kept, and the descent runs on those. Methods that need the data themselves
        (batches, rows held out) are refused.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        GDRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            If the estimator was fitted without moments, or to other columns.
        """
        is_new = not hasattr(self, "coef_")
        features, target, weight = validate(self, X, y, sample_weight, reset=is_new)
        moments = Moments.of(
            features, target, weight, backend=self.backend, n_threads=self.n_threads
        )
        if not is_new:
            if self.moments_ is None:
                raise ValueError(
                    "partial_fit after fit needs the moments of its data: "
                    'set strategy="moments" before fit'
                )
            moments = self.moments_ + moments
        return self._fit(moments, None, strategy="moments")

    def _fit(self, X: NDArray[Any] | Moments, y: NDArray[Any] | None, **more: Any) -> Self:
        options = {**self.get_params(deep=False), **more}
        del options["warm_start"]
        if isinstance(self.random_state, np.random.RandomState):
            options["random_state"] = int(self.random_state.randint(2**31))
        token = warning_class.set(ConvergenceWarning)
        try:
            return self._keep(fit(X, y, **options))
        finally:
            warning_class.reset(token)

    @with_callbacks  # type: ignore[untyped-decorator]
    def _fit_with_callbacks(
        self, X: NDArray[Any], y: NDArray[Any], sample_weight: NDArray[Any] | None, **start: Any
    ) -> Self:
        max_iter = CHECKS["max_iter"]("max_iter", self.max_iter)
        tasks = FitTasks(self, max_iter, X, y, sample_weight)
        self._fit(X, y, sample_weight=sample_weight, callback=tasks.after_epoch, **start)
        tasks.end()
        return self

    def _start(self, targets: tuple[int, ...]) -> dict[str, Any]:
        """Where to start: where the last fit ended, if it was of as many columns."""
        coef = getattr(self, "coef_", None)
        warm_start = _check.flag("warm_start", self.warm_start)
        if not warm_start or coef is None or coef.shape != (*targets, self.n_features_in_):
            return {}
        start = {"coef_init": coef.T, "intercept_init": self.intercept_}
        if not self.fit_intercept:
            del start["intercept_init"]
        return start

    def _keep(self, result: FitResult) -> Self:
        # Copies, for estimators may be changed.
        self.coef_ = np.array(result.coef).T
        intercept = result.intercept
        self.intercept_ = intercept.copy() if isinstance(intercept, np.ndarray) else intercept
        self.n_iter_ = result.n_iter
        self.loss_history_ = result.loss_history.copy()
        self.converged_ = result.converged
        self.moments_ = result.moments
        return self
