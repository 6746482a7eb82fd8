from typing import Any

import msgspec
import pytest

from clout.population import newest_populations
from schemas.population import NetworkPopulation, Population, Shift, Steps, encode_population
from scorer.standing import histogram_of, percentile
from streams import clients, topics
from streams.errors import CloutError
from streams.names import Names
from streams.settings import KafkaSettings, LaneSettings

_NONE = Steps(points_1=0, points_5=0, points_10=0)
_AT = "2012-07-04T08:00:00.000Z"


def a_population(partition: int, sequence: int, bins: dict[int, int], *, partitions: int = 2) -> Population:
    histogram = [bins.get(at, 0) for at in range(100)]
    users = sum(bins.values())
    return Population(
        partition=partition,
        partitions=partitions,
        model="1",
        worker="127.0.0.1:1",
        sequence=sequence,
        written=_AT,
        users=users,
        histogram=histogram,
        networks={"net": NetworkPopulation(users=users, histogram=histogram[::-1], clock=None)},
        shift=Shift(hour=_AT, below=_NONE, above=_NONE, gone=0),
        shift_before=None,
        changes={},
    )


class Written:
    """The topic of populations, and a hand that writes to it in transactions as tasks do."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.names = Names(kafka.prefix, "1")
        specs = topics.specification(self.names, LaneSettings(partitions=1), {})
        topics.create(kafka, [spec for spec in specs if spec.name == self.names.population])
        options: dict[str, Any] = {"transactional.id": f"{kafka.prefix}hand"}
        self.producer = clients.producer(kafka, options)
        self.producer.init_transactions(10)

    def write(self, populations: list[Population], *, each_in_its_own: bool = False, abort: bool = False) -> None:
        self.producer.begin_transaction()
        for number, population in enumerate(populations):
            if each_in_its_own and number:
                self.producer.commit_transaction(10)
                self.producer.begin_transaction()
            self.producer.produce(
                self.names.population, encode_population(population), str(population.partition).encode()
            )
        if abort:
            self.producer.abort_transaction(10)
        else:
            self.producer.commit_transaction(10)

    def newest(self, kafka: KafkaSettings) -> dict[int, int]:
        return {number: found.sequence for number, found in newest_populations(kafka, self.names).items()}


def test_the_newest_committed_record_of_each_partition_counts(kafka_settings: KafkaSettings) -> None:
    written = Written(kafka_settings)
    assert written.newest(kafka_settings) == {}
    written.write([a_population(0, 1, {3: 1}), a_population(1, 1, {3: 2}), a_population(0, 2, {3: 3})])
    written.write([a_population(1, 2, {3: 4})], abort=True)
    assert written.newest(kafka_settings) == {0: 2, 1: 1}


def test_a_partition_that_was_silent_for_long_is_found_far_back(kafka_settings: KafkaSettings) -> None:
    written = Written(kafka_settings)
    written.write([a_population(1, 7, {})])
    written.write([a_population(0, number, {}) for number in range(1, 200)], each_in_its_own=True)
    assert written.newest(kafka_settings) == {0: 199, 1: 7}


def test_a_record_of_another_version_is_an_error_that_says_so(kafka_settings: KafkaSettings) -> None:
    written = Written(kafka_settings)
    written.producer.begin_transaction()
    written.producer.produce(written.names.population, msgspec.json.encode({"partition": 0}), b"0")
    written.producer.commit_transaction(10)
    with pytest.raises(CloutError, match="cannot be read") as raised:
        written.newest(kafka_settings)
    assert "partitions" in raised.value.detail


def test_partitions_add_up_over_all_and_by_network() -> None:
    populations = [a_population(0, 1, {0: 2, 99: 1}), a_population(1, 1, {0: 1, 50: 4})]
    assert [histogram_of(populations)[at] for at in (0, 50, 99)] == [3, 4, 1]
    assert [histogram_of(populations, "net")[at] for at in (99, 49, 0)] == [3, 4, 1]
    assert sum(histogram_of(populations, "unheard of")) == 0


@pytest.mark.parametrize(
    ("score", "lower"),
    [(1.0, 0), (1.9, 0), (2.0, 0.2), (27.0, 0.2), (27.9, 0.2), (28.0, 0.6), (99.9, 0.8), (100.0, 0.9)],
)
def test_the_same_whole_points_count_as_not_lower(score: float, lower: float) -> None:
    bins = {0: 2, 26: 4, 50: 2, 98: 1, 99: 1}
    histogram = [bins.get(at, 0) for at in range(100)]
    assert percentile(histogram, score) == pytest.approx(lower)
