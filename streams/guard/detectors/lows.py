"""When a network, a collector or a raw partition brings so little that something is missing, and how that is said.

Limits are measured: `bench/partial_feeds.py`, `docs/decisions/0023-partial-feeds-by-windows.md`.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from schemas.feed_report import BUCKET_MS
from schemas.incident import Slice
from streams.guard.detectors.series import Finding

DEVIATIONS: Final = 4.6
"""So far below what is usual events and people of a network are, both, in deviations."""
PART_DEVIATIONS: Final = 5.7
"""So far below are the events of a part of a network: its share has no bursts."""
TARGETS_DEVIATIONS: Final = 5.0
"""So far below are the people who are credited on a network, alone."""
AGREEING_DEVIATIONS: Final = 2.5
"""So far below is what else is known, or it contradicts."""
TARGETS_AGREEING_DEVIATIONS: Final = 3.0
"""The same of people who are credited: bursts, which are of few of them, come and go by themselves."""
SHARE_MAX: Final = 0.85
"""What brings more than this share is not partial, however sure that is."""
TARGETS_SHARE_MAX: Final = 0.9
"""The same of people who are credited: who is credited often is so still when a part of it is lost."""


class Low(NamedTuple):
    """That something is missing."""

    missing: float
    """Share of what is usual."""
    detail: str
    numbers: dict[str, float]
    buckets: int
    """Over so many it shows."""


def low_of(about: Slice, events: list[Finding], actors: list[Finding], targets: list[Finding]) -> Low | None:
    """Return what is missing by events, who acts and who is credited; `targets` are empty where that is not known."""
    of_actors = {of.buckets: of for of in actors}
    both = [(of, of_actors[of.buckets]) for of in events if of.buckets in of_actors]
    if about.source is not None or about.raw_partition is not None:
        low = [of for of in both if _is_low(of[0], PART_DEVIATIONS) and _agree(of[1:])]
        return _by_events(about, low, PART_DEVIATIONS) if low else None
    low = [of for of in both if _is_low(of[0], DEVIATIONS) and _is_low(of[1], DEVIATIONS)]
    if low and (not targets or _agree(targets, TARGETS_AGREEING_DEVIATIONS)):
        return _by_events(about, low, DEVIATIONS)
    few = [of for of in targets if _is_low(of, TARGETS_DEVIATIONS, TARGETS_SHARE_MAX)]
    return _by_targets(about, min(few, key=lambda of: of.share)) if few else None


def _is_low(finding: Finding, deviations: float, share_max: float = SHARE_MAX) -> bool:
    return finding.deviations < -deviations and finding.share < share_max


def _agree(findings: Iterable[Finding], deviations: float = AGREEING_DEVIATIONS) -> bool:
    return any(of.deviations < -deviations for of in findings)


def _by_events(about: Slice, low: Sequence[tuple[Finding, Finding]], limit: float) -> Low:
    events, actors = min(low, key=lambda pair: pair[0].share)
    missing, minutes = 1 - events.share, events.buckets * BUCKET_MS // 60_000
    detail = (
        f"{_name(about)} brings {missing:.0%} fewer events than usual, of {1 - actors.share:.0%} fewer people: "
        f"{events.came:,.0f} in {minutes} minutes of event time, {events.expected:,.0f} expected; "
        f"{-events.deviations:.1f} and {-actors.deviations:.1f} deviations, {limit} at most"
    )
    numbers = {
        "missing_share": round(missing, 4),
        "missing_actors_share": round(1 - actors.share, 4),
        "events": events.came,
        "expected_events": round(events.expected, 1),
        "deviations": round(-events.deviations, 2),
        "actors_deviations": round(-actors.deviations, 2),
        "limit": limit,
        "window_seconds": events.buckets * BUCKET_MS / 1000,
    }
    return Low(missing, detail, numbers, events.buckets)


def _by_targets(about: Slice, targets: Finding) -> Low:
    missing, minutes = 1 - targets.share, targets.buckets * BUCKET_MS // 60_000
    detail = (
        f"what {_name(about)} brings credits {missing:.0%} fewer people than usual: {targets.came:,.0f} in {minutes} "
        f"minutes of event time, those of each five minutes added up, {targets.expected:,.0f} expected; "
        f"{-targets.deviations:.1f} deviations, {TARGETS_DEVIATIONS} at most; of its events a larger share is missing"
    )
    numbers = {
        "missing_targets_share": round(missing, 4),
        "targets": round(targets.came, 1),
        "expected_targets": round(targets.expected, 1),
        "targets_deviations": round(-targets.deviations, 2),
        "limit": TARGETS_DEVIATIONS,
        "window_seconds": targets.buckets * BUCKET_MS / 1000,
    }
    return Low(missing, detail, numbers, targets.buckets)


def _name(about: Slice) -> str:
    if about.source is not None:
        return f"collector {about.source} of {about.network}"
    if about.raw_partition is not None:
        return f"raw partition {about.raw_partition} of {about.network}"
    return about.network or ""
