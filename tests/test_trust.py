"""The long run goes on after a line that fails, and ends in any case."""

import os
import select
import sys
from types import SimpleNamespace

import pytest

from bench import _watched, trust
from bench._watched import watched
from bench.trust import Outcome, Trial

FINE = Trial("a thing", "{tried} times", lambda: Outcome(3, 0, 1, 1200, "0.5 s", ""))


def wrong():
    raise RuntimeError("no such package")


def test_goes_on_after_what_fails(monkeypatch, capsys):
    trials = (Trial("another", "{n} times", wrong), FINE)
    monkeypatch.setattr(trust, "TRIALS", trials)
    assert trust.main([]) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[2:] == [
        "another | 1 times | 1 |  | 0",
        "a thing | 1,200 times (1 skipped) | nothing | 0.5 s | 0",
        "in all | | 1 | | 0",
    ]
    assert "RuntimeError: no such package" in printed.err
    assert trust.main(["--only", "a thing"]) == 0
    with pytest.raises(SystemExit):
        trust.main(["--only", "something else"])


# What it starts keeps standard output open, and an end of a pipe.
STARTS = """
import subprocess, sys
print("begun", flush=True)
started = subprocess.Popen(sys.argv[1:], close_fds=False)
"""


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    os.close(ends[0])


def starting(pipe, then=""):
    """A command whose child tells the pipe that it has begun, and stays."""
    stays = f"import os, time; os.write({pipe[1]}, b'.'); time.sleep(60)"
    return [sys.executable, "-c", STARTS + then, sys.executable, "-c", stays]


def assert_all_have_ended(pipe):
    """All that the pipe was handed to lets go of it."""
    os.close(pipe[1])
    while select.select([pipe[0]], [], [], 10.0)[0]:
        if not os.read(pipe[0], 1):
            return
    pytest.fail("what was started is still there")


@pytest.mark.skipif(sys.platform == "win32", reason="needs groups of processes")
def test_what_takes_too_long_is_stopped_with_all_it_started(monkeypatch, capsys, pipe):
    def clock():  # the limit has passed when the child of the child has begun
        return 100.0 if select.select([pipe[0]], [], [], 0.0)[0] else 0.0

    monkeypatch.setattr(_watched, "MINUTE", 0.05)
    monkeypatch.setattr(_watched, "time", SimpleNamespace(monotonic=clock))
    done = watched(starting(pipe, "started.wait()"), 60.0, pass_fds=pipe[1:])
    assert done.returncode != 0
    assert done.stdout == "begun\n\nstopped: it took longer than 60 s\n"
    assert "at work" in capsys.readouterr().err
    assert_all_have_ended(pipe)


@pytest.mark.skipif(sys.platform == "win32", reason="needs groups of processes")
def test_what_is_left_over_by_what_ends_early_is_stopped(pipe):
    done = watched(starting(pipe), 60.0, pass_fds=pipe[1:])
    assert (done.returncode, done.stdout) == (0, "begun\n")
    assert_all_have_ended(pipe)


def test_what_takes_too_long_is_stopped_where_there_are_no_groups(monkeypatch):
    monkeypatch.delattr(os, "killpg", raising=False)
    done = watched([sys.executable, "-c", "import time; time.sleep(60)"], 0.0)
    assert done.returncode != 0


def test_what_a_command_prints_is_told_if_it_fails():
    assert trust._run(sys.executable, "-c", "print(1 + 1)") == "2\n"
    with pytest.raises(RuntimeError, match=r"(?s)failed:.*no module named x y z"):
        trust._run(sys.executable, "-c", "raise ImportError('no module named x y z')")


ENDS_BADLY = """
import atexit, os
def test(record_property):
    record_property('tried', 7)
    atexit.register(os._exit, 3)
"""


@pytest.mark.parametrize(
    ("code", "passed", "failed"),
    [
        ("def test(record_property): record_property('tried', 7)", 1, 0),
        ("import nothing_at_all", 0, 1),
        ("def test():\n import os\n os._exit(3)", 0, 1),
        ("nothing = 'to collect'", 0, 1),
        (ENDS_BADLY, 1, 1),
    ],
)
def test_counts(tmp_path, code, passed, failed):
    (tmp_path / "test_it.py").write_text(code)
    found = trust.pytest_run("test_it.py", cwd=tmp_path)
    assert (found.passed, found.failed) == (passed, failed)
    assert found.tried == 7 * passed


@pytest.mark.skipif(sys.platform == "win32", reason="the launcher is a shell script")
def test_a_python_that_does_not_run_is_none(monkeypatch, tmp_path):
    launcher = tmp_path / "python9.9"
    launcher.write_text("#!/bin/sh\necho 9.9 is not installed >&2\nexit 127\n")
    launcher.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert trust.python_of("9.9") is None
    launcher.write_text("#!/bin/sh\necho 9.9\n")
    assert trust.python_of("9.9") == str(launcher)
