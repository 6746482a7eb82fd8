import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.control import COMMAND_NAMES, Command, decode_command, encode_command, sign, verified
from schemas.packed import COMMAND_CODES

SECRET = b"a secret of the operators"
COMMAND = Command(
    id="7", command="forget", user="twitter:1", reason="asked for", key="ops", issued="2026-01-01T00:00:00.000Z"
)


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


def test_every_command_has_a_number_in_the_lanes() -> None:
    assert tuple(COMMAND_CODES) == COMMAND_NAMES
