"""Changes as they stand in the topic, a batch at a time, as columns.

They are read without the limits of `schemas.change`, so that a score of 150 is one that breaks a law, and not a record
that cannot be read.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from schemas.change import CAUSES
from schemas.times import parse_many_ms
from scorer.arrays import Ints, Records

NO_SCORE: Final = 0
ODD: Final = -1
"""Stands for a score that is not in tenths, or none that fits."""
ODD_TENTHS_MAX: Final = 30_000
SEQUENCE_MAX: Final = (1 << 62) - 1

CHANGE: Final = np.dtype(
    [
        ("user", "<i8"),
        ("sequence", "<i8"),
        ("as_of", "<i8"),
        ("written", "<i8"),
        ("score", "<i4"),
        ("previous", "<i4"),
        ("reach", "<i4"),
        ("amplification", "<i4"),
        ("network", "<i4"),
        ("cause", "<i4"),
        ("networks", "<i4"),
        ("only", "<i4"),
        ("subscored", "<i4"),
    ]
)
"""A change: the user's number, its sequence, what moment it speaks of and when it was written (ms), scores in tenths
(`NO_SCORE`, `ODD`), the cause's place in `CAUSES` (-1 for another), how many networks it names, the code of the only
one (else -1), and whether it has sub-scores."""


class _Subscores(Struct, frozen=True, gc=False):
    reach: float
    amplification: float
    network: float


class _Change(Struct, frozen=True, gc=False):
    user: str
    sequence: int
    score: float | None
    previous: float | None
    subscores: _Subscores | None
    networks: dict[str, float]
    as_of: str
    cause: str


class Raw(NamedTuple):
    """A record of the topic."""

    key: bytes
    value: bytes
    written_ms: int
    offset: int


class Batch(NamedTuple):
    """Changes of a batch: columns."""

    rows: Records
    """CHANGE[c]."""
    own: npt.NDArray[np.int32]
    """[c, networks]: each network's own score in tenths, `NO_SCORE` where it is not named."""


class Names:
    """Numbers for names, given out at first sight."""

    def __init__(self) -> None:
        """Begin without any."""
        self._numbers: dict[bytes, int] = {}
        self.names: list[bytes] = []

    def find(self, name: bytes) -> int:
        """Return a name's number, -1 if it has none."""
        return self._numbers.get(name, -1)

    def numbers(self, names: Sequence[bytes]) -> list[int]:
        """Return the numbers of names.

        >>> Names().numbers([b"ann", b"bob", b"ann"])
        [0, 1, 0]
        """
        numbers = self._numbers
        for name in dict.fromkeys(names):
            if name not in numbers:
                numbers[name] = len(self.names)
                self.names.append(name)
        return [numbers[name] for name in names]


_decode: Final = msgspec.json.Decoder(_Change).decode
_NO_SUBSCORES: Final = _Subscores(0.0, 0.0, 0.0)
_CAUSES: Final[dict[str, int]] = {cause: place for place, cause in enumerate(CAUSES)}


def read_changes(records: Sequence[Raw], users: Names, networks: Names) -> tuple[Batch, list[tuple[Raw, str]]]:
    """Return the changes of records, and the records that are none, with why; numbers users and networks."""
    unreadable: list[tuple[Raw, str]] = []
    try:
        changes, moments = _all(records)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # One by one, to find those that are none.
        unreadable = [(record, why) for record in records if (why := _why_not(record))]
        bad = {record.offset for record, _ in unreadable}
        records = [record for record in records if record.offset not in bad]
        changes, moments = _all(records)
    rows = np.zeros(len(changes), CHANGE)
    if changes:
        _fill(rows, changes, records, users)
        rows["as_of"] = moments
    return Batch(rows, _own(rows, changes, networks)), unreadable


def _all(records: Sequence[Raw]) -> tuple[list[_Change], Ints]:
    """Return the changes of records, and their moments in ms; raise an error if any is none."""
    changes = [_decode(record.value) for record in records]
    # Ids hold no control characters, so two lists that are the same text are the same lists.
    if "\0".join([change.user for change in changes]).encode() != b"\0".join([record.key for record in records]):
        raise ValueError("a change speaks of another user than its key")
    if changes and not 0 <= min(of.sequence for of in changes) <= max(of.sequence for of in changes) <= SEQUENCE_MAX:
        raise ValueError("a sequence is none")
    return changes, parse_many_ms([change.as_of for change in changes])


def _why_not(record: Raw) -> str:
    """Say why a record is no change, if it is none."""
    try:
        _all([record])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return str(error)
    return ""


def _fill(rows: Records, changes: Sequence[_Change], records: Sequence[Raw], users: Names) -> None:
    subscores = [change.subscores or _NO_SUBSCORES for change in changes]
    rows["user"] = users.numbers([record.key for record in records])
    rows["sequence"] = [change.sequence for change in changes]
    rows["written"] = [record.written_ms for record in records]
    rows["score"] = _tenths([change.score for change in changes])
    rows["previous"] = _tenths([change.previous for change in changes])
    rows["subscored"] = [change.subscores is not None for change in changes]
    # Without any they are not looked at.
    rows["reach"] = _tenths([of.reach for of in subscores])
    rows["amplification"] = _tenths([of.amplification for of in subscores])
    rows["network"] = _tenths([of.network for of in subscores])
    rows["cause"] = [_CAUSES.get(change.cause, -1) for change in changes]


def _tenths(scores: Sequence[float | None]) -> Ints:
    """Scores in tenths; one that is not in tenths is `ODD`."""
    # JSON has no NaN, so that is who has no score.
    values = np.array(scores, np.float64) * 10.0
    tenths = np.rint(values)
    odd = ~(np.abs(values - tenths) < 1e-6) | (np.abs(tenths) > ODD_TENTHS_MAX) | (tenths == NO_SCORE)
    found: Ints = np.where(np.isnan(values), NO_SCORE, np.where(odd, ODD, np.nan_to_num(tenths))).astype(np.int64)
    return found


def _own(rows: Records, changes: Sequence[_Change], networks: Names) -> npt.NDArray[np.int32]:
    counts = np.array([len(change.networks) for change in changes], np.int64)
    names = [name.encode() for change in changes for name in change.networks]
    codes = np.array(networks.numbers(names), np.int64)
    own = np.zeros((len(changes), len(networks.names)), np.int32)
    at = np.repeat(np.arange(len(changes)), counts)
    own[at, codes] = _tenths([score for change in changes for score in change.networks.values()])
    only = np.full(len(changes), -1, np.int64)
    only[at] = codes
    rows["networks"], rows["only"] = counts, np.where(counts == 1, only, -1)
    return own
