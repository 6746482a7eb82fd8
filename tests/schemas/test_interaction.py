from typing import get_args

from schemas.interaction import CODES, REQUIRED, Kind
from schemas.kinds import HEARTBEAT, KIND_CODES, KINDS, RETRACT


def test_the_kinds_of_the_type_are_the_kinds_that_count_and_the_two_that_do_not() -> None:
    assert get_args(Kind) == (*KINDS, RETRACT, HEARTBEAT)


def test_every_kind_has_a_code_of_its_own() -> None:
    assert set(CODES) == set(get_args(Kind))
    assert len(set(CODES.values())) == len(CODES)


def test_kinds_that_count_have_the_codes_of_packed_records() -> None:
    assert CODES.items() >= KIND_CODES.items()


def test_every_kind_says_what_it_needs() -> None:
    assert set(REQUIRED) == set(get_args(Kind))
