"""Every detector keeps to the false-alarm budget that its docstring states, over as many weeks as it speaks of."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from clout.demo.population import DAY_MS
from streams.guard.detector import Detector, Verdict
from streams.guard.detectors.falls import PopulationFall
from streams.guard.detectors.feeds import FeedStalled
from streams.guard.detectors.partitions import PartitionShrunk, PartitionSilent
from streams.guard.detectors.population import PopulationAtFloor, PopulationShift
from streams.guard.detectors.surges import SURGES, DuplicateSurge, FeedSurge, ForgetSurge
from streams.guard.detectors.volume import FeedPartial
from streams.guard.observations import Observation, PopulationSeen
from streams.settings import NetworkSettings
from tests.guard.clean_feeds import (
    arrivals,
    counted,
    forgetting,
    heartbeats,
    repeated,
    ticks,
    with_moments,
)
from tests.guard.clean_people import People
from tests.guard.seen import NOW_MS
from tests.guard.weeks import WEEK, Weeks

SOURCES = ("east", "west")


def alarms(seen: Iterable[Observation], detector: Detector) -> list[Verdict]:
    return [verdict for one in seen for verdict in detector.update(one) if verdict.firing]


def test_a_network_whose_heartbeats_are_late_by_half_stalls_at_most_once_in_ten_weeks() -> None:
    """Seven weeks of heartbeats, and three without; of these the first night, which nobody knew, is left out."""
    found = []
    for sources, raw_partitions, every_seconds, weeks in (
        (SOURCES, 2, 60, 0.4), (SOURCES[:1], 1, 60, 0.6), (SOURCES[:1], 1, 300, 6),
    ):  # fmt: skip
        detector = FeedStalled({"twitter": NetworkSettings(sources=sources)}, every_seconds)
        told = heartbeats("twitter", sources, raw_partitions, every_seconds, weeks, seed=every_seconds)
        found += alarms(with_moments(told), detector)
    for raw_partitions, mean_seconds in ((1, 60), (2, 200), (4, 300)):
        detector = FeedStalled({"twitter": NetworkSettings()}, 60)
        seen = with_moments(arrivals("twitter", raw_partitions, mean_seconds, 1, seed=raw_partitions))
        said = [(one.now_ms, verdict) for one in seen for verdict in detector.update(one)]
        found += [verdict for now_ms, verdict in said if verdict.firing and now_ms > NOW_MS + DAY_MS]
    assert len(found) <= 1


def test_partitions_that_answer_ticks_are_not_silent_in_four_weeks() -> None:
    for every_seconds, weeks, seed in ((60, 2, 1), (80, 1.6, 2), (20, 0.3, 3), (5, 0.1, 4)):
        seen = ticks(every_seconds, 2, weeks, seed)
        assert alarms(with_moments(seen), PartitionSilent()) == []


CROWDS = [
    People(seed=1, weeks=10, events_a_day=0.3, new=0.95),
    People(seed=2, weeks=10, events_a_day=3, new=0.95),
    People(seed=3, weeks=10, events_a_day=0.1, people=1_500),
    People(seed=4, weeks=10, events_a_day=24, new=0.5),
    People(seed=5, weeks=10, events_a_day=1, people=300),
]


@pytest.fixture(scope="module")
def people() -> list[list[PopulationSeen]]:
    return [list(crowd.hours()) for crowd in CROWDS]


def test_people_from_whom_one_event_in_a_hundred_is_taken_back_fall_at_most_once_in_50_weeks(
    people: list[list[PopulationSeen]],
) -> None:
    assert sum(len(alarms(hours, PopulationFall())) for hours in people) <= 1


def test_people_with_their_days_and_waves_shift_at_most_once_in_20_weeks(people: list[list[PopulationSeen]]) -> None:
    assert sum(len(alarms(hours, PopulationShift())) for hours in people[:2]) <= 1


def test_people_who_fade_do_not_come_to_the_floor_together_in_20_weeks(people: list[list[PopulationSeen]]) -> None:
    assert [alarms(hours, PopulationAtFloor()) for hours in people[1:3]] == [[], []]


def test_people_who_are_forgotten_or_lose_all_that_they_had_are_not_missing(people: list[list[PopulationSeen]]) -> None:
    assert [alarm for hours in people for alarm in alarms(hours, PartitionShrunk())] == []


COUNTED = ((20, 600, 8, 1), (160, 600, 6, 2), (3_000, 300, 5.5, 3), (200, 60, 0.4, 4), (70, 10, 0.1, 5))
"""Of quiet and busy networks, twenty weeks in all: events a report, seconds between two, weeks, and a seed."""


@pytest.mark.parametrize(
    ("name", "counter"), [("dead_letter_surge", "dead_lettered"), ("retraction_surge", "retracting")]
)
def test_one_event_in_fifty_that_is_bad_or_takes_back_surges_at_most_once_a_network_in_20_weeks(
    name: str, counter: str
) -> None:
    found = [
        alarm
        for feed in COUNTED
        for alarm in alarms(counted(counter, 0.02, *feed), FeedSurge(SURGES[name], counter, own_interval_seconds=10))
    ]
    assert len(found) <= 1


def test_one_event_in_twenty_that_comes_again_surges_at_most_once_a_network_in_20_weeks() -> None:
    surge = SURGES["duplicate_surge"]
    found = [alarm for feed in COUNTED for alarm in alarms(repeated(0.05, *feed), DuplicateSurge(surge))]
    assert len(found) <= 1


def test_less_than_one_user_in_200_forgotten_at_a_time_surges_at_most_once_in_20_weeks() -> None:
    detector = ForgetSurge(SURGES["forget_surge"])
    assert len(alarms(forgetting(20_000, 0.0045, 20, seed=1), detector)) <= 1


def test_a_network_with_bursts_and_moods_is_partial_at_most_once_in_three_weeks() -> None:
    """Two weeks are learned, and others held against them, each with bursts of its own."""
    found = []
    for learned, seeds in (
        (Weeks(seed=11, weeks=2, raw_partitions=1), (12, 13)),
        (Weeks(seed=21, weeks=2, sources=(), bursts_a_day=4), (22,)),
    ):
        networks = {"twitter": NetworkSettings(sources=learned.sources)}
        teacher = FeedPartial(networks)
        found += alarms(learned.reports(), teacher)
        for seed in seeds:
            detector = FeedPartial(networks)
            detector.restore(teacher.state())
            found += alarms(replace(learned, seed=seed, weeks=3).reports(first=2 * WEEK), detector)
    assert len(found) <= 1
