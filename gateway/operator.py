"""Gives orders for operators who are at a page: the commands that `clout freeze`, `resume` and `incident resolve` send.

They are signed with this machine's control key, as the guard's are; their reason says that they came through here.
"""

import time
from collections.abc import Callable
from typing import Any, Final

from gateway.problems import ProblemError
from schemas.control import CommandName
from streams.control_secrets import ControlSecrets
from streams.errors import CloutError
from streams.names import Names
from streams.orders import check_reason, new_command, send
from streams.settings import KafkaSettings

ID_PREFIX: Final = "gateway-"
"""Begins the ids of these commands in the public record."""


class Operator:
    """Signs and sends; any thread may."""

    def __init__(self, kafka: KafkaSettings, names: Names, secrets: Callable[[], ControlSecrets]) -> None:
        """Take what the commands are about; `secrets` are read when the first one is given."""
        self._kafka, self._names, self._secrets = kafka, names, secrets

    def order(self, name: CommandName, reason: str, by: str, **about: Any) -> str:
        """Send a command for whoever holds the key `by`, and return its id once Kafka has it.

        Raise `ProblemError` for a reason that cannot be one, and when it could not be sent.
        """
        signed_reason = f"{reason} (through the gateway, {f'API key {by}' if by else 'no API key'})"
        try:
            check_reason(reason)
            check_reason(signed_reason)
        except CloutError as error:
            raise ProblemError("bad-request", f"{error.error}: {error.detail}") from error
        try:
            command = new_command(
                self._secrets(), name, signed_reason, int(time.time() * 1000), id_prefix=ID_PREFIX, **about
            )
            send(self._kafka, self._names, command)
        except CloutError as error:
            raise ProblemError("not-ordered", error.error, error.hint, {"Retry-After": "5"}) from error
        return command.id
