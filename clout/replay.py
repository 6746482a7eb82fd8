"""Plays a file of interactions into a network's topic.

Native files hold one event a line. What is no JSON object is sent as it is: ingest puts it aside with a reason, and
nothing in the file disappears unseen. Records are keyed by the acting user, so that an actor's events keep their order.
Heartbeats go with them, since the network's clock waits for each raw partition.
"""

import gzip
import math
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol, cast

import msgspec
from confluent_kafka import Producer

from clout.heartbeats import Heartbeats
from clout.sender import PAYLOAD_BYTES_MAX, RawSender
from clout.snap import LineCounts, RawEvent, SnapEvents
from streams.errors import CloutError

HEARTBEAT_SOURCE: Final = "replay"
GZIP_MAGIC: Final = b"\x1f\x8b"
NAP_SECONDS_MAX: Final = 0.2
PROGRESS_EVERY_EVENTS: Final = 8_192


class NativeEvents:
    """The lines of a file in the native format, each with its key and time. What is malformed, ingest decides.

    >>> [(key, time_ms) for key, _, time_ms in NativeEvents().events([b'{"actor": "a:1", "time": 5}', b"oops"])]
    [(b'a:1', 5), (None, None)]
    """

    def __init__(self) -> None:
        """Start with no line read."""
        self.counts = LineCounts()

    def events(self, lines: Iterable[bytes]) -> Iterator[RawEvent]:
        """Yield every line that is not empty."""
        counts = self.counts
        decode = msgspec.json.Decoder(_NativeHead | list[_NativeHead]).decode
        for line in lines:
            counts.lines += 1
            value = line.strip()
            if not value:
                counts.skipped += 1
                continue
            try:
                head = decode(value)
            except (msgspec.DecodeError, UnicodeDecodeError):
                yield None, value, None
                continue
            heads = head if isinstance(head, list) else [head]
            # An array is one record, and can have only one key; it is complete when the last of it has happened.
            actor = heads[0].actor if heads else None
            times_ms = [time_ms for of in heads if (time_ms := _milliseconds(of.time)) is not None]
            yield actor.encode() if actor else None, value, max(times_ms, default=None)


class _NativeHead(msgspec.Struct):
    actor: str | None = None
    time: int | datetime | None = None


def _milliseconds(moment: int | datetime | None) -> int | None:
    if isinstance(moment, datetime):
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    return moment


class Events(Protocol):
    """A reader of one format."""

    counts: LineCounts

    def events(self, lines: Iterable[bytes]) -> Iterator[RawEvent]:
        """Yield the interactions of the lines, in their order."""


class Pace:
    """Holds events back until their turn: `factor` seconds of event time pass in one second.

    Where event times go backwards nothing is held back.
    """

    def __init__(self, factor: float) -> None:
        """Start when the first event comes."""
        self.factor = factor
        self._start: tuple[float, int] | None = None

    def wait_seconds(self, time_ms: int, now_seconds: float) -> float:
        """Tell how long the event of `time_ms` has still to wait.

        >>> pace = Pace(60)
        >>> pace.wait_seconds(0, 100.0), pace.wait_seconds(120_000, 100.5)
        (0.0, 1.5)
        """
        if self._start is None:
            self._start = (now_seconds, time_ms)
        began, first_ms = self._start
        return max(0.0, began + (time_ms - first_ms) / 1000 / self.factor - now_seconds)


class TooLarge(NamedTuple):
    """A line that no topic takes."""

    line: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ReplaySummary:
    """What a replay did."""

    lines: int
    skipped: int
    twins_dropped: int
    malformed: int
    sent: int
    heartbeats: int
    """Sent too, and no events."""
    too_large: list[TooLarge]
    interrupted: bool
    seconds: float

    @property
    def records_per_second(self) -> float:
        """Sent records a second, heartbeats aside, with the wait for the broker."""
        return self.sent / self.seconds if self.seconds > 0 else 0.0


@contextmanager
def opened_lines(path: Path) -> Iterator[tuple[BinaryIO, Callable[[], int]]]:
    """Open a file, gzipped or plain, and give its lines and the count of its bytes read so far."""
    try:
        raw = path.open("rb")
    except OSError as error:
        raise CloutError(
            f"cannot read {path}", detail=error.strerror or str(error), hint="check the path and its permissions"
        ) from error
    with raw:
        packed = raw.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)
        if not packed:
            yield raw, raw.tell
            return
        with gzip.GzipFile(fileobj=raw) as unpacked:
            yield cast("BinaryIO", unpacked), raw.tell


