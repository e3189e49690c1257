"""Everything that tries to break the library, at length: ``python -m bench.trust``.

Prints what was tried, how often and what failed; the exit status is 1 if anything did. Takes about
an hour on two cores. ``--only TEXT`` runs the lines whose text holds TEXT. Those of packages
build the sdist and from it the wheel, install it beside the oldest and the newest releases of all
it needs, in environments of their own, and run the tests against what is installed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
CALLS, MUTATIONS = 10_000, 5_000  # FASTGD_FUZZ is calls; mutations are half as many

# The family of reports in which tests may put properties of theirs.
REPORTED = ("-p", "no:cacheprovider", "-o", "junit_family=xunit1")


class Outcome(NamedTuple):
    """Counts of tests, what they measured, and the output of those that failed."""

    passed: int
    failed: int
    skipped: int
    tried: int
    measured: str
    told: str


class Trial(NamedTuple):
    """A line of the table."""

    what: str
    times: str  # may have a field for the number of tests
    run: Callable[[], Outcome]


def pytest_run(
    *arguments: str, python: str = sys.executable, cwd: Path = ROOT, **settings: str
) -> Outcome:
    """A run of pytest in a new process, warnings as errors."""
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        command = [python, "-W", "error", "-m", "pytest", "-q", "--tb=short"]
        done = subprocess.run(
            [*command, *REPORTED, f"--junitxml={report.name}", *arguments],
            cwd=cwd,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
        )
        try:
            return _outcome(ET.parse(report.name), done)
        except ET.ParseError:
            return Outcome(0, 1, 0, 0, "", done.stdout + done.stderr)


def _outcome(report: ET.ElementTree, done: subprocess.CompletedProcess[str]) -> Outcome:
    (suite,) = report.getroot().iter("testsuite")
    total, failed, skipped = (int(suite.get(name, 0)) for name in ("tests", "failures", "skipped"))
    failed += int(suite.get("errors", 0))
    failed += bool(done.returncode and not failed)
    found: dict[str | None, list[str]] = {"tried": [], "measured": []}
    for item in report.iter("property"):
        found.get(item.get("name"), []).append(item.get("value") or "")
    told = "" if not failed else done.stdout + done.stderr
    return Outcome(
        total - failed - skipped,
        failed,
        skipped,
        sum(map(int, found["tried"])),
        " ".join(filter(None, found["measured"])),
        told,
    )


def hostile(part: str) -> Callable[[], Outcome]:
    """One part of test_hostile.py, in its long form."""
    return lambda: pytest_run("tests/test_hostile.py", "-k", part, FASTGD_SLOW_TESTS="1")


def requirements(extra: str = "test") -> Iterator[str]:
    """What the package and one of its extras need, as pyproject.toml has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    yield from project["dependencies"]
    todo = [extra]
    while todo:
        for line in project["optional-dependencies"][todo.pop()]:
            ours = re.fullmatch(r"fastgd\[(.*)\]", line)
            if ours:
                todo += ours[1].split(",")
            else:
                yield line


def built(folder: Path) -> Path:
    """The wheel, built from the sdist, in a clean environment."""
    subprocess.run([sys.executable, "-m", "venv", folder / "build"], check=True)
    python = folder / "build" / "bin" / "python"
    _pip(python, "build")
    command = [python, "-m", "build", "--outdir", folder / "dist", ROOT]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = (folder / "dist").glob("*.whl")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    shutil.unpack_archive(sdist, folder / "source", filter="data")
    return wheel


