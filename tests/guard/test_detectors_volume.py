from collections.abc import Iterable
from itertools import islice

import msgspec
import numpy as np
import pytest

from clout.demo.population import COLLECTORS, DAY_MS, Population, PopulationSettings
from schemas.feed_report import BUCKET_MS
from schemas.incident import Slice
from schemas.times import HOUR_MS
from streams.guard.detector import Verdict
from streams.guard.detectors.volume import FeedPartial
from streams.guard.observations import FeedSeen
from streams.settings import NetworkSettings
from streams.sketches import estimate
from tests.guard.lively import fed
from tests.guard.lively import told as told_of_population
from tests.guard.seen import all_verdicts
from tests.guard.weeks import START_MS, WEEK, Weeks, registers, reports

SOURCES = ("east", "west")
NETWORKS = {"twitter": NetworkSettings(sources=SOURCES)}
FAULT = 2 * WEEK + 3 * 288 + 130
"""A Thursday, eleven in the morning."""
Learned = tuple[bytes, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def learned() -> Learned:
    """What two weeks and some days taught, and the counts of all three weeks."""
    weeks = Weeks(seed=4, weeks=3)
    events, people = weeks.counts()
    detector = FeedPartial(NETWORKS)
    assert all_verdicts(detector, told(events[:FAULT], people[:FAULT])) == []
    return detector.state(), events, people


def told(events: np.ndarray, people: np.ndarray, first: int = 0) -> Iterable[FeedSeen]:
    return reports(events, people, network="twitter", sources=SOURCES, start_ms=START_MS, seed=4, first=first)


def from_fault(learned: Learned, lost: np.ndarray, *, until: int = FAULT + 60) -> list[tuple[int, Verdict]]:
    """Lose these shares of events by collector and raw partition; return what is said, and how many stretches on."""
    state, events, people = learned
    rng = np.random.default_rng(3)
    events, people = events[:until].copy(), people[:until].copy()
    lasting = slice(FAULT, FAULT + 24)
    events[lasting] = rng.binomial(events[lasting], 1 - lost)
    people[lasting] = rng.binomial(people[lasting], 1 - lost)
    detector = FeedPartial(NETWORKS)
    detector.restore(state)
    return [
        ((seen.now_ms - START_MS) // BUCKET_MS - FAULT, verdict)
        for seen in told(events, people, FAULT)
        for verdict in detector.update(seen)
    ]


@pytest.mark.parametrize(("share", "severity"), [(0.3, "major"), (0.6, "critical")])
def test_a_partial_network_is_found_within_half_an_hour_and_it_ends(
    learned: Learned, share: float, severity: str
) -> None:
    said = from_fault(learned, np.full((2, 2), share))
    assert {verdict.slice for _, verdict in said} == {Slice(network="twitter")}
    stretches, first = said[0]
    assert stretches <= 6
    assert any(verdict.severity == severity for _, verdict in said)
    assert abs(max(verdict.numbers["missing_share"] for _, verdict in said) - share) < 0.15
    assert first.since_ms is not None
    assert abs(first.since_ms // BUCKET_MS - (START_MS // BUCKET_MS + FAULT)) <= 6
    assert not said[-1][1].firing
    assert 24 < said[-1][0] <= 24 + 12


def test_a_loss_is_found_where_a_few_posts_make_most_of_the_volume() -> None:
    """As much as a third comes and goes with single posts: how many people are credited tells."""
    since_ms = START_MS + 14 * DAY_MS + 18 * HOUR_MS
    settings = PopulationSettings(
        people=20_000, networks=("twitter",), start_ms=START_MS, end_ms=since_ms + HOUR_MS, events=1_000 * 288 * 15
    )
    of = fed(Population(settings), kept=0.7, since_ms=since_ms).at(0)
    detector = FeedPartial({"twitter": NetworkSettings(sources=COLLECTORS)})
    said = [
        (seen.now_ms, verdict)
        for seen in told_of_population("twitter", of, START_MS)
        for verdict in detector.update(seen)
    ]
    assert {verdict.slice for _, verdict in said} == {Slice(network="twitter")}
    assert 0 < said[0][0] - since_ms <= HOUR_MS // 2
    assert "credits" in said[0][1].detail


def test_a_dead_raw_partition_is_named_and_not_its_network_alone(learned: Learned) -> None:
    said = from_fault(learned, np.array([[0.0, 0.5], [0.0, 0.5]]))
    assert Slice(network="twitter", raw_partition=1) in {verdict.slice for _, verdict in said}
    assert Slice(network="twitter", raw_partition=0) not in {verdict.slice for _, verdict in said}
    assert said[0][0] <= 3


def test_a_partial_collector_is_named(learned: Learned) -> None:
    said = from_fault(learned, np.array([[0.35, 0.35], [0.0, 0.0]]))
    assert said[0][1].slice == Slice(network="twitter", source="east")
    assert Slice(network="twitter", source="west") not in {verdict.slice for _, verdict in said}
    assert said[0][0] <= 6


def test_a_wave_of_bots_from_one_collector_makes_the_others_not_partial(learned: Learned) -> None:
    assert from_fault(learned, np.zeros((2, 2)), until=FAULT + 30) == []
    state, events, people = learned
    events, people = events[: FAULT + 30].copy(), people[: FAULT + 30].copy()
    events[FAULT:, 0, 0] *= 100
    people[FAULT:, 0, 0] *= 100
    detector = FeedPartial(NETWORKS)
    detector.restore(state)
    assert all_verdicts(detector, told(events, people, FAULT)) == []


@pytest.mark.parametrize("gap", [3, 40, 400])
def test_time_that_leaps_over_a_gap_makes_nothing_partial(learned: Learned, gap: int) -> None:
    state, events, people = learned
    detector = FeedPartial(NETWORKS)
    detector.restore(state)
    # The stretch in which it begins and the one in which it ends are half empty.
    events, people = events.copy(), people.copy()
    for half in (FAULT + 6, FAULT + 6 + gap):
        events[half], people[half] = events[half] // 2, people[half] // 2
    before = told(events[: FAULT + 6], people[: FAULT + 6], FAULT)
    assert all_verdicts(detector, before) == []
    # Time stands in the first half empty stretch; it is told with the report that comes after the gap.
    held = [
        FeedSeen(msgspec.structs.replace(seen.report, time=None), seen.now_ms)
        for seen in islice(told(events, people, FAULT + 6), 2)
    ]
    assert all_verdicts(detector, [*held, *islice(told(events, people, FAULT + 6 + gap), 80)]) == []


def test_it_says_nothing_before_two_weeks_are_known() -> None:
    weeks = Weeks(seed=6, weeks=2, sources=(), raw_partitions=1, lost={WEEK + 500: 0.9})
    assert all_verdicts(FeedPartial({"twitter": NetworkSettings()}), weeks.reports()) == []


def test_a_sketch_tells_how_many_people_there_were() -> None:
    rng = np.random.default_rng(1)
    for people in (0, 10, 300, 5_000, 1_000_000):
        estimates = [estimate(of) for of in registers(np.full(40, people), rng)]
        assert abs(float(np.mean(estimates)) - people) <= max(2, 0.06 * people)
