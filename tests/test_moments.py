"""Moments: their algebra, their exactness, their bits, their memory and their files."""

import io
import re
import stat
import threading
import time
import tracemalloc
from dataclasses import replace
from functools import partial, reduce
from operator import add
from pathlib import Path

import naive
import numpy as np
import pytest
import strategies as some
from compare import assert_close
from hypothesis import given
from hypothesis import strategies as st
from shapes import use_small_groups

import fastgd
from fastgd import Moments
from fastgd._data.problem import Problem
from fastgd.backends import BACKENDS
from fastgd.backends.numba._moments import gram, outer, outer_columns, outer_long, pairs
from fastgd.backends.numba._moments import kernels as _moments_kernels
from fastgd.backends.numba._moments import moments as kernels
from fastgd.backends.numba._vectors.assemble import Kernel
from fastgd.backends.numba._vectors.emit import REGISTER_BYTES

EPSILON = 2.0**-52
BACKEND = st.sampled_from(sorted(BACKENDS))


def exact(X, y, sample_weight=None):
    """Weight, means and scatter in long double, and the rounding that each entry may show."""
    A, t, s = naive._long_arrays(X, y, sample_weight)
    Z = np.column_stack([A, t])
    mean = s @ Z / s.sum()
    scatter = (Z - mean).T @ (s[:, np.newaxis] * (Z - mean))
    return s.sum(), mean, scatter, Z


def assert_exact(moments, X, y, sample_weight=None, precision="double"):
    weight, mean, scatter, Z = exact(X, y, sample_weight)
    assert moments.n_samples == len(Z)
    weight_tolerance = 1e-13 if precision == "double" else 1e-6
    assert_close(moments.weight_sum, weight, weight, weight_tolerance, "weight_sum")
    rounding = np.sqrt(weight) * 64 * EPSILON * abs(Z).max(axis=0)
    if precision == "double":
        tolerance, terms = 1e-11, np.sqrt(np.diagonal(scatter))
    else:  # relative to distances from any row that sums may have been taken about
        tolerance, terms = 1e-6, np.sqrt(weight) * np.ptp(Z, axis=0)
    mean_rounding = (tolerance * terms + rounding) / np.sqrt(weight)
    assert_close(moments.mean, mean, mean_rounding, 1.0, "mean")
    allowed = tolerance * np.outer(terms, terms) + np.outer(rounding, rounding)
    assert_close(moments.scatter, scatter, allowed, 1.0, "scatter")
    assert np.array_equal(moments.scatter, moments.scatter.T)


def assert_alike(left, right, whole=None, tolerance=1e-11):
    """Equal to rounding, relative to the spread of `whole`."""
    whole = whole or right
    assert left.n_samples == right.n_samples
    assert left.weight_sum == pytest.approx(right.weight_sum, rel=1e-11)
    spread = np.sqrt(abs(np.diagonal(whole.scatter)))
    rounding = 64 * EPSILON * abs(whole.mean)
    mean_rounding = tolerance * spread / np.sqrt(right.weight_sum) + rounding
    assert_close(left.mean, right.mean, mean_rounding, 1.0, "mean")
    allowed = tolerance * np.outer(spread, spread)
    allowed += whole.weight_sum * np.outer(rounding, rounding)
    assert_close(left.scatter, right.scatter, allowed, 1.0, "scatter")


@st.composite
def parts(draw, n_parts):
    """Arrays of some parts of one data set, which may lie far from zero."""
    seed = draw(st.integers(0, 2**32 - 1))
    d = draw(st.sampled_from([None, 1, 2, 5]))
    targets = draw(st.sampled_from([None, 1, 3]))
    location = draw(st.sampled_from([0.0, 1.0, 1e4]))
    weighted = draw(st.booleans())
    sizes = [draw(st.integers(1, 40)) for _ in range(n_parts)]
    rng = np.random.default_rng(seed)
    arrays = []
    for n in sizes:
        X = location + rng.standard_normal(n if d is None else (n, d))
        y = location + rng.standard_normal(n if targets is None else (n, targets))
        arrays.append((X, y, rng.uniform(0.1, 3.0, n) if weighted else None))
    return arrays


def moments_of_all(arrays, **options):
    return [Moments.of(*array, **options) for array in arrays]


def together(arrays):
    return [
        None if columns[0] is None else np.concatenate(columns)
        for columns in zip(*arrays, strict=True)
    ]


