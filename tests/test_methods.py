"""The registry of methods, and every method on a problem whose answer is known."""

import re

import numpy as np
import pytest

from fastgd.methods import METHODS, gd, load_method

RATE = 0.25


@pytest.mark.parametrize("name", METHODS)
class TestEveryMethod:
    def test_offers_the_two_functions(self, name):
        method = load_method(name)
        assert callable(method.init)
        assert callable(method.step)

    def test_is_a_module_of_its_own_name(self, name):
        assert re.fullmatch(r"[a-z_0-9]+", name)
        assert METHODS[name] == f"fastgd.methods.{name}"

    def test_is_pure(self, name):
        method = load_method(name)
        params, gradient = np.array([1.0, -2.0]), np.array([0.5, 4.0])
        state = method.init(params, RATE)
        first, _ = method.step(gradient, state, params)
        second, _ = method.step(gradient, state, params)
        assert np.array_equal(first, second)
        assert params.tolist() == [1.0, -2.0]
        assert gradient.tolist() == [0.5, 4.0]
        assert not np.shares_memory(first, params)

    def test_keeps_its_state_in_a_named_tuple(self, name):
        state = load_method(name).init(np.zeros(2), RATE)
        assert isinstance(state, tuple)
        assert state._fields

    def test_finds_the_minimum_of_a_bowl(self, name):
        method = load_method(name)
        params = np.array([3.0, -1.0])
        state = method.init(params, RATE)
        for _ in range(300):
            params, state = method.step(np.array([2.0, 0.5]) * (params - 1.0), state, params)
        assert params == pytest.approx([1.0, 1.0], abs=1e-6)


def test_gradient_descent_by_hand():
    params = np.array([1.0, -2.0])
    state = gd.init(params, RATE)
    params, state = gd.step(np.array([4.0, -8.0]), state, params)
    assert params.tolist() == [0.0, 0.0]
    params, _ = gd.step(np.array([1.0, 0.0]), state, params)
    assert params.tolist() == [-0.25, 0.0]


def test_an_unregistered_name_is_no_method():
    with pytest.raises(KeyError):
        load_method("by guessing")
