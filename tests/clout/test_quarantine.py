"""What `clout quarantine` refuses before anything is ordered."""

import pytest

from clout.quarantine import Place, check_ahead, wait_until_passed
from streams.errors import CloutError
from streams.status import TaskStatus

PLACE = Place(3, "targets", 20)


def task(state: str, position: int | None, reason: str | None = None) -> TaskStatus:
    positions = {} if position is None else {"actors": 50, "targets": position}
    return TaskStatus(partition=3, state=state, reason=reason, positions=positions)


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


def test_a_partition_that_stays_where_it_is_is_said_to() -> None:
    with pytest.raises(CloutError, match="has not passed the record") as raised:
        wait_until_passed(lambda: {3: task("stopped", 19, "a law is broken")}, PLACE, 0)
    assert raised.value.detail == "stopped: a law is broken"
