"""What a worker says of itself: how far behind, whether ready, and its `/v1/status`."""

import os
from contextlib import suppress
from typing import Any, Final

import msgspec
from aiokafka.errors import IllegalStateError, KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from streams.clock_status import inputs_status
from streams.partitions import Partitions
from streams.settings import NetworkSettings
from streams.task import Task

_NOT_ASSIGNED: Final = (AssertionError, ConsumerNotStarted, IllegalStateError)
"""What the consumer raises about a partition that a rebalance takes away meanwhile."""


class WorkerStatus:
    """Looks at a worker's partitions and consumer; changes neither."""

    def __init__(self, partitions: Partitions, lane_of: dict[str, str], address: str, version: str) -> None:
        """Take what is looked at."""
        self._partitions = partitions
        self._lane_of = lane_of
        self._address = address
        self._version = version
        self._consumer: Any = None
        self._read_to: dict[TP, int] = {}
        """Where the consumer reads on, as of the last look."""
        self._ends: dict[TP, int] = {}
        """Of lanes of which nothing is fetched, since their partitions stand still: no fetch tells of them."""

    async def observe(self, consumer: Any) -> None:
        """Look where the consumer stands, and show each lane's lag."""
        self._consumer = consumer
        for tp in [tp for tp in consumer.assignment() if tp.topic in self._lane_of]:
            with suppress(*_NOT_ASSIGNED):
                self._read_to[tp] = await consumer.position(tp) or 0
        await self._ask_for_ends(consumer)
        lag_gauge = self._partitions.shared.metrics.lag
        for partition, task in list(self._partitions.tasks.items()):
            for lane, lag in self._lag(partition, task).items():
                lag_gauge.labels(lane, str(partition)).set(lag)

    async def _ask_for_ends(self, consumer: Any) -> None:
        stopped = [partition for partition, task in self._partitions.tasks.items() if task.stopped]
        standing = [TP(topic, partition) for topic in self._lane_of for partition in stopped]
        if standing:
            with suppress(*_NOT_ASSIGNED, KafkaError):
                self._ends = dict(await consumer.highwaters(*standing))

    def _lag(self, partition: int, task: Task) -> dict[str, int]:
        lags = {}
        for topic, lane in self._lane_of.items():
            tp, position = TP(topic, partition), task.state.positions[lane]
            end = self._end(tp)
            # Control records take offsets too: what was read to the end and committed is not behind.
            done = self._read_to.get(tp, 0) >= end and task.intake.last_offset(lane) == position
            lags[lane] = 0 if done else max(0, end - position - 1)
        return lags

    def _end(self, tp: TP) -> int:
        end = self._ends.get(tp, 0)
        if self._consumer is None:
            return end
        with suppress(*_NOT_ASSIGNED):
            return max(end, self._consumer.highwater(tp) or 0)
        return end

    def missing(self) -> str | None:
        """Return what keeps the worker from being ready: restores under way, partitions that stand still."""
        partitions = self._partitions
        stopped = [partition for partition, task in partitions.tasks.items() if task.stopped]
        standing = sorted({*partitions.failed, *stopped})
        if partitions.opening:
            return f"restoring partitions {sorted(partitions.opening)}"
        if standing:
            return f"partitions {standing} stand still; see /v1/status"
        return None if partitions.tasks else "no partitions assigned"

    def document(self) -> dict[str, Any]:
        """Return the answer of /v1/status."""
        partitions = self._partitions
        return {
            "role": "score",
            "pid": os.getpid(),
            "address": self._address,
            "version": self._version,
            "partitions": [
                self._entry(partition)
                for partition in sorted({*partitions.tasks, *partitions.opening, *partitions.failed})
            ],
        }

    def _entry(self, partition: int) -> dict[str, Any]:
        task = self._partitions.tasks.get(partition)
        reason = self._partitions.failed.get(partition) or (task.stopped if task is not None else "")
        running = "running" if task is not None else "restoring"
        entry: dict[str, Any] = {
            "partition": partition,
            "state": "stopped" if reason else running,
            "reason": reason or None,
        }
        if task is None:
            return entry
        state, networks = task.state, self._partitions.shared.networks
        return entry | {
            "positions": state.positions,
            "lag_records": self._lag(partition, task),
            "seen": state.seen,
            "sent": {str(target): last for target, last in state.sent.items()},
            "counters": state.counters,
            "due": task.has_due,
            "clocks": state.clocks,
            "told_ms": msgspec.to_builtins(state.told_ms, str_keys=True),
            "inputs": {
                network: msgspec.to_builtins(inputs_status(inputs, networks.get(network, NetworkSettings())))
                for network, inputs in state.inputs.items()
            },
            "ledger": {
                "rows": state.ledger.rows,
                "window_seconds": state.ledger.window_seconds,
                "begins_ms": state.ledger.begins_ms,
            },
            "ordered": {"epoch": state.ordered.epoch, "counters": dict(state.ordered.counters)},
        }
