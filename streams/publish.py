"""Score changes as Kafka records: key, value and the id of their CloudEvents headers.

A batch's values are written by one kernel, column by column, since nearly every batch changes thousands of scores; the
text is byte for byte that of `schemas.change.encode_change`, which writes those that need escapes.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import msgspec
import numba
import numpy as np
from numpy.typing import NDArray

from schemas.change import (
    CAUSES,
    GRANTED_STEPS,
    Cause,
    Subscores,
    change_id,
    encode_change,
)
from schemas.times import HOUR_MS
from schemas.users import canaries_among
from scorer.targets import Published
from streams.reasons import Reasons
from streams.references import References, no_references

_NUMBER_BYTES_MAX: Final = 20
_DAY_MS: Final = 86_400_000
_DAYS_TO_1970: Final = 719_468
"""Days from the first of March of the year 0 to the first of January 1970."""
_DAYS_OF_400_YEARS: Final = 146_097
_FIRST_PRINTABLE: Final = 0x20
_FIRST_CAUSE: Final = 10
"""Place of the first cause among the fixed parts of a change's text; those with references follow all causes."""
_RETRACTION: Final[Cause] = "retraction"
"""The one cause of changes that refer to something and are written together."""
_REASON_PARTS: Final = 4
_GRANTED_DIGITS: Final = len(str(GRANTED_STEPS)) - 1


class Changes(NamedTuple):
    """Records of the change topic: keys, values and ids side by side, one each a change."""

    keys: list[bytes]
    values: list[bytes | None]
    """None is Kafka's tombstone: compaction then leaves nothing of the key."""
    ids: list[bytes | None]
    """What tells a change from all others (`ce_id`); a tombstone has none, and no headers."""

    def followed_by(self, others: "Changes") -> "Changes":
        """Return these and then the others."""
        return Changes(self.keys + others.keys, self.values + others.values, self.ids + others.ids)

    def parted(self) -> tuple["Changes", "Changes"]:
        """Return those of people, and those of synthetic accounts, which are not public; keys must be in order.

        >>> people, canaries = Changes([b"@canary/t/0", b"ann"], [b"0", b"1"], [b"2", b"3"]).parted()
        >>> people.keys, canaries.keys
        ([b'ann'], [b'@canary/t/0'])
        """
        theirs = canaries_among(self.keys)
        if theirs.start == theirs.stop:
            return self, NO_CHANGES
        canaries = Changes(self.keys[theirs], self.values[theirs], self.ids[theirs])
        people = Changes(*([*column[: theirs.start], *column[theirs.stop :]] for column in self))
        return people, canaries


NO_CHANGES: Final = Changes([], [], [])
_encode_json: Final = msgspec.json.Encoder().encode


class Why(NamedTuple):
    """Why scores changed, change by change."""

    causes: NDArray[np.uint8]
    reasons: Reasons
    references: References


def changes(
    published: Published,
    users: Sequence[bytes],
    networks: Sequence[str],
    *,
    causes: NDArray[np.uint8],
    reasons: Reasons,
    references: References | None = None,
    model: str,
) -> Changes:
    """Return the change of every user that `published` names; `users` are those of the batch.

    `causes` are the numbers of the changes' causes in `schemas.change.CAUSES`.
    """
    keys = [users[at] for at in published.index.tolist()]
    why = Why(causes, reasons, references or no_references(len(keys)))
    if _need_escapes(keys) or _need_escapes(reasons.names) or np.isnan(published.score).any():
        values = _one_by_one(published, keys, networks, why, model)
    else:
        values = _together(published, keys, networks, why, model)
    return Changes(keys, list(values), list(map(change_id, keys, published.sequence.tolist())))


def _need_escapes(users: Sequence[bytes]) -> bool:
    blob = b"".join(users)
    return b'"' in blob or b"\\" in blob or bool((np.frombuffer(blob, np.uint8) < _FIRST_PRINTABLE).any())


def forgetting(
    user: bytes, sequence: int, previous_tenths: int, as_of_ms: int, *, model: str, reference: str
) -> Changes:
    """Return the last change of a user who is forgotten, and the tombstone after it."""
    name = user.decode()
    previous = previous_tenths / 10.0 if previous_tenths else None
    value = encode_change(name, sequence, None, previous, None, {}, as_of_ms, "forget", model, reference)
    return Changes([user, user], [value, None], [change_id(user, sequence), None])


