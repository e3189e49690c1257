"""The registry of methods, each by hand, and every method on every problem."""

import re
import warnings

import numpy as np
import pytest
from compare import fit_anyway
from naive import evaluate, least_squares
from problems import PROBLEMS, bowl

from fastgd import CollinearityWarning, ConvergenceWarning, fit
from fastgd._linalg.spectrum import Curvature
from fastgd.methods import METHODS, Tuning, cg, gd, load_method

BOWL = np.array([2.0, 0.5])  # curvatures
CONSTANTS = load_method("gd").tune(Curvature(0.5, 2.0), 1.0)


def as_it_is(params, rate):
    return params


def tuned(name):
    return load_method(name).tune(Curvature(0.5, 2.0), 3.0)


@pytest.mark.parametrize("name", METHODS)
class TestEveryMethod:
    def test_is_a_module_of_its_own_name(self, name):
        assert re.fullmatch(r"[a-z_0-9]+", name)
        assert METHODS[name] == f"fastgd.methods.{name}"
        method = load_method(name)
        assert isinstance(method.PROXIMAL, bool)
        assert isinstance(method.BATCHES, bool)
        assert isinstance(method.MOMENTUM, bool)

    def test_is_pure(self, name):
        method, tuning = load_method(name), tuned(name)
        params, gradient = np.array([1.0, -2.0]), np.array([0.5, 4.0])
        state = method.init(params, tuning)
        first, _ = method.step(gradient, state, params, tuning.rate, as_it_is)
        second, _ = method.step(gradient, state, params, tuning.rate, as_it_is)
        assert np.array_equal(first, second)
        assert params.tolist() == [1.0, -2.0]
        assert gradient.tolist() == [0.5, 4.0]
        assert not np.shares_memory(first, params)

    def test_keeps_its_state_in_a_named_tuple(self, name):
        assert isinstance(load_method(name).init(np.zeros(2), tuned(name)), tuple)

    def test_finds_the_minimum_of_a_bowl(self, name):
        method, tuning = load_method(name), tuned(name)
        params = np.array([3.0, -1.0])
        state = method.init(params, tuning)
        for _ in range(400):
            gradient = BOWL * (params - 1.0)
            params, state = method.step(gradient, state, params, tuning.rate, as_it_is)
        assert params == pytest.approx([1.0, 1.0], abs=1e-3 if name == "adam" else 1e-6)

    def test_has_constants_where_nothing_curves(self, name):
        tuning = load_method(name).tune(Curvature(0.0, 0.0), 0.0)
        assert tuning.rate > 0.0
        assert 0.0 <= tuning.momentum < 1.0


def test_gradient_descent_by_hand():
    params = np.array([1.0, -2.0])
    state = gd.init(params, Tuning(0.25))
    params, state = gd.step(np.array([4.0, -8.0]), state, params, 0.25, as_it_is)
    assert params.tolist() == [0.0, 0.0]
    params, _ = gd.step(np.array([1.0, 0.0]), state, params, 0.25, as_it_is)
    assert params.tolist() == [-0.25, 0.0]


def test_conjugate_gradients_take_a_step_an_eigenvalue():
    params = np.array([3.0, -1.0])
    state = cg.init(params, Tuning(0.1))
    for _ in range(4):  # the trial points are one step behind the minima
        params, state = cg.step(BOWL * (params - 1.0), state, params, 0.0, as_it_is)
    assert state.origin == pytest.approx([1.0, 1.0], abs=1e-12)
    assert state.smallest == pytest.approx(0.5, rel=1e-6)


def test_conjugate_gradients_with_the_inverse_take_one():
    tuning = Tuning(1.0, precondition=lambda gradient: gradient / BOWL)
    params = np.array([3.0, -1.0])
    state = cg.init(params, tuning)
    params, _ = cg.step(BOWL * (params - 1.0), state, params, 0.0, as_it_is)
    assert params == pytest.approx([1.0, 1.0], rel=1e-14)


def momentum_by_the_book(gradient, w, rate, steps, nesterov):
    """As PyTorch's SGD documents it."""
    velocity = 0
    for _ in range(steps):
        g = gradient(w)
        velocity = 0.9 * velocity + g
        w = w - rate * (g + 0.9 * velocity if nesterov else velocity)
        yield w