class TestAlgebra:
    @given(arrays=parts(2))
    def test_merging_is_commutative(self, arrays):
        a, b = moments_of_all(arrays, backend="numpy")
        assert_alike(a + b, b + a)

    @given(arrays=parts(3))
    def test_merging_is_associative(self, arrays):
        a, b, c = moments_of_all(arrays, backend="numpy")
        assert_alike((a + b) + c, a + (b + c))

    @given(arrays=parts(4), backend=BACKEND)
    def test_parts_merged_are_the_whole(self, arrays, backend):
        merged = reduce(add, moments_of_all(arrays, backend=backend))
        assert_alike(merged, Moments.of(*together(arrays), backend=backend))

    @given(arrays=parts(2))
    def test_what_is_added_can_be_taken_out(self, arrays):
        a, b = moments_of_all(arrays, backend="numpy")
        assert_alike((a + b) - b, a, whole=a + b)

    @given(arrays=parts(3))
    def test_subtracting_is_leaving_out(self, arrays):
        whole = Moments.of(*together(arrays), backend="numpy")
        rest = Moments.of(*together(arrays[1:]), backend="numpy")
        assert_alike(whole - Moments.of(*arrays[0], backend="numpy"), rest, whole=whole)

    def test_sum_merges(self, rng):
        parts = [Moments.of(rng.standard_normal((5, 2)), rng.standard_normal(5)) for _ in range(3)]
        assert sum(parts) == parts[0] + parts[1] + parts[2]
        for start in (0.0, False, 1):
            with pytest.raises(TypeError, match="unsupported operand"):
                sum(parts, start=start)

    @pytest.mark.parametrize("size", [1e200, 1.7e308])
    def test_what_lies_too_far_apart_is_refused(self, size):
        one, other = (Moments.of([1.0], [y]) for y in (-size, size))
        with pytest.raises(OverflowError, match="cannot be merged: their means are so far apart"):
            one + other
        with pytest.raises(OverflowError, match="cannot be merged"):
            Moments.of([([1.0], [-size]), ([1.0], [size])])
        with pytest.raises(OverflowError, match="so large that sums of their squares"):
            Moments.of([([1.0], [-size]), ([1.0], [size])], precision="exact")

    @pytest.mark.parametrize("precision", ["double", "exact"])
    @pytest.mark.parametrize("size", [1e200, 1.7e308])
    def test_what_lies_too_far_off_cannot_be_taken_out(self, size, precision):
        whole = Moments.of([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], precision=precision)
        one = Moments.of([1.0], [1.0], precision=precision)
        far = replace(one, mean=np.array([size, 1.0]))
        with pytest.raises(ValueError, match="cannot be subtracted: their means are so far apart"):
            whole - far

    def test_what_weighs_too_much_is_refused(self):
        heavy = Moments.of([1.0, 2.0], [1.0, 2.0], [1e307, 1e308])
        with pytest.raises(OverflowError, match=r"cannot be merged: .*or their weights so large"):
            heavy + heavy
        with pytest.raises(ValueError, match=r"cannot be subtracted: .*or their weights so large"):
            heavy - Moments.of([1.0], [1.0], [1e307])

    @given(arrays=parts(2))
    def test_updating_is_merging(self, arrays):
        first, second = arrays
        before = Moments.of(*first)
        assert before.update(*second) == before + Moments.of(*second)
        assert before == Moments.of(*first)  # left as it was

    @given(arrays=parts(1), factor=st.floats(0.01, 100.0))
    def test_scaling_is_weighting(self, arrays, factor):
        ((X, y, weight),) = arrays
        weight = np.ones(len(X)) if weight is None else weight
        scaled = Moments.of(X, y, weight, backend="numpy").scaled(factor)
        assert_alike(scaled, Moments.of(X, y, weight * factor, backend="numpy"))

    def test_forgetting_by_degrees(self, rng):
        batches = [(rng.standard_normal((50, 2)), rng.standard_normal(50)) for _ in range(4)]
        memory = Moments.of(*batches[0])
        for batch in batches[1:]:
            memory = memory.scaled(0.5).update(*batch)
        weight = np.repeat([0.125, 0.25, 0.5, 1.0], 50)
        X, y = (np.concatenate(columns) for columns in zip(*batches, strict=True))
        assert_alike(memory, Moments.of(X, y, weight))

    def test_merging_a_thousand_parts_and_more_loses_no_digits(self, rng):
        X, y = 1e4 + rng.standard_normal((1500, 2)), 1e4 + rng.standard_normal(1500)
        merged = reduce(add, (Moments.of(X[i : i + 1], y[i : i + 1]) for i in range(1500)))
        assert_alike(merged, Moments.of(X, y), tolerance=1e-10)


