import gzip
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from clout.replay import NativeEvents, Pace, check_first_line, events_of, opened_lines, replay
from clout.sender import PAYLOAD_BYTES_MAX, RAW_PRODUCER_OPTIONS
from clout.snap import RawEvent
from streams import clients, topics
from streams.errors import CloutError
from streams.settings import KafkaSettings
from tests.checks import raw_records

EVENT = b'{"id":"a","kind":"share","actor":"x:1","target":"x:2","time":"2024-05-01T00:00:01Z"}'


def test_native_lines_are_keyed_by_actor_and_timed() -> None:
    [(key, value, time_ms)] = NativeEvents().events([EVENT + b"\n"])
    assert (key, value, time_ms) == (b"x:1", EVENT, 1_714_521_601_000)


@pytest.mark.parametrize("line", [b"nonsense", b'{"actor": 5}', b'{"actor": "\xff"}', b"[1]"])
def test_a_malformed_native_line_comes_unchanged_and_without_a_key(line: bytes) -> None:
    reader = NativeEvents()
    assert list(reader.events([line])) == [(None, line, None)]


def test_an_array_is_one_record_keyed_by_its_first_actor() -> None:
    reader = NativeEvents()
    [(key, value, _)] = reader.events([b"[" + EVENT + b"," + EVENT + b"]"])
    assert key == b"x:1"
    assert value.count(b"share") == 2


def test_empty_native_lines_are_skipped() -> None:
    reader = NativeEvents()
    assert list(reader.events([b"\n", b"  \n"])) == []
    assert (reader.counts.lines, reader.counts.skipped) == (2, 2)


@pytest.mark.parametrize("packed", [False, True])
def test_files_are_read_plain_or_gzipped_whatever_their_name(tmp_path: Path, *, packed: bool) -> None:
    path = tmp_path / "events"
    path.write_bytes(gzip.compress(b"a\nb\n") if packed else b"a\nb\n")
    with opened_lines(path) as (lines, bytes_read):
        assert list(lines) == [b"a\n", b"b\n"]
        assert bytes_read() == path.stat().st_size


def test_pace_follows_event_time() -> None:
    pace = Pace(10)
    assert pace.wait_seconds(1_000, 50.0) == 0
    assert pace.wait_seconds(21_000, 51.0) == pytest.approx(1.0)
    assert pace.wait_seconds(500, 51.0) == 0


@pytest.mark.parametrize(
    ("line", "file_format", "hint"),
    [
        (b"1 2 100\n", "snap", "--kind"),
        (EVENT, "snap", "actor target unix_seconds"),
        (b"1 2 100 RT\n", "native", '"actor"'),
    ],
)
def test_a_file_in_another_format_is_refused_at_once(tmp_path: Path, line: bytes, file_format: str, hint: str) -> None:
    path = tmp_path / "events"
    path.write_bytes(line)
    with pytest.raises(CloutError) as raised:
        check_first_line(path, file_format, kind=None)
    assert hint in raised.value.hint


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(CloutError, match="no-such-file"), opened_lines(tmp_path / "no-such-file"):
        pass


