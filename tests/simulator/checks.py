"""What must hold at the end of every run, computed anew from what was fed and from the committed logs."""

import math
from collections import Counter, defaultdict
from itertools import combinations, islice, pairwise
from typing import Any, Final, NamedTuple

import numpy as np

from schemas.change import ScoreChange, decode_change
from schemas.identity import event_hashes
from schemas.packed import CREDITS, INTERACTIONS
from schemas.users import is_canary, partition_of, user_hash
from scorer.reference import Entry
from scorer.target_state import decode_targets
from streams import feed_position
from streams.store import Rows, Store
from streams.task import Task
from tests.simulator.clock_checks import misclocked, passed_unread
from tests.simulator.feed_checks import misreported
from tests.simulator.oracle import Granted, Verdicts, records_of, verdicts_of
from tests.simulator.population_checks import miscounted_changes, mistold, uncounted
from tests.simulator.world import World

_TOLERANCE: Final = 1e-9
_SHOWN_MAX: Final = 5
_PAIRINGS_MAX: Final = 10_000
_COUNTED: Final = ("self", "duplicate", "forgotten", "retracted", "repeated", "unmatched")
_ENDS: Final = ("applied", "self", "duplicate", "withheld", "forgotten", "dropped")
_INGEST_ENDS: Final = ("heartbeat", "retracting", "dead_lettered")

Key = tuple[str, str]
"""User and network."""


def wrong(world: World) -> list[str]:
    """Return what is wrong at the end of a run; nothing, where all is well."""
    verdicts = verdicts_of(world.log, world.names, world.swarm.partitions, world.model)
    paired, unpaired = _paired(_credited(world), verdicts)
    found = {
        "events lost or doubled": _ingested(world),
        "credits": unpaired,
        "grants": _granted(paired, verdicts),
        "sums": _sums(world, paired, verdicts),
        "public topics": _public(world),
        "chains": _chains(world),
        "last changes": _last_changes(world, verdicts),
        "counters": _conserved(world, verdicts),
        "names of the forgotten": _named(world, verdicts),
        "users counted": uncounted(_tasks(world)),
        "changes counted": miscounted_changes(world, _tasks(world)),
        "users told": mistold(world, _tasks(world)),
        "restored": _restorable(world),
        "clocks": misclocked(world, _tasks(world)),
        "passed unread": passed_unread(world),
        "feeds reported": misreported(world),
    }
    return [f"{what}, {len(of)}: {'; '.join(of[:_SHOWN_MAX])}" for what, of in found.items() if of]


class Credit(NamedTuple):
    """What a credit in the targets lane says that its event granted."""

    reach: float
    amplification: float
    influence: float


def _identity(network: str, actor: str, name: str) -> int:
    hashes = np.array([user_hash(actor.encode())], np.uint64)
    return int(event_hashes(network, hashes, np.array([user_hash(name.encode())], np.uint64))[0])


def _tasks(world: World) -> dict[int, tuple[Task, Store]]:
    """Return the open task of each partition."""
    tasks = {number: task for worker in world.workers for number, task in worker.tasks.items()}
    return {number: (task, task.store) for number, task in tasks.items() if task.store is not None}


def _ingested(world: World) -> list[str]:
    """Every event and retraction that was fed came into the lanes exactly once."""
    fed = Counter(_identity(*of) for raw in world.fed for of in raw.identities)
    came: Counter[int] = Counter()
    for partition in range(world.swarm.partitions):
        for _, record in records_of(world.log, world.names.actors_lane, partition):
            if record.kind == INTERACTIONS:
                came.update(record.columns["event_hash"].tolist())
    return [f"{one} lost" for one in fed - came] + [f"{one} doubled" for one in came - fed]


def _credited(world: World) -> defaultdict[int, list[Credit]]:
    """Return all credits of the targets lane by the hash of their event."""
    credited: defaultdict[int, list[Credit]] = defaultdict(list)
    for partition in range(world.swarm.partitions):
        for _, record in records_of(world.log, world.names.targets_lane, partition):
            if record.kind == CREDITS:
                names = ("event_hash", *Credit._fields)
                for hash_, *grant in zip(*(record.columns[name].tolist() for name in names), strict=True):
                    credited[hash_].append(Credit(*grant))
    return credited


