"""The rows held in front of RocksDB are those in it, whatever is read and written."""

from hypothesis import given
from hypothesis import strategies as st

from streams.store import RecentRows

KEYS = st.lists(st.sampled_from([b"%d" % number for number in range(12)]), min_size=1, max_size=8, unique=True)
STEPS = st.lists(st.tuples(st.booleans(), KEYS, st.none() | st.binary(max_size=2)), max_size=60)


@given(STEPS, st.integers(1, 6), st.integers(1, 4), st.integers(1, 3))
def test_rows_held_equal_the_rows_stored(
    steps: list[tuple[bool, list[bytes], bytes | None]], rows_max: int, batch_rows_min: int, resting_reads: int
) -> None:
    stored: dict[bytes, bytes | None] = {}
    recent = RecentRows(rows_max, batch_rows_min=batch_rows_min, resting_reads=resting_reads)

    for write, keys, value in steps:
        if write:
            stored.update(dict.fromkeys(keys, value))
            recent.put(list(dict.fromkeys(keys, value).items()))
        else:
            found = recent.get(keys, lambda missing: [stored.get(key) for key in missing])
            assert found == [stored.get(key) for key in keys]


def test_users_who_come_back_are_read_once() -> None:
    recent = RecentRows(100)
    asked: list[bytes] = []

    def read(keys: list[bytes]) -> list[bytes | None]:
        asked.extend(keys)
        return [b"row"] * len(keys)

    for _ in range(5):
        recent.get([b"ann", b"bob"], read)

    assert asked == [b"ann", b"bob"]


def test_where_nobody_comes_back_nothing_is_held_for_a_while() -> None:
    recent = RecentRows(10_000, batch_rows_min=2, resting_reads=2)
    asked: list[bytes] = []

    def read(keys: list[bytes]) -> list[bytes | None]:
        asked.extend(keys)
        return [None] * len(keys)

    for keys in ([b"1", b"2"], [b"1", b"2"], [b"3", b"4"], [b"5", b"6"]):
        recent.get(keys, read)

    assert asked == [b"1", b"2", b"1", b"2", b"3", b"4", b"5", b"6"]
