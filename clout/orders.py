"""Orders of operators: signed, issued, answered by the public record, and what that holds."""

import time
from collections.abc import Iterator
from typing import Any, Final

from confluent_kafka import Consumer, Message, TopicPartition

from clout.config import Settings
from clout.whole_topic import extents, read_from, reading, records
from schemas.control import NEEDS, WHYS, Command, CommandName, CommandRecord, Why, decode_record
from schemas.limits import USER_BYTES_MAX
from schemas.users import is_user_id
from streams.control_secrets import control_secrets
from streams.errors import CloutError
from streams.orders import check_reason, new_command, send

POLL_SECONDS: Final = 0.1
_OF_KEYS: Final[frozenset[Why]] = frozenset({"unknown_key", "bad_signature", "not_permitted"})
_OF_TIMES: Final[frozenset[Why]] = frozenset({"issued_ahead", "issued_before"})
_OF_SETTINGS: Final[frozenset[Why]] = frozenset({"network_unknown", "source_unknown"})


def signed(settings: Settings, name: CommandName, reason: str, **about: Any) -> Command:
    """Return a new command signed with this machine's key; `about` are the fields that it needs.

    Raise `CloutError` for one that would be refused, as far as this machine can tell.
    """
    if "user" in NEEDS[name] and not is_user_id(about["user"]):
        raise CloutError(
            "this cannot be a user id", detail=f"one has 1 to {USER_BYTES_MAX} bytes and no control characters"
        )
    check_reason(reason)
    secrets = control_secrets(settings.control, settings.data_dir)
    return new_command(secrets, name, reason, int(time.time() * 1000), **about)


def issue(settings: Settings, command: Command, timeout_seconds: float) -> CommandRecord:
    """Send a command and return what the public record says of it.

    Raise `CloutError` when it is refused, or when nothing is said of it in time.
    """
    deadline = time.monotonic() + timeout_seconds
    group = f"{settings.names.ingest_group}-control"
    with reading(settings.kafka, group) as reader:
        asked = extents(settings.kafka, group, [settings.names.control_record])
        read_from(reader, [TopicPartition(extent.topic, extent.partition, extent.end) for extent in asked])
        send(settings.kafka, settings.names, command)
        record = _answer(reader, command.id, deadline)
    if record is None:
        raise CloutError(
            f"nothing was said of the command within {timeout_seconds:g} seconds",
            detail=f"its id is {command.id}; it was sent, and will be read when ingest gets to it",
            hint="see that `clout ingest` runs; `clout control log` shows what becomes of it",
        )
    if record.why is not None:
        raise CloutError(
            "the command was refused",
            detail=f"{record.why}: {WHYS[record.why]}",
            hint=_hint(record.why),
        )
    return record


def _hint(why: Why) -> str:
    """Return what to do about a refusal.

    >>> _hint("issued_ahead")
    'compare the clock of this machine with that of the broker, and try again'
    """
    if why in _OF_KEYS:
        return "see control.keys and control.key of this machine and of ingest"
    if why in _OF_TIMES:
        return "compare the clock of this machine with that of the broker, and try again"
    if why in _OF_SETTINGS:
        return "see the networks in the settings of ingest: `clout config show` there prints them"
    return "give the command again without that"


def _answer(reader: Consumer, identity: str, deadline: float) -> CommandRecord | None:
    while time.monotonic() < deadline:
        for message in reader.consume(1, POLL_SECONDS):
            record = _record(message) if message.error() is None else None
            if record is not None and record.id == identity:
                return record
    return None


def _record(message: Message) -> CommandRecord | None:
    """Read a public record; None if it is not of Clout's making."""
    try:
        return decode_record(message.value() or b"")
    except ValueError:
        return None


def public_record(settings: Settings) -> Iterator[CommandRecord]:
    """Yield what the public record holds, in the order of the commands."""
    group = f"{settings.names.ingest_group}-control"
    with reading(settings.kafka, group) as reader:
        for extent in extents(settings.kafka, group, [settings.names.control_record]):
            yield from filter(None, map(_record, records(reader, extent)))
