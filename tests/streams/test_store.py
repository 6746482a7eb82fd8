import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rocksdict import Cache

from scorer.arrays import Records
from scorer.target_state import ENTRY, HEAD, encode_targets
from scorer.timers import NEVER
from streams.damage import DamagedError
from streams.store import META_KEY, Local, Rows, Store, actor_key
from streams.timers import Due, restored_rows, timer_key
from tests.roles import eventually

LOCAL = Local("id", 17, 1.5)


def row_due(time_ms: int) -> bytes:
    """A user's row that wants to be looked at at that time."""
    entries: Records = np.zeros((1, 1), ENTRY)
    entries["events"], entries["due"] = 1, time_ms
    return encode_targets(np.zeros(1, HEAD), entries)[0]


ROW = row_due(7)
USERS = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"]), min_size=1, max_size=20)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "0", Cache(1 << 20))
    yield store
    store.close()


def test_a_new_store_knows_nothing(store: Store) -> None:
    assert store.local() is None
    assert store.meta() is None
    assert store.read_targets([b"a", b"b"]) == [None, None]
    assert store.read_actors([actor_key(b"a", b"n")]) == [None]


def test_what_was_written_is_read_by_key_in_the_order_asked(store: Store) -> None:
    store.write(Rows([(b"a\0n", b"actor")], [(b"a", b"A"), (b"b", b"B")]), b"meta", LOCAL)
    assert store.read_targets([b"b", b"c", b"a", b"b"]) == [b"B", None, b"A", b"B"]
    assert store.read_actors([b"a\0n"]) == [b"actor"]
    assert (store.meta(), store.local()) == (b"meta", LOCAL)


def test_a_row_written_again_is_the_newer_one(store: Store) -> None:
    store.write(Rows([(b"a\0n", b"1")], [(b"a", b"1")]), b"1", LOCAL)
    store.read_targets([b"a"])
    store.write(Rows([(b"a\0n", b"2")], [(b"a", b"2")]), b"2", LOCAL)
    assert (store.read_targets([b"a"]), store.read_actors([b"a\0n"]), store.meta()) == ([b"2"], [b"2"], b"2")


def test_none_deletes_a_row(store: Store) -> None:
    store.write(Rows([(b"a\0n", b"1")], [(b"a", b"1")]), None, LOCAL)
    store.read_targets([b"a"])
    store.write(Rows([(b"a\0n", None)], [(b"a", None)]), None, LOCAL)
    assert (store.read_targets([b"a"]), store.read_actors([b"a\0n"])) == ([None], [None])


def files(store: Store) -> bytes:
    """All that the store's files hold, lists of tables and logs too."""
    contents = []
    for file in store.path.iterdir():
        # RocksDB takes files away in the background.
        with suppress(FileNotFoundError):
            contents.append(file.read_bytes())
    return b"".join(contents)


def check_gone(store: Store, *texts: bytes) -> None:
    eventually(lambda: not [text for text in texts if text in files(store)], seconds=5)


@pytest.mark.parametrize("many", [1, 40])
def test_of_rows_that_are_erased_no_file_has_a_former_version(store: Store, many: int) -> None:
    theirs = [secrets.token_bytes(64) for _ in range(many)]
    keys = [b"user%03d" % at for at in range(many)]
    blocks = [(b"\0ledger%03d" % at, value[::-1]) for at, value in enumerate(theirs)]
    store.write(Rows((), [(b"a", b"1"), *zip(keys, theirs, strict=True), (b"z", b"2")], blocks), b"meta", LOCAL)
    store.erase(Rows(targets=[(b"a", b"1")], ledger=blocks[:1]))
    held = files(store)
    assert all(value in held for value in theirs)
    gone = Rows(targets=[(key, None) for key in keys], ledger=[(key, b"blank") for key, _ in blocks])
    store.write(gone, b"meta", LOCAL)
    store.erase(gone)
    check_gone(store, *theirs, *(value[::-1] for value in theirs), *keys)
    assert store.read_targets([b"a", b"z", keys[0]]) == [b"1", b"2", None]


@pytest.mark.parametrize("as_a_range", [True, False])
def test_of_who_is_erased_no_due_time_of_before_is_in_a_file(store: Store, *, as_a_range: bool) -> None:
    """Also where nothing is due any more, as for who has faded."""
    keys = [timer_key(Due(1, at, b"user%03d" % at)) for at in range(100)]
    store.write(Rows(targets=[(b"user007", b"1")]), b"meta", LOCAL, [(key, b"") for key in keys])
    store.erase(Rows(actors=[(b"a\0n", b"1")], targets=[(b"a", b"1")]))
    if as_a_range:
        store.write(Rows(), b"meta", LOCAL, passed=[(keys[7], keys[50])])
    else:
        store.write(Rows(), b"meta", LOCAL, [(keys[7], None)])
    assert b"user007" in files(store)
    gone = Rows(targets=[(b"user007", None)])
    store.write(gone, b"meta", LOCAL)
    store.erase(gone)
    check_gone(store, b"user007")
    assert [key for key, _ in store.scan("timers")] == keys[:7] + keys[50 if as_a_range else 8 :]