def adam_by_the_book(gradient, w, rate, steps):
    """Algorithm 1 of Kingma and Ba."""
    m = v = 0
    for t in range(1, steps + 1):
        g = gradient(w)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        yield w


BY_THE_BOOK = {
    "momentum": lambda *args: momentum_by_the_book(*args, False),
    "nesterov": lambda *args: momentum_by_the_book(*args, True),
    "adam": adam_by_the_book,
}
RATES = {"momentum": 0.02, "nesterov": 0.02, "adam": 0.1}


@pytest.mark.parametrize("strategy", ["stream", "moments"])
@pytest.mark.parametrize("name", BY_THE_BOOK)
def test_fifty_steps_are_those_of_the_book(name, backend, strategy):
    X, y = bowl(100.0)

    def gradient(w):
        return evaluate(X, y, w).gradient

    path = list(BY_THE_BOOK[name](gradient, np.zeros(6, np.longdouble), RATES[name], 50))
    for n_steps in (1, 2, 3, 50):
        result = fit_anyway(
            X,
            y,
            method=name,
            learning_rate=RATES[name],
            fit_intercept=False,
            max_iter=n_steps,
            tol=0,
            strategy=strategy,
            backend=backend,
        )
        assert result.method == name
        assert result.coef == pytest.approx(path[n_steps - 1].astype(float), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gd", {}),
        ("momentum", {"momentum": 0.9}),
        ("nesterov", {"momentum": 0.9, "nesterov": True}),
        ("adam", {}),
    ],
)
def test_fifty_steps_are_those_of_pytorch(name, options):
    torch = pytest.importorskip("torch")
    X, y = bowl(100.0)
    w = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    kind = torch.optim.Adam if name == "adam" else torch.optim.SGD
    rate = RATES.get(name, 0.1)
    optimizer = kind([w], lr=rate, **options)
    for _ in range(50):
        optimizer.zero_grad()
        torch.mean((torch.from_numpy(X) @ w - torch.from_numpy(y)) ** 2).backward()
        optimizer.step()
    result = fit_anyway(
        X, y, method=name, learning_rate=rate, fit_intercept=False, max_iter=50, tol=0
    )
    assert result.coef == pytest.approx(w.detach().numpy(), rel=1e-9)


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("method", ["auto", *METHODS])
class TestOnEveryProblem:
    def test_is_right_or_says_so(self, method, problem, backend, strategy):
        X, y = PROBLEMS[problem]()
        if method == "sgd" and strategy == "moments":
            pytest.skip("batches are streamed")
        options = {"method": method, "strategy": strategy, "backend": backend}
        if method not in ("auto", "cg"):
            options["max_iter"] = 300
        if method == "sgd":
            options |= {"batch_size": 30, "random_state": 0, "max_iter": 30}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = fit(X, y, **options)
        kinds = {w.category for w in caught}
        assert kinds <= {ConvergenceWarning, CollinearityWarning}
        assert result.converged == (ConvergenceWarning not in kinds)
        assert np.isfinite([result.loss, result.intercept, result.grad_norm]).all()
        assert np.isfinite(result.coef).all()
        assert np.isfinite(result.loss_history).all()
        least = float(evaluate(X, y, *least_squares(X, y)).mse)
        loss = float(evaluate(X, y, result.coef, result.intercept).mse)
        if result.converged:
            assert loss <= least * (1 + 1e-6) + 1e-14 * np.mean(y**2)
        if method in ("auto", "cg"):
            assert result.converged
            assert result.method == "cg"
            assert result.n_iter <= (60 if strategy == "stream" else 3)


@pytest.mark.filterwarnings("ignore::fastgd.CollinearityWarning")
def test_the_shortest_answer_where_there_are_many(backend):
    X, y = PROBLEMS["collinear"]()
    coef, _ = least_squares(X, y)
    result = fit(X, y, strategy="moments", backend=backend)
    assert result.coef == pytest.approx(coef, abs=1e-6)


def test_an_unregistered_name_is_no_method():
    with pytest.raises(KeyError):
        load_method("by guessing")