class TestExactness:
    @given(data=some.data_sets(), precision=st.sampled_from(["double", "single"]), backend=BACKEND)
    def test_against_the_oracle(self, data, precision, backend):
        copies = [array.copy() for array in data.arrays]
        moments = Moments.of(
            data.X, data.y, data.sample_weight, backend=backend, precision=precision
        )
        precision = precision if data.X.dtype.itemsize == 4 else "double"
        assert_exact(moments, data.X, data.y, data.sample_weight, precision)
        assert moments.one_dimensional == (data.X.ndim == 1)
        assert moments.single_target
        assert moments.n_targets == 1
        assert moments.dtype == moments.mean.dtype == np.float64
        for array, copy in zip(data.arrays, copies, strict=True):
            assert np.array_equal(array, copy)

    @pytest.mark.parametrize("layout", some.IN_PLACE_2D + some.COPIED_2D, ids=lambda f: f.__name__)
    @pytest.mark.parametrize("n_targets", [1, 2, 20])
    def test_of_many_targets(self, backend, dtype, layout, n_targets, rng):
        X = rng.standard_normal((100, 3)).astype(dtype)
        y = layout((1 + rng.standard_normal((100, n_targets))).astype(dtype))
        weight = rng.uniform(0.5, 2.0, 100).astype(dtype)
        copy = y.copy()
        moments = Moments.of(X, y, weight, backend=backend)
        assert_exact(moments, X, y, weight)
        assert (moments.n_features, moments.n_targets) == (3, n_targets)
        assert not moments.single_target
        assert np.array_equal(y, copy)

    def test_of_a_target_finer_than_the_features(self, backend, rng):
        X, y = rng.standard_normal((300, 2)).astype("f4"), 1 + 1e-9 * rng.standard_normal(300)
        assert_exact(Moments.of(X, y, backend=backend), X, y)

    @pytest.mark.parametrize("location", [1.0, -1e4, 1e8])
    @pytest.mark.parametrize("sorted_rows", [False, True])
    def test_far_from_zero(self, backend, dtype, location, sorted_rows, rng):
        X = (location + rng.standard_normal((5000, 3))).astype(dtype)
        X = np.sort(X, axis=0) if sorted_rows else X
        y = (location + rng.standard_normal(5000)).astype(dtype)
        assert_exact(Moments.of(X, y, backend=backend), X, y)

    @pytest.mark.parametrize("at", [0, 166, 499, 832, 999])
    def test_with_rows_far_from_all_others(self, backend, at, rng):
        X, y = rng.standard_normal((1000, 2)), rng.standard_normal(1000)
        X[at], y[at] = 1e9, -1e9
        assert_exact(Moments.of(X, y, backend=backend), X, y)
        weight = np.ones(1000)
        weight[at] = 0.0
        assert_exact(Moments.of(X, y, weight, backend=backend), X, y, weight)

    def test_of_constant_columns(self, backend, rng):
        X = np.column_stack([np.full(1000, 0.1), rng.standard_normal(1000)])
        moments = Moments.of(X, np.full(1000, 0.3), backend=backend)
        assert_exact(moments, X, np.full(1000, 0.3))

    def test_coefficients_of_float32_with_mean_1e4(self, backend, rng):
        X = (1e4 + rng.standard_normal((20_000, 4))).astype("f4")
        y = (X.astype("f8") @ [1.0, -2.0, 3.0, 0.5] + rng.standard_normal(20_000)).astype("f4")
        expected, intercept = naive.least_squares(X, y)
        result = fastgd.fit(Moments.of(X, y, backend=backend), tol=1e-14, backend=backend)
        assert result.coef == pytest.approx(expected, rel=1e-6)
        assert result.intercept == pytest.approx(intercept, rel=1e-6)
        assert result.converged

    # Around registers, blocks of columns, chunks; and where each kernel begins.
    @pytest.mark.parametrize("d", [*range(1, 18), 23, 24, 25, 26, 61])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_of_every_number_of_columns(self, d, order, rng):
        for n in (1, 4, 8, 15, 17, 33, 191, 192, 193, 520):
            X = np.array(3 + rng.standard_normal((n, d)).astype("f4"), order=order)
            y = rng.standard_normal(n).astype("f4")
            weight = rng.uniform(0.5, 2.0, n).astype("f4") if d % 2 else None
            assert_exact(Moments.of(X, y, weight), X, y, weight)

    # Panels of 12 columns, with two for the target and ones; bands of 36.
    @pytest.mark.parametrize("d", [21, 22, 23, 34, 35, 58, 59, 70, 71, 83])
    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("precision", ["double", "single"])
    def test_of_every_number_of_panels(self, d, order, precision, rng, monkeypatch):
        monkeypatch.setattr(gram, "PANEL_BYTES", 0)
        X = np.array(3 + rng.standard_normal((50, d)).astype("f4"), order=order)
        y = rng.standard_normal((50, 2)).astype("f4")[:, : 1 + d % 2]
        assert_exact(Moments.of(X, y, precision=precision), X, y, precision=precision)

    @pytest.mark.parametrize("d", [2, 3, 4, 9, 16])
    def test_of_doubles_of_few_columns(self, d, rng):
        for n in (1, 9, 40, 200):
            X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
            weight = rng.uniform(0.5, 2.0, n) if d % 2 else None
            for array in (X, np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2]):
                assert_exact(Moments.of(array, y, weight), array, y, weight)

    def test_lists_and_integers(self, backend):
        moments = Moments.of([1, 2, 3], [2, 4, 9], [1, 1, 2], backend=backend)
        assert_exact(moments, np.array([1, 2, 3]), np.array([2, 4, 9]), np.array([1, 1, 2]))


