"""What could not be taken in: the original bytes as the value, and why in the headers.

All header values are UTF-8 text. `source_index` is there only when the letter is one element of an array; its value
is then that element's bytes. Where the network's format reads headers, the record's own follow with `original:` before
their names, so that it can be sent again as it was.

A letter that was sent again has a mark behind it in the same partition: a record without a value whose one header,
`replayed_offset`, is the letter's offset. Retention deletes from the old end, so a mark outlives its letter.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec
from msgspec import Struct

from schemas.limits import (
    ARRAY_EVENTS_MAX,
    DETAIL_LENGTH_MAX,
    ID_BYTES_MAX,
    NESTING_MAX,
    OBJECT_BYTES_MAX,
    RECIPIENTS_MAX,
    RECORD_BYTES_MAX,
    SOURCE_BYTES_MAX,
    TIME_AHEAD_MS_MAX,
    USER_BYTES_MAX,
)
from schemas.users import CANARY_PREFIX

Reason = Literal[
    "broken_json",
    "wrong_type",
    "missing_field",
    "unknown_kind",
    "id_too_long",
    "user_too_long",
    "object_too_long",
    "source_too_long",
    "control_character",
    "reserved_user",
    "time_invalid",
    "time_in_future",
    "empty_array",
    "too_many_events",
    "record_too_large",
    "not_understood",
    "not_a_packed_record",
    "quarantined",
]

REASONS: Final[dict[Reason, str]] = {
    "broken_json": f"The bytes are not JSON, or nested more than {NESTING_MAX} levels deep.",
    "wrong_type": "A field has another type than the format says.",
    "missing_field": "A field that this kind needs is absent or empty.",
    "unknown_kind": "The kind is none of those that count.",
    "id_too_long": f"The event's id has more than {ID_BYTES_MAX} UTF-8 bytes.",
    "user_too_long": f"A user id has more than {USER_BYTES_MAX} UTF-8 bytes.",
    "object_too_long": f"The object has more than {OBJECT_BYTES_MAX} UTF-8 bytes.",
    "source_too_long": f"The source has more than {SOURCE_BYTES_MAX} UTF-8 bytes.",
    "control_character": "A user id holds a control character (U+0000 to U+001F).",
    "reserved_user": f"A user id begins with {CANARY_PREFIX}: such accounts are the guard's alone.",
    "time_invalid": "The time is not RFC 3339 with an offset, nor milliseconds, or lies outside 1970 to 2099.",
    "time_in_future": f"The event claims to be more than {TIME_AHEAD_MS_MAX // 60_000} minutes later than its arrival.",
    "empty_array": "The record is an array without events.",
    "too_many_events": f"The record holds more than {ARRAY_EVENTS_MAX} events, or one activity of it speaks to more "
    f"than {RECIPIENTS_MAX} people.",
    "record_too_large": f"The record has more than {RECORD_BYTES_MAX} bytes.",
    "not_understood": "The record is well formed but its format gives it no meaning here.",
    "not_a_packed_record": "A record of a lane is damaged, or of a format that the worker does not know.",
    "quarantined": "An operator set the record of a lane aside, so that its partition goes on.",
}
"""Every reason that a dead letter can have, and what it means."""


Header = tuple[str, bytes | str | None]
"""A header as the Kafka client gives it."""

_ORIGINAL: Final = "original:"
_REPLAYED: Final = "replayed_offset"


class DeadLetter(Struct, frozen=True, kw_only=True):
    """Why a record, or one element of it, was not taken in, and where it came from."""

    reason: Reason
    detail: str
    source_topic: str
    source_partition: int
    source_offset: int
    source_time: int
    """When it arrived, in milliseconds."""
    source_index: int | None = None
    """Its place in the record's array; None when the letter is the whole record."""


def encode_headers(letter: DeadLetter, original: Sequence[Header] = ()) -> list[Header]:
    """Write a dead letter's headers; `original` are those of the record that it is, or comes from.

    >>> letter = DeadLetter(reason="empty_array", detail="no events", source_topic="interactions.twitter.v1",
    ...                     source_partition=3, source_offset=17, source_time=1_340_000_000_000)
    >>> encode_headers(letter)[0]
    ('reason', b'empty_array')
    >>> decode_headers(encode_headers(letter)) == letter
    True
    """
    headers: list[Header] = [
        ("reason", letter.reason.encode()),
        ("detail", letter.detail[:DETAIL_LENGTH_MAX].encode(errors="replace")),
        ("source_topic", letter.source_topic.encode()),
        ("source_partition", b"%d" % letter.source_partition),
        ("source_offset", b"%d" % letter.source_offset),
        ("source_time", b"%d" % letter.source_time),
    ]
    if letter.source_index is not None:
        headers.append(("source_index", b"%d" % letter.source_index))
    return [*headers, *((_ORIGINAL + name, value) for name, value in original)]


def decode_headers(headers: Iterable[Header]) -> DeadLetter:
    """Read a dead letter's headers; a ValueError if they are not such."""
    found = {
        name: value.decode() for name, value in headers if isinstance(value, bytes) and not name.startswith(_ORIGINAL)
    }
    return msgspec.convert(found, DeadLetter, strict=False)


def original_headers(headers: Iterable[Header]) -> list[Header]:
    """Return the headers that the record had before it became a dead letter.

    >>> original_headers([("reason", b"wrong_type"), ("original:ce_id", b"7")])
    [('ce_id', b'7')]
    """
    return [(name.removeprefix(_ORIGINAL), value) for name, value in headers if name.startswith(_ORIGINAL)]


def encode_mark(offset: int) -> list[Header]:
    """Write the headers that say that the letter at `offset` of the same partition was sent again."""
    return [(_REPLAYED, b"%d" % offset)]


def decode_mark(headers: Iterable[Header]) -> int | None:
    """Return the offset of the letter that was sent again; None where the headers are no mark. A ValueError if broken.

    >>> decode_mark(encode_mark(17)), decode_mark([("reason", b"wrong_type")])
    (17, None)
    """
    return next((int(value or b"") for name, value in headers if name == _REPLAYED), None)
