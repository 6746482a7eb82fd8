"""The messages of the AsyncAPI document, each with examples that the types themselves have written."""

import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from schemas.access import AccessKey, AccessUser, encode_access, secret_hash
from schemas.change import CHANGE_TYPE, Subscores, change_headers, encode_change
from schemas.control import Command, encode_command, encode_record, record_of, sign
from schemas.dead_letter import DeadLetter, encode_headers
from schemas.feed_report import REGISTERS, FeedReport, Volume, encode_feed_report
from schemas.incident import (
    Evidence,
    Incident,
    IncidentUsers,
    Slice,
    Span,
    UserValues,
    encode_incident,
    encode_incident_users,
)
from schemas.interaction import Interaction, encode
from schemas.population import BINS, NetworkPopulation, Population, Shift, Steps, encode_population
from schemas.users import keyed_hash
from schemas.webhook import (
    UndeliveredHeaders,
    WebhookDelivery,
    delivery_headers,
    delivery_id,
    encode_delivery,
    encode_undelivered,
    told,
)

Json = dict[str, Any]


def _key(description: str) -> Json:
    return {"kafka": {"key": {"type": "string", "description": description}, "bindingVersion": "0.5.0"}}


def interaction_message() -> Json:
    """An interaction in the native format."""
    share = Interaction(
        id="1017", kind="share", actor="twitter:50329", target="twitter:813", time="2012-07-01T00:02:52Z", source="c1"
    )
    taken_back = Interaction(id="1017", kind="retract", actor="twitter:50329", time="2012-07-01T00:05:00Z")
    alive = Interaction(kind="heartbeat", time="2012-07-01T00:05:01Z", source="c1")
    return {
        "title": "Interaction, native format",
        "summary": "One interaction, or an array of them.",
        "contentType": "application/json",
        "payload": {"$ref": "#/components/schemas/InteractionRecord"},
        "bindings": _key("Any. Keyed by actor, the events of one actor keep their order."),
        "examples": [
            {"name": name, "payload": json.loads(encode(example))}
            for name, example in (("share", share), ("several", [share, taken_back]), ("heartbeat", alive))
        ],
    }


def activity_message() -> Json:
    """An activity in CloudEvents."""
    return {
        "title": "Activity, CloudEvents with ActivityStreams 2.0",
        "summary": "Announce, Like, Create with inReplyTo or Mention, Follow, Undo, Delete; one or a batch.",
        "contentType": "application/activity+json",
        "headers": {"$ref": "#/components/schemas/CloudEventHeaders"},
        "payload": {"type": "object"},
        "bindings": _key("Any. Keyed by actor, the events of one actor keep their order."),
    }


def dead_letter_message() -> Json:
    """What was set aside."""
    letter = DeadLetter(
        reason="unknown_kind",
        detail="Invalid enum value 'boost' - at `$.kind`",
        source_topic="interactions.twitter.v1",
        source_partition=3,
        source_offset=1017,
        source_time=1_341_100_972_000,
        source_index=4,
    )
    return {
        "title": "Dead letter",
        "summary": "A record, or one element of its array, that is not a valid interaction.",
        "contentType": "application/octet-stream",
        "headers": {"$ref": "#/components/schemas/DeadLetter"},
        "payload": {"description": "The original bytes."},
        "examples": [{"name": "unknown kind", "headers": _as_text(encode_headers(letter))}],
    }


def change_message() -> Json:
    """A change of a score."""
    first = encode_change(
        "twitter:813",
        1,
        26.4,
        None,
        Subscores(30.1, 25.0, 20.5),
        {"twitter": 26.4},
        1_341_100_972_000,
        "interaction",
        "1",
    )
    forgotten = encode_change("twitter:813", 2, None, 26.4, None, {}, 1_341_104_572_000, "forget", "1")
    return {
        "title": "Score change",
        "summary": "A user's score moved; the first one has no previous.",
        "contentType": "application/json",
        "headers": {"$ref": "#/components/schemas/CloudEventHeaders"},
        "payload": {"$ref": "#/components/schemas/ScoreChange"},
        "bindings": _key("The user."),
        "examples": [
            {
                "name": name,
                "headers": _as_text(change_headers("twitter:813", sequence, b"/clout/1")),
                "payload": json.loads(payload),
            }
            for name, sequence, payload in (("first", 1, first), ("forgotten", 2, forgotten))
        ],
    }


