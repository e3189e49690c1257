"""How many threads there may be, and how they share work."""

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import use_small_groups

from fastgd import _threads, fit, mse_and_gradient
from fastgd._threads import VARIABLES, Team, _cgroup_quota, available_threads, batches


class TestAvailable:
    @pytest.fixture(autouse=True)
    def no_variables(self, monkeypatch):
        for variable in VARIABLES:
            monkeypatch.delenv(variable, raising=False)

    def test_is_at_least_one(self):
        assert available_threads() >= 1

    def test_follows_the_variables_in_their_order(self, monkeypatch):
        for number, variable in enumerate(reversed(VARIABLES), start=3):
            monkeypatch.setenv(variable, str(number))
            assert available_threads() == number

    @pytest.mark.parametrize("text", ["", " ", "0", "-2", "many", "1.5", "4,2"])
    def test_passes_over_what_is_no_number(self, monkeypatch, text):
        monkeypatch.setenv(VARIABLES[0], text)
        monkeypatch.setenv(VARIABLES[1], "5")
        assert available_threads() == 5

    @pytest.fixture
    def eight_cpus(self, monkeypatch):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)

    @pytest.mark.parametrize(
        ("quota", "threads"), [(None, 8), (16.0, 8), (3.0, 3), (2.6, 3), (1.2, 1), (0.1, 1)]
    )
    def test_is_the_affinity_within_the_quota(self, monkeypatch, eight_cpus, quota, threads):
        monkeypatch.setattr(_threads, "_cgroup_quota", lambda: quota)
        assert available_threads() == threads

    @pytest.mark.parametrize("variable", VARIABLES)
    def test_is_what_a_variable_says_whatever_the_affinity(self, monkeypatch, eight_cpus, variable):
        monkeypatch.setenv(variable, " 12 ")
        assert available_threads() == 12

    def test_without_affinity_is_the_number_of_cpus(self, monkeypatch):
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
        monkeypatch.setattr(_threads, "_cgroup_quota", lambda: None)
        monkeypatch.setattr(os, "cpu_count", lambda: 6)
        assert available_threads() == 6
        monkeypatch.setattr(os, "cpu_count", lambda: None)
        assert available_threads() == 1

    @pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
    def test_follows_the_affinity_of_now(self, monkeypatch):
        monkeypatch.setattr(_threads, "_cgroup_quota", lambda: None)
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(before)})
            assert available_threads() == 1
        finally:
            os.sched_setaffinity(0, before)
        assert available_threads() == len(before)


