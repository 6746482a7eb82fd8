"""What happens in a run: drawn from a seed beforehand, step by step, so that a script can be cut down.

Swarm testing: each run draws which kinds of fault there are and how many, so that one kind at an extreme is not
hidden behind a little of everything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NamedTuple

from tests.simulator.feed import SOURCE, Fed, Feed, Mix, user

PARTITIONS_MAX: Final = 3
NETWORKS: Final = ("one", "two", "three")
EVENTS_MIN: Final = 2_000
CRASHES_MIN: Final = 3
_RECORDS_PER_STEP_MAX: Final = 60
_LEDGER_ROWS_MAX: Final = (64, 400, 1_000_000, 1_000_000, 1_000_000)
"""Mostly more than there are; some forget much of what comes again."""
_REFUSED_SHARE: Final = 0.2
_QUIET_SHARE: Final = 0.1
_WAITS_SECONDS: Final = (1, 20, 20, 3_600, 86_400 * 4, 86_400 * 8)
"""Shorter and longer than a transaction may take, than a copy may be old, and than deletions are kept."""

TASK_POINTS: Final = (
    "read", "begin", "credits", "changes", "letter", "population", "changelog", "record", "commit", "committed",
    "store", "stored", "acknowledge", "acknowledged",
)  # fmt: skip
"""Where a task can die in its commit path, in order."""
OPEN_POINTS: Final = ("fence", "fenced", "restore", "restored")
INGEST_POINTS: Final = ("begin", "lanes", "letters", "reports", "offsets", "commit", "committed")
TROUBLES: Final = (
    "queue full",
    "refused",
    "unanswered",
    "unanswered, for ever",
    "answer lost",
    "answer lost, for ever",
)
"""What can go wrong with one commit while everybody lives."""

FAULTS: Final = (
    "crash", "task point", "open point", "ingest point", "ingest crash", "trouble", "ingest trouble", "move",
    "pause", "stale copy", "lost copy", "damaged copy", "time", "compact", "retain", "garbage", "ingest move",
    "ingest pause", "command", "release", "freeze", "resume",
)  # fmt: skip
_POINTS: Final = ("task point", "open point", "ingest point")
_POINT_WEIGHTS: Final = (len(TASK_POINTS), len(OPEN_POINTS), len(INGEST_POINTS))
_POINTS_ARMED: Final = 10
"""In every run, whatever its faults are: every point must be hit often."""
_OF_NOBODY: Final = ("compact", "retain", "garbage", "move", "ingest move")
_COMMANDED_USERS: Final = 8
_FAULT_SHARE: Final = 0.25
_WEIGHTS: Final = (0, 0, 1, 1, 1, 5)
"""Drawn for each fault: off as often as not quite, and seldom extreme."""


class Step(NamedTuple):
    """One thing that happens; the seed decides about what it leaves open."""

    name: str
    seed: int
    args: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Swarm:
    """What a run is like."""

    partitions: int
    workers: int
    ingests: int
    raw_partitions: int
    sources: tuple[str, ...]
    """Collectors that the networks' clocks wait for."""
    idle_after_seconds: int
    """After so long a quiet raw partition follows the others; 0: never."""
    mix: Mix
    flushes: float
    markers_late: float
    recent_rows_max: int
    batch_rows_max: int
    own_in_flight_max: int
    record_rows_max: int
    ledger_rows_max: int
    stale: float
    """Share of deliveries after which records stay queued in the worker."""
    faults: dict[str, int]


class Script(NamedTuple):
    """A run, reproducible from its parts."""

    seed: int
    swarm: Swarm
    steps: tuple[Step, ...]