def _paired(credited: dict[int, list[Credit]], verdicts: Verdicts) -> tuple[dict[Granted, Credit], list[str]]:
    """Return the credit of each event that has one, and what does not fit.

    Without one may be only what was taken back before it left.
    """
    expected: defaultdict[int, list[Granted]] = defaultdict(list)
    for granted in verdicts.granted:
        expected[granted[0]].append(granted)
    paired: dict[Granted, Credit] = {}
    problems = [f"{hash_} grants nothing" for hash_ in credited.keys() - expected.keys()]
    for hash_, theirs in expected.items():
        credits_ = credited.get(hash_, [])
        having = _having(theirs, credits_, verdicts)
        paired |= zip(having, credits_, strict=False)
        if len(having) != len(credits_):
            problems.append(f"{hash_} was credited {len(credits_)} times, granted something {len(theirs)} times")
        problems += [f"{one} was not credited" for one in theirs if one in verdicts.live and one not in having]
    return paired, problems


def _having(theirs: list[Granted], credits_: list[Credit], verdicts: Verdicts) -> tuple[Granted, ...]:
    """Return which of a hash's events the credits are of: all that count, and such that the credits fit, if any do."""
    live = {one for one in theirs if one in verdicts.live}
    for having in islice(combinations(theirs, min(len(theirs), len(credits_))), _PAIRINGS_MAX):
        fits = (_says(credit, verdicts.granted[one]) for one, credit in zip(having, credits_, strict=False))
        if live.issubset(having) and all(fits):
            return having
    return tuple(theirs[: len(credits_)])


def _granted(paired: dict[Granted, Credit], verdicts: Verdicts) -> list[str]:
    """Each credit says what the reference grants."""
    return [
        f"{granted}: {have}, not {verdicts.granted[granted].grant}"
        for granted, have in paired.items()
        if not _says(have, verdicts.granted[granted])
    ]


def _says(credit: Credit, entry: Entry) -> bool:
    return _close(credit.reach, entry.grant.reach) and _close(credit.amplification, entry.grant.amplification)


def _close(is_: float, should: float, largest: float = 1.0) -> bool:
    return math.isclose(is_, should, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE * largest)


def _stored(world: World) -> dict[Key, Any]:
    """Return the entry of every user and network that has one."""
    found = {}
    for task, store in _tasks(world).values():
        stored = list(store.scan("targets"))
        _, entries, _ = decode_targets([row for _, row in stored], len(task.state.networks))
        for (user, _), theirs in zip(stored, entries, strict=True):
            for network, entry in zip(task.state.networks, theirs, strict=True):
                if entry["events"]:
                    found[user.decode(), network] = entry
    return found


def _sums(world: World, paired: dict[Granted, Credit], verdicts: Verdicts) -> list[str]:
    """Every sum is that of the frozen grants of the events that count, within 1e-9 of the largest it can have been."""
    found = _stored(world)
    live: defaultdict[Key, list[tuple[Entry, float]]] = defaultdict(list)
    for granted, entry in verdicts.live.items():
        # The network sum depends on the scores of the moment: what the credit says is what counts.
        influence = paired[granted].influence if granted in paired else math.nan
        live[entry.event.target, entry.event.network].append((entry, influence))
    largest: Counter[Key] = Counter()
    for entry in verdicts.granted.values():
        most = max(entry.grant.reach, entry.grant.amplification)
        largest[entry.event.target, entry.event.network] += most  # type: ignore[assignment]
    problems = [f"{key} should not be there" for key in found.keys() - live.keys()]
    problems += [f"{key} is missing" for key in live.keys() - found.keys()]
    for key in found.keys() & live.keys():
        have, theirs = found[key], live[key]
        time, latest = int(have["time"]), max(entry.event.time for entry, _ in theirs)
        late = time < latest or (time > latest and key not in verdicts.uncertain)
        if int(have["events"]) != len(theirs) or late:
            problems.append(f"{key}: {have['events']} events until {time}, not {len(theirs)} until {latest}")
            continue
        for name, value in _decayed(theirs, time, world.model.half_life_ms).items():
            if not _close(float(have[name]), value, largest[key]) or have[name] < 0:
                problems.append(f"{key}: {name} {float(have[name])!r}, not {value!r}")
    return problems


def _decayed(entries: list[tuple[Entry, float]], time: int, half_life_ms: int) -> dict[str, float]:
    reach = amplification = network = 0.0
    for entry, influence in entries:
        left = 2.0 ** (-(time - entry.event.time) / half_life_ms)
        reach += entry.grant.reach * left
        amplification += entry.grant.amplification * left
        network += influence * left
    return {"reach": reach, "amplification": amplification, "network": network}


def _changes(world: World) -> dict[str, list[ScoreChange]]:
    """Return every user's changes in the order of their topic; synthetic accounts have one of their own."""
    changes: defaultdict[str, list[ScoreChange]] = defaultdict(list)
    for log in [*world.log.topics[world.names.changes], *world.log.topics[world.names.canaries]]:
        for entry in log.read(0, len(log.entries), committed=True)[0]:
            if entry.value is not None:
                change = decode_change(entry.value)
                changes[change.user].append(change)
    return changes


