"""A process that is stuck in a call that never returns ends, so that it can be started again; what it needs no more."""

import subprocess
import sys

import pytest

from streams.process import STUCK_EXIT_CODE, ended_if_stuck

_STUCK = """
import time
from streams.process import ended_if_stuck
with ended_if_stuck("a nap", {seconds}):
    time.sleep({nap})
print("over")
"""


@pytest.mark.parametrize(("seconds", "nap", "code"), [(0.2, 30, STUCK_EXIT_CODE), (30, 0.01, 0)])
def test_a_process_ends_exactly_when_it_is_stuck(seconds: float, nap: float, code: int) -> None:
    script = _STUCK.format(seconds=seconds, nap=nap)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=25)
    assert done.returncode == code
    assert ("stuck" in done.stdout + done.stderr) == (code != 0)


def test_what_ends_in_time_leaves_no_timer_behind() -> None:
    with ended_if_stuck("nothing", 0.05):
        pass
    # The process is still here after the time.
    subprocess.run(["sleep", "0.1"], check=True)


_SHORTER_LATER = """
import time
from streams.process import ended_if_stuck
with ended_if_stuck("a long one", 30):
    for _ in range(3):
        with ended_if_stuck("one in time", 0.5):
            time.sleep(0.01)
    with ended_if_stuck("a short one", 0.2):
        time.sleep(20)
"""


def test_of_several_things_under_way_the_one_that_is_late_ends_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SHORTER_LATER], capture_output=True, text=True, check=False, timeout=15
    )
    assert done.returncode == STUCK_EXIT_CODE
    assert "a short one" in done.stdout + done.stderr


_HOLED = """
import psutil
from streams.process import give_back_memory
def resident():
    return psutil.Process().memory_info().rss
pieces = [bytes(2_000) for _ in range(100_000)]
del pieces[:-1]
before = resident()
give_back_memory()
print(before - resident())
"""


def test_memory_between_things_still_in_use_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", _HOLED], capture_output=True, text=True, check=True, timeout=25)
    assert int(done.stdout) > 100_000_000
