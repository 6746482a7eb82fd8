"""What the reference makes of the lanes of a run: which events count, and what each grants.

The actors lane is the order that the code under test was given, so nothing but that order is taken from it.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from operator import attrgetter, itemgetter
from typing import Final, NamedTuple

from schemas.interaction import RETRACT_CODE
from schemas.kinds import KINDS
from schemas.packed import COMMANDS, FORGET, PackedError, Record, decode
from schemas.users import partition_of
from scorer.model import Model
from scorer.reference import Actors, Entry, Event
from streams import task_state
from streams.ledger import ANYBODY
from streams.names import Names
from streams.stages import clocks
from streams.stages.commands import Command, commands_of
from streams.store import META_KEY
from tests.simulator.log import Fate, Log
from tests.simulator.script import NETWORKS

NOBODY: Final = ANYBODY.decode()


Granted = tuple[int, int]
"""An event that granted something: its hash, and how often that hash had before, which a short ledger has forgotten."""


def records_of(log: Log, topic: str, partition: int) -> Iterator[tuple[int, Record]]:
    """Yield the packed records of a lane partition that can be read, in order and with their offsets."""
    lane = log.at((topic, partition))
    entries, _ = lane.read(0, len(lane.entries), committed=True)
    for entry in entries:
        try:
            yield entry.offset, decode(entry.value or b"")
        except PackedError:
            continue


def ledger_starts(log: Log, topic: str, partition: int) -> list[tuple[int, int]]:
    """Return, commit by commit, the position in the actors lane and the oldest row that the ledger has from then on."""
    state = log.at((topic, partition))
    records = [
        task_state.decode(entry.value)
        for entry in sorted([*state.compacted, *state.entries], key=attrgetter("offset"))
        if entry.key == META_KEY and entry.value and entry.transaction and entry.transaction.fate is Fate.COMMITTED
    ]
    return [(record.positions[task_state.ACTORS], record.ledger.first_row) for record in records]


def rows_of(record: Record) -> Iterator[tuple[Event, int, int]]:
    """Yield a record's interactions and retractions, each with its hash and the code of its kind."""
    columns = {name: column.tolist() for name, column in record.columns.items() if len(column)}
    for row in range(record.rows):
        actor = record.actors[columns["actor"][row]].decode()
        target = record.targets[columns["target"][row]].decode()
        network = record.networks[columns["network"][row]]
        kind = columns["kind"][row]
        word = KINDS[kind] if kind < len(KINDS) else ""
        yield Event(network, "", word, actor, target, columns["time"][row]), columns["event_hash"][row], kind


