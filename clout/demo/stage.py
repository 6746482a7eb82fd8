"""What a story of the demonstration sees of the running system, and how it tells it."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.text import Text

from clout.config import Settings
from clout.injection import worker_addresses
from schemas.change import ScoreChange
from schemas.incident import Incident, decode_incident
from streams import clients
from streams.status import TaskStatus, WorkerStatus

HTTP_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.5
WAIT_SECONDS_MAX: Final = 60.0
"""How long a story waits for what it says will happen; a busy machine takes long to start a worker."""
RECORDS_MAX: Final = 1_000


class Stage:
    """The system as a story sees it, and what was not as it had to be."""

    def __init__(self, settings: Settings, console: Console) -> None:
        """Look at the demonstration of these settings."""
        self.settings = settings
        self.run_directory: Path = settings.data_dir / "run"
        self.failures: list[str] = []
        self.chain = Chains()
        self._console = console
        self._http = httpx.Client(timeout=HTTP_SECONDS)
        self._incidents: dict[str, Incident] = {}
        self._reader = self._incident_reader()
        self._watchers: list[Callable[[ScoreChange], None]] = [self.chain.take]

    # Telling ------------------------------------------------------------------------------------------------------

    def say(self, title: str, text: str | Text = "") -> None:
        """Say what happens, a line with what it is about in front."""
        self._console.print(Text.assemble((f"{title:>12}", "bold cyan"), "  ", text), soft_wrap=True)

    def check(self, title: str, text: str, *, holds: bool) -> None:
        """Say what was found, and remember when it is not what the story promised."""
        self.say(title, text if holds else Text.assemble(("NOT AS TOLD", "bold red"), " ", text))
        if not holds:
            self.failures.append(f"{title}: {text}")

    # Waiting ------------------------------------------------------------------------------------------------------

    def until(self, happened: Callable[[], object], seconds: float = WAIT_SECONDS_MAX) -> Iterator[bool]:
        """Yield again and again while the demonstration goes on; the last value says whether it has happened."""
        deadline, asked_at = time.monotonic() + seconds, 0.0
        while (now := time.monotonic()) < deadline:
            if now - asked_at >= LOOK_SECONDS:
                asked_at = now
                if happened():
                    yield True
                    return
            yield False

    # Looking ------------------------------------------------------------------------------------------------------

    def watch(self, watcher: Callable[[ScoreChange], None]) -> None:
        """Let a watcher see every change from now on."""
        self._watchers.append(watcher)

    def take(self, changes: Iterable[ScoreChange]) -> None:
        """Show changes to all who watch."""
        for change in changes:
            for watcher in self._watchers:
                watcher(change)

    def tasks(self) -> list[TaskStatus]:
        """Return how the workers' partitions are; of a worker that does not answer none."""
        found = (self._asked(address, "/v1/status") for _, address in worker_addresses(self.run_directory))
        return [
            task
            for answer in found
            if answer is not None
            for task in msgspec.json.decode(answer.content, type=WorkerStatus).partitions
        ]

    def standing(self) -> list[TaskStatus]:
        """Return the partitions that stand still."""
        return [task for task in self.tasks() if task.state == "stopped"]

    def all_run(self) -> bool:
        """Return whether every partition runs."""
        running = [task for task in self.tasks() if task.state == "running"]
        return len(running) == self.settings.lanes.partitions

    def user(self, user: str) -> dict[str, Any]:
        """Return what the workers say of a user now."""
        for _, address in worker_addresses(self.run_directory):
            answer = self._asked(address, f"/v1/users/{user}")
            if answer is not None and answer.is_success:
                found: dict[str, Any] = answer.json()
                return found
        return {}

    def metric(self, name: str) -> float:
        """Return the sum of a metric's children over the workers."""
        answers = (self._asked(address, "/metrics") for _, address in worker_addresses(self.run_directory))
        return sum(
            sample.value
            for answer in answers
            if answer is not None
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
            if sample.name == name
        )

    def incidents(self, kind: str) -> Sequence[Incident]:
        """Return the incidents of a kind as they stand."""
        for message in self._reader.consume(RECORDS_MAX, 0.01):
            value = message.value()
            if message.error() is None and value is not None:
                incident = decode_incident(value)
                self._incidents[incident.id] = incident
        return [incident for incident in self._incidents.values() if incident.kind == kind]

    def has_guard(self) -> bool:
        """Return whether a guard runs, who would open incidents about feeds."""
        return any(self.run_directory.glob("guard*.json"))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self._reader.close()

    def _asked(self, address: str, path: str) -> httpx.Response | None:
        try:
            return self._http.get(f"http://{address}{path}")
        except httpx.HTTPError:
            return None

    def _incident_reader(self) -> Consumer:
        reader = clients.consumer(self.settings.kafka, {"group.id": f"{self.settings.names.app_id}-demo"})
        reader.assign([TopicPartition(self.settings.names.incidents, 0, OFFSET_BEGINNING)])
        return reader


class Chains:
    """Follows every user's changes: each must be the next one, and say what the score was before."""

    def __init__(self) -> None:
        """Start with nobody."""
        self.changes = 0
        self.broken: Counter[str] = Counter()
        self._last: dict[str, tuple[int, float | None]] = {}

    def take(self, change: ScoreChange) -> None:
        """Take in a change.

        >>> chains = Chains()
        >>> chains.take(ScoreChange("ada", 1, 5.0, None, None, {}, "", "interaction", "1"))
        >>> chains.take(ScoreChange("ada", 3, 6.0, 5.0, None, {}, "", "interaction", "1"))
        >>> dict(chains.broken)
        {'ada': 1}
        """
        sequence, score = self._last.get(change.user, (0, None))
        if (change.sequence, change.previous) != (sequence + 1, score):
            self.broken[change.user] += 1
        self._last[change.user] = change.sequence, change.score
        self.changes += 1
