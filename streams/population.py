"""The users of a partition in numbers, as they are told on `population.v1`, and how often."""

from collections.abc import Callable
from typing import Final

from schemas.population import NetworkPopulation, Population, Shift, Steps, TakenBack, encode_population
from schemas.times import HOUR_MS, format_ms
from scorer.population import GONE, STEPS
from streams.opening import Shared
from streams.population_state import HourShift
from streams.task_state import ACTORS_COUNTERS, TaskState

CHANGED_SECONDS: Final = 3.0
"""While something changes, the numbers are told so often."""
UNCHANGED_SECONDS: Final = 60.0
"""And so often while only time goes on: each tick is a batch, whatever comes of it."""


class Pace:
    """When the numbers are told next: with the first commit after opening, and then by the wall clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Take what tells the time in seconds."""
        self._clock = clock
        self._told_seconds: float | None = None
        self._waiting = True
        """Whether something has changed that was not told."""

    def is_due(self, *, changed: bool = False, heard: bool = False) -> bool:
        """Return whether it is time: for what `changed` or did before, or since anything was `heard`."""
        if self._told_seconds is None:
            return True
        quiet_seconds = self._clock() - self._told_seconds
        # A clock that was set back says nothing of how long ago it was.
        long_ago = quiet_seconds < 0 or quiet_seconds >= UNCHANGED_SECONDS
        return (heard and long_ago) or ((changed or self._waiting) and (long_ago or quiet_seconds >= CHANGED_SECONDS))

    def committed(self, *, told: bool, changed: bool) -> None:
        """Take note of a commit."""
        if told:
            self._told_seconds, self._waiting = self._clock(), False
        else:
            self._waiting = self._waiting or changed


def next_population(state: TaskState, partition: int, shared: Shared) -> bytes:
    """Return the next record of a partition, and count it in `state`."""
    population, clocks = state.population, state.clocks
    population.sequence += 1
    names = list(dict.fromkeys([*state.networks, *clocks]))
    overall, *of_networks = population.histogram_rows(len(names)).tolist()
    networks = {
        name: NetworkPopulation(
            users=sum(histogram), histogram=histogram, clock=format_ms(clocks[name]) if name in clocks else None
        )
        for name, histogram in zip(names, of_networks, strict=True)
    }
    return encode_population(
        Population(
            partition=partition,
            partitions=shared.partitions,
            model=shared.model.name,
            worker=shared.address,
            sequence=population.sequence,
            written=format_ms(int(shared.clock() * 1000)),
            users=sum(overall),
            histogram=overall,
            networks=networks,
            shift=_shift(population.shift),
            shift_before=None if population.shift_before is None else _shift(population.shift_before),
            changes=population.changes,
            outcomes={
                network: {outcome: counters.get(outcome, 0) for outcome in ACTORS_COUNTERS}
                for network, counters in state.counters.items()
            },
            next_offsets={lane: position + 1 for lane, position in state.positions.items()},
        )
    )


def _shift(shift: HourShift) -> Shift:
    counts = shift.counts
    return Shift(
        hour=format_ms(shift.hour * HOUR_MS),
        below=_steps(counts[:STEPS]),
        above=_steps(counts[STEPS:GONE]),
        gone=counts[GONE],
        taken_back={
            incident: TakenBack(users=users, points_1=points_1, points_5=points_5, points_10=points_10)
            for incident, (users, points_1, points_5, points_10) in shift.taken_back.items()
        },
    )


def _steps(counts: tuple[int, ...]) -> Steps:
    points_1, points_5, points_10 = counts
    return Steps(points_1=points_1, points_5=points_5, points_10=points_10)