@dataclass(slots=True)
class Verdicts:
    """What became of everything that came, over all partitions."""

    granted: dict[Granted, Entry] = field(default_factory=dict)
    """Each event that granted something."""
    live: dict[Granted, Entry] = field(default_factory=dict)
    """Of these, what was neither taken back nor forgotten."""
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By network and outcome."""
    forgotten: dict[str, bool] = field(default_factory=dict)
    """Users about whom there were commands, and whether the last one was to forget."""
    gone: set[str] = field(default_factory=set)
    """Users who were forgotten and have done nothing since."""
    uncertain: set[tuple[str, str]] = field(default_factory=set)
    """Users and networks that something was taken from: when their last event was depends on the order."""

    def take(self, granted: Granted) -> None:
        """Count an event no more."""
        event = self.live.pop(granted).event
        self.uncertain.add((event.target, event.network))


class Row(NamedTuple):
    """The newest row of a hash in the ledger."""

    number: int
    status: str
    """live, taken back, held (a retraction that waits), or dropped: it would have credited who was forgotten."""
    granted: Granted | None
    batch: int


class Partition:
    """One partition of the actors lane."""

    def __init__(self, number: int, partitions: int, model: Model, verdicts: Verdicts) -> None:
        self.number, self.partitions, self.verdicts = number, partitions, verdicts
        self.actors = Actors(model)
        self.rows: dict[int, Row] = {}
        self.times: Counter[int] = Counter()
        """How often each hash has granted something."""
        self.next_row = self.oldest_row = self.batch = 0
        self.entries: dict[Granted, Entry] = {}
        """What the events of this partition granted."""
        self.mine: dict[Granted, Entry] = {}
        """Of these, what counts."""
        self.detached: set[Granted] = set()
        """What an actor did before it was forgotten: its new memory does not have it."""
        self.nameless: set[Granted] = set()
        """What was done to somebody who was forgotten here: in the memory of who did it, it is not found."""
        self.dropping: set[str] = set()

    def fold(self, record: Record, batch: int, oldest_row: int) -> None:
        """Take a record in, as part of a batch that began with a ledger back to a row."""
        self.batch, self.oldest_row = batch, oldest_row
        if record.kind in clocks.HEARD:
            return
        if record.kind == COMMANDS:
            for command in commands_of([record]):
                self.obey(command)
            return
        for event, identity, kind in rows_of(record):
            self.verdicts.gone.discard(event.actor)
            outcome = self.retract(identity) if kind == RETRACT_CODE else self.apply(event, identity)
            self.verdicts.counts[event.network, outcome] += 1

    def find(self, identity: int) -> Row | None:
        """Return the row of a hash, if the ledger still has it."""
        row = self.rows.get(identity)
        return row if row is not None and row.number >= self.oldest_row else None

    def enter(self, identity: int, status: str, granted: Granted | None = None) -> None:
        """Add a row."""
        self.rows[identity] = Row(self.next_row, status, granted, self.batch)
        self.next_row += 1

    def apply(self, event: Event, identity: int) -> str:
        """Take an event in and return what became of it."""
        row = self.find(identity)
        if row is not None and row.status != "held":
            return "duplicate"
        if row is not None:
            self.enter(identity, "taken")
            return "withheld"
        if event.actor == event.target:
            self.enter(identity, "live")
            return "self"
        if event.target in self.dropping:
            self.enter(identity, "dropped")
            return "forgotten"
        granted = identity, self.times[identity]
        self.times[identity] += 1
        self.enter(identity, "live", granted)
        entry = self.entries[granted] = self.actors.take(event, 1.0)
        self.mine[granted] = self.verdicts.live[granted] = self.verdicts.granted[granted] = entry
        return "granted"

    def retract(self, identity: int) -> str:
        """Take a retraction in and return what became of it."""
        row = self.find(identity)
        if row is None:
            self.enter(identity, "held")
            return "unmatched"
        # What was dropped cannot be taken back, but within its batch that is not known yet.
        if row.status != "live" and not (row.status == "dropped" and row.batch == self.batch):
            return "repeated"
        self.enter(identity, "taken")
        granted = row.granted
        if granted is None:
            return "retracted"
        entry = self.entries[granted]
        if granted not in self.detached:
            target = NOBODY if granted in self.nameless else entry.event.target
            self.actors.take_back(replace(entry, event=replace(entry.event, target=target)))
        if self.mine.pop(granted, None) is not None:
            self.verdicts.take(granted)
        return "retracted"

    def obey(self, command: Command) -> None:
        """Forget a user, or let them count again."""
        user = command.user.decode()
        self.verdicts.forgotten[user] = command.code == FORGET
        mine = partition_of(command.user, self.partitions) == self.number
        if command.code != FORGET:
            self.dropping.discard(user)
            if mine:
                self.verdicts.gone.discard(user)
            return
        self.dropping.add(user)
        for granted in [one for one, entry in self.mine.items() if entry.event.target == user]:
            del self.mine[granted]
            self.verdicts.take(granted)
        if not mine:
            return
        self.verdicts.gone.add(user)
        for network in NETWORKS:
            self.actors.states.pop((user, network), None)
        for granted, entry in self.entries.items():
            if entry.event.actor == user:
                self.detached.add(granted)
            if entry.event.target == user:
                self.nameless.add(granted)


def verdicts_of(log: Log, names: Names, partitions: int, model: Model) -> Verdicts:
    """Return what the reference makes of the actors lane.

    Only when rows of the ledger expire is taken from the tasks, since that depends on their batches.
    """
    verdicts = Verdicts()
    for number in range(partitions):
        partition = Partition(number, partitions, model, verdicts)
        starts = ledger_starts(log, names.state, number)
        for offset, record in records_of(log, names.actors_lane, number):
            before = bisect_left(starts, offset, key=itemgetter(0))
            partition.fold(record, before, starts[before - 1][1] if before else 0)
    return verdicts