class TestPassesOverATile:
    @pytest.mark.parametrize("d", range(4, 17))
    @pytest.mark.parametrize("registers", [(16, 12, 3, 4), (32, 24, 4, 6)])
    def test_columns_are_read_once_and_meet_every_other_once(self, d, registers, monkeypatch):
        names = ("REGISTERS", "MOST_SUMS", "READ", "ABREAST")
        for name, number in zip(names, registers, strict=True):
            monkeypatch.setattr(outer_columns, name, number)
        read, met = [], []
        for each in outer_columns.passes(d):
            read += each.columns
            met += [tuple(sorted(pair)) for pair in each.pairs]
            assert 0 < len(each.pairs) <= outer_columns.MOST_SUMS
            assert {k for pair in each.pairs for k in pair if k < d} <= set(read)
        target, one = d, d + 1
        assert read == list(range(d))
        assert sorted(met) == [(i, j) for i in range(d) for j in (*range(i, d), target, one)]

    @pytest.mark.parametrize("d", range(4, 25))
    def test_couples_of_columns_meet_every_other_once(self, d):
        met = [(min(pair), max(pair)) for _, pair in pairs.meanings(d, 0)]
        target, one = d, d + 1
        assert sorted(met) == [(i, j) for i in range(d) for j in (*range(i, d), target, one)]

    @pytest.mark.parametrize("d", range(5, 25))
    def test_vectors_of_long_registers_meet_every_column_once(self, d):
        passes = outer_long.passes(d)
        met = [pair for each in passes for some in each for pair in some.pairs(d)]
        target, one = d, d + 1
        assert sorted((min(pair), max(pair)) for pair in met) == [
            (i, j) for i in range(d) for j in (*range(i, d), target, one)
        ]
        assert {0 < len(each) <= outer_long.MOST_SUMS for each in passes} == {True}


def test_rows_by_the_registers_of_other_processors(dtype, rng, monkeypatch):
    # Vectors of twice a register are two.
    module = outer if REGISTER_BYTES == 64 else outer_long
    tiles = _moments_kernels.Tiles(
        module.add_tiles, lambda _: module.ROWS_AT_ONCE, module.MOST_FEATURES
    )
    write = partial(_moments_kernels._write_few, layout="rows")
    monkeypatch.setitem(_moments_kernels.TILES, "rows", tiles)
    monkeypatch.setitem(_moments_kernels.FEW_KERNELS, "rows", Kernel("moments_of_other", write))
    for d in {5, 13, 16, module.MOST_FEATURES - 1}:
        for n, weighted in ((17, True), (1700, d % 2 == 0)):
            X, y = rng.standard_normal((n, d)).astype(dtype), rng.standard_normal(n).astype(dtype)
            gaps = np.full((2 * n, d + 3), np.nan, dtype)
            gaps[::2, 1:-2] = X
            weight = rng.uniform(0.5, 2.0, n).astype(dtype) if weighted else None
            moments = Moments.of(X, y, weight)
            assert_exact(moments, X, y, weight)
            assert Moments.of(gaps[::2, 1:-2], y, weight) == moments


@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize("n_columns", [3, 1002, 2731, 4098, 20_000])
def test_rows_of_a_chunk(n_columns, itemsize):
    rows = kernels.chunk_rows(n_columns, itemsize, kernels.CHUNK_ROWS)
    assert rows % gram.PACKED_ROWS == 0
    assert 32 <= rows <= kernels.CHUNK_ROWS
    assert rows == 32 or rows * n_columns * itemsize <= kernels.CHUNK_BYTES
    scratch = kernels.new_scratch(n_columns, rows, np.dtype(f"f{itemsize}"))
    assert scratch.shape == (n_columns, rows)
    assert scratch.base.nbytes <= n_columns * rows * itemsize + 128


class TestGroupsOfManyColumns:
    @pytest.mark.parametrize("d", [100, 1000, 2000, 5000])
    def test_are_long_and_read_in_short_calls(self, d):
        X = np.lib.stride_tricks.as_strided(np.zeros(1), (9000, d), (8, 0), writeable=False)
        problem = Problem(X, np.zeros(9000), None, False)
        length = kernels.moments_rows(problem, d + 1, kernels.LEAST_GROUP_ROWS)
        assert kernels.LEAST_GROUP_ROWS <= length <= kernels.MOST_GROUP_ROWS
        chunk = kernels.chunk_rows(d + 2, 8, kernels.CHUNK_ROWS)
        runs = list(kernels.calls(length, 9000, d + 1, chunk))
        assert [row for first, stop in runs for row in range(first, stop)] == [*range(length, 9000)]
        longest = max(stop - first for first, stop in runs)
        assert longest <= max(kernels.CALL_PRODUCTS / d**2, chunk)
        assert {first % chunk for first, _ in runs} == {length % chunk}

    def test_have_the_bits_of_one_call(self, rng, monkeypatch):
        X, y = rng.standard_normal((3000, 70)), rng.standard_normal(3000)
        once = Moments.of(X, y)
        rows = kernels.moments_rows(Problem(X, y, None, False), 71, kernels.LEAST_GROUP_ROWS)
        # With no products in a call, groups would be short.
        monkeypatch.setattr(kernels, "moments_rows", lambda *_: rows)
        monkeypatch.setattr(kernels, "CALL_PRODUCTS", 0)
        assert Moments.of(X, y) == once


