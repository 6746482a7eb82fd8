import time
from collections.abc import Callable

from clout.demo.feed import Feed
from clout.demo.population import Population, PopulationSettings
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


def test_each_partition_of_every_network_hears_once_a_second_how_far_the_population_has_come(
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
    took_seconds = time.monotonic() - began
    feed.stop()
    assert feed.failure is None

    events = 0
    for network in NETWORKS:
        for found in raw_records(kafka_settings, names.interactions(network)).values():
            reached_ms, heartbeats = 0, 0
            for key, value in found:
                assert value["time"] >= reached_ms
                if key is None:
                    assert value == {"kind": "heartbeat", "source": "demo", "time": value["time"]}
                    reached_ms = value["time"]
                    heartbeats += 1
                else:
                    events += 1
            assert reached_ms == feed.time_ms
            assert 2 <= heartbeats <= took_seconds + 1
    assert feed.sent_events == events > 0