class TestQuota:
    @pytest.mark.parametrize(
        ("text", "cpus"), [("200000 100000", 2.0), ("50000 100000", 0.5), ("max 100000", None)]
    )
    def test_of_version_2(self, tmp_path, text, cpus):
        (tmp_path / "cpu.max").write_text(f"{text}\n")
        assert _cgroup_quota(tmp_path) == cpus

    @pytest.mark.parametrize(("quota", "cpus"), [("150000", 1.5), ("-1", None)])
    def test_of_version_1(self, tmp_path, quota, cpus):
        (tmp_path / "cpu").mkdir()
        (tmp_path / "cpu/cpu.cfs_quota_us").write_text(f"{quota}\n")
        (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
        assert _cgroup_quota(tmp_path) == cpus

    @pytest.mark.parametrize("text", ["", "max", "a b", "1 2 3", "-1 100000", "0 100000", "5 0"])
    def test_that_makes_no_sense_is_none(self, tmp_path, text):
        (tmp_path / "cpu.max").write_text(text)
        assert _cgroup_quota(tmp_path) is None

    def test_where_there_is_none(self, tmp_path):
        assert _cgroup_quota(tmp_path) is None


class TestBatches:
    @given(st.integers(1, 300), st.integers(1, 16), st.integers(1, 100))
    def test_take_every_group_once_in_order(self, n_groups, n_threads, most):
        runs = list(batches(n_groups, n_threads, most))
        assert [group for run in runs for group in run] == list(range(n_groups))
        assert all(1 <= len(run) <= most for run in runs)

    @given(st.integers(1, 300), st.integers(2, 16))
    def test_leave_each_thread_a_share(self, n_groups, n_threads):
        left = n_groups
        for run in batches(n_groups, n_threads, n_groups):
            assert len(run) <= max(1, left / (2 * n_threads))
            left -= len(run)

    @pytest.mark.parametrize(("most", "calls"), [(64, 1), (63, 2), (10, 7), (1, 64)])
    def test_are_as_few_as_may_be_for_one_thread(self, most, calls):
        assert len(list(batches(64, 1, most))) == calls

    def test_are_much_fewer_than_groups_for_two(self):
        assert len(list(batches(64, 2, 64))) < 16


class TestTeam:
    @pytest.mark.parametrize("n_threads", [1, 2, 5])
    @pytest.mark.parametrize("n_groups", [1, 3, 64])
    def test_does_every_group_once(self, n_threads, n_groups):
        done = []
        team = Team(n_threads)
        team.run(done.append, n_groups)
        team.close()
        assert sorted(done) == list(range(n_groups))

    def test_can_work_again(self):
        done = []
        team = Team(3)
        for _ in range(5):
            team.run(done.append, 4)
        team.close()
        assert sorted(done) == sorted([*range(4)] * 5)

    def test_works_in_the_threads_of_the_caller_and_of_its_own(self):
        everyone_is_here = threading.Barrier(3, timeout=30)
        team = Team(3)
        team.run(lambda group: everyone_is_here.wait(), 3)
        team.close()

    def test_passes_errors_on(self):
        def fail(group):
            if group == 7:
                raise KeyboardInterrupt

        team = Team(2)
        with pytest.raises(KeyboardInterrupt):
            team.run(fail, 20)
        team.close()

    @pytest.mark.parametrize("in_a_thread_of_its_own", [False, True])
    def test_tells_long_work_of_an_interrupt(self, in_a_thread_of_its_own):
        both_are_here = threading.Barrier(2, timeout=30)
        ended = []

        def work(group):
            both_are_here.wait()
            is_its_own = threading.current_thread() is not threading.main_thread()
            if is_its_own == in_a_thread_of_its_own:
                raise KeyboardInterrupt
            for _ in range(3000):
                if team.is_interrupted:
                    ended.append(group)
                    return
                time.sleep(0.01)

        team = Team(2)
        with pytest.raises(KeyboardInterrupt):
            team.run(work, 2)
        team.close()
        assert len(ended) == 1


def run_part(part, *arguments, script="concurrent_fits.py", timeout=100, silent=False):
    """A part of a script in a new process, which must end well, in time and, if so, silently."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name(script), part, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    assert not silent or done.stderr == ""
    *lines, last = done.stdout.splitlines()
    assert last == "done"
    return lines


class TestManyCallers:
    def test_eight_threads_of_many_fits(self, monkeypatch):
        # Each with threads of its own, so that all of them start and end all the time.
        use_small_groups(monkeypatch)
        rng = np.random.default_rng(4)
        X = rng.standard_normal((500, 3)).astype("f4")
        targets = [X @ rng.standard_normal(3) + k for k in range(8)]
        options = {"learning_rate": 0.1, "max_iter": 3, "tol": 1.0, "strategy": "stream"}
        alone = [fit(X, y, n_threads=1, **options) for y in targets]
        all_here = threading.Barrier(8, timeout=60)

        def call(k):
            all_here.wait()
            results = [fit(X, targets[k], n_threads=1 + i % 3, **options) for i in range(50)]
            return all(
                np.array_equal(result.coef, alone[k].coef)
                and np.array_equal(result.loss_history, alone[k].loss_history)
                for result in results
            )

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(call, range(8), timeout=100)) == [True] * 8
        assert fastgd_threads() == []

    def test_that_compile_at_once(self):
        # Numbers of features that no other test uses, so that all find nothing compiled.
        rng = np.random.default_rng(4)
        cases = [rng.standard_normal((50, d)) for d in (6, 7, 6, 7, 6, 7, 6, 7)]
        all_here = threading.Barrier(8, timeout=60)

        def call(X):
            all_here.wait()
            return mse_and_gradient(X, X[:, 0], np.ones(X.shape[1])).mse

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(call, cases))
        assert found == [mse_and_gradient(X, X[:, 0], np.ones(X.shape[1])).mse for X in cases]


def fastgd_threads():
    return [thread.name for thread in threading.enumerate() if "fastgd" in thread.name]


class TestThreadsOfAFit:
    """Started where a pass is worth it, and never left behind."""

    @pytest.fixture
    def seen(self, monkeypatch):
        """Sizes of the teams that were put to work."""
        sizes, run = [], Team.run

        def watch(team, work, n_groups):
            sizes.append(team.n_threads)
            return run(team, work, n_groups)

        monkeypatch.setattr(Team, "run", watch)
        return sizes

    @pytest.mark.parametrize("strategy", ["stream", "moments"])
    @pytest.mark.parametrize("n", [1, 100, 100_000])
    def test_are_none_for_small_work(self, seen, strategy, n):
        x = np.arange(n, dtype="f4")
        started = threading.active_count()
        fit(x, 2 * x, strategy=strategy, n_threads=8)
        mse_and_gradient(x, x, 0.5, n_threads=8)
        assert seen == []
        assert threading.active_count() == started

    def test_are_started_for_a_second_read_sooner_than_for_one(self, seen):
        x = np.arange(2_000_000, dtype="f4")
        mse_and_gradient(x, x, 0.5, n_threads=4)
        assert seen == []
        options = {"learning_rate": 1e-14, "max_iter": 3, "tol": 1.0}
        fit(x, x, n_threads=4, strategy="stream", **options)
        assert set(seen) == {4}

    def test_are_none_for_one(self, monkeypatch):
        def refuse(*_):
            raise AssertionError("a thread was started")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        x = np.ones(6_000_000, np.float32)
        x[::2] = 0
        for strategy in ("stream", "moments"):
            fit(x, x, strategy=strategy, n_threads=1)

    def test_are_as_many_as_asked_for(self, seen, monkeypatch):
        x = np.ones(6_000_000, np.float32)
        mse_and_gradient(x, x, 0.5, n_threads=5)
        assert set(seen) == {5}
        seen.clear()
        monkeypatch.setenv("FASTGD_NUM_THREADS", "4")
        mse_and_gradient(x, x, 0.5)
        assert set(seen) == {4}

    @pytest.mark.parametrize("strategy", ["stream", "moments"])
    def test_end_with_it(self, seen, strategy):
        x = np.ones(6_000_000, np.float32)
        x[::2] = 0
        fit(x, x, n_threads=4, strategy=strategy)
        assert 4 in seen
        assert fastgd_threads() == []

    def test_end_with_an_error(self, seen):
        x = np.ones(6_000_000, np.float32)
        x[-1] = np.nan
        for strategy in ("stream", "moments"):
            with pytest.raises(ValueError, match="X must be finite"):
                fit(x, x, n_threads=4, strategy=strategy)
            with pytest.raises(ValueError, match="y must be finite"):
                fit(np.ones_like(x), x, n_threads=4, strategy=strategy, learning_rate=0.1)
        assert 4 in seen
        assert fastgd_threads() == []

    def test_that_cannot_be_started_are_done_without(self, monkeypatch):
        def refuse(*_):
            raise RuntimeError("can't start new thread")

        x = np.ones(6_000_000, np.float32)
        x[::2] = 0
        expected = mse_and_gradient(x, x, 0.5, n_threads=1)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert mse_and_gradient(x, x, 0.5, n_threads=4) == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
class TestFork:
    def test_child_and_grandchild_fit_as_the_parent_did(self):
        run_part("fork")

    def test_while_other_threads_fit(self):
        run_part("fork_while_others_fit")


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_pools_of_processes(method):
    run_part("start", method)


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_joblib(backend):
    pytest.importorskip("joblib")
    run_part("joblib", backend)


# Half a second is the aim, and met on an idle machine; the rest is slack for a busy one.
ANSWERED = 1.5


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is sent otherwise")
class TestInterrupt:
    """Half a second at most; the best of three, since a loaded machine answers late."""

    def seconds(self, *arguments):
        return json.loads(run_part("interrupt", *arguments)[-1])

    @pytest.mark.parametrize(
        ("n_threads", "n", "d", "order"), [(1, 3_000_000, 16, "C"), (2, 500_000, 100, "F")]
    )
    def test_is_answered_between_epochs(self, n_threads, n, d, order):
        seconds = self.seconds("stream", n, d, order, n_threads, 100_000)
        assert min(seconds) < ANSWERED, seconds

    @pytest.mark.parametrize(("n", "d"), [(25_000, 2500)])
    def test_is_answered_while_moments_are_collected(self, n, d):
        seconds = self.seconds("moments", n, d, "C", 2, 1000)
        assert min(seconds) < ANSWERED, seconds

    def test_is_answered_between_epochs_on_moments(self):
        seconds = self.seconds("moments", 2000, 50, "C", 2, 4_000_000)
        assert min(seconds) < ANSWERED, seconds
