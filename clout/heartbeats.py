"""Heartbeats, by which a collector says to every raw partition of its network how far it has reported.

A network's clock waits for each of its raw partitions, and one that none of the actors' keys leads to would hold it
for ever. Only the collector knows that nothing is to come there: so it says so, behind what it has sent.
"""

import time
from collections.abc import Callable
from typing import Final

from schemas.interaction import Interaction, encode
from schemas.limits import TIME_AHEAD_MS_MAX, TIME_MS_MIN

EVERY_SECONDS: Final = 1.0
"""Ingest tells the tasks no more often how far a raw partition has come (`ingest.tick_interval_ms`)."""


def heartbeat(source: str, time_ms: int) -> bytes:
    """Return the record by which a collector says that it has reported everything up to a time.

    >>> heartbeat("west", 1_340_000_000_000)
    b'{"kind":"heartbeat","time":1340000000000,"source":"west"}'
    """
    return encode(Interaction(kind="heartbeat", time=time_ms, source=source))


class Heartbeats:
    """Follows the times of what one collector sends to one topic, and tells them now and then.

    Heartbeats hold only where events are sent in the order of their times. Once times have gone back, nobody can tell
    what is still to come: then only the last heartbeat is sent, when nothing is.
    """

    def __init__(self, send_to_all_partitions: Callable[[bytes], None], source: str, now_seconds: float) -> None:
        """Begin; `now_seconds`, here and in `beat`, is the time by a clock that never goes back."""
        self._send = send_to_all_partitions
        self._source = source
        self._said_at_seconds = now_seconds
        self._said_ms: int | None = None
        self._time_ms: int | None = None
        self._in_order = True
        self._time_ms_max = _accepted_ms_max()

    def sent(self, time_ms: int) -> None:
        """Take in the time of an event that was sent; one that ingest will not accept tells nothing."""
        if self._time_ms is not None and TIME_MS_MIN <= time_ms < self._time_ms:
            self._in_order = False
        self.reached(time_ms)

    def reached(self, time_ms: int) -> None:
        """Take in that all events before this time were sent."""
        if TIME_MS_MIN <= time_ms <= self._time_ms_max and (self._time_ms is None or time_ms > self._time_ms):
            self._time_ms = time_ms

    def beat(self, now_seconds: float) -> None:
        """Say how far everything is sent, if that is further than said before and not said a moment ago."""
        if now_seconds - self._said_at_seconds < EVERY_SECONDS:
            return
        self._said_at_seconds = now_seconds
        self._time_ms_max = _accepted_ms_max()
        if self._in_order and self._time_ms != self._said_ms:
            self._say()

    def end(self) -> None:
        """Say how far everything was sent, now that nothing is to come."""
        self._say()

    def _say(self) -> None:
        if self._time_ms is not None:
            self._send(heartbeat(self._source, self._time_ms))
            self._said_ms = self._time_ms


def _accepted_ms_max() -> int:
    # Ingest puts later ones aside. A heartbeat must not say them either: one wrong year would end all decay to come.
    return int(time.time() * 1000) + TIME_AHEAD_MS_MAX
