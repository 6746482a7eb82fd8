"""What becomes of commands; on a real Kafka: tests/engine/test_control.py."""

import json
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.control import COMMAND_NAMES, Command, CommandRecord, decode_record, encode_command, sign
from schemas.dead_letter import decode_headers
from schemas.limits import KEY_NAME_BYTES_MAX
from schemas.packed import COMMANDS, FORGET, decode
from schemas.times import format_ms
from schemas.users import keyed_hash
from streams.control import Decided, Known, RawCommand, decide
from streams.control_secrets import ControlKey, ControlSecrets
from streams.feed_position import COMMAND_OUTCOMES, FeedPosition, encode
from streams.settings import CONTROL_KEYS_MAX
from streams.ticks import releases_of

NOW = 1_800_000_000_000
LANE_PARTITIONS_MAX = 64
HASH_KEY = b"hash key"
OPS, AUDIT = ControlKey(b"s" * 16, frozenset(COMMAND_NAMES)), ControlKey(b"t" * 16, frozenset({"unforget"}))
SECRETS = ControlSecrets({"ops": OPS, "audit": AUDIT}, "ops", HASH_KEY)
KNOWN = Known({"twitter": ("west", "east"), "mastodon": ()}, lane_partitions=4)
COMMAND = Command(id="c1", command="forget", user="u:1", key="ops", issued=format_ms(NOW), reason="asked for")


RELEASE = {"command": "release", "user": "", "network": "twitter", "source": "west"}
QUARANTINE = {"command": "quarantine", "user": "", "partition": 3, "lane": "targets", "offset": 17}


def signed(by: ControlKey = OPS, /, **fields: Any) -> bytes:
    return encode_command(sign(msgspec.structs.replace(COMMAND, **fields), by.secret))


def decided(*values: bytes | None, issued_ms: dict[str, int] | None = None) -> Decided:
    raw = [RawCommand(value, 40 + at, NOW) for at, value in enumerate(values)]
    return decide(raw, "control.v1", SECRETS, {} if issued_ms is None else issued_ms, KNOWN)


def records(*values: bytes) -> list[CommandRecord]:
    return [decode_record(value) for _, value in decided(*values).records]


def test_a_command_that_is_in_order_is_a_lane_record_and_a_public_record_without_the_user() -> None:
    outcome = decided(signed())
    [value] = outcome.lane
    record = decode(value)
    assert (record.kind, record.rows, record.targets, record.labels) == (COMMANDS, 1, [b"u:1"], ["c1"])
    row = {name: int(record.columns[name][0]) for name in ("command", "time", "epoch")}
    assert row == {"command": FORGET, "time": NOW, "epoch": 40}
    [(key, public)] = outcome.records
    assert key == b"c1"
    assert b"u:1" not in public
    found = decode_record(public)
    assert (found.accepted, found.why, found.epoch, found.reason) == (True, None, 40, "asked for")
    assert found.subject == keyed_hash(b"u:1", HASH_KEY).hex()
    assert outcome.counts == Counter(read=1, accepted=1)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (signed(key="nobody"), "unknown_key"),
        (signed(AUDIT), "bad_signature"),
        (signed(AUDIT, key="audit"), "not_permitted"),
        (signed(reason=" "), "no_reason"),
        (signed(reason="r" * 1001), "reason_too_long"),
        (signed(user=""), "user_unusable"),
        (signed(user="ü" * 129), "user_unusable"),
        (signed(user="a\nb"), "user_unusable"),
        (signed(network="twitter"), "field_unused"),
        (signed(**RELEASE | {"network": ""}), "network_unknown"),
        (signed(**RELEASE | {"network": "twitter "}), "network_unknown"),
        (signed(**RELEASE | {"source": ""}), "source_unknown"),
        (signed(**RELEASE | {"source": "north"}), "source_unknown"),
        (signed(**RELEASE | {"network": "mastodon"}), "source_unknown"),
        (signed(**RELEASE | {"user": "u:1"}), "field_unused"),
        (signed(**RELEASE | {"offset": 0}), "field_unused"),
        (signed(AUDIT, key="audit", **RELEASE), "not_permitted"),
        (signed(**QUARANTINE | {"partition": None}), "position_unusable"),
        (signed(**QUARANTINE | {"partition": 4}), "position_unusable"),
        (signed(**QUARANTINE | {"partition": -1}), "position_unusable"),
        (signed(**QUARANTINE | {"lane": None}), "position_unusable"),
        (signed(**QUARANTINE | {"offset": None}), "position_unusable"),
        (signed(**QUARANTINE | {"offset": -1}), "position_unusable"),
        (signed(**QUARANTINE | {"offset": 10**40}), "position_unusable"),
        (signed(**QUARANTINE | {"source": "west"}), "field_unused"),
        (signed(AUDIT, key="audit", **QUARANTINE), "not_permitted"),
        (signed(id=""), "id_unusable"),
        (signed(id="i" * 65), "id_unusable"),
        (signed(issued=format_ms(NOW + 300_001)), "issued_ahead"),
    ],
)
def test_a_command_that_is_not_in_order_is_refused_and_the_public_record_says_why(value: bytes, why: str) -> None:
    outcome = decided(value)
    assert not outcome.lane
    assert [(of.accepted, of.why) for of in records(value)] == [(False, why)]
    assert outcome.counts == Counter(read=1, refused=1)


