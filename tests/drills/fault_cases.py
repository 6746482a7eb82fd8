"""The faults that are injected, whom each meets, and who is to notice it."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from clout.demo.faults import FEED_FAULTS
from clout.injection import WORKER_FAULTS
from schemas.incident import IncidentKind
from tests.drills.guarded import HEARTBEAT_SECONDS, OF_HASTE

NETWORKS: Final = ("twitter", "mastodon")
STOPPED: Final = "(status: stopped)"
"""A worker's status says that a partition stands still: it is known before the incident is written."""
PUT_ASIDE: Final = ("future", "half-garbage")
"""Faults whose events ingest puts aside: what is published is right without them."""
STALLS: Final = ("stall", "dead-collector")
NOTHING_WRONG: Final = ("floor", "lost-partition", "bad-model", "future", *STALLS)
"""Faults by which, with the audit, no wrong change may be published."""

FAULT_SECONDS: Final = 15.0
STALL_SECONDS: Final = 2.1 * HEARTBEAT_SECONDS
PARTIAL_SECONDS: Final = 45.0
SECONDS: Final = {"partial": PARTIAL_SECONDS} | dict.fromkeys(STALLS, STALL_SECONDS)
"""How long faults last that take longer to be noticed than others."""


class Noticed(NamedTuple):
    """Who is to notice a fault: at least one of each."""

    by: tuple[IncidentKind, ...]
    alerts: tuple[str, ...]


_STALLED: Final = Noticed(("feed_stalled",), ("CloutFeedStalled",))
_NOT_TAKEN: Final = Noticed(("dead_letter_surge",), ("CloutDeadLetterSurge",))
_LAW: Final = Noticed(("law_violation",), ("CloutLawViolation", "CloutPartitionStopped"))
# That a canary is wrong is an alert too, which goes on for minutes: no drill waits for its end.
_FALL: Final = Noticed(("population_fall", "canary"), ("CloutPopulationFall",))

NOTICED: Final = {
    **dict.fromkeys(STALLS, _STALLED),
    "partial": Noticed(("feed_partial",), ("CloutFeedPartial",)),
    "half-garbage": _NOT_TAKEN,
    "future": _NOT_TAKEN,
    "replay-storm": Noticed(("duplicate_surge",), ("CloutDuplicateSurge",)),
    "retract-storm": Noticed(("retraction_surge", "population_fall"), ("CloutRetractionSurge", "CloutPopulationFall")),
    "floor": _LAW,
    "bad-model": _LAW,
    "lost-partition": Noticed(("partition_stopped",), ("CloutPartitionStopped",)),
    "mass-fall": _FALL,
    "floor without audit": _FALL,
    "mass-fall without audit": _FALL,
}
"""By name of the case; skew, misattribute and bot-wave are seen by no number."""


@dataclass(frozen=True, slots=True)
class Case:
    """A fault, and whom it meets."""

    fault: str
    network: str = ""
    audit: bool = True

    @property
    def name(self) -> str:
        return self.fault if self.audit else f"{self.fault} without audit"

    @property
    def noticed(self) -> Noticed | None:
        """Return who is to notice it; None where nobody can."""
        return NOTICED.get(self.name)

    def is_noticed_by(self, name: str) -> bool:
        """Return whether an alert, or a kind of incident, is about it: any is where nobody is to notice it."""
        if self.noticed is None:
            return name not in OF_HASTE
        return name in {STOPPED, *self.noticed.by, *self.noticed.alerts}

    @property
    def seconds(self) -> float:
        """Return how long it lasts."""
        return SECONDS.get(self.fault, FAULT_SECONDS)

    @property
    def has_history(self) -> bool:
        """Return whether weeks must have been learned before."""
        return self.fault == "partial"

    @property
    def networks(self) -> tuple[str, ...]:
        """Return who plays: where there is a long history, only the one that is met."""
        return (self.network,) if self.has_history else NETWORKS

    @property
    def must_be_harmless(self) -> bool:
        return self.audit and self.fault in NOTHING_WRONG


CASES: Final = (
    # Stalls, of which the seconds count until they are told, come when others wait for their alerts to clear.
    *(Case("partial", network) for network in NETWORKS),
    *(Case(fault, network) for fault in FEED_FAULTS if fault not in {"partial", *STALLS} for network in NETWORKS),
    *(Case(fault) for fault in WORKER_FAULTS),
    *(Case(fault, audit=False) for fault in ("floor", "mass-fall")),
    *(Case(fault, network) for fault in STALLS for network in NETWORKS),
)
