"""Metrics of the clocks: how far time has come in each partition, how far that is behind, and what holds it.

A clock can be held by an input that the partition waits for itself, or by another partition, which has told less.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Gauge

from streams.clock_status import furthest_ms
from streams.clocks import Inputs, inputs_waited_for
from streams.settings import NetworkSettings
from streams.task_state import TaskState


class ClockGauges:
    """How far time has come in each partition, and what holds it back."""

    def __init__(self, registry: CollectorRegistry, partitions: int) -> None:
        """Register; nothing is shown yet."""
        self._partitions = partitions
        self._lock = Lock()
        """Tasks commit in threads; they are stopped and closed in another."""
        self._clock = Gauge(
            "clout_clock_seconds",
            "The moment by which scores are taken, in seconds since 1970.",
            ("network", "partition"),
            registry=registry,
        )
        self._behind = Gauge(
            "clout_clock_behind_seconds",
            "How far the moment by which scores are taken is behind the furthest of the network's inputs.",
            ("network", "partition"),
            registry=registry,
        )
        self._held = Gauge(
            "clout_clock_held",
            "1 for the input, or the partition, that holds the clock.",
            ("network", "partition", "by"),
            registry=registry,
        )
        self._shown: dict[int, _ShownClocks] = {}

    def show(self, partition: int, state: TaskState, networks: Mapping[str, NetworkSettings]) -> None:
        """Show the clocks of a partition; what is shown already costs no more than to compare it."""
        with self._lock:
            shown = self._shown.setdefault(partition, _ShownClocks())
            if shown.stopped:
                return  # The commit that was in hand when it stopped.
            for network in dict.fromkeys([*state.inputs, *state.clocks]):
                inputs = state.inputs.get(network, Inputs())
                news = _Clocks(inputs, state.clocks.get(network), state.told_ms.get(network, {}))
                if shown.clocks.get(network) != news:
                    self._show_network((network, str(partition)), news, networks.get(network, NetworkSettings()), shown)
                    # A task never changes what belongs to a state that it has committed.
                    shown.clocks[network] = news

    def stop(self, partition: int) -> None:
        """Show that a partition has stopped: from now on it holds its clocks itself."""
        with self._lock:
            shown = self._shown.setdefault(partition, _ShownClocks())
            shown.stopped = True
            for network in shown.clocks:
                self._show_held((network, str(partition)), _partition(partition), shown)

    def remove(self, partition: int) -> None:
        """Show nothing of a partition that is not here: where it is, its clocks go on."""
        with self._lock:
            shown = self._shown.pop(partition, _ShownClocks())
            for network, of in shown.clocks.items():
                if of.clock_ms is not None:
                    self._clock.remove(network, str(partition))
                    self._behind.remove(network, str(partition))
                self._show_held((network, str(partition)), None, shown)

    def _show_network(
        self, labels: tuple[str, str], clocks: "_Clocks", settings: NetworkSettings, shown: "_ShownClocks"
    ) -> None:
        furthest = furthest_ms(clocks.inputs)
        if clocks.clock_ms is not None:
            self._clock.labels(*labels).set(clocks.clock_ms / 1000)
            self._behind.labels(*labels).set(max(0, (furthest or 0) - clocks.clock_ms) / 1000)
        by = late_partition(clocks.told_ms, int(labels[1]), self._partitions)
        if by is None and not clocks.is_level(furthest):
            by = next((hold.name for hold in inputs_waited_for(clocks.inputs, settings)), None)
        self._show_held(labels, by, shown)

    def _show_held(self, labels: tuple[str, str], by: str | None, shown: "_ShownClocks") -> None:
        network, _ = labels
        former = shown.held_by.pop(network, None)
        if former is not None and former != by:
            self._held.remove(*labels, former)
        if by is not None:
            self._held.labels(*labels, by).set(1)
            shown.held_by[network] = by


def late_partition(told_ms: Mapping[int, int], own: int, partitions: int) -> str | None:
    """Return the partition that is furthest behind what the own one told, None if none is.

    That the own one has told more than it has taken in is no delay of others.

    >>> late_partition({0: 7, 1: 5}, 0, 2), late_partition({0: 7}, 0, 2), late_partition({0: 7, 1: 7}, 1, 2)
    ('partition 1', 'partition 1', None)
    """
    if own not in told_ms:
        return None
    silent = next((number for number in range(partitions) if number not in told_ms), None)
    if silent is not None:
        return _partition(silent)
    least = min(told_ms, key=lambda number: told_ms[number])
    return _partition(least) if told_ms[least] < told_ms[own] else None


def _partition(number: int) -> str:
    return f"partition {number}"


class _Clocks(NamedTuple):
    """What is known of a network's clock in a partition."""

    inputs: Inputs
    clock_ms: int | None
    """By which the partition takes scores."""
    told_ms: Mapping[int, int]
    """What each partition told."""

    def is_level(self, furthest_ms: int | None) -> bool:
        """Return whether the clock that the partition tells is with its furthest input."""
        own_ms = self.inputs.clock_ms
        return own_ms is not None and furthest_ms is not None and own_ms >= furthest_ms


@dataclass(slots=True)
class _ShownClocks:
    """What the gauges of a partition show, by network."""

    clocks: dict[str, _Clocks] = field(default_factory=dict)
    held_by: dict[str, str] = field(default_factory=dict)
    stopped: bool = False
