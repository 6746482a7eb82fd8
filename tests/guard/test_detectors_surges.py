import numpy as np
import pytest

from schemas.incident import Slice
from streams.guard.detector import Verdict
from streams.guard.detectors import detectors
from streams.guard.detectors.surges import SURGES, DuplicateSurge, FeedSurge, ForgetSurge
from streams.guard.observations import FeedSeen, Moment, Observation
from streams.settings import GuardSettings, NetworkSettings
from tests.guard.seen import NOW_MS, all_verdicts, feed, histogram, population


def dead_letters() -> FeedSurge:
    return FeedSurge(SURGES["dead_letter_surge"], "dead_lettered")


def reports(
    begin: int, end: int, *, bad: float, before: tuple[int, int] = (0, 0), rate: int = 100, step: int = 1
) -> list[FeedSeen]:
    """A report each step; `before` are the counters so far, read and bad."""
    rng = np.random.default_rng([1, begin])
    read, lost = before
    seen = []
    for second in range(begin, end, step):
        came = int(rng.poisson(rate * step))
        read, lost = read + came, lost + int(rng.binomial(came, bad))
        seen.append(feed(NOW_MS + 1_000 * second, counters={"read": read, "dead_lettered": lost, "retracting": lost}))
    return seen


def counted(seen: list[FeedSeen]) -> tuple[int, int]:
    counters = seen[-1].report.counters
    return counters["read"], counters["dead_lettered"]


def fault(detector: FeedSurge, *, usual: float, bad: float) -> list[Verdict]:
    clean = reports(0, 3_600, bad=usual, step=5)
    assert all_verdicts(detector, clean) == []
    return all_verdicts(detector, reports(3_600, 3_720, bad=bad, before=counted(clean)))


def test_half_garbage_is_critical_within_a_minute() -> None:
    verdicts = fault(dead_letters(), usual=0.01, bad=0.5)
    assert verdicts[0].slice == Slice(network="twitter")
    assert verdicts[-1].severity == "critical"
    clean = reports(0, 3_600, bad=0.01, step=5)
    times = [
        seen.now_ms - NOW_MS - 3_600_000
        for detector in [dead_letters()]
        for seen in [*clean, *reports(3_600, 3_720, bad=0.5, before=counted(clean))]
        if any(of.severity == "critical" for of in detector.update(seen))
    ]
    assert times[0] <= 60_000


def test_a_surge_ends_once_a_minute_after_it_is_over() -> None:
    detector = dead_letters()
    clean = reports(0, 3_600, bad=0.01, step=5)
    garbage = reports(3_600, 3_720, bad=0.5, before=counted(clean))
    assert all_verdicts(detector, [*clean, *garbage])
    after = reports(3_720, 3_800, bad=0.01, before=counted(garbage))
    *falling, ended = all_verdicts(detector, after)
    assert [verdict.firing for verdict in falling] == [True] * len(falling)
    assert not ended.firing
    assert all_verdicts(detector, reports(3_800, 5_000, bad=0.01, before=counted(after))) == []


def after_a_fault(bad: float, seconds: int) -> tuple[list[Verdict], list[Verdict]]:
    """What is said during a fault, and in the minute after it, when a fifth as much comes and is good."""
    detector = dead_letters()
    clean = reports(0, 3_600, bad=0.01, step=5)
    garbage = reports(3_600, 3_600 + seconds, bad=bad, before=counted(clean))
    good = reports(3_600 + seconds, 3_660 + seconds, bad=0.01, rate=20, before=counted(garbage))
    assert all_verdicts(detector, clean) == []
    during = all_verdicts(detector, [*garbage, good[0]])
    return during, all_verdicts(detector, good[1:])


def test_a_surge_that_is_over_becomes_no_graver_as_good_events_leave_the_window() -> None:
    during, after = after_a_fault(0.8, 20)
    assert {verdict.severity for verdict in during} == {"major"}
    assert {verdict.severity for verdict in after} <= {"major"}


def test_a_surge_that_is_over_does_not_begin_as_good_events_leave_the_window() -> None:
    during, after = after_a_fault(0.25, 10)
    assert not during
    assert not after


