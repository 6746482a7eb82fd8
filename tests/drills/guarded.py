"""An installation that everybody looks at: a guard, Prometheus with our rules, Alertmanager and a partner."""

import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import httpx
import msgspec

from clout.config import Settings
from clout.monitoring import Monitoring
from schemas.incident import Incident
from scorer.model import Model
from streams.process import FAULTS_VARIABLE
from streams.settings import (
    GuardSettings,
    IngestSettings,
    KafkaSettings,
    LaneSettings,
    NetworkSettings,
    WebhookSettings,
    WorkerSettings,
)
from tests.drills.observers import Alerts, Delivery, Firing, Incidents, Webhook
from tests.roles import Installation, start_together

HEARTBEAT_SECONDS: Final = 33
"""Of collectors, as the guard expects them. It calls a feed stalled after 1.55 of them. Until it is told there pass up
to three seconds where several installations share a machine, and up to ten more until Prometheus and Alertmanager have
said so too: all of that is to fit into the rest of the second one, and partners are to hear of it within a minute."""
RAW_PARTITIONS: Final = 2
OF_HASTE: Final = ("CloutChangesSlow", "CloutCanaryLate", "canary_late")
"""Alerts, and a kind of incident, that count seconds from an arrival to its change. Here days of events arrive in
seconds, on a machine that carries several installations: then they say what is true, and nothing about the data."""
INGEST: Final = IngestSettings(batch_interval_ms=500)
WORKER: Final = WorkerSettings(commit_interval_ms=1_000)
"""So that a small machine carries several installations: by default they commit many times a second."""
START_SECONDS_MAX: Final = 90.0
"""Of a role, on a machine that others are busy on."""
APPLIED_SHARE: Final = 0.98
"""A few people act on themselves, which counts for nobody."""
ASK_SECONDS: Final = 0.5
"""A worker that is busy is not asked more often how far it is."""


class Seen(NamedTuple):
    """What is new, and what fires."""

    incidents: list[Incident]
    firing: set[Firing]
    deliveries: list[Delivery]


class Guarded:
    """One ingest, one worker and one guard, and whoever looks at them; leaving it ends all of them."""

    def __init__(
        self, kafka: KafkaSettings, directory: Path, networks: Mapping[str, NetworkSettings], model: Model
    ) -> None:
        """Make the topics; nothing runs yet."""
        self._webhook = Webhook(secrets.token_hex(16))
        settings = Settings(
            data_dir=directory,
            kafka=kafka,
            lanes=LaneSettings(partitions=2),
            ingest=INGEST,
            worker=WORKER,
            networks=dict(networks),
            model=model,
            guard=GuardSettings(
                heartbeat_seconds=HEARTBEAT_SECONDS,
                freeze=False,
                webhooks={"drill": WebhookSettings(url=self._webhook.url, secret=self._webhook.secret)},
            ),
        )
        self.installation = Installation(settings)
        self.worker = self.installation.worker(environment={FAULTS_VARIABLE: "1"})
        self._roles = {
            "ingest": self.installation.ingest(),
            "score": self.worker,
            "guard": self.installation.role("guard", ["guard"]),
        }
        self._monitoring = Monitoring(directory)
        self._incidents = Incidents(kafka, self.installation.names)
        self._taken_deliveries = 0

    def __enter__(self) -> Self:
        """Start everything and return when all answers."""
        with ExitStack() as stack:
            stack.callback(self._incidents.close)
            stack.enter_context(self._webhook)
            stack.enter_context(self.installation)
            start_together(*self._roles.values(), seconds=START_SECONDS_MAX)
            self.say_where_roles_are()
            self._monitoring.start()
            stack.callback(self._monitoring.stop)
            self._alerts = stack.enter_context(closing(Alerts(self._monitoring.alertmanager)))
            self._leave = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all of it."""
        self._leave.__exit__(kind, error, trace)

    def say_where_roles_are(self) -> None:
        """Tell Prometheus, as a supervisor does."""
        targets = [
            {"targets": [role.address], "labels": {"role": name, "instance_name": f"{name}-0"}}
            for name, role in self._roles.items()
        ]
        run = self.installation.directory / "run"
        run.mkdir(exist_ok=True)
        (run / "prometheus-targets.json").write_bytes(msgspec.json.encode(targets))

    def look(self) -> Seen:
        """Return what has come since the last look; alerts that only say that they work are left out."""
        firing = {alert for alert in self._alerts.firing() if alert.severity != "none"}
        deliveries = self._webhook.deliveries[self._taken_deliveries :]
        self._taken_deliveries += len(deliveries)
        return Seen(self._incidents.look(), firing, deliveries)

    def applied_events(self) -> int:
        """Return how many events the worker has taken in; 0 while it is too busy to say."""
        try:
            tasks = self.worker.status()["partitions"]
        except httpx.TransportError:
            return 0
        return sum(of.get("applied", 0) for task in tasks for of in task.get("counters", {}).values())

    def wait_until_it_keeps_up(self, made_events: Callable[[], int], slack_events: float, seconds: float) -> None:
        """Return when the worker has taken in all events that were made by now but a few; fail after the time."""
        deadline = time.monotonic() + seconds
        while (applied := self.applied_events()) == 0 or applied < APPLIED_SHARE * made_events() - slack_events:
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {self.worker.log()}"
            time.sleep(ASK_SECONDS)
