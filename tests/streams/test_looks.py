"""What a worker answers to an audit: the users of one commit, however long the reading takes and whatever comes."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from rocksdict import Cache

from schemas.look import LookError, LookHead, LookPiece, decode_look, encode_frame
from scorer.model import Model
from scorer.target_state import ENTRY, HEAD, encode_targets
from streams import frozen
from streams.frozen import FROZEN_MAX, FrozenError
from streams.http import RoleServer
from streams.looks import look_routes
from streams.settings import HttpSettings
from streams.store import Local, Rows, Store
from streams.task_state import TaskState, encode

HERE = 2
USERS = [f"t:{number:05d}".encode() for number in range(9_000)]
"""More than two pieces of an answer."""


def row(sequence: int, reach: float = 2.0) -> bytes:
    heads, entries = np.zeros(1, HEAD), np.zeros((1, 1), ENTRY)
    heads["sequence"], entries["events"], entries["time"] = sequence, 3, 500
    entries["reach"] = entries["amplification"] = entries["network"] = reach
    return encode_targets(heads, entries)[0]


def commit(store: Store, number: int, users: list[bytes]) -> None:
    """Write users and the task's record as a batch does."""
    state = TaskState(model="1", model_hash="m", networks=["one"], clocks={"one": 1_000 * number})
    state.counters["one"] = {"applied": number}
    store.write(Rows(targets=[(user, row(number)) for user in users]), encode(state), Local("topic", number, 0.0))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "0", Cache(1 << 20))
    commit(store, 1, USERS)
    yield store
    store.close()


@pytest.fixture
def client(store: Store) -> Iterator[httpx.Client]:
    task: Any = SimpleNamespace(
        partition=HERE, store=store, parameters=Model().parameters, has_due=True, stopped="a law is broken"
    )
    server = RoleServer(HttpSettings(), "score")
    server.start(CollectorRegistry(), dict, lambda: None, look_routes({HERE: task}, 4))
    with httpx.Client(base_url=f"http://{server.address}") as client:
        yield client
    server.stop()


def test_all_users_come_with_the_record_of_the_same_commit_and_what_their_sums_give(client: httpx.Client) -> None:
    head, *pieces = decode_look([client.get(f"/v1/look?partition={HERE}").content])
    assert isinstance(head, LookHead)
    assert (head.partition, head.model_hash, head.networks, head.clocks_ms) == (HERE, "m", ["one"], {"one": 1_000})
    assert (head.changelog_end, head.counters["one"]["applied"], head.due_left) == (1, 1, True)
    assert (head.anyone_forgotten, head.standing) == (False, "a law is broken")
    assert [user for piece in pieces if isinstance(piece, LookPiece) for user in piece.users] == USERS
    last = pieces[-1]
    assert isinstance(last, LookPiece)
    assert last.rows[-1] == row(1)
    # 1 + 99·ln(1 + 2)/ln(1 + 10⁶) = 8.9, for all.
    assert np.frombuffer(last.tenths, "<u2").reshape(-1, 5)[-1].tolist() == [89] * 5


@pytest.mark.parametrize(("partition", "status"), [("1", 421), ("4", 400), ("", 400), ("x", 400)])
def test_a_partition_that_is_elsewhere_or_is_none_is_not_looked_at(
    client: httpx.Client, partition: str, status: int
) -> None:
    assert client.get(f"/v1/look?partition={partition}").status_code == status


def test_more_looks_than_may_be_at_a_time_are_asked_to_come_again(client: httpx.Client, store: Store) -> None:
    looks = [store.freeze() for _ in range(FROZEN_MAX)]
    answer = client.get(f"/v1/look?partition={HERE}")
    assert (answer.status_code, answer.json()["error"]) == (503, "partition 2: the partition is being read by others")
    store.thaw(looks[0])
    assert client.get(f"/v1/look?partition={HERE}").status_code == 200


def test_what_is_committed_while_it_is_read_is_not_in_it(store: Store) -> None:
    look = store.freeze()
    first = look.next_rows(5)
    commit(store, 2, [*USERS[:10], b"t:1", b"u:new"])
    rest = look.next_rows(len(USERS))
    assert [user for user, _ in first + rest] == USERS
    assert {value for _, value in first + rest} == {row(1)}
    assert look.changelog_end == 1
    assert store.freeze().changelog_end == 2


def test_one_that_was_read_for_too_long_makes_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [store.freeze() for _ in range(FROZEN_MAX)]
    monkeypatch.setattr(frozen, "FROZEN_SECONDS_MAX", -1.0)
    assert store.freeze().next_rows(1)
    with pytest.raises(FrozenError, match="broken off"):
        looks[0].next_rows(1)


def test_a_store_closes_whoever_reads_and_can_be_opened_again(store: Store) -> None:
    look = store.freeze()
    store.close()
    with pytest.raises(FrozenError, match="broken off"):
        look.next_rows(1)
    with pytest.raises(FrozenError, match="closed"):
        store.freeze()
    Store(store.path, Cache(1 << 20)).close()


def test_of_whom_is_forgotten_no_file_keeps_anything_for_a_reader(store: Store) -> None:
    secret = b"t:99999-whom-nobody-may-find"
    commit(store, 2, [secret])
    look = store.freeze()
    gone = Rows(targets=[(secret, None)])
    store.write(gone, None, Local("topic", 3, 0.0))
    store.erase(gone)
    with pytest.raises(FrozenError, match="broken off"):
        look.next_rows(1)
    assert not [path for path in store.path.rglob("*") if path.is_file() and secret in path.read_bytes()]


def test_an_answer_that_breaks_off_or_is_something_else_is_refused() -> None:
    piece = encode_frame(LookPiece([b"a"], [b""], b""))
    for chunks, why in (
        ([], "is no look"),
        ([piece], "is no look"),
        ([b"\xff\xff\xff\xff"], "is none of a look"),
    ):
        with pytest.raises(LookError, match=why):
            list(decode_look(chunks))
