"""warmup(): afterwards, nothing is left to compile."""

import os
import subprocess
import sys

import numpy as np
import pytest

from fastgd import warmup

AFTERWARDS = """
import numpy as np
import fastgd
from fastgd.backends.numba import _compile

fastgd.warmup({arguments})

def refuse(*_):
    raise AssertionError("compiled after all")

_compile._compile = refuse
X = np.array([[1, 2, 0], [3, 4, 1], [5, 7, 0], [8, 8, 1]], "{dtype}", order="{order}")
y = X.sum(axis=1)
weight = np.ones(4, "{dtype}") if {weighted} else None
for prediction in (None, np.empty_like(y)):
    fastgd.mse_and_gradient(X, y, np.zeros(3), prediction=prediction, sample_weight=weight)
fastgd.fit(X, y, sample_weight=weight, tol=1e-3)
"""


@pytest.mark.parametrize(("dtype", "order", "weighted"), [("float32", "F", True)])
def test_leaves_nothing_to_compile(tmp_path, dtype, order, weighted):
    arguments = f"3, dtype='{dtype}', order='{order}', sample_weight={weighted}"
    code = AFTERWARDS.format(arguments=arguments, dtype=dtype, order=order, weighted=weighted)
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=True,
        env={**os.environ, "FASTGD_CACHE_DIR": str(tmp_path)},
    )


def test_is_silent(capsys):
    warmup(3, dtype=np.float64)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"n_features": 0}, ValueError, "n_features must be an integer of at least 1"),
        ({"n_features": 2.0}, TypeError, "n_features must be an integer"),
        ({"dtype": "float16"}, ValueError, "dtype must be float32 or float64; got float16"),
        ({"dtype": int}, ValueError, "dtype must be float32 or float64; got int64"),
        ({"dtype": "decimal"}, TypeError, "decimal"),
        ({"order": "A"}, ValueError, "order must be one of 'C', 'F'"),
        ({"sample_weight": [1.0]}, TypeError, "sample_weight must be True or False"),
        ({"precision": "half"}, ValueError, "precision must be one of 'double', 'single'"),
    ],
)
def test_refuses_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        warmup(**arguments)
