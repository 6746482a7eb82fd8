"""What is refused before a restore, and what is rebuilt; the restore itself is in test_task."""

from typing import Any

import pytest

from streams.changelog import LOCAL_AGE_SECONDS_MAX, Facts, judge
from streams.errors import CloutError
from streams.store import Local

NOW = 1_700_000_000.0
LOCAL = Local("same", 50, NOW - 60)


def facts(**changes: Any) -> Facts:
    usual: dict[str, Any] = {
        "topic": "scores.state.v1",
        "partition": 3,
        "topic_id": "same",
        "begin": 0,
        "end": 100,
        "local": LOCAL,
        "group_has_positions": True,
        "now_seconds": NOW,
    }
    usual |= changes
    return Facts(**({"written_end": usual["end"]} | usual))


def test_a_local_copy_within_the_changelog_is_used() -> None:
    assert judge(facts())


def test_a_local_copy_at_the_end_of_the_changelog_is_used() -> None:
    assert judge(facts(local=Local("same", 100, NOW)))


def test_without_a_local_copy_the_whole_changelog_is_read() -> None:
    assert not judge(facts(local=None))


def test_a_partition_never_worked_on_may_begin_with_nothing() -> None:
    assert not judge(facts(local=None, end=0, group_has_positions=False))
    assert judge(facts(local=Local("same", 0, NOW), end=0, group_has_positions=False))


@pytest.mark.parametrize(("age_seconds", "usable"), [(LOCAL_AGE_SECONDS_MAX, True), (LOCAL_AGE_SECONDS_MAX + 1, False)])
def test_a_local_copy_older_than_half_of_what_deletions_are_kept_is_rebuilt(age_seconds: float, usable: bool) -> None:
    assert judge(facts(local=Local("same", 50, NOW - age_seconds))) is usable


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"topic_id": "other"}, "is not the one that the local state was made from"),
        ({"end": 49}, "ends before what the local state has already taken from it"),
        ({"end": 0, "local": None}, "is empty, but this partition has been worked on"),
        ({"begin": 70, "end": 70, "local": None}, "is empty, but this partition has been worked on"),
        ({"begin": 50, "end": 50, "group_has_positions": False}, "is empty, but this partition has been worked on"),
        ({"written_end": 101}, "has a transaction without an end"),
        ({"begin": 51}, "begins after what the local state has taken from it"),
        ({"begin": 1, "local": None}, "was truncated"),
        ({"begin": 1, "local": Local("same", 50, 0.0)}, "was truncated"),
    ],
)
def test_a_changelog_that_cannot_be_right_is_refused_with_the_way_out(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CloutError) as raised:
        judge(facts(**changes))
    assert words in raised.value.error
    assert "scores.state.v1 [3]" in raised.value.error
    assert raised.value.detail
    assert "start anew under another kafka.prefix" in raised.value.hint


def test_the_error_names_both_offsets() -> None:
    with pytest.raises(CloutError) as raised:
        judge(facts(end=49))
    assert "ends at offset 49, the local state stands at 50" in raised.value.detail
