import numpy as np
import pytest

from schemas.incident import Slice
from schemas.times import HOUR_MS
from streams.guard.detectors.falls import PopulationFall
from streams.guard.detectors.population import PopulationAtFloor, PopulationShift
from streams.guard.observations import PopulationSeen
from tests.guard.seen import NOW_MS, all_verdicts, feed, histogram, population

DAY_MS = 24 * HOUR_MS


def hourly(bins: list[int], hours: int, *, first: int = 0, partitions: int = 1) -> list[PopulationSeen]:
    """The same users, told every ten minutes of event time."""
    return [
        population(at, partition=partition, partitions=partitions, bins=bins, clock_ms=at)
        for at in range(NOW_MS + first * HOUR_MS, NOW_MS + (first + hours) * HOUR_MS, HOUR_MS // 6)
        for partition in range(partitions)
    ]


def test_everyone_at_the_floor_is_a_critical_fall_with_the_first_record() -> None:
    detector = PopulationFall()
    assert all_verdicts(detector, hourly(histogram(p20=1000), 3)) == []
    at = NOW_MS + 3 * HOUR_MS
    (verdict,) = detector.update(population(at, bins=histogram(p1=1000), clock_ms=at, below=(1000, 1000, 1000)))
    assert verdict.severity == "critical"
    assert verdict.numbers["fallen_10_users"] == 1000
    assert verdict.since_ms == at // HOUR_MS * HOUR_MS


def test_it_ends_when_the_hours_of_the_fall_are_over() -> None:
    detector, at = PopulationFall(), NOW_MS + HOUR_MS
    detector.update(population(at, clock_ms=at, below=(200, 200, 0)))
    detector.update(population(at + 1, clock_ms=at + HOUR_MS, below_before=(200, 200, 0)))
    (end,) = detector.update(population(at + 2, clock_ms=at + 2 * HOUR_MS, below_before=(0, 0, 0)))
    assert not end.firing


def test_while_it_passes_it_says_why_it_is_not_over() -> None:
    detector, at, bins = PopulationFall(), NOW_MS + 3 * HOUR_MS, histogram(p20=1000)
    assert all_verdicts(detector, hourly(bins, 3)) == []
    (fell,) = detector.update(population(at, bins=bins, clock_ms=at, below=(400, 0, 0)))
    (passes,) = detector.update(population(at + 1, bins=bins, clock_ms=at + 1, below=(15, 0, 0)))
    assert "fell 1 point or more" in fell.detail
    assert ("2.0% at most;" in fell.detail, "before it is over" in fell.detail) == (True, False)
    assert "2.0% at most, and half of that before it is over;" in passes.detail
    assert (fell.eases, passes.eases) == (False, True)


def test_a_fall_that_both_hours_make_began_in_the_first_of_them() -> None:
    detector, at = PopulationFall(), NOW_MS + 3 * HOUR_MS
    assert all_verdicts(detector, hourly(histogram(p20=1000), 3)) == []
    [fell] = detector.update(population(at, clock_ms=at, below=(0, 5, 0), below_before=(0, 5, 0)))
    assert fell.since_ms == at // HOUR_MS * HOUR_MS - HOUR_MS


def test_a_few_events_taken_back_are_no_fall() -> None:
    assert all_verdicts(PopulationFall(), [population(below=(19, 9, 4)), population(below=(15, 5, 3))]) == []


def test_whom_an_order_lowered_is_no_fall_but_is_told_of_the_incident_that_it_was_for() -> None:
    detector, at = PopulationFall(), NOW_MS + HOUR_MS
    few = population(at, below=(19, 0, 0), taken_back={"flood": (19, 0, 0)})
    many = population(at, below=(300, 40, 3), taken_back={"flood": (300, 40, 3)})
    assert all_verdicts(detector, [population(at), few]) == []
    [said] = detector.update(many)
    assert (said.incident, said.finding, said.firing) == ("flood", "taken_back", False)
    assert "lowered 300 of 1,000 users (30.0%) by 1 point or more" in said.detail
    assert said.numbers["taken_back_5_users"] == 40
    assert all_verdicts(detector, [many] * 3) == [], "the same is not told again"
    [more] = detector.update(population(at, below=(500, 0, 0), taken_back={"flood": (500, 0, 0)}))
    assert "500 of 1,000" in more.detail


def test_a_fall_beside_an_order_is_seen_with_whom_else_it_lowered() -> None:
    detector, at = PopulationFall(), NOW_MS + HOUR_MS
    detector.update(population(at))
    fell, joins = sorted(
        detector.update(population(at, below=(330, 330, 0), taken_back={"flood": (300, 300, 0)})),
        key=lambda verdict: verdict.incident is not None,
    )
    assert (fell.firing, fell.numbers["fallen_5_users"], fell.numbers["taken_back_5_users"]) == (True, 30, 300)
    assert joins.incident == "flood"


def test_whom_an_order_lowered_in_the_hour_before_is_no_fall_either_and_what_joined_is_over_after_that() -> None:
    detector, at = PopulationFall(), NOW_MS + HOUR_MS
    detector.update(population(at))
    lowered = {"flood": (300, 0, 0)}
    now = population(at, below=(300, 0, 0), taken_back=lowered)
    later = population(at, clock_ms=at + HOUR_MS, below_before=(300, 0, 0), taken_back_before=lowered)
    assert [verdict.incident for verdict in all_verdicts(detector, [now, later])] == ["flood"]
    much_later = population(at, clock_ms=at + 2 * HOUR_MS, below_before=(0, 0, 0))
    assert detector.update(much_later) == []
    again = population(at, clock_ms=at + 2 * HOUR_MS, below=(300, 0, 0), taken_back=lowered)
    assert [verdict.incident for verdict in detector.update(again)] == ["flood"]


@pytest.mark.parametrize("detector", [PopulationShift(), PopulationAtFloor()], ids=["shift", "floor"])
def test_whom_an_order_lowered_shifts_no_population(detector: PopulationShift | PopulationAtFloor) -> None:
    assert all_verdicts(detector, hourly(histogram(p7=300, p20=300), 5)) == []
    at = NOW_MS + 5 * HOUR_MS
    after, lowered = histogram(p1=600), {"flood": (600, 300, 300)}
    assert detector.update(population(at, bins=after, clock_ms=at, taken_back=lowered)) == []
    assert detector.update(population(at + 1, bins=after, clock_ms=at + 1)), "without an order it is found"


def test_a_handful_of_users_is_no_fall_however_small_the_population() -> None:
    assert PopulationFall().update(population(bins=histogram(p7=12), below=(9, 9, 9))) == []


def test_falls_in_partitions_of_different_hours_are_added() -> None:
    detector, at = PopulationFall(), NOW_MS + HOUR_MS
    for partition in range(4):
        detector.update(population(at, partition=partition, partitions=4, clock_ms=at))
    assert detector.update(population(at, partitions=4, clock_ms=at, below=(0, 30, 0))) == []
    later = population(at, partition=1, partitions=4, clock_ms=at + HOUR_MS, below_before=(0, 30, 0))
    assert detector.update(later)[0].numbers["fallen_5_users"] == 60


def caught_up(days: float, below: tuple[int, int, int]) -> list[PopulationSeen]:
    """A network's clock stood, and then goes on by days within an hour of event time of the other one."""
    clocks = {"twitter": NOW_MS - int(days * DAY_MS), "mastodon": NOW_MS}
    hours = [clocks | {"mastodon": NOW_MS + hour * HOUR_MS} for hour in range(3)]
    return [
        *(population(NOW_MS, clocks_ms=of) for of in hours),
        population(NOW_MS, clocks_ms=dict.fromkeys(clocks, NOW_MS + 2 * HOUR_MS), below=below),
    ]


def test_a_clock_that_catches_up_by_days_explains_what_decay_took_in_them() -> None:
    assert all_verdicts(PopulationFall(), caught_up(days=10, below=(900, 0, 0))) == []
    assert all_verdicts(PopulationFall(), caught_up(days=1, below=(900, 0, 0)))
    assert all_verdicts(PopulationFall(), caught_up(days=10, below=(900, 900, 0)))


def test_a_guard_that_has_just_begun_knows_no_clocks_and_leaves_small_falls_out() -> None:
    assert PopulationFall().update(population(below=(900, 0, 0))) == []
    assert PopulationFall().update(population(below=(900, 900, 0)))


def test_a_first_clock_may_come_as_late_as_the_feed_is_old() -> None:
    first = feed(time_ms=NOW_MS - 20 * DAY_MS)
    before = [population(clock_ms=None, clocks_ms={"mastodon": NOW_MS + hour * HOUR_MS}) for hour in range(3)]
    after = population(clocks_ms=dict.fromkeys(("mastodon", "twitter"), NOW_MS + 2 * HOUR_MS), below=(900, 0, 0))
    assert all_verdicts(PopulationFall(), [first, *before, after]) == []
    assert all_verdicts(PopulationFall(), [*before, after])


@pytest.mark.parametrize("detector", [PopulationShift(), PopulationAtFloor()], ids=["shift", "floor"])
def test_a_population_that_goes_to_the_floor_is_seen_with_the_first_record_of_all_partitions(
    detector: PopulationShift | PopulationAtFloor,
) -> None:
    assert all_verdicts(detector, hourly(histogram(p7=300, p20=300), 5, partitions=2)) == []
    verdicts = all_verdicts(detector, hourly(histogram(p1=600), 1, first=5, partitions=2)[:2])
    assert {verdict.slice for verdict in verdicts} == {Slice(), Slice(network="twitter")}
    assert {verdict.severity for verdict in verdicts} == {"critical"}
    # It stays so while they stay there, and ends when they are back.
    assert not any(not of.firing for of in all_verdicts(detector, hourly(histogram(p1=600), 8, first=5, partitions=2)))
    ends = all_verdicts(detector, hourly(histogram(p7=300, p20=300), 1, first=13, partitions=2))
    assert [end.firing for end in ends if end.slice == Slice()][-1] is False


def test_many_new_users_are_no_shift_and_no_crowd_at_the_floor() -> None:
    grown = [*hourly(histogram(p7=500, p20=500), 2), *hourly(histogram(p1=300, p7=600, p20=500), 2, first=2)]
    assert all_verdicts(PopulationShift(), grown) == []
    assert all_verdicts(PopulationAtFloor(), grown) == []


def test_chance_moves_small_populations_without_an_alarm() -> None:
    rng = np.random.default_rng(7)
    shares = np.exp(-np.arange(100) / 12)
    shares /= shares.sum()
    detector = PopulationShift()
    for hour in range(24 * 21):
        at = NOW_MS + hour * HOUR_MS
        bins = rng.multinomial(250, shares).tolist()
        assert detector.update(population(at, bins=bins, clock_ms=at)) == []


def test_a_large_population_that_moves_a_little_is_no_incident() -> None:
    before, after = histogram(p7=500_000, p20=500_000), histogram(p7=530_000, p20=470_000)
    assert all_verdicts(PopulationShift(), [*hourly(before, 2), *hourly(after, 1, first=2)]) == []


def test_a_population_of_long_ago_is_not_compared() -> None:
    years_later = NOW_MS + 3 * 365 * DAY_MS
    seen = [*hourly(histogram(p20=600), 3), population(clock_ms=years_later, bins=histogram(p12=600))]
    assert all_verdicts(PopulationShift(), seen) == []


def test_what_has_been_so_for_a_day_of_event_time_is_accepted() -> None:
    detector = PopulationAtFloor()
    all_verdicts(detector, [*hourly(histogram(p20=600), 3), *hourly(histogram(p1=600), 30, first=3)])
    assert all_verdicts(detector, hourly(histogram(p1=600), 2, first=33)) == []
