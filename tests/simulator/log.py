"""A log in memory that behaves as Kafka does wherever exactly-once depends on it.

Topics with partitions; transactions whose records stay unseen until the marker that ends them, and whose markers take
offsets and may come late; transactional ids with epochs, so that a new owner fences the former one; transactions that
are abandoned and time out; consumer groups with generations; compaction and retention. Time is set from outside.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from operator import attrgetter
from random import Random
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException

from streams.topics import TopicSpec

Place = tuple[str, int]
"""Topic and partition."""
Headers = list[tuple[str, str | bytes | None]] | None

_OFFSET: Final = attrgetter("offset")


class Fate(Enum):
    """What became of a transaction."""

    OPEN = "open"
    COMMITTED = "committed"
    ABORTED = "aborted"


@dataclass(slots=True, eq=False)
class Transaction:
    """Records, and offsets of a group, that become visible together or never."""

    owner: str
    """Transactional id."""
    expires_ms: int
    fate: Fate = Fate.OPEN
    unmarked: set[Place] = field(default_factory=set)
    """Partitions that wait for the marker."""
    offsets: dict[tuple[str, Place], tuple[int, str]] = field(default_factory=dict)
    """By group and place."""


class Entry(NamedTuple):
    """A record; or a marker, which has no value and is never read."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    time_ms: int
    transaction: Transaction | None
    marker: bool = False


@dataclass(slots=True)
class PartitionLog:
    """The entries of a partition, by ascending offset and with holes."""

    entries: list[Entry] = field(default_factory=list)
    begin: int = 0
    """Moved by retention; what lies before is kept for the checks at the end alone."""
    end: int = 0
    compacted: list[Entry] = field(default_factory=list)
    """What compaction took away, kept for the checks at the end alone."""
    undecided: dict[Transaction, int] = field(default_factory=dict)
    """First offset of each transaction whose marker has not come."""

    def append(
        self,
        message: tuple[bytes | None, bytes | None, Headers],
        time_ms: int,
        transaction: Transaction | None,
    ) -> None:
        """Write a record."""
        if transaction is not None:
            self.undecided.setdefault(transaction, self.end)
        self.entries.append(Entry(self.end, *message, time_ms, transaction))
        self.end += 1

    def mark(self, transaction: Transaction, time_ms: int) -> None:
        """Write the marker that ends a transaction here."""
        del self.undecided[transaction]
        self.entries.append(Entry(self.end, None, None, None, time_ms, transaction, marker=True))
        self.end += 1

    @property
    def stable_end(self) -> int:
        """Offset up to which everything is decided: where committed readers stop."""
        return min(self.undecided.values(), default=self.end)

    def read(self, start: int, records_max: int, *, committed: bool) -> tuple[list[Entry], int]:
        """Return records from an offset on, and the offset to go on from."""
        end = self.stable_end if committed else self.end
        found: list[Entry] = []
        position = start
        for at in range(bisect_left(self.entries, start, key=_OFFSET), len(self.entries)):
            entry = self.entries[at]
            if entry.offset >= end or len(found) == records_max:
                return found, max(position, min(entry.offset, end))
            position = entry.offset + 1
            aborted = entry.transaction is not None and entry.transaction.fate is Fate.ABORTED
            if not entry.marker and not (committed and aborted):
                found.append(entry)
        return found, max(position, end)

    def compact(self, deletions_before_ms: int) -> None:
        """Keep the last record of each key; of deletions only those that are younger."""
        end = self.stable_end
        decided = [entry for entry in self.entries if entry.offset < end]
        last = {
            entry.key: entry.offset
            for entry in decided
            if not entry.marker and (entry.transaction is None or entry.transaction.fate is Fate.COMMITTED)
        }
        kept = [
            entry
            for entry in decided
            if last.get(entry.key) == entry.offset
            and not entry.marker
            and (entry.value is not None or entry.time_ms >= deletions_before_ms)
        ]
        there = {entry.offset for entry in kept}
        self.compacted += [entry for entry in decided if entry.offset not in there]
        self.entries = kept + self.entries[len(decided) :]


def failure(
    code: int, text: str, *, retriable: bool = False, fatal: bool = False, abort: bool = False
) -> KafkaException:
    """Return an error as the client raises it."""
    return KafkaException(KafkaError(code, text, fatal, retriable, abort))


