"""Sets one lane record aside, at which a partition has stopped, and sees what becomes of it."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from confluent_kafka import TopicPartition

from clout.config import Settings
from clout.whole_topic import POLL_SECONDS, Extent, extents, read_from, reading, records
from schemas.packed import COMMANDS, peek
from streams.errors import CloutError, first_line
from streams.status import TaskStatus

Lane = Literal["actors", "targets"]

GROUP: Final = "clout-quarantine"
READ_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 0.3
SETTLED_SECONDS: Final = 5.0
IDLE_LOOKS: Final = 4
"""A partition has nothing to do when that was seen so often: for a second, which is longer than its lag is out of date.
"""
STOPPED: Final = "stopped"
RUNNING: Final = "running"


class Place(NamedTuple):
    """Where a lane record is."""

    partition: int
    lane: Lane
    offset: int

    def __str__(self) -> str:
        """Say it in words."""
        return f"offset {self.offset} of partition {self.partition} of the {self.lane} lane"


def check_ahead(place: Place, tasks: Mapping[int, TaskStatus]) -> None:
    """Raise `CloutError` unless the partition stands still before the record."""
    task = tasks.get(place.partition)
    nothing = "nothing was ordered"
    if task is None:
        raise CloutError(f"no worker has partition {place.partition}", detail=nothing, hint="see `clout status`")
    position = task.positions.get(place.lane)
    if position is not None and position >= place.offset:
        raise CloutError(
            f"{place} was passed already",
            detail=f"the partition has read up to offset {position}; {nothing}, it would have no effect",
        )
    if task.state != STOPPED:
        raise CloutError(
            f"partition {place.partition} does not stand still: it is {task.state}",
            detail=f"{nothing}: a record is only set aside where a partition has stopped before it",
        )
    if position is None:
        raise CloutError(
            f"partition {place.partition} refuses to start, and no record is the cause",
            detail=f"{first_line(task.reason or task.state)}; {nothing}",
        )


def check_record(settings: Settings, place: Place) -> str:
    """Return what lies there, in words; raise `CloutError` when there is no record, or one that is never set aside."""
    topic = settings.names.actors_lane if place.lane == "actors" else settings.names.targets_lane
    _check_written(settings, place, topic)
    deadline = time.monotonic() + READ_SECONDS
    beyond = ""
    with reading(settings.kafka, GROUP) as reader:
        read_from(reader, [TopicPartition(topic, place.partition, place.offset)])
        while time.monotonic() < deadline:
            for message in reader.consume(1, POLL_SECONDS):
                if message.error() is not None or message.offset() != place.offset:
                    if message.error() is None:
                        beyond = f"; the next record is at offset {message.offset()}"
                    deadline = 0.0
                    break
                kind, rows = peek(message.value() or b"")
                if kind == COMMANDS:
                    raise CloutError(
                        f"{place} is a record of commands, which is never set aside",
                        detail="a `forget` that one partition does not obey would leave copies of the user behind",
                    )
                return f"a record of {kind or 'unknown kind'} with {rows:,} rows"
    raise CloutError(
        f"there is no record at {place}",
        detail=f"topic {topic}{beyond}; nothing was ordered",
        hint="the incident of the stop says which records it is about; see `clout status` for where the partition is",
    )


def _check_written(settings: Settings, place: Place, topic: str) -> None:
    """Raise `CloutError` where the lane has not come as far: a reader would begin anew instead of saying so."""
    ends = {extent.partition: extent.end for extent in extents(settings.kafka, GROUP, [topic])}
    end = ends.get(place.partition, 0)
    if place.offset >= end:
        raise CloutError(
            f"there is no record at {place} yet",
            detail=f"topic {topic}, partition {place.partition}: the next record will be at offset {end}; "
            "nothing was ordered",
            hint="`clout incident show` of the stop names the suspect, with its lane and offset",
        )


def ends_of_letters(settings: Settings) -> list[Extent]:
    """Return how far the lanes' dead letters reach now."""
    return list(extents(settings.kafka, GROUP, [settings.names.lane_dead_letters]))


def wait_until_passed(
    tasks: Callable[[], Mapping[int, TaskStatus]], place: Place, timeout_seconds: float
) -> TaskStatus:
    """Return the partition's task when it has passed the record; raise `CloutError` after the time.

    That `tasks` finds nobody is no end either: a worker that restarts finds the order.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        task, state = _found(tasks, place)
        if task is not None and task.positions.get(place.lane, -1) >= place.offset:
            return task
        if time.monotonic() > deadline:
            raise CloutError(
                f"the order was accepted, but partition {place.partition} has not passed the record "
                f"within {timeout_seconds:.0f} seconds",
                detail=f"{state}: {first_line(task.reason)}" if task is not None and task.reason else state,
                hint="the order stays: the partition's task looks for it whenever it opens or stands still",
            )
        time.sleep(RETRY_SECONDS)


def wait_until_settled(tasks: Callable[[], Mapping[int, TaskStatus]], place: Place, passed: TaskStatus) -> TaskStatus:
    """Return the partition's task when it went on beyond the record, has nothing to do, or stands still again.

    `passed` is its task as it passed the record: at the next one it may stop, a moment later. Return the task as it is
    when that is not known in time.
    """
    deadline = time.monotonic() + SETTLED_SECONDS
    task, idle_looks = passed, 0
    while task.state == RUNNING and task.positions[place.lane] == passed.positions[place.lane]:
        idle_looks = 0 if any(task.lag_records.values()) else idle_looks + 1
        if idle_looks == IDLE_LOOKS or time.monotonic() > deadline:
            break
        time.sleep(RETRY_SECONDS)
        task = _found(tasks, place)[0] or task
    return task


def _found(tasks: Callable[[], Mapping[int, TaskStatus]], place: Place) -> tuple[TaskStatus | None, str]:
    """Return a partition's task, and its state in words."""
    try:
        task = tasks().get(place.partition)
    except CloutError as error:
        return None, error.error
    return task, "no worker has it" if task is None else task.state


def letter_of(settings: Settings, since: Sequence[Extent], command: str) -> str | None:
    """Return what the dead letter says that a command made, None if there is none behind `since`."""
    begins = {(extent.topic, extent.partition): extent.end for extent in since}
    with reading(settings.kafka, GROUP) as reader:
        for extent in ends_of_letters(settings):
            begin = begins.get((extent.topic, extent.partition), extent.begin)
            for message in records(reader, extent._replace(begin=begin)):
                headers = dict(message.headers() or [])
                if headers.get("command") == command.encode():
                    detail = headers.get("detail") or b""
                    return detail if isinstance(detail, str) else detail.decode()
    return None