class TestInterrupt:
    def test_ends_the_groups_of_all_threads_at_their_next_call(self, monkeypatch, rng):
        monkeypatch.setattr(kernels, "THREADING_PRODUCTS", 0)
        monkeypatch.setattr(kernels, "LEAST_GROUP_ROWS", 1500)
        monkeypatch.setattr(kernels, "CALL_PRODUCTS", 1)  # a call for each chunk
        both_have_begun, calls = threading.Barrier(2, timeout=30), []

        def add_rows(*_):
            here = threading.get_ident()
            if here not in calls:
                both_have_begun.wait()
            calls.append(here)
            if threading.current_thread() is threading.main_thread():
                raise KeyboardInterrupt
            time.sleep(0.05)

        monkeypatch.setattr(kernels, "compiled", lambda *_: add_rows)
        X = rng.standard_normal((3000, 70))
        with pytest.raises(KeyboardInterrupt):
            Moments.of(X, X[:, 0], n_threads=2)
        assert len(calls) <= 3


class TestBits:
    @pytest.mark.parametrize("d", [None, 2, 5, 16, 70])
    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("precision", ["double", "single"])
    def test_with_any_number_of_threads(self, d, order, precision, dtype, rng, monkeypatch):
        X = np.array(rng.standard_normal((3000, d or 1)).astype(dtype), order=order)
        X = X[:, 0] if d is None else X
        y, weight = rng.standard_normal((2, 3000)).astype(dtype)
        weight = abs(weight)
        use_small_groups(monkeypatch)
        asked = []

        def ordered_sum(work, n_groups, team, most_at_once):
            asked.append((n_groups, team.n_threads))
            return original(work, n_groups, team, most_at_once)

        original = kernels.ordered_sum
        monkeypatch.setattr(kernels, "ordered_sum", ordered_sum)
        options = {"precision": precision}
        one = Moments.of(X, y, weight, n_threads=1, **options)
        for n_threads in (2, 3, 8, 1):
            assert Moments.of(X, y, weight, n_threads=n_threads, **options) == one
        assert [n_threads for _, n_threads in asked] == [1, 2, 3, 8, 1]
        assert min(n_groups for n_groups, _ in asked) > 3

    @pytest.mark.parametrize(("d", "order"), [(3, "C"), (5, "C"), (12, "C"), (17, "C"), (5, "F")])
    def test_in_any_place(self, backend, dtype, d, order, rng):
        values = rng.standard_normal(700 * (d + 1)).astype(dtype)
        X, y = values[: 700 * d].reshape((700, d), order=order), values[700 * d :]
        once = Moments.of(X, y, backend=backend)
        for first in range(1, 9):
            room = np.empty(first + values.size, dtype)
            room[first:] = values
            moved = room[first : first + X.size].reshape(X.shape, order=order)
            y_moved = room[first + X.size :]
            assert Moments.of(moved, y_moved, backend=backend) == once

    # Lanes that no feature fills are read from the next row: they must have no effect.
    @pytest.mark.parametrize("d", [2, 3, 5, 6, 7, 9, 15])
    def test_whatever_lies_between_the_rows(self, dtype, d, rng):
        room = np.full((100, d + 9), np.nan, dtype)
        X, y = room[:, :d], rng.standard_normal(100).astype(dtype)
        X[:] = rng.standard_normal((100, d))
        assert Moments.of(X, y) == Moments.of(X.copy(), y)


