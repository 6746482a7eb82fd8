"""What a guard has beside it while it watches: partners who are told, lists of whom incidents touch, canaries, pages.

Each time that this process begins to watch, lists and canaries are made anew; they end when another guard takes over.
What is under way to partners is delivered all the same: it lives as long as the process.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from schemas.incident import Incident
from streams.guard.affected_reader import AffectedReader
from streams.guard.alert_hook import FiringAlerts, alert_routes
from streams.guard.canary_sender import CanarySender
from streams.guard.role import Guard
from streams.guard.status_page import status_routes
from streams.guard.undelivered import UndeliveredTopic
from streams.guard.webhooks import Webhooks
from streams.names import Names
from streams.settings import GuardSettings, KafkaSettings, NetworkSettings


class Company:
    """Stands beside one guard process."""

    def __init__(
        self,
        kafka: KafkaSettings,
        names: Names,
        settings: GuardSettings,
        count_delivery: Callable[[str, str], object],
    ) -> None:
        """Nothing begins before the guard does; `count_delivery` is told webhook and outcome."""
        self._kafka, self._names = kafka, names
        self._webhooks = Webhooks(settings.webhooks, UndeliveredTopic(kafka, names), count_delivery)
        self._is_delivering = False
        self._affected: AffectedReader | None = None
        self._sender: CanarySender | None = None

    def join(self, guard: Guard, networks: Mapping[str, NetworkSettings]) -> None:
        """Be called by a guard that has not begun to run."""
        beside = guard.beside
        beside.on_begin.append(self.begin)
        beside.on_incident.append(self.tell)
        beside.on_end.append(self.end)
        beside.touched.append(self.touched)
        beside.send.append(self.send)
        beside.routes.extend(status_routes(list(networks), guard.standing))
        beside.routes.extend(alert_routes(FiringAlerts()))

    def begin(self, incidents: Sequence[Incident]) -> None:
        """Begin with the incidents that are open or were until lately."""
        self.end()
        self._affected = AffectedReader(self._kafka, self._names)
        self._sender = CanarySender(self._kafka, self._names)
        if not self._is_delivering:
            self._is_delivering = True
            self._webhooks.start()
        self._webhooks.offer_again(incidents)
        self._affected.start()
        for incident in incidents:
            self._affected.tell(incident)

    def tell(self, incident: Incident) -> None:
        """Hear of an incident's new record."""
        self._webhooks.offer(incident)
        if self._affected is not None:
            self._affected.tell(incident)

    def touched(self, incident: str) -> tuple[int, Sequence[str]] | None:
        """Return how many an incident touches, and the first of them; None where it is not known yet."""
        found = self._affected.touched(incident) if self._affected is not None else None
        return None if found is None else (found.user_count, found.users)

    def send(self, records: Iterable[Any]) -> None:
        """Send what synthetic accounts do."""
        if self._sender is not None:
            self._sender.send(list(records))

    def end(self) -> None:
        """Let another guard go on; may take seconds."""
        affected, sender = self._affected, self._sender
        self._affected = self._sender = None
        if affected is not None:
            affected.stop()
        if sender is not None:
            sender.close()

    def close(self) -> None:
        """End with the process; what was not delivered is set aside."""
        self.end()
        if self._is_delivering:
            self._webhooks.stop()
