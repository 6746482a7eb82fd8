"""A guard with one detector more, which fires while a raw partition lags; and it prints what is done beside it."""

import sys

import msgspec

from schemas.incident import Severity, Slice
from streams.guard import detectors
from streams.guard.detector import Verdict
from streams.guard.observations import FeedSeen, Observation
from streams.guard.role import Guard

RAW_PARTITION = 99
"""The one that it looks at: ingest tells of its own when a network is frozen."""
CRITICAL_RECORDS = 1_000


def tell(line: str) -> None:
    """Add a line to the guard's log."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Lag:
    """Fires while the raw partition lags, and counts the reports that it saw."""

    name = "feed_partial"

    def __init__(self) -> None:
        """Begin with none."""
        self.reports = 0

    def update(self, observation: Observation) -> list[Verdict]:
        """Judge a report."""
        if not isinstance(observation, FeedSeen) or observation.report.raw_partition != RAW_PARTITION:
            return []
        report = observation.report
        self.reports += 1
        tell(f"report {self.reports} {report.lag_records}")
        severity: Severity = "critical" if report.lag_records > CRITICAL_RECORDS else "major"
        numbers = {"lag_records": float(report.lag_records), "reports": float(self.reports)}
        of = Slice(network=report.network)
        return [Verdict("feed_partial", of, report.lag_records > 0, severity, f"{report.lag_records} behind", numbers)]

    def due(self, now_ms: int) -> list[int]:
        """Return when it is to be stored: once, in the middle."""
        del now_ms
        return [self.reports] if self.reports == 51 else []

    def state(self) -> bytes:
        """Return what is kept."""
        return msgspec.msgpack.encode(self.reports)

    def restore(self, state: bytes) -> None:
        """Go on with what was kept."""
        self.reports = msgspec.msgpack.decode(state, type=int)


def be_suspicious() -> None:
    """Give guards that detector, and let them tell what they do."""
    found, run = detectors.detectors, Guard.run

    def run_beside(guard: Guard) -> None:
        beside = guard.beside
        beside.on_begin.append(lambda incidents: tell(f"begins with {[of.id for of in incidents]}"))
        beside.on_incident.append(lambda incident: tell(f"is told {incident.id} {incident.status}"))
        beside.send.append(lambda acts: tell(f"sends {acts}"))
        beside.on_end.append(lambda: tell("ends"))
        beside.touched.append(lambda identity: (7, ["t:7"]) if identity == "mine" else None)
        run(guard)

    detectors.detectors = lambda networks, settings: [*found(networks, settings), Lag()]
    Guard.run = run_beside  # type: ignore[method-assign,assignment]
