"""A short campaign over every reader, and what shows that a campaign finds what it is for."""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.campaign import MEMORY_BYTES_MAX, campaign
from tests.fuzz.targets import Target

INPUTS = 10_000


def test_damaged_bytes_are_read_or_refused_as_documented(pytestconfig: pytest.Config) -> None:
    kernels = pytestconfig.cache.mkdir("fuzz-kernels") if pytestconfig.cache else Path()
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--inputs", str(INPUTS)],
        env=os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(kernels)},
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def wrong() -> None:
    raise KeyError("not documented")


def flooding() -> None:
    bytearray(2 * MEMORY_BYTES_MAX)


def hanging() -> None:
    while True:
        pass


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (wrong, "KeyError: 'not documented'"),
        (flooding, "MemoryError"),
        (hanging, "took more than 1.5 s"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "crashed: SIGSEGV"),
    ],
    ids=["exception", "memory", "hang", "crash"],
)
def test_what_goes_wrong_is_found_with_the_bytes_that_did_it(fault: Callable[[], object], words: str) -> None:
    def check(value: bytes) -> None:
        if b"\xff" in value:
            fault()

    outcome = campaign(Target([b"fine", b"fine too"], check), 20_000, start=1, seconds_max=1.5)
    assert words in outcome.finding
    assert b"\xff" in outcome.value


def test_a_target_that_holds_is_tried_as_often_as_asked() -> None:
    outcome = campaign(Target([b"fine"], bytes), 500, start=1)
    assert outcome.finding == ""
    assert outcome.inputs >= 500


class NeedsItsThreads:
    """As a Kafka client or a database is: collected in a process that its threads did not come along to, it crashes."""

    def __init__(self) -> None:
        self.process, self.itself = os.getpid(), self

    def __del__(self) -> None:
        if os.getpid() != self.process:
            os.kill(os.getpid(), signal.SIGSEGV)


def test_what_tests_before_left_uncollected_is_no_finding() -> None:
    NeedsItsThreads()
    outcome = campaign(Target([b"fine"], lambda _: gc.collect()), 20, start=1)
    assert outcome.finding == ""


def test_the_same_seed_gives_the_same_inputs() -> None:
    def check(value: bytes) -> None:
        if len(value) > 40:
            wrong()

    target = Target([b"fine"], check)
    assert campaign(target, 5_000, start=7).value == campaign(target, 5_000, start=7).value
