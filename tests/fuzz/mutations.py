"""Damage done to valid bytes, each kind by a number that Hypothesis draws and makes smaller when something is found.

Random bytes hardly ever get past a reader's first check; what was valid and then changed a little does. Bytes are
flipped, cut, doubled, and overwritten with the numbers at which things go wrong; where a codec is given the value is
also taken apart and changed as a tree, so that what comes out is well formed and wrong.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

SCALE: Final = 1 << 16
"""Positions and choices are drawn below this."""

NUMBERS: Final = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63)
TOKENS: Final = (
    *(b"", b"\0", b"\x1f", b"\x7f", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf"),
    *(b'"', b"\\", b"\\u0000", b"\\ud800", b"null", b"1e999", b"-0", b"NaN", b"1" * 400, b"9" * 5000, b"[", b"{}"),
    *(
        b"[" * 129,
        b'{"a":' * 129,
        b"[" * 3000,
        b"[[],",
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 3000,
    ),
)
VALUES: Final[tuple[object, ...]] = (
    *(None, True, "", "\0", "x" * 257, "é" * 200, "\U0001f600", "2012-07-01T00:00:00Z", "9999-12-31T23:59:60+99:99"),
    *(0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 1e308, -1.5, [], {}, [[]], [None], {"": None}, ["a"] * 300),
)


class Codec(NamedTuple):
    """How a value is taken apart and put together again."""

    parse: Callable[[bytes], Any]
    join: Callable[[Any], bytes]


JSON: Final = Codec(msgspec.json.decode, msgspec.json.encode)
MSGPACK: Final = Codec(msgspec.msgpack.decode, msgspec.msgpack.encode)


CHOICES: Final = 16 * SCALE**2
"""Ways to do damage, and places to do it, together."""


class Damage(NamedTuple):
    """What became of a value."""

    value: bytes
    whole: bool
    """Whether it is as well formed as before, so that more damage to it is worth while."""


def damaged(value: bytes, choice: int, samples: Sequence[bytes], codec: Codec | None) -> Damage:
    """Return `value` with one thing wrong; every other choice changes it as a tree, where that can be."""
    choice, kind = divmod(choice, 2 * len(_WAYS))
    more, at = divmod(choice, SCALE)
    if kind % 2 and codec is not None:
        return Damage(_changed_tree(value, at, more, kind // 2, codec), whole=True)
    return Damage(_WAYS[kind // 2](value, _place(value, at), more, samples), whole=codec is None)


def _place(value: bytes, at: int) -> int:
    return at * (len(value) + 1) // SCALE


def _flip(value: bytes, at: int, more: int, _: Sequence[bytes]) -> bytes:
    return value[:at] + bytes(byte ^ (1 << more % 8) for byte in value[at : at + 1]) + value[at + 1 :]


def _set(value: bytes, at: int, more: int, _: Sequence[bytes]) -> bytes:
    return value[:at] + bytes([more & 0xFF]) + value[at + 1 :]


def _number(value: bytes, at: int, more: int, _: Sequence[bytes]) -> bytes:
    more, size = divmod(more, 4)
    more, little = divmod(more, 2)
    width = 1 << size
    number = NUMBERS[more % len(NUMBERS)] & ((1 << 8 * width) - 1)
    at -= at % width if little else 0
    return value[:at] + number.to_bytes(width, "little" if little else "big") + value[at + width :]


def _delete(value: bytes, at: int, more: int, _: Sequence[bytes]) -> bytes:
    return value[:at] + value[at + 1 + more % 64 :]


def _truncate(value: bytes, at: int, _more: int, _: Sequence[bytes]) -> bytes:
    return value[:at]


def _double(value: bytes, at: int, more: int, _: Sequence[bytes]) -> bytes:
    return value[: at + more % 64] + value[at:]


def _insert(value: bytes, at: int, more: int, _: Sequence[bytes]) -> bytes:
    return value[:at] + TOKENS[more % len(TOKENS)] + value[at:]


def _splice(value: bytes, at: int, more: int, samples: Sequence[bytes]) -> bytes:
    more, which = divmod(more, len(samples))
    other = samples[which]
    return value[:at] + other[more % (len(other) + 1) :]


_WAYS: Final = (_flip, _set, _number, _delete, _truncate, _double, _insert, _splice)
_SAME_LENGTH_WAYS: Final = 3


def _changed_tree(value: bytes, at: int, more: int, kind: int, codec: Codec) -> bytes:
    """Put another value, nothing, or another part of the tree, in the place of one part; or damage bytes there."""
    try:
        tree = codec.parse(value)
    except (ValueError, RecursionError):
        return value
    places = list(_places(tree))
    if not places:
        return codec.join(VALUES[more % len(VALUES)])
    holder, key = places[at % len(places)]
    part = holder[key]
    choice = more % (len(VALUES) + 3)
    if isinstance(part, bytes) and kind:
        # Columns: of the same length they are read on, with other numbers in them.
        holder[key] = _WAYS[more % _SAME_LENGTH_WAYS](part, _place(part, at * 7919 % SCALE), more // 3, [])
    elif choice < len(VALUES):
        holder[key] = VALUES[choice]
    elif choice == len(VALUES):
        del holder[key]
    elif choice == len(VALUES) + 1 and isinstance(holder, list):
        holder.insert(key, holder[key])
    else:
        other, name = places[(at + more) % len(places)]
        holder[key] = msgspec.msgpack.decode(msgspec.msgpack.encode(other[name]))
    try:
        return codec.join(tree)
    except (ValueError, RecursionError, OverflowError):
        return value


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a tree, as what holds it and its key there."""
    waiting = [tree]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            yield holder, key
            waiting.append(holder[key])
