"""How a role's Python process is set up, and how it ends when nothing else helps."""

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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
