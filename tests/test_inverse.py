"""Inverses of Gram matrices: well conditioned, badly scaled, singular, and larger than a block."""

import numpy as np
import pytest

from fastgd._linalg import inverse as _inverse
from fastgd._linalg import product as _product
from fastgd._linalg.inverse import BLOCK, inverse_of
from fastgd._linalg.product import DEPTH, LEAST_SHARED, ROWS, product, shared_product
from fastgd._threads import Team


def gram(n, d, scales=1.0, seed=0):
    A = np.random.default_rng(seed).standard_normal((n, d)) * scales
    return A.T @ A


@pytest.mark.parametrize("d", [1, 2, 7, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
@pytest.mark.parametrize("targets", [(), (3,)])
def test_solves(d, targets):
    matrix = gram(3 * d + 5, d)
    x = np.random.default_rng(1).standard_normal((d, *targets))
    inverse = inverse_of(matrix)
    assert inverse.solve(matrix @ x) == pytest.approx(x, rel=1e-8, abs=1e-8)
    assert inverse.rank == d


def test_changes_nothing_of_what_it_is_given():
    matrix, b = gram(20, 4), np.arange(4.0)
    before = matrix.copy()
    inverse_of(matrix).solve(b)
    assert np.array_equal(matrix, before)
    assert b.tolist() == [0, 1, 2, 3]


def test_of_columns_on_very_different_scales():
    matrix = gram(50, 4, scales=[1e-12, 1.0, 1e9, 1e15])
    x = np.array([1e12, 1.0, 1e-9, 1e-15])
    assert inverse_of(matrix).solve(matrix @ x) == pytest.approx(x, rel=1e-9)


def test_of_columns_of_zeros():
    matrix = gram(50, 4, scales=[1.0, 0.0, 1.0, 0.0])
    inverse = inverse_of(matrix)
    assert inverse.rank == 2
    x = np.array([1.0, 0.0, -2.0, 0.0])
    assert inverse.solve(matrix @ x) == pytest.approx(x, rel=1e-12)


@pytest.mark.parametrize("d", [3, 20])
def test_of_a_singular_matrix_is_the_shortest(d):
    rng = np.random.default_rng(2)
    A = rng.standard_normal((60, d))
    A[:, -1] = A[:, 0] + A[:, 1]
    A /= np.linalg.norm(A, axis=0)  # shortest in columns of equal length
    y = rng.standard_normal(60)
    inverse = inverse_of(A.T @ A)
    assert inverse.rank == d - 1
    assert inverse.solve(A.T @ y) == pytest.approx(np.linalg.lstsq(A, y, rcond=None)[0], abs=1e-6)


def test_by_either_way_agrees(monkeypatch):
    matrix, b = gram(400, 300), np.ones(300)
    by_cholesky = inverse_of(matrix)
    monkeypatch.setattr(_inverse, "LEAST_PIVOT", 2.0)
    by_eigenvectors = inverse_of(matrix)
    assert by_cholesky.is_clear
    assert not by_eigenvectors.is_clear
    assert by_eigenvectors.solve(b) == pytest.approx(by_cholesky.solve(b), rel=1e-8)
    inflation = (np.diagonal(np.linalg.inv(matrix)) * np.diagonal(matrix)).max()
    assert by_cholesky.inflation() == pytest.approx(inflation, rel=1e-8)
    assert by_eigenvectors.inflation() == pytest.approx(inflation, rel=1e-8)


@pytest.mark.parametrize("rows", [0, 1, ROWS, ROWS + 1, 2 * ROWS, 3 * ROWS - 1])
@pytest.mark.parametrize("inner", [0, 1, DEPTH, DEPTH + 1, 2 * DEPTH - 1, LEAST_SHARED + 1])
@pytest.mark.parametrize("columns", [(), (0,), (1,), (ROWS,), (ROWS + 1,)])
def test_a_product_in_pieces(rows, inner, columns):
    rng = np.random.default_rng(3)
    a = rng.integers(-9, 9, (inner, rows)).astype(float).T
    b = rng.integers(-9, 9, (inner, *columns)).astype(float)
    assert np.array_equal(product(a, b), a @ b)
    assert np.array_equal(product(np.ascontiguousarray(a), b), a @ b)


@pytest.fixture
def shares(monkeypatch):
    """How many shares teams are given, however small."""
    monkeypatch.setattr(_product, "LEAST_SHARE", 1)
    given, run = [], Team.run

    def counting(team, work, n_groups):
        given.append(n_groups)
        run(team, work, n_groups)

    monkeypatch.setattr(Team, "run", counting)
    return given


@pytest.mark.parametrize("n_threads", [1, 2, 4, 9])
@pytest.mark.parametrize("rows", [0, 1, ROWS, ROWS + 1, 5 * ROWS, 7 * ROWS - 1])
@pytest.mark.parametrize("columns", [0, 1, ROWS])
def test_a_shared_product_has_the_same_bits(rows, columns, n_threads, shares):
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((rows, 200)), rng.standard_normal((columns, 200)).T
    team = Team(n_threads)
    assert shared_product(a, b, team).tobytes() == product(a, b).tobytes()
    assert shares == [n_threads] * (rows > 0 and n_threads > 1)
    team.close()


def test_has_the_same_bits_for_any_number_of_threads(shares):
    matrix, b = gram(400, 3 * BLOCK + 5), np.ones(3 * BLOCK + 5)
    once = inverse_of(matrix).solve(b)
    assert shares == []
    for n_threads in (2, 3, 8, None):
        assert inverse_of(matrix, n_threads).solve(b).tobytes() == once.tobytes()
    assert max(shares) == 8
