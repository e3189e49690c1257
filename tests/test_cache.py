"""Compiled kernels on disk: whatever becomes of them, a call returns what it should."""

import hashlib
import itertools
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from numba.core.dispatcher import _FunctionCompiler

import fastgd
from fastgd.backends.numba import _compile
from fastgd.backends.numba._compile import DIGEST_BYTES

CODE = """
import numpy as np, fastgd
X = np.array([[1, 2, 0], [3, 4, 1], [5, 7, 0], [8, 8, 1]], "f4")
value = fastgd.mse_and_gradient(X, np.ones(4, "f4"), [1.0, -1.0, 0.0])
assert value.mse == (4 + 4 + 9 + 1) / 4, value
"""
NO_FRONT_END = """
from numba.core.dispatcher import _FunctionCompiler
def refuse(*_):
    raise AssertionError("compiled")
_FunctionCompiler.compile = refuse
"""
NO_COMPILING = f"""{NO_FRONT_END}
from fastgd.backends.numba import _compile
_compile.assemble = refuse
"""


EIGHT_AT_ONCE = """
import os, sys, numpy, fastgd
folder = os.environ["FASTGD_CACHE_DIR"]
os.environ["FASTGD_CACHE_DIR"] = sys.argv[2]
one = numpy.ones(1, "f4")
fastgd.mse_and_gradient(one, one, 1.0)  # what a first compilation takes longer, once
os.environ["FASTGD_CACHE_DIR"] = folder
wait, go = os.pipe()
children = []
for _ in range(8):
    children.append(os.fork())
    if children[-1] == 0:
        os.read(wait, 1)
        exec(sys.argv[1])
        sys.stdout.flush()
        os._exit(0)
print(os.listdir(os.environ["FASTGD_CACHE_DIR"]), flush=True)
os.write(go, b"12345678")
sys.exit(sum(os.waitpid(child, 0)[1] for child in children))
"""
PRINT_BITS = """
import numpy as np, fastgd
x = np.random.default_rng(7).standard_normal(333)
value = fastgd.mse_and_gradient(x, 1 - x, 0.3)
# In one write: eight processes share the output, which may be unbuffered.
print(" ".join(number.hex() for number in value) + "\\n", end="")
"""
NO_HOME = """
import pathlib
def unknown(*_):
    raise RuntimeError("Could not determine home directory.")
pathlib.Path.home = unknown
"""


