"""What the partitions say of their users in numbers, held against the users and the committed logs."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from operator import attrgetter
from typing import NamedTuple

from schemas.change import decode_change
from schemas.population import Population, Shift, decode_population
from streams import task_state
from streams.store import META_KEY, Store
from streams.task import Task
from streams.task_state import TaskState
from tests.scans import counters_of, scan_of
from tests.simulator.log import Entry, Fate, PartitionLog
from tests.simulator.world import World


class Told(NamedTuple):
    """A committed record of `population.v1`, and the task's record that was committed with it."""

    population: Population
    state: TaskState


def uncounted(tasks: dict[int, tuple[Task, Store]]) -> list[str]:
    """Return where the counters in a task's record are not what a look at every user finds."""
    return [
        f"partition {number}: {have}, not {found}"
        for number, (task, store) in tasks.items()
        if (have := counters_of(task.state.population, task.state.networks))
        != (found := scan_of(store, task.state.population, task.state.networks))
    ]


def miscounted_changes(world: World, tasks: dict[int, tuple[Task, Store]]) -> list[str]:
    """Return where changes by cause are not those of the log."""
    problems = []
    for number, (task, _) in tasks.items():
        log = world.log.at((world.names.changes, number))
        values = (entry.value for entry in committed(log) if entry.value is not None)
        causes = Counter(decode_change(value).cause for value in values)
        if task.state.population.changes != causes:
            problems.append(f"partition {number}: {task.state.population.changes}, not {dict(causes)}")
    return problems


def mistold(world: World, tasks: dict[int, tuple[Task, Store]]) -> list[str]:
    """Return what is wrong with the records of `population.v1`.

    Each partition's have the numbers 1, 2, 3 …, say what the task's record of the same commit does, and the last one
    what is so now.
    """
    told = dict(_told(world))
    problems = [f"partition {number} never told" for number in tasks.keys() - told.keys()]
    for number, records in told.items():
        sequences = [record.population.sequence for record in records]
        if sequences != list(range(1, len(records) + 1)):
            problems.append(f"partition {number} numbers its records {sequences}")
        problems += [
            f"partition {number}: {record.population}, not {record.state.population}"
            for record in records
            if not agree(record.population, record.state)
        ]
        if number in tasks and not agree(records[-1].population, tasks[number][0].state):
            problems.append(f"partition {number} last told {records[-1].population}")
    return problems


def agree(population: Population, state: TaskState) -> bool:
    """Return whether a record says the same of users as the task's record."""
    overall, *of_networks = state.population.histogram_rows(len(state.networks)).tolist()
    theirs = {name: part.histogram for name, part in population.networks.items() if part.users}
    own = {name: part for name, part in zip(state.networks, of_networks, strict=True) if any(part)}
    return (
        population.sequence == state.population.sequence
        and population.histogram == overall
        and theirs == own
        and population.users == sum(population.histogram)
        and all(part.users == sum(part.histogram) for part in population.networks.values())
        and _flat(population.shift) == state.population.shift.counts
        and population.changes == state.population.changes
    )


def _flat(shift: Shift) -> tuple[int, ...]:
    of_steps = [(steps.points_1, steps.points_5, steps.points_10) for steps in (shift.below, shift.above)]
    return (*of_steps[0], *of_steps[1], shift.gone)


def _told(world: World) -> Iterator[tuple[int, list[Told]]]:
    """Yield each partition's records, in order."""
    [log] = world.log.topics[world.names.population]
    by_partition: defaultdict[int, list[Entry]] = defaultdict(list)
    for entry in committed(log):
        by_partition[int(entry.key or b"")].append(entry)
    for number, entries in by_partition.items():
        states = {
            id(entry.transaction): entry.value
            for entry in committed(world.log.at((world.names.state, number)))
            if entry.key == META_KEY
        }
        yield (
            number,
            [
                Told(decode_population(entry.value or b""), task_state.decode(states[id(entry.transaction)] or b""))
                for entry in entries
            ],
        )


def committed(log: PartitionLog) -> list[Entry]:
    """Return all committed records that ever were in a log, compacted ones too."""
    return [
        entry
        for entry in sorted([*log.compacted, *log.entries], key=attrgetter("offset"))
        if not entry.marker and entry.transaction is not None and entry.transaction.fate is Fate.COMMITTED
    ]
