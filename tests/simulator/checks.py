"""What must hold at the end of every run, computed anew from what was fed and from the committed logs."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

import numpy as np

from schemas.change import ScoreChange, decode_change
from schemas.identity import event_hashes
from schemas.kinds import KINDS
from schemas.interaction import RETRACT_CODE
from schemas.packed import COMMANDS, CREDITS, FORGET, INTERACTIONS, PackedError, Record, decode
from schemas.users import partition_of, user_hash
from scorer.model import Model
from scorer.reference import Actors, Entry, Event
from scorer.target_state import decode_targets
from streams import feed_position
from streams.stages.commands import Command, commands_of
from tests.simulator.script import NETWORKS
from tests.simulator.world import World

_TOLERANCE: Final = 1e-9
_SHOWN_MAX: Final = 5


def wrong(world: World) -> list[str]:
    """Return what is wrong at the end of a run; nothing, where all is well."""
    oracle = Oracle(world)
    return [
        *_ingested(world),
        *_granted(world, oracle),
        *_sums(world, oracle),
        *_chains(world, oracle),
        *_conserved(world, oracle),
        *_restorable(world),
    ]


def _some(what: str, of: list[str]) -> list[str]:
    return [f"{what}: {len(of)}, {'; '.join(of[:_SHOWN_MAX])}"] if of else []


def records_of(world: World, topic: str, partition: int) -> Iterator[Record]:
    """Yield the packed records of a lane partition that can be read, in order."""
    log = world.log.at((topic, partition))
    entries, _ = log.read(0, len(log.entries), committed=True)
    for entry in entries:
        try:
            yield decode(entry.value or b"")
        except PackedError:
            continue


def identity(network: str, actor: str, name: str) -> int:
    """Return the hash that stands for an event."""
    hashes = np.array([user_hash(actor.encode())], np.uint64)
    return int(event_hashes(network, hashes, [name])[0])


def rows(record: Record) -> Iterator[tuple[Event, int, int]]:
    """Yield a record's rows about interactions, with their hashes and codes."""
    columns = {name: column.tolist() for name, column in record.columns.items() if len(column)}
    for row in range(record.rows):
        actor = record.actors[columns["actor"][row]].decode()
        target = record.targets[columns["target"][row]].decode()
        network = record.networks[columns["network"][row]]
        kind = columns["kind"][row]
        word = KINDS[kind] if kind < len(KINDS) else ""
        yield Event(network, "", word, actor, target, columns["time"][row]), columns["event_hash"][row], kind


