"""Asks the workers about users: each worker answers for the partitions that it owns."""

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import httpx
import msgspec
from confluent_kafka.admin import AdminClient

from clout.config import Settings
from schemas.limits import USER_BYTES_MAX
from schemas.users import partition_of
from streams import clients
from streams.discovery import members
from streams.errors import CloutError

PATIENCE_SECONDS: Final = 30.0
"""How long a partition may be on its way from one worker to another, restore included."""
RETRY_SECONDS: Final = 0.5
HTTP_TIMEOUT: Final = httpx.Timeout(5.0, read=30.0)
MISDIRECTED: Final = 421
NOT_FOUND: Final = 404


class Owners:
    """The workers of an installation, by what they own; found anew when a partition has moved."""

    def __init__(self, settings: Settings) -> None:
        """Connect to the broker, which knows who owns what."""
        self._admin: AdminClient = clients.admin(settings.kafka)
        self._group = settings.names.app_id
        self._lane = settings.names.actors_lane
        self.partitions = settings.lanes.partitions
        self._addresses: dict[int, str] = {}
        self._http = httpx.Client(timeout=HTTP_TIMEOUT)

    def __enter__(self) -> Self:
        """Close the connections afterwards."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._http.close()

    def user(self, user: str) -> bytes | None:
        """Return what is known about a user, as JSON; None if nobody ever engaged with them."""
        return self._about(user, f"users/{quote(user, safe='')}")

    def explanation(self, user: str) -> bytes | None:
        """Return why a user's score is what it is, as JSON; None if nobody ever engaged with them."""
        return self._about(user, f"explanations/{quote(user, safe='')}")

    def forgotten(self, user: str) -> bool:
        """Return whether a user was forgotten, and must not be named."""
        answer = self._about(user, f"forgotten?user={quote(user, safe='')}")
        # A worker of an earlier release does not know the question: then nobody is named.
        return answer is None or user in msgspec.json.decode(answer)["forgotten"]

    def _about(self, user: str, what: str) -> bytes | None:
        raw = user.encode()
        if not 1 <= len(raw) <= USER_BYTES_MAX:
            raise CloutError(f"a user id has 1 to {USER_BYTES_MAX} bytes", detail=f"this one has {len(raw)}")

        def ask(address: str) -> httpx.Response:
            return self._http.get(f"http://{address}/v1/{what}")

        answer = self._ask(partition_of(raw, self.partitions), ask)
        return None if answer.status_code == NOT_FOUND else answer.content

    def users(self, partition: int) -> Iterator[bytes]:
        """Yield what is known about all users of a partition, in pieces of whole lines of JSON."""
        left = b""
        for piece in self._stream("/v1/users", partition):
            whole, newline, left = (left + piece).rpartition(b"\n")
            if newline:
                yield whole + newline

    def look(self, partition: int) -> Iterator[bytes]:
        """Yield all users of a partition as of one moment, as they are stored: bytes for `schemas.look.decode_look`."""
        return self._stream("/v1/look", partition)

    def _stream(self, path: str, partition: int) -> Iterator[bytes]:
        """Yield the owner's answer as it comes; raises `CloutError` when it breaks off."""

        def ask(address: str) -> httpx.Response:
            request = self._http.build_request("GET", f"http://{address}{path}", params={"partition": partition})
            return self._http.send(request, stream=True)

        answer = self._ask(partition, ask)
        try:
            yield from answer.iter_raw()
        except httpx.HTTPError as error:
            raise CloutError(
                f"partition {partition} broke off",
                detail=f"{answer.url.netloc.decode()}: {error or type(error).__name__}",
                hint="its worker stopped or gave the partition away; run the command again",
            ) from error
        finally:
            answer.close()

    def _ask(self, partition: int, ask: Callable[[str], httpx.Response]) -> httpx.Response:
        """Ask the owner, whoever that is by now; raises `CloutError` if there is none for long."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                if partition not in self._addresses:
                    self._addresses = self._find(deadline - time.monotonic())
                address = self._addresses[partition]
                answer = ask(address)
                if answer.status_code != MISDIRECTED:
                    return answer if answer.status_code == NOT_FOUND else answer.raise_for_status()
                answer.close()
                why = f"{address} does not have it, or not yet"
            except KeyError:
                why = "no worker has it"
            except httpx.HTTPError as error:
                why = f"{error or type(error).__name__}"
            self._addresses = {}
            if time.monotonic() > deadline:
                raise CloutError(
                    f"partition {partition} does not answer",
                    detail=why,
                    hint="see `clout status` for who owns what, and the worker's log",
                )
            time.sleep(RETRY_SECONDS)

    def _find(self, timeout_seconds: float) -> dict[int, str]:
        return {
            partition: member.address
            for member in members(self._admin, self._group, timeout_seconds=max(0.0, timeout_seconds))
            for topic, partition in member.partitions
            if topic == self._lane
        }
