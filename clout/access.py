"""Reads and writes who may ask the gateway, and about whom: `access.v1`."""

import secrets
import time
from collections.abc import Collection
from typing import Final

import msgspec

from clout.config import Settings
from clout.whole_topic import extents, readable, reading, records
from schemas.access import (
    KEY_LABEL_BYTES_MAX,
    RATE_DEFAULT,
    AccessKey,
    AccessRecord,
    AccessUser,
    Scope,
    decode_access,
    encode_access,
    record_key,
    secret_hash,
    user_record_key,
    write_key,
)
from schemas.limits import USER_BYTES_MAX
from schemas.times import format_ms
from schemas.users import is_printable, is_user_id
from streams import clients
from streams.errors import CloutError
from streams.orders import SEND_TIMEOUT_SECONDS

_SECRET_BYTES: Final = 32
_ID_BYTES: Final = 8
_PARTITION: Final = 0


def now() -> str:
    """Return the time as records have it."""
    return format_ms(int(time.time() * 1000))


def access_as_it_stands(settings: Settings) -> dict[str, AccessRecord]:
    """Return the newest record of each key and user, by its key in the topic."""
    topic, newest = settings.names.access, dict[str, AccessRecord]()
    group = f"{settings.names.gateway_id}-access"
    with reading(settings.kafka, group) as reader:
        for extent in extents(settings.kafka, group, [topic]):
            for message in records(reader, extent):
                key, value = message.key() or b"", message.value()
                if value is None:
                    newest.pop(key.decode(errors="replace"), None)
                else:
                    record = readable(lambda text, of=key: decode_access(of, text), value, topic)  # type: ignore[misc]
                    newest[record_key(record)] = record
    return newest


def keys_as_they_stand(settings: Settings) -> list[AccessKey]:
    """Return all API keys, the newest last."""
    found = [record for record in access_as_it_stands(settings).values() if isinstance(record, AccessKey)]
    return sorted(found, key=lambda key: (key.created, key.id))


def private_users(settings: Settings) -> set[str]:
    """Return the users of whom only keys made for that are told."""
    found = access_as_it_stands(settings).values()
    return {record.user for record in found if isinstance(record, AccessUser) and record.private}


def new_key(
    name: str, scopes: Collection[Scope], *, may_see_private: bool = False, rate_per_second: int = RATE_DEFAULT
) -> tuple[AccessKey, str]:
    """Return a new API key's record, and the key itself, which is nowhere else."""
    if not is_printable(name) or len(name.encode()) > KEY_LABEL_BYTES_MAX:
        detail = f"one has 1 to {KEY_LABEL_BYTES_MAX} bytes and no control characters"
        raise CloutError("this cannot be the name of a key", detail=detail)
    identity, secret = secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
    record = AccessKey(
        id=identity,
        name=name,
        scopes=list(dict.fromkeys(scopes)),
        hash=secret_hash(identity, secret),
        created=now(),
        may_see_private=may_see_private,
        rate_per_second=rate_per_second,
    )
    return record, write_key(identity, secret)


def user_as_it_stands(settings: Settings, user: str) -> AccessUser | None:
    """Return what is on record of a user, None for one who was not claimed."""
    if not is_user_id(user):
        detail = f"one has 1 to {USER_BYTES_MAX} bytes and no control characters"
        raise CloutError("this cannot be a user id", detail=detail)
    record = access_as_it_stands(settings).get(user_record_key(user))
    return record if isinstance(record, AccessUser) else None


def put(settings: Settings, record: AccessRecord) -> None:
    """Write a record, and return when Kafka has it."""
    _write(settings, record_key(record), encode_access(record))


def take_away(settings: Settings, user: str) -> None:
    """Write that a user is claimed no more."""
    _write(settings, user_record_key(user), None)


def revoked(key: AccessKey) -> AccessKey:
    """Return a key that holds no more."""
    return msgspec.structs.replace(key, revoked=now())


def _write(settings: Settings, key: str, value: bytes | None) -> None:
    failure = clients.write_one(
        settings.kafka,
        settings.names.access,
        value,
        key=key.encode(),
        partition=_PARTITION,
        timeout_seconds=SEND_TIMEOUT_SECONDS,
    )
    if failure:
        raise CloutError(
            "it could not be written", detail=failure, hint="see that the broker is up: clout topics check"
        )
