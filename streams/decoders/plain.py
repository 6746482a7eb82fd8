"""Reads native events that are written plainly straight into columns, without an object an event.

Plain is what collectors usually write: a flat JSON object, or an array of them, with the known fields once each, texts
without escapes, times as integers or as RFC 3339 in UTC; and everything is as it must be. Whatever is not plain is left
to `streams.decoders.formats.native`, which also knows what to say about it. So this module accepts less, and nothing
that the other would refuse or read differently; `tests/decoders/test_plain.py` holds that.

One kernel walks over the joined texts of a batch. Names are numbered on the way, by their hashes, so that Python sees
each distinct one once.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.interaction import CODES, REQUIRED
from schemas.limits import (
    ARRAY_EVENTS_MAX,
    ID_BYTES_MAX,
    OBJECT_BYTES_MAX,
    SOURCE_BYTES_MAX,
    TIME_AHEAD_MS_MAX,
    TIME_MS_MAX,
    USER_BYTES_MAX,
)
from schemas.users import CANARY_PREFIX
from scorer.compiled import kernel
from streams.decoders.batch import WHOLE
from streams.decoders.columns import Columns
from streams.decoders.texts import Texts
from streams.decoders.xxh3 import BYTES_MAX, PADDING, words_of, xxh3

_ID: Final = 0
_ACTOR: Final = 1
_TARGET: Final = 2
_SOURCE: Final = 3
_OBJECT: Final = 4
_KIND: Final = 5
_TIME: Final = 6
_OTHER: Final = 7
_SEEN: Final = 8
"""Not a field: which of them were there."""
_NAMED: Final = 3
"""Actor, target and source are numbered."""
_FIELDS: Final = ("id", "actor", "target", "source", "object", "kind", "time")
_NOT: Final = -1
_DIGITS_MAX: Final = 15
"""Of an integer: more cannot be a time, and fewer cannot overflow."""
_FRACTION_DIGITS_MAX: Final = 6
_NAME: Final = np.dtype([("hash", "<u8"), ("begin", "<i8"), ("end", "<i8")])
_MOMENT_BYTES: Final = 20
"""Of a moment without a fraction."""
_LOW: Final = np.uint64(0xFFFFFFFF)
_NULL: Final = np.uint64(int.from_bytes(b"null", "little"))
_ONES: Final = np.uint64(0x0101010101010101)
_HIGH_BITS: Final = np.uint64(0x8080808080808080)
_QUOTES: Final = np.uint64(0x2222222222222222)
_BACKSLASHES: Final = np.uint64(0x5C5C5C5C5C5C5C5C)
_SPACES: Final = np.uint64(0x2020202020202020)
_PLACES: Final = np.uint64(0x0001020304050607)
"""Multiplied by a word with one byte set to 1, has that byte's place in its highest byte."""
_RESERVED: Final = np.uint64(int.from_bytes(CANARY_PREFIX.encode(), "little"))
"""The eight characters that the ids of synthetic accounts begin with: what names one is not plain."""
_DAY_MS: Final = 86_400_000

_LENGTH_MAX: Final = np.array(
    [
        min(ID_BYTES_MAX, BYTES_MAX),
        min(USER_BYTES_MAX, BYTES_MAX),
        min(USER_BYTES_MAX, BYTES_MAX),
        min(SOURCE_BYTES_MAX, BYTES_MAX),
        OBJECT_BYTES_MAX,
    ]
)


def _words(words: Sequence[str]) -> NDArray[np.uint64]:
    """Return texts, each with its closing quotation mark, as two words and their lengths: [3, n]."""
    closed = [word.encode() + b'"' for word in words]
    return np.array(
        [[int.from_bytes(text[at : at + 8], "little") for text in closed] for at in (0, 8)]
        + [[len(text) for text in closed]],
        np.uint64,
    )


_NAMES: Final = _words(_FIELDS)
_KINDS: Final = _words(tuple(REQUIRED))
_CODES: Final = np.array([CODES[kind] for kind in REQUIRED], np.uint8)
_NEEDS: Final = np.array(
    [sum(1 << _FIELDS.index(name) for name in needs if name not in {"kind", "time"}) for needs in REQUIRED.values()]
)
"""For each kind, a bit for each text that it must have."""


class Plain(NamedTuple):
    """The plain events of a batch."""

    columns: Columns
    others: NDArray[np.intp]
    """Records that are not plain; no event of theirs is in the columns."""


