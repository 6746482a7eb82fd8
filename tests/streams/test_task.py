"""The partition task on a real broker: what a batch leaves behind, and what a crash at each point leaves."""

import time
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import numpy as np
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from schemas.change import change_headers, decode_change
from schemas.packed import FORGET
from schemas.users import partition_of
from scorer.model import Model
from scorer.reference import Event, Reference
from streams import changelog, clients, feed_position
from streams.errors import CloutError
from streams.feed_position import FeedPosition
from streams.queries import user_states
from streams.settings import KafkaSettings
from streams.stages import targets as targets_stage
from streams.store import Rows, Store
from streams.task import Task, TaskLostError
from streams.task_state import ACTORS, COUNTERS, TARGETS, TaskState
from streams.transaction import commit_transaction
from tests.checks import broken_chains, changes_of, committed, committed_messages, users_of, wrong_sums
from tests.garbage import left_in_cycles
from tests.streams.tasks import Lanes, some_events

EVENTS = some_events(60)
DAY_SECONDS = 86_400


class CrashError(Exception):
    """The process is gone."""


def crash(*_: Any, **__: Any) -> NoReturn:
    raise CrashError


@pytest.fixture
def lanes(kafka_settings: KafkaSettings) -> Lanes:
    return Lanes(kafka_settings)


def rows_of(store: Store | None) -> dict[bytes, Any]:
    """Everything a store holds, but what only this copy knows about itself."""
    assert store is not None
    rows: dict[bytes, Any] = {key: row for table in Rows._fields for key, row in store.scan(table)}
    return rows | {b"meta": store.meta()}


def exported(task: Task) -> dict[str, Any]:
    assert task.store is not None
    rows = task.store.scan_targets(b"", 10_000)
    return users_of(msgspec.json.encode(state) for state in user_states(rows, task.state, task.parameters))


def expected_sums(events: list[Event]) -> Any:
    reference = Reference(Model())
    for event in events:
        reference.apply(event)
    return reference.sums


def changes_count(lanes: Lanes) -> int:
    return len(committed(lanes.kafka, lanes.names.changes))


def test_batches_of_any_size_leave_the_sums_of_the_reference_and_whole_chains(lanes: Lanes, tmp_path: Path) -> None:
    with lanes.task(tmp_path) as task:
        lanes.send(EVENTS[:40], rows_max=7)
        lanes.work(task, rows_max=10)
        lanes.send(EVENTS[40:])
        lanes.work(task)
        assert wrong_sums(exported(task), expected_sums(EVENTS), influence_floor=0.1) == []
        changes = changes_of(lanes.kafka, lanes.names.changes)
        assert broken_chains(changes) == []
        last = {user: (theirs[-1].score, theirs[-1].sequence) for user, theirs in changes.items()}
        assert last == {user: (state.score, state.sequence) for user, state in exported(task).items()}
        assert task.state.counters == {"twitter": dict.fromkeys(COUNTERS, 0) | {"credited": 60, "applied": 60}}


def test_a_batch_leaves_nothing_that_only_the_collector_of_cycles_frees(lanes: Lanes, tmp_path: Path) -> None:
    """It would keep whole batches: a worker grew by 290 bytes an event so."""
    with lanes.task(tmp_path) as task:
        lanes.send(EVENTS[:30])
        lanes.work(task)
        lanes.send(EVENTS[30:])
        for _ in (ACTORS, TARGETS):
            assert lanes.offer(task) > 0
            assert left_in_cycles(lambda: commit_all(task)) == {}
        assert task.state.counters["twitter"]["applied"] == 60


def commit_all(task: Task) -> None:
    while batch := task.intake.take(task.state, task.source, rows_max=50_000, own_in_flight_max=256):
        task.commit(batch)


def test_every_change_has_headers_of_its_own_and_a_tombstone_has_none(lanes: Lanes, tmp_path: Path) -> None:
    with lanes.task(tmp_path) as task:
        lanes.send(EVENTS)
        lanes.work(task)
        lanes.command(FORGET, EVENTS[0].target)
        lanes.work(task)
    messages = list(committed_messages(lanes.kafka, lanes.names.changes))
    changes = [(message.headers(), decode_change(value)) for message in messages if (value := message.value())]
    source = f"/{lanes.names.app_id}/1".encode()
    assert [headers for headers, _ in changes] == [
        change_headers(change.user, change.sequence, source) for _, change in changes
    ]
    assert len({dict(headers or [])["ce_id"] for headers, _ in changes}) == len(changes) > 20
    assert [message.headers() for message in messages if message.value() is None] == [None]


