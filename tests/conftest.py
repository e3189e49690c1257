"""Settings of the test run.

Hypothesis draws the same examples in every run. ``HYPOTHESIS_PROFILE=thorough pytest`` draws
twenty times as many, and other ones in every run. ``FASTGD_SLOW_TESTS=1 pytest`` runs the tests
marked slow, too.
"""

import os

import numpy as np
import pytest
from compare import KINDS, Kind
from hypothesis import settings

from fastgd.backends import BACKENDS

settings.register_profile(
    "default", deadline=None, max_examples=75, derandomize=True, database=None
)
settings.register_profile("thorough", deadline=None, max_examples=1500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_collection_modifyitems(items) -> None:
    """Leave out what takes long, unless asked for."""
    if os.environ.get("FASTGD_SLOW_TESTS") != "1":
        skip = pytest.mark.skip(reason="slow, up to minutes and 2 GB; set FASTGD_SLOW_TESTS=1")
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(skip)


@pytest.fixture(params=sorted(BACKENDS), scope="session")
def backend(request) -> str:
    """Every backend that is registered."""
    return request.param


@pytest.fixture(params=["f4", "f8"], scope="session")
def dtype(request) -> str:
    """Both dtypes that are used where they lie."""
    return request.param


@pytest.fixture(params=KINDS, ids="-".join, scope="session")
def kind(request) -> Kind:
    """Both dtypes, with every precision they can be computed in."""
    return request.param


@pytest.fixture(params=["stream", "moments"], scope="session")
def strategy(request) -> str:
    """Where the sums of an epoch come from."""
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(20)