@pytest.mark.parametrize(("rate", "bad"), [(100, 0.5), (100, 0.1), (5, 0.5), (1, 0.5)])
def test_a_surge_that_goes_on_is_found_as_soon_as_its_window_shows_it(
    rate: int, bad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = reports(0, 3_600, bad=0.01, step=5, rate=rate)
    garbage = reports(3_600, 4_200, bad=bad, rate=rate, before=counted(clean))
    said = all_verdicts(dead_letters(), [*clean, *garbage])
    monkeypatch.setattr(FeedSurge, "_goes_on", lambda *_: True)
    by_windows_alone = all_verdicts(dead_letters(), [*clean, *garbage])
    assert said == by_windows_alone
    assert said


def test_a_feed_with_a_tenth_of_bad_events_each_day_learns_that() -> None:
    detector = dead_letters()
    day = reports(0, 90_000, bad=0.1, rate=10, step=10)
    verdicts = all_verdicts(detector, day)
    assert verdicts[0].firing
    assert not verdicts[-1].firing
    assert all_verdicts(detector, reports(90_000, 130_000, bad=0.1, rate=10, step=10, before=counted(day))) == []


@pytest.mark.parametrize("name", ["dead_lettered", "retracting"])
def test_usual_shares_make_no_alarm_in_days(name: str) -> None:
    detector = FeedSurge(SURGES["dead_letter_surge" if name == "dead_lettered" else "retraction_surge"], name)
    assert all_verdicts(detector, reports(0, 2 * 86_400, bad=0.02, rate=3, step=20)) == []


def test_counters_that_go_back_are_begun_anew() -> None:
    detector = dead_letters()
    all_verdicts(detector, reports(0, 600, bad=0.01, before=(10**9, 10**6)))
    assert all_verdicts(detector, reports(600, 1_200, bad=0.01)) == []


def test_a_few_bad_events_of_a_small_feed_are_no_surge() -> None:
    assert all_verdicts(dead_letters(), reports(0, 600, bad=0.5, rate=0)) == []
    assert (
        all_verdicts(dead_letters(), [feed(counters={"read": 0}), feed(counters={"read": 29, "dead_lettered": 29})])
        == []
    )


def told(second: int, **outcomes: int) -> Observation:
    return population(NOW_MS + 1_000 * second, sequence=second + 1, outcomes={"twitter": outcomes})


def test_a_storm_of_replays_is_a_surge_of_duplicates() -> None:
    detector = DuplicateSurge(SURGES["duplicate_surge"])
    clean = [told(second, credited=100 * second, duplicate=second) for second in range(0, 1_200, 3)]
    assert all_verdicts(detector, clean) == []
    storm = [told(1_200 + at, credited=120_000 + 100 * at, duplicate=1_200 + 300 * at) for at in range(0, 180, 3)]
    verdicts = all_verdicts(detector, storm)
    assert verdicts[0].slice == Slice(network="twitter")
    assert verdicts[-1].numbers["share"] > 0.5


def forgotten(second: int, users: int) -> Observation:
    return population(
        NOW_MS + 1_000 * second, sequence=second + 1, bins=histogram(p7=10_000 - users), changes={"forget": users}
    )


def test_many_users_forgotten_at_once_are_a_surge() -> None:
    detector = ForgetSurge(SURGES["forget_surge"])
    few = [forgotten(second, second // 60) for second in range(0, 3_600, 3)]
    assert all_verdicts(detector, few) == []
    verdicts = all_verdicts(detector, [forgotten(3_600 + at, 60 + 5 * at) for at in range(0, 120, 3)])
    assert verdicts[0].slice == Slice()
    assert verdicts[0].numbers["hits"] >= 50
    end = all_verdicts(detector, [Moment(NOW_MS + 4_000_000 + 10_000 * at) for at in range(70)])
    assert not end[-1].firing


def test_a_guard_that_begins_late_does_not_count_what_was_before() -> None:
    detector = ForgetSurge(SURGES["forget_surge"])
    assert all_verdicts(detector, [forgotten(0, 5_000), forgotten(30, 5_001), forgotten(60, 5_002)]) == []


@pytest.mark.parametrize(("events_a_minute", "spacing_seconds"), [(0, 10.0), (0, 10.6), (1, 10.0), (20, 10.3)])
def test_what_the_guards_own_accounts_take_back_is_no_surge(events_a_minute: int, spacing_seconds: float) -> None:
    found = detectors({"twitter": NetworkSettings()}, GuardSettings(canary_interval_seconds=10))
    detector = next(of for of in found if of.name == "retraction_surge")
    seen: list[Verdict] = []
    for second in range(0, 7_200, 2):
        acts = int(second / spacing_seconds)
        # Three acts, and then the same three are taken back.
        retracting = acts // 6 * 3 + max(0, acts % 6 - 3)
        read = acts + second * events_a_minute // 60
        seen += detector.update(feed(now_ms=NOW_MS + 1_000 * second, counters={"read": read, "retracting": retracting}))
    assert seen == []


def test_a_quiet_network_whose_people_take_back_much_is_one_still() -> None:
    detector = FeedSurge(SURGES["retraction_surge"], "retracting", 10.0)
    seen: list[Verdict] = []
    for second in range(0, 1_200, 2):
        acts, real = second // 10, 0 if second < 600 else (second - 600) // 4
        counters = {"read": acts + 2 * real, "retracting": acts // 6 * 3 + max(0, acts % 6 - 3) + real}
        seen += detector.update(feed(now_ms=NOW_MS + 1_000 * second, counters=counters))
    assert [verdict.firing for verdict in seen][:1] == [True]
