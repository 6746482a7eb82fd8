"""Tells partners of incidents, each over its webhook: opened, severity or status changed, resolved.

A delivery is tried until the partner answers with success, or says 410, or too many attempts failed; what is not
delivered goes to `webhooks.dlq.v1`, so nothing is lost without a trace. What waits is in memory alone: a guard that
begins offers again what is open and what was resolved of late (`Webhooks.offer_again`), with the ids that the
deliveries had before, so that receivers can drop what they have. `docs/partners.md` is the contract.
"""

import asyncio
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

import httpx
import structlog

from schemas.incident import Incident, IncidentStatus, Severity
from schemas.times import HOUR_MS, format_ms, parse_ms
from schemas.webhook import (
    DeliveryType,
    Undelivered,
    WebhookDelivery,
    delivery_headers,
    delivery_id,
    encode_delivery,
    is_loopback,
    secret_bytes,
    told,
)
from streams.guard.delivery_queue import DELIVERIES_WAITING_MAX, BackOff, Delivery, DeliveryQueue, Waiting
from streams.guard.undelivered import Aside
from streams.settings import WebhookSettings

ATTEMPT_SECONDS_MAX: Final = 10.0
"""For one attempt: to connect, send, and read the answer's headers. Three of them and two waits are 36 seconds."""
ANSWER_BYTES_MAX: Final = 1_024
"""Of an answer's body that are read, to say why an attempt failed."""
INCIDENTS_KNOWN_MAX: Final = 10_000
"""Incidents of which it is remembered what partners were told last."""
RESOLVED_OF_LATE_MS: Final = HOUR_MS

_POLL_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 3.0
_GONE: Final = 410
_RESOLVED: Final[IncidentStatus] = "resolved"

Count = Callable[[str, str], object]
"""Counts a webhook's outcome: `delivered`, `retried` or `dead_lettered`."""

_log: Final = structlog.get_logger(__name__)


class _Told(NamedTuple):
    """What of an incident partners are to know at once."""

    severity: Severity
    status: IncidentStatus
    frozen: tuple[str, ...]


def _told_of(incident: Incident) -> _Told:
    return _Told(incident.severity, incident.status, tuple(incident.frozen))


class News:
    """Knows what partners were told last, and so what is worth telling; pure."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, _Told] = OrderedDict()

    def of(self, incident: Incident) -> DeliveryType | None:
        """Return what this record is to partners; None where it changes nothing that they need to know at once."""
        before = self._remember(incident)
        if before == _told_of(incident):
            return None
        if incident.status == _RESOLVED:
            return "incident.resolved"
        return "incident.opened" if before is None else "incident.updated"

    def again(self, incident: Incident, now_ms: int) -> DeliveryType | None:
        """Return the same of a record that a guard finds when it begins: partners may know it, or may not."""
        resolved = incident.status == _RESOLVED
        self._remember(incident)
        if resolved:
            return "incident.resolved" if parse_ms(incident.updated) > now_ms - RESOLVED_OF_LATE_MS else None
        return "incident.opened" if incident.updated == incident.opened else "incident.updated"

    def _remember(self, incident: Incident) -> _Told | None:
        before = self._told.pop(incident.id, None)
        self._told[incident.id] = _told_of(incident)
        if len(self._told) > INCIDENTS_KNOWN_MAX:
            self._told.popitem(last=False)
        return before


class Webhooks:
    """All partners; `offer` never blocks, a thread each delivers."""

    def __init__(
        self,
        settings: Mapping[str, WebhookSettings],
        aside: Aside,
        count: Count,
        *,
        back_off: BackOff | None = None,
        waiting_max: int = DELIVERIES_WAITING_MAX,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the partners by name; `aside` gets what cannot be delivered, and is closed by `stop`."""
        self._aside, self._clock = aside, clock
        self._news = News()
        self._partners = [
            _Partner(
                name,
                of_partner,
                DeliveryQueue(limit=waiting_max, back_off=back_off or BackOff(), random=random.random),
                aside,
                count,
                clock,
            )
            for name, of_partner in settings.items()
        ]

    def start(self) -> None:
        """Begin to deliver."""
        for partner in self._partners:
            partner.start()

    def stop(self) -> None:
        """End; what was not delivered is set aside."""
        for partner in self._partners:
            partner.tell_to_stop()
        for partner in self._partners:
            partner.wait_until_stopped()
        self._aside.close()

    def offer(self, incident: Incident) -> None:
        """Deliver an incident as it stands now, if it is worth it."""
        self._send(incident, self._news.of(incident))

    def offer_again(self, incidents: Iterable[Incident]) -> None:
        """Deliver what a guard finds when it begins: the open incidents, and those resolved within the last hour."""
        now_ms = int(self._clock() * 1000)
        for incident in incidents:
            self._send(incident, self._news.again(incident, now_ms))

    def waiting(self) -> dict[str, int]:
        """Return how many deliveries wait, by partner."""
        return {partner.name: partner.waiting() for partner in self._partners}

    def _send(self, incident: Incident, type_: DeliveryType | None) -> None:
        if type_ is None or not self._partners:
            return
        sent = format_ms(int(self._clock() * 1000))
        body = encode_delivery(WebhookDelivery(type=type_, incident=told(incident), sent=sent))
        for partner in self._partners:
            partner.put(Delivery(delivery_id(incident), incident.id, body))


