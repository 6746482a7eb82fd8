"""What is fuzzed: every reader of bytes that may be damaged, valid samples for it, and what must hold of any bytes.

A check returns for bytes that are read or refused as documented, and raises for anything else.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import numpy as np

from schemas import packed
from schemas.change import CAUSES
from schemas.control import COMMAND_NAMES, Command, CommandName, decode_command, encode_command, sign
from schemas.interaction import REQUIRED, Interaction
from schemas.kinds import KINDS
from schemas.limits import LANE_RECORD_ROWS_MAX, TIME_MS_MAX
from schemas.packed import ADJUSTMENTS, COLUMNS, CREDITS, INTERACTIONS, RETRACTIONS, PackedError, Record, Stamp
from scorer.actor_state import decode_actors, encode_actors
from scorer.actors import fold_actors
from scorer.arrays import Records
from scorer.errors import StateFormatError
from scorer.model import Model
from scorer.reference import Event
from scorer.target_state import decode_targets, encode_targets, published_scores
from streams import feed_position, ledger_block, task_state
from streams.control import Known, RawCommand, decide
from streams.control_secrets import ControlKey, ControlSecrets
from streams.decoders import Decoder, decoder, decoder_names
from streams.errors import CloutError
from streams.forgotten import Forgotten
from streams.ingest_batch import Raw, prepare
from streams.ledger import Ledger, LedgerLimits, LedgerState, block_key
from streams.ledger_block import BlockError
from streams.packing import cut
from streams.publish import changes
from streams.reasons import reasons_of
from streams.stages import actors
from streams.stages import targets as targets_stage
from tests.fuzz.mutations import JSON, MSGPACK, Codec
from tests.laws.test_decoders import SAMPLES
from tests.scorer.test_state_rows import random_actors, random_targets
from tests.streams.stages import Retraction, Stages

LANE_PARTITIONS: Final = 3
STORED_NETWORKS: Final = 3
PARAMETERS: Final = Model().parameters


class Target(NamedTuple):
    """One reader."""

    samples: list[bytes]
    check: Callable[[bytes], object]
    codec: Codec | None = None
    """How its values are changed as trees, if they are such."""


def targets() -> dict[str, Target]:
    """All of them; decoders by looking for them."""
    chance = np.random.default_rng(1)
    decoders = {f"decoder {name}": _decoder(decoder(name)) for name in decoder_names()}
    return decoders | {
        "packed record": Target([packed.encode(_record(kind, chance)) for kind in COLUMNS], _check_packed, MSGPACK),
        "record in its stage": Target(
            [packed.encode(_record(kind, chance)) for kind in (INTERACTIONS, CREDITS, ADJUSTMENTS, RETRACTIONS)],
            _check_stage,
            MSGPACK,
        ),
        "ledger block": Target(_blocks(), _check_block, MSGPACK),
        "lane key": Target([packed.encode_key(Stamp("twitter/3", 17)), b"actors/2:5"], _check_key),
        "command": Target([*map(_command, COMMAND_NAMES)], _check_command, JSON),
        "actor rows": Target(encode_actors(random_actors(1, 12)), _check_actors),
        "target rows": Target(encode_targets(*random_targets(1, 12, STORED_NETWORKS)), _check_targets),
        "task record": Target(_task_records(), _check_task_record, MSGPACK),
        "forgotten user": Target([_forgotten_user()], _check_forgotten_user, MSGPACK),
        "feed position": Target(
            [feed_position.encode(feed_position.FeedPosition([5] * LANE_PARTITIONS)).encode()],
            _check_feed_position,
            JSON,
        ),
    }


# Raw interactions ----------------------------------------------------------------------------------------------------


def _decoder(format_: Decoder) -> Target:
    """The format as ingest uses it: decoded, checked, set aside or packed."""
    sample = SAMPLES[format_.name]
    events = [
        Interaction(
            kind=kind,
            time="2012-07-01T00:00:00Z",
            source="https://collector.example",
            object="https://posts.example/1",
            **{name: sample.text(f"{name}1") for name in REQUIRED[kind] if name not in {"kind", "time"}},
        )
        for kind in sample.kinds
    ]
    records = [*map(sample.one, events), sample.many(events)]
    envelope = [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/x"), ("ce_type", b"t")]
    inside = [json.dumps(data).encode() for data in _parts(records)]
    variants = {repr(headers): headers for headers in [None, envelope, *(headers for _, headers in records)]}
    headers = list(variants.values()) if format_.needs_headers else [None]

    def check(value: bytes) -> None:
        count = len(headers)
        where = np.zeros(count, np.int64), np.arange(count), np.full(count, TIME_MS_MAX)
        raw = Raw("t", [value] * count, headers if format_.needs_headers else None, *where)  # type: ignore[arg-type]
        prepared = prepare(raw, "network", format_, LANE_PARTITIONS, 4_000)
        counts = prepared.counts[0]
        assert counts["read"] == sum(events for outcome, events in counts.items() if outcome != "read") >= count
        assert counts["dead_lettered"] == len(prepared.letters)
        rows = sum(packed.decode(record.value).rows for record in prepared.lane)
        assert rows == counts["passed"] + counts["retracting"]

    return Target([value for value, _ in records] + inside, check, JSON)


def _parts(records: Sequence[tuple[bytes, object]]) -> list[Any]:
    """What is inside the envelopes, where there are any."""
    values = [json.loads(value) for value, _ in records]
    return [value["data"] for value in values if isinstance(value, dict) and "data" in value]


# Packed records ------------------------------------------------------------------------------------------------------

_BELOW: Final = {"network": 2, "label": 2, "actor": 3, "actor_account": 3, "target": 4, "target_account": 4}
_RANGES: Final = {"cause": (0, len(CAUSES)), "kind": (0, len(KINDS)), "command": (1, 3), "time": (0, TIME_MS_MAX)}


def _record(kind: str, chance: np.random.Generator) -> Record:
    rows = 4
    columns = {
        name: chance.integers(*_RANGES.get(name, (0, _BELOW.get(name, 100))), rows).astype(dtype)
        for name, dtype in COLUMNS[kind].items()
    }
    users = [b"twitter:%d" % number for number in range(4)]
    return Record(kind, rows, ["twitter", "bluesky"], ["", "collector"], users[:3], users, columns)


def _check_packed(value: bytes) -> None:
    assert 1 <= packed.peek(value).rows <= LANE_RECORD_ROWS_MAX
    try:
        record = packed.decode(value)
    except PackedError:
        return
    assert 0 <= record.rows <= LANE_RECORD_ROWS_MAX
    for name, column in record.columns.items():
        assert len(column) == record.rows or (not len(column) and name.endswith("_account"))
    if record.rows and "time" in record.columns:
        assert record.columns["time"].max() < TIME_MS_MAX
    again = packed.decode(packed.encode(record))
    assert again[:-1] == record[:-1]


def _check_stage(value: bytes) -> None:
    """What can be read is folded, whatever its numbers are, and what comes of it can be read again."""
    try:
        record = packed.decode(value)
    except PackedError:
        return
    state, forgotten = task_state.TaskState(model="1", model_hash=""), Forgotten(b"key")
    with np.errstate(all="ignore"), suppress(CloutError):
        if record.kind == INTERACTIONS:
            _fold_interactions(record, state, forgotten)
        elif record.kind in (CREDITS, ADJUSTMENTS):
            _fold_credits(record, state, forgotten)
        elif record.kind == RETRACTIONS:
            _fold_retractions(record)


def _fold_retractions(record: Record) -> None:
    """Fold what an operator takes back where a ledger holds the very event of each second row."""
    stages = Stages(Model())
    stages.apply([Event("twitter", str(number), "share", "twitter:1", "twitter:2", 1_000) for number in range(4)])
    hashes = record.columns["event_hash"].copy()
    known = next(iter(stages.blocks.values()))
    hashes[::2] = np.resize(ledger_block.decode_block(known).columns["event_hash"], len(hashes[::2]))
    stages.take_back(record._replace(columns={**record.columns, "event_hash": hashes}))


def _fold_interactions(record: Record, state: task_state.TaskState, forgotten: Forgotten) -> None:
    ledger = Ledger(state.ledger, [], lambda _key: None)
    outcome = actors.fold(
        [record],
        state,
        read_states=lambda keys: [None] * len(keys),
        read_scores=lambda users: published_scores([None] * len(users)),
        parameters=PARAMETERS,
        partitions=LANE_PARTITIONS,
        ledger=ledger,
        forgotten=forgotten,
    )
    ledger.apply(ledger.enter(outcome.entered, outcome.newest_arrival, state.ledger, LedgerLimits(1, 1)))
    for rows in (outcome.credits, outcome.adjustments):
        for _, value in cut(rows, [(0, np.arange(len(rows)))] if len(rows) else [], 4_000):
            packed.decode(value)


def _fold_credits(record: Record, state: task_state.TaskState, forgotten: Forgotten) -> None:
    outcome = targets_stage.fold(
        [record],
        ["actors/0"],
        state,
        read=lambda users: [None] * len(users),
        parameters=PARAMETERS,
        forgotten=forgotten,
        clocks_before={},
    )
    names, causes, reasons = state.networks, outcome.causes, reasons_of(outcome, 1.0)
    changes(outcome.published, outcome.users, names, causes=causes, reasons=reasons, model="1")


def _check_key(value: bytes) -> None:
    with suppress(PackedError):
        stamp = packed.decode_key(value)
        assert packed.decode_key(packed.encode_key(stamp)).sequence == stamp.sequence


# Ledger --------------------------------------------------------------------------------------------------------------


def _blocks() -> list[bytes]:
    """Of events, then of one that is taken back and of a retraction that waits for its event."""
    stages = Stages(Model())
    people = [f"twitter:{number}" for number in range(4)]
    stages.apply([Event("twitter", f"{at}", "reply", who, people[at - 1], 5_000) for at, who in enumerate(people)])
    stages.apply([Retraction("twitter", "1", "twitter:1", 6_000), Retraction("twitter", "9", "twitter:1", 6_000)])
    return list(stages.blocks.values())


def _check_block(value: bytes) -> None:
    """Also as a ledger uses it: every row of what can be read is found."""
    try:
        block = ledger_block.decode_block(value)
        changed = ledger_block.without(value, b"twitter:1", b"\0")
    except BlockError:
        return
    if changed is not None:
        assert ledger_block.decode_block(changed).rows == block.rows
    with suppress(CloutError):
        state = LedgerState(next_row=block.rows)
        ledger = Ledger(state, [(block_key(0), value)], lambda _key: value)
        assert len(ledger.find(np.arange(block.rows)).time) == block.rows


# Commands ------------------------------------------------------------------------------------------------------------

_SECRETS: Final = ControlSecrets({"ops": ControlKey(b"s" * 16, frozenset(COMMAND_NAMES))}, "ops", b"hash key")


_KNOWN: Final = Known({"twitter": ("west",)}, LANE_PARTITIONS)
_ABOUT: Final[dict[CommandName, dict[str, Any]]] = {
    "forget": {"user": "twitter:5"},
    "unforget": {"user": "twitter:5"},
    "release": {"network": "twitter", "source": "west"},
    "quarantine": {"partition": 1, "lane": "targets", "offset": 17},
    "freeze": {"network": "twitter", "incident": "feed_partial/twitter/1"},
    "resume": {"network": "twitter"},
    "retract": {
        "network": "twitter",
        "source": "west",
        "incident": "feed_partial/twitter/1",
        "since": "2012-07-01T00:00:00Z",
        "until": "2012-07-01T01:00:00Z",
    },
    "declare": {"incident": "declared/all/1", "since": "2012-07-01T00:00:00Z"},
    "note": {"incident": "feed_partial/twitter/1"},
    "resolve": {"incident": "feed_partial/twitter/1"},
}


_IN_LANES: Final = ("forget", "unforget", "release")
"""Commands that tasks get as rows; the others go on public record alone."""


def _command(name: CommandName) -> bytes:
    command = Command(
        id="1", command=name, key="ops", issued="2012-07-01T00:00:00Z", reason="they asked", **_ABOUT[name]
    )
    return encode_command(_SECRETS.signed(command))


def _check_command(value: bytes) -> None:
    """Also as somebody would sign it who has the key and means harm."""
    outcomes = [decide([RawCommand(value, 5, TIME_MS_MAX)], "control.v1", _SECRETS, {}, _KNOWN)]
    with suppress(ValueError, RecursionError):
        signed = encode_command(sign(decode_command(value), b"s" * 16))
        outcomes.append(decide([RawCommand(signed, 5, TIME_MS_MAX)], "control.v1", _SECRETS, {}, _KNOWN))
    for outcome in outcomes:
        counts = outcome.counts
        assert counts["read"] == counts["accepted"] + counts["refused"] + counts["dead_lettered"] == 1
        assert len(outcome.records) + len(outcome.letters) == 1
        rows = sum(packed.decode(lane).rows for lane in outcome.lane)
        in_lanes = any(f'"command":"{name}"'.encode() in public for _, public in outcome.records for name in _IN_LANES)
        assert rows == (counts["accepted"] if in_lanes else 0)


# State ---------------------------------------------------------------------------------------------------------------

_ACTOR: Final = encode_actors(random_actors(2, 1))[0]
_TARGET: Final = encode_targets(*random_targets(2, 1, STORED_NETWORKS))[0]


def _check_actors(value: bytes) -> None:
    """Neighbours stay what they are, whatever stands between them."""
    try:
        states = decode_actors([_ACTOR, value, None, _ACTOR])
    except StateFormatError:
        return
    assert states[0] == states[3]
    assert not states[2]["events"]
    rows = encode_actors(states)
    assert rows[0] == rows[3] == _ACTOR
    assert decode_actors(rows).tobytes() == states.tobytes()
    _fold(states)


def _fold(states: Records) -> None:
    """What was read is worked on: kernels trust its counts and indices."""
    count = len(states)
    fold_actors(
        states,
        index=np.arange(count),
        targets=np.arange(count, dtype=np.uint64),
        kinds=np.zeros(count, np.uint8),
        times=np.full(count, TIME_MS_MAX - 1),
        influence=np.ones(count),
        parameters=PARAMETERS,
    )


def _check_targets(value: bytes) -> None:
    rows = [_TARGET, value, None, _TARGET]
    with suppress(StateFormatError):
        published_scores(rows)
    try:
        heads, entries, contributors = decode_targets(rows, STORED_NETWORKS)
    except StateFormatError:
        return
    written = encode_targets(heads, entries, contributors)
    assert written[0] == written[3] == _TARGET
    assert encode_targets(*decode_targets(written, STORED_NETWORKS)) == written


def _task_records() -> list[bytes]:
    state = task_state.TaskState(model="1", model_hash="ab")
    new = task_state.encode(state)
    state.network_code("twitter")
    state.seen["actors"]["twitter/3"], state.sent[2] = 17, 5
    return [new, task_state.encode(state)]


def _check_task_record(value: bytes) -> None:
    with suppress(task_state.TaskStateError):
        state = task_state.decode(value)
        assert state.copy() == state


def _forgotten_user() -> bytes:
    forgotten = Forgotten(b"key")
    _, value = forgotten.row(b"twitter:5", forgotten.get(b"twitter:5"))
    assert value is not None
    return value


def _check_forgotten_user(value: bytes) -> None:
    user = b"twitter:5"
    with suppress(CloutError):
        forgotten = Forgotten(b"key", [(Forgotten(b"key").key_of(user), value)])
        forgotten.apply([forgotten.row(user, forgotten.get(user))])
        assert len(forgotten) == 1


def _check_feed_position(value: bytes) -> None:
    # What a Kafka client hands over is text already.
    with suppress(ValueError, CloutError):
        position = feed_position.decode(value.decode(errors="replace"), LANE_PARTITIONS)
        assert feed_position.decode(feed_position.encode(position), LANE_PARTITIONS) == position