def events_of(file_format: str, network: str, *, kind: str | None, prefix: str | None) -> Events:
    """Choose the reader of a format."""
    if file_format == "snap":
        return SnapEvents(network, prefix=prefix or network, kind=kind)
    return NativeEvents()


def check_first_line(path: Path, file_format: str, *, kind: str | None) -> None:
    """Refuse a file whose first line shows that it is in another format, before anything is sent."""
    with opened_lines(path) as (lines, _):
        first = next((line for line in lines if line.strip() and not line.startswith(b"#")), None)
    if first is None:
        return
    shown = first[:80].decode(errors="replace").rstrip()
    if file_format == "snap":
        if SnapEvents("any", prefix="any", kind=kind).kind_of(first.split()) is None:
            three = SnapEvents("any", prefix="any", kind="any").kind_of(first.split()) is not None
            raise CloutError(
                f"{path} has no column with the kind" if three else f"{path} is not in the snap format",
                detail=f"its first line is: {shown}",
                hint="name the kind of all lines with --kind"
                if three
                else "a line reads: actor target unix_seconds [RT|MT|RE]",
            )
    elif not first.lstrip().startswith((b"{", b"[")):
        raise CloutError(
            f"{path} is not in the native format",
            detail=f"its first line is: {shown}",
            hint='a line reads: {"id": …, "kind": …, "actor": …, "target": …, "time": …}',
        )


def replay(
    path: Path,
    reader: Events,
    producer: Producer,
    topic: str,
    *,
    factor: float | None = None,
    on_progress: Callable[[int, int], None] = lambda _bytes_read, _sent: None,
) -> ReplaySummary:
    """Send a file to a topic; `factor` times as fast as life by event time, or as fast as possible if None.

    `on_progress` is called with the bytes of the file read so far and the events sent, several times a second. Lines
    that are too large for a record are left out and listed. However it ends, the broker has what was sent before.
    Heartbeats go to all partitions of the topic while it sends, and when all is sent.
    """
    began = time.monotonic()
    sender = RawSender(producer, topic)
    heartbeats = Heartbeats(sender.send_to_all_partitions, HEARTBEAT_SOURCE, began)
    pace = Pace(factor) if factor is not None else None
    too_large: list[TooLarge] = []
    interrupted = False
    try:
        with opened_lines(path) as (lines, bytes_read):
            for key, value, time_ms in reader.events(lines):
                size_bytes = len(key or b"") + len(value)
                if size_bytes > PAYLOAD_BYTES_MAX:
                    too_large.append(TooLarge(reader.counts.lines, size_bytes))
                    continue
                if pace is not None and time_ms is not None:
                    while (nap := pace.wait_seconds(time_ms, now := time.monotonic())) > 0:
                        sender.poll()
                        heartbeats.reached(time_ms - math.ceil(nap * pace.factor * 1000))
                        heartbeats.beat(now)
                        on_progress(bytes_read(), sender.sent_records)
                        time.sleep(min(nap, NAP_SECONDS_MAX))
                sender.send(key, value)
                if time_ms is not None:
                    heartbeats.sent(time_ms)
                heartbeats.beat(time.monotonic())
                if sender.sent_records % PROGRESS_EVERY_EVENTS == 0:
                    on_progress(bytes_read(), sender.sent_records)
            heartbeats.end()
            on_progress(bytes_read(), sender.sent_records)
    except KeyboardInterrupt:
        interrupted = True
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CloutError(
            f"{path} ends early or is damaged",
            detail=f"{error}; {sender.sent_records:,} records were sent",
            hint="fetch the file again",
        ) from error
    finally:
        sender.close()
    counts = reader.counts
    return ReplaySummary(
        lines=counts.lines,
        skipped=counts.skipped,
        twins_dropped=counts.twins,
        malformed=counts.malformed,
        sent=sender.sent_records,
        heartbeats=sender.sent_heartbeats,
        too_large=too_large,
        interrupted=interrupted,
        seconds=time.monotonic() - began,
    )
