"""The guard's detectors: one small class each."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from schemas.incident import IncidentKind, Slice
from schemas.times import parse_ms
from streams.guard.detector import Detector, Verdict
from streams.guard.observations import IncidentSeen, Moment, Observation, PopulationSeen
from streams.settings import GuardSettings, NetworkSettings

SILENT_MS: Final = 150_000
"""A partition tells its users once a minute while only time goes on."""


class PartitionSilent:
    """A partition told nothing for longer than it may. False alarms: none while workers run."""

    name = "partition_silent"

    def __init__(self) -> None:
        """Know no partition."""
        self._written_ms: dict[int, int] = {}
        self._silent: set[int] = set()

    def update(self, observation: Observation) -> Sequence[Verdict]:
        """Take in one observation."""
        if isinstance(observation, PopulationSeen):
            population = observation.population
            self._written_ms[population.partition] = parse_ms(population.written)
            if population.partition in self._silent:
                self._silent.discard(population.partition)
                return [_silent(population.partition, 0, firing=False)]
        if not isinstance(observation, Moment):
            return []
        verdicts = []
        for partition, written_ms in self._written_ms.items():
            age_ms = observation.now_ms - written_ms
            if age_ms > SILENT_MS and partition not in self._silent:
                self._silent.add(partition)
                verdicts.append(_silent(partition, age_ms, firing=True))
        return verdicts

    def state(self) -> bytes:
        """Return what was learned."""
        return msgspec.msgpack.encode([self._written_ms, sorted(self._silent)])

    def restore(self, state: bytes) -> None:
        """Go on from what was stored."""
        written, silent = msgspec.msgpack.decode(state, type=tuple[dict[int, int], list[int]])
        self._written_ms, self._silent = written, set(silent)


class Passing:
    """A partition stopped and wrote an incident. False alarms: none, it stands still."""

    def __init__(self, kind: IncidentKind) -> None:
        """Pass incidents of this kind."""
        self.name: str = kind
        self._kind = kind
        self._open: dict[str, int] = {}

    def update(self, observation: Observation) -> Sequence[Verdict]:
        """Take in one observation."""
        if not isinstance(observation, IncidentSeen) or observation.incident.kind != self._kind:
            return []
        incident = observation.incident
        partition = incident.slice.partition
        if partition is None:
            return []
        was = set(self._open.values())
        if incident.status == "resolved":
            self._open.pop(incident.id, None)
        else:
            self._open[incident.id] = partition
        firing = partition in self._open.values()
        if firing == (partition in was):
            return []
        return [Verdict(self._kind, Slice(partition=partition), firing, "critical", incident.title, {})]

    def state(self) -> bytes:
        """Return what was learned."""
        return msgspec.msgpack.encode(self._open)

    def restore(self, state: bytes) -> None:
        """Go on from what was stored."""
        self._open = msgspec.msgpack.decode(state, type=dict[str, int])


def _silent(partition: int, age_ms: int, *, firing: bool) -> Verdict:
    numbers = {"age_seconds": age_ms / 1000, "limit": SILENT_MS / 1000}
    detail = f"nothing was told for {age_ms / 1000:.0f} seconds" if firing else "it tells its users again"
    return Verdict("partition_silent", Slice(partition=partition), firing, "critical", detail, numbers)


def detectors(networks: Mapping[str, NetworkSettings], settings: GuardSettings) -> list[Detector]:  # noqa: ARG001
    """Return all detectors, as they begin."""
    return [PartitionSilent(), Passing("law_violation"), Passing("partition_stopped")]
