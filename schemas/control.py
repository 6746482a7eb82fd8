"""What an operator may order, who signed it, and the public record of what became of it.

A value of `control.v1` is one command as JSON, signed with a key that the installation knows. Its signature is the
HMAC-SHA256, in hex, of a JSON array: `clout.control.v1`, then id, command, user, reason, key and issued, in this
order; where any of network, source, partition, lane and offset is given, these five follow, and where any of incident,
since and until is given, first those five and then these three; empty text or null stands for what is absent.
`control.record.v1` says of each command that could be read whether it was accepted; there the user is only a keyed
hash.
"""

import hashlib
import hmac
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from schemas.interaction import TimeText, UserId
from schemas.limits import (
    COMMAND_ID_BYTES_MAX,
    INCIDENT_ID_BYTES_MAX,
    KEY_NAME_BYTES_MAX,
    NETWORK_BYTES_MAX,
    REASON_BYTES_MAX,
    SEQUENCE_MAX,
    SOURCE_BYTES_MAX,
)

CommandName = Literal[
    "forget", "unforget", "release", "quarantine", "freeze", "resume", "retract", "declare", "note", "resolve"
]
COMMAND_NAMES: Final[tuple[CommandName, ...]] = get_args(CommandName)
Lane = Literal["actors", "targets"]

NEEDS: Final[dict[CommandName, tuple[str, ...]]] = {
    "forget": ("user",),
    "unforget": ("user",),
    "release": ("network", "source"),
    "quarantine": ("partition", "lane", "offset"),
    "freeze": ("network",),
    "resume": ("network",),
    "retract": ("network", "incident", "since", "until"),
    "declare": ("incident",),
    "note": ("incident",),
    "resolve": ("incident",),
}
"""What each command is about: the fields that it needs, beside those that all have."""

MAY: Final[dict[CommandName, tuple[str, ...]]] = {
    "freeze": ("incident",),
    "retract": ("source",),
    "declare": ("network", "source", "since"),
}
"""Fields that a command may say more."""

_ABOUT_PLACES: Final = ("network", "source", "partition", "lane", "offset")
_ABOUT_INCIDENTS: Final = ("incident", "since", "until")
"""Signed only where one of them is given, so that the signatures of older commands stay what they were."""

_DOMAIN: Final = "clout.control.v1"
"""Signed too, so that a signature for anything else is none for a command."""

Why = Literal[
    "unknown_key",
    "bad_signature",
    "not_permitted",
    "no_reason",
    "reason_too_long",
    "user_unusable",
    "network_unknown",
    "source_unknown",
    "position_unusable",
    "incident_unusable",
    "span_unusable",
    "field_unused",
    "id_unusable",
    "issued_ahead",
    "issued_before",
]

WHYS: Final[dict[Why, str]] = {
    "unknown_key": "No key of that name is configured.",
    "bad_signature": "The signature is not that of the command with this key.",
    "not_permitted": "The key may not issue this command.",
    "no_reason": "A command needs a reason.",
    "reason_too_long": f"The reason has more than {REASON_BYTES_MAX} UTF-8 bytes.",
    "user_unusable": "The user id is empty, too long, or holds a control character.",
    "network_unknown": "The settings of ingest name no such network.",
    "source_unknown": "The settings of ingest name no such source of the network.",
    "position_unusable": "It does not say which lane, which of its partitions and which offset.",
    "incident_unusable": f"The incident's id is empty, has more than {INCIDENT_ID_BYTES_MAX} UTF-8 bytes, or control "
    "characters.",
    "span_unusable": "It does not say from when to when, or not in this order.",
    "field_unused": "The command says more than what it is about, and might be meant otherwise.",
    "id_unusable": f"The command's id is empty or has more than {COMMAND_ID_BYTES_MAX} UTF-8 bytes.",
    "issued_ahead": "The command claims to be issued later than it arrived.",
    "issued_before": "The key has issued a command at this time or later: this one is a repeat, or was overtaken.",
}
"""Every reason for which a command is refused, and what it means."""


