import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

import schemas
from schemas.change import Subscores, encode_change
from schemas.dead_letter import REASONS, DeadLetter, encode_headers
from schemas.documents import documents
from schemas.export import NetworkState, UserState, encode_user
from schemas.interaction import REQUIRED, Interaction
from streams.names import Names

FOLDER = Path(schemas.__file__).parent
ASYNCAPI = json.loads(documents()["asyncapi.json"])
FULL = {"id": "1", "kind": "share", "actor": "twitter:1", "target": "twitter:2", "time": "2012-07-01T00:00:00Z"}


def validator(path: str) -> Draft202012Validator:
    schema = json.loads(documents()[path])
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def inner(value: Any) -> Iterator[dict[str, Any]]:
    """Every object inside a document."""
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from inner(one)


@pytest.mark.parametrize("path", documents())
def test_a_written_document_is_what_the_types_say(path: str) -> None:
    hint = "run `python -m schemas.documents`"
    assert (FOLDER / path).read_text(encoding="utf-8") == documents()[path], hint


def test_no_document_is_left_over() -> None:
    found = [*FOLDER.glob("*.json"), *FOLDER.glob("json/*")]
    assert {str(path.relative_to(FOLDER)) for path in found} == set(documents())


@pytest.mark.parametrize("kind", REQUIRED)
def test_an_interaction_with_what_its_kind_needs_fits_the_schema(kind: str) -> None:
    needed = {name: FULL[name] for name in REQUIRED[kind]} | {"kind": kind}
    validator("json/interactions.json").validate([needed])


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in REQUIRED.items() for name in names])
def test_an_interaction_without_a_field_that_its_kind_needs_does_not_fit(kind: str, name: str) -> None:
    needed = {field: FULL[field] for field in REQUIRED[kind]} | {"kind": kind}
    del needed[name]
    assert not validator("json/interactions.json").is_valid(needed)


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "boost"}, {"time": 1.5}, {"time": -1}, {"actor": ""}, {"actor": "a\nb"}, {"id": "x" * 257}, {"id": 7}],
)
def test_a_wrong_field_does_not_fit(wrong: dict[str, Any]) -> None:
    assert not validator("json/interactions.json").is_valid(FULL | wrong)


def test_fields_that_are_not_known_yet_fit() -> None:
    validator("json/interactions.json").validate(FULL | {"language": "eo"})


def test_an_empty_array_does_not_fit() -> None:
    assert not validator("json/interactions.json").is_valid([])


def test_changes_fit_their_schema() -> None:
    first = encode_change("u", 1, 26.4, None, Subscores(30.1, 25.0, 20.5), {"twitter": 26.4}, 0, "interaction", "1")
    forgotten = encode_change("u", 2, None, 26.4, None, {}, 0, "forget", "1")
    for change in (first, forgotten):
        validator("json/changes.json").validate(json.loads(change))


def test_export_lines_fit_their_schema() -> None:
    network = NetworkState(1.0, 2.0, 0.3, "2012-07-01T00:00:00.000Z", 3, 12.0)
    user = UserState("u", 12.0, 1, "2012-07-01T00:00:00.000Z", Subscores(1.0, 2.0, 3.0), {"twitter": network})
    validator("json/export.json").validate(json.loads(encode_user(user)))


@pytest.mark.parametrize("reason", REASONS)
def test_dead_letters_of_every_reason_fit_their_schema(reason: Any) -> None:
    letter = DeadLetter(
        reason=reason, detail="", source_topic="t", source_partition=0, source_offset=1, source_time=2, source_index=3
    )
    headers = {name: value.decode() for name, value in encode_headers(letter) if isinstance(value, bytes)}
    validator("json/dead_letter_headers.json").validate(headers)


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    references = [found["$ref"] for found in inner(ASYNCAPI) if "$ref" in found]
    assert references
    for reference in references:
        place = ASYNCAPI
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_the_addresses_are_the_topics_that_are_used() -> None:
    addresses = {name: address for name, channel in ASYNCAPI["channels"].items() if (address := channel["address"])}
    names = Names("acme-", "trial")
    values = {"prefix": "acme-", "network": "twitter", "model": ".trial"}
    assert {name: address.format_map(values) for name, address in addresses.items()} == {
        "interactions": names.interactions("twitter"),
        "deadLetters": names.dead_letters("twitter"),
        "changes": names.changes,
        "control": names.control,
        "controlRecord": names.control_record,
        "controlDeadLetters": names.control_dead_letters,
        "incidents": names.incidents,
        "incidentUsers": names.incident_users,
        "feeds": names.feeds,
        "population": names.population,
        "access": names.access,
        "undelivered": names.webhook_dead_letters,
    }


@pytest.mark.parametrize("message", ASYNCAPI["components"]["messages"])
def test_examples_fit_what_their_message_says(message: str) -> None:
    described = ASYNCAPI["components"]["messages"][message]
    for example in described.get("examples", ()):
        for part, found in example.items():
            if part != "name":
                Draft202012Validator(described[part] | {"components": ASYNCAPI["components"]}).validate(found)


def test_examples_of_interactions_can_be_decoded() -> None:
    for example in ASYNCAPI["components"]["messages"]["interaction"]["examples"]:
        msgspec.convert(example["payload"], Interaction | list[Interaction])


def test_no_description_carries_an_example_of_code() -> None:
    assert not [text for found in inner(ASYNCAPI) if ">>>" in (text := str(found.get("description")))]
