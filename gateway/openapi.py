"""The OpenAPI 3.1 document of the gateway: made of its routes, whose operations name the types of what they take."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway import problems
from gateway.api.scores import respond
from gateway.operations import EVERYWHERE, Operation, OperationRoute
from schemas.documents import say_what_is_needed
from schemas.gateway import Problem
from schemas.interaction import UserId
from schemas.limits import INCIDENT_ID_BYTES_MAX
from schemas.times import MOMENT_PATTERN

PATH: Final = "/openapi.json"

Json = dict[str, Any]

_REF: Final = "#/components/schemas/{name}"
_USER: Final = "{user}"
_INCIDENT: Final = "{incident}"
_DOCUMENT: Final = Operation(path=PATH, name="getDocument", summary="This document", answer=dict[str, msgspec.Raw])

_KEY: Final[Json] = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key. Without one a gateway lets do what its setting gateway.anonymous_scopes names.",
}


def routes(others: Sequence[BaseRoute], networks: Iterable[str], version: str) -> list[Route]:
    """Return the route of the document that describes these routes and itself."""

    async def answer(request: Request, _: object) -> Response:
        return respond(request, described)

    own = _DOCUMENT.route(answer)
    described = document([*others, own], networks, version)
    return [own]


def document(routes: Iterable[BaseRoute], networks: Iterable[str], version: str) -> Json:
    """Return the document of all operations among the routes."""
    operations = [route.operation for route in routes if isinstance(route, OperationRoute)]
    types = [kind for of in operations for kind in (of.answer, of.query, *([of.body] if of.body else []))]
    schemas, components = msgspec.json.schema_components([*types, Problem, UserId], ref_template=_REF)
    for component in components.values():
        if "description" in component:
            component["description"] = component["description"].partition("\n")[0]
    say_what_is_needed(components)
    if "Interaction" in components:
        _say_what_is_taken(components["Interaction"])
    of_types, user = iter(schemas), schemas[-1]
    paths: dict[str, Json] = {}
    for operation in operations:
        answer, query = next(of_types), next(of_types)
        body = next(of_types) if operation.body else None
        parameters = components[query["$ref"].rpartition("/")[2]]
        described = _operation(operation, answer, _parameters(operation, parameters, user, sorted(networks)), body)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    for query_name in {of.query.__name__ for of in operations}:
        del components[query_name]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Clout",
            "version": version,
            "description": "Scores of how influential people are, as it happens: scores, their history and reasons.",
        },
        "paths": paths,
        "security": [{"key": []}, {}],
        "components": {"schemas": dict(sorted(components.items())), "securitySchemes": {"key": _KEY}},
    }


def _say_what_is_taken(interaction: Json) -> None:
    """Say of an interaction what a schema can: empty text stands for an absent field, and years have an end."""
    properties = interaction["properties"]
    texts = [name for name in properties if name not in {"kind", "time"}]
    for name in texts:
        for schema in properties[name].get("anyOf", [properties[name]]):
            schema.pop("minLength", None)
            if "pattern" in schema:
                schema["pattern"] = schema["pattern"].replace("]+$", "]*$")
    for each in interaction["allOf"]:
        needed = each["then"]["required"]
        each["then"]["properties"] = {name: {"minLength": 1} for name in needed if name in texts}
    moment = {"type": "string", "pattern": f"^{MOMENT_PATTERN}$"}
    properties["time"]["anyOf"] = [moment if of["type"] == "string" else of for of in properties["time"]["anyOf"]]


def _operation(operation: Operation, answer: Json, parameters: list[Json], body: Json | None) -> Json:
    described: Json = {"operationId": operation.name, "summary": operation.summary}
    if parameters:
        described["parameters"] = parameters
    if body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    responses: Json = {
        str(operation.status): {
            "description": "The answer.",
            "content": {operation.media_type: {"schema": answer}},
        }
    }
    if operation.method == "GET" and operation.media_type == "application/json":
        responses["304"] = {"description": "What you have still holds."}
    by_status: dict[int, list[str]] = {}
    for name in ("bad-request", *operation.problems, *EVERYWHERE):
        by_status.setdefault(problems.TITLES[name][0], []).append(name)
    for status, names in sorted(by_status.items()):
        told = "; ".join(f"`{name}`: {problems.TITLES[name][1]}" for name in dict.fromkeys(names))
        responses[str(status)] = {
            "description": told,
            "content": {problems.MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}},
        }
    described["responses"] = responses
    return described


def _parameters(operation: Operation, query: Mapping[str, Any], user: Json, networks: list[str]) -> list[Json]:
    found = []
    if _USER in operation.path:
        found.append(
            {
                "name": "user",
                "in": "path",
                "required": True,
                "description": "The user's id; a slash in it is escaped, as %2F.",
                "schema": user,
            }
        )
    if _INCIDENT in operation.path:
        found.append(
            {
                "name": "incident",
                "in": "path",
                "required": True,
                "description": "The incident's id; a slash in it is escaped, as %2F.",
                # Letters of any script, as many as fit into an id's bytes whatever they are.
                "schema": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": INCIDENT_ID_BYTES_MAX // 4,
                    "pattern": r"^[^\u0000-\u001f]+$",
                },
            }
        )
    for name, schema in query.get("properties", {}).items():
        of_it = dict(schema)
        if name == "network":
            of_it = {"type": "string", "enum": networks, "description": of_it.get("description", "")}
        parameter = {
            "name": name,
            "in": "query",
            "required": name in query.get("required", []),
            "description": of_it.pop("description", ""),
            "schema": of_it,
        }
        found.append(parameter)
    return found