def run(folder, code=CODE, cwd=None, *arguments, **changes):
    """What a new process prints that keeps its kernels in `folder`; None leaves a variable out."""
    variables = {"FASTGD_CACHE_DIR": None if folder is None else str(folder), **changes}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={k: v for k, v in {**os.environ, **variables}.items() if v is not None},
        cwd=cwd,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def entries(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache") / "made" / "on the way"
    run(folder)
    return folder


def test_a_second_process_compiles_nothing(filled):
    before = [(path, path.stat().st_mtime_ns) for path in entries(filled)]
    assert before
    run(filled, NO_COMPILING + CODE)
    assert [(path, path.stat().st_mtime_ns) for path in entries(filled)] == before


@pytest.fixture
def anew(monkeypatch):
    """Forget what is compiled, and keep kernels in the folder given; counts compilations."""
    count = []

    def counting(compile_kernel):
        def counted(*args):
            count.append(1)
            return compile_kernel(*args)

        return counted

    def start(folder):
        monkeypatch.setenv("FASTGD_CACHE_DIR", str(folder))
        monkeypatch.setattr(_compile, "_entries", {})
        count.clear()
        return count

    monkeypatch.setattr(_FunctionCompiler, "compile", counting(_FunctionCompiler.compile))
    monkeypatch.setattr(_compile, "assemble", counting(_compile.assemble))
    return start


def call():
    x = np.arange(333.0)
    return fastgd.mse_and_gradient(x, 1 - x, 0.3)


EXPECTED = call()


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    """What `call` leaves on disk."""
    folder = tmp_path_factory.mktemp("entry")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTGD_CACHE_DIR", str(folder))
        patch.setattr(_compile, "_entries", {})
        call()
    (path,) = entries(folder)
    return path


def test_a_folder_that_cannot_be_made(anew, tmp_path):
    (tmp_path / "file").write_text("in the way")
    compilations = anew(tmp_path / "file" / "below")
    assert call() == EXPECTED
    assert compilations


def test_a_folder_in_the_place_of_an_entry(anew, entry, tmp_path):
    (tmp_path / entry.name).mkdir()
    compilations = anew(tmp_path)
    assert call() == EXPECTED
    assert compilations
    assert entries(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(anew, tmp_path):
    tmp_path.chmod(0o500)
    anew(tmp_path)
    assert call() == EXPECTED
    assert entries(tmp_path) == []


DAMAGES = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "a digest and nothing more": lambda data: data[:DIGEST_BYTES],
    "the digest alone is wrong": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "one byte short": lambda data: data[:-1],
    "one byte long": lambda data: data + b"\0",
    "noise": lambda data: os.urandom(len(data)),
    "a pickle of something else": lambda data: sealed(pickle.dumps((1, 2, 3))),
    "a pickle of nothing": lambda data: sealed(b""),
    "a pickle that raises": lambda data: sealed(pickle.dumps(Raising())),
    "no pickle": lambda data: sealed(b"text"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_entry_is_replaced(anew, entry, tmp_path, damage):
    path = Path(shutil.copy(entry, tmp_path))
    compilations = anew(tmp_path)
    assert call() == EXPECTED
    assert not compilations

    path.write_bytes(damage(path.read_bytes()))
    compilations = anew(tmp_path)
    assert call() == EXPECTED
    assert compilations
    assert entries(tmp_path) == [path]
    compilations = anew(tmp_path)
    assert call() == EXPECTED
    assert not compilations


def sealed(payload):
    """An entry whose checksum is right."""
    return hashlib.sha256(payload).digest() + payload


class Raising:
    def __reduce__(self):
        return int, ("no number",)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owners here")
def test_an_entry_of_another_user_is_not_read(anew, entry, tmp_path, monkeypatch):
    shutil.copy(entry, tmp_path)
    compilations = anew(tmp_path)
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    assert call() == EXPECTED
    assert compilations


@pytest.mark.parametrize("moment", ["mkstemp", "fdopen", "replace"])
def test_a_write_that_fails(anew, tmp_path, moment, monkeypatch):
    compilations = anew(tmp_path)
    monkeypatch.setattr(tempfile if moment == "mkstemp" else os, moment, fail)
    assert call() == EXPECTED
    assert compilations
    assert entries(tmp_path) == []


def fail(*_, **__):
    raise PermissionError(13, "denied")


def test_a_failed_write_that_cannot_be_tidied_up(anew, tmp_path):
    compilations = anew(tmp_path)
    # Mended before pytest tidies up itself.
    with pytest.MonkeyPatch.context() as patch:
        for name in ("replace", "unlink", "remove"):
            patch.setattr(os, name, fail)
        assert call() == EXPECTED
    assert compilations


@pytest.mark.parametrize(
    "changes",
    [
        {"HOME": None, "XDG_CACHE_HOME": None},
        {"HOME": "/dev/null", "XDG_CACHE_HOME": None},
        {"HOME": "/dev/null/below", "XDG_CACHE_HOME": "/dev/null/cache"},
        {"FASTGD_CACHE_DIR": "/dev/null"},
        {"FASTGD_CACHE_DIR": "/proc/no/such/folder"},
        {"FASTGD_CACHE_DIR": "a" * 300},
    ],
    ids=str,
)
@pytest.mark.skipif(sys.platform == "win32", reason="folders of Unix")
def test_no_place_for_a_folder(anew, tmp_path, changes, monkeypatch):
    compilations = anew(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, value in {"FASTGD_CACHE_DIR": None, **changes}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    if "HOME" not in os.environ:
        monkeypatch.setattr(Path, "home", unknown)
    assert call() == EXPECTED
    assert compilations
    assert entries(tmp_path) == []


def unknown():
    """As for a user whom the system does not know."""
    raise RuntimeError("Could not determine home directory.")


def test_no_home_for_a_whole_process(tmp_path):
    # Nothing fails at import, either.
    run(None, NO_HOME + CODE, cwd=tmp_path, FASTGD_CACHE_DIR=None, HOME=None, XDG_CACHE_HOME=None)
    assert entries(tmp_path) == []


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="elsewhere on this system")
def test_the_folder_is_in_the_cache_folder_of_the_user(anew, tmp_path, monkeypatch):
    for compiles in (True, False):
        compilations = anew(tmp_path / "elsewhere")
        monkeypatch.delenv("FASTGD_CACHE_DIR")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert call() == EXPECTED
        assert bool(compilations) is compiles
    assert {path.parent for path in entries(tmp_path)} == {tmp_path / "fastgd"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_eight_processes_on_an_empty_cache(filled, tmp_path):
    before, *found = run(tmp_path, EIGHT_AT_ONCE, None, PRINT_BITS, str(filled)).splitlines()
    assert before == "[]"
    assert len(found) == 8
    assert len(set(found)) == 1
    assert len(found[0]) > 30
    names = [path.name for path in entries(tmp_path)]
    assert names
    assert all(name.endswith(".bin") for name in names)
    assert run(tmp_path, NO_COMPILING + PRINT_BITS).splitlines() == found[:1]


def test_bits_are_those_of_code_compiled_anew(anew, tmp_path, capsys):
    # Loaded or compiled: the same code.
    anew(tmp_path)
    exec(PRINT_BITS, {})
    assert run(tmp_path, NO_COMPILING + PRINT_BITS) == capsys.readouterr().out


TWO_ROWS = """
import fastgd
assert fastgd.mse_and_gradient([1.0, 2.0], [1.0, 2.0], 0.0).mse == 2.5, "twice the loss"
"""
PRINT_KEYS = """
import os, sys
from pathlib import Path
import fastgd.backends.numba._compile as c
def show():
    print(c._build.__wrapped__())
print(c.__file__)
show()
show()
for name in sys.argv[1:]:
    path = Path(c.__file__).parent / name
    path.write_text(path.read_text() + "# a comment\\n")
    show()
os.environ["NUMBA_OPT"] = "1"
show()
os.environ["NUMBA_NUM_THREADS"] = "1"
show()
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package, to change."""
    source = Path(_compile.__file__).parents[2]
    ignore = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(source, tmp_path / "site" / "fastgd", ignore=ignore))


KERNELS = Path(_compile.__file__).parent
KERNEL_SOURCES = sorted(path.relative_to(KERNELS).as_posix() for path in KERNELS.rglob("*.py"))


def test_the_key_follows_every_source_of_a_kernel_and_the_settings_of_numba(package):
    assert {"_fused/kernels.py", "_fused/tile.py", "_moments/gram.py"} <= set(KERNEL_SOURCES)
    changed = ("_fused/kernels.py", "_vectors/emit.py", KERNEL_SOURCES[-1])
    file, *seen = run(None, PRINT_KEYS, package.parent, *changed).splitlines()
    assert Path(file).is_relative_to(package)
    assert seen[0] == seen[1]
    assert seen[-2] == seen[-1]  # of the number of threads
    assert len(set(seen)) == len(seen) - 2 == 5


def test_a_changed_kernel_is_not_served_from_the_old_entry(package, tmp_path):
    folder = tmp_path / "cache"
    code = TWO_ROWS
    run(folder, code, package.parent)
    path = package / "backends" / "numba" / "_fused" / "remaining.py"
    text = path.read_text()
    line = "emit.add_to_memory(b, emit.multiply(b, sr, r), out.data, d)\n"
    assert text.count(line) == 1
    path.write_text(text.replace(line, line + " " * 8 + line))
    with pytest.raises(AssertionError, match="twice the loss"):
        run(folder, code, package.parent)


def test_entries_of_different_calls_do_not_meet(anew, tmp_path):
    # One kernel in many variants, each stored in an entry of its own.
    X = np.arange(50) % 7
    y, s = np.arange(50) % 5, 1 + np.arange(50) % 3
    variants = list(itertools.product(("f4", "f8"), (False, True), (False, True)))

    def calls():
        for dtype, weighted, predicting in variants:
            prediction = np.empty(50, dtype) if predicting else None
            value = fastgd.mse_and_gradient(
                X.astype(dtype),
                y.astype(dtype),
                1.0,
                sample_weight=s if weighted else None,
                prediction=prediction,
            )
            expected = np.average((X - y) ** 2, weights=s if weighted else None)
            assert value.mse == pytest.approx(expected, rel=1e-12)
            assert not predicting or (prediction == X).all()

    anew(tmp_path)
    calls()
    assert len(entries(tmp_path)) == len(variants)
    compilations = anew(tmp_path)
    calls()
    assert not compilations


def test_a_second_call_compiles_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((300, 3)), rng.standard_normal(300)
    cases = [(X, y), (X.astype("f4"), y.astype("f4")), (X[:, 0], y), (np.asfortranarray(X), y)]

    def calls(n=300):
        for A, t in cases:
            fastgd.fit(A[:n], t[:n], tol=1e-3)
            fastgd.mse_and_gradient(A[:n], t[:n], 0.0 if A.ndim == 1 else np.zeros(3))

    calls()

    def refuse(*_):
        raise AssertionError("compiled or loaded a second time")

    monkeypatch.setattr(_compile, "_compile", refuse)
    calls()
    calls(100)  # of another size
    for A, _ in cases:  # and read-only
        A.flags.writeable = False
    calls()


def test_long_rows_are_compiled_once_with_gaps_and_once_without(monkeypatch):
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((60, 68)), rng.standard_normal(60)
    fastgd.mse_and_gradient(X, y, np.zeros(68))
    fastgd.mse_and_gradient(X[:, :67], y, np.zeros(67))  # with gaps: may be another
    count = len(_compile._entries)
    for d in range(65, 72):  # any number of features of one form
        for view in (X[:, :d] if d <= 68 else np.ones((60, d)), np.ones((120, d))[::2]):
            fastgd.mse_and_gradient(view, y, np.zeros(view.shape[1]))
    assert len(_compile._entries) == count


FIRST_FITS = """
import os, sys
import numpy as np, fastgd
from fastgd.backends.numba import _compile
for shape in sys.argv[2:]:
    os.environ["FASTGD_CACHE_DIR"] = os.path.join(sys.argv[1], shape)
    _compile._entries.clear()
    d, order = int(shape[1:]), shape[0]
    n = 200_000 if d == 100 else 20_000
    X = np.asarray(np.random.default_rng(5).random((n, d), "f4"), order=order)
    fastgd.fit(X[:, 0] if d == 1 else X, X @ np.linspace(-1, 1, d, dtype="f4"))
"""
NO_REGISTRIES = """
from numba.core.cpu import CPUContext
CPUContext.load_additional_registries = refuse
"""


def test_a_first_fit_compiles_few_kernels_and_none_by_way_of_python(tmp_path):
    # Numba's front end takes half a second or more for a kernel, and its registries, with
    # scipy.linalg, as long in each process that needs them.
    kernels = {"C1": 2, "C4": 2, "C10": 2, "C100": 4, "F100": 4}
    run(None, NO_FRONT_END + FIRST_FITS, None, str(tmp_path), *kernels)
    assert {shape: len(entries(tmp_path / shape)) for shape in kernels} == kernels
    run(None, NO_COMPILING + NO_REGISTRIES + FIRST_FITS, None, str(tmp_path), *kernels)


TIMES = """
import time
import numpy as np, numba, numba.extending
import fastgd
imported = time.process_time()
x = np.arange(100, dtype="f4")
fastgd.fit(x, 2 * x + 1)
print(time.process_time() - imported)
"""


def test_start_up_with_a_warm_cache(tmp_path):
    # Time of the processor, and the best of three, since other processes are at work.
    cold = float(run(tmp_path, TIMES, OPENBLAS_NUM_THREADS="1"))
    warm = cold
    for _ in range(3):
        warm = min(warm, float(run(tmp_path, TIMES, OPENBLAS_NUM_THREADS="1")))
        if warm < cold / 2:
            break
    print(f"first fit: {cold:.2f} s with an empty cache, {warm:.2f} s with a filled one")
    assert warm < cold / 2
