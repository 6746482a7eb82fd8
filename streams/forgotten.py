"""Users who asked to be forgotten: what a partition keeps so that they stay so, without their ids.

An entry lies under `FORGOTTEN_KEY` and the keyed hash of the user. It serves two stages:

- the actors stage, in every partition: events that credit the user are dropped while `dropping`, and ledger rows before
  `masked_before` are not taken back any more, since what they granted is gone;
- the targets stage, in the user's own partition: credits from an actors task count only once that task has passed the
  `unforget` that follows the latest `forget`. Each task's lane records are in order, so no credit of before the
  forgetting can slip in after it. `sequence` is the last one published, with which a new life of the user goes on.

An epoch is a command's offset in the control topic, so commands have one order everywhere.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.users import keyed_hash, user_hash
from streams.errors import CloutError
from streams.store import FORGOTTEN_KEY, Row

VERSION: Final = 1
_HINT_BITS: Final = 12
"""Bits of the plain hash that spare most users the keyed one; so few that they point at nobody."""
_NEVER: Final = -1


class Entry(msgspec.Struct, kw_only=True):
    """One forgotten user."""

    version: int = VERSION
    hint: int
    """The last bits of the user's plain hash."""
    dropping: bool = False
    masked_before: int = 0
    """Number of a row in the ledger."""
    epoch: int = _NEVER
    """Of the latest `forget` that reached the targets stage."""
    undone: dict[str, int] = {}
    """By source: epoch of the latest `unforget` that came from it."""
    sequence: int = 0

    def counts(self, source: str) -> bool:
        """Return whether what comes from a source credits the user (targets stage)."""
        return self.undone.get(source, _NEVER) > self.epoch or self.epoch == _NEVER


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class Forgotten:
    """The entries of one partition."""

    def __init__(self, hash_key: bytes, rows: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Read the stored entries; raise `CloutError` for one that cannot be read."""
        self._hash_key = hash_key
        self._entries: dict[bytes, Entry] = {}
        self._hints: NDArray[np.bool_] = np.zeros(1 << _HINT_BITS, np.bool_)
        self.apply(rows)

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def __contains__(self, user: bytes) -> bool:
        """Return whether there is an entry for a user."""
        return self.key_of(user) in self._entries

    def find(self, users: Sequence[bytes], hashes: NDArray[np.uint64]) -> dict[int, Entry]:
        """Return the entries of those users that have one, by place; `hashes` are their `user_hash`."""
        if not self._entries:
            return {}
        hinted = np.flatnonzero(self._hints[(hashes & np.uint64(_HINT_MASK)).astype(np.int64)])
        found = {at: self._entries.get(self.key_of(users[at])) for at in hinted.tolist()}
        return {at: entry for at, entry in found.items() if entry is not None}

    def get(self, user: bytes) -> Entry:
        """Return a copy of a user's entry, or a new one, to be changed and given to `row`."""
        entry = self._entries.get(self.key_of(user))
        if entry is None:
            return Entry(hint=user_hash(user) & _HINT_MASK)
        return msgspec.structs.replace(entry, undone=dict(entry.undone))

    def key_of(self, user: bytes) -> bytes:
        """Return the key that a user's entry has in store and changelog."""
        return FORGOTTEN_KEY + keyed_hash(user, self._hash_key)

    def row(self, user: bytes, entry: Entry) -> Row:
        """Return an entry as it is stored."""
        return self.key_of(user), _encode(entry)

    def apply(self, rows: Iterable[Row]) -> None:
        """Take in stored or committed entries."""
        for key, value in rows:
            if value is None:
                self._entries.pop(key, None)
                continue
            entry = _read(value)
            self._entries[key] = entry
            self._hints[entry.hint] = True


_HINT_MASK: Final = (1 << _HINT_BITS) - 1


class _Version(msgspec.Struct):
    version: int = VERSION


_decode_version = msgspec.msgpack.Decoder(_Version).decode


def _read(value: bytes) -> Entry:
    try:
        # Before the rest: the fields of another version may differ.
        version = _decode_version(value).version
        if version != VERSION:
            raise CloutError(
                f"the record of a forgotten user has format version {version}",
                detail=f"this program reads version {VERSION}",
                hint="use the release that wrote it",
            )
        entry = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CloutError("the record of a forgotten user cannot be read", detail=str(error)) from error
    if not 0 <= entry.hint <= _HINT_MASK:
        raise CloutError("the record of a forgotten user cannot be read", detail=f"its hint is {entry.hint}")
    return entry
