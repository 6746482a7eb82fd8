"""What the Faust follower lets in, by generation and offset: on a real broker only timing brings these about."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from follow_scores_faust import Intake
from score_copy import Copy, Record


@pytest.fixture
def intake(tmp_path: Path) -> Iterator[Intake]:
    copy = Copy(tmp_path / "scores.db", "id", 0)
    yield Intake(copy)
    copy.close()


def offered(intake: Intake, *offsets: int, generation: int) -> list[int]:
    """Offer tombstones at these offsets; return which of all that were offered wait."""
    for offset in offsets:
        intake.offer(Record(0, offset, 0, b"a", None), generation)
    return [record.offset for record in intake.waiting]


def test_nothing_is_let_in_before_the_seek(intake: Intake) -> None:
    assert offered(intake, 0, generation=1) == []


def test_a_record_that_is_read_twice_is_let_in_once_and_holes_in_offsets_are_none(intake: Intake) -> None:
    intake.open(1)
    assert offered(intake, 0, 1, 5, 1, 5, 6, generation=1) == [0, 1, 5, 6]


def test_after_a_revoke_what_waits_is_dropped_and_records_of_before_stay_out(intake: Intake) -> None:
    intake.open(1)
    offered(intake, 0, 1, generation=1)
    intake.write()
    offered(intake, 2, 3, generation=1)
    intake.close()
    assert offered(intake, 4, generation=1) == []
    intake.open(2)
    assert offered(intake, 4, generation=1) == []
    assert offered(intake, 1, 2, 3, 4, generation=2) == [2, 3, 4]
    intake.write()
    assert intake.copy.positions == {0: 5}