def read_plain(values: Sequence[bytes], lengths: NDArray[np.int64], arrival_ms: NDArray[np.int64]) -> Plain:
    """Read all records that are plain; `lengths`, in bytes, and `arrival_ms` are int64[records].

    >>> values = [b'{"id":"7","kind":"share","actor":"a","target":"b","time":5}', b'{"kind":"heartbeat","time":"soon"}']
    >>> plain = read_plain(values, np.array([59, 34]), np.full(2, 6_000))
    >>> plain.columns.time_ms.tolist(), plain.columns.actors.rows(), plain.others.tolist()
    ([5], [b'a'], [1])
    """
    text = b"".join([*values, PADDING])
    ends = np.cumsum(lengths)
    room = _count(np.frombuffer(text, np.uint8), 123)
    record, index = np.empty(room, np.int32), np.empty(room, np.int32)
    kind, time_ms = np.empty(room, np.uint8), np.empty(room, np.int64)
    id_hash, numbers = np.empty(room, np.uint64), np.empty((_NAMED, room), np.uint32)
    # Twice as many slots as there can be names, so that looking takes a step or two.
    slots = np.zeros((_NAMED, 1 << max(4, (2 * room).bit_length())), np.uint32)
    names = np.empty((_NAMED, room + 1), _NAME)
    counts, is_plain = np.ones(_NAMED, np.int64), np.empty(len(values), np.bool_)
    events = _read(
        words_of(text), ends, np.ascontiguousarray(arrival_ms), _forbidden(text),
        record, index, kind, time_ms, id_hash, numbers, slots, names, counts, is_plain,
        np.empty((_SEEN + 1, 2), np.int64),
    )  # fmt: skip
    actors, targets, sources = (
        Texts(_cut(text, names[of, 1 : counts[of]]), numbers[of, :events], names["hash"][of, : counts[of]].copy())
        for of in range(_NAMED)
    )
    columns = Columns(
        record[:events], index[:events], kind[:events], time_ms[:events], id_hash[:events],
        (actors, targets, sources), [],
    )  # fmt: skip
    return Plain(columns, np.flatnonzero(~is_plain))


def _forbidden(text: bytes) -> np.uint64:
    """Return the bits that no plain text has set: in what is not UTF-8 throughout, ASCII alone is plain."""
    try:
        if not text.isascii():
            text.decode()
    except UnicodeDecodeError:
        return _HIGH_BITS
    return np.uint64(0)


def _cut(text: bytes, names: NDArray[np.void]) -> list[bytes]:
    """Return these names, behind the empty one, which has the number 0."""
    return [b"", *[text[begin:end] for begin, end in zip(names["begin"].tolist(), names["end"].tolist(), strict=True)]]


@kernel
def _count(text: Any, character: int) -> int:
    """Return how often a character comes, in a fifth of the time that `bytes.count` takes for one so frequent."""
    count = 0
    for place in range(len(text)):
        count += text[place] == character
    return count


@kernel
def _read(
    words: Any,
    ends: Any,
    arrival_ms: Any,
    forbidden: Any,
    record: Any,
    index: Any,
    kind: Any,
    time_ms: Any,
    id_hash: Any,
    numbers: Any,
    slots: Any,
    names: Any,
    counts: Any,
    is_plain: Any,
    field: Any,
) -> int:
    for of in range(_NAMED):
        names[of, 0]["hash"] = xxh3(words, 0, 0)
    events = 0
    begin = 0
    for number in range(len(ends)):
        end = ends[number]
        at, first = _skipped(words, begin, end), events
        many = at < end and _character(words, at) == 91
        if many:
            at += 1
        while at >= 0:
            at = _object(words, _skipped(words, at, end), end, field, forbidden)
            if at < 0 or not _is_sound(field, arrival_ms[number]):
                at = _NOT
                break
            record[events], index[events] = number, events - first if many else WHOLE
            kind[events], time_ms[events] = _CODES[field[_KIND, 0]], field[_TIME, 0]
            id_hash[events] = xxh3(words, field[_ID, 0], field[_ID, 1])
            for of in range(_NAMED):
                numbers[of, events] = _numbered(
                    words, field[_ACTOR + of, 0], field[_ACTOR + of, 1], slots[of], names[of], counts, of
                )
            events += 1
            at = _skipped(words, at, end)
            if not many:
                break
            if at < end and _character(words, at) == 93:
                at = _skipped(words, at + 1, end)
                break
            at = at + 1 if at < end and _character(words, at) == 44 and events - first < ARRAY_EVENTS_MAX else _NOT
        is_plain[number] = at == end
        if at != end:
            events = first
        begin = end
    return events


@kernel
def _as_int(word: Any) -> Any:
    return np.int64(word)


@kernel
def _character(words: Any, at: int) -> Any:
    return np.int64(words[at] & np.uint64(0xFF))


