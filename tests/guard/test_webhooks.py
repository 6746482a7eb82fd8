"""Partners are told of incidents: over real HTTP, from a receiver that fails, is gone, or is somebody's example."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka import TopicPartition
from msgspec.structs import replace

from schemas.incident import Evidence, FindingTold, Incident, IncidentStatus, Severity, Slice, UserValues
from schemas.webhook import (
    IncidentTold,
    Undelivered,
    WebhookDelivery,
    decode_delivery,
    delivery_headers,
    delivery_id,
)
from streams import clients
from streams.guard.delivery_queue import BackOff, Delivery, DeliveryQueue
from streams.guard.undelivered import UndeliveredTopic
from streams.guard.webhooks import ATTEMPT_SECONDS_MAX, News, Webhooks
from streams.names import Names
from streams.settings import KafkaSettings, WebhookSettings
from tests.roles import eventually

ROOT = Path(__file__).resolve().parents[2]
SECRET = "whsec_YW4gb3BlbiBzZWNyZXQsIGZvciB0ZXN0cw=="  # noqa: S105 - no secret
KEY = b"an open secret, for tests"
SOON = BackOff(first_seconds=0.02, attempts_max=4)
OPENED = "2012-07-01T00:02:53.000Z"
NAMED = "twitter:813"


def an_incident(
    name: str = "feed_partial/twitter/1",
    status: IncidentStatus = "investigating",
    severity: Severity = "major",
    updated: str = OPENED,
) -> Incident:
    values = UserValues(user=NAMED, score=26.4, proposed=1.0, networks={})
    return Incident(
        id=name,
        kind="feed_partial",
        slice=Slice(network="twitter"),
        severity=severity,
        status=status,
        title="twitter brings 31 % of what it brings at this hour",
        opened=OPENED,
        updated=updated,
        evidence=[Evidence(finding="feed_partial", detail="311 of 1,004", users=[values], numbers={"events": 311.0})],
        affected_users=1,
        users=[NAMED],
    )


class Request(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> WebhookDelivery:
        return decode_delivery(self.body)


class Partner:
    """A real HTTP server: answers what it is told to, in this order, and 204 from then on."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: list[int | Callable[[Any], object]] = []
        partner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                partner.requests.append(Request(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                answer = partner.answers.pop(0) if partner.answers else 204
                if callable(answer):
                    answer(self)
                    return
                self.send_response(answer)
                self.send_header("content-length", "5")
                self.send_header("location", "/elsewhere")
                self.end_headers()
                self.wfile.write(b"sorry")

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/incidents"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


class Aside(list[tuple[str, str, Undelivered, str, int]]):
    """Deliveries that were set aside."""

    def put(self, webhook: str, delivery: Delivery, reason: Undelivered, detail: str, attempts: int) -> None:
        self.append((webhook, delivery.incident, reason, detail, attempts))

    def poll(self) -> None:
        pass

    def close(self) -> None:
        pass


class Told(NamedTuple):
    webhooks: Webhooks
    aside: Aside
    counted: list[tuple[str, str]]


def wait_until_delivered(told: Told, number: int) -> None:
    eventually(lambda: told.counted.count(("acme", "delivered")) == number)


@pytest.fixture
def partner() -> Iterator[Partner]:
    partner = Partner()
    yield partner
    partner.server.shutdown()
    partner.server.server_close()


@pytest.fixture
def telling() -> Iterator[Callable[..., Told]]:
    """Starts webhooks to addresses by name: `telling({"acme": url}, back_off=…)`."""
    started: list[Webhooks] = []

    def start(urls: dict[str, str], **options: Any) -> Told:
        settings = {name: WebhookSettings(url=url, secret=SECRET) for name, url in urls.items()}
        aside, counted = Aside(), list[tuple[str, str]]()
        webhooks = Webhooks(settings, aside, lambda *outcome: counted.append(outcome), **{"back_off": SOON, **options})
        webhooks.start()
        started.append(webhooks)
        return Told(webhooks, aside, counted)

    yield start
    for webhooks in started:
        webhooks.stop()


def test_what_partners_are_told_is_the_record_without_its_users() -> None:
    assert set(Incident.__struct_fields__) - set(IncidentTold.__struct_fields__) == {"users"}
    assert set(Evidence.__struct_fields__) - set(FindingTold.__struct_fields__) == {"users"}


def test_a_delivery_fails_twice_and_arrives_once_signed_as_the_convention_says(
    partner: Partner, telling: Callable[..., Told]
) -> None:
    partner.answers = [500, 503]
    told = telling({"acme": partner.url})
    told.webhooks.offer(an_incident())
    eventually(lambda: told.counted == [("acme", "retried"), ("acme", "retried"), ("acme", "delivered")])
    assert {request.headers["webhook-id"] for request in partner.requests} == {delivery_id(an_incident())}
    for request in partner.requests:
        timestamp = int(request.headers["webhook-timestamp"])
        right = delivery_headers(request.headers["webhook-id"], timestamp, request.body, KEY)
        assert right.items() <= request.headers.items()
        assert abs(time.time() - timestamp) < 60
    assert told.aside == []


def test_nobody_is_named_and_how_many_there_are_is_told(partner: Partner, telling: Callable[..., Told]) -> None:
    telling({"acme": partner.url}).webhooks.offer(an_incident())
    eventually(lambda: len(partner.requests) == 1)
    assert NAMED.encode() not in partner.requests[0].body
    assert partner.requests[0].told.incident.affected_users == 1
    assert partner.requests[0].told.incident.evidence[0].numbers == {"events": 311.0}


def test_two_failed_attempts_leave_time_for_a_third_within_a_minute() -> None:
    waits = [BackOff().seconds(attempts, chance=1.0) for attempts in (1, 2)]
    assert 3 * ATTEMPT_SECONDS_MAX + sum(waits) < 60


@pytest.mark.parametrize("answer", [301, 307, 400, 404, 500])
def test_any_answer_but_success_is_tried_again_and_no_redirect_is_followed(
    partner: Partner, telling: Callable[..., Told], answer: int
) -> None:
    partner.answers = [answer]
    told = telling({"acme": partner.url})
    told.webhooks.offer(an_incident())
    eventually(lambda: ("acme", "delivered") in told.counted)
    assert [request.path for request in partner.requests] == ["/incidents", "/incidents"]


def test_a_partner_that_says_it_is_gone_is_not_asked_again(partner: Partner, telling: Callable[..., Told]) -> None:
    partner.answers = [410]
    told = telling({"acme": partner.url})
    told.webhooks.offer(an_incident())
    eventually(lambda: len(told.aside) == 1)
    assert told.aside[0][:3] == ("acme", "feed_partial/twitter/1", "gone")
    assert told.counted == [("acme", "dead_lettered")]
    assert len(partner.requests) == 1


def test_after_the_last_attempt_it_is_set_aside_with_what_was_answered(
    partner: Partner, telling: Callable[..., Told]
) -> None:
    partner.answers = [500] * 4
    told = telling({"acme": partner.url})
    told.webhooks.offer(an_incident())
    eventually(lambda: len(told.aside) == 1)
    assert told.aside == [("acme", "feed_partial/twitter/1", "attempts_exhausted", "500 sorry", 4)]


def test_a_partner_that_nobody_answers_for_is_set_aside_with_why(telling: Callable[..., Told]) -> None:
    told = telling({"acme": "http://127.0.0.1:1/"})
    told.webhooks.offer(an_incident())
    eventually(lambda: len(told.aside) == 1)
    assert "ConnectError" in told.aside[0][3]


def test_of_an_endless_answer_only_the_beginning_is_read(partner: Partner, telling: Callable[..., Told]) -> None:
    written = threading.Event()

    def endless(handler: Any) -> None:
        handler.send_response(500)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 65_536)
        except OSError:
            written.set()

    partner.answers = [endless]
    told = telling({"acme": partner.url}, back_off=BackOff(attempts_max=1))
    told.webhooks.offer(an_incident())
    eventually(lambda: len(told.aside) == 1)
    assert len(told.aside[0][3]) < 1_100
    assert written.wait(5), "the connection was kept open"


def test_what_is_told_of_one_incident_keeps_its_order_while_others_go_by(
    partner: Partner, telling: Callable[..., Told]
) -> None:
    partner.answers = [500]
    told = telling({"acme": partner.url}, back_off=BackOff(first_seconds=0.2))
    told.webhooks.offer(an_incident("slow"))
    told.webhooks.offer(an_incident("slow", "resolved", updated="2012-07-01T00:05:00.000Z"))
    eventually(lambda: len(partner.requests) == 1)
    told.webhooks.offer(an_incident("quick"))
    eventually(lambda: told.counted.count(("acme", "delivered")) == 3)
    assert [(request.told.incident.id, request.told.type) for request in partner.requests] == [
        ("slow", "incident.opened"),
        ("quick", "incident.opened"),
        ("slow", "incident.opened"),
        ("slow", "incident.resolved"),
    ]


def test_a_partner_that_hangs_holds_up_neither_the_others_nor_the_guard(
    partner: Partner, telling: Callable[..., Told]
) -> None:
    hanging = Partner()
    let_go = threading.Event()
    hanging.answers = [lambda _: let_go.wait(20)]
    told = telling({"hangs": hanging.url, "acme": partner.url}, waiting_max=2)
    began = time.monotonic()
    for number in range(4):
        told.webhooks.offer(an_incident(f"incident {number}"))
        wait_until_delivered(told, number + 1)
    told.webhooks.stop()
    assert time.monotonic() - began < 5
    assert len(partner.requests) == 4
    reasons = [(incident, reason) for webhook, incident, reason, _, _ in told.aside if webhook == "hangs"]
    assert reasons == [
        ("incident 2", "queue_full"),
        ("incident 3", "queue_full"),
        ("incident 0", "stopped"),
        ("incident 1", "stopped"),
    ]
    let_go.set()
    hanging.server.shutdown()
    hanging.server.server_close()


def test_only_what_partners_need_to_know_at_once_is_told() -> None:
    news, incident = News(), an_incident()
    assert news.of(incident) == "incident.opened"
    assert news.of(replace(incident, affected_users=9, updated="2012-07-01T00:03:00.000Z")) is None
    assert news.of(replace(incident, severity="critical")) == "incident.updated"
    assert news.of(replace(incident, severity="critical", status="identified")) == "incident.updated"
    assert news.of(replace(incident, severity="critical", status="resolved")) == "incident.resolved"
    assert news.of(replace(incident, severity="critical", status="resolved", notes=[])) is None
    frozen = replace(incident, id="another", frozen=["twitter"])
    told = [news.of(of) for of in (frozen, frozen, replace(frozen, frozen=[]))]
    assert told == ["incident.opened", None, "incident.updated"]


def test_a_guard_that_begins_tells_what_is_open_and_lately_resolved_with_the_ids_that_it_had(
    partner: Partner, telling: Callable[..., Told]
) -> None:
    now = 1_341_100_973.0 + 1_800
    before = an_incident("open")
    mended, long_ago = (
        an_incident(name, "resolved", updated=f"2012-07-01T00:{minute}:00.000Z")
        for name, minute in (("mended", "10"), ("long ago", "01"))
    )
    first = telling({"acme": partner.url}, clock=lambda: now)
    first.webhooks.offer(before)
    eventually(lambda: len(partner.requests) == 1)
    second = telling({"acme": partner.url}, clock=lambda: now + 1_900)
    second.webhooks.offer_again([before, mended, long_ago])
    eventually(lambda: len(partner.requests) == 3)
    assert [request.told.type for request in partner.requests] == [
        "incident.opened",
        "incident.opened",
        "incident.resolved",
    ]
    ids = [request.headers["webhook-id"] for request in partner.requests]
    assert ids[0] == ids[1] != ids[2]
    second.webhooks.offer(replace(before, status="resolved"))
    eventually(lambda: len(partner.requests) == 4)
    assert partner.requests[3].told.type == "incident.resolved"


def test_waits_double_at_most_and_are_never_less_than_half() -> None:
    queue = DeliveryQueue(limit=1, back_off=BackOff(first_seconds=2, seconds_max=5, attempts_max=4), random=lambda: 0.5)
    assert queue.put(Delivery("1", "i", b""), now_s=0)
    waiting = queue.due(now_s=0)
    assert waiting is not None
    dues = []
    while queue.failed(waiting, now_s=0):
        dues.append(queue.next_due_s())
    assert dues == [1.5, 3.0, 3.75]


def test_the_example_receiver_takes_what_is_signed_once_and_nothing_else(telling: Callable[..., Told]) -> None:
    process = subprocess.Popen(
        [sys.executable, ROOT / "examples" / "webhook_receiver.py", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "WEBHOOK_SECRET": SECRET},
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().split()[-1]
        told = telling({"acme": url})
        told.webhooks.offer_again([an_incident("one"), an_incident("one")])
        told.webhooks.offer(an_incident("two"))
        eventually(lambda: told.counted.count(("acme", "delivered")) == 3)
        stranger = Webhooks(
            {"acme": WebhookSettings(url=url, secret=SECRET[::-1])}, told.aside, lambda *_: None, back_off=SOON
        )
        stranger.start()
        stranger.offer(an_incident("three"))
        eventually(lambda: len(told.aside) == 1)
        stranger.stop()
        assert told.aside[0][2:4] == ("attempts_exhausted", "401")
    finally:
        process.terminate()
        said, _ = process.communicate(timeout=10)
    title = an_incident().title
    assert said.splitlines() == [
        f"incident.opened one major investigating {title}",
        f"incident.opened two major investigating {title}",
    ]


def test_what_is_not_delivered_is_in_the_dead_letter_topic_with_the_reason(
    kafka_settings: KafkaSettings, make_topic: Callable[..., str], partner: Partner
) -> None:
    names = Names(kafka_settings.prefix, "1")
    make_topic(names.webhook_dead_letters)
    partner.answers = [410]
    settings = {"acme": WebhookSettings(url=partner.url, secret=SECRET)}
    counted: list[tuple[str, str]] = []
    webhooks = Webhooks(settings, UndeliveredTopic(kafka_settings, names), lambda *outcome: counted.append(outcome))
    webhooks.start()
    webhooks.offer(an_incident())
    eventually(lambda: counted == [("acme", "dead_lettered")])
    webhooks.stop()
    reader = clients.consumer(kafka_settings, {"group.id": "test"})
    reader.assign([TopicPartition(names.webhook_dead_letters, 0, 0)])
    letter = reader.poll(10)
    reader.close()
    assert letter is not None
    assert (letter.key(), letter.value()) == (b"feed_partial/twitter/1", partner.requests[0].body)
    headers: Any = letter.headers()
    assert {name: value.decode() for name, value in headers} == {
        "webhook": "acme",
        "id": delivery_id(an_incident()),
        "reason": "gone",
        "detail": "410 sorry",
        "attempts": "1",
    }
