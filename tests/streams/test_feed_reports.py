from dataclasses import replace

import msgspec

from schemas.feed_report import BUCKET_MS, VOLUMES_MAX, FeedReport, decode_feed_report
from streams.feed import Feed
from streams.feed_position import CONTROL, COUNTERS, FeedPosition
from streams.feed_reports import due, urgent
from streams.sketches import sketches
from streams.volumes import Counted

AT = ("interactions.twitter.v1", 2)
NOW = 1_000.0


def feed(**fields: object) -> Feed:
    state = FeedPosition([0], dict.fromkeys(COUNTERS, 3), time_ms=5_000, heartbeats_ms={"west": 7_000})
    return replace(Feed("twitter", 9, state, raw_partitions=4, end=12, reported_at=NOW), **fields)  # type: ignore[arg-type]


def told(of: Feed, now: float) -> list[FeedReport]:
    return [decode_feed_report(value) for _, value in due({AT: of}, now, 1.0, 0)]


def forces(of: Feed, now: float) -> bool:
    return urgent({AT: of}, now, 1.0) == {AT}


def one(retracting: int = 0) -> Counted:
    return Counted(1, retracting, *sketches(2))


def test_a_report_says_all_that_is_known_of_its_raw_partition() -> None:
    [report] = told(feed(), NOW + 1)
    shown = msgspec.to_builtins(report)
    assert shown == {
        "network": "twitter",
        "raw_partition": 2,
        "raw_partitions": 4,
        "written": "1970-01-01T00:00:00.000Z",
        "position": 9,
        "lag_records": 3,
        "at_end": False,
        "frozen": False,
        "time": "1970-01-01T00:00:05.000Z",
        "arrival": None,
        "heartbeats": {"west": "1970-01-01T00:00:07.000Z"},
        "counters": dict.fromkeys(COUNTERS, 3),
        "volumes": [],
    }


def test_news_waits_for_a_second_and_for_a_transaction_and_is_told_once() -> None:
    of = feed()
    assert not told(of, NOW + 0.9)
    assert not forces(of, NOW + 60)
    assert len(told(of, NOW + 1)) == 1
    assert not told(of, NOW + 60)
    of.position += 1
    assert len(told(of, NOW + 60)) == 1


def test_a_feed_that_came_to_rest_is_worth_a_transaction_once() -> None:
    of = feed(at_end=True)
    assert not forces(of, NOW + 1)
    assert forces(of, NOW + 2)
    assert [report.at_end for report in told(of, NOW + 2)] == [True]
    assert not forces(of, NOW + 60)
    of.position += 1
    assert forces(of, NOW + 60)


def test_a_freeze_and_a_resume_are_told_at_once_and_once() -> None:
    of = feed()
    for frozen in (True, False):
        of.frozen = frozen
        assert forces(of, NOW)
        assert [report.frozen for report in told(of, NOW)] == [frozen]
        assert not forces(of, NOW + 60)


def test_volumes_are_told_once_and_more_than_a_record_holds_at_once_in_several() -> None:
    of = feed()
    for bucket in range(VOLUMES_MAX):
        of.count(("", bucket * BUCKET_MS), one())
    of.count(("", 0), one(retracting=1))
    assert not forces(of, NOW)
    of.count(("west", 0), one())
    assert forces(of, NOW)
    reports = told(of, NOW)
    assert [len(report.volumes) for report in reports] == [VOLUMES_MAX, 1]
    assert [(volume.events, volume.retracting) for volume in reports[0].volumes[:2]] == [(2, 1), (1, 0)]
    assert not told(of, NOW + 60)


def test_the_control_topic_has_no_report() -> None:
    of = feed(network=CONTROL, at_end=True)
    assert not forces(of, NOW + 60)
    assert not told(of, NOW + 60)
