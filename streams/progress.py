"""Tells whether everything that was read in has been processed, and whether the counts add up.

A reading follows the way of the events, each step read after the one before it: ends of the raw topics, what ingest
committed and sent, and what `clout retract` did, what the actors stages took of that and sent, what the targets stages
took of that. All numbers only grow, so a step that has caught up with an earlier reading of the step before it has
caught up in truth, however much came in meanwhile.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from streams.errors import first_line
from streams.feed_position import CONTROL, FeedPosition, source_of
from streams.retract_position import SOURCE as RETRACT_SOURCE
from streams.status import FreezeStatus, TaskStatus
from streams.task_state import QUARANTINED

RUNNING: Final = "running"


@dataclass(frozen=True, slots=True)
class Feed:
    """A raw partition: how far it reaches and what ingest committed of it."""

    network: str
    partition: int
    begin: int
    end: int
    committed: int | None
    position: FeedPosition

    @property
    def records_behind(self) -> int:
        """Records that were not taken in.

        >>> Feed("twitter", 0, 5, 9, None, FeedPosition([0])).records_behind
        4
        """
        return max(0, self.end - (self.begin if self.committed is None else self.committed))


@dataclass(frozen=True, slots=True)
class Reading:
    """One look along the whole way; tasks by partition, read twice, one after the other."""

    feeds: Sequence[Feed]
    actors: Mapping[int, TaskStatus]
    targets: Mapping[int, TaskStatus]
    lane_partitions: int
    frozen: Mapping[str, FreezeStatus] = field(default_factory=dict)
    """Networks of which nothing is read, as ingest says."""
    taking_back: Sequence[int] = ()
    """Last sequence that `clout retract` wrote to each partition of the actors lane; empty: it is not looked at."""


@dataclass(frozen=True, slots=True)
class Behind:
    """One place that has not caught up."""

    stage: str
    """`ingest`, `actors` or `targets`."""
    where: str
    records: int
    """How far it is behind; 0 where that is not known."""
    note: str = ""
    frozen: str = ""
    """The network that is frozen, for which there is no use to wait."""


@dataclass(frozen=True, slots=True)
class Conservation:
    """What became of the events of one network."""

    network: str
    read: int
    applied: int = 0
    self_: int = 0
    dead_lettered: int = 0
    heartbeat: int = 0
    duplicate: int = 0
    """Events that had been taken in before."""
    retracting: int = 0
    withheld: int = 0
    """Events that were taken back before they were credited; they grant nothing."""
    forgotten: int = 0
    """Events that would have credited a user who was forgotten."""
    retracted: int = 0
    """Retractions, so each one of `retracting`, that took an event back."""
    repeated: int = 0
    """Retractions of what had been taken back before."""
    unmatched: int = 0
    """Retractions whose event is not known: they wait for it."""

    @property
    def missing(self) -> int:
        """Events read and not accounted for: 0 when idle, positive while some are under way."""
        return self.read - sum(
            (
                self.applied,
                self.self_,
                self.dead_lettered,
                self.heartbeat,
                self.duplicate,
                self.retracting,
                self.withheld,
                self.forgotten,
            )
        )

    def as_dict(self) -> dict[str, int | str | bool]:
        """Return the public form."""
        return {
            "network": self.network,
            "read": self.read,
            "applied": self.applied,
            "self": self.self_,
            "dead_lettered": self.dead_lettered,
            "heartbeat": self.heartbeat,
            "duplicate": self.duplicate,
            "retracting": self.retracting,
            "withheld": self.withheld,
            "forgotten": self.forgotten,
            "retracted": self.retracted,
            "repeated": self.repeated,
            "unmatched": self.unmatched,
            "missing": self.missing,
            "holds": self.missing == 0,
        }


def behind(reading: Reading) -> list[Behind]:
    """List what is not processed yet, in the order of the way; empty when everything is."""
    return [*_feeds_behind(reading), *_tasks_not_running(reading), *_actors_behind(reading), *_targets_behind(reading)]


def frozen_in_words(freeze: FreezeStatus) -> str:
    """Say since when, for what and why a network is frozen.

    >>> frozen_in_words(FreezeStatus(since="2026-01-01T00:00:00.000Z", reason="half of it is garbage"))
    'frozen since 2026-01-01T00:00:00.000Z: half of it is garbage'
    """
    incident = f" by incident {freeze.incident}" if freeze.incident else ""
    return f"frozen since {freeze.since}{incident}: {freeze.reason}"


def _feeds_behind(reading: Reading) -> Iterable[Behind]:
    for feed in reading.feeds:
        if records := feed.records_behind:
            freeze = reading.frozen.get(feed.network)
            note = "" if freeze is None else f"{records:,} records wait: {frozen_in_words(freeze)}"
            frozen = "" if freeze is None else feed.network
            yield Behind("ingest", source_of(feed.network, feed.partition), records, note, frozen)


def _tasks_not_running(reading: Reading) -> Iterable[Behind]:
    for partition in range(reading.lane_partitions):
        task = reading.targets.get(partition)
        if task is None or partition not in reading.actors:
            yield Behind("worker", f"partition {partition}", 0, "no worker has it")
        elif task.state != RUNNING:
            yield Behind(
                "worker",
                f"partition {partition}",
                0,
                task.state + (f": {first_line(task.reason)}" if task.reason else ""),
            )


def _actors_behind(reading: Reading) -> Iterable[Behind]:
    for partition, task in sorted(reading.actors.items()):
        seen = task.seen.get("actors", {})
        lag = sum(
            max(0, feed.position.sent[partition] - seen.get(source_of(feed.network, feed.partition), 0))
            for feed in reading.feeds
        )
        if reading.taking_back:
            lag += max(0, reading.taking_back[partition] - seen.get(RETRACT_SOURCE, 0))
        if lag:
            yield Behind("actors", f"partition {partition}", lag)


def _targets_behind(reading: Reading) -> Iterable[Behind]:
    for partition, task in sorted(reading.targets.items()):
        seen = task.seen.get("targets", {})
        lag = sum(
            max(0, source.sent.get(str(partition), 0) - seen.get(f"actors/{number}", 0))
            for number, source in reading.actors.items()
        )
        if lag:
            yield Behind("targets", f"partition {partition}", lag)
        elif task.due:
            yield Behind("targets", f"partition {partition}", 0, "users whose time has come")


def conservation(reading: Reading) -> list[Conservation]:
    """Add up what became of each network's events, in the order of the feeds.

    The counters are kept in the transactions, so the sums hold over restarts of any role.
    """
    networks = dict.fromkeys(feed.network for feed in reading.feeds if feed.network != CONTROL)
    return [_conservation_of(reading, network) for network in networks]


def _conservation_of(reading: Reading, network: str) -> Conservation:
    def of_ingest(outcome: str) -> int:
        return sum(feed.position.counters.get(outcome, 0) for feed in reading.feeds if feed.network == network)

    def of_tasks(outcome: str) -> int:
        return sum(task.counters.get(network, {}).get(outcome, 0) for task in reading.targets.values())

    return Conservation(
        network=network,
        read=of_ingest("read"),
        applied=of_tasks("applied"),
        self_=of_tasks("self"),
        # With what an operator set aside in either lane.
        dead_lettered=of_ingest("dead_lettered") + of_tasks(QUARANTINED),
        heartbeat=of_ingest("heartbeat"),
        duplicate=of_tasks("duplicate"),
        retracting=of_ingest("retracting"),
        withheld=of_tasks("withheld"),
        # What either stage left out: an event that the actors stage knew of, a credit already under way.
        forgotten=of_tasks("forgotten") + of_tasks("dropped"),
        retracted=of_tasks("retracted"),
        repeated=of_tasks("repeated"),
        unmatched=of_tasks("unmatched"),
    )
