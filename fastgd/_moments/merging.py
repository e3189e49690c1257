"""Moments of two data sets from those of each, in float64; in double-double see `exact.py`.

References
----------
T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for computing the sample variance", The American
Statistician 37 (1983), 242-247.
"""

from __future__ import annotations

import numpy as np

from fastgd.backends import RawMoments


def merged(a: RawMoments, b: RawMoments) -> RawMoments:
    """Of both data sets together."""
    weights = a.weights + b.weights
    shift = b.mean - a.mean
    between = np.outer(shift, shift) * (a.weights * b.weights / weights)
    mean = a.mean + shift * (b.weights / weights)
    return RawMoments(weights, mean, a.scatter + b.scatter + between)


def without(whole: RawMoments, part: RawMoments) -> RawMoments:
    """Of what is left of `whole` when `part` is taken out."""
    weights = whole.weights - part.weights
    mean = whole.mean + (whole.mean - part.mean) * (part.weights / weights)
    shift = part.mean - mean
    between = np.outer(shift, shift) * (weights * part.weights / whole.weights)
    return RawMoments(weights, mean, whole.scatter - part.scatter - between)
