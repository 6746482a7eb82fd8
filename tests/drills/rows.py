"""What came of a fault, or of a clean run, as a row of the drill's table."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from tests.drills.fault_cases import Case
from tests.drills.observers import Firing

HEADINGS: Final = (
    ("fault", 24), ("network", 9), ("detected by", 34), ("wall s", 7), ("event s", 8), ("wrong", 6), ("users", 6),
    ("alert", 22), ("raised s", 8), ("cleared s", 9), ("webhook s", 9),
)  # fmt: skip


def heading() -> str:
    """Return the names of the columns."""
    return _line([name for name, _ in HEADINGS])


class Line(Protocol):
    """A row of either kind."""

    def line(self) -> str:
        """Return it under the heading."""


class Detection(NamedTuple):
    """An incident that was opened, or what a worker's status said."""

    by: str
    wall_seconds: float
    """After the fault began, as the others."""
    event_seconds: float


@dataclass(slots=True)
class Raised:
    """An alert that Alertmanager had."""

    name: str
    after_seconds: float
    cleared_seconds: float | None = None


@dataclass(slots=True)
class Row:
    """What came of a fault."""

    case: Case
    detections: list[Detection] = field(default_factory=list)
    """In their order."""
    wrong_changes: int = 0
    affected_users: int = 0
    alert: Raised | None = None
    """The first one about the fault."""
    webhook_seconds: float | None = None
    """When the first signed delivery about it came."""

    @property
    def detected(self) -> Detection | None:
        """Return the first that is about the fault, or at all where nobody is to notice it."""
        return next((of for of in self.detections if self.case.is_noticed_by(of.by)), None)

    @property
    def incident_seconds(self) -> float | None:
        """Return when the first incident of a kind that is to be there was opened."""
        kinds: tuple[str, ...] = self.case.noticed.by if self.case.noticed is not None else ()
        return next((of.wall_seconds for of in self.detections if of.by in kinds), None)

    def line(self) -> str:
        first, alert = self.detected, self.alert
        return _line(
            [
                self.case.name,
                self.case.network or "all",
                ", ".join(of.by for of in self.detections) or "nobody",
                _seconds(None if first is None else first.wall_seconds),
                _seconds(None if first is None else first.event_seconds),
                f"{self.wrong_changes:,}",
                f"{self.affected_users:,}",
                "-" if alert is None else alert.name,
                _seconds(None if alert is None else alert.after_seconds),
                _seconds(None if alert is None else alert.cleared_seconds),
                _seconds(self.webhook_seconds),
            ]
        )


@dataclass(slots=True)
class CleanRow:
    """What was said of data without a fault: each of it is a false alarm."""

    data: str
    networks: str
    incidents: dict[str, str] = field(default_factory=dict)
    """Kinds of incidents, by their ids."""
    alerts: set[Firing] = field(default_factory=set)
    deliveries: int = 0
    hasty: set[str] = field(default_factory=set)
    """What was said of haste beside (`tests.drills.guarded.OF_HASTE`), which counts for nothing here."""

    @property
    def false_alarms(self) -> int:
        """Return how many there were; an alert about an incident is not another one."""
        return len(self.incidents) + sum(alert.kind not in self.incidents.values() for alert in self.alerts)

    def line(self) -> str:
        cells = [f"none ({self.data})", self.networks, _listed("incident", self.incidents.values()), *"----"]
        cells += [_listed("alert", [alert.name for alert in self.alerts]), "-", "-", f"{self.deliveries} came"]
        return _line(cells) + (f"  beside {', '.join(sorted(self.hasty))}, of haste" if self.hasty else "")


def _listed(what: str, found: Collection[str]) -> str:
    names = f": {', '.join(sorted(set(found)))}" if found else ""
    return f"{len(found)} {what}{'' if len(found) == 1 else 's'}{names}"


def _line(cells: Sequence[str]) -> str:
    return "  ".join(f"{cell:{width}}" for cell, (_, width) in zip(cells, HEADINGS, strict=True)).rstrip()


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:,.1f}"
