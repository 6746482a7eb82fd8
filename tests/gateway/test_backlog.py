"""How far workers are behind: whose word counts, and what is told where nobody can be asked."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest

from gateway.backlog import Backlog
from gateway.standing import World
from schemas.gateway import PartitionState, UnreadRecords
from schemas.population import Population, encode_population
from streams.names import Names
from streams.progress_reader import ProgressReader
from streams.settings import KafkaSettings
from streams.status import TaskState, TaskStatus, WorkerStatus
from tests.gateway.test_worlds import a_population, message

WORKER: Final = "here:1"
ENDS: Final = {"actors": 1_000, "targets": 500}
TOLD: Final = {"actors": 900, "targets": 480}


def seen(task: TaskStatus | None, told: Population | None) -> PartitionState:
    """Return what is told of a partition whose worker says this, or nothing, and which told that."""
    world = World()
    if told is not None:
        world.on_population(message(encode_population(told)))
    status = None if task is None else WorkerStatus(role="score", pid=1, address=WORKER, partitions=[task])
    reader = cast("ProgressReader", SimpleNamespace(worker_status=lambda _: status, lane_ends=lambda: [ENDS]))
    backlog = Backlog(KafkaSettings(broker="nowhere:1"), Names("", "1"), 1, world)
    with ThreadPoolExecutor(1) as pool:
        [state] = backlog._look(reader, pool)
    return state


def population(**more: Any) -> Population:
    return a_population(0, 0, worker=WORKER, **more)


def task(state: TaskState, **more: Any) -> TaskStatus:
    return TaskStatus(partition=0, state=state, **more)


def test_a_worker_that_follows_knows_best() -> None:
    said = task("running", positions={"actors": 995, "targets": 499}, lag_records={"actors": 4, "targets": 0})
    assert seen(said, population(next_offsets=TOLD)).unread == UnreadRecords(actors=4, targets=0)


@pytest.mark.parametrize(
    ("said", "state"),
    [
        (None, "away"),
        (task("restoring"), "restoring"),
        (
            task("stopped", positions={"actors": 899, "targets": 400}, lag_records={"actors": 0, "targets": 0}),
            "stopped",
        ),
    ],
)
def test_while_none_follows_it_is_what_came_since_the_partition_told_last(said: TaskStatus | None, state: str) -> None:
    found = seen(said, population(next_offsets=TOLD))
    assert (found.state, found.unread) == (state, UnreadRecords(actors=100, targets=20))


def test_a_worker_that_stands_may_have_come_further_than_the_partition_told() -> None:
    said = task("stopped", positions={"actors": 949, "targets": 499})
    assert seen(said, population(next_offsets=TOLD)).unread == UnreadRecords(actors=50, targets=0)


def test_of_who_never_told_nothing_is_known() -> None:
    assert seen(None, None) == PartitionState(partition=0, state="away", unread=None)
    assert seen(None, population()).unread is None
