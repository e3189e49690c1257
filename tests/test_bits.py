"""The result is a function of the data alone: the same bytes whoever asks, and from where."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
from compare import TOLERANCE, assert_evaluation
from naive import evaluate
from shapes import FEW_SHAPES, SHAPES, use_small_groups

from fastgd import Moments, fit, mse_and_gradient
from fastgd._data.arrays import aligned_empty
from fastgd._data.problem import Problem, as_problem
from fastgd._threads import Team
from fastgd.backends import numba as numba_backend
from fastgd.backends.numba import _choice
from fastgd.backends.numba._choice import choose_kernel, pass_rows
from fastgd.backends.numba._fused import columns
from fastgd.backends.numba._fused import kernels as _kernels
from fastgd.backends.numba._fused.row_forms import FORMS, choose_form, choose_near_form
from fastgd.backends.numba._vectors import emit
from fastgd.backends.numba._vectors.assemble import Kernel

# Not by a filter in the call, which would be no other thread's.
pytestmark = pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")

THREADS = (1, 2, 3, 8)
FEW_ROWS = tuple(shape for shape in FEW_SHAPES if shape.order == "C")
N_ROWS = 997  # of no vector, block or group
VARIANTS = (
    {"dtype": "f4", "precision": "double", "weighted": False},
    {"dtype": "f4", "precision": "single", "weighted": True},
    {"dtype": "f8", "precision": "double", "weighted": True},
)
ALL = [(shape, VARIANTS[0]) for shape in SHAPES]
ALL += [(shape, variant) for shape in FEW_SHAPES for variant in VARIANTS[1:]]
everything = pytest.mark.parametrize(
    ("shape", "variant"),
    ALL,
    ids=[f"{s}-{v['dtype']}-{v['precision']}{'-weighted' * v['weighted']}" for s, v in ALL],
)


def bits(X, y, weight=None, *, predicting=False, **options):
    """Every byte that `mse_and_gradient` returns or fills."""
    coef = np.linspace(0.7, -1.0, X.shape[1]) if X.ndim == 2 else 0.7
    prediction = np.empty(len(y), X.dtype) if predicting else None
    value = mse_and_gradient(
        X, y, coef, 0.25, sample_weight=weight, prediction=prediction, **options
    )
    sums = np.array([value.mse, value.intercept_gradient, *np.atleast_1d(value.gradient)])
    return sums.tobytes() + (prediction.tobytes() if predicting else b"")


def bits_of_fit(X, y, weight=None, **options):
    """Every byte of the numbers in a FitResult."""
    result = fit(X, y, sample_weight=weight, max_iter=8, tol=0, **options)
    numbers = [np.atleast_1d(result.coef), result.loss_history]
    numbers.append([result.intercept, result.loss, result.grad_norm, result.learning_rate])
    return np.concatenate(numbers).tobytes()


def some(shape, dtype="f4"):
    """X, y and weights of eight groups at least; a group is never of fewer than 64 rows."""
    return shape.data(N_ROWS if shape.d > 3 else 5 * N_ROWS, dtype)


def data_of(shape, variant):
    X, y, weight = some(shape, variant["dtype"])
    return X, y, weight if variant["weighted"] else None


@pytest.fixture
def small_groups(monkeypatch):
    use_small_groups(monkeypatch)


class TestGroups:
    @pytest.mark.parametrize("n", [1, 63, 4096, 16383, 16384, 32767, 40000])
    @pytest.mark.parametrize("d", [23, 2000, 2001, 5000])
    def test_of_many_columns_are_whole_blocks_and_not_too_short(self, n, d):
        X = np.lib.stride_tricks.as_strided(np.zeros(1, "f4"), (n, d), (4, 0), writeable=False)
        rows = pass_rows(Problem(X, np.zeros(n, "f4"), None, False))
        assert rows % _choice.GROUP_ROWS == 0
        assert rows >= min(columns.LEAST_RUN_ROWS, n // _choice.SHARES)
        if d > columns.MOST_BLOCKED_COLUMNS:
            assert rows <= columns.block_rows(d, 4)


class TestBlocksOfColumns:
    @pytest.mark.parametrize("d", [23, 100, 500, 1000, 2000])
    @pytest.mark.parametrize("itemsize", [4, 8])
    def test_fit_where_more_than_the_least_do(self, d, itemsize):
        rows = columns.block_rows(d, itemsize)
        assert rows % _choice.GROUP_ROWS == 0
        assert rows >= 512
        assert rows * d * itemsize <= columns.BLOCK_BYTES or rows == 512


class TestTheTableOfShapes:
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_says_which_kernel_is_used(self, small_groups, shape):
        X, y, _ = some(shape)
        problem = as_problem(X, y)
        for dtype, kernel in (("f8", shape.kernel), ("f4", shape.in_single or shape.kernel)):
            assert choose_kernel(problem, np.dtype(dtype)).kernel.name == kernel

    @pytest.mark.parametrize("size", [4, 8])
    def test_takes_as_many_rows_at_a_time_with_gaps(self, size):
        for d in range(33, 2000):
            forms = choose_form(d, size, True), choose_form(d, size, False)
            assert forms[0].rows == forms[1].rows
            near = {choose_near_form(d, size, computed) for computed in {size, 8}}
            assert {*forms, *near} <= set(FORMS)

    @everything
    def test_has_several_groups(self, small_groups, shape, variant):
        problem = as_problem(*data_of(shape, variant))
        assert problem.n_samples // pass_rows(problem) >= 7

    def test_leaves_no_kernel_out(self, small_groups):
        kernels = {kernel for shape in SHAPES for kernel in shape[2:] if kernel}
        assert kernels == {kernel for shape in FEW_SHAPES for kernel in shape[2:] if kernel}
        found = set()
        for d in {*range(1, 130), 1000, 5000, *(shape.d for shape in SHAPES)}:
            for order, dtype in product("CF", ("f4", "f8")):
                X = np.empty((2, d), "f4", order)
                choice = choose_kernel(as_problem(X, np.zeros(2)), np.dtype(dtype))
                found.add(choice.kernel.name)
        assert kernels == found

    @pytest.mark.skipif(emit.REGISTER_BYTES < 64, reason="some kernels need registers of 64 bytes")
    def test_is_of_kernels_that_all_have_a_use(self, small_groups):
        found = set()
        for d, gaps, dtype in product({*range(1, 130), *(s.d for s in SHAPES)}, (1, 2), "fd"):
            for order in "CF":
                problem = as_problem(np.empty((4, d), "f4", order)[::gaps], np.zeros(4 // gaps))
                found.add(choose_kernel(problem, np.dtype(dtype)).kernel.name)
        kernels = [*vars(_kernels).values(), *_kernels.ROW_BLOCKS.values()]
        assert found == {kernel.name for kernel in kernels if isinstance(kernel, Kernel)}


@pytest.mark.usefixtures("small_groups")
class TestOfOnePass:
    @everything
    def test_with_any_number_of_threads(self, shape, variant):
        X, y, weight = data_of(shape, variant)
        one = bits(X, y, weight, n_threads=1, precision=variant["precision"])
        for n_threads in (*THREADS, *THREADS[::-1], None):
            assert bits(X, y, weight, n_threads=n_threads, precision=variant["precision"]) == one

    @pytest.mark.parametrize("shape", FEW_SHAPES, ids=str)
    def test_with_predictions(self, shape):
        X, y, weight = some(shape)
        found = {bits(X, y, weight, predicting=True, n_threads=n) for n in THREADS}
        assert len(found) == 1

    @pytest.mark.parametrize("precision", ["double", "single"])
    @pytest.mark.parametrize("n", [1, 70, N_ROWS])
    def test_whatever_was_in_scratch(self, n, precision, monkeypatch):
        for shape in FEW_SHAPES:
            X, y, weight = shape.data(n)
            expected = bits(X, y, weight, precision=precision)
            with monkeypatch.context() as patch:
                patch.setattr(numba_backend, "aligned_empty", all_nan)
                assert bits(X, y, weight, precision=precision) == expected, shape

    def test_are_those_of_the_right_answer(self):
        # What is the same everywhere is no use if it is wrong.
        for shape in FEW_SHAPES:
            X, y, weight = some(shape)
            coef = np.linspace(-1.0, 1.0, shape.d)
            exact = evaluate(X, y, coef, 0.25, weight)
            for precision in ("double", "single"):
                value = mse_and_gradient(
                    X, y, coef, 0.25, sample_weight=weight, n_threads=3, precision=precision
                )
                assert_evaluation(value, exact, TOLERANCE[precision])

    @pytest.mark.parametrize("shape", FEW_SHAPES, ids=str)
    def test_for_eight_callers_at_once(self, shape):
        X, y, weight = some(shape)
        alone = bits(X, y, weight)
        all_here = threading.Barrier(8, timeout=60)

        def call(number):
            all_here.wait()
            return {bits(X, y, weight, n_threads=1 + number % 3) for _ in range(20)}

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(call, range(8))) == [{alone}] * 8

    @pytest.mark.parametrize("shape", FEW_SHAPES, ids=str)
    def test_whoever_takes_which_group(self, shape, monkeypatch):
        X, y, weight = some(shape)
        options = {"strategy": "moments", "n_threads": 2}
        in_order = bits(X, y, weight, n_threads=2), bits_of_fit(X, y, weight, **options)
        ran = []

        def backwards(team, work, n_groups):
            ran.append(n_groups)
            for group in reversed(range(n_groups)):
                work(group)

        monkeypatch.setattr(Team, "run", backwards)
        backward = bits(X, y, weight, n_threads=2), bits_of_fit(X, y, weight, **options)
        assert backward == in_order
        assert len(ran) >= 2  # of many features the moments take two
        assert min(ran) > 2


def all_nan(size):
    room = aligned_empty(size)
    room[...] = np.nan
    return room


def at_offset(values, offset):
    """`values` in C order, so many bytes behind a multiple of 64 bytes."""
    memory = np.zeros(values.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    placed = memory[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    placed[...] = values
    assert placed.ctypes.data % 64 == offset
    return placed


def read_only(values):
    placed = values.copy()
    placed.flags.writeable = False
    return placed


def unaligned(values):
    placed = np.frombuffer(b"\0" * 3 + values.tobytes(), values.dtype, offset=3)
    placed = placed.reshape(values.shape)
    assert not placed.flags.aligned
    return placed


def rows_of_more(values):
    return np.concatenate([values[:3], values, values[:2]])[3:-2]


def every_second_row(values):
    return np.repeat(values, 2, axis=0)[::2]


def columns_of_more(values):
    return np.column_stack([values, values, values])[:, : values.shape[1]]


def columns_beside_nan(values):
    wide = np.full((len(values), 3 * values.shape[1]), np.nan, values.dtype)
    wide[:, : values.shape[1]] = values
    return wide[:, : values.shape[1]]


LAYOUTS = {
    "read-only": read_only,
    "unaligned": unaligned,
    **{f"{k} bytes off": lambda v, k=k: at_offset(v, k) for k in (0, 8, 16, 32, 56)},
    "4 bytes off": lambda v: at_offset(v, 4 if v.itemsize == 4 else 40),
    "within a longer array": rows_of_more,
    "every second row": every_second_row,
}


C_ORDERED = [shape for shape in SHAPES if shape.order == "C" or shape.d == 1]


@pytest.mark.usefixtures("small_groups")
class TestOfOneArrayInManyPlaces:
    @pytest.mark.parametrize("shape", C_ORDERED, ids=str)
    def test_wherever_it_lies(self, shape, tmp_path):
        X, y, weight = some(shape)
        path = tmp_path / "X"
        X.tofile(path)
        mapped = np.memmap(path, X.dtype, "r", shape=X.shape)
        expected = bits(X, y, weight)
        assert bits(mapped, y, weight) == expected, "memory-mapped"
        mapped = np.memmap(path, X.dtype, "r", shape=X[1:].shape, offset=X[:1].nbytes)
        assert bits(mapped, y[1:], weight[1:]) == bits(X[1:], y[1:], weight[1:]), "mapped at a row"
        for name, place in LAYOUTS.items():
            if name == "every second row" and shape.d == 1:
                continue  # read as a row of one, not as a column
            assert bits(place(X), y, weight) == expected, f"X {name}"
            assert bits(X, place(y), place(weight)) == expected, f"y and weights {name}"
            assert bits(place(X), place(y), place(weight), n_threads=3) == expected, name
        if shape.d > 1:
            assert bits(columns_of_more(X), y, weight) == expected, "columns of a wider array"
            assert bits(columns_beside_nan(X), y, weight) == expected, "columns beside NaN"
            single = bits(X, y, weight, precision="single")
            assert bits(columns_beside_nan(X), y, weight, precision="single") == single

    @pytest.mark.parametrize("shape", [s for s in SHAPES if s.order == "F"], ids=str)
    def test_wherever_columns_lie(self, shape):
        X, y, weight = some(shape)
        expected = bits(X, y, weight)
        for offset in (4, 8, 16, 32, 56):
            assert bits(at_offset(X.T, offset).T, y, weight) == expected, offset
        longer = np.asfortranarray(np.concatenate([X[:3], X, X[:2]]))[3:-2]
        assert bits(longer, y, weight) == expected

    @pytest.mark.parametrize("shape", FEW_ROWS, ids=str)
    def test_of_numbers_that_are_not_converted(self, shape):
        for dtype, precision in (("f8", "double"), ("f4", "single")):
            X, y, weight = some(shape, dtype)
            expected = bits(X, y, weight, precision=precision)
            for name, place in LAYOUTS.items():
                found = bits(place(X), place(y), place(weight), precision=precision)
                assert found == expected, (name, dtype)

    def test_in_one_dimension(self):
        x, y, weight = some(SHAPES[0])
        expected = bits(x[:, 0], y, weight)
        assert bits(x, y, weight) == expected
        for name, place in LAYOUTS.items():
            if name != "every second row":
                assert bits(place(x[:, 0]), place(y), place(weight)) == expected, name


@pytest.mark.usefixtures("small_groups")
class TestOfAFit:
    @pytest.mark.parametrize("strategy", ["stream", "moments"])
    @pytest.mark.parametrize("learning_rate", ["auto", 1e-3])
    @pytest.mark.parametrize("shape", FEW_SHAPES, ids=str)
    def test_with_any_number_of_threads(self, shape, strategy, learning_rate):
        X, y, weight = some(shape)
        options = {"strategy": strategy, "learning_rate": learning_rate}
        one = bits_of_fit(X, y, weight, n_threads=1, **options)
        for n_threads in (2, 3, 8, 1, None):
            assert bits_of_fit(X, y, weight, n_threads=n_threads, **options) == one

    @pytest.mark.parametrize("shape", FEW_ROWS, ids=str)
    def test_wherever_the_data_lie(self, shape):
        X, y, weight = some(shape)
        expected = bits_of_fit(X, y, weight)
        for name, place in LAYOUTS.items():
            if shape.d > 64 and name == "every second row":
                continue
            assert bits_of_fit(place(X), place(y), place(weight)) == expected, name

    @pytest.mark.parametrize("shape", FEW_ROWS, ids=str)
    def test_for_eight_callers_at_once(self, shape):
        X, y, weight = some(shape)
        alone = bits_of_fit(X, y, weight)
        all_here = threading.Barrier(8, timeout=60)

        def call(number):
            all_here.wait()
            return {bits_of_fit(X, y, weight, n_threads=1 + number % 3) for _ in range(3)}

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(call, range(8))) == [{alone}] * 8


@pytest.mark.parametrize(("n", "d"), [(2_500_001, None), (500_003, 5), (40_013, 64)])
def test_of_as_much_data_as_threads_are_for(n, d):
    # As the library is, with no constant changed.
    rng = np.random.default_rng(5)
    X = rng.standard_normal((n, d) if d else n, np.float32)
    y = rng.standard_normal(n, np.float32)
    assert len({bits(X, y, n_threads=n_threads) for n_threads in (*THREADS, None)}) == 1
    moments = {Moments.of(X, y, n_threads=n_threads).scatter.tobytes() for n_threads in (1, 2, 8)}
    assert len(moments) == 1
    assert len({bits_of_fit(X, y, n_threads=n_threads) for n_threads in (1, 2, 8)}) == 1


IN_A_NEW_PROCESS = """
import sys
import warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {tests!r})
from test_bits import bits, bits_of_fit
from shapes import Shape
from fastgd import cross_validate, fit
for d in (3, 150, 300):  # of 150, two threads share products and sum otherwise; of 200 not
    X, y, weight = Shape(d, "C", "").data(5 * 997 if d < 10 else 997)
    print(d, bits(X, y, weight).hex())
    for strategy in ("stream", "moments"):
        print(d, strategy, bits_of_fit(X, y, weight, strategy=strategy).hex())
    # Of 300, they share what finds eigenvalues.
    print(d, "nesterov", bits_of_fit(X, y, weight, strategy="moments", method="nesterov").hex())
    result = fit(X, y, strategy="moments")
    print(d, "condition", result.condition_number.hex())
    print(d, "summary", result.summary().standard_errors.tobytes().hex())
    print(d, "folds", cross_validate(X, y, alpha=[0.0, 1.0]).mse.tobytes().hex())
"""


def test_whatever_the_threads_of_the_environment():
    # Not a bit may hang on how many threads NumPy's linear algebra has, either.
    found = []
    for number in ("1", "2"):
        # Not Numba's, which ours goes before: kernels would be compiled anew for each.
        names = ("FASTGD", "OMP", "OPENBLAS", "MKL")
        settings = {f"{name}_NUM_THREADS": number for name in names}
        code = IN_A_NEW_PROCESS.format(tests=os.path.dirname(__file__))
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={**os.environ, **settings},
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        found.append(done.stdout.splitlines())
    differing = [one.rsplit(" ", 1)[0] for one, two in zip(*found, strict=True) if one != two]
    assert differing == []
