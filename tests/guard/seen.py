"""Observations for detectors, with everything that a test does not care about filled in."""

from collections.abc import Iterable, Mapping

from schemas.change import Cause
from schemas.feed_report import FeedReport
from schemas.incident import Evidence, Incident, IncidentKind, IncidentStatus, Slice
from schemas.population import BINS, NetworkPopulation, Population, Shift, Steps, TakenBack
from schemas.times import HOUR_MS, format_ms
from streams.guard.detector import Detector, Verdict
from streams.guard.observations import FeedSeen, IncidentSeen, Moment, Observation, PopulationSeen

NOW_MS = 1_735_516_800_000


def all_verdicts(detector: Detector, observations: Iterable[Observation]) -> list[Verdict]:
    """Show a detector everything; return what it says."""
    return [verdict for observation in observations for verdict in detector.update(observation)]


def moments(now_ms: int, seconds: int) -> list[Moment]:
    """Seconds that go by, from the next one on."""
    return [Moment(now_ms + 1_000 * second) for second in range(1, seconds + 1)]


def histogram(**users: int) -> list[int]:
    """Users by whole points: `histogram(p7=100)` has a hundred who have 7.0 to 7.9."""
    bins = [0] * BINS
    for name, count in users.items():
        bins[int(name[1:]) - 1] = count
    return bins


def population(
    now_ms: int = NOW_MS,
    *,
    partition: int = 0,
    partitions: int = 1,
    sequence: int = 1,
    bins: list[int] | None = None,
    clock_ms: int | None = NOW_MS,
    clocks_ms: Mapping[str, int] | None = None,
    hour_ms: int | None = None,
    below: tuple[int, int, int] = (0, 0, 0),
    below_before: tuple[int, int, int] | None = None,
    taken_back: Mapping[str, tuple[int, int, int]] | None = None,
    taken_back_before: Mapping[str, tuple[int, int, int]] | None = None,
    changes: Mapping[Cause, int] | None = None,
    outcomes: dict[str, dict[str, int]] | None = None,
    model: str = "1",
) -> PopulationSeen:
    """What a partition tells."""
    bins = histogram(p7=1000) if bins is None else bins
    clocks = clocks_ms if clocks_ms is not None else {} if clock_ms is None else {"twitter": clock_ms}
    hour = hour_ms if hour_ms is not None else max(clocks.values(), default=0) // HOUR_MS * HOUR_MS
    return PopulationSeen(
        Population(
            partition=partition,
            partitions=partitions,
            model=model,
            worker="127.0.0.1:1",
            sequence=sequence,
            written=format_ms(now_ms),
            users=sum(bins),
            histogram=bins,
            networks={
                name: NetworkPopulation(users=sum(bins), histogram=bins, clock=format_ms(at))
                for name, at in clocks.items()
            },
            shift=_shift(hour, below, taken_back),
            shift_before=None if below_before is None else _shift(hour - HOUR_MS, below_before, taken_back_before),
            changes=dict(changes or {}),
            outcomes=outcomes or {},
        ),
        now_ms,
    )


def _shift(
    hour_ms: int, below: tuple[int, int, int], taken_back: Mapping[str, tuple[int, int, int]] | None = None
) -> Shift:
    points_1, points_5, points_10 = below
    return Shift(
        hour=format_ms(hour_ms),
        below=Steps(points_1=points_1, points_5=points_5, points_10=points_10),
        above=Steps(points_1=0, points_5=0, points_10=0),
        gone=0,
        taken_back={
            incident: TakenBack(users=by_1 + 1, points_1=by_1, points_5=by_5, points_10=by_10)
            for incident, (by_1, by_5, by_10) in (taken_back or {}).items()
        },
    )


def feed(
    now_ms: int = NOW_MS,
    *,
    network: str = "twitter",
    raw_partition: int = 0,
    raw_partitions: int = 1,
    time_ms: int | None = None,
    arrival_ms: int | None = None,
    heartbeats_ms: Mapping[str, int] | None = None,
    counters: Mapping[str, int] | None = None,
    frozen: bool = False,
) -> FeedSeen:
    """What ingest tells of a raw partition."""
    return FeedSeen(
        FeedReport(
            network=network,
            raw_partition=raw_partition,
            raw_partitions=raw_partitions,
            written=format_ms(now_ms),
            position=0,
            lag_records=0,
            at_end=True,
            frozen=frozen,
            time=format_ms(now_ms if time_ms is None else time_ms),
            arrival=format_ms(now_ms if arrival_ms is None else arrival_ms),
            heartbeats={name: format_ms(at) for name, at in (heartbeats_ms or {}).items()},
            counters=dict(counters or {}),
        ),
        now_ms,
    )


def incident(
    kind: IncidentKind = "law_violation",
    *,
    number: int = 1,
    partition: int = 3,
    status: IncidentStatus = "investigating",
    own: bool = True,
    users: tuple[str, ...] = ("twitter:1",),
) -> IncidentSeen:
    """What a partition task writes, or, where it is not its `own`, the guard."""
    return IncidentSeen(
        Incident(
            id=f"{kind}:1:{partition}:{number}:0" if own else f"{kind}/partition-{partition}/{format_ms(NOW_MS)}",
            kind=kind,
            slice=Slice(partition=partition),
            severity="critical",
            status=status,
            title=f"partition {partition} stands still",
            opened=format_ms(NOW_MS),
            updated=format_ms(NOW_MS),
            evidence=[Evidence(finding=kind, detail="1 user had 26.4, and was to have 400.0")],
            affected_users=len(users),
            users=list(users),
        ),
        NOW_MS,
    )
