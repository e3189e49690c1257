"""plan(): what it foretells is what then happens."""

import dataclasses
import re

import numpy as np
import pytest
from compare import fit_anyway

import fastgd
from fastgd._descent.outlook import MOST_EPOCHS, _epochs, _Modes

GOLDEN = """\
Plan for 4 samples of 1 feature, method="gd"
------------------------------------------------------------------------------
learning_rate                                   0.166667                "auto"
largest that is stable                          0.333333
condition number of the Hessian                        1                     1
epochs to tol=1e-10                                    1                     1
reads, strategy="stream"                               3                     4
bytes of them                                      192 B                 256 B
reads, strategy="moments"                1, costing {cost:.3g}       1, costing {cost:.3g}
bytes of it                                         64 B                  64 B
strategy="auto" would be                         moments               moments"""


def data(kind):
    rng = np.random.default_rng(8)
    X = rng.standard_normal((400, 4))
    options = {}
    if kind == "scaled":
        X = X * [1, 2, 4, 8] + [0, 1, -1, 0]
    elif kind == "correlated":
        X[:, 3] = X[:, 0] + 0.2 * X[:, 3]
    elif kind == "no intercept":
        X, options = X + 1, {"fit_intercept": False}
    elif kind == "weighted":
        options = {"sample_weight": rng.uniform(0.1, 3.0, 400)}
    elif kind == "singular":
        X[:, 3] = X[:, 0]
    elif kind == "wide":
        X = rng.standard_normal((400, 60)) @ np.diag(np.linspace(1, 3, 60))
    y = X @ np.ones(X.shape[1]) + 2 + rng.standard_normal(400)
    if kind == "line":
        X = X[:, 0] * 3 + 1
    return X, y, options


KINDS = [
    "plain",
    "scaled",
    "correlated",
    "no intercept",
    "weighted",
    "singular",
    "wide",
    "line",
]


@pytest.fixture(params=KINDS)
def problem(request):
    return data(request.param)


def hessian(X, sample_weight=None, fit_intercept=True):
    A = X.reshape(len(X), -1)
    A = np.column_stack([A, np.ones(len(X))]) if fit_intercept else A
    s = np.ones(len(X)) if sample_weight is None else sample_weight
    return 2.0 * (A.T * s) @ A / s.sum()


class TestRates:
    def test_are_those_of_the_spectrum(self, problem):
        X, y, options = problem
        plan = fastgd.plan(X, y, **options)
        eigenvalues = np.linalg.eigvalsh(hessian(X, **options))
        eigenvalues = eigenvalues[eigenvalues > 1e-12]
        least, largest = eigenvalues[[0, -1]]
        assert plan.largest_stable_learning_rate == pytest.approx(2 / largest, rel=1e-10)
        assert plan.best_learning_rate == pytest.approx(2 / (largest + least), rel=1e-10)
        assert plan.condition_number == pytest.approx(largest / least, rel=1e-10)

    def test_condition_of_standardised_columns(self):
        X, y, _ = data("scaled")
        correlation = np.linalg.eigvalsh(np.corrcoef(X, rowvar=False))
        expected = max(correlation[-1], 1.0) / min(correlation[0], 1.0)
        plan = fastgd.plan(X, y)
        assert plan.standardised_condition_number == pytest.approx(expected, rel=1e-10)
        assert plan.standardised_condition_number < plan.condition_number

    @pytest.mark.filterwarnings("ignore::fastgd.CollinearityWarning")
    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    def test_the_largest_that_is_stable_is(self, problem, reduction):
        X, y, options = problem
        options = {**options, "reduction": reduction}
        rate = fastgd.plan(X, y, **options).largest_stable_learning_rate
        result = fastgd.fit(X, y, learning_rate=0.99 * rate, max_iter=100_000, **options)
        assert result.converged
        with pytest.raises(fastgd.DivergenceError):
            fastgd.fit(X, y, learning_rate=1.01 * rate, max_iter=100_000, **options)


class TestEpochs:
    @pytest.mark.filterwarnings("ignore::fastgd.CollinearityWarning")
    @pytest.mark.parametrize("tol", [1e-4, 1e-10])
    def test_are_what_a_fit_takes(self, problem, tol):
        X, y, options = problem
        plan = fastgd.plan(X, y, tol=tol, **options)
        auto = fastgd.fit(X, y, method="gd", tol=tol, **options)
        assert abs(auto.n_iter - plan.epochs_auto) <= 1
        mine = fastgd.fit(X, y, tol=tol, learning_rate=plan.best_learning_rate, **options)
        assert abs(mine.n_iter - plan.epochs) <= 2

    @pytest.mark.parametrize("kind", ["plain", "scaled"])
    def test_to_the_limit_of_rounding(self, kind):
        X, _, _ = data(kind)
        y = X @ [1.0, 2.0, 3.0, 4.0]
        plan = fastgd.plan(X, y, tol=0)
        n_iter = fastgd.fit(X, y, method="gd", tol=0).n_iter
        assert 0.5 * n_iter <= plan.epochs_auto <= 2 * n_iter

    def test_are_none_at_the_minimum(self):
        plan = fastgd.plan([[1.0], [2.0]], [0.0, 0.0])
        assert plan.epochs == plan.epochs_auto == 0

    def test_of_powers_far_apart_end(self):
        x = np.linspace(1, 1e7, 50)
        plan = fastgd.plan(np.column_stack([x, x**2]), x)
        assert plan.condition_number > 1e26
        assert plan.epochs == 2**62
        assert "over 5e+18" in str(plan)
        assert plan.epochs_auto < 10_000


