"""What is kept says which version of its format it is; an unknown one stops with both versions and a way out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import pytest
from rocksdict import Cache

from schemas import packed
from schemas.packed import COLUMNS, CREDITS, PackedError, Record
from scorer import actor_state, target_state
from scorer.errors import StateFormatError
from streams import feed_position, forgotten, ledger_block, retract_position, store, task_state
from streams.errors import CloutError
from streams.forgotten import Forgotten
from streams.ledger import Ledger, LedgerState, block_key
from streams.store import Local, Rows, Store
from tests.scorer.test_state_rows import ACTOR_ROW, TARGET_ROW

LATER: Final = 9


class Case(NamedTuple):
    read: Callable[[Path], object]
    """Read something of the version `LATER`, all else of which may be different too."""
    error: type[Exception]
    way_out: str
    version: int


def record(kind: str) -> bytes:
    columns = {name: np.zeros(0, dtype) for name, dtype in COLUMNS[kind].items()}
    fields = msgspec.msgpack.decode(packed.encode(Record(kind, 0, [], [], [], [], columns)))
    return msgspec.msgpack.encode([LATER, *fields[1:]])


def other(value: bytes, codec: Any, **fields: object) -> bytes:
    found: bytes = codec.encode(codec.decode(value) | {"version": LATER} | fields)
    return found


def local_copy(folder: Path) -> Local | None:
    opened = Store(folder / "copy", Cache(1 << 20))
    try:
        opened.write(Rows(), None, Local("topic", 5, 0.0, version=LATER))
        return opened.local()
    finally:
        opened.close()


def ledger(_: Path) -> object:
    block = msgspec.msgpack.encode([LATER, {}])
    return Ledger(LedgerState(next_row=1), [(block_key(0), block)], lambda _key: block)


TASK = task_state.encode(task_state.TaskState(model="1", model_hash=""))
POSITION = feed_position.encode(feed_position.FeedPosition([0])).encode()
MATCHING = "use a matching one"
RELEASE = "use the release that wrote it"

CASES: Final = {
    "packed record": Case(lambda _: packed.decode(record(CREDITS)), PackedError, MATCHING, packed.VERSION),
    "packed record with other fields": Case(
        lambda _: packed.decode(msgspec.msgpack.encode([LATER, {}])), PackedError, MATCHING, packed.VERSION
    ),
    "ledger block": Case(ledger, CloutError, MATCHING, ledger_block.VERSION),
    "actor row": Case(
        lambda _: actor_state.decode_actors([bytes([LATER]) + ACTOR_ROW[1:]]),
        StateFormatError,
        RELEASE,
        actor_state.FORMAT_VERSION,
    ),
    "target row": Case(
        lambda _: target_state.decode_targets([bytes([LATER]) + TARGET_ROW[1:]], 5),
        StateFormatError,
        RELEASE,
        target_state.FORMAT_VERSION,
    ),
    "task record": Case(
        lambda _: task_state.decode(other(TASK, msgspec.msgpack)),
        task_state.TaskStateError,
        MATCHING,
        task_state.VERSION,
    ),
    "task record with other fields": Case(
        lambda _: task_state.decode(other(TASK, msgspec.msgpack, positions=7)),
        task_state.TaskStateError,
        MATCHING,
        task_state.VERSION,
    ),
    "forgotten user": Case(
        lambda _: Forgotten(b"key", [(b"key of a user", msgspec.msgpack.encode({"version": LATER, "hint": {}}))]),
        CloutError,
        RELEASE,
        forgotten.VERSION,
    ),
    "local copy": Case(local_copy, CloutError, RELEASE, store.LOCAL_VERSION),
    "feed position": Case(
        lambda _: feed_position.decode(other(POSITION, msgspec.json).decode(), 1),
        CloutError,
        RELEASE,
        feed_position.VERSION,
    ),
    "feed position with other fields": Case(
        lambda _: feed_position.decode(other(POSITION, msgspec.json, sent={}).decode(), 1),
        CloutError,
        RELEASE,
        feed_position.VERSION,
    ),
    "position of clout retract with other fields": Case(
        lambda _: retract_position.decode(f'{{"version":{LATER},"sent":{{}}}}', 1),
        CloutError,
        RELEASE,
        retract_position.VERSION,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_unknown_version_stops_with_both_versions_and_a_way_out(case: Case, tmp_path: Path) -> None:
    with pytest.raises(case.error) as raised:
        case.read(tmp_path)
    text = str(raised.value)
    assert f"version {LATER}" in text
    assert f"{case.version}" in text.replace(f"version {LATER}", "")
    assert case.way_out in text


def test_what_was_written_before_formats_said_their_version_is_read() -> None:
    fields = msgspec.json.decode(POSITION)
    del fields["version"]
    assert feed_position.decode(msgspec.json.encode(fields).decode(), 1) == feed_position.FeedPosition([0])
    local = msgspec.to_builtins(Local("topic", 5, 0.0))
    del local["version"]
    assert msgspec.convert(local, Local) == Local("topic", 5, 0.0)
