"""How a role's Python process is set up, and how it ends when nothing else helps."""

import ctypes
import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import structlog

_log = structlog.get_logger(__name__)

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
    timer = threading.Timer(seconds, _end, (what, seconds))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end(what: str, seconds: float) -> None:
    _log.error("stuck, the process ends so that it can be started again", what=what, seconds=seconds)
    os._exit(STUCK_EXIT_CODE)
