"""Eigenvalues by Lanczos steps, all or the extreme ones, beside LAPACK's."""

import numpy as np
import pytest

from fastgd._linalg.spectrum import MOST_EXACT, curvature, eigenvalues_of, exact_curvature


def with_spectrum(eigenvalues, rng):
    basis = np.linalg.qr(rng.standard_normal((len(eigenvalues), len(eigenvalues))))[0]
    matrix = basis * eigenvalues @ basis.T
    return (matrix + matrix.T) / 2.0


@pytest.mark.parametrize("n", [1, 2, 7, 40, 200])
@pytest.mark.parametrize("smallest", [1.0, 1e-4, 1e-12])
def test_are_lapacks(n, smallest, rng):
    matrix = with_spectrum(np.geomspace(smallest, 3.0, n), rng)
    expected = np.linalg.eigvalsh(matrix)
    if n > 1 and smallest == 1.0:
        assert np.ptp(expected) > 1.0
    assert eigenvalues_of(matrix) == pytest.approx(expected, rel=0, abs=n * 1e-15)


@pytest.mark.parametrize("n", [4, 40, 120])
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_that_come_several_times(n, scale, rng):
    right = np.array([0.0, 1e-9, 1.0, 5.0])
    found = eigenvalues_of(with_spectrum(scale * np.resize(right, n), rng)) / scale
    off = np.abs(found[:, np.newaxis] - right)
    assert off.min(axis=1).max() < n * 1e-14, "found, and not there"
    assert off.min(axis=0).max() < n * 1e-14, "there, and not found"


def test_of_more_columns_than_take_a_moment(rng):
    n = MOST_EXACT + 1
    matrix = np.diag(np.repeat([1.0, 2.0], [n - 9, 9]))
    assert len(eigenvalues_of(matrix)) == n


@pytest.mark.parametrize(
    ("eigenvalues", "smallest", "is_definite"),
    [([2.0] * 40, 2, True), ([0.0, *[2.0] * 39], 2, False), (np.linspace(1, 2, 40), 1, True)],
)
def test_extreme_curvatures(eigenvalues, smallest, is_definite, rng):
    found = exact_curvature(with_spectrum(np.array(eigenvalues), rng))
    assert found.smallest == pytest.approx(smallest, rel=1e-12)
    assert found.largest == pytest.approx(2, rel=1e-12)
    assert found.is_definite is is_definite


def test_steps_of_many_columns_bound_the_largest(rng):
    matrix = with_spectrum(np.linspace(0.01, 3.0, 400), rng)
    found = curvature(lambda v: matrix @ v, 400, 1e-13)
    assert 3.0 <= found.largest <= 3.2
    assert not found.is_definite
