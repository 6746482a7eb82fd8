"""How far time has come on each network: low watermarks, by which scores decay.

A task of the actors stage knows from ticks how far each raw partition is read, and when each registered collector was
last heard there. Its clock of a network is the least of these: nothing can still come that is older, but what is late.
What a collector says in one raw partition vouches for nothing that lies unread in another. The task tells its clock to
every task of the targets stage, and there the clock is the least of all tasks'. So one raw partition, one collector or
one task that stands still holds decay, and clocks never go back.

Where `idle_after_seconds` allows it, a raw partition to which nothing has come for long follows the others, by what its
ingest process vouches for: that it was still read to its end after they had come so far. Two ticks of it tell that,
without anybody's wall clock: the broker was asked between them, so whatever a task had heard before the first was read
before. When that process hangs or dies, nobody vouches any more, and the raw partition holds the clock.

Such watermarks are those of MillWheel (Akidau et al., 2013) and the Dataflow model (Akidau et al., 2015).
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from streams.settings import NetworkSettings
from streams.ticks import Tick


class Raw(msgspec.Struct, omit_defaults=True):
    """What is known of a raw partition; 0 where there was nothing yet."""

    time_ms: int = 0
    arrival_ms: int = 0
    heartbeats_ms: dict[str, int] = {}
    """Last heartbeat of each registered collector there."""
    others_ms: int = 0
    """How far those that are not quiet had come when this one, which was, told its last tick."""
    vouched_ms: int = 0
    """How far they had come before it was last seen that all of this one had been read."""

    @property
    def come_ms(self) -> int:
        """How far it lets the clock go."""
        return max(self.time_ms, self.vouched_ms)


class Inputs(msgspec.Struct):
    """What a task has heard of the inputs of a network."""

    raw_partitions: int = 0
    """How many the network has; 0 before the first tick."""
    raw: dict[int, Raw] = {}
    released_ms: dict[str, int] = {}
    """Collectors that an operator has released, with what was their last heartbeat: a later one ends it."""
    clock_ms: int | None = None
    """The clock as it was told to the targets stage; None before the first."""

    def hear(self, tick: Tick, settings: NetworkSettings) -> None:
        """Take a tick in; nothing goes back, in whatever order the raw partitions are told."""
        self.raw_partitions = max(self.raw_partitions, tick.raw_partitions)
        raw = self.raw.setdefault(tick.raw_partition, Raw())
        raw.time_ms = max(raw.time_ms, tick.time_ms)
        raw.arrival_ms = max(raw.arrival_ms, tick.arrival_ms)
        if tick.at_end:
            raw.vouched_ms = max(raw.vouched_ms, raw.others_ms)
        for source, time_ms in tick.heartbeats_ms.items():
            raw.heartbeats_ms[source] = max(time_ms, raw.heartbeats_ms.get(source, 0))
            if time_ms > self.released_ms.get(source, time_ms):
                del self.released_ms[source]
        quiet = self.quiet(settings)
        raw.others_ms = self.others_ms(quiet) if tick.raw_partition in quiet else 0

    def quiet(self, settings: NetworkSettings) -> set[int]:
        """Return the raw partitions to which nothing has come for so long that they may follow the others."""
        if not settings.idle_after_seconds:
            return set()
        newest_ms = max((raw.arrival_ms for raw in self.raw.values()), default=0)
        limit_ms = newest_ms - settings.idle_after_seconds * 1000
        return {number for number, raw in self.raws() if raw.arrival_ms <= limit_ms}

    def others_ms(self, quiet: set[int]) -> int:
        """Return how far all those have come that are not quiet."""
        return min((raw.come_ms for number, raw in self.raws() if number not in quiet), default=0)

    def raws(self) -> Iterator[tuple[int, Raw]]:
        """Yield each raw partition, also those never heard of."""
        for number in range(self.raw_partitions):
            yield number, self.raw.get(number, _UNHEARD)

    def release(self, source: str) -> None:
        """Let the clock go on without a collector, until that is heard again."""
        self.released_ms[source] = self.last_heartbeats_ms.get(source, 0)

    @property
    def last_heartbeats_ms(self) -> dict[str, int]:
        """The last heartbeat of each registered collector, wherever it came in."""
        last: dict[str, int] = {}
        for raw in self.raw.values():
            for source, time_ms in raw.heartbeats_ms.items():
                last[source] = max(time_ms, last.get(source, 0))
        return last


_UNHEARD: Final = Raw()


class Hold(NamedTuple):
    """An input that the clock waits for."""

    name: str
    """`raw partition 3`, or `source west`."""
    time_ms: int | None
    """How far it is; None when nothing was ever heard of it."""
    arrival_ms: int | None
    """When a raw partition was last heard."""
    raw_partition: int | None = None
    """Of a source: where it is so far behind, if it is not everywhere."""


def inputs_waited_for(inputs: Inputs, settings: NetworkSettings) -> list[Hold]:
    """Return everything that the clock of a network waits for, the furthest behind first.

    A source counts where it is furthest behind a raw partition: one that has come no further than the source holds the
    clock by itself. Quiet raw partitions count as long as they have not come as far as the others, collectors there do
    not.
    """
    quiet = inputs.quiet(settings)
    others_ms = inputs.others_ms(quiet)
    holds = [
        Hold(f"raw partition {number}", raw.come_ms or None, raw.arrival_ms or None)
        for number, raw in inputs.raws()
        if number not in quiet or raw.come_ms < others_ms
    ]
    last_ms = inputs.last_heartbeats_ms
    for source in settings.sources:
        if source in inputs.released_ms:
            continue
        behind = {
            number: raw.heartbeats_ms.get(source, 0)
            for number, raw in inputs.raws()
            if number not in quiet and raw.heartbeats_ms.get(source, 0) < raw.time_ms
        }
        at = min(behind, key=lambda number: behind[number], default=None)
        if at is None or behind[at] == last_ms.get(source, 0):
            holds.append(Hold(f"source {source}", last_ms.get(source), None))
        else:
            holds.append(Hold(f"source {source}", behind[at] or None, None, at))
    return sorted(holds, key=lambda hold: -1 if hold.time_ms is None else hold.time_ms)


def advanced(inputs: Inputs, settings: NetworkSettings) -> int | None:
    """Return a network's clock in ms by now, None before it has one; it never goes back.

    >>> inputs = Inputs()
    >>> for number, time_ms in enumerate([50, 70]):
    ...     inputs.hear(Tick("twitter", number, 2, time_ms, 90, False, {}), NetworkSettings())
    >>> advanced(inputs, NetworkSettings()), advanced(inputs, NetworkSettings(sources=("west",)))
    (50, None)
    """
    holds = inputs_waited_for(inputs, settings)
    if not holds or holds[0].time_ms is None:
        return inputs.clock_ms
    return max(holds[0].time_ms, inputs.clock_ms or 0)


def least(told_ms: Mapping[int, int], tasks: int) -> int | None:
    """Return the clock of the targets stage by what each task told, None until all have.

    >>> least({0: 7, 1: 5}, 2), least({0: 7}, 2)
    (5, None)
    """
    return min(told_ms.values()) if len(told_ms) == tasks else None