def test_two_partitions_send_credits_to_each_other(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    lanes = Lanes(kafka_settings, partitions=2)
    with lanes.task(tmp_path, 0) as one, lanes.task(tmp_path, 1) as other:
        lanes.send(EVENTS)
        lanes.work(one, other)
        assert wrong_sums(exported(one) | exported(other), expected_sums(EVENTS), influence_floor=0.1) == []
        assert one.state.seen[TARGETS].keys() == {"actors/0", "actors/1"}
        assert one.state.sent[1] == other.state.seen[TARGETS]["actors/0"]


def test_restore_into_an_empty_directory_gives_the_same_rows(lanes: Lanes, tmp_path: Path) -> None:
    lanes.send(EVENTS)
    with lanes.task(tmp_path / "a") as task:
        lanes.work(task, rows_max=20)
        before, state = rows_of(task.store), task.state
    with lanes.task(tmp_path / "b") as other:
        assert rows_of(other.store) == before
        assert other.state == state


def test_a_task_that_comes_back_to_its_files_restores_nothing_and_goes_on(lanes: Lanes, tmp_path: Path) -> None:
    lanes.send(EVENTS[:30])
    with lanes.task(tmp_path) as task:
        lanes.work(task)
    lanes.send(EVENTS[30:])
    again = Task(0, lanes.shared(tmp_path))
    assert again.open() == 0
    lanes.work(again)
    assert wrong_sums(exported(again), expected_sums(EVENTS), influence_floor=0.1) == []
    again.close()


def test_a_second_owner_fences_the_first_which_leaves_nothing(lanes: Lanes, tmp_path: Path) -> None:
    lanes.send(EVENTS)
    with lanes.task(tmp_path / "a") as zombie:
        assert lanes.offer(zombie) == 1
        batch = zombie.intake.take(zombie.state, zombie.source, rows_max=1, own_in_flight_max=0)
        with lanes.task(tmp_path / "b") as owner:
            with pytest.raises(TaskLostError):
                zombie.commit(batch)
            assert committed(lanes.kafka, lanes.names.state) == []
            assert committed(lanes.kafka, lanes.names.targets_lane) == []
            assert zombie.state.positions == {ACTORS: -1, TARGETS: -1}
            assert rows_of(zombie.store) == {b"meta": None}
            lanes.work(owner)
            assert wrong_sums(exported(owner), expected_sums(EVENTS), influence_floor=0.1) == []


def test_a_crash_before_the_commit_leaves_nothing_and_the_next_owner_aborts_it(
    lanes: Lanes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes.send(EVENTS)
    with lanes.task(tmp_path / "a") as task:
        lanes.offer(task)
        batch = task.intake.take(task.state, task.source, rows_max=50_000, own_in_flight_max=256)

        def crash_with_all_written(producer: Producer, *_: Any) -> NoReturn:
            producer.flush()
            raise CrashError

        monkeypatch.setattr("streams.task.commit_transaction", crash_with_all_written)
        with pytest.raises(CrashError):
            task.commit(batch)
        monkeypatch.undo()
        before = changelog.watermarks(lanes.kafka, lanes.names.state, 0)
        with lanes.task(tmp_path / "b") as owner:
            assert before == (0, 0)
            assert changelog.watermarks(lanes.kafka, lanes.names.state, 0)[1] > len({event.actor for event in EVENTS})
            assert committed(lanes.kafka, lanes.names.state) == []
            assert committed(lanes.kafka, lanes.names.targets_lane) == []
            lanes.work(owner)
            assert wrong_sums(exported(owner), expected_sums(EVENTS), influence_floor=0.1) == []
            assert broken_chains(changes_of(lanes.kafka, lanes.names.changes)) == []


def test_a_crash_between_the_transaction_and_the_files_is_caught_up_from_the_changelog(
    lanes: Lanes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes.send(EVENTS[:30])
    with lanes.task(tmp_path) as task:
        lanes.work(task)
        lanes.send(EVENTS[30:])
        lanes.offer(task)
        batch = task.intake.take(task.state, task.source, rows_max=50_000, own_in_flight_max=256)
        monkeypatch.setattr(task.store, "write", crash)
        with pytest.raises(CrashError):
            task.commit(batch)
    again = Task(0, lanes.shared(tmp_path))
    restored = again.open()
    assert restored is not None
    assert restored > 0
    assert again.state.positions[ACTORS] == batch[-1].offset
    lanes.work(again)
    assert again.state.counters["twitter"] == dict.fromkeys(COUNTERS, 0) | {"credited": 60, "applied": 60}
    assert wrong_sums(exported(again), expected_sums(EVENTS), influence_floor=0.1) == []
    again.close()


def test_a_transaction_touches_only_the_partitions_that_have_rows(
    kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    lanes = Lanes(kafka_settings, partitions=3)
    event = EVENTS[0]
    acting, credited = (partition_of(user.encode(), 3) for user in (event.actor, event.target))
    lanes.send([event])
    with lanes.task(tmp_path, acting) as task:
        lanes.offer(task)
        task.commit(task.intake.take(task.state, task.source, rows_max=9, own_in_flight_max=9))
        lanes.settle(lanes.names.targets_lane)
        ends = [changelog.watermarks(lanes.kafka, lanes.names.targets_lane, at)[1] for at in range(3)]
        assert [at for at, end in enumerate(ends) if end] == [credited]
        assert committed(lanes.kafka, lanes.names.changes) == []


class Committing:
    """As much of a producer as a commit needs: it fails as told before it succeeds."""

    def __init__(self, *errors: KafkaError) -> None:
        self.left = list(errors)

    def commit_transaction(self, _seconds: float) -> None:
        if self.left:
            raise KafkaException(self.left.pop(0))


def test_a_commit_that_may_be_retried_is_retried() -> None:
    producer: Any = Committing(*[KafkaError(KafkaError._TIMED_OUT, retriable=True)] * 3)
    commit_transaction(producer, 0, {})
    assert producer.left == []


@pytest.mark.parametrize("retriable", [True, False])
def test_a_commit_that_fails_for_good_is_given_up(retriable: bool) -> None:
    errors = [KafkaError(KafkaError._FENCED, retriable=retriable)] * 20
    producer: Any = Committing(*errors)
    with pytest.raises(KafkaException):
        commit_transaction(producer, 0, {})
    assert (len(producer.left) == len(errors) - 1) is not retriable


def test_a_record_read_again_is_skipped_by_position(lanes: Lanes, tmp_path: Path) -> None:
    lanes.send(EVENTS)
    with lanes.task(tmp_path) as task:
        lanes.work(task)
        task.intake.open(task.state, 99)
        assert not task.intake.takes(ACTORS, 0, 99)
        assert not task.intake.takes(TARGETS, 0, 99)


def test_a_batch_that_breaks_a_law_is_not_written_at_all(
    lanes: Lanes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes.send(EVENTS[:30])
    with lanes.task(tmp_path) as task:
        lanes.work(task)
        before, changes, state = rows_of(task.store), changes_count(lanes), task.state
        right = targets_stage.fold

        def halving(*args: Any, **kwargs: Any) -> targets_stage.TargetsOutcome:
            outcome = right(*args, **kwargs)
            outcome.after.entries["reach"] /= 2
            return outcome

        monkeypatch.setattr(targets_stage, "fold", halving)
        lanes.send(EVENTS[30:])
        with pytest.raises(CloutError, match="breaks the law"):
            lanes.work(task)
        assert changes_count(lanes) == changes
        assert {key: row for key, row in rows_of(task.store).items() if key in before and b"\0" not in key} != {}
        assert task.state.positions[TARGETS] == state.positions[TARGETS]
        assert exported(task) == exported_of(before, state)
        counted = task.shared.metrics.registry.collect()
        assert any(s.value for m in counted if m.name == "clout_law_violations" for s in m.samples)


def exported_of(rows: dict[bytes, Any], state: TaskState) -> dict[str, Any]:
    targets = [(key, row) for key, row in sorted(rows.items()) if b"\0" not in key and key != b"meta"]
    return users_of(msgspec.json.encode(state) for state in user_states(targets, state, Model().parameters))


def test_a_restore_that_is_told_to_stop_opens_nothing(lanes: Lanes, tmp_path: Path) -> None:
    lanes.send(EVENTS)
    with lanes.task(tmp_path / "a") as task:
        lanes.work(task)
    other = Task(0, lanes.shared(tmp_path / "b"))
    other.stop_restore.set()
    assert other.open() is None
    other.close()


def test_a_local_copy_that_is_too_old_is_rebuilt(lanes: Lanes, tmp_path: Path) -> None:
    lanes.send(EVENTS)
    with lanes.task(tmp_path) as task:
        lanes.work(task)
        rows, local = rows_of(task.store), task.store.local() if task.store else None
        assert local is not None
        assert task.store is not None
        # As if the changelog had held this user's deletion, which compaction took away meanwhile.
        task.store.write(Rows([], [(b"gone", b"x" * 8)]), None, local)
    with lanes.task(tmp_path, clock=lambda: time.time() + 4 * DAY_SECONDS) as again:
        assert rows_of(again.store) == rows


def test_a_copy_that_is_not_too_old_is_kept(lanes: Lanes, tmp_path: Path) -> None:
    lanes.send(EVENTS)
    with lanes.task(tmp_path) as task:
        lanes.work(task)
    again = Task(0, lanes.shared(tmp_path, clock=lambda: time.time() + 3 * DAY_SECONDS))
    assert again.open() == 0
    again.close()


# Refusals: loud, with the way out --------------------------------------------------------------------------------


@pytest.fixture
def worked(lanes: Lanes, tmp_path: Path) -> Lanes:
    """Lanes that a task, whose files are in `tmp_path`, has worked on."""
    lanes.send(EVENTS[:30], rows_max=5)
    with lanes.task(tmp_path) as task:
        lanes.work(task)
    return lanes


def refusal(lanes: Lanes, directory: Path, **shared: Any) -> CloutError:
    with pytest.raises(CloutError) as raised, lanes.task(directory, **shared):
        pass
    assert raised.value.hint
    return raised.value


def test_a_lane_that_begins_after_the_stored_position_is_refused(worked: Lanes, tmp_path: Path) -> None:
    worked.send(EVENTS[30:], rows_max=5)
    position = TopicPartition(worked.names.interactions("twitter"), 0, 60, feed_position.encode(FeedPosition([12])))
    group = clients.consumer(worked.kafka, {"group.id": worked.names.ingest_group})
    group.commit(offsets=[position], asynchronous=False)
    group.close()
    place = TopicPartition(worked.names.actors_lane, 0, 9)
    admin = clients.admin(worked.kafka)
    [deleted] = admin.delete_records([place]).values()
    assert deleted.result(10).low_watermark == 9
    error = refusal(worked, tmp_path)
    assert "begins after the next record to read" in error.error
    assert "it begins at offset 9, the next would be 6" in error.detail
    assert "records 7 to 9 of twitter/0 are gone" in error.detail


def test_lanes_whose_records_were_all_read_before_they_went_are_no_reason_to_refuse(
    worked: Lanes, tmp_path: Path
) -> None:
    position = TopicPartition(worked.names.interactions("twitter"), 0, 30, feed_position.encode(FeedPosition([6])))
    group = clients.consumer(worked.kafka, {"group.id": worked.names.ingest_group})
    group.commit(offsets=[position], asynchronous=False)
    group.close()
    admin = clients.admin(worked.kafka)
    lanes = (worked.names.actors_lane, worked.names.targets_lane)
    ends = [TopicPartition(lane, 0, changelog.watermarks(worked.kafka, lane, 0)[1]) for lane in lanes]
    for deleted in admin.delete_records(ends).values():
        deleted.result(10)
    with worked.task(tmp_path) as task:
        worked.send(EVENTS[30:])
        worked.work(task)
        assert task.state.counters["twitter"]["applied"] == 60


def test_a_lane_that_was_made_anew_is_refused(worked: Lanes, tmp_path: Path) -> None:
    worked.remake(worked.names.targets_lane)
    assert "is not the one that this partition has been reading" in refusal(worked, tmp_path).error


def test_a_changelog_that_was_made_anew_is_refused(worked: Lanes, tmp_path: Path) -> None:
    worked.remake(worked.names.state)
    assert "is not the one that the local state was made from" in refusal(worked, tmp_path).error


def test_an_empty_changelog_of_a_partition_that_was_worked_on_is_refused(worked: Lanes, tmp_path: Path) -> None:
    worked.remake(worked.names.state)
    group = clients.consumer(worked.kafka, {"group.id": worked.names.app_id})
    group.commit(offsets=[TopicPartition(worked.names.actors_lane, 0, 6)], asynchronous=False)
    group.close()
    assert "is empty, but this partition has been worked on" in refusal(worked, tmp_path / "elsewhere").error


def test_other_parameters_under_the_same_model_name_are_refused(worked: Lanes, tmp_path: Path) -> None:
    error = refusal(worked, tmp_path, model=Model(alpha=0.5))
    assert "has state of another model" in error.error
    assert "model.name" in error.hint


def test_a_refusal_changes_nothing(worked: Lanes, tmp_path: Path) -> None:
    refusal(worked, tmp_path, model=Model(alpha=0.5))
    with worked.task(tmp_path) as task:
        assert task.state.counters["twitter"]["applied"] == 30


def test_every_topic_takes_the_largest_request_of_a_task(lanes: Lanes, tmp_path: Path) -> None:
    """Also where nothing of it can be compressed."""
    names, random = lanes.names, np.random.default_rng(1)
    written = {
        *(names.targets_lane, names.changes, names.canaries, names.state),
        *(names.population, names.incidents, names.lane_dead_letters),
    }
    record = random.bytes(100_000)
    with lanes.task(tmp_path) as task:
        assert task._opened is not None
        producer = task._opened.producer
        ends = {topic: changelog.watermarks(lanes.kafka, topic, 0)[1] for topic in written}

        producer.begin_transaction()
        for topic in written:
            for _ in range(90):
                producer.produce(topic, record, b"somebody", partition=0)
        commit_transaction(producer, 0, {})

    # And one that ends the transaction.
    assert {changelog.watermarks(lanes.kafka, topic, 0)[1] - end for topic, end in ends.items()} == {91}
