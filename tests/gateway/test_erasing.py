"""Of who was forgotten the read model's files have nothing, but the change that says so."""

import secrets
from pathlib import Path

import pytest
from rocksdict import Cache

from gateway.read_model import ReadModel, Seen
from schemas.change import Cause, Subscores, decode_change, encode_change
from schemas.times import parse_ms

BEGIN_MS = 1_750_000_000_000
DAY_MS = 86_400_000
PARTS = Subscores(30.0, 25.0, 20.0)


def seen(offset: int, user: str, sequence: int, mark: str, cause: Cause = "interaction", days: float = 0.0) -> Seen:
    gone = cause == "forget"
    value = encode_change(
        user,
        sequence,
        None if gone else 20.0,
        None,
        None if gone else PARTS,
        {},
        BEGIN_MS + int(days * DAY_MS),
        cause,
        "1",
        mark,
    )
    change = decode_change(value)
    return Seen(0, offset, user.encode(), value, change, parse_ms(change.as_of))


def files(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file())


@pytest.mark.parametrize("died", [False, True], ids=["at once", "after a crash"])
def test_of_who_was_forgotten_no_file_has_anything_but_that_they_were(tmp_path: Path, died: bool) -> None:
    user, other, mark, kept = (secrets.token_hex(32) for _ in range(4))
    path = tmp_path / "model"
    model = ReadModel(path, "a topic", Cache(1 << 20))
    last: dict[bytes, int] = {}

    def apply(*changes: Seen) -> None:
        model.apply(changes, lambda of: last.get(of, -1), {0: changes[-1].offset + 1})

    for day in range(100):
        changes = [
            seen(2 * day, user, day + 1, mark, days=day),
            seen(2 * day + 1, other, day + 1, kept, days=day),
        ]
        apply(*changes)
        last = {user.encode(): BEGIN_MS // DAY_MS + day, other.encode(): BEGIN_MS // DAY_MS + day}
    model.erase([])
    assert mark.encode() in files(path)
    forgotten = seen(200, user, 101, "forgotten", "forget", days=100)
    apply(forgotten)
    assert model.newest(user.encode()) is None
    assert list(model.history(user.encode(), 0, BEGIN_MS + 200 * DAY_MS)) == []
    assert model.is_to_be_erased()
    if died:
        model.close()
        model = ReadModel(path, "a topic", Cache(1 << 20))
        assert model.is_to_be_erased()
        model.erase_all()
    else:
        model.erase([forgotten])
    assert not model.is_to_be_erased()
    held = files(path)
    assert mark.encode() not in held
    assert held.count(user.encode()) <= 1
    assert kept.encode() in held
    assert [decode_change(point.value).cause for point in model.after(0, 190, 100) if user.encode() in point.value] == [
        "forget"
    ]
    points = model.history(other.encode(), 0, BEGIN_MS + 200 * DAY_MS)
    assert {decode_change(point.value).sequence for point in points} == set(range(1, 101))
    model.close()
