"""Who may ask the gateway, and about whom: records of `access.v1`, keyed `key:ID` and `user:ID`; the newest one counts.

A record without a value takes its key or user away. Secrets are not in it, only their hashes.
"""

import hashlib
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from schemas.interaction import TimeText, UserId

Scope = Literal["read", "stream", "write", "operate"]
"""What a key may do: ask, follow, bring interactions, give orders."""

SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

KEY_LABEL_BYTES_MAX: Final = 64
"""UTF-8 bytes of the name that an operator gives a key."""
RATE_DEFAULT: Final = 100
"""Requests a second that a key may make unless it says otherwise."""
RATE_MAX: Final = 100_000

_PREFIX: Final = "clout"
"""Begins every key, so that tools which look for leaked secrets know one."""


class AccessKey(Struct, frozen=True, kw_only=True, tag_field="kind", tag="key"):
    """An API key, without its secret."""

    id: Annotated[str, Meta(pattern="^[0-9a-f]{16}$", description="Stands in the key itself, before the secret.")]
    name: Annotated[str, Meta(min_length=1, description="What an operator calls it.")]
    scopes: Annotated[list[Scope], Meta(min_length=1, description="What it may do.")]
    hash: Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256 of `ID:SECRET`, in hex.")]
    created: TimeText
    revoked: Annotated[TimeText | None, Meta(description="When it was taken back; null while it holds.")] = None
    may_see_private: Annotated[bool, Meta(description="Whether it is told of private users.")] = False
    rate_per_second: Annotated[int, Meta(ge=1, le=RATE_MAX, description="Requests that it may make.")] = RATE_DEFAULT


class AccessUser(Struct, frozen=True, kw_only=True, tag_field="kind", tag="user"):
    """A user who was claimed: whoever it is knows of the score."""

    user: UserId
    claimed: Annotated[TimeText, Meta(description="When.")]
    private: Annotated[bool, Meta(description="Whether only keys that may see private users are told of this one.")]


AccessRecord = AccessKey | AccessUser

_decode: Final = msgspec.json.Decoder(AccessRecord).decode

encode_access: Final = msgspec.json.Encoder().encode
"""Write a record's value."""


def record_key(record: AccessRecord) -> str:
    """Return the key under which a record stands.

    >>> record_key(AccessUser(user="twitter:813", claimed="2026-01-01T00:00:00Z", private=False))
    'user:twitter:813'
    """
    return key_record_key(record.id) if isinstance(record, AccessKey) else user_record_key(record.user)


def key_record_key(identity: str) -> str:
    """Return the key of the record of an API key."""
    return f"key:{identity}"


def user_record_key(user: str) -> str:
    """Return the key of the record of a user."""
    return f"user:{user}"


def decode_access(key: bytes, value: bytes) -> AccessRecord:
    """Read a record; a msgspec.DecodeError says what is wrong, also when it stands under another's key."""
    record: AccessRecord = _decode(value)
    if record_key(record).encode() != key:
        raise msgspec.ValidationError("the record stands under the key of another one")
    return record


def write_key(identity: str, secret: str) -> str:
    """Write a key as its holder has it.

    >>> write_key("00c0ffee00c0ffee", "Zm9v")
    'clout_00c0ffee00c0ffee_Zm9v'
    """
    return f"{_PREFIX}_{identity}_{secret}"


def read_key(text: str) -> tuple[str, str] | None:
    """Return a key's id and secret, None for what is no key.

    >>> read_key("clout_00c0ffee00c0ffee_Zm9v"), read_key("Zm9v")
    (('00c0ffee00c0ffee', 'Zm9v'), None)
    """
    parts = text.split("_", 2)
    return (parts[1], parts[2]) if len(parts) == 3 and parts[0] == _PREFIX else None


def secret_hash(identity: str, secret: str) -> str:
    """Return what is kept of a secret.

    A fast hash is enough: the secret is 256 random bits, so nobody can try them, as one tries passwords, and a slow
    one would cost every request. The id in front makes hashes of different keys different.

    >>> secret_hash("00c0ffee00c0ffee", "Zm9v")[:16]
    '94ba50e2887689e0'
    """
    return hashlib.sha256(f"{identity}:{secret}".encode()).hexdigest()
