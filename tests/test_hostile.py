"""Fits across forks, in event loops, interrupted, out of memory, by the thousand.

A quick form of each; ``FASTGD_SLOW_TESTS=1`` runs the long one. Pools of spawn and forkserver,
joblib and interrupts between epochs are in test_threads.py.
"""

import os
import sys

import pytest
from test_threads import run_part

LONG = os.environ.get("FASTGD_SLOW_TESTS") == "1"
PARTS = {  # how often, in short and in long
    "prefork": (5, 100),
    "threads_and_forks": (1, 20),
    "event_loop": (20, 500),
    "interrupts": (8, 56),
    "memory_limit": (4, 40),
    "threads_limit": (1, 1),
    "many_fits": (600, 10_000),
}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@pytest.mark.parametrize("part", PARTS)
def test_all_is_as_it_was(part, record_property):
    count = PARTS[part][LONG]
    measured = run_part(part, count, script="hostile.py", timeout=500 if LONG else 100)
    record_property("tried", count)
    record_property("measured", " ".join(measured))


@pytest.mark.parametrize("n_threads", [1, 3])
def test_an_interpreter_that_ends_in_the_middle_of_a_fit(n_threads):
    for _ in range(10 if LONG else 1):
        run_part("end_of_process", n_threads, script="hostile.py", silent=True)