class _Partner:
    """One partner: what is to be told, and the thread that does."""

    def __init__(
        self,
        name: str,
        settings: WebhookSettings,
        queue: DeliveryQueue,
        aside: Aside,
        count: Count,
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self._url, self._secret = settings.url, secret_bytes(settings.secret)
        self._queue, self._aside, self._count, self._clock = queue, aside, count, clock
        self._changed = threading.Condition()
        self._stopping = False
        self._attempting: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None
        self._thread = threading.Thread(target=self._run, name=f"webhook-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, delivery: Delivery) -> None:
        with self._changed:
            taken = not self._stopping and self._queue.put(delivery, time.monotonic())
            self._changed.notify()
        if not taken:
            reason: Undelivered = "stopped" if self._stopping else "queue_full"
            self._count(self.name, "dead_lettered")
            self._aside.put(self.name, delivery, reason, f"{len(self._queue)} were waiting", 0)
            _log.error("a webhook message is set aside", webhook=self.name, incident=delivery.incident, reason=reason)

    def waiting(self) -> int:
        return len(self._queue)

    def tell_to_stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()
            if self._attempting is not None:
                loop, task = self._attempting
                loop.call_soon_threadsafe(task.cancel)

    def wait_until_stopped(self) -> None:
        """Set aside what was not delivered."""
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        with self._changed:
            left = list(self._queue.drain())
        for waiting in left:
            self._count(self.name, "dead_lettered")
            self._aside.put(self.name, waiting.delivery, "stopped", "the guard stopped", waiting.attempts)

    def _run(self) -> None:
        proxies = not is_loopback(httpx.URL(self._url).host)
        with asyncio.Runner() as runner:
            client = httpx.AsyncClient(
                follow_redirects=False,
                timeout=ATTEMPT_SECONDS_MAX,
                trust_env=proxies,
                headers={"user-agent": "clout-webhook/1", "accept-encoding": "identity"},
            )
            while (waiting := self._next()) is not None:
                try:
                    runner.run(self._deliver(client, waiting))
                except asyncio.CancelledError:
                    break  # It was told to stop.
            runner.run(client.aclose())

    def _next(self) -> Waiting | None:
        """Wait for a delivery whose attempt is due; None when it is time to stop."""
        with self._changed:
            while not self._stopping:
                self._aside.poll()
                now_s = time.monotonic()
                if (waiting := self._queue.due(now_s)) is not None:
                    return waiting
                self._changed.wait(min(_POLL_SECONDS, max(0.0, self._queue.next_due_s() - now_s)))
        return None

    async def _deliver(self, client: httpx.AsyncClient, waiting: Waiting) -> None:
        """Make one attempt, and take note of what came of it."""
        task = asyncio.current_task()
        with self._changed:
            if self._stopping or task is None:
                return
            self._attempting = asyncio.get_running_loop(), task
        try:
            failure, gone = await self._attempt(client, waiting.delivery)
        finally:
            with self._changed:
                self._attempting = None
        if failure is None:
            self._count(self.name, "delivered")
            with self._changed:
                self._queue.end(waiting)
        else:
            self._take_note(waiting, failure, gone=gone)

    async def _attempt(self, client: httpx.AsyncClient, delivery: Delivery) -> tuple[str | None, bool]:
        """Return why an attempt failed, None if it did not, and whether the receiver wants no more."""
        headers = delivery_headers(delivery.id, int(self._clock()), delivery.body, self._secret)
        try:
            async with (
                asyncio.timeout(ATTEMPT_SECONDS_MAX),
                client.stream("POST", self._url, content=delivery.body, headers=headers) as answer,
            ):
                if answer.is_success:
                    return None, False
                return f"{answer.status_code} {await _beginning(answer)}".strip(), answer.status_code == _GONE
        except TimeoutError:
            return f"no answer within {ATTEMPT_SECONDS_MAX:g} seconds", False
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the next delivery must be tried
            return f"{type(error).__name__}: {error}", False

    def _take_note(self, waiting: Waiting, failure: str, *, gone: bool) -> None:
        """Try again later, or set the delivery aside."""
        delivery = waiting.delivery
        with self._changed:
            tried_again = self._queue.failed(waiting, time.monotonic()) and not gone
            if not tried_again:
                self._queue.end(waiting)
        noted = {"webhook": self.name, "incident": delivery.incident, "attempts": waiting.attempts, "detail": failure}
        if tried_again:
            self._count(self.name, "retried")
            _log.warning("a webhook message was not taken, it will be sent again", **noted)
        else:
            self._count(self.name, "dead_lettered")
            reason: Undelivered = "gone" if gone else "attempts_exhausted"
            self._aside.put(self.name, delivery, reason, failure, waiting.attempts)
            _log.error("a webhook message is set aside", reason=reason, **noted)


async def _beginning(answer: httpx.Response) -> str:
    """Return the beginning of an answer's body."""
    read = b""
    async for chunk in answer.aiter_raw():
        read += chunk
        if len(read) >= ANSWER_BYTES_MAX:
            break
    return read[:ANSWER_BYTES_MAX].decode(errors="replace")