class Oracle:
    """What the reference makes of the actors lane, partition by partition in its order."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.granted: dict[int, Entry] = {}
        """By hash, what each event granted that did."""
        self.counts: Counter[tuple[str, str]] = Counter()
        """By network and outcome."""
        self.live: dict[int, Entry] = {}
        """Of the granted, what was not taken back, nor forgotten."""
        self.forgotten: dict[str, bool] = {}
        """Users about whom there were commands, and whether the last one was to forget."""
        self.uncertain: set[tuple[str, str]] = set()
        """Users and networks that something was taken from: when their last event was depends on the order."""
        self.influence: dict[int, float] = {}
        """What each credit says that its event granted to the network sum: not reproducible, so taken from there."""
        for partition in range(world.swarm.partitions):
            self._fold(partition)

    def _fold(self, partition: int) -> None:
        actors = Actors(self.world.model)
        known: dict[int, Entry | None] = {}
        held: set[int] = set()
        taken: set[int] = set()
        detached: set[int] = set()
        dropping: set[str] = set()
        for record in records_of(self.world, self.world.names.actors_lane, partition):
            if record.kind == COMMANDS:
                for command in commands_of([record]):
                    self._obey(command, partition, actors, dropping)
                    if command.code == FORGET:
                        # What it did before is no more in its memory, so it cannot be taken out of that.
                        detached.update(h for h, e in known.items() if e and e.event.actor == command.user.decode())
                continue
            for event, identity_, kind in rows(record):
                outcome = ""
                if kind == RETRACT_CODE:
                    if identity_ not in known:
                        outcome = "repeated" if identity_ in held else "unmatched"
                        held.add(identity_)
                    elif identity_ in taken:
                        outcome = "repeated"
                    else:
                        outcome = "retracted"
                        taken.add(identity_)
                        self._take_back(identity_, known[identity_], None if identity_ in detached else actors)
                elif identity_ in known:
                    outcome = "duplicate"
                else:
                    known[identity_] = None
                    if identity_ in held:
                        taken.add(identity_)
                        outcome = "withheld"
                    elif event.actor == event.target:
                        outcome = "self"
                    elif event.target in dropping:
                        taken.add(identity_)
                        outcome = "forgotten"
                    else:
                        outcome = "granted"
                        entry = known[identity_] = actors.take(event, 1.0)
                        self.granted[identity_] = self.live[identity_] = entry
                self.counts[event.network, outcome] += 1

    def _take_back(self, hash_: int, entry: Entry | None, actors: Actors | None) -> None:
        if entry is None:
            return
        if actors is not None:
            actors.take_back(entry)
        self.live.pop(hash_, None)
        self.uncertain.add((entry.event.target, entry.event.network))

    def _obey(self, command: Command, partition: int, actors: Actors, dropping: set[str]) -> None:
        user = command.user.decode()
        self.forgotten[user] = command.code == FORGET
        if command.code != FORGET:
            dropping.discard(user)
            return
        dropping.add(user)
        home = partition_of(command.user, self.world.swarm.partitions)
        for hash_ in [one for one, entry in self.live.items() if entry.event.target == user]:
            if partition_of(self.live[hash_].event.actor.encode(), self.world.swarm.partitions) == partition:
                gone = self.live.pop(hash_).event
                self.uncertain.add((user, gone.network))
        if home == partition:
            for network in NETWORKS:
                actors.states.pop((user, network), None)


def _ingested(world: World) -> list[str]:
    """Every event and retraction that was fed came into the lanes exactly once."""
    fed = Counter(identity(*of) for raw in world.fed for of in raw.identities)
    came: Counter[int] = Counter()
    for partition in range(world.swarm.partitions):
        for record in records_of(world, world.names.actors_lane, partition):
            if record.kind == INTERACTIONS:
                came.update(record.columns["event_hash"].tolist())
    return _some("events lost", [str(one) for one in fed - came]) + _some("events doubled", [str(one) for one in came - fed])


def _granted(world: World, oracle: Oracle) -> list[str]:
    """Each event that counts was credited exactly once, with what the reference grants."""
    credits_: Counter[int] = Counter()
    wrong_grants = []
    for partition in range(world.swarm.partitions):
        for record in records_of(world, world.names.targets_lane, partition):
            if record.kind != CREDITS:
                continue
            hashes = record.columns["event_hash"].tolist()
            credits_.update(hashes)
            grants = zip(*(record.columns[name].tolist() for name in ("reach", "amplification", "influence")), strict=True)
            for hash_, (reach, amplification, influence) in zip(hashes, grants, strict=True):
                oracle.influence[hash_] = influence
                entry = oracle.granted.get(hash_)
                if entry is None or not (_close(reach, entry.grant.reach) and _close(amplification, entry.grant.amplification)):
                    wrong_grants.append(f"{hash_}: {reach}, {amplification}, not {entry and entry.grant}")
    doubled = [str(hash_) for hash_, count in credits_.items() if count > 1]
    missing = [str(hash_) for hash_ in oracle.live if hash_ not in credits_]
    return _some("grants", wrong_grants) + _some("credited twice", doubled) + _some("never credited", missing)


def _close(is_: float, should: float, largest: float = 1.0) -> bool:
    return math.isclose(is_, should, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE * largest)


def _sums(world: World, oracle: Oracle) -> list[str]:
    """Every sum is that of the grants of the events that count, as they were frozen."""
    found: dict[tuple[str, str], Any] = {}
    for task in tasks(world).values():
        stored = list(task.store.scan("targets"))
        _, entries = decode_targets([row for _, row in stored], len(task.state.networks))
        for (user, _), theirs in zip(stored, entries, strict=True):
            for network, entry in zip(task.state.networks, theirs, strict=True):
                if entry["events"]:
                    found[user.decode(), network] = entry
    live: defaultdict[tuple[str, str], list[tuple[int, Entry]]] = defaultdict(list)
    for hash_, entry in oracle.live.items():
        live[entry.event.target, entry.event.network].append((hash_, entry))
    largest: Counter[tuple[str, str]] = Counter()
    for entry in oracle.granted.values():
        largest[entry.event.target, entry.event.network] += max(entry.grant.reach, entry.grant.amplification)
    problems = _some("sums of nobody", [str(key) for key in found.keys() - live.keys()])
    problems += _some("sums missing", [str(key) for key in live.keys() - found.keys()])
    different = []
    for key in found.keys() & live.keys():
        have = found[key]
        time, latest = int(have["time"]), max(entry.event.time for _, entry in live[key])
        if int(have["events"]) != len(live[key]) or time < latest or (time > latest and key not in oracle.uncertain):
            different.append(f"{key}: {have['events']} events until {time}, not {len(live[key])} until {latest}")
            continue
        reach = amplification = network = 0.0
        for hash_, entry in live[key]:
            left = 2.0 ** (-(time - entry.event.time) / world.model.half_life_ms)
            reach += entry.grant.reach * left
            amplification += entry.grant.amplification * left
            network += oracle.influence.get(hash_, math.nan) * left
        for name, value in (("reach", reach), ("amplification", amplification), ("network", network)):
            if not _close(float(have[name]), value, largest[key]) or have[name] < 0:
                different.append(f"{key}: {name} {float(have[name])!r}, not {value!r}")
    return problems + _some("sums different", different)


def tasks(world: World) -> dict[int, Any]:
    """Return the open task of each partition."""
    return {number: task for worker in world.workers for number, task in worker.tasks.items()}


def _chains(world: World, oracle: Oracle) -> list[str]:
    """Every user's changes follow one another without gap or repeat, and the last is what the state says."""
    changes: defaultdict[str, list[ScoreChange]] = defaultdict(list)
    for log in world.log.topics[world.names.changes]:
        for entry in log.read(0, len(log.entries), committed=True)[0]:
            if entry.value is not None:
                change = decode_change(entry.value)
                changes[change.user].append(change)
    broken = []
    for user, theirs in changes.items():
        if [change.sequence for change in theirs] != list(range(1, len(theirs) + 1)):
            broken.append(f"{user}: sequence {[change.sequence for change in theirs]}")
        elif theirs[0].previous is not None or any(b.previous != a.score for a, b in pairwise(theirs)):
            broken.append(f"{user}: a previous is not the score before")
    last = {user: (theirs[-1].sequence, round(10 * (theirs[-1].score or 0))) for user, theirs in changes.items()}
    stands = {}
    for task in tasks(world).values():
        stored = list(task.store.scan("targets"))
        heads, _ = decode_targets([row for _, row in stored], len(task.state.networks))
        for (user, _), head in zip(stored, heads, strict=True):
            stands[user.decode()] = (int(head["sequence"]), int(head["score_tenths"]))
    differ = [
        f"{user}: {last.get(user)} published, {stands.get(user)} in the state"
        for user in last.keys() | stands.keys()
        if last.get(user) != stands.get(user) and not (user not in stands and last[user][1] == 0)
    ]
    there = [user for user, forgotten in oracle.forgotten.items() if forgotten and user in stands]
    return (
        _some("broken chains", broken)
        + _some("last change is not the state", differ)
        + _some("forgotten and still there", there)
    )