class TestMemory:
    @pytest.mark.parametrize("layout", ["C", "F", "rows", "columns"])
    @pytest.mark.parametrize("d", [1, 8])
    def test_nothing_grows_with_the_rows(self, backend, d, layout, dtype):
        def peak(n):
            values = np.tile(np.arange(16, dtype=dtype), 2 * n * d // 16)
            X = {
                "C": values[: n * d].reshape(n, d),
                "F": values[: n * d].reshape(d, n).T,
                "rows": values.reshape(2 * n, d)[::2],
                "columns": values.reshape(n, 2 * d)[:, :d],
            }[layout]
            y = np.ascontiguousarray(X[:, 0])
            Moments.of(X, y, backend=backend, n_threads=1)
            tracemalloc.start()
            try:
                Moments.of(X, y, backend=backend, n_threads=1)
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

        # Of slices, blocks of so many bytes are copied to look for NaN.
        block = 20_000 if layout in "CF" else 1 << 20
        small, large = peak(20_000), peak(400_000)
        assert large < small + block

    @pytest.mark.parametrize(
        ("n", "d"), [(12_000_000, 1), (800_000, 16), (60_000, 200), (12_000, 1000)]
    )
    def test_the_process_hardly_grows(self, n, d):
        X, y = np.ones((n, d), "f4"), np.ones(n, "f4")
        Moments.of(X[:5000], y[:5000])  # compiled or loaded
        if not reset_peak():
            pytest.skip("the peak of memory cannot be reset here")
        before = memory("VmRSS")
        Moments.of(X, y)
        allowed = 64 << 20 if d == 1000 else 16 << 20
        assert memory("VmHWM") - before < allowed + 3 * 8 * d * d

    def test_sums_of_many_columns_do_not_pile_up(self, monkeypatch):
        n, d = 6000, 400
        monkeypatch.setattr(kernels, "WAITING_BYTES", 0)
        monkeypatch.setattr(kernels, "MOST_GROUP_ROWS", 256)
        X, y = np.ones((n, d), "f4"), np.ones(n, "f4")
        Moments.of(X[:1000], y[:1000], n_threads=3)  # compiled or loaded
        tracemalloc.start()
        try:
            Moments.of(X, y, n_threads=3)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        scratch = 8 * kernels.CHUNK_ROWS * (d + 2)
        assert peak < 3 * (8 * (d + 2) ** 2 + scratch)


def reset_peak():
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return abs(memory("VmHWM") - memory("VmRSS")) < 1 << 20
    except OSError:
        return False


def memory(field):
    return 1024 * int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


@pytest.fixture
def moments(rng):
    return Moments.of(rng.standard_normal((30, 3)), rng.standard_normal(30))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.npz"


def fields_of(moments, path):
    moments.save(path)
    with np.load(path) as archive:
        return dict(archive)


class TestFiles:
    @given(arrays=parts(1))
    def test_round_trip_bit_for_bit(self, arrays, tmp_path_factory):
        file = tmp_path_factory.mktemp("moments") / "data.npz"
        (moments,) = moments_of_all(arrays, backend="numpy")
        moments.save(file)
        loaded = Moments.load(file)
        assert loaded == moments
        assert loaded.mean.tobytes() == moments.mean.tobytes()
        assert loaded.scatter.tobytes() == moments.scatter.tobytes()
        assert fields_of(loaded, file).keys() == fields_of(moments, file).keys()

    @given(arrays=parts(2))
    def test_whatever_the_algebra_gives_can_be_saved(self, arrays, tmp_path_factory):
        file = tmp_path_factory.mktemp("moments") / "data.npz"
        a, b = moments_of_all(arrays, backend="numpy")
        for moments in (a + b, (a + b) - b, a.scaled(0.1), (a + b).scaled(0.3) - b.scaled(0.3)):
            moments.save(file)
            assert Moments.load(file) == moments

    def test_by_any_name(self, moments, tmp_path):
        for name in ("no_ending", "with space.npz", "ä.moments"):
            moments.save(str(tmp_path / name))
            assert Moments.load(str(tmp_path / name)) == moments
        assert len(list(tmp_path.iterdir())) == 3

    def test_replaces_what_was_there(self, moments, path):
        path.write_bytes(b"something else")
        moments.save(path)
        assert Moments.load(path) == moments
        assert list(path.parent.iterdir()) == [path]

    def test_is_as_readable_as_other_files(self, moments, path):
        moments.save(path)
        other = path.parent / "other"
        other.touch()
        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)

    @pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
    def test_a_write_that_fails_leaves_nothing_behind(self, moments, path, error, monkeypatch):
        (moments + moments).save(path)
        before = path.read_bytes()

        def write_array(file, *args, **options):
            file.write(b"half of it")
            raise error

        monkeypatch.setattr(np.lib.format, "write_array", write_array)
        with pytest.raises(type(error)):
            moments.save(path)
        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]

    def test_a_rename_that_fails_leaves_nothing_behind(self, moments, path):
        path.mkdir()
        with pytest.raises(OSError, match=path.name):
            moments.save(path)
        assert list(path.parent.iterdir()) == [path]

    def test_cannot_be_written(self, moments, tmp_path):
        with pytest.raises(FileNotFoundError):
            moments.save(tmp_path / "missing" / "data.npz")

    def test_missing(self, path):
        with pytest.raises(FileNotFoundError):
            Moments.load(path)

    def test_a_directory(self, tmp_path):
        with pytest.raises(OSError, match=tmp_path.name):
            Moments.load(tmp_path)

    @pytest.mark.parametrize("part", range(20))
    def test_truncated(self, moments, path, part):
        moments.save(path)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) * part // 20])
        with pytest.raises(ValueError, match=r"data\.npz"):
            Moments.load(path)

    def test_a_flipped_bit_is_found_or_has_no_effect(self, path):
        moments = Moments.of([[1.0, 2.0], [3.0, 5.0], [8.0, 6.0]], [1.0, 2.0, 4.0])
        moments.save(path)
        whole = path.read_bytes()
        end = len(whole) - 22  # of the archive's directory
        for place in (*range(0, end, 17), *range(end, len(whole))):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << place % 8
            path.write_bytes(damaged)
            try:
                loaded = Moments.load(path)
            except ValueError:
                continue
            assert loaded == moments

    @pytest.mark.parametrize(
        "content",
        [b"", b"\0", b"PK", b"PK\x03\x04", b"not an archive", b"a,b\n1,2\n", b"\x80\x04K\x01."],
    )
    def test_not_an_archive(self, path, content):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"data\.npz"):
            Moments.load(path)

    def test_a_single_array(self, path):
        file = io.BytesIO()
        np.save(file, np.ones(3))
        path.write_bytes(file.getvalue())
        with pytest.raises(ValueError, match=r"data\.npz"):
            Moments.load(path)

    def test_an_archive_of_something_else(self, path):
        np.savez(path, X=np.ones(3))
        with pytest.raises(ValueError, match=r"is not a file of fastgd\.Moments"):
            Moments.load(path)

    def test_no_pickle_is_read(self, moments, path, tmp_path):
        fields = fields_of(moments, path)
        trace = tmp_path / "trace"
        np.savez(path, **{**fields, "mean": np.array([Touch(trace)], object)})
        with pytest.raises(ValueError, match="allow_pickle"):
            Moments.load(path)
        assert not trace.exists()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"format": np.str_("fastgd.Other")}, "is not a file of"),
            ({"format": None}, "is not a file of"),
            ({"version": np.int64(2)}, "version 2.*upgrade"),
            ({"version": np.int64(0)}, "version 0"),
            ({"version": np.int64(-1)}, "version -1"),
            ({"version": None}, "has no version"),
            ({"version": np.ones(2, int)}, "has no version"),
            ({"n_samples": None}, "n_samples"),
            ({"n_samples": np.int64(0)}, "0 samples"),
            ({"n_samples": np.int64(-3)}, "-3 samples"),
            ({"n_samples": np.ones(2, int)}, "not a whole file"),
            ({"weight_sum": None}, "weight_sum"),
            ({"weight_sum": np.float64(np.nan)}, "NaN"),
            ({"weight_sum": np.float64(0.0)}, "no weight"),
            ({"weight_sum": np.float64(-1.0)}, "no weight"),
            ({"mean": None}, "mean"),
            ({"mean": np.array([1.0, np.nan, 1.0, 1.0])}, "NaN"),
            ({"mean": np.array([1.0, np.inf, 1.0, 1.0])}, "infinity"),
            ({"mean": np.ones(3)}, "do not match"),
            ({"mean": np.ones((1, 4))}, "do not match"),
            ({"mean": np.float64(1.0)}, "do not match"),
            ({"mean": np.ones(4, "f4")}, "float64"),
            ({"mean": np.array(["a"] * 4)}, "float64"),
            ({"scatter": None}, "scatter"),
            ({"scatter": np.full((4, 4), np.nan)}, "NaN"),
            ({"scatter": np.ones((3, 3))}, "do not match"),
            ({"scatter": np.ones(16)}, "do not match"),
            ({"scatter": np.ones((4, 4), complex)}, "float64"),
            ({"scatter": -np.eye(4)}, "scatter"),
            ({"scatter": np.triu(np.ones((4, 4)))}, "scatter"),
            ({"n_targets": np.int64(0)}, "0 targets"),
            ({"n_targets": np.int64(4)}, "4 targets"),
            ({"n_targets": np.int64(2)}, "1-D"),
            ({"one_dimensional": np.bool_(True)}, "1-D"),
            ({"single_target": None}, "single_target"),
        ],
    )
    def test_wrong_inside(self, moments, path, change, message):
        fields = {**fields_of(moments, path), **change}
        np.savez(path, **{name: value for name, value in fields.items() if value is not None})
        with pytest.raises(ValueError, match=message) as caught:
            Moments.load(path)
        assert str(path) in str(caught.value)


