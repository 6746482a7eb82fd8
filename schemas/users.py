"""User ids: how they are hashed and which partition they live in.

A user id is an opaque string of 1 to 256 UTF-8 bytes. Whoever needs the partition of a user takes it from here:
ingest, the stages and the tools must agree, for the life of the topics.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from schemas.limits import USER_BYTES_MAX

KEYED_HASH_BYTES: Final = 16
_FIRST_PRINTABLE: Final = " "


CANARY_PREFIX: Final = "@canary/"
"""Begins the ids of synthetic accounts, by which the guard sees that scores are right and in time."""
CANARY_SOURCE: Final = "@canary"
"""What the guard calls itself as the collector of what they do."""
_CANARIES_BEGIN: Final = CANARY_PREFIX.encode()
_CANARIES_END: Final = _CANARIES_BEGIN[:-1] + bytes([_CANARIES_BEGIN[-1] + 1])


def canary(network: str, number: int) -> str:
    """Return the id of a synthetic account.

    >>> canary("twitter", 0)
    '@canary/twitter/0'
    """
    return f"{CANARY_PREFIX}{network}/{number}"


def is_canary(user: bytes) -> bool:
    """Return whether an id is one of a synthetic account.

    >>> is_canary(b"@canary/twitter/0"), is_canary(b"ann")
    (True, False)
    """
    return user.startswith(_CANARIES_BEGIN)


def canaries_among(users: Sequence[bytes]) -> slice:
    """Return where the synthetic accounts are among users in order; they are side by side.

    >>> canaries_among([b"@ann", b"@canary/twitter/0", b"@canary/twitter/1", b"bob"])
    slice(1, 3, None)
    """
    first = bisect_left(users, _CANARIES_BEGIN)
    return slice(first, bisect_left(users, _CANARIES_END, first))


def people_among(users: Sequence[bytes]) -> list[slice]:
    """Return where the people are among users in order: all of them, but for synthetic accounts.

    >>> people_among([b"@ann", b"@canary/twitter/0", b"bob"]), people_among([b"ann", b"bob"])
    ([slice(0, 1, None), slice(2, 3, None)], [slice(0, 2, None)])
    """
    canaries = canaries_among(users)
    if canaries.start == canaries.stop:
        return [slice(0, len(users))]
    return [slice(0, canaries.start), slice(canaries.stop, len(users))]


def is_printable(text: str) -> bool:
    r"""Return whether a text is there and has no control characters.

    >>> is_printable("a b"), is_printable(""), is_printable("a\nb")
    (True, False, False)
    """
    return bool(text) and min(text) >= _FIRST_PRINTABLE


def is_user_id(text: str) -> bool:
    r"""Return whether a text can be a user id: neither empty nor too long, and without control characters.

    >>> is_user_id("twitter:50329"), is_user_id(""), is_user_id("a\nb")
    (True, False, False)
    """
    return len(text.encode()) <= USER_BYTES_MAX and is_printable(text)


def user_hash(user: bytes) -> int:
    """The 64 bits that stand for a user in pair memories and partitioning.

    >>> hex(user_hash(b"twitter:50329"))
    '0xc62946ebe6b8e904'
    """
    return xxhash.xxh3_64_intdigest(user)


def user_hashes(users: list[bytes]) -> NDArray[np.uint64]:
    """The hashes of many users.

    >>> user_hashes([b"twitter:50329"]).tolist() == [user_hash(b"twitter:50329")]
    True
    """
    return np.fromiter(map(xxhash.xxh3_64_intdigest, users), np.uint64, len(users))


def partition_of(user: bytes, partitions: int) -> int:
    """The partition of both lanes, the changelog and the changes that a user belongs to.

    >>> partition_of(b"twitter:50329", 1)
    0
    """
    return user_hash(user) % partitions


def keyed_hash(user: bytes, key: bytes) -> bytes:
    """What is kept of a user who was forgotten: 128 bits that nobody without the key (at most 64 bytes) can make.

    >>> keyed_hash(b"twitter:50329", b"secret").hex()
    'ca4fb5a07dd9d03ca802bd6c22e6c2b8'
    """
    return hashlib.blake2b(user, digest_size=KEYED_HASH_BYTES, key=key).digest()
