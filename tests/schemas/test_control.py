from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.control import COMMAND_NAMES, NEEDS, Command, decode_command, decode_record, encode_command, sign, verified
from schemas.packed import COMMAND_CODES

SECRET = b"a secret of the operators"
COMMAND = Command(
    id="7", command="forget", user="twitter:1", reason="asked for", key="ops", issued="2026-01-01T00:00:00.000Z"
)

RELEASE = msgspec.structs.replace(COMMAND, command="release", user="", network="twitter", source="west")
QUARANTINE = msgspec.structs.replace(COMMAND, command="quarantine", user="", partition=1, lane="actors", offset=17)


def test_a_signed_command_is_read_back_and_still_signed() -> None:
    signed = sign(COMMAND, SECRET)
    assert decode_command(encode_command(signed)) == signed
    assert verified(signed, SECRET)


@pytest.mark.parametrize("field", ["id", "user", "reason", "key", "issued"])
def test_nothing_of_a_signed_command_can_be_changed(field: str) -> None:
    signed = sign(COMMAND, SECRET)
    assert not verified(msgspec.structs.replace(signed, **{field: getattr(signed, field) + "1"}), SECRET)


def test_a_signed_order_cannot_be_turned_into_its_contrary() -> None:
    assert not verified(msgspec.structs.replace(sign(COMMAND, SECRET), command="unforget"), SECRET)


def test_text_cannot_be_moved_from_one_field_to_the_next() -> None:
    signed = sign(msgspec.structs.replace(COMMAND, user="ab", reason="c"), SECRET)
    assert not verified(msgspec.structs.replace(signed, user="a", reason="bc"), SECRET)


@given(st.text(max_size=70))
def test_no_other_signature_is_taken(signature: str) -> None:
    assert not verified(msgspec.structs.replace(COMMAND, signature=signature), SECRET)


def test_what_is_added_to_a_signed_command_makes_its_signature_wrong() -> None:
    for added in ({"network": "twitter"}, {"source": "west"}, {"partition": 0}, {"lane": "actors"}, {"offset": 0}):
        assert not verified(msgspec.structs.replace(sign(COMMAND, SECRET), **added), SECRET)


@pytest.mark.parametrize("field", ["network", "source"])
def test_nothing_of_a_signed_release_can_be_changed(field: str) -> None:
    assert verified(sign(RELEASE, SECRET), SECRET)
    for text in ("", getattr(RELEASE, field) + "1"):
        assert not verified(msgspec.structs.replace(sign(RELEASE, SECRET), **{field: text}), SECRET)


@pytest.mark.parametrize("changed", [{"partition": 2}, {"lane": "targets"}, {"offset": 18}, {"offset": None}])
def test_nothing_of_a_signed_quarantine_can_be_changed(changed: dict[str, Any]) -> None:
    assert verified(sign(QUARANTINE, SECRET), SECRET)
    assert not verified(msgspec.structs.replace(sign(QUARANTINE, SECRET), **changed), SECRET)


def test_signatures_made_before_there_were_commands_about_no_user_are_still_right() -> None:
    assert sign(COMMAND, SECRET).signature == "d2a831b03515914d6b861165a72c3fe7b3682a4d75f7e5988d2adecc293ef780"


def test_public_records_written_before_there_were_commands_about_no_user_are_still_read() -> None:
    record = decode_record(
        b'{"id":"7","command":"forget","subject":"0f","key":"ops","reason":"asked for","issued":"x","received":"y",'
        b'"epoch":3,"accepted":true,"why":null}'
    )
    assert (record.subject, record.network, record.offset) == ("0f", None, None)


def test_commands_about_users_have_a_number_in_the_lanes() -> None:
    assert list(COMMAND_CODES) == [name for name in COMMAND_NAMES if NEEDS[name] == ("user",)]
    assert list(NEEDS) == list(COMMAND_NAMES)