_KEY: Final = b"an example"
_ISSUED: Final = "2012-07-01T00:10:00.000Z"
_COMMANDS: Final = [
    sign(msgspec.structs.replace(command, reason=reason, key="operators", issued=_ISSUED), _KEY)
    for command, reason in (
        (
            Command(id="018c2f7e", command="forget", user="twitter:813", key="", issued=""),
            "request 77 of the data protection officer",
        ),
        (
            Command(id="018c2f7f", command="release", network="twitter", source="west", key="", issued=""),
            "its machine is gone for good",
        ),
        (
            Command(id="018c2f80", command="quarantine", partition=3, lane="targets", offset=1_017, key="", issued=""),
            "it credits somebody who was never named",
        ),
        (Command(id="018c2f81", command="freeze", network="twitter", key="", issued=""), "half of it is missing"),
        (
            Command(
                id="018c2f82",
                command="retract",
                network="twitter",
                source="west",
                incident="feed_partial/twitter/2012-07-01T00:02:53.000Z",
                since="2012-07-01T00:00:00Z",
                until="2012-07-01T00:05:00Z",
                key="",
                issued="",
            ),
            "it credited the wrong people",
        ),
        (Command(id="018c2f83", command="resolve", incident="feed_stalled/twitter/1", key="", issued=""), "it is back"),
    )
]
"""Of each kind one; `unforget` is like `forget`, `resume` like `freeze`, `note` like `resolve`, `declare` like both."""


def command_message() -> Json:
    """An operator's command."""
    return {
        "title": "Command",
        "summary": "An order about a user, collector, record of a lane, network or incident, signed with HMAC-SHA256.",
        "contentType": "application/json",
        "payload": {"$ref": "#/components/schemas/Command"},
        "bindings": _key("Any."),
        "examples": [
            {"name": command.command, "payload": json.loads(encode_command(command))} for command in _COMMANDS
        ],
    }


def command_record_message() -> Json:
    """What became of a command."""
    examples = []
    for epoch, command in enumerate(_COMMANDS, 4):
        subject = keyed_hash(command.user.encode(), _KEY) if command.user else b""
        record = record_of(command, subject=subject, received="2012-07-01T00:10:00.025Z", epoch=epoch, why=None)
        examples.append({"name": command.command, "payload": json.loads(encode_record(record))})
    return {
        "title": "Command record",
        "summary": "What became of a command.",
        "contentType": "application/json",
        "payload": {"$ref": "#/components/schemas/CommandRecord"},
        "bindings": _key("The command's id."),
        "examples": examples,
    }


def incident_message() -> Json:
    """An incident."""
    span = Span(lane="targets", first=1_017, last=1_021)
    values = UserValues(
        user="twitter:813", score=26.4, proposed=1.0, networks={"twitter": [7.1, 5.2, 0.6, 0.0, 0.0, 0.0]}
    )
    evidence = Evidence(
        finding="only_decay_lowers_strength",
        detail="1 of 240 users",
        positions=[span],
        suspect=Span(lane="targets", first=1_020, last=1_020),
        users=[values],
    )
    incident = Incident(
        id="law-1-3-1016-1016",
        kind="law_violation",
        slice=Slice(partition=3),
        severity="critical",
        status="investigating",
        title="partition 3 stands still: a batch broke the law only_decay_lowers_strength",
        opened="2012-07-01T00:02:53.000Z",
        updated="2012-07-01T00:02:53.000Z",
        evidence=[evidence],
        affected_users=1,
        users=["twitter:813"],
        model="1",
    )
    return {
        "title": "Incident",
        "summary": "One incident as it stands.",
        "contentType": "application/json",
        "payload": {"$ref": "#/components/schemas/Incident"},
        "bindings": _key("The incident's id."),
        "examples": [{"name": "law broken", "payload": json.loads(encode_incident(incident))}],
    }


