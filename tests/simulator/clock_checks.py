"""Clocks at the end of a run, and on the way there, held against what lies in the raw topics."""

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import msgspec

from schemas.packed import INTERACTIONS, RELEASES
from schemas.users import CANARY_SOURCE
from streams.clocks import Inputs
from streams.stages import clocks
from streams.store import Store
from streams.task import Task
from streams.task_state import TaskState
from streams.ticks import releases_of
from tests.simulator.log import PartitionLog
from tests.simulator.oracle import records_of
from tests.simulator.world import World


def misclocked(world: World, tasks_: Mapping[int, tuple[Task, Store]]) -> list[str]:
    """Every task heard what its lane says; its clocks stand where the slowest task's do, at most where inputs end."""
    tasks = {number: task.state for number, (task, _) in tasks_.items()}
    problems = []
    released: set[str] = set()
    for number, state in tasks.items():
        told = TaskState(model="", model_hash="")
        for _, record in records_of(world.log, world.names.actors_lane, number):
            if record.kind in clocks.HEARD:
                clocks.hear([record], told, world.networks)
            if record.kind == RELEASES:
                released.update(network for network, _ in releases_of(record))
        if _heard(state) != _heard(told):
            problems.append(f"partition {number} heard {_heard(state)}, not {_heard(told)}")
    for network, settings in world.networks.items():
        own = [state.inputs[network].clock_ms if network in state.inputs else None for state in tasks.values()]
        slowest = None if None in own else min(of for of in own if of is not None)
        logs = world.log.topics[world.names.interactions(network)]
        # A clock that went on without a collector never goes back to it.
        sources = world.swarm.sources if network not in released else ()
        came = [list(_told(log)) for log in logs]
        arrivals_ms = [max((entry.came_ms for entry in entries if entry.moves), default=0) for entries in came]
        limit_ms = max(arrivals_ms) - settings.idle_after_seconds * 1000 if settings.idle_after_seconds else -1
        waited_for = [of for of, arrival_ms in zip(came, arrivals_ms, strict=True) if arrival_ms > limit_ms]
        ends = [latest for entries in waited_for for latest in _latest(entries, sources)]
        end = min(ends) if all(ends) else None
        found = {number: state.clocks.get(network) for number, state in tasks.items()}
        if set(found.values()) != {slowest}:
            problems.append(f"{network}: {found}, not {slowest}")
        # Where a raw partition was quiet once, the clock may have gone on without it.
        may_pass = settings.idle_after_seconds > 0
        may_wait = world.swarm.sources and network in released
        if ((slowest or 0) > (end or 0) and not may_pass) or ((slowest or 0) < (end or 0) and not may_wait):
            problems.append(f"{network}: {slowest}, though the slowest raw partition or collector ends at {end}")
    return problems


def _heard(state: TaskState) -> dict[str, Inputs]:
    """Return what a task knows of inputs; between two ticks of one batch it has no clock."""
    return {network: msgspec.structs.replace(inputs, clock_ms=None) for network, inputs in state.inputs.items()}


class Told(NamedTuple):
    """What a raw record says of time, without synthetic accounts, which move no clock."""

    came_ms: int
    moves: bool
    """Whether it makes its raw partition one to which something came: not, where synthetic accounts are in it."""
    time_ms: int
    """Latest of its events and heartbeats, 0 where there are none."""
    beats_ms: list[tuple[str, int]]
    """Heartbeats by collector."""


def _told(log: PartitionLog) -> Iterator[Told]:
    for entry in log.read(0, len(log.entries), committed=True)[0]:
        try:
            told = msgspec.json.decode(entry.value or b"")
        except msgspec.DecodeError:
            told = None
        parts = [part for part in (told if isinstance(told, list) else [told]) if isinstance(part, dict)]
        times = [part.get("time", 0) for part in parts if part.get("source") != CANARY_SOURCE]
        beats = [(part.get("source", ""), part["time"]) for part in parts if part.get("kind") == "heartbeat"]
        yield Told(entry.time_ms, len(times) == len(parts), max(times, default=0), beats)


def _latest(told: Sequence[Told], sources: Sequence[str]) -> list[int]:
    """Return the latest time of a raw partition's events and heartbeats, and of each source's heartbeats."""
    beats = dict.fromkeys(sources, 0)
    for entry in told:
        beats.update((source, max(time_ms, beats[source])) for source, time_ms in entry.beats_ms if source in beats)
    return [max((entry.time_ms for entry in told), default=0), *beats.values()]


def passed_unread(world: World) -> list[str]:
    """Whatever a clock passed before it was read came after something that was as new as the clock."""
    newest: dict[str, list[tuple[int, int]]] = {}
    for network in world.networks:
        logs = world.log.topics[world.names.interactions(network)]
        came = sorted((told.came_ms, told.time_ms) for log in logs for told in _told(log))
        newest[network] = list(zip((at for at, _ in came), accumulate((time for _, time in came), max), strict=True))
    problems = []
    for number in range(world.swarm.partitions):
        told = TaskState(model="", model_hash="")
        for _, record in records_of(world.log, world.names.actors_lane, number):
            if record.kind in clocks.HEARD:
                clocks.hear([record], told, world.networks)
            elif record.kind == INTERACTIONS:
                network = record.networks[0]
                clock_ms = told.inputs[network].clock_ms if network in told.inputs else None
                late = record.columns["time"] < (clock_ms or 0)
                for arrival_ms in set(record.columns["arrival"][late].tolist()):
                    newest_ms = newest[network][bisect_right(newest[network], (arrival_ms, math.inf)) - 1][1]
                    if newest_ms < (clock_ms or 0):
                        problems.append(f"{network}, partition {number}: {clock_ms} before what came at {arrival_ms}")
    return problems