@pytest.mark.parametrize(
    "value",
    [
        signed(reason="r" * 1000),
        signed(user="ü" * 128),
        signed(id="i" * 64),
        signed(issued=format_ms(NOW + 300_000)),
        signed(AUDIT, key="audit", command="unforget"),
    ],
)
def test_what_is_just_within_the_limits_is_obeyed(value: bytes) -> None:
    assert len(decided(value).lane) == 1


def test_a_release_goes_into_the_lanes_and_its_record_names_the_collector() -> None:
    [value] = decided(signed(**RELEASE)).lane
    assert releases_of(decode(value)) == [("twitter", "west")]
    [record] = records(signed(**RELEASE))
    assert (record.accepted, record.subject, record.network, record.source) == (True, "", "twitter", "west")
    assert (record.partition, record.lane, record.offset) == (None, None, None)


def test_a_quarantine_is_on_public_record_alone_for_the_partition_that_stands_still() -> None:
    outcome = decided(signed(**QUARANTINE))
    assert (outcome.lane, outcome.counts) == ([], Counter(read=1, accepted=1))
    [record] = records(signed(**QUARANTINE))
    assert (record.accepted, record.epoch, record.subject) == (True, 40, "")
    assert (record.partition, record.lane, record.offset) == (3, "targets", 17)


def test_what_a_refused_command_says_is_recorded_within_limits() -> None:
    [release] = records(signed(**RELEASE | {"network": "n" * 99, "source": "ü" * 999}))
    assert (release.network, release.source) == ("n" * 32, "ü" * 128)
    [quarantine] = records(signed(**QUARANTINE | {"partition": 10**400, "offset": -1}))
    assert (quarantine.partition, quarantine.offset) == (None, None)


def test_a_command_sent_again_is_refused_also_by_another_process() -> None:
    first, second = signed(), signed(id="c2", issued=format_ms(NOW + 1))
    remembered: dict[str, int] = {}
    assert decided(first, second, first, second, issued_ms=remembered).counts["refused"] == 2
    assert decided(first, second, issued_ms=remembered).counts == Counter(read=2, refused=2)


def test_the_times_of_one_key_do_not_hold_up_another() -> None:
    later = signed(issued=format_ms(NOW + 5))
    assert decided(later, signed(AUDIT, key="audit", command="unforget")).counts["accepted"] == 2


def test_keys_that_are_configured_no_more_are_not_remembered() -> None:
    remembered = {"former": NOW, "audit": NOW}
    decided(signed(), issued_ms=remembered)
    assert remembered == {"audit": NOW, "ops": NOW}


def test_what_is_remembered_of_as_many_keys_as_there_may_be_fits_into_the_metadata_of_an_offset() -> None:
    names = [f"{number:02}".ljust(KEY_NAME_BYTES_MAX, "k") for number in range(CONTROL_KEYS_MAX)]
    position = FeedPosition(
        [2**63] * LANE_PARTITIONS_MAX, dict.fromkeys(COMMAND_OUTCOMES, 2**63), dict.fromkeys(names, NOW)
    )
    assert len(encode(position)) <= 4096


def test_a_refused_command_leaves_no_time_behind() -> None:
    assert decided(signed(reason="", issued=format_ms(NOW + 5)), signed()).counts == Counter(
        read=2, refused=1, accepted=1
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "broken_json"),
        (b"{", "broken_json"),
        (b"\xff", "broken_json"),
        (b"[" * 100_000, "record_too_large"),
        (b"[" * 10_000, "wrong_type"),
        (b"17", "wrong_type"),
        (json.dumps({"id": "c"}).encode(), "wrong_type"),
        (signed(issued="yesterday"), "time_invalid"),
        (signed(issued="1969-01-01T00:00:00Z"), "time_invalid"),
        (signed() + b" " * 16_384, "record_too_large"),
    ],
)
def test_what_is_no_command_is_a_dead_letter(value: bytes | None, reason: str) -> None:
    outcome = decided(value)
    [letter] = outcome.letters
    why = decode_headers(letter.headers)
    assert (why.reason, why.source_topic, why.source_offset, letter.value) == (reason, "control.v1", 40, value)
    assert outcome.counts == Counter(read=1, dead_lettered=1)
    assert not outcome.lane
    assert not outcome.records


@given(st.lists(st.binary(max_size=30) | st.sampled_from([signed(), signed(key="x"), b"null"]), max_size=5))
def test_every_record_has_one_outcome(values: list[bytes]) -> None:
    counts = decided(*values).counts
    assert counts["read"] == len(values) == counts["accepted"] + counts["refused"] + counts["dead_lettered"]