class Command(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An order about one user, collector, record of a lane, network or incident.

    >>> command = Command(id="7", command="forget", user="twitter:1", reason="asked for", key="ops",
    ...                   issued="2026-01-01T00:00:00.000Z")
    >>> verified(sign(command, b"secret"), b"secret"), verified(sign(command, b"other"), b"secret")
    (True, False)
    """

    id: Annotated[str, Meta(description="Name of the command, chosen by who issues it; unique.")]
    command: Annotated[
        CommandName,
        Meta(
            description="`forget` removes a user and counts no more about them; `unforget` lets them count again. "
            "`release` lets the clock of a network go on without a collector, until that is heard again. "
            "`quarantine` sets one record of a lane aside, at which a partition has stopped. "
            "`freeze` keeps a network's interactions in Kafka, unread, and its clock where it is, until `resume`. "
            "`retract` takes back what came of a network, or of one collector of it, from `since` to `until`. "
            "`declare` opens an incident, `note` says something of one, `resolve` ends it."
        ),
    ]
    user: UserId = ""
    network: Annotated[str, Meta(description="The network that it is about.")] = ""
    source: Annotated[str, Meta(description="The collector, as the settings and `source` of interactions name it.")] = (
        ""
    )
    partition: Annotated[int | None, Meta(description="Partition of the lane record.")] = None
    lane: Annotated[Lane | None, Meta(description="Lane of the record.")] = None
    offset: Annotated[int | None, Meta(description="Offset of the record.")] = None
    incident: Annotated[str, Meta(description="The incident's id.")] = ""
    since: Annotated[TimeText, Meta(description="Arrival of the first event concerned; of `declare`: event time.")] = ""
    until: Annotated[TimeText, Meta(description="Arrival of the first event that is not concerned any more.")] = ""
    key: Annotated[str, Meta(description="Name of the key that signs.")]
    issued: Annotated[TimeText, Meta(description="When; each command of a key is later than the one before.")]
    reason: Annotated[str, Meta(description="Why; it is published, so it should not name the user.")] = ""
    signature: Annotated[str, Meta(description="HMAC-SHA256 in hex.")] = ""


class CommandRecord(Struct, frozen=True, kw_only=True):
    """What became of a command, for everyone to read."""

    id: Annotated[str, Meta(description="The command's id.")]
    command: CommandName
    subject: Annotated[
        str,
        Meta(description="The user as a hash in hex that only the installation can make; empty if it is about none."),
    ]
    key: Annotated[str, Meta(description="Name of the key that signed, as the command gives it.")]
    reason: Annotated[str, Meta(description="Why it was issued, as the command gives it.")]
    issued: Annotated[str, Meta(description="When it was issued, as the command gives it.")]
    received: Annotated[TimeText, Meta(description="When it arrived.")]
    epoch: Annotated[int, Meta(ge=0, description="Its offset in the control topic: a later command has a larger one.")]
    accepted: Annotated[bool, Meta(description="Whether it will be obeyed.")]
    why: Annotated[Why | None, Meta(description="Why it was refused; null when it was accepted.")] = None
    network: Annotated[str | None, Meta(description="The network, as a command that is about one gives it.")] = None
    source: Annotated[str | None, Meta(description="The collector, as a command that is about one gives it.")] = None
    partition: Annotated[int | None, Meta(description="Of `quarantine`: partition of the lane record.")] = None
    lane: Annotated[Lane | None, Meta(description="Of `quarantine`: lane of the record.")] = None
    offset: Annotated[int | None, Meta(description="Of `quarantine`: offset of the record.")] = None
    incident: Annotated[str | None, Meta(description="The incident, as a command that is about one gives it.")] = None
    since: Annotated[str | None, Meta(description="Of `retract` and `declare`: from when.")] = None
    until: Annotated[str | None, Meta(description="Of `retract`: until when.")] = None


encode_command: Final = msgspec.json.Encoder().encode
"""Write a command as a record's value."""

decode_command: Final = msgspec.json.Decoder(Command).decode
"""Read a command; a ValueError (msgspec's, or one about UTF-8) or RecursionError says why it is none."""

encode_record: Final = msgspec.json.Encoder().encode
"""Write a public record as a record's value."""

decode_record: Final = msgspec.json.Decoder(CommandRecord).decode
"""Read a public record; a msgspec.DecodeError says what is wrong."""


def sign(command: Command, secret: bytes) -> Command:
    """Return the command with the signature that this secret gives it."""
    return msgspec.structs.replace(command, signature=_signature(command, secret))


def verified(command: Command, secret: bytes) -> bool:
    """Return whether the command's signature was made with this secret, and nothing was changed since."""
    return hmac.compare_digest(_signature(command, secret).encode(), command.signature.encode())


def given(command: Command) -> set[str]:
    """Return what a command says that it is about, by the names of the fields.

    >>> sorted(given(Command(id="7", command="release", network="twitter", source="west", key="", issued="")))
    ['network', 'source']
    """
    about = ("user", *_ABOUT_PLACES, *_ABOUT_INCIDENTS)
    return {name for name in about if getattr(command, name) not in ("", None)}


def _signature(command: Command, secret: bytes) -> str:
    fields = [_DOMAIN, command.id, command.command, command.user, command.reason, command.key, command.issued]
    names = given(command)
    if names & {*_ABOUT_PLACES, *_ABOUT_INCIDENTS}:
        fields += [getattr(command, name) for name in _ABOUT_PLACES]
    if names & set(_ABOUT_INCIDENTS):
        fields += [getattr(command, name) for name in _ABOUT_INCIDENTS]
    return hmac.new(secret, msgspec.json.encode(fields), hashlib.sha256).hexdigest()


def clipped(text: str, bytes_max: int) -> str:
    """Return as much of a text as the public record has room for.

    >>> clipped("ünder", 2)
    'ü'
    """
    return text.encode()[:bytes_max].decode(errors="ignore")


def record_of(command: Command, *, subject: bytes, received: str, epoch: int, why: Why | None) -> CommandRecord:
    """Return the public record of a command; `subject` is the user's keyed hash, empty if it is about none."""
    about = (*NEEDS[command.command], *MAY.get(command.command, ()))
    return CommandRecord(
        id=clipped(command.id, COMMAND_ID_BYTES_MAX),
        command=command.command,
        subject=subject.hex(),
        key=clipped(command.key, KEY_NAME_BYTES_MAX),
        reason=clipped(command.reason, REASON_BYTES_MAX),
        issued=clipped(command.issued, KEY_NAME_BYTES_MAX),
        received=received,
        epoch=epoch,
        accepted=why is None,
        why=why,
        network=clipped(command.network, NETWORK_BYTES_MAX) if "network" in about else None,
        source=clipped(command.source, SOURCE_BYTES_MAX) if "source" in about else None,
        partition=_number(command.partition) if "partition" in about else None,
        lane=command.lane if "lane" in about else None,
        offset=_number(command.offset) if "offset" in about else None,
        incident=clipped(command.incident, INCIDENT_ID_BYTES_MAX) if "incident" in about else None,
        since=clipped(command.since, KEY_NAME_BYTES_MAX) if "since" in about else None,
        until=clipped(command.until, KEY_NAME_BYTES_MAX) if "until" in about else None,
    )


def _number(value: int | None) -> int | None:
    """Return a number that can be that of a partition or an offset; JSON's have any length."""
    return value if value is not None and 0 <= value <= SEQUENCE_MAX else None
