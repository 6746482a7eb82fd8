"""The read model keeps what it says it keeps: history, a point a day, the log, and the place where it goes on."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from rocksdict import Cache

from gateway import read_model
from gateway.read_model import LostError, ReadModel, Seen
from gateway.tables import HISTORY_DAYS, PERIOD_DAYS
from schemas.change import Cause, decode_change
from tests.gateway.test_erasing import BEGIN_MS, DAY_MS, files, seen

USER = "t:anna"
END_MS = BEGIN_MS + 10_000 * DAY_MS


class Model:
    """A read model, and the newest day of each user that a gateway's columns would have."""

    def __init__(self, path: Path, topic_id: str = "a topic") -> None:
        self.tables = ReadModel(path, topic_id, Cache(1 << 20))
        self.days: dict[bytes, int] = {}

    def apply(self, *changes: Seen) -> None:
        place = {change.partition: change.offset + 1 for change in changes}
        self.tables.apply(changes, lambda user: self.days.get(user, -1), place)
        for change in changes:
            day = _day(change)
            self.days[change.user] = -1 if change.change.cause == "forget" else day

    def sequences(self, user: str = USER) -> list[int]:
        """All that is told of a user: what is kept by the day may be there in full too, and is told once."""
        found: list[int] = []
        for point in self.tables.history(user.encode(), 0, END_MS):
            sequence = decode_change(point.value).sequence
            if sequence > max(found, default=0):
                found.append(sequence)
        return found


def _day(change: Seen) -> int:
    # Of the tests' own times, all of which begin at the same moment.
    return BEGIN_MS // DAY_MS + int(change.change.reference or 0)


def told(
    offset: int, sequence: int, day: int, hours: float = 0.0, user: str = USER, cause: Cause = "interaction"
) -> Seen:
    """A change `day` days and some hours after the beginning."""
    return seen(offset, user, sequence, str(day), cause, day + hours / 24)


Open = Callable[..., Model]


@pytest.fixture
def model_of(tmp_path: Path) -> Iterator[Open]:
    opened: list[Model] = []

    def model_of(topic_id: str = "a topic") -> Model:
        close(opened)
        opened.append(Model(tmp_path / "model", topic_id))
        return opened[-1]

    yield model_of
    close(opened)


def close(opened: list[Model]) -> None:
    for model in opened:
        model.tables.close()
    opened.clear()


def three_a_day(days: int) -> Sequence[Seen]:
    return [told(3 * day + nth, 3 * day + nth + 1, day, nth) for day in range(days) for nth in range(3)]


def test_every_change_of_ninety_days_is_there_and_before_them_the_last_of_each_day(model_of: Open) -> None:
    model, days = model_of(), HISTORY_DAYS + 110
    for change in three_a_day(days):
        model.apply(change)
    full = days - 1 - HISTORY_DAYS
    assert model.sequences() == [3 * day + 3 for day in range(full)] + list(range(3 * full + 1, 3 * days + 1))


def test_a_days_point_is_the_same_whether_changes_come_one_by_one_or_together(model_of: Open) -> None:
    model, days = model_of(), HISTORY_DAYS + 40
    model.apply(*three_a_day(days))
    full = days - 1 - HISTORY_DAYS
    assert model.sequences()[:full] == [3 * day + 3 for day in range(full)]


def test_a_point_that_is_there_is_never_written_again(model_of: Open) -> None:
    model = model_of()
    changes = three_a_day(HISTORY_DAYS + 40)
    model.apply(*changes[:60])
    old: dict[int, bytes] = {}
    for change in changes[60:]:
        model.apply(change)
        points = model.tables.history(USER.encode(), 0, END_MS)
        for point in points:
            assert old.setdefault(point.offset, point.value) == point.value


def test_periods_that_are_over_go_whole_and_leave_their_days(model_of: Open) -> None:
    model = model_of()
    model.apply(*three_a_day(2))
    model.apply(told(6, 7, HISTORY_DAYS + 3 * PERIOD_DAYS))
    assert model.sequences() == [3, 6, 7]
    assert [decode_change(point.value).sequence for point in model.tables.latest(USER.encode(), 10)] == [7]
    # Of history that is over a stream cannot be told; it is not passed over.
    with pytest.raises(LostError):
        model.tables.after(0, 0, 100)
    assert [point.offset for point in model.tables.after(0, 6, 100)] == [6]


def test_who_has_not_changed_since_is_still_known_by_the_last_change(model_of: Open) -> None:
    model = model_of()
    model.apply(*three_a_day(2))
    model.apply(told(6, 1, 1000, user="t:other"))
    assert model.sequences() == [3, 6]


