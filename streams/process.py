"""How a role's Python process is set up, and how it ends when nothing else helps."""

import ctypes
import gc
import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Final

import structlog

_log = structlog.get_logger(__name__)

FAULTS_VARIABLE: Final = "CLOUT_TEST_PLANTED_FAULTS"
"""Set to 1 in the environment of workers that may be told to have faults (`streams.planting`)."""
STUCK_EXIT_CODE: Final = 75
"""The system's code for a failure after which one may try again (EX_TEMPFAIL)."""
_YOUNG_OBJECTS_MAX: Final = 500_000


def set_up_garbage_collection() -> None:
    """Collect cycles seldom: a batch makes hundreds of thousands of short-lived objects and no cycles.

    With Python's default threshold the collector walks them over and over, which doubled the cost of writing changes
    (`python -m bench --only targets`).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS_MAX, 20, 20)


def give_back_memory() -> None:
    """Give memory that was freed back to the system, where the C library can.

    A restore goes through much memory in many threads, and glibc keeps what lies between things still in use: more
    than half of what a worker held after it had restored millions of users (`python -m bench --only idle`).
    """
    with suppress(AttributeError, OSError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def ended_if_stuck(what: str, seconds: float) -> Iterator[None]:
    """End the process at once when what is done within takes longer than it ever may.

    Seen after a broker was killed (`make chaos`): a call into the Kafka client that never came back, whatever time-out
    it was given; `streams.ingest` says why. Whoever starts the role anew fences what it left behind.
    """
    number = _WATCH.begin(what, seconds)
    try:
        yield
    finally:
        _WATCH.end(number)


class _Watch:
    """One thread for all that is under way; a timer each would start one a commit."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._under_way: dict[int, tuple[float, str, float]] = {}
        """Deadline by the monotonic clock, what it is, and how long it may take."""
        self._numbers = count()
        self._looks_at = math.inf
        """When the thread looks next; by itself never, while nothing is under way."""
        self._thread: threading.Thread | None = None

    def begin(self, what: str, seconds: float) -> int:
        """Take note that something begins; return its number."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
                self._thread.start()
            number, deadline = next(self._numbers), time.monotonic() + seconds
            self._under_way[number] = deadline, what, seconds
            if deadline < self._looks_at:
                self._changed.notify()
            return number

    def end(self, number: int) -> None:
        """Take note that it is over."""
        with self._changed:
            del self._under_way[number]

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for deadline, what, seconds in self._under_way.values():
                    if deadline <= now:
                        _end(what, seconds)
                self._looks_at = min((deadline for deadline, _, _ in self._under_way.values()), default=math.inf)
                self._changed.wait(None if self._looks_at == math.inf else self._looks_at - now)


_WATCH: Final = _Watch()


def _end(what: str, seconds: float) -> None:
    _log.error("stuck, the process ends so that it can be started again", what=what, seconds=seconds)
    os._exit(STUCK_EXIT_CODE)