class Touch:
    """What would leave a trace if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class TestBadArguments:
    X = np.arange(12.0).reshape(6, 2) ** 2
    y = np.arange(6.0)

    @pytest.mark.parametrize(
        "other",
        [
            Moments.of(X[:, :1], y),
            Moments.of(X[:, 0], y),
            Moments.of(X, y[:, np.newaxis]),
            Moments.of(X, np.column_stack([y, y])),
            Moments.of(X[:, :1], np.column_stack([y, y])),
        ],
        ids=repr,
    )
    def test_other_columns(self, other):
        moments = Moments.of(self.X, self.y)
        for combine in (Moments.__add__, Moments.__sub__):
            with pytest.raises(ValueError, match="moments must be of the same columns"):
                combine(moments, other)
            with pytest.raises(ValueError, match="moments must be of the same columns"):
                combine(other, moments)

    @pytest.mark.parametrize("other", [1, 0.0, None, "moments", np.ones(3), [1, 2]])
    def test_no_moments(self, other):
        moments = Moments.of(self.X, self.y)
        with pytest.raises(TypeError):
            moments + other
        with pytest.raises(TypeError):
            moments - other
        assert isinstance(other, np.ndarray) or moments != other

    def test_subtracting_all_or_more(self):
        moments, part = Moments.of(self.X, self.y), Moments.of(self.X[:2], self.y[:2])
        for other in (moments, moments + part):
            with pytest.raises(ValueError, match="the difference of moments is no data"):
                moments - other
        with pytest.raises(ValueError, match="the difference of moments is no data"):
            moments - part.scaled(100.0)

    def test_subtracting_what_was_no_part(self):
        moments = Moments.of(self.X, self.y)
        with pytest.raises(ValueError, match="a variance would be negative"):
            moments - Moments.of(1e3 * self.X[:3], self.y[:3])

    @pytest.mark.parametrize("factor", [0.0, -1.0, np.nan, np.inf])
    def test_factor_of_no_use(self, factor):
        with pytest.raises(ValueError, match="factor must be finite and greater than 0"):
            Moments.of(self.X, self.y).scaled(factor)

    @pytest.mark.parametrize("factor", ["1", None, True, [1.0], 1j])
    def test_factor_of_another_type(self, factor):
        with pytest.raises(TypeError, match="factor must be a real number"):
            Moments.of(self.X, self.y).scaled(factor)

    @pytest.mark.parametrize(
        ("arguments", "options", "error", "message"),
        [
            ((np.ones((3, 2, 1)), y[:3]), {}, ValueError, "X must be 1-D or 2-D"),
            ((np.ones((0, 2)), np.ones(0)), {}, ValueError, "at least one sample"),
            ((np.ones((3, 0)), np.ones(3)), {}, ValueError, "at least one sample"),
            ((X, y[:5]), {}, ValueError, "y has 5 entries where X has 6"),
            ((X, X[:5]), {}, ValueError, "y has 5 rows where X has 6"),
            ((X, np.ones((6, 0))), {}, ValueError, "y must be 1-D"),
            ((X, np.ones((6, 1, 1))), {}, ValueError, "y must be 1-D"),
            ((X, 1.0), {}, ValueError, "y must be 1-D"),
            ((X, ["a"] * 6), {}, TypeError, "y must hold real numbers"),
            ((X * 1j, y), {}, TypeError, "X must hold real numbers"),
            ((X, y, -y), {}, ValueError, "sample_weight must not be negative"),
            ((X, y, 0 * y), {}, ValueError, "positive sum"),
            ((X, y, y[:3]), {}, ValueError, "sample_weight has 3"),
            ((X, y, X), {}, ValueError, "sample_weight must be 1-D"),
            ((X, y), {"backend": "cuda"}, ValueError, "backend must be one of"),
            ((X, y), {"precision": "half"}, ValueError, "precision must be one of"),
            ((X, y), {"n_threads": 0}, ValueError, "n_threads must be"),
            ((X, y), {"n_threads": 1.5}, TypeError, "n_threads must be"),
        ],
    )
    def test_of(self, arguments, options, error, message):
        with pytest.raises(error, match=message):
            Moments.of(*arguments, **options)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("where", ["X", "y", "targets"])
    def test_not_finite(self, backend, dtype, value, where):
        X, y = np.ones((600, 2), dtype), np.ones((600, 3) if where == "targets" else 600, dtype)
        (X if where == "X" else y)[555] = value
        name = "X" if where == "X" else "y"
        with pytest.raises(ValueError, match=rf"{name} must be finite; {name}\[555.*is {value}"):
            Moments.of(X, y, backend=backend)

    def test_squares_beyond_the_range(self, backend):
        X = np.array([[1e200], [-1e200], [3.0]])
        with pytest.raises(OverflowError, match="rescale the data"):
            Moments.of(X, np.ones(3), backend=backend)


class TestValue:
    def test_equal_to_the_last_bit(self, rng):
        X, y = rng.standard_normal((20, 2)), rng.standard_normal(20)
        moments = Moments.of(X, y)
        assert moments == Moments.of(X, y)
        X[3, 1] = np.nextafter(X[3, 1], 9.0) + 1e-12
        assert moments != Moments.of(X, y)
        assert moments != moments.scaled(2.0)
        assert Moments.of(X[:, :1], y) != Moments.of(X[:, 0], y)
        assert Moments.of(X, y) != Moments.of(X, y[:, np.newaxis])
        assert moments != "moments"

    def test_has_no_hash(self, moments):
        with pytest.raises(TypeError, match="unhashable"):
            hash(moments)

    def test_is_frozen(self, moments):
        with pytest.raises(AttributeError):
            moments.n_samples = 3

    def test_printed(self, rng):
        X = rng.standard_normal((1200, 3))
        assert repr(Moments.of(X, X)) == "Moments(n_samples=1,200, n_features=3, n_targets=3)"
        weighted = Moments.of(X, X[:, 0], np.full(1200, 0.5))
        assert repr(weighted) == (
            "Moments(n_samples=1,200, n_features=3, n_targets=1, weight_sum=600)"
        )


@pytest.mark.parametrize("n_features", [1, 10, 30])
def test_a_second_read_mends_a_bad_pivot(n_features):
    # The five rows whose median sums are taken about lie far from all others, and have no weight.
    rng, n = np.random.default_rng(0), 1001
    X, y, weight = rng.standard_normal((n, n_features)), rng.standard_normal(n), np.ones(n)
    five = [(n - 1) * k // 6 for k in range(1, 6)]
    X[five], weight[five] = 1e7, 0.0
    scatter = Moments.of(X, y, weight).scatter
    expected = Moments.of(np.delete(X, five, axis=0), np.delete(y, five)).scatter
    np.testing.assert_allclose(scatter, expected, rtol=1e-11, atol=1e-9)