def test_a_replay_keeps_the_order_of_each_actor(
    tmp_path: Path, kafka_settings: KafkaSettings, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(f"{kafka_settings.prefix}raw", partitions=3)
    path = tmp_path / "events.txt"
    path.write_text("".join(f"{number % 7} 99 {100 + number} RT\n" for number in range(500)))
    producer = clients.producer(kafka_settings, RAW_PRODUCER_OPTIONS)
    summary = replay(path, events_of("snap", "net", kind=None, prefix=None), producer, topic)
    assert (summary.lines, summary.sent) == (500, 500)

    times: dict[bytes, list[int]] = {}
    places: dict[bytes, set[int]] = {}
    for partition, found in raw_records(kafka_settings, topic).items():
        for key, value in found:
            if key is not None:
                times.setdefault(key, []).append(value["time"])
                places.setdefault(key, set()).add(partition)
    assert sum(map(len, times.values())) == 500
    assert all(found == sorted(found) for found in times.values())
    assert all(len(found) == 1 for found in places.values())
    assert len(times) == 7


def heartbeat_of(seconds: int) -> dict[str, object]:
    return {"kind": "heartbeat", "source": "replay", "time": seconds * 1000}


def test_every_partition_ends_with_a_heartbeat_of_the_last_event(
    tmp_path: Path, kafka_settings: KafkaSettings, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(f"{kafka_settings.prefix}raw", partitions=5)
    path = tmp_path / "events.txt"
    path.write_text("".join(f"{number % 3} 99 {100 + number} RT\n" for number in range(60)))
    producer = clients.producer(kafka_settings, RAW_PRODUCER_OPTIONS)
    summary = replay(path, events_of("snap", "net", kind=None, prefix=None), producer, topic)

    by_partition = raw_records(kafka_settings, topic)
    assert by_partition.keys() == set(range(5))
    assert [found[-1] for found in by_partition.values()] == [(None, heartbeat_of(159))] * 5
    heartbeats = [value for found in by_partition.values() for key, value in found if key is None]
    assert (summary.sent, summary.heartbeats) == (60, len(heartbeats))


def test_a_replay_at_a_pace_tells_the_time_that_passes_between_events_and_none_that_is_to_come(
    tmp_path: Path, kafka_settings: KafkaSettings, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(f"{kafka_settings.prefix}raw", partitions=2)
    path = tmp_path / "events.txt"
    path.write_text("1 2 1000 RT\n1 2 1250 RT\n")
    producer = clients.producer(kafka_settings, RAW_PRODUCER_OPTIONS)
    replay(path, events_of("snap", "net", kind=None, prefix=None), producer, topic, factor=100)

    by_partition = raw_records(kafka_settings, topic)
    [fed] = [found for found in by_partition.values() if any(key for key, _ in found)]
    [unfed] = [found for found in by_partition.values() if found is not fed]
    assert [value for key, value in fed if key is None] == [value for _, value in unfed]
    first, second = (at for at, (key, _) in enumerate(fed) if key is not None)
    times = [value["time"] for _, value in fed[first + 1 : second]]
    assert first == 0
    assert len(times) > 0
    assert times == sorted(times)
    assert all(1_000_000 < time_ms < 1_250_000 for time_ms in times)
    assert fed[-1] == (None, heartbeat_of(1250))


def test_an_array_is_timed_by_the_last_of_it() -> None:
    later = EVENT.replace(b"01Z", b"03Z")
    [(_, _, time_ms)] = NativeEvents().events([b"[" + EVENT + b"," + later + b"," + EVENT + b"]"])
    assert time_ms == 1_714_521_603_000


def written(topic: str, kafka_settings: KafkaSettings) -> int:
    consumer = clients.consumer(kafka_settings, {"group.id": f"{kafka_settings.prefix}reader"})
    _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
    consumer.close()
    return end


@pytest.fixture
def topic(kafka_settings: KafkaSettings, make_topic: Callable[..., str]) -> str:
    return make_topic(f"{kafka_settings.prefix}raw", **{"max.message.bytes": str(topics.RECORD_BYTES_MAX)})


def test_a_line_too_large_for_kafka_is_left_out_and_named(
    tmp_path: Path, kafka_settings: KafkaSettings, topic: str
) -> None:
    path = tmp_path / "events.json"
    path.write_bytes(b"\n".join([EVENT] * 20 + [b"x" * (PAYLOAD_BYTES_MAX + 1)] + [EVENT] * 30))
    producer = clients.producer(kafka_settings, RAW_PRODUCER_OPTIONS)
    summary = replay(path, NativeEvents(), producer, topic)
    assert summary.too_large == [(21, PAYLOAD_BYTES_MAX + 1)]
    assert summary.sent == written(topic, kafka_settings) - summary.heartbeats == 50


def test_the_largest_line_is_taken(tmp_path: Path, kafka_settings: KafkaSettings, topic: str) -> None:
    path = tmp_path / "events.json"
    incompressible = secrets.token_bytes(PAYLOAD_BYTES_MAX - 2).replace(b"\n", b"x")
    path.write_bytes(b"x" + incompressible + b"x")
    replay(path, NativeEvents(), clients.producer(kafka_settings, RAW_PRODUCER_OPTIONS), topic)
    assert written(topic, kafka_settings) == 1


class Interrupted(NativeEvents):
    def events(self, lines: Iterable[bytes]) -> Iterator[RawEvent]:
        yield from super().events(lines)
        raise KeyboardInterrupt


def test_what_was_sent_before_an_interruption_arrives_and_is_counted(
    tmp_path: Path, kafka_settings: KafkaSettings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clout.heartbeats.EVERY_SECONDS", 3_600.0)
    path = tmp_path / "events.json"
    path.write_bytes((EVENT + b"\n") * 20)
    summary = replay(path, Interrupted(), clients.producer(kafka_settings, RAW_PRODUCER_OPTIONS), topic)
    assert summary.interrupted
    # Not everything was sent, so there is no last heartbeat.
    assert summary.sent == written(topic, kafka_settings) == 20


def test_a_record_that_kafka_does_not_take_is_an_error(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    path = tmp_path / "events.json"
    path.write_bytes(EVENT)
    producer = clients.producer(kafka_settings, {**RAW_PRODUCER_OPTIONS, "message.timeout.ms": 1_500})
    with pytest.raises(CloutError, match="1 of 1 records were not taken"):
        replay(path, NativeEvents(), producer, f"{kafka_settings.prefix}no-such-topic")
