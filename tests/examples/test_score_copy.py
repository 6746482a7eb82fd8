"""The copy that the followers of `examples/` keep, record by record."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from score_copy import AWAY_MS_MAX, KEPT_MS, Copy, Record, judge

NOW_MS = 1_750_000_000_000


def change(sequence: int, score: float | None, previous: float | None, **more: Any) -> dict[str, Any]:
    told = {"sequence": sequence, "score": score, "previous": previous, "cause": "interaction", "as_of": "t"}
    return told | {"subscores": None, "networks": {}} | more


def record(offset: int, user: str, told: dict[str, Any] | None, *, at_ms: int = NOW_MS, partition: int = 0) -> Record:
    return Record(partition, offset, at_ms, user.encode(), None if told is None else json.dumps(told).encode())


def opened(path: Path, topic_id: str = "id", now_ms: int = NOW_MS) -> Copy:
    return Copy(path / "scores.db", topic_id, now_ms)


def rows(copy: Copy, table: str = "scores") -> list[tuple[Any, ...]]:
    return sorted(copy._db.execute(f"SELECT * FROM {table}"))  # noqa: S608


@pytest.mark.parametrize(
    ("known", "told", "kind"),
    [
        (None, change(1, 20.0, None), None),
        (None, change(7, 20.0, None), None),
        (None, change(7, 20.0, 19.0), "gap"),
        ((3, 20.0), change(4, 21.0, 20.0), None),
        ((3, None), change(4, 21.0, None), None),
        ((3, 20.0), change(5, 21.0, 20.0), "gap"),
        ((3, 20.0), change(3, 20.0, 19.0), "repeat"),
        ((3, 20.0), change(4, 21.0, 20.5), "chain"),
    ],
)
def test_what_does_not_follow_is_a_fault(
    known: tuple[int, float | None] | None, told: dict[str, Any], kind: str | None
) -> None:
    fault = judge(known, told, is_old=False)
    assert (fault and fault.kind) == kind


@pytest.mark.parametrize(
    ("known", "sequence", "kind"), [(None, 7, None), ((3, 20.0), 7, None), ((7, 20.0), 7, "repeat")]
)
def test_changes_that_compaction_may_have_dropped_are_no_gap_but_a_repeat_is_one(
    known: tuple[int, float | None] | None, sequence: int, kind: str | None
) -> None:
    fault = judge(known, change(sequence, 20.0, 19.0), is_old=True)
    assert (fault and fault.kind) == kind


def test_a_gap_before_an_old_record_is_compaction_and_before_a_young_one_a_loss(tmp_path: Path) -> None:
    copy = opened(tmp_path)
    old = NOW_MS - KEPT_MS - 1
    assert copy.take([record(0, "a", change(4, 20.0, 19.0), at_ms=old)], NOW_MS) == []
    assert copy.take([record(1, "b", change(4, 20.0, 19.0), at_ms=old + 1)], NOW_MS) == [
        "gap at partition 0, offset 1: change 4 is the first that came, and says that there was one before"
    ]


@pytest.mark.parametrize("last", [change(2, None, 20.0, cause="forget"), None])
def test_of_who_is_forgotten_nothing_is_left_and_the_next_life_is_no_gap(
    last: dict[str, Any] | None, tmp_path: Path
) -> None:
    copy = opened(tmp_path)
    copy.take([record(0, "somebody", change(1, 20.0, None)), record(1, "somebody", change(1, 20.0, None))], NOW_MS)
    assert rows(copy, "faults")[0][2] == "somebody"
    copy.take([record(2, "somebody", last)], NOW_MS)
    assert rows(copy) == []
    assert rows(copy, "faults")[0][2] is None
    assert copy.take([record(3, "somebody", change(3, 5.0, None))], NOW_MS) == []
    copy.close()


def test_no_file_keeps_the_id_of_who_was_forgotten(tmp_path: Path) -> None:
    copy = opened(tmp_path)
    copy.take([record(0, "somebody", change(1, 20.0, None)), record(1, "b", change(1, 20.0, None))], NOW_MS)
    copy.take([record(2, "somebody", None)], NOW_MS)
    copy.close()
    assert b"somebody" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_who_has_nothing_left_is_known_and_has_no_score(tmp_path: Path) -> None:
    copy = opened(tmp_path)
    copy.take([record(0, "a", change(1, 20.0, None)), record(1, "a", change(2, None, 20.0, cause="retraction"))], 0)
    assert [row[:3] for row in rows(copy)] == [("a", 2, None)]
    assert copy.users() == 0
    assert copy.take([record(2, "a", change(3, 6.0, None))], 0) == []


def test_fields_and_causes_that_are_new_are_passed_over(tmp_path: Path) -> None:
    copy = opened(tmp_path)
    assert copy.take([record(0, "a", change(1, 20.0, None, cause="merge", badge="gold"))], NOW_MS) == []
    assert rows(copy)[0][:3] == ("a", 1, 20.0)


@settings(max_examples=12)
@given(cuts=st.lists(st.integers(0, 9), max_size=4), again=st.integers(0, 9))
def test_however_reading_is_interrupted_the_copy_is_the_same(
    cuts: list[int], again: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    told = [record(at, "ab"[at % 2], change(at // 2 + 1, at + 1.0, at - 1.0 if at > 1 else None)) for at in range(10)]
    path = tmp_path_factory.mktemp("copy")
    copy = opened(path)
    begin = 0
    for end in [*sorted(cuts), 10]:
        copy.take(told[begin:end], NOW_MS)
        copy.close()
        copy = opened(path)
        assert copy.positions.get(0, 0) == end
        # After a kill more is read again than is new.
        begin = min(again, end)
    assert [row[:3] for row in rows(copy)] == [("a", 5, 9.0), ("b", 5, 10.0)]
    assert rows(copy, "faults") == []
    copy.close()


@pytest.mark.parametrize(
    ("topic_id", "away_ms", "why"),
    [("id", AWAY_MS_MAX, ""), ("id", AWAY_MS_MAX + 1, "for too long"), ("other", 0, "made anew")],
)
def test_a_copy_of_another_topic_or_one_left_alone_for_too_long_begins_anew(
    topic_id: str, away_ms: int, why: str, tmp_path: Path
) -> None:
    copy = opened(tmp_path)
    copy.take([record(4, "a", change(1, 20.0, None))], NOW_MS)
    copy.close()
    copy = opened(tmp_path, topic_id, NOW_MS + away_ms)
    assert why in copy.begun_anew
    assert (copy.positions == {0: 5}) == (why == "")
    assert (rows(copy) == []) == (why != "")
    copy.close()