def test_of_the_log_the_newest_are_kept(model_of: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_model, "LOG_CHANGES_MAX", 20)
    monkeypatch.setattr(read_model, "_LOG_STEP", 5)
    model = model_of()
    for change in three_a_day(20):
        model.apply(change)
    assert model.tables.log_begins(0) == 40
    assert [point.offset for point in model.tables.after(0, 40, 100)] == list(range(40, 60))
    with pytest.raises(LostError):
        model.tables.after(0, 39, 100)
    # The log alone is cut: history is as it was.
    assert len(model.sequences()) == 60


def test_rows_and_positions_are_one_batch(model_of: Open) -> None:
    model = model_of()
    model.apply(*three_a_day(1))
    broken = told(3, 4, 1)._replace(offset=-1)
    with pytest.raises(Exception, match="int too large"):
        model.tables.apply([told(3, 4, 1), broken], lambda _: -1, {0: 5})
    assert (model.tables.state.positions, model.sequences()) == ({0: 3}, [1, 2, 3])
    model = model_of()
    assert (model.tables.state.positions, model.sequences()) == ({0: 3}, [1, 2, 3])


def test_a_model_that_is_opened_again_goes_on_where_it_was(model_of: Open) -> None:
    model_of().apply(*three_a_day(2))
    model = model_of()
    assert model.tables.state.positions == {0: 6}
    assert model.sequences() == [1, 2, 3, 4, 5, 6]


def test_of_a_topic_that_was_made_anew_nothing_old_is_told(model_of: Open, tmp_path: Path) -> None:
    model_of().apply(*three_a_day(2))
    model = model_of("another topic")
    assert (model.tables.state.positions, model.sequences()) == ({}, [])
    assert USER.encode() not in files(tmp_path)


@pytest.mark.parametrize("what", ["MANIFEST-*", "CURRENT", "*.sst"])
def test_damaged_files_are_made_anew(model_of: Open, tmp_path: Path, what: str) -> None:
    model = model_of()
    model.apply(*three_a_day(2))
    model.tables.erase([])
    model.tables.close()
    for file in (tmp_path / "model").glob(what):
        file.write_bytes(b"what is no table")
    model.tables = ReadModel(tmp_path / "model", "a topic", Cache(1 << 20))
    assert (model.tables.state.positions, model.sequences()) == ({}, [])
    model.apply(*three_a_day(1))
    assert model.sequences() == [1, 2, 3]


@pytest.mark.parametrize("other", [USER + " ", USER[:-1], USER + USER], ids=repr)
def test_users_whose_ids_begin_alike_have_nothing_to_do_with_each_other(model_of: Open, other: str) -> None:
    model = model_of()
    for change in three_a_day(HISTORY_DAYS + 40):
        model.apply(change._replace(offset=2 * change.offset))
        number = change.change.sequence
        model.apply(told(2 * change.offset + 1, number, _day(change) - BEGIN_MS // DAY_MS, number % 3, other))
    both = model.sequences()
    assert model.sequences(other) == both
    forget = told(1000, 1000, HISTORY_DAYS + 39, cause="forget")
    model.apply(forget)
    model.tables.erase([forget])
    assert (model.sequences(), model.sequences(other)) == ([], both)
    left = model.tables.after(0, 0, 1000) if model.tables.state.period_first == 0 else model.tables.after(0, 700, 1000)
    assert {decode_change(point.value).user for point in left} <= {USER, other}
    assert [point.offset for point in left if decode_change(point.value).user == USER] == [1000]


def test_many_who_are_forgotten_together_leave_the_files_and_nobody_else_does(model_of: Open, tmp_path: Path) -> None:
    model = model_of()
    # Files are compressed: ids that have nothing in common can be found in them.
    users = [secrets.token_hex(32) for _ in range(300)]
    model.apply(*(told(offset, 1, 0, user=user) for offset, user in enumerate(users)))
    forgets = [told(300 + nth, 2, 0, user=user, cause="forget") for nth, user in enumerate(users[:200])]
    model.apply(*forgets)
    # One of them came back: what is newer stays.
    model.apply(told(500, 3, 0, user=users[0]))
    model.tables.erase(forgets)
    held = files(tmp_path)
    # Once, in the change that says so.
    assert max(held.count(user.encode()) for user in users[1:200]) == 1
    assert [point.offset for point in model.tables.after(0, 0, 1000)] == list(range(200, 501))
    assert model.sequences(users[0]) == [3]
    assert model.sequences(users[250]) == [1]