def test_of_users_whose_deletion_is_restored_no_file_has_anything(store: Store) -> None:
    block, name = (b"\0ledger001", b"about user007;"), b"user007;"
    written = Rows([(name + b"\0n", b"1")], [(name, ROW)], [block])
    store.write(written, b"meta", LOCAL, restored_rows([name], [None], [ROW]))
    store.erase(Rows(targets=[(b"a", b"1")]))
    restored = [(name + b"\0n", None), (name, None), (block[0], b"about nobody")]
    store.write_changelog(restored, LOCAL)
    store.erase_restored([key for key, value in restored if value is None])
    check_gone(store, name)
    assert store.ledger_block(block[0]) == b"about nobody"


def test_all_is_there_after_it_was_closed_and_opened(tmp_path: Path) -> None:
    store = Store(tmp_path / "0", Cache(1 << 20))
    store.write(Rows([(b"a\0n", b"actor")], [(b"a", b"A")]), b"meta", LOCAL)
    store.close()
    again = Store(tmp_path / "0", Cache(1 << 20))
    assert (again.read_targets([b"a"]), again.read_actors([b"a\0n"])) == ([b"A"], [b"actor"])
    assert (again.meta(), again.local()) == (b"meta", LOCAL)
    again.close()


def test_a_destroyed_store_leaves_nothing_and_its_place_can_be_used(tmp_path: Path) -> None:
    store = Store(tmp_path / "0", Cache(1 << 20))
    store.write(Rows([], [(b"a", b"A")]), b"meta", LOCAL)
    store.destroy()
    assert not (tmp_path / "0").exists()
    again = Store(tmp_path / "0", Cache(1 << 20))
    assert (again.read_targets([b"a"]), again.local()) == ([None], None)
    again.close()


def test_changelog_records_go_to_the_tables_that_their_keys_name(store: Store) -> None:
    records = [(b"a", ROW), (b"a\0n", b"actor"), (META_KEY, b"meta"), (b"b", ROW), (b"b", None)]
    store.write_changelog(records, LOCAL)
    assert store.read_targets([b"a", b"b"]) == [ROW, None]
    assert store.read_actors([b"a\0n"]) == [b"actor"]
    assert (store.meta(), store.local()) == (b"meta", LOCAL)


def test_a_piece_of_the_changelog_without_the_tasks_record_keeps_the_one_before(store: Store) -> None:
    store.write_changelog([(META_KEY, b"meta")], LOCAL)
    store.write_changelog([(b"a", ROW)], LOCAL)
    assert store.meta() == b"meta"


def test_due_times_are_restored_as_the_rows_have_them_and_no_others(store: Store) -> None:
    store.write_changelog([(b"a", row_due(7)), (b"b", row_due(5))], LOCAL)
    store.write_changelog([(b"a", row_due(8)), (b"a", row_due(9)), (b"b", None), (b"c", row_due(NEVER))], LOCAL)
    assert [key for key, _ in store.scan("timers")] == [timer_key(Due(0, 9, b"a"))]


def test_a_copy_of_an_earlier_release_is_made_anew(store: Store) -> None:
    store.write(Rows(), b"meta", msgspec.structs.replace(LOCAL, version=1))
    with pytest.raises(DamagedError, match="kept no timers"):
        store.local()


@settings(max_examples=25)
@given(st.lists(USERS, max_size=30, unique=True), st.integers(1, 10))
def test_a_scan_in_pieces_gives_every_user_once_in_key_order(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], rows_max: int
) -> None:
    store = Store(tmp_path_factory.mktemp("scan") / "0", Cache(1 << 20))
    users = [name.encode() for name in names]
    store.write(Rows([(actor_key(user, b"n"), b"x") for user in users], [(user, user) for user in users]), b"m", LOCAL)
    found: list[bytes] = []
    while rows := store.scan_targets(found[-1] if found else b"", rows_max):
        assert len(rows) <= rows_max
        found += [user for user, _ in rows]
    assert found == sorted(users)
    store.destroy()


def test_a_user_whose_id_begins_with_anothers_is_not_passed_over(store: Store) -> None:
    store.write(Rows([], [(b"a", b"1"), (b"a!", b"2"), (b"a b", b"3"), (b"ab", b"4")]), None, LOCAL)
    assert [user for user, _ in store.scan_targets(b"a", 10)] == [b"a b", b"a!", b"ab"]
