"""Waits until a release is obeyed: every partition that works has come to it in its lane."""

from collections.abc import Callable, Mapping, Sequence

from clout.obedience import wait_until_obeyed
from schemas.times import format_ms
from streams.feed_position import CONTROL, source_of
from streams.progress import RUNNING
from streams.status import TaskStatus
from streams.task_state import ACTORS

Tasks = Mapping[int, TaskStatus]
"""Of each partition, what its worker says."""


def not_obeyed(tasks: Tasks, sent: Sequence[int]) -> str:
    """Return which partitions have not come to all commands, of which so many were sent to each; empty when all have.

    Those that do not work are not waited for.

    >>> not_obeyed({0: TaskStatus(partition=0, state=RUNNING, lag_records={ACTORS: 7})}, [1])
    'partition 0: 7 records before it'
    """
    return "; ".join(
        f"partition {number}: {task.lag_records.get(ACTORS, 0):,} records before it"
        for number, task in sorted(tasks.items())
        if task.state == RUNNING and task.seen.get(ACTORS, {}).get(source_of(CONTROL, 0), 0) < sent[number]
    )


def wait_until_released(ask: Callable[[], Tasks], sent: Sequence[int], timeout_seconds: float) -> Tasks:
    """Return what the partitions say once they have obeyed; raise `CloutError` after the time."""

    def look() -> tuple[Tasks, str]:
        tasks = ask()
        return tasks, not_obeyed(tasks, sent)

    hint = (
        "it takes its turn behind what came in before it; `clout clock show` tells when: nothing more has to be ordered"
    )
    return wait_until_obeyed(look, timeout_seconds, hint)


def outcome(tasks: Tasks, network: str, source: str) -> str:
    """Say what came of a release that was obeyed: a source that was heard since is waited for again."""
    of_network = [task.inputs[network] for task in tasks.values() if task.state == RUNNING and network in task.inputs]
    again_ms = [inputs.heartbeats_ms.get(source, 0) for inputs in of_network if source not in inputs.released]
    if again_ms:
        return (
            f"source {source} of {network} was heard again, at {format_ms(max(again_ms))}: it is waited for as before"
        )
    return f"source {source} of {network} is not waited for any more, until it is heard again"
