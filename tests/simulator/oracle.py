"""What the reference makes of the lanes of a run: which events count, and what each grants.

The actors lane is the order that the code under test was given, so nothing but that order is taken from it.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from schemas.interaction import RETRACT_CODE
from schemas.kinds import KINDS
from schemas.packed import COMMANDS, FORGET, PackedError, Record, decode
from schemas.users import partition_of
from scorer.model import Model
from scorer.reference import Actors, Entry, Event
from streams.ledger import ANYBODY
from streams.stages.commands import Command, commands_of
from tests.simulator.log import Log
from tests.simulator.script import NETWORKS

NOBODY: Final = ANYBODY.decode()


def records_of(log: Log, topic: str, partition: int) -> Iterator[Record]:
    """Yield the packed records of a lane partition that can be read, in order."""
    lane = log.at((topic, partition))
    entries, _ = lane.read(0, len(lane.entries), committed=True)
    for entry in entries:
        try:
            yield decode(entry.value or b"")
        except PackedError:
            continue


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

    granted: dict[int, Entry] = field(default_factory=dict)
    """By hash, each event that granted something."""
    live: dict[int, Entry] = field(default_factory=dict)
    """Of these, what was neither taken back nor forgotten."""
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By network and outcome."""
    forgotten: dict[str, bool] = field(default_factory=dict)
    """Users about whom there were commands, and whether the last one was to forget."""
    gone: set[str] = field(default_factory=set)
    """Users who were forgotten and have done nothing since."""
    uncertain: set[tuple[str, str]] = field(default_factory=set)
    """Users and networks that something was taken from: when their last event was depends on the order."""

    def take(self, identity: int) -> None:
        """Count an event no more."""
        event = self.live.pop(identity).event
        self.uncertain.add((event.target, event.network))


class Partition:
    """One partition of the actors lane."""

    def __init__(self, number: int, partitions: int, model: Model, verdicts: Verdicts) -> None:
        self.number, self.partitions, self.verdicts = number, partitions, verdicts
        self.actors = Actors(model)
        self.known: dict[int, Entry | None] = {}
        """By hash, what came; None for what granted nothing."""
        self.held: set[int] = set()
        self.taken: set[int] = set()
        self.mine: dict[int, Entry] = {}
        """What counts of the events of this partition."""
        self.detached: set[int] = set()
        """What an actor did before it was forgotten: its new memory does not have it."""
        self.nameless: set[int] = set()
        """What was done to somebody who was forgotten here: in the memory of who did it, it is not found."""
        self.dropping: set[str] = set()

    def fold(self, record: Record) -> None:
        """Take a record in."""
        if record.kind == COMMANDS:
            for command in commands_of([record]):
                self.obey(command)
            return
        for event, identity, kind in rows_of(record):
            self.verdicts.gone.discard(event.actor)
            outcome = self.retract(identity) if kind == RETRACT_CODE else self.apply(event, identity)
            self.verdicts.counts[event.network, outcome] += 1

    def apply(self, event: Event, identity: int) -> str:
        """Take an event in and return what became of it."""
        if identity in self.known:
            return "duplicate"
        self.known[identity] = None
        if identity in self.held:
            self.taken.add(identity)
            return "withheld"
        if event.actor == event.target:
            return "self"
        if event.target in self.dropping:
            self.taken.add(identity)
            return "forgotten"
        entry = self.known[identity] = self.actors.take(event, 1.0)
        self.mine[identity] = self.verdicts.live[identity] = self.verdicts.granted[identity] = entry
        return "granted"

    def retract(self, identity: int) -> str:
        """Take a retraction in and return what became of it."""
        if identity not in self.known:
            known = identity in self.held
            self.held.add(identity)
            return "repeated" if known else "unmatched"
        if identity in self.taken:
            return "repeated"
        self.taken.add(identity)
        entry = self.known[identity]
        if entry is not None and identity not in self.detached:
            target = NOBODY if identity in self.nameless else entry.event.target
            self.actors.take_back(replace(entry, event=replace(entry.event, target=target)))
        if self.mine.pop(identity, None) is not None:
            self.verdicts.take(identity)
        return "retracted"

    def obey(self, command: Command) -> None:
        """Forget a user, or let them count again."""
        user = command.user.decode()
        self.verdicts.forgotten[user] = command.code == FORGET
        if command.code != FORGET:
            self.dropping.discard(user)
            return
        self.dropping.add(user)
        for identity in [one for one, entry in self.mine.items() if entry.event.target == user]:
            del self.mine[identity]
            self.verdicts.take(identity)
        if partition_of(command.user, self.partitions) != self.number:
            return
        self.verdicts.gone.add(user)
        for network in NETWORKS:
            self.actors.states.pop((user, network), None)
        for identity, entry in self.known.items():
            if entry is not None and entry.event.actor == user:
                self.detached.add(identity)
            if entry is not None and entry.event.target == user:
                self.nameless.add(identity)


def verdicts_of(log: Log, topic: str, partitions: int, model: Model) -> Verdicts:
    """Return what the reference makes of the actors lane."""
    verdicts = Verdicts()
    for number in range(partitions):
        partition = Partition(number, partitions, model, verdicts)
        for record in records_of(log, topic, number):
            partition.fold(record)
    return verdicts
