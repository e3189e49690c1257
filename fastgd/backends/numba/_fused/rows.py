"""The fused kernel for many features in contiguous rows: one, two or four rows at a time.

Each row is read twice, the second time from the nearest cache: once for its prediction, once for
its share of the gradient. One loop does the first for a block of rows and the second for the block
before, so that memory is read at all times. Where that cache has room for one, it is a copy that is
read again, of numbers that are converted already. `row_forms` says which rows are read how.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from numba.core import cgutils

from fastgd.backends.numba._fused.lines import Lines
from fastgd.backends.numba._fused.residuals import Residuals
from fastgd.backends.numba._fused.row_forms import Form
from fastgd.backends.numba._vectors import emit, exchange, masked
from fastgd.backends.numba._vectors.emit import Builder, Value, const

# Runs of sums: at most 64 rows in float32, then float64; and so many in float64, for a single run
# over a hundred million equal terms would be off by 1e-11.
ROWS_A_RUN = {emit.SINGLE: 64, emit.DOUBLE: 4096}
# Rows are fetched so far ahead: float32 in main memory, 7 to 5000 features, come 1.0 to 1.25 times
# as fast so, in one thread and in two; 512 and 1024 bytes do as well, and in 1536 32 features in
# huge pages took 1.15 times as long. (With AVX-512, see `emit.BYTES_IN_FLIGHT`.)
BYTES_AHEAD = 768
# Rows with gaps between them. With AVX2, those of four lines and more; 1536 and 3072 bytes ahead
# are level. With AVX-512, all.
GAP_BYTES_AHEAD, LEAST_ROW_BYTES = (
    (3072, 0) if emit.REGISTER_BYTES == 64 else (1536, 4 * emit.LINE_BYTES)
)
# Where rows are taken one by one. What is read by lines is asked for again when near: float64 of
# 400 and 1000 features, and float32 of 1000 in single precision, come 1.04 to 1.07 times as fast
# so; but 550 and 700 of float32, not by lines, 0.95 times.
SINGLE_GAP_BYTES_AHEAD, SINGLE_BYTES_NEAR = 6144, (6144, 2048)
# Rows with gaps between them, by fours or twos: asked for again when near, 100 to 400 features come
# 1.0 to 1.2 times as fast in one thread, and 0.95 to 1.1 times in two. (In whole rows: those of
# 1024 bytes and more are asked for once when near, by two instructions.)
GAP_BYTES_NEAR = (1024, 512)
# Of long rows that are converted, a thread asks for so many bytes, of all its rows, and for the
# same again when it is as near as this: what is asked for while much else is on its way is dropped.
LONG_BYTES_IN_FLIGHT, LONG_BYTES_NEAR = 12288, (6144, 2048)


def place_to_fetch(
    b: Builder,
    X: Any,
    stride: Value,
    d: Value,
    size: int,
    bytes_ahead: int = BYTES_AHEAD,
    gap_bytes_ahead: int = GAP_BYTES_AHEAD,
) -> Value:
    """Where to fetch what a reader of rows of `d` elements of `size` bytes at X needs soon.

    Where there are gaps between rows, as many rows further on as hold `gap_bytes_ahead`, which made
    64 to 5000 features of X[::2] and X[:, :k] 1.1 to 1.5 times as fast as none. But of rows of few
    lines, with AVX2, here, which is nothing new: hardware follows them, unless it is disturbed (in
    huge pages, 16 features: 0.6 to 0.8 of the speed, 20 and 32: 0.8 to 0.95, 48: level; 24: 1.3).
    """
    rows = b.sdiv(b.add(d, const(gap_bytes_ahead // size - 1)), d)
    long = b.icmp_signed(">=", d, const(LEAST_ROW_BYTES // size))
    ahead = b.select(long, b.mul(rows, stride), const(0))
    ahead = b.select(b.icmp_signed("==", stride, d), const(bytes_ahead // size), ahead)
    return b.gep(X.data, [ahead])


def scratch_size(d: int, form: Form) -> int:
    """Numbers of float64 that rows of `d` features need room for, at most."""
    copies = form.rows if form.copied else 0
    return (3 + copies) * (d + emit.REGISTER_BYTES // 4) + emit.LINE_BYTES // 8


def add_row_blocks(
    context: Any, b: Builder, signature: Any, args: Any, start: Value, n_blocks: Value, form: Form
) -> None:
    """Add the sums of `n_blocks` blocks of ``form.rows`` rows from row `start` on.

    The rows of a block are `n_blocks` apart: see `emit.rows_apart`.
    """
    arrays = emit.arrays(context, b, signature, args)
    X, coef, out, scratch = (arrays[i] for i in (0, 4, 6, 9))
    n_rows, copied = form.rows, form.copied

    stored = context.get_value_type(signature.args[0].dtype)
    scalar = context.get_value_type(signature.args[4].dtype)
    count = emit.register_lanes(scalar)
    # In half registers a processor looks less far ahead, for its instructions are more, and what it
    # then reads too early no longer keeps from coming what was asked for: 1600 to 10000 features
    # are 1.2 times as fast in one thread so, and with what is asked for again. (Empty instructions
    # between have the same effect. Of numbers that are not converted, it is level or 0.95.)
    hurried = form.long and stored != scalar
    if hurried:
        count //= 2
    d = cgutils.unpack_tuple(b, X.shape, 2)[1]
    stride = b.sdiv(cgutils.unpack_tuple(b, X.strides, 2)[0], const(emit.size(stored)))
    # A turn of the loop over features takes a register of them as they are stored: two vectors
    # where float32 is converted to float64.
    turn = emit.register_lanes(stored)
    in_turns = b.sub(d, b.srem(d, const(turn)))
    size, ahead = emit.size(stored), emit.bytes_ahead(n_rows, BYTES_AHEAD)
    gap_ahead = SINGLE_GAP_BYTES_AHEAD if n_rows == 1 else GAP_BYTES_AHEAD
    # Two loops over a block of rows, its products and its gradient, each of which fetches half of
    # the next block, instead of one over two blocks: of 1700 to 10000 features, 1.02 to 1.1 times
    # as fast (one thread and two), but 0.95 where features are converted.
    in_two = form.long and stored == scalar
    if hurried:
        ahead = LONG_BYTES_IN_FLIGHT // n_rows
    places = [X.data] if in_two else [place_to_fetch(b, X, stride, d, size, ahead, gap_ahead)]
    if form.by_lines and stored == scalar:
        places += [place_to_fetch(b, X, stride, d, size, k, k) for k in SINGLE_BYTES_NEAR]
    if form.gaps:
        places += [place_to_fetch(b, X, stride, d, size, k, k) for k in GAP_BYTES_NEAR]
    if hurried:
        places += [b.gep(X.data, [const(k // n_rows // size)]) for k in LONG_BYTES_NEAR]
    tail = b.sub(d, b.srem(d, const(count)))
    has_tail = b.icmp_signed("!=", tail, d)
    # The last vector overlaps the one before; the coefficients of what it repeats are 0, and what
    # it adds to their gradient is left aside.
    last = b.sub(d, const(count))
    padded = b.select(has_tail, b.add(tail, const(count)), tail)
    repeated = masked.mask_of(b, b.sub(padded, d), count)
    # In scratch: coefficients, gradient, its sums, copies. Added to `out` at the end of each run,
    # the gradient of 550 to 1000 features cost a tenth of the speed.
    w = b.bitcast(scratch.data, scalar.as_pointer())
    g = b.gep(w, [padded])
    sums = b.bitcast(b.gep(g, [padded]), emit.DOUBLE.as_pointer())
    line = const(emit.LINE_BYTES // emit.size(emit.DOUBLE))  # between, as it was measured
    copies = b.bitcast(b.gep(sums, [b.add(padded, line)]), scalar.as_pointer())

    residuals = Residuals(context, b, signature, args, scalar, n_rows)
    # A sum for each vector of a turn, where one row alone would wait for its additions.
    parts = turn // count if n_rows == 1 else 1
    dots = emit.Accumulators(b, scalar, count, n_rows * parts)
    lines = Lines(b, X, stored) if form.by_lines and stored == scalar else None

    def features(offset: Value, j: Value) -> Value:
        return emit.convert(b, emit.load(b, X.data, b.add(offset, j), count, stored), scalar)

    def block(index: Value) -> tuple[list[Value], list[Value]]:
        rows = emit.rows_apart(b, b.add(start, index), n_blocks, n_rows)
        return rows, [b.mul(row, stride) for row in rows]

    def fetch(offsets: list[Value], j: Value) -> None:
        for place in () if form.near else places:
            for offset in offsets:
                emit.prefetch_at(b, place, b.add(offset, j))

    def copy(i: int, lane: Value) -> Value:
        return b.add(b.mul(lane, const(n_rows)), const(i * count))

    def for_vectors(offsets: list[Value], work: Callable[[Value, Value, int], None]) -> None:
        """``work(lane, j, part)`` for the vector of features from j on, whose sums lie at `lane`.

        It is number `part` of its turn. Meanwhile, what follows the rows at `offsets` is fetched.
        """
        if lines is not None:
            lines.begin(offsets[0])
        with emit.loop(b, const(0), in_turns, turn) as j:
            fetch(offsets, j)
            for first in range(0, turn, count):
                at = b.add(j, const(first))
                work(at, at, first // count)
        with b.if_then(b.icmp_signed("<", in_turns, d)):
            fetch(offsets, in_turns)
        fetch(offsets, b.sub(d, const(1)))  # where rows start within a line, in one more
        if turn > count:
            with emit.loop(b, in_turns, tail, count) as j:
                work(j, j, 0)
        with b.if_then(has_tail):
            work(tail, last, 0)

    def add_products(offsets: list[Value], lane: Value, j: Value, part: int) -> None:
        coef = emit.load(b, w, lane, count, scalar)
        for i, offset in enumerate(offsets):
            # The last vector, which overlaps the one before, is not one of the lines'.
            x = lines.vector(j) if lines is not None and lane is j else features(offset, j)
            dots.multiply_add(b, part % parts * n_rows + i, x, coef)
            if copied:
                emit.store(b, x, copies, copy(i, lane))

    def products() -> Value:
        values = dots.get(b)
        return exchange.row_sums(b, [emit.tree_sum(b, values[i::n_rows]) for i in range(n_rows)])

    def add_gradient(factors: list[Value], xs: list[Value], lane: Value) -> None:
        gradient = emit.load(b, g, lane, count, scalar)
        if n_rows == 1:
            emit.store(b, emit.multiply_add(b, factors[0], xs[0], gradient), g, lane)
            return
        pairs = []
        for i in range(0, n_rows, 2):
            term = b.fmul(factors[i], xs[i])
            pairs.append(emit.multiply_add(b, factors[i + 1], xs[i + 1], term))
        emit.store(b, b.fadd(gradient, emit.tree_sum(b, pairs)), g, lane)

    def add_block(index: Value) -> None:
        rows, offsets = block(index)
        # After the last block comes that block again: products that no one asks for.
        _, following = block(emit.smaller(b, b.add(index, const(1)), b.sub(n_blocks, const(1))))
        if in_two:
            half = n_rows // 2
            for_vectors(following[:half], partial(add_products, offsets))
            following = following[half:]
        sr = residuals.of_products(products(), rows)
        factors = [emit.splat_element(b, sr, i, count) for i in range(n_rows)]
        dots.clear(b)

        def work(lane: Value, j: Value, part: int) -> None:
            if copied:
                xs = [emit.load(b, copies, copy(i, lane), count, scalar) for i in range(n_rows)]
            else:
                xs = [features(offset, j) for offset in offsets]
            if not in_two:
                add_products(following, lane, j, part)
            add_gradient(factors, xs, lane)

        for_vectors(following, work)

    def for_moved(work: Callable[[Value, Value, Any], None]) -> None:
        """``work(lane, j, new)``, as `for_vectors` does; ``new(x)`` is x, 0 where it repeats."""
        with emit.loop(b, const(0), tail, count) as j:
            work(j, j, lambda x: x)
        with b.if_then(has_tail):
            work(tail, last, lambda x: b.select(repeated, emit.zero(x.type.element, count), x))

    def begin(lane: Value, j: Value, new: Any) -> None:
        emit.store(b, new(emit.load(b, coef.data, j, count, scalar)), w, lane)
        emit.store(b, emit.zero(scalar, count), g, lane)
        emit.store(b, emit.zero(emit.DOUBLE, count), sums, lane)

    def move_gradient() -> None:
        with emit.loop(b, const(0), padded, count) as j:
            part = emit.convert(b, emit.load(b, g, j, count, scalar), emit.DOUBLE)
            before = emit.load(b, sums, j, count, emit.DOUBLE)
            emit.store(b, emit.add(b, before, part), sums, j)
            emit.store(b, emit.zero(scalar, count), g, j)

    def move_sums(lane: Value, j: Value, new: Any) -> None:
        part = emit.load(b, sums, lane, count, emit.DOUBLE)
        before = emit.load(b, out.data, j, count, emit.DOUBLE)
        emit.store(b, emit.add(b, before, new(part)), out.data, j)

    for_moved(begin)
    if not in_two:
        with b.if_then(b.icmp_signed(">", n_blocks, const(0))):
            _, first_offsets = block(const(0))
            for_vectors(first_offsets, partial(add_products, first_offsets))
    run = ROWS_A_RUN[scalar] // n_rows
    with emit.loop(b, const(0), n_blocks, run) as first:
        stop = emit.smaller(b, b.add(first, const(run)), n_blocks)
        with emit.loop(b, first, stop) as index:
            add_block(index)
        move_gradient()
        residuals.end_run()
    for_moved(move_sums)
    residuals.add_to(out.data, d)