class Log:
    """All topics, transactional ids and groups of a cluster."""

    def __init__(self, now_ms: int) -> None:
        self.topics: dict[str, list[PartitionLog]] = {}
        self.configs: dict[str, dict[str, str]] = {}
        self.now_ms = now_ms
        self.random = Random(0)
        """Set before each step, so that a step does the same whatever was left out before it."""
        self.markers_late = 0.0
        """Share of transactions whose markers come later than the answer to the commit."""
        self.epochs: defaultdict[str, int] = defaultdict(int)
        self.open: dict[str, Transaction] = {}
        """Transaction in hand, by transactional id."""
        self.unmarked: list[Transaction] = []
        """Decided transactions whose markers have not all come."""
        self.groups: defaultdict[str, dict[Place, tuple[int, str]]] = defaultdict(dict)
        self.generations: defaultdict[str, int] = defaultdict(int)

    def create(self, specs: Iterable[TopicSpec]) -> None:
        """Create topics."""
        for spec in specs:
            self.topics[spec.name] = [PartitionLog() for _ in range(spec.partitions)]
            self.configs[spec.name] = spec.config

    def at(self, place: Place) -> PartitionLog:
        """Return a partition."""
        return self.topics[place[0]][place[1]]

    # Transactions --------------------------------------------------------------------------------------------------

    def fence(self, owner: str) -> int:
        """Take a transactional id over: end what is open, and return the epoch of the new owner."""
        self.finish(owner)
        transaction = self.open.pop(owner, None)
        if transaction is not None:
            self._end(transaction, Fate.ABORTED, late=False)
        self.epochs[owner] += 1
        return self.epochs[owner]

    def begin(self, owner: str, epoch: int, timeout_ms: int) -> Transaction:
        """Begin a transaction; the broker has ended the one before by then."""
        self.check(owner, epoch)
        self.finish(owner)
        transaction = self.open[owner] = Transaction(owner, self.now_ms + timeout_ms)
        return transaction

    def check(self, owner: str, epoch: int) -> None:
        """Raise when another owner has taken the id over, or a time-out has."""
        if self.epochs[owner] != epoch:
            raise failure(KafkaError._FENCED, "fenced by a newer owner", fatal=True)

    def commit(self, owner: str, epoch: int) -> None:
        """Commit what is open."""
        self.check(owner, epoch)
        transaction = self.open.pop(owner, None)
        if transaction is not None:
            self._end(transaction, Fate.COMMITTED, late=self.random.random() < self.markers_late)

    def expire(self) -> None:
        """Abort the transactions that nobody ended in time; their owners are fenced."""
        for owner, transaction in list(self.open.items()):
            if transaction.expires_ms <= self.now_ms:
                self.fence(owner)

    def _end(self, transaction: Transaction, fate: Fate, *, late: bool) -> None:
        transaction.fate = fate
        self.unmarked.append(transaction)
        if not late:
            self.finish(transaction.owner)

    def finish(self, owner: str) -> None:
        """Write the markers of an owner's transactions."""
        for transaction in [one for one in self.unmarked if one.owner == owner]:
            self.mark(transaction, len(transaction.unmarked))

    def mark(self, transaction: Transaction, partitions: int) -> None:
        """Write some of a decided transaction's markers; its offsets count with the last."""
        for place in sorted(transaction.unmarked)[:partitions]:
            transaction.unmarked.discard(place)
            self.at(place).mark(transaction, self.now_ms)
        if not transaction.unmarked:
            self.unmarked.remove(transaction)
            if transaction.fate is Fate.COMMITTED:
                for (group, place), position in transaction.offsets.items():
                    self.groups[group][place] = position

    def mark_some(self) -> None:
        """Write some of the markers that are late, in any order."""
        for transaction in self.random.sample(self.unmarked, len(self.unmarked)):
            self.mark(transaction, self.random.randint(0, len(transaction.unmarked)))

    # Groups --------------------------------------------------------------------------------------------------------

    def committed(self, group: str, places: Iterable[Place]) -> dict[Place, tuple[int, str]]:
        """Return a group's positions; raise while a transaction that would move one is undecided."""
        wanted = set(places)
        for transaction in list(self.unmarked):
            self.mark(transaction, len(transaction.unmarked))
        for transaction in self.open.values():
            if any((group, place) in transaction.offsets for place in wanted):
                raise failure(KafkaError._TIMED_OUT, "the group's offsets are not stable", retriable=True)
        return {place: self.groups[group][place] for place in wanted if place in self.groups[group]}
