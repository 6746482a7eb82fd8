"""Every limit through the code that keeps it: what is exactly at it is taken, what goes one past it is refused."""

import base64
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import pytest

from clout.config import load
from clout.layers import ConfigError
from schemas import limits, packed
from schemas.control import Command, encode_command, sign
from schemas.dead_letter import DeadLetter, decode_headers, encode_headers
from schemas.packed import COLUMNS, CREDITS, PackedError, Record, Stamp
from schemas.times import format_ms
from streams.control import Known, RawCommand, decide
from streams.control_secrets import ControlKey, ControlSecrets
from streams.decoders import decoder
from streams.decoders.batch import Headers
from streams.decoders.reader import read
from streams.settings import GatewaySettings, IngestSettings, LaneSettings, WorkerSettings
from streams.task_state import TaskState, TaskStateError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "LIMITS.md"
ROW = re.compile(r"^\| `(\w+)` \| ([\d,]+) \|", re.MULTILINE)
SETTING_ROW = re.compile(r"^\| `(\w+)\.(\w+)` \|", re.MULTILINE)

ARRIVAL_MS: Final = 1_340_000_000_000
EVENT: Final = {"id": "1", "kind": "share", "actor": "a", "target": "b", "time": ARRIVAL_MS}
ACTIVITY: Final = {"id": "https://a/1", "actor": "https://a/ann", "published": "2012-06-01T00:00:00Z"}
KEY: Final = ControlKey(b"s" * 16, frozenset({"forget", "unforget", "note"}))
COMMAND: Final = Command(id="1", command="forget", user="u", key="ops", issued=format_ms(ARRIVAL_MS), reason="asked")


# What each limit is tried with: the reason of the refusal, empty when it was taken. --------------------------------


def interaction(value: bytes, headers: Headers = None, format_: str = "native", arrival_ms: int = ARRIVAL_MS) -> str:
    columns = read(decoder(format_).decode, [value], [headers], np.array([arrival_ms]))
    return ", ".join(dict.fromkeys(found.reason for found in columns.rejected))


def event(**fields: object) -> str:
    return interaction(json.dumps(EVENT | fields).encode())


def at_time(time_ms: int) -> str:
    return interaction(json.dumps(EVENT | {"time": time_ms}).encode(), arrival_ms=limits.TIME_MS_MAX)


def of_bytes(size: int) -> str:
    start = json.dumps(EVENT)[:-1] + ', "more": "'
    return interaction((start + "x" * (size - len(start) - 2) + '"}').encode())


def array(size: int) -> str:
    return interaction(json.dumps([EVENT] * size).encode())


def activity(fields: dict[str, Any]) -> str:
    return cloud_event(data=ACTIVITY | fields)


def cloud_event(**data: Any) -> str:
    envelope = {"specversion": "1.0", "id": "1", "source": "/x", "type": "t"} | data
    headers = [("content-type", b"application/cloudevents+json")]
    return interaction(json.dumps(envelope).encode(), headers, "activitystreams")


def recipients(count: int) -> str:
    tags = [{"type": "Mention", "href": f"https://a/{number}"} for number in range(count)]
    return activity({"type": "Create", "object": {"id": "https://a/p", "tag": tags}})


def nested(levels: int) -> str:
    """In both formats, in an array and in base64; a value that is taken in one is taken in all."""
    deep = "[" * (levels - 1) + "]" * (levels - 1)
    alone = json.dumps(EVENT)[:-1] + f', "more": {deep}}}'
    many = [alone.replace("[[", "[", 1).replace("]]", "]", 1)] * 2
    follow = {"type": "Follow", "object": "https://a/bob"}
    inside = json.dumps(ACTIVITY | follow)[:-1] + f', "more": {deep}}}'
    outcomes = {
        interaction(alone.encode()),
        interaction(f"[{', '.join(many)}]".encode()),
        activity(follow | {"more": json.loads(deep[1:-1])}),
        cloud_event(data_base64=base64.b64encode(inside.encode()).decode()),
    }
    assert len(outcomes) == 1, outcomes
    return outcomes.pop()


def networks(count: int) -> str:
    """By configuration, packed record and task, which refuse one too many alike."""
    names = [f"n{number}" for number in range(count)]
    flags = {"networks": json.dumps({name: {} for name in names})}
    record = Record(CREDITS, 0, names, [], [], [], {name: np.zeros(0, kind) for name, kind in COLUMNS[CREDITS].items()})
    state = TaskState(model="1", model_hash="")
    refused = [_refusal(lambda: packed.decode(packed.encode(record)), PackedError)]
    refused.append(_refusal(lambda: [state.network_code(name) for name in names], TaskStateError))
    refused.append(_config_refusal(flags))
    assert len({bool(words) for words in refused}) == 1, refused
    return refused[-1]