def incident_users_message() -> Json:
    """Whom an incident touches."""
    users = IncidentUsers(incident="feed_partial/twitter/2012-07-01T00:02:53.000Z", number=0, users=["twitter:813"])
    return {
        "title": "Users of an incident",
        "summary": "Some of the users whom an incident touches.",
        "contentType": "application/json",
        "payload": {"$ref": "#/components/schemas/IncidentUsers"},
        "bindings": _key("INCIDENT/NUMBER."),
        "examples": [{"name": "one", "payload": json.loads(encode_incident_users(users))}],
    }


_PARTIAL: Final = Incident(
    id="feed_partial/twitter/2012-07-01T00:02:53.000Z",
    kind="feed_partial",
    slice=Slice(network="twitter"),
    severity="major",
    status="investigating",
    title="twitter brings 31 % of what it brings at this hour",
    opened="2012-07-01T00:02:53.000Z",
    updated="2012-07-01T00:02:53.000Z",
    evidence=[
        Evidence(
            finding="feed_partial",
            detail="311 of 1,004 events in an hour",
            numbers={"events": 311.0, "events_expected": 1_004.0},
            at="2012-07-01T00:02:53.000Z",
        )
    ],
    affected_users=240,
    since="2012-06-30T23:30:00.000Z",
)
_DELIVERY: Final = WebhookDelivery(type="incident.opened", incident=told(_PARTIAL), sent="2012-07-01T00:02:53.412Z")


def webhook_delivery_message() -> Json:
    """What a partner gets."""
    body = encode_delivery(_DELIVERY)
    headers = delivery_headers(delivery_id(_PARTIAL), 1_341_100_973, body, _KEY)
    return {
        "title": "Webhook delivery",
        "summary": "An incident was opened, has another severity or status, or was resolved; no user is named.",
        "contentType": "application/json",
        "headers": {
            "title": "WebhookHeaders",
            "description": "Standard Webhooks 1.0.0: HMAC-SHA256 in Base64 over `ID.TIMESTAMP.BODY`.",
            "type": "object",
            "properties": {
                "webhook-id": {"type": "string", "description": "The same for each attempt: drop what came before."},
                "webhook-timestamp": {"type": "string", "pattern": "^[0-9]+$", "description": "Seconds since 1970."},
                "webhook-signature": {"type": "string", "pattern": "^v1,"},
            },
            "required": ["webhook-id", "webhook-timestamp", "webhook-signature"],
        },
        "payload": {"$ref": "#/components/schemas/WebhookDelivery"},
        "examples": [{"name": "opened", "headers": headers, "payload": json.loads(body)}],
    }


def undelivered_message() -> Json:
    """What a partner did not get."""
    headers = UndeliveredHeaders(
        webhook="partner", id=delivery_id(_PARTIAL), reason="attempts_exhausted", detail="503", attempts=12
    )
    return {
        "title": "Undelivered",
        "summary": "What a webhook did not take.",
        "contentType": "application/json",
        "headers": {"$ref": "#/components/schemas/UndeliveredHeaders"},
        "payload": {"$ref": "#/components/schemas/WebhookDelivery"},
        "bindings": _key("The incident's id."),
        "examples": [
            {
                "name": "exhausted",
                "headers": _as_text(encode_undelivered(headers)),
                "payload": json.loads(encode_delivery(_DELIVERY)),
            }
        ],
    }