@kernel
def _skipped(words: Any, at: int, end: int) -> int:
    """Return the place of the next character that is no white space."""
    while at < end:
        character = _character(words, at)
        if character > 32 or not (character == 32 or 9 <= character <= 10 or character == 13):
            break
        at += 1
    return at


@kernel
def _object(words: Any, at: int, end: int, field: Any, forbidden: Any) -> int:
    """Read an object into `field`, begin and end of each text; return the place behind it, or -1."""
    field[:] = 0
    if at >= end or _character(words, at) != 123:
        return _NOT
    while True:
        at = _skipped(words, _member(words, _skipped(words, at + 1, end), end, field, forbidden), end)
        if not 0 <= at < end:
            return _NOT
        if _character(words, at) == 125:
            seen = field[_SEEN, 0]
            return at + 1 if seen >> _KIND & 1 and seen >> _TIME & 1 else _NOT
        if _character(words, at) != 44:
            return _NOT


@kernel
def _member(words: Any, at: int, end: int, field: Any, forbidden: Any) -> int:
    """Read a name and its value; return the place behind them, or the end of the text if they are not plain."""
    if at >= end or _character(words, at) != 34:
        return end
    name = _which(words, at + 1, _NAMES)
    if name < 0:
        name, stop = _OTHER, _text_end(words, at, end, forbidden)
    else:
        stop = at + _as_int(_NAMES[2, name])
        if field[_SEEN, 0] >> name & 1:
            return end
    field[_SEEN, 0] |= 1 << name
    at = _skipped(words, stop + 1, end)
    if stop < 0 or at >= end or _character(words, at) != 58:
        return end
    at = _value(words, _skipped(words, at + 1, end), end, name, field, forbidden)
    return at if at >= 0 else end


@kernel
def _value(words: Any, at: int, end: int, name: int, field: Any, forbidden: Any) -> int:
    """Read a field's value; return the place behind it, or -1."""
    if at < end and _character(words, at) == 34:
        stop = _text_end(words, at, end, forbidden)
        return stop + 1 if stop >= 0 and _take(words, at + 1, stop, name, field) else _NOT
    if name == _TIME:
        return _integer(words, at, end, field)
    if (name == _SOURCE or name == _OBJECT) and at + 4 <= end:  # noqa: PLR1714, SIM109  as the compiler knows it
        return at + 4 if words[at] & _LOW == _NULL else _NOT
    return _NOT


@kernel
def _take(words: Any, begin: int, end: int, name: int, field: Any) -> bool:
    """Take a text as a field's value; return whether it can be that."""
    if name == _KIND:
        field[_KIND, 0] = _which(words, begin, _KINDS)
        return bool(field[_KIND, 0] >= 0)
    if name == _TIME:
        field[_TIME, 0] = _moment(words, begin, end)
        return bool(field[_TIME, 0] >= 0)
    if name == _OTHER:
        return True
    field[name, 0], field[name, 1] = begin, end
    if _ACTOR <= name <= _TARGET and words[begin] == _RESERVED:
        return False
    return bool(end - begin <= _LENGTH_MAX[name])


@kernel
def _text_end(words: Any, at: int, end: int, forbidden: Any) -> int:
    """Return the place of the closing quotation mark of a text that begins here, or -1 if it is not plain.

    Looks at eight characters at once; of the bits set for those that end a text or are not plain, the lowest is right.
    """
    if at >= end or _character(words, at) != 34:
        return _NOT
    place = at + 1
    while place < end:
        word = words[place]
        quotes, escapes = word ^ _QUOTES, word ^ _BACKSLASHES
        found = (
            (quotes - _ONES & ~quotes) | (escapes - _ONES & ~escapes) | (word - _SPACES & ~word)
        ) & _HIGH_BITS | word & forbidden
        if found:
            lowest = (found & ~found + np.uint64(1)) >> np.uint64(7)
            place += _as_int(lowest * _PLACES >> np.uint64(56))
            return place if place < end and _character(words, place) == 34 else _NOT
        place += 8
    return _NOT


@kernel
def _which(words: Any, begin: int, known: Any) -> int:
    """Return the number of the word that is here with its closing quotation mark, or -1."""
    word = words[begin]
    for number in range(known.shape[1]):
        bits = np.uint64(8) * min(known[2, number], np.uint64(8))
        mask = ~np.uint64(0) >> (np.uint64(64) - bits)
        if word & mask != known[0, number]:
            continue
        if bits < 64:
            return number
        more = (np.uint64(1) << (np.uint64(8) * known[2, number] - np.uint64(64))) - np.uint64(1)
        if words[begin + 8] & more == known[1, number]:
            return number
    return _NOT