def network(**settings: object) -> str:
    return _config_refusal({"networks": json.dumps({"n": settings})})


def network_name(size: int) -> str:
    return _config_refusal({"networks": json.dumps({"n" * size: {}})})


def lane_record_bytes(size: int) -> str:
    return _decoded(labels=["x" * (size - len(packed.encode(_credits(labels=["x" * 70_000]))) + 70_000)])


def lane_record_rows(rows: int) -> str:
    """Of the columns and of each list."""
    listed = _decoded(labels=[""] * rows)
    columns = {name: np.zeros(rows if name == "time" else 0, kind) for name, kind in COLUMNS[CREDITS].items()}
    wire = msgspec.msgpack.decode(packed.encode(_credits(columns=columns)))
    wire[2] = rows
    refused = _refusal(lambda: packed.decode(msgspec.msgpack.encode(wire)), PackedError)
    # A record of so many rows has no columns here: what counts is that their number is not what is refused.
    assert bool(listed) == ("a record has" in refused), (listed, refused)
    return listed


def lane_source(size: int) -> str:
    return _refusal(lambda: packed.decode_key(packed.encode_key(Stamp("s" * size, 1))), PackedError)


def sequence(number: int) -> str:
    return _refusal(lambda: packed.decode_key(packed.encode_key(Stamp("s", number))), PackedError)


def detail(size: int) -> str:
    letter = DeadLetter(
        reason="wrong_type", detail="x" * size, source_topic="t", source_partition=0, source_offset=0, source_time=0
    )
    return "" if dict(encode_headers(letter))["detail"] == b"x" * size else "cut"


def command(**fields: str) -> str:
    """As the public record says, or the dead letter."""
    value = encode_command(sign(msgspec.structs.replace(COMMAND, **fields), KEY.secret))
    return _decided(value, fields.get("key", "ops"))


def command_bytes(size: int) -> str:
    value = encode_command(sign(COMMAND, KEY.secret))
    return _decided(value + b" " * (size - len(value)))


def key_name(size: int) -> str:
    Path("clout.toml").write_text(f'[control.keys.{"k" * size}]\nsecret = "{"s" * 32}"\n', encoding="utf-8")
    return _config_refusal({})


def _decided(value: bytes, key: str = "ops") -> str:
    known_key = ControlSecrets({key: KEY}, key, b"h")
    decided = decide([RawCommand(value, 0, ARRIVAL_MS)], "control.v1", known_key, {}, Known({}, 1))
    whys = [json.loads(public)["why"] or "" for _, public in decided.records]
    return ", ".join([*whys, *(decode_headers(letter.headers).reason for letter in decided.letters)])


def _credits(**fields: Any) -> Record:
    columns = {name: np.zeros(0, kind) for name, kind in COLUMNS[CREDITS].items()}
    return Record(CREDITS, 0, [], [], [], [], columns)._replace(**fields)


def _decoded(**fields: Any) -> str:
    return _refusal(lambda: packed.decode(packed.encode(_credits(**fields))), PackedError)


def _config_refusal(flags: dict[str, str]) -> str:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in flags.items():
            environment.setenv(f"CLOUT_{name.upper().replace('.', '__')}", value)
        return _refusal(lambda: load({}), ConfigError)


def _refusal(attempt: Callable[[], object], error: type[Exception]) -> str:
    try:
        attempt()
    except error as refused:
        return str(refused)
    return ""


# ---------------------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    attempt: Callable[[int], str]
    refusal: str
    """In the reason for what goes past the limit."""
    step: int = 1
    """From the limit to the first value that is refused."""


