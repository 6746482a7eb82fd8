"""A network's present, as far as its feeds tell: when and where its synthetic accounts can act without moving time."""

from typing import Final, NamedTuple

from schemas.feed_report import FeedReport
from schemas.times import parse_ms

BACKLOG_RECORDS_MAX: Final = 10_000
"""Records that a raw partition may have unread: whoever is sent behind more would only measure how long they take."""


class Place(NamedTuple):
    """A raw partition, and its latest time."""

    raw_partition: int
    time_ms: int


class CanaryFeed:
    """What was last told of each raw partition of a network."""

    def __init__(self, stalled_ms: int) -> None:
        """Begin with nothing told; a network whose time stands for so long, by the guard's clock, is stalled."""
        self._stalled_ms = stalled_ms
        self._reports: dict[int, FeedReport] = {}
        self._time_ms = 0
        self._moved_ms = 0

    def hear(self, report: FeedReport, now_ms: int) -> None:
        """Take in what ingest tells."""
        self._reports[report.raw_partition] = report
        time_ms = _time_of(report)
        if time_ms > self._time_ms:
            self._time_ms, self._moved_ms = time_ms, now_ms

    def is_moving(self, now_ms: int) -> bool:
        """Return whether the network's time goes on; it does not while that is unknown, frozen or stalled."""
        frozen = any(report.frozen for report in self._reports.values())
        return bool(self._time_ms) and not frozen and now_ms - self._moved_ms <= self._stalled_ms

    def place(self, turn: int, from_ms: int) -> Place | None:
        """Return where to act, in turn, among raw partitions that have come as far as a time; None where none has.

        The time is the raw partition's own, so that nothing which happens then moves any clock.
        """
        count = max((report.raw_partitions for report in self._reports.values()), default=0)
        for step in range(count):
            report = self._reports.get((turn + step) % count)
            if report is None or report.lag_records > BACKLOG_RECORDS_MAX:
                continue
            time_ms = _time_of(report)
            if time_ms and time_ms >= from_ms:
                return Place(report.raw_partition, time_ms)
        return None


def _time_of(report: FeedReport) -> int:
    return parse_ms(report.time) if report.time is not None else 0