def swarm_of(random: Random) -> Swarm:
    """Draw what a run is like."""
    networks = NETWORKS[: random.choice((1, 2, 3))]
    mix = Mix(
        users=random.choice((4, 20, 60, 300)),
        networks=networks,
        busy=random.choice((0.0, 0.5, 1.2)),
        hours_per_event=random.choice((0.01, 1.0, 10.0)),
        late=random.choice((0.0, 0.1, 0.5)),
        selves=random.choice((0.0, 0.02, 0.5)),
        duplicates=random.choice((0.0, 0.02, 0.3)),
        retractions=random.choice((0.0, 0.05, 0.3)),
        broken=random.choice((0.0, 0.01, 0.1)),
        heartbeats=random.choice((0.0, 0.01)),
    )
    return Swarm(
        partitions=random.choice((1, 2, 2, PARTITIONS_MAX)),
        workers=random.choice((2, 2, 3)),
        ingests=random.choice((1, 2)),
        raw_partitions=random.choice((1, 2)),
        sources=random.choice(((), (SOURCE,))),
        idle_after_seconds=random.choice((0, 0, 1)),
        mix=mix,
        flushes=random.choice((0.0, 0.1, 1.0)),
        markers_late=random.choice((0.0, 0.2, 1.0)),
        recent_rows_max=random.choice((1, 20, 50_000)),
        batch_rows_max=random.choice((60, 300, 50_000)),
        own_in_flight_max=random.choice((0, 3, 256)),
        record_rows_max=random.choice((20, 100, 4_000)),
        ledger_rows_max=random.choice(_LEDGER_ROWS_MAX),
        stale=random.choice((0.0, 0.3, 0.9)),
        faults={fault: random.choice(_WEIGHTS) for fault in FAULTS},
    )


def script_of(seed: int, faults: Mapping[str, int] | None = None) -> Script:
    """Draw a run; `faults` are weights that it must have."""
    random = Random(seed)
    swarm = swarm_of(random)
    swarm.faults.update(faults or {})
    steps: list[Step] = []

    def add(name: str, *args: Any) -> None:
        steps.append(Step(name, random.getrandbits(32), args))

    records = list(Feed(swarm.mix, random).records(EVENTS_MIN))
    kinds = [fault for fault in FAULTS if swarm.faults[fault]]
    weights = [swarm.faults[fault] for fault in kinds]
    at = 0
    while at < len(records):
        count = random.randint(1, _RECORDS_PER_STEP_MAX)
        add("report", *_placed(swarm, random, records[at : at + count]))
        at += count
        for _ in range(random.randint(1, 2 * swarm.ingests)):
            add("ingest", random.randrange(swarm.ingests))
        for _ in range(random.randint(1, 2 * swarm.partitions)):
            add("work", random.randrange(swarm.partitions))
            while kinds and random.random() < _FAULT_SHARE:
                fault = random.choices(kinds, weights)[0]
                add(fault, *_arguments(fault, swarm, random))
        add("markers")
        add("recover")
    for fault in ("crash",) * CRASHES_MIN + tuple(random.choices(_POINTS, _POINT_WEIGHTS, k=_POINTS_ARMED)):
        at, args = random.randrange(len(steps)), _arguments(fault, swarm, random)
        steps.insert(at, Step(fault, random.getrandbits(32), args))
        if args[-1] == "letter":
            # Only what nobody can read is written there.
            steps.insert(at, Step("garbage", random.getrandbits(32)))
    return Script(seed, swarm, tuple(steps))


def _placed(swarm: Swarm, random: Random, records: list[Fed]) -> list[tuple[int, Fed]]:
    """Return records with their raw partitions; where one may be quiet, little comes into the last."""
    if swarm.idle_after_seconds:
        number = swarm.raw_partitions - 1 if random.random() < _QUIET_SHARE else 0
        return [(number, record) for record in records]
    return [(random.randrange(swarm.raw_partitions), record) for record in records]


def _arguments(fault: str, swarm: Swarm, random: Random) -> tuple[Any, ...]:
    worker, ingest = random.randrange(swarm.workers), random.randrange(swarm.ingests)
    arguments: dict[str, tuple[Any, ...]] = {
        "task point": (worker, random.choice(TASK_POINTS)),
        "open point": (worker, random.choice(OPEN_POINTS)),
        "ingest point": (ingest, random.choice(INGEST_POINTS)),
        "trouble": (worker, random.choice(TROUBLES)),
        "ingest trouble": (ingest, random.choice(TROUBLES)),
        "ingest crash": (ingest,),
        "ingest pause": (ingest,),
        "time": (random.choice(_WAITS_SECONDS),),
        "command": (
            random.choice(("forget", "forget", "unforget")),
            user(random.randrange(min(swarm.mix.users, _COMMANDED_USERS))),
            random.random() >= _REFUSED_SHARE,
        ),
        "release": (random.choice(swarm.mix.networks), random.random() >= _REFUSED_SHARE),
        "freeze": (random.choice(swarm.mix.networks), random.random() >= _REFUSED_SHARE),
        "resume": (random.choice(swarm.mix.networks), random.random() >= _REFUSED_SHARE),
    }
    return arguments.get(fault, () if fault in _OF_NOBODY else (worker,))