def _one_by_one(
    published: Published,
    keys: Sequence[bytes],
    networks: Sequence[str],
    why: Why,
    model: str,
) -> list[bytes]:
    columns = zip(
        keys,
        published.sequence.tolist(),
        published.previous_tenths.tolist(),
        published.score.tolist(),
        published.reach.tolist(),
        published.amplification.tolist(),
        published.network.tolist(),
        published.networks.tolist(),
        published.as_of.tolist(),
        why.causes.tolist(),
        strict=True,
    )
    return [
        encode_change(
            key.decode(),
            sequence,
            None if math.isnan(score) else score,
            previous / 10.0 if previous else None,
            None if math.isnan(score) else Subscores(reach, amplification, network),
            {name: part for name, part in zip(networks, parts, strict=True) if not math.isnan(part)},
            as_of,
            CAUSES[cause],
            model,
            why.references.of(at),
            why.reasons.of(at, networks),
        )
        for at, (key, sequence, previous, score, reach, amplification, network, parts, as_of, cause) in enumerate(
            columns
        )
    ]


def _together(
    published: Published,
    keys: Sequence[bytes],
    networks: Sequence[str],
    why: Why,
    model: str,
) -> list[bytes]:
    reasons, references = why.reasons, why.references
    ends_of = [(cause, None) for cause in CAUSES] + [(_RETRACTION, name) for name in references.names]
    texts = [
        b'{"user":"',
        b'","sequence":',
        b',"score":',
        b',"previous":',
        b"null",
        b',"subscores":{"reach":',
        b',"amplification":',
        b',"network":',
        b'},"networks":{',
        b'},"as_of":"',
        *(
            b'","cause":"%b","model":"%b","reference":%b' % (cause.encode(), model.encode(), _encode_json(reference))
            for cause, reference in ends_of
        ),
        *(f'"{name}":'.encode() for name in networks),
        b',"reasons":[{"actor":',
        b',{"actor":',
        b',"granted":',
        b"}",
        *(f',"network":"{name}","events":'.encode() for name in networks),
    ]
    text, text_ends = _joined(texts)
    blob, key_ends = _joined(keys)
    # Who is not named has the number -1, which is the last one.
    names, name_ends = _joined([*(b'"%b"' % name for name in reasons.names), b"null"])
    scores = np.stack([published.score, published.reach, published.amplification, published.network], axis=1)
    width = len(text) + (7 + len(networks)) * _NUMBER_BYTES_MAX + 30
    of_reasons = int(np.diff(name_ends)[reasons.actor].sum()) + len(reasons.actor) * (len(text) + 3 * _NUMBER_BYTES_MAX)
    out = np.empty(len(blob) + width * len(keys) + of_reasons, np.uint8)
    ends = np.zeros(len(keys) + 1, np.int64)
    _write(
        out,
        ends[1:],
        blob,
        key_ends,
        text,
        text_ends,
        published.sequence.astype(np.int64),
        published.previous_tenths.astype(np.int64),
        np.rint(scores * 10).astype(np.int64),
        np.rint(np.nan_to_num(published.networks) * 10).astype(np.int64),
        published.as_of.astype(np.int64),
        np.where(references.number >= 0, len(CAUSES) + references.number, why.causes).astype(np.int64),
        _FIRST_CAUSE + len(ends_of),
        names,
        name_ends,
        *(reasons.begins, reasons.actor, reasons.network, reasons.events, reasons.granted),
    )
    data = out[: ends[-1]].tobytes()
    return [data[begin:end] for begin, end in pairwise(ends.tolist())]


def _joined(parts: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    ends = np.zeros(len(parts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)), out=ends[1:])
    return np.frombuffer(b"".join(parts), np.uint8).copy(), ends


@numba.njit(cache=True, nogil=True)
def _put(out: Any, at: int, text: Any, begin: int, end: int) -> int:
    for source in range(begin, end):
        out[at] = text[source]
        at += 1
    return at


@numba.njit(cache=True, nogil=True)
def _put_digits(out: Any, at: int, number: int, digits: int) -> int:
    """Write a number with leading zeros."""
    for place in range(digits):
        out[at + digits - 1 - place] = 48 + number % 10
        number //= 10
    return at + digits


@numba.njit(cache=True, nogil=True)
def _put_integer(out: Any, at: int, number: int) -> int:
    digits, rest = 1, number // 10
    while rest > 0:
        digits += 1
        rest //= 10
    return _put_digits(out, at, number, digits)


