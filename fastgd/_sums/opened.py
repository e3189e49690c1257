"""What a descent reads: checked arrays, blocks of them, or moments as they were given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from numpy.typing import ArrayLike

from fastgd._data.blocks import Blocks, as_blocks
from fastgd._data.problem import Problem, as_problem
from fastgd._moments.moments import Moments
from fastgd._settings import Settings
from fastgd._sums.costs import block_reads_before_moments
from fastgd._sums.reads import BlockReads, close
from fastgd._sums.streamed import Streamed, array_blocks


@contextmanager
def opened(
    X: ArrayLike | Moments,
    y: ArrayLike | None,
    sample_weight: ArrayLike | None,
    settings: Settings,
    missing: str,
) -> Iterator[Problem | Moments | BlockReads]:
    """What a descent reads; no thread that fetches is left behind."""
    source = _as_source(X, y, sample_weight, settings, missing)
    try:
        yield source
    finally:
        if isinstance(source, BlockReads):
            source.close()


def _as_source(
    X: ArrayLike | Moments,
    y: ArrayLike | None,
    sample_weight: ArrayLike | None,
    settings: Settings,
    missing: str,
) -> Problem | Moments | BlockReads:
    """Arrays in memory, or blocks, or moments."""
    if isinstance(X, Moments):
        return _given(X, y, sample_weight, settings)
    blocks = as_blocks(X, y, sample_weight, missing)
    if blocks is None and settings.checkpoint is not None and y is not None:
        blocks = array_blocks(X, y, sample_weight, missing)
    if blocks is not None:
        try:
            return _in_blocks(blocks, settings)
        except BaseException:
            close(blocks)
            raise
    if y is None:
        raise TypeError(
            "y must be given, unless X yields batches (X, y) or is fastgd.Moments; got None"
        )
    return as_problem(X, y, sample_weight, targets=True, missing=missing)


def _given(
    X: Moments, y: ArrayLike | None, sample_weight: ArrayLike | None, settings: Settings
) -> Moments:
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise TypeError(f"{name} must not be given where X is fastgd.Moments, which hold it")
    if settings.strategy == "stream":
        raise ValueError('strategy="stream" needs arrays; X is fastgd.Moments')
    if settings.precision == "exact" and X.exact is None:
        raise ValueError(
            'precision="exact" needs exact moments: Moments.of(X, y, precision="exact")'
        )
    if settings.checkpoint is not None:
        raise ValueError("checkpoint keeps moments that are being read; X is fastgd.Moments")
    _check_needs_no_arrays(settings, "is fastgd.Moments")
    return X


def _in_blocks(blocks: Blocks, settings: Settings) -> BlockReads:
    _check_needs_no_arrays(settings, "comes in blocks")
    streams = block_reads_before_moments(blocks.n_features, settings) > 0.0
    if settings.checkpoint is not None and (streams or not isinstance(blocks, Streamed)):
        raise ValueError(
            'checkpoint keeps moments of data that are read here: it needs strategy="moments", and '
            "no engine"
        )
    if blocks.is_read_once and streams:
        raise ValueError(
            f'strategy="{settings.strategy}" reads X more than once, and it can be read only once; '
            'use strategy="moments"'
        )
    return BlockReads(blocks, settings)


def _check_needs_no_arrays(settings: Settings, what: str) -> None:
    for name in ("batch_size", "validation_fraction"):
        if getattr(settings, name) is not None:
            raise ValueError(f"{name} needs arrays; X {what}")