def _conserved(world: World, oracle: Oracle) -> list[str]:
    """What came in is accounted for, network by network."""
    places = world.raw_places()
    committed = world.log.committed(world.names.ingest_group, places)
    states = [task.state for task in tasks(world).values()]
    problems = []
    for network in world.networks:
        topic = world.names.interactions(network)
        ingest: Counter[str] = Counter()
        for (of, _), (_, metadata) in committed.items():
            if of == topic:
                ingest.update(feed_position.decode(metadata, world.swarm.partitions).counters)
        done: Counter[str] = Counter()
        for state in states:
            done.update(state.counters.get(network, {}))
        fed = [raw for raw in world.fed if raw.network == network]
        letters = sum(len(log.read(0, len(log.entries), committed=True)[0]) for log in world.log.topics[world.names.dead_letters(network)])
        facts = {
            "read": (ingest["read"], sum(raw.read for raw in fed)),
            "dead letters": (ingest["dead_lettered"], sum(raw.rejected for raw in fed)),
            "dead letters written": (letters, sum(raw.rejected for raw in fed)),
            "heartbeats": (ingest["heartbeat"], sum(raw.heartbeats for raw in fed)),
            "retractions": (ingest["retracting"], sum(len(raw.retractions) for raw in fed)),
            "conserved": (
                sum(done[name] for name in ("applied", "self", "duplicate", "withheld", "forgotten", "dropped"))
                + ingest["heartbeat"]
                + ingest["retracting"]
                + ingest["dead_lettered"],
                ingest["read"],
            ),
        } | {
            name: (done[name], oracle.counts[network, name])
            for name in ("self", "duplicate", "forgotten", "unmatched")
        }
        # Which of the two a retraction of a dropped event is depends on whether both came in one batch.
        facts["taken back"] = (
            done["retracted"] + done["repeated"],
            oracle.counts[network, "retracted"] + oracle.counts[network, "repeated"],
        )
        problems += [f"{network}: {what} {is_}, not {should}" for what, (is_, should) in facts.items() if is_ != should]
    return _some("counters", problems)


def _restorable(world: World) -> list[str]:
    """A copy made anew from the changelog holds exactly what the owner has."""
    problems = []
    for number, task in tasks(world).items():
        rows, meta = rows_of(task.store), task.store.meta()
        fresh = world.fresh_task(number)
        fresh.open()
        if rows_of(fresh.store) != rows:
            problems.append(f"partition {number}: rows restored differ from those that the owner has")
        if fresh.store.meta() != meta:
            problems.append(f"partition {number}: its record differs")
        fresh.close()
    return problems


def rows_of(store: Any) -> dict[str, list[tuple[bytes, bytes]]]:
    """Return all rows of all tables."""
    return {name: list(store.scan(name)) for name in store._tables}
