"""How many threads there may be, and how they share work."""

import threading

import pytest

from fastgd._threads import VARIABLES, Team, _cgroup_quota, available_threads


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

    def test_where_there_is_none(self, tmp_path):
        assert _cgroup_quota(tmp_path) is None


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