def installed(version: str, oldest: bool) -> Outcome:
    """The tests of the sdist against the installed wheel, beside these releases of all it needs."""
    interpreter = shutil.which(f"python{version}") or _of_pyenv(version)
    if interpreter is None:
        return Outcome(0, 1, 0, 0, "", f"there is no Python {version} here")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = built(folder)
        subprocess.run([interpreter, "-m", "venv", folder / "venv"], check=True)
        python = folder / "venv" / "bin" / "python"
        needed = [line.replace(">=", "==") if oldest else line for line in requirements()]
        _pip(python, wheel, *needed)
        (source,) = (folder / "source").iterdir()
        shutil.rmtree(source / "fastgd")  # what is tested is what is installed
        shutil.copy(ROOT / "README.md", source)
        cache = {"FASTGD_CACHE_DIR": str(folder / "cache")}
        listed = ("numpy", "numba", "pandas", "polars", "pyarrow", "scikit-learn")
        outcome = pytest_run("tests", python=str(python), cwd=source, **cache)
        return outcome._replace(measured=_versions(python, listed))


def _pip(python: Path, *packages: object) -> None:
    command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
    subprocess.run(list(map(str, command)), check=True, stderr=subprocess.DEVNULL)


def _versions(python: Path, names: tuple[str, ...]) -> str:
    code = "import sys; from importlib.metadata import version\n"
    code += "print(', '.join(f'{name} {version(name)}' for name in sys.argv[1:]))"
    return subprocess.run(
        [python, "-c", code, *names], capture_output=True, text=True
    ).stdout.strip()


def _of_pyenv(version: str) -> str | None:
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return next(map(str, root.glob(f"versions/{version}.*/bin/python")), None)


FUZZ = {"FASTGD_FUZZ": str(CALLS)}
TRIALS = (
    Trial(
        "wrong calls, each refused in its words",
        "{n} calls",
        lambda: pytest_run("tests/test_wrong_calls.py"),
    ),
    Trial(
        "calls drawn at random",
        f"{CALLS:,} calls",
        lambda: pytest_run("tests/test_fuzz.py", **FUZZ),
    ),
    Trial(
        "files damaged at random",
        f"{MUTATIONS:,} files",
        lambda: pytest_run("tests/test_mutations.py", **FUZZ),
    ),
    Trial("prefork server: 4 workers fit", "4 x {tried} fits", hostile("prefork")),
    Trial("16 threads fit, children are forked", "{tried} forks", hostile("threads_and_forks")),
    Trial("fits in a running event loop", "{tried} fits, twice", hostile("event_loop")),
    Trial(
        "pools: fork, spawn, forkserver, joblib",
        "{n} pools",
        lambda: pytest_run("tests/test_threads.py", "-k", "pools or joblib"),
    ),
    Trial("the interpreter ends in the middle of a fit", "20 times", hostile("interpreter")),
    Trial("Ctrl-C at random moments; worst seconds", "{tried} times", hostile("interrupts")),
    Trial("memory limit hit", "{tried} times", hostile("memory_limit")),
    Trial("no memory for threads", "{tried} time", hostile("threads_limit")),
    Trial("fits: memory, threads, descriptors", "{tried} fits", hostile("many_fits")),
    Trial(
        "installed wheel, oldest packages, Python 3.11",
        "{n} tests",
        lambda: installed("3.11", oldest=True),
    ),
    Trial(
        "installed wheel, newest packages, Python 3.13",
        "{n} tests",
        lambda: installed("3.13", oldest=False),
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", default="", help="lines of the table that hold this text")
    chosen = parser.parse_args().only
    failed = 0
    print("what | how often | failed | measured | seconds\n---|---|---|---|---", flush=True)
    for trial in TRIALS:
        if chosen not in trial.what:
            continue
        start = time.monotonic()
        outcome = trial.run()
        n = f"{outcome.passed + outcome.failed:,}"
        times = trial.times.format(n=n, tried=f"{outcome.tried:,}")
        skipped = f" ({outcome.skipped} skipped)" if outcome.skipped else ""
        cells = (trial.what, times + skipped, outcome.failed or "nothing", outcome.measured)
        print(*cells, f"{time.monotonic() - start:.0f}", sep=" | ", flush=True)
        print(outcome.told, file=sys.stderr, end="")
        failed += outcome.failed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
