"""Where a stream has come to: the id of each of its events, from which it goes on after its connection dropped.

It is the next offset of every partition of the change topic, so all changes before them were considered and none
after. Which gateway a client comes back to makes no difference. As text: a tag of the topic, `-`, and the offsets in
the order of the partitions with dots between, for instance `3f9a1c-120.7.0.88`.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Final

CURSOR_LENGTH_MAX: Final = 2_048
"""Characters of a cursor; the offsets of 100 partitions fit whatever they are."""
OFFSET_MAX: Final = (1 << 63) - 1
"""Largest offset that Kafka can give."""
_FORM: Final = re.compile(r"([0-9a-f]{6})-(\d{1,19}(?:\.\d{1,19})*)")


class CursorError(ValueError):
    """A text is no cursor."""


def tag_of(topic_id: str) -> str:
    """Return a topic's tag: another topic of the same name has another one.

    >>> tag_of("hH3jA_uFQG2r0Bq7cW0w1A")
    '5d7a50'
    """
    return hashlib.blake2b(topic_id.encode(), digest_size=3).hexdigest()


def encode_cursor(tag: str, offsets: Sequence[int]) -> str:
    """Write a cursor.

    >>> encode_cursor("3f9a1c", [120, 7, 0, 88])
    '3f9a1c-120.7.0.88'
    """
    return f"{tag}-{'.'.join(map(str, offsets))}"


def decode_cursor(text: str, tag: str, partitions: int) -> list[int] | None:
    """Read a cursor; None for one of another topic, from which nothing can go on. Raise `CursorError` for no cursor.

    >>> decode_cursor("3f9a1c-120.7.0.88", "3f9a1c", 4), decode_cursor("3f9a1c-120.7.0.88", "000000", 4)
    ([120, 7, 0, 88], None)
    """
    found = _FORM.fullmatch(text) if len(text) <= CURSOR_LENGTH_MAX else None
    if found is None:
        raise CursorError("it has the form of the ids that the stream's events have")
    offsets = [int(offset) for offset in found[2].split(".")]
    if max(offsets) > OFFSET_MAX:
        raise CursorError("an offset in it is larger than any can be")
    return offsets if found[1] == tag and len(offsets) == partitions else None
