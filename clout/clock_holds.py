"""Tells, from what the workers say, how far the clock of each network has come and what holds it there.

Scores are taken by the least clock of all partitions. It waits for every partition that works; each of these tells
how far the inputs of the network are, and waits for the one that is furthest behind.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

import msgspec

from schemas.times import format_ms
from streams.errors import first_line
from streams.progress import RUNNING, frozen_in_words
from streams.status import FreezeStatus, InputsStatus, TaskStatus
from streams.task_state import ACTORS

SHOWN_MAX = 8
STOPPED = "stopped"


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a clock waits for."""

    name: str
    """`raw partition 3`, `source west`, `partition 0` of the workers, `ingest`, or `freeze`."""
    time: str | None = None
    """How far it is, for a source its last heartbeat; None when nothing was ever heard of it."""
    since: str | None = None
    """When a raw partition was last heard, or the network frozen; of a source no arrival is known."""
    raw_partition: int | None = None
    """Of a source: where it is so far behind, if it is not everywhere."""
    why: str = ""
    """What is wrong with a partition or with ingest; who waits for an input, if not all do."""


class NetworkClock(msgspec.Struct, frozen=True, kw_only=True):
    """The clock of a network."""

    network: str
    clock: str | None = None
    """The moment by which scores are taken; None before there is one."""
    furthest: str | None = None
    """The newest time heard of any input."""
    behind_seconds: float | None = None
    """From the clock to that."""
    held_by: list[Holder] = []
    """What holds the clock where it is behind, and what stands still in any case; of many the first few."""
    all_stand_still: bool = False
    """Whether every partition has stopped: then nobody tells how far the inputs are."""
    released: list[str] = []
    """Sources that no partition waits for, because an operator has released them."""


def network_clocks(
    tasks: Mapping[int, TaskStatus],
    partitions: int,
    networks: Iterable[str] = (),
    *,
    ingest_trouble: str = "",
    frozen: Mapping[str, FreezeStatus] = MappingProxyType({}),
    last_ms: Mapping[int, Mapping[str, int]] = MappingProxyType({}),
) -> list[NetworkClock]:
    """Return the clock of each network, of those that the tasks know and of `networks`.

    `tasks` are those that answered, by partition, of `partitions` that there are; `ingest_trouble` says what is
    wrong with ingest, if anything is; `frozen` are the networks of which nothing is read by order; `last_ms` are the
    clocks, by partition and network, of partitions for which nobody answers, as they were last told.
    """
    known = dict.fromkeys(networks)
    for task in tasks.values():
        known |= dict.fromkeys([*task.inputs, *task.clocks])
    for clocks in last_ms.values():
        known |= dict.fromkeys(clocks)
    standing = [Holder(name="ingest", why=ingest_trouble)] if ingest_trouble else []
    silent_ms = {number: clocks for number, clocks in last_ms.items() if number not in tasks}
    return [
        _network_clock(network, tasks, partitions, [*standing, *_freeze(network, frozen)], silent_ms)
        for network in known
    ]


def _freeze(network: str, frozen: Mapping[str, FreezeStatus]) -> Iterator[Holder]:
    if network in frozen:
        yield Holder(name="freeze", since=frozen[network].since, why=frozen_in_words(frozen[network]))


def _network_clock(
    network: str,
    tasks: Mapping[int, TaskStatus],
    partitions: int,
    standing: Sequence[Holder],
    silent_ms: Mapping[int, Mapping[str, int]],
) -> NetworkClock:
    running = [task for task in tasks.values() if task.state == RUNNING]
    # All tasks hear of the same inputs: the one that has come furthest knows best.
    of_tasks = [task.inputs[network] for task in running if network in task.inputs]
    heard = max(of_tasks, key=_how_far, default=InputsStatus())
    by_partition = [*(task.clocks for task in tasks.values()), *silent_ms.values()]
    clocks = [of[network] for of in by_partition if network in of]
    clock_ms = min(clocks) if clocks and all(network in task.clocks for task in running) else None
    behind_ms = None if clock_ms is None or heard.furthest_ms is None else max(0, heard.furthest_ms - clock_ms)
    holders = [*standing, *_standing(network, tasks, partitions, silent_ms)]
    if behind_ms != 0:
        holders += _furthest_behind(heard, clock_ms)
        holders = holders or list(_late(network, tasks, clock_ms))
    return NetworkClock(
        network=network,
        clock=_text(clock_ms),
        furthest=_text(heard.furthest_ms),
        behind_seconds=None if behind_ms is None else behind_ms / 1000,
        held_by=holders[:SHOWN_MAX],
        all_stand_still=len(tasks) == partitions and all(task.state == STOPPED for task in tasks.values()),
        released=[source for source in heard.released if all(source in of.released for of in of_tasks)],
    )


