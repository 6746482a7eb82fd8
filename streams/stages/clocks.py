"""The clocks in a batch: ticks and releases come in with interactions, tasks' clocks with credits.

`streams.clocks` says what for.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from schemas.packed import RELEASES, TICKS, Record
from streams.clocks import Inputs, advanced, least
from streams.settings import NetworkSettings
from streams.task_state import TaskState
from streams.ticks import clocks_of, releases_of, ticks_of

HEARD: Final = (TICKS, RELEASES)
"""Kinds of records that the clocks of the actors stage follow."""

_UNCONFIGURED: Final = NetworkSettings()


def hear(records: Sequence[Record], state: TaskState, networks: Mapping[str, NetworkSettings]) -> dict[str, int]:
    """Take ticks and releases into `state`, in their order.

    Return the clocks that moved by them, in ms by network, for all targets tasks.
    """
    moved = {}
    for record in records:
        if record.kind == RELEASES:
            for network, source in releases_of(record):
                state.inputs.setdefault(network, Inputs()).release(source)
            continue
        for tick in ticks_of([record]):
            settings = networks.get(tick.network, _UNCONFIGURED)
            state.inputs.setdefault(tick.network, Inputs()).hear(tick, settings)
    for network, inputs in state.inputs.items():
        clock_ms = advanced(inputs, networks.get(network, _UNCONFIGURED))
        if clock_ms is not None and clock_ms != inputs.clock_ms:
            inputs.clock_ms = moved[network] = clock_ms
    return moved


def take_clocks(told: Iterable[tuple[int, Record]], state: TaskState, tasks: int) -> None:
    """Move the clocks of the targets stage, and its hour, by what tasks tell, as pairs of a task and its record."""
    networks = set()
    for task, record in told:
        for network, time_ms in clocks_of(record).items():
            of_tasks = state.told_ms.setdefault(network, {})
            of_tasks[task] = max(time_ms, of_tasks.get(task, time_ms))
            networks.add(network)
    for network in networks:
        clock_ms = least(state.told_ms[network], tasks)
        if clock_ms is not None:
            state.clocks[network] = max(clock_ms, state.clocks.get(network, clock_ms))
    state.population.move_to(state.clocks)
