"""Writes the contracts as documents that other tools read: JSON Schemas and an AsyncAPI 3.0 description.

`python -m schemas.documents` writes them beside this file; a test fails when they differ from the types.
"""

import json
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from schemas.access import AccessKey, AccessRecord, AccessUser
from schemas.change import ScoreChange
from schemas.control import NEEDS, WHYS, Command, CommandRecord
from schemas.dead_letter import REASONS, DeadLetter
from schemas.explanation import ChangeExplained, Explained, Explanation
from schemas.export import UserState
from schemas.feed_report import FeedReport
from schemas.incident import (
    INCIDENT_KINDS,
    Incident,
    IncidentUsers,
)
from schemas.interaction import REQUIRED, Interaction
from schemas.limits import ARRAY_EVENTS_MAX
from schemas.messages import (
    access_message,
    activity_message,
    change_message,
    cloud_event_headers,
    command_message,
    command_record_message,
    dead_letter_message,
    feed_report_message,
    incident_message,
    incident_users_message,
    interaction_message,
    population_message,
    undelivered_message,
    webhook_delivery_message,
)
from schemas.population import Population
from schemas.webhook import (
    UNDELIVERED,
    UndeliveredHeaders,
    WebhookDelivery,
)

Json = dict[str, Any]

InteractionRecord = Interaction | Annotated[list[Interaction], Meta(min_length=1, max_length=ARRAY_EVENTS_MAX)]

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_FILES: Final[dict[str, tuple[Any, str]]] = {
    "json/interactions.json": (InteractionRecord, "A record of interactions.NETWORK.v1 in the native format"),
    "json/changes.json": (ScoreChange, "A record of scores.changes.v1"),
    "json/access.json": (AccessRecord, "A record of access.v1"),
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
    say_what_is_needed(components)
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


def say_what_is_needed(components: dict[str, Json]) -> None:
    """Write into the schema of an interaction, where there is one, which fields each kind must have."""
    if "Interaction" in components:
        _say_what_each_needs(components["Interaction"], "kind", REQUIRED)


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
        AccessKey,
        AccessUser,
    ]
    _, schemas = _components(roots, "#/components/schemas/{name}")
    (record,), _ = _components([InteractionRecord], "#/components/schemas/{name}")
    schemas["InteractionRecord"] = record
    (access,), _ = _components([AccessRecord], "#/components/schemas/{name}")
    schemas["AccessRecord"] = access
    schemas["CloudEventHeaders"] = cloud_event_headers()
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
                "interaction": interaction_message(),
                "activity": activity_message(),
                "deadLetter": dead_letter_message(),
                "change": change_message(),
                "command": command_message(),
                "commandRecord": command_record_message(),
                "incident": incident_message(),
                "incidentUsers": incident_users_message(),
                "feedReport": feed_report_message(),
                "population": population_message(),
                "webhookDelivery": webhook_delivery_message(),
                "undelivered": undelivered_message(),
                "access": access_message(),
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
        "access": _channel(
            "{prefix}access.v1",
            ["prefix"],
            ["access"],
            "API keys of the gateway, hashed, keyed `key:ID`, and users who were claimed, keyed `user:ID`: the newest "
            "record of a key counts. Compacted. Who can write it can make keys.",
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
        "knowWhoMay": {"action": "receive", "channel": {"$ref": "#/channels/access"}},
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


def main() -> None:
    """Write the documents beside this file."""
    folder = Path(__file__).parent
    for path, text in documents().items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