def feed_report_message() -> Json:
    """What ingest took in."""
    actors = bytes([3, *[0] * (REGISTERS - 1)])
    volume = Volume(source="west", bucket="2012-07-01T00:00:00.000Z", events=1, retracting=0, actors=actors)
    report = FeedReport(
        network="twitter",
        raw_partition=3,
        raw_partitions=4,
        written="2012-07-01T00:02:53.000Z",
        position=1_017,
        lag_records=0,
        at_end=True,
        frozen=False,
        time="2012-07-01T00:02:52.000Z",
        arrival="2012-07-01T00:02:52.712Z",
        heartbeats={"west": "2012-07-01T00:02:52.000Z"},
        counters={"read": 12, "passed": 11, "dead_lettered": 0, "heartbeat": 1, "retracting": 0},
        volumes=[volume],
    )
    return {
        "title": "Feed report",
        "summary": "What ingest took in from one raw partition.",
        "contentType": "application/json",
        "payload": {"$ref": "#/components/schemas/FeedReport"},
        "bindings": _key("NETWORK/RAW_PARTITION."),
        "examples": [{"name": "one event", "payload": json.loads(encode_feed_report(report))}],
    }


def population_message() -> Json:
    """Users in numbers."""
    histogram = [3, 1, *[0] * (BINS - 2)]
    none = Steps(points_1=0, points_5=0, points_10=0)
    population = Population(
        partition=3,
        partitions=4,
        model="1",
        worker="127.0.0.1:8087",
        sequence=17,
        written="2012-07-01T00:02:53.000Z",
        users=4,
        histogram=histogram,
        networks={"twitter": NetworkPopulation(users=4, histogram=histogram, clock="2012-07-01T00:02:51.000Z")},
        shift=Shift(hour="2012-07-01T00:00:00.000Z", below=none, above=none, gone=0),
        shift_before=None,
        changes={"interaction": 9, "decay": 2},
        next_offsets={"actors": 12, "targets": 5},
    )
    return {
        "title": "Population",
        "summary": "The users of one partition in numbers.",
        "contentType": "application/json",
        "payload": {"$ref": "#/components/schemas/Population"},
        "bindings": _key("The partition, as decimal text."),
        "examples": [{"name": "a small one", "payload": json.loads(encode_population(population))}],
    }


def access_message() -> Json:
    """Who may ask, or whom an answer may be about."""
    identity, created = "00c0ffee00c0ffee", "2012-07-01T00:02:53.000Z"
    key = AccessKey(
        id=identity, name="dashboard", scopes=["read", "stream"], hash=secret_hash(identity, "Zm9v"), created=created
    )
    user = AccessUser(user="twitter:813", claimed=created, private=True)
    return {
        "title": "Access",
        "summary": "An API key of the gateway, or a user who was claimed.",
        "contentType": "application/json",
        "payload": {"$ref": "#/components/schemas/AccessRecord"},
        "bindings": _key("`key:ID` or `user:ID`."),
        "examples": [
            {"name": name, "payload": json.loads(encode_access(example))}
            for name, example in (("key", key), ("private user", user))
        ],
    }


def cloud_event_headers() -> Json:
    """The headers of CloudEvents 1.0 in binary mode."""
    return {
        "title": "CloudEventHeaders",
        "description": f"CloudEvents 1.0 in binary mode. A change has the type {CHANGE_TYPE} and the id USER:SEQUENCE.",
        "type": "object",
        "properties": {
            "ce_specversion": {"const": "1.0"},
            "ce_id": {"type": "string", "minLength": 1},
            "ce_source": {"type": "string", "minLength": 1},
            "ce_type": {"type": "string", "minLength": 1},
            "ce_time": {"type": "string", "format": "date-time"},
            "content-type": {"type": "string"},
        },
        "required": ["ce_specversion", "ce_id", "ce_source", "ce_type"],
    }


def _as_text(headers: Sequence[tuple[str, str | bytes | None]]) -> dict[str, str]:
    return {name: value.decode() for name, value in headers if isinstance(value, bytes)}
