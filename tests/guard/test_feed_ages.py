"""How long feeds have been silent, whatever their event times."""

from streams.guard.feed_ages import FeedAges
from streams.settings import NetworkSettings
from tests.guard.seen import NOW_MS, feed

NETWORKS = {"twitter": NetworkSettings(sources=("east", "west")), "mastodon": NetworkSettings()}
LONG_AGO_MS = NOW_MS - 5 * 365 * 86_400_000


def hear(ages: FeedAges, seconds: int, **heard: object) -> None:
    now_ms = NOW_MS + 1_000 * seconds
    ages.hear(feed(now_ms, **heard).report, now_ms)  # type: ignore[arg-type]


def test_a_history_that_is_replayed_is_as_old_as_its_last_heartbeat_came() -> None:
    ages = FeedAges(NETWORKS, NOW_MS)
    hear(ages, 10, heartbeats_ms={"east": LONG_AGO_MS, "west": LONG_AGO_MS}, arrival_ms=LONG_AGO_MS)
    hear(ages, 30, heartbeats_ms={"east": LONG_AGO_MS + 1, "west": LONG_AGO_MS}, arrival_ms=LONG_AGO_MS)
    assert ages.seconds(NOW_MS + 40_000) == {"twitter": 30.0, "mastodon": 40.0}


def test_a_collector_is_as_old_as_in_the_raw_partition_that_heard_it_last() -> None:
    ages = FeedAges(NETWORKS, NOW_MS)
    for raw_partition, seconds in ((0, 20), (1, 25)):
        beats = dict.fromkeys(("east", "west"), NOW_MS + 1_000 * seconds)
        hear(ages, seconds, raw_partition=raw_partition, heartbeats_ms=beats)
    hear(ages, 28, raw_partition=0, heartbeats_ms=dict.fromkeys(("east", "west"), NOW_MS + 20_000))
    assert ages.seconds(NOW_MS + 30_000)["twitter"] == 5.0


def test_without_collectors_any_arrival_counts_and_what_never_came_is_silent_since_the_beginning() -> None:
    ages = FeedAges(NETWORKS, NOW_MS)
    hear(ages, 12, network="mastodon", arrival_ms=NOW_MS + 11_000)
    hear(ages, 20, network="mastodon", raw_partition=1, arrival_ms=NOW_MS + 1_000)
    hear(ages, 25, network="mastodon", arrival_ms=NOW_MS + 11_000)
    hear(ages, 25, network="unknown", arrival_ms=NOW_MS)
    assert ages.seconds(NOW_MS + 30_000) == {"twitter": 30.0, "mastodon": 10.0}