CASES: Final = {
    "USER_BYTES_MAX": Case(lambda size: event(actor="x" * size) or event(target="x" * size), "user_too_long"),
    "ID_BYTES_MAX": Case(lambda size: event(id="x" * size), "id_too_long"),
    "OBJECT_BYTES_MAX": Case(lambda size: event(object="x" * size), "object_too_long"),
    "SOURCE_BYTES_MAX": Case(lambda size: event(source="x" * size), "source_too_long"),
    "ARRAY_EVENTS_MAX": Case(array, "too_many_events"),
    "RECIPIENTS_MAX": Case(recipients, "too_many_events"),
    "RECORD_BYTES_MAX": Case(of_bytes, "record_too_large"),
    "NESTING_MAX": Case(nested, "broken_json"),
    "TIME_MS_MIN": Case(at_time, "time_invalid", step=-1),
    "TIME_MS_MAX": Case(lambda time_ms: at_time(time_ms - 1), "time_invalid"),
    "TIME_AHEAD_MS_MAX": Case(lambda ahead_ms: event(time=ARRIVAL_MS + ahead_ms), "time_in_future"),
    "NETWORKS_MAX": Case(networks, "at most 64 items"),
    "NETWORK_BYTES_MAX": Case(network_name, "at most 32 characters"),
    "RAW_PARTITIONS_MAX": Case(lambda count: network(raw_partitions=count), "less than or equal to 65535"),
    "REGISTERED_SOURCES_MAX": Case(lambda count: network(sources=[f"s{at}" for at in range(count)]), "at most 16"),
    "REGISTERED_SOURCE_BYTES_MAX": Case(lambda size: network(sources=["s" * size]), "at most 64"),
    "LANE_RECORD_BYTES_MAX": Case(lane_record_bytes, "at most 900000"),
    "LANE_RECORD_ROWS_MAX": Case(lane_record_rows, "at most 65535"),
    "LANE_SOURCE_BYTES_MAX": Case(lane_source, "at most 256"),
    "SEQUENCE_MAX": Case(sequence, "a sequence of more than"),
    "DETAIL_LENGTH_MAX": Case(detail, "cut"),
    "COMMAND_BYTES_MAX": Case(command_bytes, "record_too_large"),
    "COMMAND_ID_BYTES_MAX": Case(lambda size: command(id="x" * size), "id_unusable"),
    "INCIDENT_ID_BYTES_MAX": Case(
        lambda size: command(command="note", user="", incident="x" * size), "incident_unusable"
    ),
    "KEY_NAME_BYTES_MAX": Case(key_name, "64"),
    "REASON_BYTES_MAX": Case(lambda size: command(reason="x" * size), "reason_too_long"),
}


@pytest.fixture(autouse=True)
def _no_settings_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_limit_is_tried() -> None:
    assert sorted(CASES) == limits.__all__


@pytest.mark.parametrize("name", CASES)
def test_what_is_at_the_limit_is_taken(name: str) -> None:
    assert CASES[name].attempt(getattr(limits, name)) == ""


@pytest.mark.parametrize("name", CASES)
def test_what_goes_one_past_the_limit_is_refused(name: str) -> None:
    case = CASES[name]
    assert case.refusal in case.attempt(getattr(limits, name) + case.step)


def test_a_limit_on_nesting_counts_brackets_and_not_what_is_in_strings() -> None:
    brackets = '["' * limits.NESTING_MAX * 2
    assert event(more=brackets, object=brackets[:1000]) == ""
    assert event(more=['\\"', "[" * 10_000, {"\\": "{" * 10_000}]) == ""


@pytest.mark.parametrize("levels", [1_000, 100_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_nested_beyond_what_a_stack_takes_is_broken_too(opening: str, levels: int) -> None:
    deep = (opening * levels).encode()
    for format_ in ("native", "activitystreams"):
        headers = [("content-type", b"application/cloudevents+json")]
        assert interaction(deep, headers, format_) == "broken_json"


def test_the_page_lists_every_limit_with_its_value() -> None:
    told = {name: int(value.replace(",", "")) for name, value in ROW.findall(PAGE.read_text(encoding="utf-8"))}
    assert told == {name: getattr(limits, name) for name in limits.__all__}


def test_the_page_lists_the_limits_that_an_operator_sets() -> None:
    known: dict[str, Sequence[str]] = {
        "gateway": GatewaySettings.__slots__,
        "ingest": IngestSettings.__slots__,
        "lanes": LaneSettings.__slots__,
        "worker": WorkerSettings.__slots__,
    }
    told = SETTING_ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert told
    assert [(table, name) for table, name in told if name not in known[table]] == []
    limiting = {(table, name) for table, names in known.items() for name in names if name.endswith("_max")}
    assert limiting <= set(told)


@pytest.mark.parametrize(("partitions", "words"), [(64, ""), (65, "less than or equal to 64")])
def test_an_installation_has_so_many_lane_partitions_and_no_more(partitions: int, words: str) -> None:
    assert words in _config_refusal({"lanes.partitions": str(partitions)})
