"""Everything that tries to break the library, at length: ``python -m bench.trust``.

Prints what was tried, how often and what failed; the exit status is 1 if anything did. A line that
fails, whatever the reason, does not keep the others from being tried. Standard error says what is
at work, and what the lines that failed printed. Takes less than an hour on two cores.

``--only TEXT`` runs the lines whose text holds TEXT. Those of packages build the sdist and from it
the wheel, install it beside the oldest and the newest releases of all it needs, in environments of
their own, and run the tests against what is installed.
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

from bench._watched import watched

ROOT = Path(__file__).parents[1]
CALLS, MUTATIONS = 10_000, 5_000  # FASTGD_FUZZ is calls; mutations are half as many

# Seconds after which a line has failed: three times what the longest of them take, or more.
LIMIT, LIMIT_OF_ALL_TESTS = 900.0, 2400.0
MOST_LINES = 150  # of the output of what failed

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
    *arguments: str,
    python: str | Path = sys.executable,
    cwd: Path = ROOT,
    limit: float = LIMIT,
    **settings: str,
) -> Outcome:
    """A run of pytest in a new process, warnings as errors."""
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        command = [python, "-W", "error", "-m", "pytest", "-q", "--tb=short"]
        command += [*REPORTED, f"--junitxml={report.name}", *arguments]
        done = watched(command, limit, cwd=cwd, env={**_environment(), **settings})
        try:
            return _outcome(ET.parse(report.name), done)
        except ET.ParseError:
            return broken(done.stdout)


def broken(told: str) -> Outcome:
    """Of what did not come as far as to count."""
    return Outcome(0, 1, 0, 0, "", told)


def _environment() -> dict[str, str]:
    """Without what would have other modules imported than those that are installed."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _outcome(report: ET.ElementTree, done: subprocess.CompletedProcess[str]) -> Outcome:
    (suite,) = report.getroot().iter("testsuite")
    total, failed, skipped = (int(suite.get(name, 0)) for name in ("tests", "failures", "skipped"))
    failed += int(suite.get("errors", 0))
    passed = total - failed - skipped
    failed += bool(done.returncode and not failed)  # the run itself, which is no test
    found: dict[str | None, list[str]] = {"tried": [], "measured": []}
    for item in report.iter("property"):
        found.get(item.get("name"), []).append(item.get("value") or "")
    told = "" if not failed else done.stdout
    return Outcome(
        passed,
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
    _run(sys.executable, "-m", "venv", folder / "build")
    python = folder / "build" / "bin" / "python"
    _pip(python, "build")
    _run(python, "-m", "build", "--outdir", folder / "dist", ROOT)
    (wheel,) = (folder / "dist").glob("*.whl")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    shutil.unpack_archive(sdist, folder / "source", filter="data")
    return wheel


def installed(version: str, oldest: bool) -> Outcome:
    """The tests of the sdist against the installed wheel, beside these releases of all it needs."""
    interpreter = python_of(version)
    if interpreter is None:
        return broken(f"there is no Python {version} here")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = built(folder)
        _run(interpreter, "-m", "venv", folder / "venv")
        python = folder / "venv" / "bin" / "python"
        needed = [line.replace(">=", "==") if oldest else line for line in requirements()]
        _pip(python, wheel, *needed)
        (source,) = (folder / "source").iterdir()
        shutil.rmtree(source / "fastgd")  # what is tested is what is installed
        shutil.copy(ROOT / "README.md", source)
        cache = {"FASTGD_CACHE_DIR": str(folder / "cache")}
        listed = ("numpy", "numba", "pandas", "polars", "pyarrow", "scikit-learn")
        outcome = pytest_run("tests", python=python, cwd=source, limit=LIMIT_OF_ALL_TESTS, **cache)
        return outcome._replace(measured=_versions(python, listed))


def _pip(python: Path, *packages: object) -> None:
    quietly = ("-q", "--disable-pip-version-check", "--no-input", "--retries", "10")
    _run(python, "-m", "pip", "install", *quietly, *packages)


def _run(*command: object) -> str:
    """What a command prints; what went wrong is in the error."""
    done = watched(command, LIMIT, env=_environment())
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stdout}")
    return done.stdout


def _versions(python: Path, names: tuple[str, ...]) -> str:
    code = "import sys; from importlib.metadata import version\n"
    code += "print(', '.join(f'{name} {version(name)}' for name in sys.argv[1:]))"
    return _run(python, "-c", code, *names).strip()


def python_of(version: str) -> str | None:
    """A Python of this version that runs: a launcher may be there without it."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [shutil.which(f"python{version}"), *root.glob(f"versions/{version}.*/bin/python")]
    tell = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"
    for each in filter(None, found):
        told = subprocess.run([each, "-c", tell], capture_output=True, text=True, check=False)
        if told.stdout.strip() == version:
            return str(each)
    return None


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


def outcome_of(trial: Trial) -> Outcome:
    """What came of it, whatever it was."""
    try:
        return trial.run()
    except Exception as error:
        return broken(f"{type(error).__name__}: {error}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", default="", help="lines of the table that hold this text")
    chosen = parser.parse_args(arguments).only
    if not any(chosen in trial.what for trial in TRIALS):
        parser.error(f"no line holds {chosen!r}")
    failed, begun = 0, time.monotonic()
    print("what | how often | failed | measured | seconds\n---|---|---|---|---", flush=True)
    for trial in TRIALS:
        if chosen not in trial.what:
            continue
        start = time.monotonic()
        print(f"now: {trial.what}", file=sys.stderr, flush=True)
        outcome = outcome_of(trial)
        n = f"{outcome.passed + outcome.failed:,}"
        times = trial.times.format(n=n, tried=f"{outcome.tried:,}")
        skipped = f" ({outcome.skipped} skipped)" if outcome.skipped else ""
        cells = (trial.what, times + skipped, outcome.failed or "nothing", outcome.measured)
        print(*cells, f"{time.monotonic() - start:.0f}", sep=" | ", flush=True)
        if outcome.told:
            print(*outcome.told.splitlines()[-MOST_LINES:], sep="\n", file=sys.stderr, flush=True)
        failed += outcome.failed
    print(f"in all | | {failed or 'nothing'} | | {time.monotonic() - begun:.0f}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