@kernel
def _integer(words: Any, at: int, end: int, field: Any) -> int:
    """Read a time in milliseconds; return the place behind it, or -1."""
    begin, value = at, np.int64(0)
    while at < end and 48 <= _character(words, at) <= 57 and at - begin <= _DIGITS_MAX:
        value = 10 * value + np.int64(_character(words, at)) - 48
        at += 1
    field[_TIME, 0] = value
    leading = at - begin > 1 and _character(words, begin) == 48
    return at if 0 < at - begin <= _DIGITS_MAX and not leading else _NOT


@kernel
def _digits(words: Any, begin: int, count: int) -> Any:
    """Return a number of so many digits, or a very low one."""
    value = np.int64(0)
    for place in range(begin, begin + count):
        if not 48 <= _character(words, place) <= 57:
            return -1_000_000
        value = 10 * value + np.int64(_character(words, place)) - 48
    return value


@kernel
def _moment(words: Any, begin: int, end: int) -> Any:
    """Return the ms of a moment such as 2012-07-01T00:02:52.25Z, or -1; what is finer than a ms is cut off."""
    if end - begin < _MOMENT_BYTES or _character(words, end - 1) != 90:
        return _NOT
    dates = _character(words, begin + 4) == 45 and _character(words, begin + 7) == 45
    clocks = _character(words, begin + 13) == 58 and _character(words, begin + 16) == 58
    if not (dates and clocks and _character(words, begin + 10) == 84):
        return _NOT
    days = _day(_digits(words, begin, 4), _digits(words, begin + 5, 2), _digits(words, begin + 8, 2))
    hour, minute, second = _digits(words, begin + 11, 2), _digits(words, begin + 14, 2), _digits(words, begin + 17, 2)
    fraction = _fraction(words, begin + 19, end - 1)
    if days < 0 or fraction < 0 or not (0 <= hour <= 23 and 0 <= minute <= 59 and 0 <= second <= 59):
        return _NOT
    return days * _DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000 + fraction


@kernel
def _fraction(words: Any, begin: int, end: int) -> int:
    """Return the ms of a second's fraction, 0 where there is none, or -1."""
    if begin == end:
        return 0
    count = end - begin - 1
    if _character(words, begin) != 46 or not 1 <= count <= _FRACTION_DIGITS_MAX:
        return _NOT
    digits = _digits(words, begin + 1, count)
    return digits * 10 ** (_FRACTION_DIGITS_MAX - count) // 1000 if digits >= 0 else _NOT


@kernel
def _day(year: int, month: int, day: int) -> int:
    """Return the days from 1970 to a date, or -1 if there is none; by Howard Hinnant's `days_from_civil`."""
    if not (year >= 1970 and 1 <= month <= 12):
        return _NOT
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    longest = 31 - (month == 4 or month == 6 or month == 9 or month == 11)  # noqa: PLR1714
    if month == 2:
        longest = 29 if leap else 28
    if not 1 <= day <= longest:
        return _NOT
    # Years that begin in March.
    shifted = year - (1 if month <= 2 else 0)
    era, of_era = shifted // 400, shifted % 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@kernel
def _is_sound(field: Any, arrival_ms: int) -> bool:
    """Return whether an event has all that its kind needs, and a time that can be."""
    needs = _NEEDS[field[_KIND, 0]]
    for name in range(_SOURCE):
        if needs >> name & 1 and field[name, 0] == field[name, 1]:
            return False
    time_ms = field[_TIME, 0]
    return bool(time_ms < TIME_MS_MAX and time_ms <= arrival_ms + TIME_AHEAD_MS_MAX)


@kernel
def _numbered(words: Any, begin: int, end: int, slots: Any, names: Any, counts: Any, of: int) -> Any:
    """Return the number of a name, given out at first sight; the empty one has 0."""
    if begin == end:
        return 0
    hash_ = xxh3(words, begin, end)
    mask = len(slots) - 1
    slot = np.int64(hash_ & np.uint64(mask))
    while slots[slot]:
        number = np.int64(slots[slot])
        known = names[number]
        if known["hash"] == hash_ and _same(words, known["begin"], known["end"], begin, end):
            return number
        slot = (slot + 1) & mask
    number = counts[of]
    counts[of] += 1
    slots[slot] = number
    names[number]["hash"], names[number]["begin"], names[number]["end"] = hash_, begin, end
    return number


@kernel
def _same(words: Any, begin: int, end: int, other: int, other_end: int) -> bool:
    if end - begin != other_end - other:
        return False
    place = 0
    while end - begin - place >= 8:
        if words[begin + place] != words[other + place]:
            return False
        place += 8
    left = np.uint64(8 * (end - begin - place))
    return bool((words[begin + place] ^ words[other + place]) & ((np.uint64(1) << left) - np.uint64(1)) == 0)
