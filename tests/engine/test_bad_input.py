"""What cannot be taken in goes aside with its reason, on the raw topics and in the lanes; everything else counts."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from schemas.dead_letter import DeadLetter, decode_headers
from schemas.incident import decode_incident
from schemas.packed import Stamp, encode_key
from streams import clients
from streams.progress import Conservation, conservation
from streams.settings import KafkaSettings, LaneSettings, NetworkSettings
from tests.checks import committed
from tests.engine.conftest import Install
from tests.roles import Installation, Role, eventually, start_together

HOUR_MS = 3_600_000
NOW_MS = int(time.time() * 1000)
"""When the tests were collected: they may run many minutes later."""
OTHER_PARTITION, BROKEN_PARTITION = 0, 1


def event(number: int, **fields: Any) -> dict[str, Any]:
    """An interaction that is right, but for the fields given."""
    right = {"id": f"e{number}", "kind": "share", "actor": f"a:{number}", "target": "t:1", "time": NOW_MS}
    return {name: value for name, value in (right | fields).items() if value is not None}


def text(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


GOOD = [text(event(number)) for number in range(5)]
ONE_BAD = event(12, kind="applause")

BAD: list[tuple[bytes | None, str]] = [
    (b'{"id": "e10", "kind": "sha', "broken_json"),
    (b"\xff\xfe", "broken_json"),
    (b"", "broken_json"),
    (None, "broken_json"),
    (text(17), "wrong_type"),
    (text(event(13, actor=17)), "wrong_type"),
    (text(event(14, time=[1])), "wrong_type"),
    (text(event(15, kind="applause")), "unknown_kind"),
    (text(event(16, target=None)), "missing_field"),
    (text(event(17, id="")), "missing_field"),
    (text(event(18, id="i" * 257)), "id_too_long"),
    (text(event(19, actor="ü" * 129)), "user_too_long"),
    (text(event(20, target="a\nb")), "control_character"),
    (text(event(21, time=NOW_MS + HOUR_MS)), "time_in_future"),
    (text(event(22, time="yesterday")), "time_invalid"),
    (text([]), "empty_array"),
    (text([{"kind": "heartbeat", "time": 5}] * 10_001), "too_many_events"),
    (text(event(23)) + b" " * 900_000, "record_too_large"),
]
"""Records, and why each is put aside whole."""

ARRAY = text([event(11), ONE_BAD, event(13)])
"""The middle element is put aside alone."""
UNUSED = [text(event(30, target="a:30")), text({"kind": "heartbeat", "time": NOW_MS}), text(event(0, kind="retract"))]
"""A self-interaction, a heartbeat, a retraction."""

Letter = tuple[DeadLetter, bytes | None]


def letters_of(kafka: KafkaSettings, topic: str, count: int) -> list[tuple[dict[str, str], bytes | None, bytes | None]]:
    """Headers, key and value of the first records of a topic that committed transactions wrote."""
    reader = clients.consumer(kafka, {"group.id": "letters"})
    reader.assign([TopicPartition(topic, 0, 0)])
    try:
        found = reader.consume(count, 20)
        headers: list[Any] = [message.headers() or [] for message in found]
        return [
            ({name: value.decode() for name, value in of}, message.key(), message.value())
            for of, message in zip(headers, found, strict=True)
        ]
    finally:
        reader.close()


@dataclass(frozen=True, slots=True)
class Fed:
    """An installation that has been given all of the above."""

    installation: Installation
    ingest: Role
    worker: Role
    sums: Conservation
    letters: Sequence[Letter]


@pytest.fixture(scope="module")
def fed(install: Install) -> Fed:
    installation = install(lanes=LaneSettings(partitions=2), networks={"twitter": NetworkSettings(raw_partitions=1)})
    [ingest], [worker] = installation.up()
    bad = [value for value, _ in BAD]
    installation.send([*GOOD[:2], *bad, GOOD[2], ARRAY, *UNUSED, *GOOD[3:]])
    [sums] = conservation(installation.wait())
    settings = installation.settings.kafka
    found = letters_of(settings, installation.names.dead_letters("twitter"), len(BAD) + 1)
    letters = [
        (decode_headers([(name, value.encode()) for name, value in headers.items()]), value)
        for headers, _, value in found
    ]
    return Fed(installation, ingest, worker, sums, letters)


def test_what_stands_beside_bad_input_is_processed(fed: Fed) -> None:
    taken_back = 1
    assert fed.installation.users()["t:1"].networks["twitter"].events == len(GOOD) + 2 - taken_back


def test_everything_that_came_in_is_accounted_for(fed: Fed) -> None:
    sums = fed.sums
    assert sums.missing == 0
    assert (sums.read, sums.self_) == (len(GOOD) + len(BAD) + 3 + len(UNUSED), 1)
    # An event that is taken back in its own batch is not credited at all.
    assert sums.applied + sums.withheld == len(GOOD) + 2
    assert (sums.dead_lettered, sums.heartbeat, sums.retracting, sums.retracted) == (len(BAD) + 1, 1, 1, 1)


@pytest.mark.parametrize("at", range(len(BAD)), ids=[f"{reason}-{at}" for at, (_, reason) in enumerate(BAD)])
def test_a_bad_record_is_a_dead_letter_with_its_bytes_reason_and_position(fed: Fed, at: int) -> None:
    value, reason = BAD[at]
    letter, original = next(found for found in fed.letters if found[0].source_offset == 2 + at)
    assert (letter.reason, original) == (reason, value)
    assert (letter.source_topic, letter.source_partition) == (fed.installation.names.interactions("twitter"), 0)
    assert letter.source_index is None
    assert letter.detail
    assert abs(letter.source_time - NOW_MS) < HOUR_MS


def test_a_bad_element_of_an_array_is_a_dead_letter_alone(fed: Fed) -> None:
    letter, original = next(found for found in fed.letters if found[0].source_offset == 2 + len(BAD) + 1)
    assert (letter.reason, letter.source_index, original) == ("unknown_kind", 1, text(ONE_BAD))


def test_the_counts_are_the_same_after_both_roles_were_restarted(fed: Fed) -> None:
    assert fed.ingest.stop() == 0
    assert fed.worker.stop() == 0
    start_together(fed.ingest, fed.worker)
    assert conservation(fed.installation.wait()) == [fed.sums]


def test_an_unreadable_lane_record_goes_aside_and_the_partition_goes_on(fed: Fed) -> None:
    installation, names = fed.installation, fed.installation.names
    producer = clients.producer(installation.settings.kafka)
    producer.produce(names.actors_lane, b"no record", encode_key(Stamp("probe/0", 1)), partition=OTHER_PARTITION)
    producer.produce(names.actors_lane, b"nothing at all", b"no key", partition=OTHER_PARTITION)
    assert producer.flush(10) == 0
    letters = letters_of(installation.settings.kafka, names.lane_dead_letters, 2)
    assert [(key, value) for _, key, value in letters] == [(b"probe/0:1", b"no record"), (b"no key", b"nothing at all")]
    for headers, _, _ in letters:
        assert headers["reason"] == "not_a_packed_record"
        assert headers["detail"]
        assert (headers["source_topic"], headers["source_partition"]) == (names.actors_lane, str(OTHER_PARTITION))
    assert fed.worker.partitions().keys() == {OTHER_PARTITION, BROKEN_PARTITION}


def test_a_gap_in_a_lane_stops_that_partition_alone_and_says_so(fed: Fed) -> None:
    installation, worker = fed.installation, fed.worker
    producer = clients.producer(installation.settings.kafka)
    key = encode_key(Stamp("twitter/0", 1_000))
    producer.produce(installation.names.actors_lane, b"irrelevant", key, partition=BROKEN_PARTITION)
    assert producer.flush(10) == 0
    eventually(lambda: BROKEN_PARTITION in worker.partitions("stopped"), otherwise=worker.log)
    reason = worker.partitions("stopped")[BROKEN_PARTITION]["reason"]
    assert "record 1000 of twitter/0" in reason
    assert "hint:" in reason
    assert worker.partitions().keys() == {OTHER_PARTITION}
    assert worker.get("/readyz").status_code == 503
    eventually(lambda: committed(installation.settings.kafka, installation.names.incidents), otherwise=worker.log)
    [(_, value)] = committed(installation.settings.kafka, installation.names.incidents)
    incident = decode_incident(value or b"")
    assert (incident.kind, incident.slice.partition) == ("lane_gap", BROKEN_PARTITION)
    assert "record 1000 of twitter/0" in incident.evidence[0].detail
    assert [span.lane for span in incident.evidence[0].positions] == ["actors"]

    before = worker.partitions()[OTHER_PARTITION]["counters"]["twitter"]["applied"]
    installation.send([text(event(number, target=f"t:{number}")) for number in range(100, 140)])

    def applied() -> int:
        return int(worker.partitions()[OTHER_PARTITION]["counters"]["twitter"]["applied"])

    eventually(lambda: applied() > before, otherwise=worker.log)


def test_a_stopped_partition_still_answers_with_its_last_good_scores(fed: Fed) -> None:
    assert fed.worker.partitions("stopped").keys() == {BROKEN_PARTITION}
    assert "t:1" in fed.installation.users()


def test_what_waits_before_a_stopped_partition_is_counted_though_nothing_of_it_is_fetched(fed: Fed) -> None:
    def waiting() -> int:
        return int(fed.worker.partitions("stopped")[BROKEN_PARTITION]["lag_records"]["actors"])

    before = waiting()
    producer = clients.producer(fed.installation.settings.kafka)
    for number in range(500):
        key = encode_key(Stamp("twitter/0", 1_001 + number))
        producer.produce(fed.installation.names.actors_lane, b"irrelevant", key, partition=BROKEN_PARTITION)
    assert producer.flush(10) == 0
    eventually(lambda: waiting() >= before + 500, otherwise=fed.worker.log)
