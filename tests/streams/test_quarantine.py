"""One lane record set aside: it takes its place, its events count, and the partition goes on."""

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from schemas.control import CommandRecord, Lane, encode_record
from schemas.incident import Span
from schemas.packed import FORGET
from scorer.targets import fold_targets
from streams import clients, quarantine
from streams.settings import KafkaSettings
from streams.stages import actors as actors_stage
from streams.stages import targets as stage
from streams.task_state import ACTORS, TARGETS
from tests.checks import broken_chains, changes_of, committed
from tests.streams.stops import incidents_of, stopped
from tests.streams.tasks import Lanes, lane_values, some_events

EVENTS = some_events(60)
POISON_MS = EVENTS[25].time


def order(lanes: Lanes, lane: Lane, offset: int, *, accepted: bool = True, partition: int = 0) -> str:
    """Put an order on public record, as ingest does; return its id."""
    record = CommandRecord(
        id=f"{lane}-{offset}-{accepted}",
        command="quarantine",
        subject="",
        key="local",
        reason="of a test",
        issued="2026-01-01T00:00:00.000Z",
        received="2026-01-01T00:00:00.000Z",
        epoch=1,
        accepted=accepted,
        why=None if accepted else "not_permitted",
        partition=partition,
        lane=lane,
        offset=offset,
    )
    producer = clients.producer(lanes.kafka)
    producer.produce(lanes.names.control_record, encode_record(record), record.id.encode())
    assert producer.flush(10) == 0
    return record.id


def letters_of(lanes: Lanes) -> list[tuple[dict[str, str], bytes | None]]:
    reader = clients.consumer(
        lanes.kafka, {"group.id": "letters", "enable.partition.eof": True, "fetch.wait.max.ms": 10}
    )
    reader.assign([TopicPartition(lanes.names.lane_dead_letters, 0, 0)])
    found = []
    while (message := reader.consume(1, 10)[0]).error() is None:
        headers: Any = message.headers() or []
        found.append(({name: value.decode() for name, value in headers}, message.value()))
    reader.close()
    return found


@pytest.fixture
def lanes(kafka_settings: KafkaSettings) -> Lanes:
    return Lanes(kafka_settings)


@pytest.fixture
def poisoned(lanes: Lanes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lanes:
    """Lanes where one of several records of credits breaks a law; a task stopped there."""

    def wrong(entries: Any, *, times: Any, users: Any, **columns: Any) -> Any:
        entered = fold_targets(entries, times=times, users=users, **columns)
        entries["reach"][users[times == POISON_MS], 0] *= 2
        return entered

    lanes.send(EVENTS, rows_max=10)
    with lanes.task(tmp_path) as task:
        lanes.offer(task)
        while batch := task.intake.take(task.state, task.source, rows_max=10, own_in_flight_max=256):
            task.commit(batch)
        monkeypatch.setattr(stage, "fold_targets", wrong)
        stopped(lanes, task)
    return lanes


def suspect_of(lanes: Lanes) -> int:
    suspect = incidents_of(lanes)[-1].evidence[0].suspect
    assert suspect is not None
    return suspect.first


def test_a_record_set_aside_goes_to_dead_letters_and_all_others_count(poisoned: Lanes, tmp_path: Path) -> None:
    lanes, offset = poisoned, suspect_of(poisoned)
    command = order(lanes, "targets", offset)
    original = dict(zip(range(1_000), committed(lanes.kafka, lanes.names.targets_lane), strict=False))
    with lanes.task(tmp_path) as task:
        lanes.work(task)
        counters = task.state.counters["twitter"]
        assert (counters["credited"], counters["applied"], counters["quarantined"]) == (60, 50, 10)
    [(headers, value)] = letters_of(lanes)
    assert (headers["reason"], headers["command"]) == ("quarantined", command)
    assert (headers["source_topic"], headers["source_offset"]) == (lanes.names.targets_lane, str(offset))
    assert headers["detail"] == "a record of credits with 10 rows, of which events: 10 of twitter"
    assert value in {record for _, record in original.values()}
    assert broken_chains(changes_of(lanes.kafka, lanes.names.changes)) == []
    last = incidents_of(lanes)[-1]
    assert (last.status, last.reference) == ("resolved", command)


def test_a_task_that_stands_still_hears_of_orders_that_lie_ahead_alone(poisoned: Lanes, tmp_path: Path) -> None:
    lanes, offset = poisoned, suspect_of(poisoned)
    with lanes.task(tmp_path) as task:
        stopped(lanes, task)
        assert not task.look_for_orders()
        order(lanes, "actors", task.state.positions[ACTORS])
        order(lanes, "targets", offset, accepted=False)
        order(lanes, "targets", offset, partition=7)
        assert not task.look_for_orders()
        order(lanes, "targets", offset)
        assert task.look_for_orders()
        assert not task.look_for_orders()


def test_actors_records_can_be_set_aside_and_their_retractions_count_where_they_were_read(
    lanes: Lanes, tmp_path: Path
) -> None:
    lanes.send(EVENTS[:20])
    lanes.send(EVENTS[20:])
    order(lanes, "actors", 1)
    with lanes.task(tmp_path) as task:
        lanes.work(task)
        counters = task.state.counters["twitter"]
        assert (counters["credited"], counters["applied"], counters["quarantined"]) == (20, 20, 40)
        assert task.state.seen[ACTORS]["twitter/0"] == 2
    [(_, events)] = lane_values(EVENTS[:7], 1)
    [(_, retractions)] = lane_values(EVENTS[:7], 1, retract=True)
    assert quarantine.rows_of(events) == {"twitter": 7}
    assert quarantine.rows_of(retractions) == quarantine.rows_of(b"no record") == {}


def test_commands_are_obeyed_whatever_was_ordered(lanes: Lanes, tmp_path: Path) -> None:
    lanes.send(EVENTS)
    lanes.command(FORGET, "t:1")
    order(lanes, "actors", 1)
    with lanes.task(tmp_path) as task:
        lanes.work(task)
        assert task.state.positions[TARGETS] > 0
    assert lanes.last_change("t:1").cause == "forget"
    assert letters_of(lanes) == []


def test_a_record_at_which_the_fold_breaks_down_is_named_and_can_be_set_aside(
    lanes: Lanes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = actors_stage.fold

    def wrong(records: Any, *args: Any, **options: Any) -> Any:
        if any(POISON_MS in record.columns["time"].tolist() for record in records):
            raise ZeroDivisionError("a bug")
        return right(records, *args, **options)

    monkeypatch.setattr(actors_stage, "fold", wrong)
    lanes.send(EVENTS, rows_max=10)
    with lanes.task(tmp_path) as task:
        assert isinstance(stopped(lanes, task), ZeroDivisionError)
        [incident] = incidents_of(lanes)
        [evidence] = incident.evidence
        assert (incident.kind, evidence.finding, evidence.users) == ("partition_stopped", "ZeroDivisionError", [])
        assert (evidence.suspect, evidence.positions) == (
            Span(lane="actors", first=2, last=2),
            [Span(lane="actors", first=0, last=5)],
        )
        # What was tried left nothing behind.
        assert (task.state.positions[ACTORS], len(task.state.counters)) == (-1, 0)
    command = order(lanes, "actors", 2)
    with lanes.task(tmp_path) as task:
        lanes.work(task)
        assert task.state.counters["twitter"]["applied"] == 50
    assert (incidents_of(lanes)[-1].status, incidents_of(lanes)[-1].reference) == ("resolved", command)