class TestReads:
    def test_are_what_a_streaming_fit_takes(self, problem):
        X, y, options = problem
        plan = fastgd.plan(X, y, **options)
        for reads, rate in ((plan.reads, plan.best_learning_rate), (plan.reads_auto, "auto")):
            options["learning_rate"] = rate
            said = fastgd.fit(X, y, method="gd", strategy="stream", **options).strategy
            (taken,) = map(int, re.findall(r"(\d+) reads", said))
            assert abs(taken - reads) <= 3

    @pytest.mark.parametrize(
        ("n", "d", "tol"), [(200, 3, 1e-10), (900, 60, 0.5), (900, 300, 1e-10)]
    )
    def test_the_strategy_is_the_one_that_fit_takes(self, n, d, tol):
        rng = np.random.default_rng(3)
        X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
        for max_iter in (3, 1000):
            plan = fastgd.plan(X, y, tol=tol, max_iter=max_iter)
            mine = fit_anyway(
                X, y, tol=tol, max_iter=max_iter, learning_rate=plan.best_learning_rate
            )
            assert mine.strategy.split(":")[0] == plan.strategy
        auto = fastgd.fit(X, y, method="gd", tol=tol)
        assert auto.strategy.split(":")[0] == plan.strategy_auto

    @pytest.mark.parametrize("weighted", [False, True])
    def test_bytes_are_those_of_the_arrays(self, dtype, weighted):
        X, y = np.eye(6, 2, dtype=dtype), np.arange(6, dtype=dtype)
        weight = np.ones(6, dtype) if weighted else None
        plan = fastgd.plan(X, y, sample_weight=weight)
        assert plan.bytes_per_read == X.nbytes + y.nbytes + (weight.nbytes if weighted else 0)

    def test_of_moments_there_are_none(self):
        X, y, _ = data("scaled")
        plan = fastgd.plan(X, y)
        of_moments = fastgd.plan(fastgd.Moments.of(X, y))
        assert of_moments == dataclasses.replace(plan, bytes_per_read=None)
        assert "bytes" not in str(of_moments)


def test_backends_agree(backend):
    X, y, _ = data("correlated")
    ours, numba = fastgd.plan(X, y, backend=backend), fastgd.plan(X, y)
    assert ours.best_learning_rate == pytest.approx(numba.best_learning_rate, rel=1e-12)
    assert ours.epochs == numba.epochs


def test_columns_of_zeros_have_no_curvature():
    plan = fastgd.plan(np.zeros((5, 2)), np.ones(5), fit_intercept=False)
    assert plan.largest_stable_learning_rate == np.inf
    assert plan.epochs == plan.epochs_auto == 0


def test_prints_a_table():
    x = np.array([1.0, 2.0, 3.0, 10.0**0.5])
    x *= np.sqrt(12 / (x @ x))  # the mean of squares is 3
    plan = fastgd.plan(x, 2 * x + [0, 1, 0, -1], fit_intercept=False)
    assert str(plan) == repr(plan) == GOLDEN.format(cost=plan.moments_cost)


def test_cannot_be_changed():
    plan = fastgd.plan([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.tol = 1.0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"y": None}, TypeError, "y must be given"),
        ({"y": [1.0]}, ValueError, "y has 1 entries"),
        ({"tol": -1}, ValueError, "tol must be"),
        ({"max_iter": 0}, ValueError, "max_iter must be"),
        ({"fit_intercept": 1}, TypeError, "fit_intercept must be"),
        ({"reduction": "max"}, ValueError, "reduction must be"),
        ({"backend": "abacus"}, ValueError, "backend must be"),
        ({"n_threads": 0}, ValueError, "n_threads must be"),
        ({"sample_weight": [-1.0, 1.0]}, ValueError, "sample_weight must not be negative"),
        ({"y": [1.0, np.nan]}, ValueError, r"y\[1\] is nan"),
        ({"X": [1e300, -1e300]}, OverflowError, "X, y and the initial coefficients are finite"),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid:RuntimeWarning")
def test_refuses_what_it_cannot_use(options, error, message):
    with pytest.raises(error, match=message):
        fastgd.plan(**{"X": [1.0, 2.0], "y": [1.0, 2.0], **options})


def test_a_step_that_rounding_takes_beyond_the_largest_stable_one_never_arrives():
    X = np.array([[6, 65531, 65529], [65532, 65534, 6]], np.uint16)
    for y in (np.array([65535, 0], np.uint16), [1e100, 0.0], [1e150, 0.0]):
        fastgd.plan(X, y)  # two of three curvatures are rounding
    modes = _Modes(np.array([6.0, 2.0]), np.array([1e9, 1e9]), least=0.0, rounding=1e-13)
    assert _epochs(modes, (1.0 + 1e-12) / 3.0, smallest=1e-12, tol=1e-10) >= MOST_EPOCHS
    assert _epochs(modes, (1.0 - 1e-2) / 3.0, smallest=2.0, tol=1e-10) < 10_000


def test_refuses_data_beside_moments():
    moments = fastgd.Moments.of([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(TypeError, match="y must not be given where X is"):
        fastgd.plan(moments, [1.0, 2.0])
    with pytest.raises(ValueError, match="y must be 1-D, one target"):
        fastgd.plan(fastgd.Moments.of([1.0, 2.0], [[1.0, 2.0], [3.0, 4.0]]))
