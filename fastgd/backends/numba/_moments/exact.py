"""Second moments in double-double, in one read: products and sums with their rounding errors.

A product of float32 numbers is exact in float64; of others, a fused multiply-add gives the
error. Each sum keeps its rounding errors in a second one (Dot2 of Ogita, Rump and Oishi), which
is short, and goes into double-doubles chunk by chunk. No fast-math flag may touch any of this.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastgd._data.problem import Problem
from fastgd._linalg.double_double import DoubleDouble
from fastgd._threads import Team, ordered_sum
from fastgd.backends.numba._compile import compiled
from fastgd.backends.numba._moments import pack
from fastgd.backends.numba._moments.kernels import Packing
from fastgd.backends.numba._moments.moments import (
    WAITING_BYTES,
    choose_pack,
    chunk_rows,
    moments_rows,
    new_scratch,
)
from fastgd.backends.numba._signatures import exact_signature
from fastgd.backends.numba._vectors import emit, exchange
from fastgd.backends.numba._vectors.assemble import Kernel
from fastgd.backends.numba._vectors.emit import Builder, Value, const

NO_FLAGS: frozenset[str] = frozenset()
# Rows of a chunk: its sums in registers have so many terms over the lanes of one. (1000 columns are
# 1.15 times as fast as in chunks of 64 rows, which fit the second cache; 300, 1.04 times.)
CHUNK_ROWS = 256
# Groups are no longer than an interrupt may wait: 0.3 s of 2,000 columns.
LEAST_GROUP_ROWS = 256
# A block of columns by columns: two sums for each product, and the columns, fill the registers.
LEFT, RIGHT = (3, 4) if emit.REGISTER_BYTES == 64 else (2, 2)
# An operation here is some ten of the plain products.
THREADING_PRODUCTS = 2_000_000


def _fma(b: Builder, x: Value, y: Value, z: Value) -> Value:
    kind = x.type
    name = f"llvm.fma.v{kind.count}{kind.element.intrinsic_name}"
    function = b.module.declare_intrinsic(name, (), ir.FunctionType(kind, [kind] * 3))
    return b.call(function, [x, y, z])


def _two_sum(b: Builder, x: Value, y: Value) -> tuple[Value, Value]:
    total = b.fadd(x, y)
    part = b.fsub(total, x)
    return total, b.fadd(b.fsub(x, b.fsub(total, part)), b.fsub(y, part))


def _emit_products(context: Any, b: Builder, signature: Any, args: Any, kind: str) -> Value:
    arrays = emit.arrays(context, b, signature, args)
    scratch, high, low = arrays[0], arrays[1], arrays[2]
    n_rows = args[3]
    count = emit.register_lanes(emit.DOUBLE)
    length = cgutils.unpack_tuple(b, scratch.shape, 2)[1]
    n_columns = cgutils.unpack_tuple(b, high.shape, 2)[0]

    def column(index: Value, i: Value) -> Value:
        return emit.load(b, scratch.data, b.add(b.mul(index, length), i), count, emit.DOUBLE)

    def block(left: Value, right: Value, n_left: int, n_right: int, diagonal: bool) -> None:
        number = n_left * n_right
        sums = emit.Accumulators(b, emit.DOUBLE, count, number)
        errors = emit.Accumulators(b, emit.DOUBLE, count, number)
        with emit.loop(b, const(0), n_rows, count) as i:
            lefts = [_weighed(column(b.add(left, const(k)), i), i) for k in range(n_left)]
            for m in range(n_right):
                x = column(b.add(right, const(m)), i)
                for k in range(min(m + 1, n_left) if diagonal else n_left):
                    _add(k * n_right + m, *lefts[k], x, sums, errors)
        totals = list(zip(sums.get(b), errors.get(b), strict=True))
        for k in range(n_left):
            for m in range(k if diagonal else 0, n_right):
                place = b.add(b.mul(b.add(left, const(k)), n_columns), b.add(right, const(m)))
                _merge(place, *totals[k * n_right + m])

    def _weighed(x: Value, i: Value) -> tuple[Value, Value | None]:
        """A column times the weights: what float64 holds, and what it leaves."""
        if "weighted" not in kind:
            return x, None
        s = column(n_columns, i)
        product = b.fmul(s, x)
        if kind == "weighted singles":
            return product, None  # of 48 bits: exact
        return product, _fma(b, s, x, b.fneg(product))

    def _add(
        index: int,
        left: Value,
        left_low: Value | None,
        x: Value,
        sums: emit.Accumulators,
        errors: emit.Accumulators,
    ) -> None:
        product = b.fmul(left, x)
        total, error = _two_sum(b, sums.value(b, index), product)
        if kind != "singles":
            beyond = _fma(b, left, x, b.fneg(product))
            if left_low is not None:
                beyond = _fma(b, left_low, x, beyond)
            error = b.fadd(error, beyond)
        sums.put(b, index, total)
        errors.plus(b, index, error)

    def _merge(place: Value, total: Value, errors: Value) -> None:
        while total.type.count > 1:
            total, error = _two_sum(b, *exchange.halves(b, total))
            first, second = exchange.halves(b, errors)
            errors = b.fadd(b.fadd(first, second), error)
        first = ir.Constant(emit.I32, 0)
        total, errors = b.extract_element(total, first), b.extract_element(errors, first)
        at_high, at_low = b.gep(high.data, [place]), b.gep(low.data, [place])
        total, error = _two_sum(b, b.load(at_high), total)
        rest = b.fadd(b.load(at_low), b.fadd(errors, error))
        total, rest = _two_sum(b, total, rest)
        b.store(total, at_high)
        b.store(rest, at_low)

    def rows_of_blocks(left: Value, n_left: int) -> None:
        there = b.sub(n_columns, left)
        for number in range(1, RIGHT + 1):
            compare = ">=" if number == RIGHT else "=="
            with b.if_then(b.icmp_signed(compare, there, const(number))):
                block(left, left, min(n_left, number), number, diagonal=True)
        begin = emit.smaller(b, b.add(left, const(RIGHT)), n_columns)
        extra = b.srem(b.sub(n_columns, begin), const(RIGHT))
        whole = b.sub(n_columns, extra)
        with emit.loop(b, begin, whole, RIGHT) as right:
            block(left, right, n_left, RIGHT, diagonal=False)
        for number in range(1, RIGHT):
            with b.if_then(b.icmp_signed("==", extra, const(number))):
                block(left, whole, n_left, number, diagonal=False)

    with emit.loop(b, const(0), n_columns, LEFT) as left:
        rows_of_blocks(left, LEFT)
    return context.get_dummy_value()


def _write(
    context: Any, b: Builder, signature: Any, args: Any, kind: str, layouts: tuple[str, str]
) -> None:
    arrays = emit.arrays(context, b, signature, args)
    weight, scratch = arrays[2], arrays[6]
    n_columns = cgutils.unpack_tuple(b, arrays[7].shape, 2)[0]
    length = cgutils.unpack_tuple(b, scratch.shape, 2)[1]
    typed = list(zip(signature.args, args, strict=True))
    packing = Packing(context, b, signature, args, layouts, by_roots=False)
    with packing.chunks(*args[9:11]) as (first, n_rows, padded):
        if weight is not None:
            with emit.loop(b, const(0), n_rows) as i:
                s = emit.convert(b, b.load(b.gep(weight.data, [b.add(first, i)])), emit.DOUBLE)
                b.store(s, b.gep(scratch.data, [b.add(b.mul(n_columns, length), i)]))
        emit.call(
            context, b, partial(_emit_products, kind=kind), *typed[6:9], (types.int64, padded)
        )


KINDS = ("singles", "doubles", "weighted singles", "weighted doubles")
# By how exact products are, and the layouts of the features and of the targets.
KERNELS = {
    (kind, *layouts): Kernel(
        "exact_{}_{}_{}".format(kind.replace(" ", "_"), *layouts),
        partial(_write, kind=kind, layouts=layouts),
    )
    for kind, layouts in product(KINDS, product(pack.PACKS, pack.PACKS))
}


def read_exactly(problem: Problem, n_threads: int | None) -> DoubleDouble:
    """All cross products of the columns of X and y and of ones, from one read."""
    X, weight = problem.X, problem.sample_weight
    y = problem.y.reshape(problem.n_samples, -1)
    n, d = X.shape
    n_columns = d + y.shape[1] + 1
    (layout_X, fixed_X), (layout_y, fixed_y) = choose_pack(X), choose_pack(y)
    single = X.dtype == y.dtype == np.float32
    kind = "singles" if single else "doubles"
    if weight is not None:
        kind = f"weighted {kind}"
    add_rows = compiled(
        KERNELS[kind, layout_X, layout_y],
        (X.dtype, y.dtype, weight is not None, len(fixed_X), len(fixed_y)),
        exact_signature,
        NO_FLAGS,
    )
    zero, double = np.zeros(n_columns), np.dtype(np.float64)
    rows = chunk_rows(n_columns, double.itemsize, CHUNK_ROWS)
    length = moments_rows(problem, n_columns, LEAST_GROUP_ROWS)

    def add_group(group: int) -> DoubleDouble:
        high, low = np.zeros((n_columns, n_columns)), np.zeros((n_columns, n_columns))
        scratch = new_scratch(n_columns + 1, rows, double)
        scratch[n_columns - 1] = 1.0
        first = group * length
        stop = min(first + length, n)
        add_rows(X, y, weight, zero, fixed_X, fixed_y, scratch, high, low, first, stop)
        return DoubleDouble(high, low)

    n_groups = -(-n // length)
    at_once = max(2, WAITING_BYTES // (16 * n_columns**2))
    threaded = n_groups > 1 and n * n_columns**2 >= THREADING_PRODUCTS
    with np.errstate(over="ignore", invalid="ignore"):
        with closing(Team(n_threads if threaded else 1)) as team:
            gram = ordered_sum(add_group, n_groups, team, at_once)
        high, low = (np.triu(part) + np.triu(part, 1).T for part in (gram.high, gram.low))
        return DoubleDouble(high, low)
