"""What the ways to a fit cost, in reads of X by the fused kernel, by measured constants."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastgd._settings import Settings

# What collecting the moments costs, in reads of X by the fused kernel: "over_epoch" of ``python -m
# bench.moments`` (float32 of 400 MB, double precision, all threads) was 1.0 for 2 features, 1.4 for
# 8, 1.8 to 2.1 for 16, 3.1 for 32, 8 to 10 for 100, 23 for 300 and 80 to 93 for 1,000 with AVX2;
# 1.0, 1.1 to 1.2, 1.4, 2.5, 5 to 6, 13 to 15 and 44 to 57 with AVX-512.
READS_AT_LEAST = 1.0
READS_A_FEATURE = 1 / 11

# The library's own step needs column statistics, products with the Hessian (32 of them, or one a
# feature), and some epochs: 8 reads in all for 2 features, 14 for 8, 40 for 64, 47 for 300, where
# the columns are independent. Fewer features than 64 have moments that cost less in any case.
LEAST_READS = 38.0

# Conjugate gradients from a sample read X for column statistics, at the start and at the sample's
# answer, and then gain a factor of n_rows / n_features a step: ``python -m bench.solve``. This is
# the gain they need with the default tolerance.
READS_BEFORE_STEPS = 3.0
GAIN = 1e10
# Rows of a sample, at least; a sample takes no more memory than this, or a matrix of features.
LEAST_SAMPLE = 1000
SAMPLE_BYTES = 64 << 20

# Moments of more features are collected only when asked for: they take d^2 doubles.
MOST_FEATURES = 4096

# Exact moments cost 2 to 8 times as much as double ones: ``python -m bench.accuracy --cost``.
# They are collected unasked where the largest variance inflation of a column is more than this.
# The coefficients' error in double is about that inflation times the rounding unit, where a QR
# decomposition of X has its root: up to 1e4, no more than 2 or 3 digits apart, of 12 (measured on
# polynomials and on columns close to sums of others). Of float32 columns, whose QR decomposition
# has far fewer digits, double moments leave more than float32 holds up to 1e9.
MOST_INFLATION = {np.dtype(np.float64): 1e4, np.dtype(np.float32): 1e9}
# And where solving in double-double takes no longer than so many features do.
MOST_EXACT_FEATURES = 256


def exact_pays(inflation: float, n_features: int, dtype: np.dtype[np.floating]) -> bool:
    """Whether to collect exact moments, after double ones have told the conditioning.

    A float32 column that the others explain to its own rounding is not determined by the data,
    whatever the digits: there double has to do.
    """
    if n_features > MOST_EXACT_FEATURES or inflation <= MOST_INFLATION[dtype]:
        return False
    return dtype == np.float64 or inflation < 1.0 / float(np.finfo(dtype).eps) ** 2


def moments_cost(n_features: int) -> float:
    """What collecting the moments costs, in reads of X."""
    return READS_AT_LEAST + READS_A_FEATURE * n_features


def reads_before_moments(n_samples: int, n_features: int, settings: Settings) -> float:
    """Reads to spend on streaming before the moments are collected."""
    batches = settings.batch_size is not None or settings.validation_fraction is not None
    if settings.strategy == "stream" or batches:
        return np.inf
    if settings.strategy == "moments" or settings.precision == "exact":
        return 0.0
    if n_features > MOST_FEATURES:
        return np.inf
    cost = moments_cost(n_features)
    if settings.method == "cg":  # or the moments of a sample, and some steps
        if cost <= READS_BEFORE_STEPS + 1.0:  # what a sample costs at least
            return 0.0
        expected = best_sample(n_samples, n_features).total
        # More than is expected is spent where the sample says little of the rest, as of columns
        # that are zero but in few rows.
        return 0.0 if cost <= expected else cost + expected
    if settings.learning_rate is not None:  # known beforehand: every epoch, and the last loss
        return 0.0 if settings.max_iter + 1 > cost else np.inf
    return 0.0 if cost <= LEAST_READS else cost


def block_reads_before_moments(n_features: int, settings: Settings) -> float:
    """The same for blocks that are fetched anew for every read, which costs more than the sums."""
    if settings.strategy == "stream":
        return np.inf
    asked = settings.strategy == "moments" or settings.precision == "exact"
    return 0.0 if asked or n_features <= MOST_FEATURES else np.inf


class Sample(NamedTuple):
    """Rows whose moments make a preconditioner, and what a fit with it costs in reads of X.

    `n_rows` is 0 where there are too few rows for it to be any use.
    """

    n_rows: int
    moments: float
    total: float


def best_sample(n_samples: int, n_features: int, itemsize: int = 4) -> Sample:
    """The sample that costs least: larger ones take longer to make, and fewer steps.

    The excess starts at ``s**2`` of the loss, with ``s**2 = n_features / n_rows``, and each step
    of conjugate gradients shrinks it by as much again, whatever the conditioning.
    """
    d = n_features
    most = min(n_samples, max(SAMPLE_BYTES, 8 * d * d) // (itemsize * d))
    best = Sample(0, 0.0, np.inf)
    n_rows = 2 * d
    while n_rows <= most or n_rows == 2 * d <= n_samples:
        moments = moments_cost(d) * n_rows / n_samples
        steps = max(math.log(GAIN) / math.log(n_rows / d) - 1.0, 1.0)
        total = moments + steps + READS_BEFORE_STEPS
        if total < best.total:
            best = Sample(n_rows, moments, total)
        n_rows *= 2
    if best.n_rows and best.n_rows < LEAST_SAMPLE:
        return best._replace(n_rows=min(LEAST_SAMPLE, n_samples))
    return best
