"""A client of a gateway's streams, as simple as one can be: it keeps the last id, and comes back with it."""

import json
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class Event:
    """One server-sent event."""

    name: str
    id: str
    data: Any


@dataclass
class Listener:
    """One client; `listen` opens a connection, and goes on where the last one ended."""

    path: str = "/v1/scores/stream"
    last_id: str = ""
    key: str = ""
    changes: list[dict[str, Any]] = field(default_factory=list)
    comments: int = 0

    def listen(self, url: str, seconds: float = 20.0) -> Generator[Event, None, None]:
        """Yield the events of one connection; it ends when the server or the caller ends it."""
        headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        with httpx.stream("GET", f"{url}{self.path}", headers=headers, timeout=seconds) as response:
            assert response.status_code == 200, response.read()
            fields: dict[str, str] = {}
            for line in response.iter_lines():
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "data" in fields:
                    event = Event(
                        fields.get("event", "message"), fields.get("id", self.last_id), json.loads(fields["data"])
                    )
                    fields = {}
                    self.last_id = event.id
                    if event.name == "change":
                        self.changes.append(event.data)
                    yield event
                else:
                    fields = {}

    def until(self, url: str, count: int, seconds: float = 20.0) -> None:
        """Listen until so many changes have come in all; come back whenever the connection ends."""
        while len(self.changes) < count:
            try:
                for _ in self.listen(url, seconds):
                    if len(self.changes) >= count:
                        break
            except httpx.RemoteProtocolError:
                continue

    @property
    def seen(self) -> list[tuple[str, int]]:
        """User and sequence of every change, in the order of their coming."""
        return [(change["user"], change["sequence"]) for change in self.changes]
