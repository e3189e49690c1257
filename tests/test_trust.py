"""The long run goes on after a line that fails, and ends in any case."""

import os
import sys
import time

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


@pytest.mark.skipif(sys.platform == "win32", reason="needs groups of processes")
def test_what_takes_too_long_is_stopped_with_all_it_started(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(_watched, "MINUTE", 0.3)
    # The child of the child keeps standard output open.
    code = "import subprocess, sys\nprint('begun', flush=True)\nsubprocess.run(sys.argv[1:])"
    path = tmp_path / "grown up"
    grandchild = f"import time, pathlib; time.sleep(1.8); pathlib.Path({str(path)!r}).touch()"
    begun = time.monotonic()
    done = watched([sys.executable, "-c", code, sys.executable, "-c", grandchild], 0.8)
    assert done.returncode != 0
    assert done.stdout == "begun\n\nstopped: it took longer than 1 s\n"
    assert "at work" in capsys.readouterr().err
    time.sleep(max(begun + 2.3 - time.monotonic(), 0.0))
    assert not path.exists()


def test_what_a_command_prints_is_told_if_it_fails():
    assert trust._run(sys.executable, "-c", "print(1 + 1)") == "2\n"
    with pytest.raises(RuntimeError, match=r"(?s)failed:.*no module named x y z"):
        trust._run(sys.executable, "-c", "raise ImportError('no module named x y z')")


@pytest.mark.parametrize(
    ("code", "passed", "failed"),
    [
        ("def test(record_property): record_property('tried', 7)", 1, 0),
        ("import nothing_at_all", 0, 1),
        ("def test():\n import os\n os._exit(3)", 0, 1),
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
