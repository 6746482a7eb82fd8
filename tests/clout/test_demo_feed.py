import time
from collections.abc import Callable

from clout.demo.feed import Feed
from clout.demo.population import COLLECTORS, Population, PopulationSettings
from clout.sender import RAW_PRODUCER_OPTIONS
from schemas.times import HOUR_MS
from streams import clients
from streams.names import Names
from streams.settings import KafkaSettings
from tests.checks import raw_records
from tests.roles import eventually

BEGIN_MS = 1_750_000_000_000
NETWORKS = ("loud", "quiet")
SECONDS = 2.5


def test_each_partition_hears_once_a_second_from_every_collector_how_far_the_population_has_come(
    kafka_settings: KafkaSettings, make_topic: Callable[..., str]
) -> None:
    names = Names(kafka_settings.prefix, "1")
    for network, partitions in zip(NETWORKS, (2, 3), strict=True):
        make_topic(names.interactions(network), partitions=partitions)
    settings = PopulationSettings(
        people=50, networks=NETWORKS, start_ms=BEGIN_MS, end_ms=BEGIN_MS + 10 * HOUR_MS, events=2_000
    )
    producer = clients.producer(kafka_settings, RAW_PRODUCER_OPTIONS)
    began = time.monotonic()
    feed = Feed(Population(settings), producer, names, factor=10 * HOUR_MS / 1000 / SECONDS)
    feed.start()
    eventually(lambda: not feed.running)
    # Its collectors live on, as in life.
    reached_ms, rested = feed.time_ms, time.monotonic()
    eventually(lambda: feed.time_ms >= reached_ms + 1_500)
    assert time.monotonic() - rested >= 1.4
    feed.stop()
    took_seconds = time.monotonic() - began
    assert feed.failure is None

    events = 0
    for network in NETWORKS:
        for found in raw_records(kafka_settings, names.interactions(network)).values():
            said_ms, heartbeats = dict.fromkeys(COLLECTORS, 0), dict.fromkeys(COLLECTORS, 0)
            for key, value in found:
                assert value["time"] >= said_ms[value["source"]]
                if key is None:
                    assert value == {"kind": "heartbeat", "source": value["source"], "time": value["time"]}
                    said_ms[value["source"]] = value["time"]
                    heartbeats[value["source"]] += 1
                else:
                    events += 1
            assert set(said_ms.values()) == {feed.time_ms}
            assert all(3 <= count <= took_seconds + 1 for count in heartbeats.values())
    assert feed.sent_events == events > 0
