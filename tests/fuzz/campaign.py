"""Runs a target on damaged samples in a process of its own, so that a crash, a hang and a flood of memory are findings.

The input in hand lies in memory that both processes share: whatever ends the child, the parent can say which bytes.
"""

import faulthandler
import gc
import mmap
import os
import resource
import signal
import sys
import time
import traceback
from typing import Final, NamedTuple

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.mutations import CHOICES, damaged
from tests.fuzz.targets import Target

SECONDS_MAX: Final = 5.0
"""Processor time that one input may take: on a busy machine the clock says nothing."""
MEMORY_BYTES_MAX: Final = 1 << 30
"""Address space that a target may take beyond what it has after its samples, Hypothesis's own memory included."""
INPUT_BYTES_MAX: Final = 4 << 20
_EXAMPLES: Final = 2_000
"""Of one run of Hypothesis, each of 1 to `_DAMAGES_MAX` inputs; what it remembers of them is bounded so."""
_DAMAGES_MAX: Final = 6
_HEADER_BYTES: Final = 16
_REPORT_BYTES_MAX: Final = 60_000
"""Less than what a pipe holds: the child ends before anybody reads."""

choices = st.integers(0, CHOICES - 1)


class Outcome(NamedTuple):
    """What a campaign came to."""

    inputs: int
    seconds: float
    finding: str
    """What went wrong, empty when nothing did."""
    value: bytes
    """The bytes that it went wrong with, as small as they could be made."""


class _Shared:
    """Inputs so far, and the one in hand."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, _HEADER_BYTES + INPUT_BYTES_MAX)

    def take(self, value: bytes) -> None:
        kept = value[:INPUT_BYTES_MAX]
        self.memory[:_HEADER_BYTES] = (self.inputs + 1).to_bytes(8, "little") + len(kept).to_bytes(8, "little")
        self.memory[_HEADER_BYTES : _HEADER_BYTES + len(kept)] = kept

    @property
    def inputs(self) -> int:
        return int.from_bytes(self.memory[:8], "little")

    @property
    def value(self) -> bytes:
        size = int.from_bytes(self.memory[8:_HEADER_BYTES], "little")
        return self.memory[_HEADER_BYTES : _HEADER_BYTES + size]


def campaign(target: Target, inputs: int, start: int, seconds_max: float = SECONDS_MAX) -> Outcome:
    """Try at least so many inputs; the same `start` gives the same ones."""
    shared, begun = _Shared(), time.perf_counter()
    reader, writer = os.pipe()
    # What came along from the parent is never collected in the child: a Kafka client or a database whose threads did
    # not come along ends it, or waits for them for ever.
    collects = gc.isenabled()
    gc.disable()
    child = os.fork()
    if not child:
        gc.freeze()
        gc.enable()
        os.close(reader)
        _in_child(target, inputs, start, seconds_max, shared, writer)
    if collects:
        gc.enable()
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        finding = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    if not finding and os.WIFSIGNALED(status):
        finding = _killed(os.WTERMSIG(status), seconds_max)
    return Outcome(shared.inputs, time.perf_counter() - begun, finding, shared.value if finding else b"")


def _killed(by: int, seconds_max: float) -> str:
    return (
        f"took more than {seconds_max} s of processor time"
        if by == signal.SIGPROF
        else f"crashed: {signal.Signals(by).name}"
    )


def _in_child(target: Target, inputs: int, start: int, seconds_max: float, shared: _Shared, writer: int) -> None:
    finding = ""
    try:
        for sample in target.samples:
            target.check(sample)
        _bound_memory()
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        faulthandler.disable()
        _try_inputs(target, inputs, start, seconds_max, shared)
    except BaseException as error:  # noqa: BLE001  whatever comes out is the finding
        signal.setitimer(signal.ITIMER_PROF, 0)
        finding = "".join(traceback.format_exception_only(error)) + "".join(
            traceback.format_tb(error.__traceback__)[-3:]
        )
    os.write(writer, finding.encode(errors="replace")[:_REPORT_BYTES_MAX])
    os._exit(0)


def _bound_memory() -> None:
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123  one line, read at once
        pages = int(statm.read().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES_MAX
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  for the child's life


def _try_inputs(target: Target, inputs: int, start: int, seconds_max: float, shared: _Shared) -> None:
    @given(st.integers(0, len(target.samples) - 1), st.lists(choices, min_size=1, max_size=_DAMAGES_MAX))
    @settings(
        max_examples=min(_EXAMPLES, inputs // 4 + 1),
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    def attempt(sample: int, damages: list[int]) -> None:
        value = target.samples[sample]
        for choice in damages:
            damage = damaged(value, choice, target.samples, target.codec)
            shared.take(damage.value)
            signal.setitimer(signal.ITIMER_PROF, seconds_max)
            target.check(damage.value)
            signal.setitimer(signal.ITIMER_PROF, 0)
            value = damage.value if damage.whole else value

    number = start
    while shared.inputs < inputs:
        seed(number)(attempt)()
        number += 1