def _public(world: World) -> list[str]:
    """Synthetic accounts are in their own topic alone, and nobody else is there."""
    return [
        f"{entry.key!r} in {topic}"
        for topic, theirs in ((world.names.changes, False), (world.names.canaries, True))
        for log in world.log.topics[topic]
        for entry in log.entries
        if not entry.marker and is_canary(entry.key or b"") is not theirs
    ]


def _chains(world: World) -> list[str]:
    """Every user's changes follow one another without gap or repeat."""
    broken = []
    for user, theirs in _changes(world).items():
        if [change.sequence for change in theirs] != list(range(1, len(theirs) + 1)):
            broken.append(f"{user}: sequence {[change.sequence for change in theirs]}")
        elif theirs[0].previous is not None or any(b.previous != a.score for a, b in pairwise(theirs)):
            broken.append(f"{user}: a previous is not the score before")
    return broken


def _last_changes(world: World, verdicts: Verdicts) -> list[str]:
    """Each user's last change says what the state says; who was forgotten last has none."""
    last = {
        user: (theirs[-1].sequence, round(10 * (theirs[-1].score or 0))) for user, theirs in _changes(world).items()
    }
    stands = {}
    for task, store in _tasks(world).values():
        stored = list(store.scan("targets"))
        heads, _, _ = decode_targets([row for _, row in stored], len(task.state.networks))
        for (user, _), head in zip(stored, heads, strict=True):
            stands[user.decode()] = (int(head["sequence"]), int(head["score_tenths"]))
    return [
        f"{user}: {last.get(user)} published, {stands.get(user)} in the state"
        for user in last.keys() | stands.keys()
        if last.get(user) != stands.get(user) and not (user not in stands and last[user][1] == 0)
    ] + [
        f"{user} was forgotten and is still there" for user, is_ in verdicts.forgotten.items() if is_ and user in stands
    ]


def _conserved(world: World, verdicts: Verdicts) -> list[str]:
    """What came in is accounted for, network by network."""
    committed = world.log.committed(world.names.ingest_group, world.raw_places())
    states = [task.state for task, _ in _tasks(world).values()]
    problems = []
    for network in world.networks:
        ingest: Counter[str] = Counter()
        for (topic, _), (_, metadata) in committed.items():
            if topic == world.names.interactions(network):
                ingest.update(feed_position.decode(metadata, world.swarm.partitions).counters)
        done: Counter[str] = Counter()
        for state in states:
            done.update(state.counters.get(network, {}))
        fed = [raw for raw in world.fed if raw.network == network]
        letters = world.log.topics[world.names.dead_letters(network)]
        written = sum(len(log.read(0, len(log.entries), committed=True)[0]) for log in letters)
        ended = sum(done[name] for name in _ENDS) + sum(ingest[name] for name in _INGEST_ENDS)
        counts = verdicts.counts
        facts = {
            "read": (ingest["read"], sum(raw.read for raw in fed)),
            "dead-lettered": (ingest["dead_lettered"], sum(raw.rejected for raw in fed)),
            "dead letters written": (written, sum(raw.rejected for raw in fed)),
            "heartbeats": (ingest["heartbeat"], sum(raw.heartbeats for raw in fed)),
            "retractions": (ingest["retracting"], sum(len(raw.retractions) for raw in fed)),
            "conserved": (ended, ingest["read"]),
            **{name: (done[name], counts[network, name]) for name in _COUNTED},
        }
        problems += [f"{network}: {what} {is_}, not {should}" for what, (is_, should) in facts.items() if is_ != should]
    return problems


def _restorable(world: World) -> list[str]:
    """A copy made anew from the changelog holds exactly what the owner has."""
    problems = []
    for number, (_, store) in _tasks(world).items():
        fresh = world.fresh_task(number)
        fresh.open()
        copy = fresh.store
        if copy is None or _everything(copy) != _everything(store):
            problems.append(f"partition {number} differs from what its owner has")
        fresh.close()
    return problems


def _named(world: World, verdicts: Verdicts) -> list[str]:
    """Who was forgotten, and has done nothing since, is nowhere named in their own partition."""
    return [
        f"{user} in {table}"
        for number, (_, store) in _tasks(world).items()
        for user in verdicts.gone
        if partition_of(user.encode(), world.swarm.partitions) == number
        for table in Rows._fields
        if any(user.encode() in key + row for key, row in store.scan(table))
    ]


def _everything(store: Store) -> tuple[bytes | None, list[list[tuple[bytes, bytes]]]]:
    return store.meta(), [list(store.scan(table)) for table in Rows._fields]
