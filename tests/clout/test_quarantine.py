"""What `clout quarantine` refuses before anything is ordered."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from clout import quarantine
from clout.config import Settings
from clout.quarantine import (
    IDLE_LOOKS,
    Place,
    check_ahead,
    check_record,
    wait_until_passed,
    wait_until_settled,
)
from streams import clients, topics
from streams.errors import CloutError
from streams.settings import KafkaSettings, LaneSettings, NetworkSettings
from streams.status import TaskState, TaskStatus


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits from look to look."""
    monkeypatch.setattr(quarantine, "RETRY_SECONDS", 0.0)


PLACE = Place(3, "targets", 20)


def task(state: TaskState, position: int | None, reason: str | None = None) -> TaskStatus:
    positions = {} if position is None else {"actors": 50, "targets": position}
    return TaskStatus(partition=3, state=state, reason=reason, positions=positions)


Answer = CloutError | dict[int, TaskStatus]


def told(answer: Answer) -> dict[int, TaskStatus]:
    if isinstance(answer, CloutError):
        raise answer
    return answer


REFUSED: dict[str, tuple[dict[int, TaskStatus], str]] = {
    "nobody has the partition": ({}, "no worker has partition 3"),
    "the record was passed": ({3: task("stopped", 20)}, "was passed already"),
    "the partition runs": ({3: task("running", 19)}, "does not stand still: it is running"),
    "the partition opens": ({3: task("restoring", None)}, "does not stand still: it is restoring"),
    "the partition refuses to start": ({3: task("stopped", None, "another model")}, "refuses to start"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_is_ordered_that_would_have_no_effect(name: str) -> None:
    tasks, text = REFUSED[name]
    with pytest.raises(CloutError, match=text) as raised:
        check_ahead(PLACE, tasks)
    assert "nothing was ordered" in raised.value.detail or raised.value.hint


def test_a_partition_that_stands_before_the_record_is_waited_for() -> None:
    check_ahead(PLACE, {3: task("stopped", 19)})
    seen = iter([{}, {3: task("restoring", None)}, {3: task("running", 19)}, {3: task("running", 25)}])
    assert wait_until_passed(lambda: next(seen), PLACE, 60).positions["targets"] == 25


def test_a_worker_that_restarts_meanwhile_is_waited_for() -> None:
    nobody = CloutError("no running role was found")
    seen: Iterator[Answer] = iter([nobody, {3: task("restoring", None)}, {3: task("running", 20)}])
    assert wait_until_passed(lambda: told(next(seen)), PLACE, 60).positions["targets"] == 20
    with pytest.raises(CloutError, match="has not passed the record") as raised:
        wait_until_passed(lambda: told(nobody), PLACE, 0)
    assert raised.value.detail == "no running role was found"


def test_a_partition_runs_when_it_went_on_has_nothing_to_do_or_else_it_stands_still_again() -> None:
    behind, idle = (replace(task("running", 20), lag_records={"targets": lag}) for lag in (7, 0))
    cases = (
        [behind, behind, task("running", 30)],
        [behind, task("stopped", 20, "a law is broken")],
        [idle, behind, task("stopped", 20, "a law is broken")],
        [behind, *[idle] * IDLE_LOOKS],
    )
    for case in cases:
        seen = iter(case)
        assert wait_until_settled(lambda: {3: next(seen)}, PLACE, behind) == case[-1]  # noqa: B023
        assert next(seen, None) is None


def test_a_partition_that_stays_where_it_is_is_said_to() -> None:
    with pytest.raises(CloutError, match="has not passed the record") as raised:
        wait_until_passed(lambda: {3: task("stopped", 19, "a law is broken")}, PLACE, 0)
    assert raised.value.detail == "stopped: a law is broken"


def test_where_no_record_lies_the_next_one_or_the_end_is_named(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    networks = {"twitter": NetworkSettings(raw_partitions=1)}
    settings = Settings(data_dir=tmp_path, kafka=kafka_settings, networks=networks, lanes=LaneSettings(partitions=1))
    topics.create(kafka_settings, topics.specification(settings.names, settings.lanes, settings.networks))
    writer = clients.producer(kafka_settings, {"transactional.id": f"{kafka_settings.prefix}writer"})
    writer.init_transactions(30)
    for _ in range(2):  # Each transaction ends with a marker, which takes an offset.
        writer.begin_transaction()
        writer.produce(settings.names.targets_lane, b"x", partition=0)
        writer.commit_transaction(30)
    with pytest.raises(CloutError, match="no record at offset 1 ") as raised:
        check_record(settings, Place(0, "targets", 1))
    assert "the next record is at offset 2" in raised.value.detail
    with pytest.raises(CloutError, match="no record at offset 3 ") as raised:
        check_record(settings, Place(0, "targets", 3))
    assert "next record" not in raised.value.detail
    with pytest.raises(CloutError, match="no record at offset 99999 of partition 0 of the targets lane yet") as raised:
        check_record(settings, Place(0, "targets", 99_999))
    assert "the next record will be at offset 4; nothing was ordered" in raised.value.detail
    assert "clout incident show" in raised.value.hint