@numba.njit(cache=True, nogil=True)
def _put_tenths(out: Any, at: int, tenths: int) -> int:
    at = _put_integer(out, at, tenths // 10)
    out[at] = 46
    out[at + 1] = 48 + tenths % 10
    return at + 2


@numba.njit(cache=True, nogil=True)
def _put_granted(out: Any, at: int, steps: int) -> int:
    """Write a number in steps of 1 / `GRANTED_STEPS` with as many decimals as it needs, at least one."""
    at = _put_integer(out, at, steps // GRANTED_STEPS)
    out[at] = 46
    at = _put_digits(out, at + 1, steps % GRANTED_STEPS, _GRANTED_DIGITS)
    for _ in range(_GRANTED_DIGITS - 1):
        if out[at - 1] != 48:
            break
        at -= 1
    return at


@numba.njit(cache=True, nogil=True)
def _put_time(out: Any, at: int, time_ms: int) -> int:
    """Write ms since 1970 as RFC 3339; the date by Howard Hinnant's `civil_from_days`."""
    days, rest = time_ms // _DAY_MS, time_ms % _DAY_MS
    days += _DAYS_TO_1970
    era, day_of_era = days // _DAYS_OF_400_YEARS, days % _DAYS_OF_400_YEARS
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    at = _put_digits(out, at, year, 4)
    out[at] = 45
    at = _put_digits(out, at + 1, month, 2)
    out[at] = 45
    at = _put_digits(out, at + 1, day, 2)
    out[at] = 84
    at = _put_digits(out, at + 1, rest // HOUR_MS, 2)
    out[at] = 58
    at = _put_digits(out, at + 1, rest // 60_000 % 60, 2)
    out[at] = 58
    at = _put_digits(out, at + 1, rest // 1000 % 60, 2)
    out[at] = 46
    at = _put_digits(out, at + 1, rest % 1000, 3)
    out[at] = 90
    return at + 1


@numba.njit(cache=True, nogil=True)
def _write(
    out: Any,
    ends: Any,
    keys: Any,
    key_ends: Any,
    text: Any,
    text_ends: Any,
    sequence: Any,
    previous: Any,
    scores: Any,
    networks: Any,
    as_of: Any,
    endings: Any,
    first_network: int,
    names: Any,
    name_ends: Any,
    begins: Any,
    actor: Any,
    actor_network: Any,
    events: Any,
    granted: Any,
) -> None:
    """Write all changes one after the other; `text` holds the fixed parts in the order of their use.

    Of these, `endings` are the numbers of cause and reference; the names of networks begin at `first_network`.
    """
    at = 0
    for row in range(len(ends)):
        at = _put(out, at, text, text_ends[0], text_ends[1])
        at = _put(out, at, keys, key_ends[row], key_ends[row + 1])
        at = _put(out, at, text, text_ends[1], text_ends[2])
        at = _put_integer(out, at, sequence[row])
        at = _put(out, at, text, text_ends[2], text_ends[3])
        at = _put_tenths(out, at, scores[row, 0])
        at = _put(out, at, text, text_ends[3], text_ends[4])
        if previous[row] == 0:
            at = _put(out, at, text, text_ends[4], text_ends[5])
        else:
            at = _put_tenths(out, at, previous[row])
        for part in range(3):
            at = _put(out, at, text, text_ends[5 + part], text_ends[6 + part])
            at = _put_tenths(out, at, scores[row, 1 + part])
        at = _put(out, at, text, text_ends[8], text_ends[9])
        first = True
        for code in range(networks.shape[1]):
            if networks[row, code] == 0:
                continue
            if not first:
                out[at] = 44
                at += 1
            first = False
            name = first_network + code
            at = _put(out, at, text, text_ends[name], text_ends[name + 1])
            at = _put_tenths(out, at, networks[row, code])
        at = _put(out, at, text, text_ends[9], text_ends[10])
        at = _put_time(out, at, as_of[row])
        ending = _FIRST_CAUSE + endings[row]
        at = _put(out, at, text, text_ends[ending], text_ends[ending + 1])
        for reason in range(begins[row], begins[row + 1]):
            part = first_network + networks.shape[1]
            head = part if reason == begins[row] else part + 1
            at = _put(out, at, text, text_ends[head], text_ends[head + 1])
            name = actor[reason] if actor[reason] >= 0 else len(name_ends) - 2
            at = _put(out, at, names, name_ends[name], name_ends[name + 1])
            network = part + _REASON_PARTS + actor_network[reason]
            at = _put(out, at, text, text_ends[network], text_ends[network + 1])
            at = _put_integer(out, at, events[reason])
            at = _put(out, at, text, text_ends[part + 2], text_ends[part + 3])
            at = _put_granted(out, at, granted[reason])
            at = _put(out, at, text, text_ends[part + 3], text_ends[part + 4])
        if begins[row + 1] > begins[row]:
            out[at] = 93
            at += 1
        out[at] = 125
        at += 1
        ends[row] = at
