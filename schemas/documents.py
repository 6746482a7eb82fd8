"""Writes the contracts as documents that other tools read: JSON Schemas and an AsyncAPI 3.0 description.

`python -m schemas.documents` writes them beside this file; a test fails when they differ from the types.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from schemas.change import CHANGE_TYPE, ScoreChange, Subscores, change_headers, encode_change
from schemas.control import NEEDS, WHYS, Command, CommandRecord, encode_command, encode_record, record_of, sign
from schemas.dead_letter import REASONS, DeadLetter, encode_headers
from schemas.explanation import ChangeExplained, Explained, Explanation
from schemas.export import UserState
from schemas.feed_report import REGISTERS, FeedReport, Volume, encode_feed_report
from schemas.incident import (
    INCIDENT_KINDS,
    Evidence,
    Incident,
    IncidentUsers,
    Slice,
    Span,
    UserValues,
    encode_incident,
    encode_incident_users,
)
from schemas.interaction import REQUIRED, Interaction, encode
from schemas.limits import ARRAY_EVENTS_MAX
from schemas.population import BINS, NetworkPopulation, Population, Shift, Steps, encode_population
from schemas.users import keyed_hash
from schemas.webhook import (
    UNDELIVERED,
    UndeliveredHeaders,
    WebhookDelivery,
    delivery_headers,
    delivery_id,
    encode_delivery,
    encode_undelivered,
    told,
)

Json = dict[str, Any]

InteractionRecord = Interaction | Annotated[list[Interaction], Meta(min_length=1, max_length=ARRAY_EVENTS_MAX)]

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_FILES: Final[dict[str, tuple[Any, str]]] = {
    "json/interactions.json": (InteractionRecord, "A record of interactions.NETWORK.v1 in the native format"),
    "json/changes.json": (ScoreChange, "A record of scores.changes.v1"),
    "json/export.json": (UserState, "A line of clout export"),
    "json/explanation.json": (Explanation, "What a worker answers at /v1/explanations/USER"),
    "json/explained.json": (Explained, "What clout explain USER --json prints"),
    "json/change_explained.json": (ChangeExplained, "What clout explain USER --change SEQUENCE --json prints"),
    "json/commands.json": (Command, "A record of control.v1"),
    "json/command_records.json": (CommandRecord, "A record of control.record.v1"),
    "json/incidents.json": (Incident, "A record of incidents.v1"),
    "json/incident_users.json": (IncidentUsers, "A record of incidents.users.v1"),
    "json/feed_reports.json": (FeedReport, "A record of feeds.v1"),
    "json/population.json": (Population, "A record of population.v1"),
    "json/webhook_deliveries.json": (WebhookDelivery, "The body of a webhook's delivery"),
    "json/undelivered_headers.json": (UndeliveredHeaders, "Headers of a record of webhooks.dlq.v1, as text"),
    "json/dead_letter_headers.json": (DeadLetter, "Headers of a record of interactions.NETWORK.dlq.v1, as text"),
}


def documents() -> dict[str, str]:
    """Generate every document: its path below `schemas/`, and its text.

    >>> sorted(documents())[0]
    'asyncapi.json'
    """
    generated = {path: _json_schema(root, title) for path, (root, title) in _FILES.items()}
    generated["asyncapi.json"] = _asyncapi()
    return {path: json.dumps(document, indent=2, ensure_ascii=False) + "\n" for path, document in generated.items()}


def _json_schema(root: Any, title: str) -> Json:
    (schema,), components = _components([root], "#/$defs/{name}")
    return {"$schema": _DIALECT, "title": title, **schema, "$defs": components}


def _components(roots: list[Any], ref_template: str) -> tuple[list[Json], dict[str, Json]]:
    schemas, components = msgspec.json.schema_components(roots, ref_template=ref_template)
    for described in components.values():
        described["description"] = described["description"].partition("\n")[0]
    if "Interaction" in components:
        _say_what_each_needs(components["Interaction"], "kind", REQUIRED)
    if "Command" in components:
        _say_what_each_needs(components["Command"], "command", NEEDS)
    if "DeadLetter" in components:
        _make_text(components["DeadLetter"])
    if "CommandRecord" in components:
        meanings = [{"const": why, "description": meaning} for why, meaning in WHYS.items()]
        components["CommandRecord"]["properties"]["why"] |= {"anyOf": [{"type": "null"}, {"oneOf": meanings}]}
    for name in {"Incident", "IncidentTold"} & components.keys():
        kinds = [{"const": kind, "description": meaning} for kind, meaning in INCIDENT_KINDS.items()]
        components[name]["properties"]["kind"] = {"type": "string", "oneOf": kinds}
    if "UndeliveredHeaders" in components:
        properties = components["UndeliveredHeaders"]["properties"]
        reasons = [{"const": reason, "description": meaning} for reason, meaning in UNDELIVERED.items()]
        properties["reason"] = {"type": "string", "oneOf": reasons}
        properties["attempts"] = {"type": "string", "pattern": "^[0-9]+$"}
    return list(schemas), dict(sorted(components.items()))


def _say_what_each_needs(described: Json, field: str, needed: Mapping[Any, tuple[str, ...]]) -> None:
    for name, property_ in described["properties"].items():
        if name in chain.from_iterable(needed.values()) and property_.get("default") == "":
            del property_["default"]  # Only Python's stand-in for an absent field.
    by_needs: dict[tuple[str, ...], list[str]] = {}
    for value, needs in needed.items():
        by_needs.setdefault(needs, []).append(value)
    described["allOf"] = [
        {"if": {"properties": {field: {"enum": values}}}, "then": {"required": list(needs)}}
        for needs, values in by_needs.items()
    ]


def _make_text(dead_letter: Json) -> None:
    properties = dead_letter["properties"]
    number = {"type": "string", "pattern": "^[0-9]+$"}
    for name in ("source_partition", "source_offset", "source_time", "source_index"):
        properties[name] = number
    properties["reason"] = {
        "type": "string",
        "oneOf": [{"const": reason, "description": meaning} for reason, meaning in REASONS.items()],
    }


def _asyncapi() -> Json:
    roots = [
        Interaction,
        ScoreChange,
        DeadLetter,
        Command,
        CommandRecord,
        Incident,
        IncidentUsers,
        FeedReport,
        Population,
        WebhookDelivery,
        UndeliveredHeaders,
    ]
    _, schemas = _components(roots, "#/components/schemas/{name}")
    (record,), _ = _components([InteractionRecord], "#/components/schemas/{name}")
    schemas["InteractionRecord"] = record
    schemas["CloudEventHeaders"] = _cloud_event_headers()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Clout",
            "version": "1.0.0",
            "description": "Interactions of social networks go in, changes of people's scores come out. "
            "Fields may be added; what breaks a reader gets a new topic name.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": _channels(),
        "operations": _operations(),
        "components": {
            "parameters": _PARAMETERS,
            "messages": {
                "interaction": _interaction_message(),
                "activity": _activity_message(),
                "deadLetter": _dead_letter_message(),
                "change": _change_message(),
                "command": _command_message(),
                "commandRecord": _command_record_message(),
                "incident": _incident_message(),
                "incidentUsers": _incident_users_message(),
                "feedReport": _feed_report_message(),
                "population": _population_message(),
                "webhookDelivery": _webhook_delivery_message(),
                "undelivered": _undelivered_message(),
            },
            "schemas": dict(sorted(schemas.items())),
        },
    }


_PARAMETERS: Final[Json] = {
    "prefix": {"description": "Put before every name of an installation; often empty.", "default": ""},
    "network": {"description": "A social network as the configuration calls it.", "examples": ["twitter"]},
    "model": {"description": "Empty for model 1, else a dot and the model's name.", "default": ""},
}


def _channels() -> Json:
    return {
        "interactions": _channel(
            "{prefix}interactions.{network}.v1",
            ["prefix", "network"],
            ["interaction", "activity"],
            "What a network's collectors report. Arrival times are the broker's (LogAppendTime). "
            "The network's configured format says which of the messages it carries.",
        ),
        "deadLetters": _channel(
            "{prefix}interactions.{network}.dlq.v1",
            ["prefix", "network"],
            ["deadLetter"],
            "What could not be taken in, in its original bytes. A record without a value whose one header is "
            "`replayed_offset` says that the letter at that offset of its partition was sent again.",
        ),
        "changes": _channel(
            "{prefix}scores.changes{model}.v1",
            ["prefix", "model"],
            ["change"],
            "Every change of a score, keyed by user. Compacted, with at least 7 days of full history. "
            "Read it with isolation.level=read_committed.",
        ),
        "control": _channel(
            "{prefix}control.v1",
            ["prefix"],
            ["command"],
            "Signed commands of operators. They name users, so they are kept for a day.",
        ),
        "controlRecord": _channel(
            "{prefix}control.record.v1",
            ["prefix"],
            ["commandRecord"],
            "What became of each command that could be read, without the user's name. "
            "Read it with isolation.level=read_committed.",
        ),
        "controlDeadLetters": _channel(
            "{prefix}control.dlq.v1",
            ["prefix"],
            ["deadLetter"],
            "What came as a command and is none, in its original bytes.",
        ),
        "incidents": _channel(
            "{prefix}incidents.v1",
            ["prefix"],
            ["incident"],
            "What went wrong, or seems to, keyed by incident: the newest record of a key counts. Kept for 30 days. "
            "Read it with isolation.level=read_committed.",
        ),
        "incidentUsers": _channel(
            "{prefix}incidents.users.v1",
            ["prefix"],
            ["incidentUsers"],
            "Whom each incident touches, keyed by incident and number. Compacted, kept for 30 days. "
            "Read it with isolation.level=read_committed.",
        ),
        "feeds": _channel(
            "{prefix}feeds.v1",
            ["prefix"],
            ["feedReport"],
            "What ingest took in from each raw partition, keyed NETWORK/RAW_PARTITION. Kept for 7 days. "
            "Read it with isolation.level=read_committed.",
        ),
        "population": _channel(
            "{prefix}population{model}.v1",
            ["prefix", "model"],
            ["population"],
            "The users of each partition in numbers, keyed by partition: the newest record of a key counts. "
            "Read it with isolation.level=read_committed.",
        ),
        "webhook": {
            "address": None,
            "description": "Incidents, by HTTP POST to each configured address, signed as the Standard Webhooks "
            "convention says.",
            "messages": {"webhookDelivery": {"$ref": "#/components/messages/webhookDelivery"}},
        },
        "undelivered": _channel(
            "{prefix}webhooks.dlq.v1",
            ["prefix"],
            ["undelivered"],
            "What could not be delivered to a webhook, keyed by incident: the body as it was to be sent.",
        ),
    }


def _channel(address: str, parameters: list[str], messages: list[str], description: str) -> Json:
    return {
        "address": address,
        "description": description,
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in parameters},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
    }


def _operations() -> Json:
    return {
        "takeIn": {"action": "receive", "channel": {"$ref": "#/channels/interactions"}},
        "setAside": {"action": "send", "channel": {"$ref": "#/channels/deadLetters"}},
        "publishChange": {"action": "send", "channel": {"$ref": "#/channels/changes"}},
        "obey": {"action": "receive", "channel": {"$ref": "#/channels/control"}},
        "recordCommand": {"action": "send", "channel": {"$ref": "#/channels/controlRecord"}},
        "tellIncident": {"action": "send", "channel": {"$ref": "#/channels/incidents"}},
        "nameUsers": {"action": "send", "channel": {"$ref": "#/channels/incidentUsers"}},
        "tellFeed": {"action": "send", "channel": {"$ref": "#/channels/feeds"}},
        "tellPopulation": {"action": "send", "channel": {"$ref": "#/channels/population"}},
        "tellPartner": {"action": "send", "channel": {"$ref": "#/channels/webhook"}},
        "setDeliveryAside": {"action": "send", "channel": {"$ref": "#/channels/undelivered"}},
        "setCommandAside": {"action": "send", "channel": {"$ref": "#/channels/controlDeadLetters"}},
    }


def _key(description: str) -> Json:
    return {"kafka": {"key": {"type": "string", "description": description}, "bindingVersion": "0.5.0"}}


def _interaction_message() -> Json:
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


def _activity_message() -> Json:
    return {
        "title": "Activity, CloudEvents with ActivityStreams 2.0",
        "summary": "Announce, Like, Create with inReplyTo or Mention, Follow, Undo, Delete; one or a batch.",
        "contentType": "application/activity+json",
        "headers": {"$ref": "#/components/schemas/CloudEventHeaders"},
        "payload": {"type": "object"},
        "bindings": _key("Any. Keyed by actor, the events of one actor keep their order."),
    }


def _dead_letter_message() -> Json:
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


def _change_message() -> Json:
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


def _command_message() -> Json:
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


def _command_record_message() -> Json:
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


def _incident_message() -> Json:
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


def _incident_users_message() -> Json:
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


def _webhook_delivery_message() -> Json:
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


def _undelivered_message() -> Json:
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


def _feed_report_message() -> Json:
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


def _population_message() -> Json:
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
    )
    return {
        "title": "Population",
        "summary": "The users of one partition in numbers.",
        "contentType": "application/json",
        "payload": {"$ref": "#/components/schemas/Population"},
        "bindings": _key("The partition, as decimal text."),
        "examples": [{"name": "a small one", "payload": json.loads(encode_population(population))}],
    }


def _cloud_event_headers() -> Json:
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


def main() -> None:
    """Write the documents beside this file."""
    folder = Path(__file__).parent
    for path, text in documents().items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
