"""Commands as they are made and sent, by operators' machines and by the guard alike."""

import uuid
from typing import Any, Final

from schemas.control import Command, CommandName, encode_command
from schemas.limits import REASON_BYTES_MAX
from schemas.times import format_ms
from streams import clients
from streams.control_secrets import ControlSecrets
from streams.errors import CloutError
from streams.names import Names
from streams.settings import KafkaSettings

SEND_TIMEOUT_SECONDS: Final = 30.0
CONTROL_PARTITION: Final = 0
"""The control topic has one partition: commands have one order."""


def new_command(
    secrets: ControlSecrets, name: CommandName, reason: str, now_ms: int, *, id_prefix: str = "", **about: Any
) -> Command:
    """Return a new command signed with this machine's key; `about` are the fields that it needs."""
    identity = f"{id_prefix}{uuid.uuid4().hex}"
    return secrets.signed(Command(id=identity, command=name, reason=reason, key="", issued=format_ms(now_ms), **about))


def check_reason(reason: str, called: str = "reason") -> None:
    """Raise `CloutError` unless this can be a command's reason, whatever its user calls that."""
    if not reason.strip():
        detail = f"it has 1 to {REASON_BYTES_MAX:,} bytes and is published"
        raise CloutError(f"the {called} is empty", detail=detail)
    if len(reason.encode()) > REASON_BYTES_MAX:
        detail = f"{len(reason.encode()):,} bytes, at most {REASON_BYTES_MAX:,}; it is published"
        raise CloutError(f"the {called} is too long", detail=detail)


def send(kafka: KafkaSettings, names: Names, command: Command) -> None:
    """Send a command and return when the broker has it; raise `CloutError` when it has not."""
    failure = clients.write_one(
        kafka, names.control, encode_command(command), partition=CONTROL_PARTITION, timeout_seconds=SEND_TIMEOUT_SECONDS
    )
    if failure:
        raise CloutError(
            "the command could not be sent", detail=failure, hint="see that the broker is up: clout topics check"
        )