def _how_far(inputs: InputsStatus) -> tuple[int, int]:
    return inputs.clock_ms or 0, inputs.furthest_ms or 0


def _furthest_behind(heard: InputsStatus, clock_ms: int | None) -> list[Holder]:
    """Return the inputs that are furthest behind, unless the clock has not even come as far as they are."""
    if not heard.waits_for:
        return []
    least_ms = heard.waits_for[0].time_ms
    if least_ms is not None and (clock_ms is None or least_ms > clock_ms):
        return []
    return [
        Holder(name=of.name, time=_text(of.time_ms), since=_text(of.arrival_ms), raw_partition=of.raw_partition)
        for of in heard.waits_for
        if of.time_ms == least_ms
    ]


def _standing(
    network: str, tasks: Mapping[int, TaskStatus], partitions: int, silent_ms: Mapping[int, Mapping[str, int]]
) -> Iterator[Holder]:
    """Yield the partitions that do not work, with what they told last."""
    for number in range(partitions):
        task = tasks.get(number)
        if task is not None and task.state == RUNNING:
            continue
        if task is None:
            why = "no worker answers for it"
        else:
            why = f"it is {task.state}" + (f": {first_line(task.reason)}" if task.reason else "")
        told_ms = _told(network, tasks, number)
        last_ms = silent_ms.get(number, {}).get(network) if told_ms is None else told_ms
        yield Holder(name=f"partition {number}", time=_text(last_ms), why=why)


def _late(network: str, tasks: Mapping[int, TaskStatus], clock_ms: int | None) -> Iterator[Holder]:
    """Yield what is on its way: partitions that work and have not told, or taken in, what others have."""
    own = {number: _clock_of_inputs(task, network) for number, task in sorted(tasks.items())}
    if not any(network in task.inputs for task in tasks.values()):
        yield Holder(name="ingest", why="nothing was heard of any raw partition yet")
        return
    if None in own.values():
        for number in [number for number, told_ms in own.items() if told_ms is None]:
            yield Holder(name=f"partition {number}", why="it has not told its clock yet")
        return
    behind = {
        number: told_ms
        for number, told_ms in own.items()
        if clock_ms is not None and told_ms is not None and told_ms <= clock_ms
    }
    for number, told_ms in behind.items():
        yield from _behind(number, tasks[number], network, told_ms)
    for number, task in sorted(tasks.items()):
        if not behind and task.clocks.get(network) == clock_ms:
            why = f"it has not caught up{_lag(task)}"
            yield Holder(name=f"partition {number}", time=_text(clock_ms), why=why)


def _behind(number: int, task: TaskStatus, network: str, told_ms: int) -> Iterator[Holder]:
    """Yield what holds a partition that is behind the others: an input that it alone waits for, or its own pace."""
    waits_for = task.inputs[network].waits_for[:1]
    if waits_for and (waits_for[0].time_ms or 0) <= told_ms and not task.lag_records.get(ACTORS):
        why, [first] = f"partition {number} alone waits for it", waits_for
        yield Holder(name=first.name, time=_text(first.time_ms), raw_partition=first.raw_partition, why=why)
    else:
        yield Holder(name=f"partition {number}", time=_text(told_ms), why=f"it is behind the others{_lag(task)}")


def _told(network: str, tasks: Mapping[int, TaskStatus], number: int) -> int | None:
    told = [task.told_ms.get(network, {}).get(number) for task in tasks.values()]
    return max((told_ms for told_ms in told if told_ms is not None), default=None)


def _clock_of_inputs(task: TaskStatus, network: str) -> int | None:
    return task.inputs[network].clock_ms if network in task.inputs else None


def _lag(task: TaskStatus) -> str:
    records = sum(task.lag_records.values())
    return f", {records:,} records behind" if records else ""


def _text(time_ms: int | None) -> str | None:
    return None if time_ms is None else format_ms(time_ms)
