"""How things stand, for status page tools and for people: from open incidents alone, and without naming anybody."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from typing import Any, Final

import httpx
import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from schemas.incident import INCIDENT_KINDS, Evidence, Incident, IncidentStatus, Note, Slice, UserValues
from schemas.times import parse_ms
from streams.guard.status_page import PAGE_PATH, SUMMARY_PATH, page_of, status_routes
from streams.guard.status_summary import Standing, Summary, summary
from streams.http import RoleServer
from streams.incidents import refused
from streams.settings import HttpSettings

BEGUN: Final = "2012-07-01T00:00:00.000Z"
NOW: Final = "2012-07-01T00:10:00.000Z"
OPENED: Final = "2012-07-01T00:02:53.000Z"
NAMED: Final = "twitter:813"

_TEXT: Final = {"type": "string", "minLength": 1}
_MOMENT: Final = {"type": "string", "format": "date-time", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T"}
_COMPONENT: Final = {
    "type": "object",
    "properties": {
        "id": _TEXT,
        "name": _TEXT,
        "status": {
            "enum": ["operational", "degraded_performance", "partial_outage", "major_outage", "under_maintenance"]
        },
        "created_at": _MOMENT,
        "updated_at": _MOMENT,
        "position": {"type": "integer"},
        "description": {"type": ["string", "null"]},
        "showcase": {"type": "boolean"},
        "group_id": {"type": ["string", "null"]},
        "page_id": _TEXT,
        "group": {"type": "boolean"},
        "only_show_if_degraded": {"type": "boolean"},
    },
}
_COMPONENT["required"] = list(_COMPONENT["properties"])
_UPDATE: Final = {
    "type": "object",
    "properties": {
        "id": _TEXT,
        "status": {"enum": ["investigating", "identified", "monitoring", "resolved", "postmortem"]},
        "body": _TEXT,
        "incident_id": _TEXT,
        "created_at": _MOMENT,
        "updated_at": _MOMENT,
        "display_at": _MOMENT,
    },
    "required": ["id", "status", "body", "incident_id", "created_at", "updated_at", "display_at"],
}
SHAPE: Final = {
    "type": "object",
    "properties": {
        "page": {
            "type": "object",
            "properties": {"id": _TEXT, "name": _TEXT, "url": {"type": "string"}, "updated_at": _MOMENT},
            "required": ["id", "name", "url", "time_zone", "updated_at"],
        },
        "status": {
            "type": "object",
            "properties": {"indicator": {"enum": ["none", "minor", "major", "critical"]}, "description": _TEXT},
            "required": ["indicator", "description"],
        },
        "components": {"type": "array", "items": _COMPONENT},
        "incidents": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": _TEXT,
                    "name": _TEXT,
                    "status": {"enum": ["investigating", "identified", "monitoring"]},
                    "created_at": _MOMENT,
                    "updated_at": _MOMENT,
                    "started_at": _MOMENT,
                    "monitoring_at": {"type": ["string", "null"]},
                    "resolved_at": {"type": "null"},
                    "impact": {"enum": ["none", "minor", "major", "critical"]},
                    "shortlink": {"type": "string"},
                    "page_id": _TEXT,
                    "incident_updates": {"type": "array", "items": _UPDATE, "minItems": 1},
                    "components": {"type": "array", "items": _COMPONENT},
                },
                "required": ["id", "name", "status", "created_at", "updated_at", "impact", "shortlink", "page_id"],
            },
        },
        "scheduled_maintenances": {"type": "array"},
    },
    "required": ["page", "status", "components", "incidents", "scheduled_maintenances"],
}
"""What tools read of Statuspage's `summary.json`."""


def an_incident(name: str = "feed_partial/twitter/1", **fields: Any) -> Incident:
    described: dict[str, Any] = {
        "kind": "feed_partial",
        "slice": Slice(network="twitter"),
        "severity": "major",
        "status": "investigating",
        "title": "twitter brings 31 % of what it brings at this hour",
        "opened": OPENED,
        "updated": OPENED,
        "evidence": [],
        "affected_users": 0,
    }
    return Incident(id=name, **(described | fields))


def of(
    *incidents: Incident,
    networks: Sequence[str] = ("twitter", "mastodon"),
    frozen: Mapping[str, str] | None = None,
) -> Summary:
    standing = Standing(incidents, frozen or {}, partitions=2)
    return summary(standing, networks, now=NOW, since=BEGUN, url="https://status.example/status")


def statuses(summary: Summary) -> dict[str, str]:
    return {component.id: component.status for component in summary.components}


def test_without_incidents_everything_is_well() -> None:
    found = of()
    assert (found.status.indicator, found.incidents) == ("none", [])
    assert statuses(found) == dict.fromkeys(["feed-twitter", "feed-mastodon", "scores", "guard"], "operational")


@pytest.mark.parametrize(
    ("incident", "component", "status", "indicator"),
    [
        (an_incident(), "feed-twitter", "partial_outage", "major"),
        (an_incident(severity="minor"), "feed-twitter", "degraded_performance", "minor"),
        (an_incident(kind="feed_stalled", severity="critical"), "feed-twitter", "major_outage", "critical"),
        (an_incident(kind="population_fall", severity="critical"), "scores", "major_outage", "critical"),
        (
            an_incident(kind="law_violation", severity="critical", slice=Slice(partition=3)),
            "scores",
            "partial_outage",
            "critical",
        ),
        (an_incident(kind="declared", severity="minor", slice=Slice()), "scores", "degraded_performance", "minor"),
    ],
)
def test_an_incident_shows_on_the_part_that_it_is_about_alone(
    incident: Incident, component: str, status: str, indicator: str
) -> None:
    found = of(incident)
    assert {id_: status for id_, status in statuses(found).items() if status != "operational"} == {component: status}
    assert [component.id for component in found.incidents[0].components] == [component]
    assert found.status.indicator == indicator


@pytest.mark.parametrize(
    ("incident", "stands", "indicator"),
    [
        (an_incident(kind="feed_stalled", severity="critical"), "operational", "none"),
        (an_incident(kind="population_fall", severity="critical"), "degraded_performance", "minor"),
    ],
)
def test_of_what_is_seen_no_more_a_feed_works_again_and_scores_may_be_wrong_still(
    incident: Incident, stands: str, indicator: str
) -> None:
    found = of(replace(incident, status="monitoring"))
    [component] = found.incidents[0].components
    assert (component.status, found.status.indicator) == (stands, indicator)
    held_back = of(replace(incident, status="monitoring", frozen=["mastodon"]), frozen={"mastodon": OPENED})
    assert statuses(held_back)["feed-mastodon"] == "partial_outage"


def test_the_worst_incident_decides_and_a_frozen_network_is_out_of_order() -> None:
    found = of(
        an_incident(severity="minor"),
        an_incident("canary/mastodon/1", kind="canary", severity="critical", frozen=["mastodon"]),
    )
    assert statuses(found) == {
        "feed-twitter": "degraded_performance",
        "feed-mastodon": "partial_outage",
        "scores": "major_outage",
        "guard": "operational",
    }
    assert found.status.description == "Major Service Outage"


def test_what_is_resolved_is_not_shown_and_the_newest_comes_first() -> None:
    found = of(
        an_incident("old"),
        an_incident("over", status="resolved"),
        an_incident("new", opened="2012-07-01T00:09:00.000Z"),
    )
    assert [incident.id for incident in found.incidents] == ["new", "old"]


def test_an_incident_of_a_network_that_is_not_configured_is_shown_without_a_part() -> None:
    found = of(an_incident(slice=Slice(network="orkut")))
    assert [incident.components for incident in found.incidents] == [[]]


def test_where_nobody_is_touched_that_is_said_in_words() -> None:
    [update, *_] = of(an_incident()).incidents[0].incident_updates
    assert "Nobody is known to be touched." in update.body


def test_updates_come_the_newest_first_with_what_operators_say() -> None:
    notes = [Note(at=f"2012-07-01T00:0{minute}:00.000Z", key="ops", text=f"at {minute}") for minute in (4, 5)]
    incident = an_incident(status="identified", updated=NOW, notes=notes, affected_users=1_240, frozen=["twitter"])
    updates = of(incident).incidents[0].incident_updates
    assert [update.body for update in updates][::2] == ["at 5", "at 4"]
    assert "1,240 users are known to be touched" in updates[1].body
    assert "Held back until it is mended: twitter" in updates[1].body
    assert [update.created_at for update in updates] == sorted((update.created_at for update in updates), reverse=True)
    assert len({update.id for update in updates}) == 4


def found(minute: int, detail: str = "311 of 1,004") -> Evidence:
    return Evidence(finding="feed_partial", detail=detail, at=f"2012-07-01T00:0{minute}:00.000Z")


NOTE: Final = Note(at="2012-07-01T00:04:00.000Z", key="ops", text="a collector is down")


@pytest.mark.parametrize(
    ("status", "fields", "began"),
    [
        ("investigating", {"evidence": [found(3), found(5)]}, OPENED),
        ("identified", {"evidence": [found(3), found(5)], "notes": [NOTE]}, NOTE.at),
        ("identified", {"evidence": [found(3), found(5, "explained by feed_stalled/all/1"), found(6)]}, found(5).at),
        ("identified", {"evidence": [found(3), found(1, "explained by feed_stalled/all/1")]}, OPENED),
        ("monitoring", {"evidence": [found(3), found(6), found(7, "explained by feed_stalled/all/1")]}, found(6).at),
        ("monitoring", {"evidence": [Evidence(finding="feed_partial", detail="311 of 1,004")]}, OPENED),
    ],
)
def test_how_an_incident_stands_is_said_once_and_as_of_when_it_began(
    status: IncidentStatus, fields: dict[str, Any], began: str
) -> None:
    first, later = (
        of(an_incident(status=status, updated=updated, affected_users=users, **fields)).incidents[0]
        for updated, users in [("2012-07-01T00:08:00.000Z", 3), (NOW, 1_240)]
    )
    assert first.monitoring_at == later.monitoring_at == (began if status == "monitoring" else None)
    assert [(of.id, of.created_at, of.display_at) for of in first.incident_updates] == [
        (of.id, of.created_at, of.display_at) for of in later.incident_updates
    ]
    [said] = [update for update in later.incident_updates if "1,240 users" in update.body]
    assert (said.created_at, said.updated_at, said.status) == (began, NOW, status)
    assert len({update.id for update in later.incident_updates}) == len(later.incident_updates)


def test_a_status_that_an_incident_comes_to_has_an_update_of_its_own() -> None:
    ids = [
        of(an_incident(status=status, evidence=evidence)).incidents[0].incident_updates[0].id
        for status, evidence in [
            ("investigating", [found(3)]),
            ("identified", [found(3)]),
            ("monitoring", [found(3), found(5)]),
            ("monitoring", [found(3), found(5), found(7)]),
        ]
    ]
    assert len(set(ids)) == 4


def test_a_part_that_is_frozen_was_changed_when_it_was_frozen() -> None:
    frozen = {"twitter": "2012-07-01T00:06:00.000Z"}
    shown = of(an_incident(), frozen=frozen)
    assert [part.updated_at for part in shown.components] == [frozen["twitter"], BEGUN, BEGUN, BEGUN]


NAMING: Final = an_incident(
    title=f"{NAMED} fell",
    users=[NAMED, "twitter:8"],
    affected_users=2,
    evidence=[
        Evidence(
            finding="population_fall",
            detail=f"{NAMED} fell by 20 points",
            users=[UserValues(user="mastodon:ann", score=26.4, proposed=1.0, networks={})],
        )
    ],
    notes=[Note(at=OPENED, key="ops", text=f"ask {NAMED}, twitter:8 or mastodon:ann; twitter:8130 is well")],
)


def test_nobody_whom_a_record_names_is_named() -> None:
    found = of(NAMING)
    assert found.incidents[0].name == "(a user) fell"
    said = [update.body for update in found.incidents[0].incident_updates]
    assert "ask (a user), (a user) or (a user); twitter:8130 is well" in said
    assert NAMED not in page_of(found).replace("twitter:8130", "")


class Seen(HTMLParser):
    """Tags that were opened and not closed, attributes, and text."""

    VOID = ("meta", "br", "!doctype")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_an_ingest_that_brings_nothing_is_about_all_feeds_and_no_scores() -> None:
    found = of(an_incident(kind="feed_stalled", slice=Slice(), severity="critical"))
    assert statuses(found) == {
        "feed-twitter": "major_outage", "feed-mastodon": "major_outage", "scores": "operational", "guard": "operational"
    }  # fmt: skip
    assert [part.name for part in found.incidents[0].components] == ["Feed of twitter", "Feed of mastodon"]


def test_scores_are_out_where_no_partition_is_left_that_goes_on() -> None:
    stopped = [
        an_incident(f"law_violation:1:{number}:17:0", kind="law_violation", slice=Slice(partition=number))
        for number in range(2)
    ]
    assert statuses(of(stopped[0]))["scores"] == "partial_outage"
    assert statuses(of(*stopped))["scores"] == "major_outage"


def test_a_network_that_is_frozen_is_no_well_running_one_also_without_an_incident() -> None:
    found = of(frozen={"twitter": OPENED, "unknown": OPENED})
    assert statuses(found)["feed-twitter"] == "partial_outage"
    assert statuses(found)["feed-mastodon"] == statuses(found)["scores"] == "operational"
    assert (found.status.indicator, found.incidents) == ("major", [])
    assert "held back" in found.components[0].description
    assert "held back" not in found.components[1].description


def test_what_others_wrote_is_text_and_never_part_of_the_page() -> None:
    wicked = '</h3><script>alert("1")</script><img src=//x onerror=alert(1)> & \'"'
    notes = [Note(at=OPENED, key="ops", text=wicked)]
    incident = an_incident('i"><script>', title=wicked, notes=notes, slice=Slice(network=wicked))
    seen = Seen(page_of(of(incident, networks=[wicked])))
    assert not {"script", "img"} & set(seen.tags)
    assert seen.text.count(wicked) == 5  # title, component and its description, what it touches, note
    assert seen.open == []
    assert not [name for name, _ in seen.attributes if name.startswith("on")]


def test_the_page_loads_nothing_and_says_in_words_what_colours_say() -> None:
    seen = Seen(page_of(of(an_incident("another"), NAMING)))
    assert [value for name, value in seen.attributes if name in {"href", "src"}] == [SUMMARY_PATH]
    for word in ("partial outage", "operational", "Partial System Outage", "2012-07-01 00:02:53 UTC"):
        assert word in seen.text
    assert "url(" not in seen.text
    ids = [value for name, value in seen.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    labels = {value for name, value in seen.attributes if name == "aria-labelledby"}
    assert labels <= set(ids)


def test_the_guard_serves_both_as_the_incidents_stand() -> None:
    incidents: list[Incident] = []
    server = RoleServer(HttpSettings(), "guard")
    routes = status_routes(["twitter"], lambda: Standing(incidents.copy(), {}), url="https://status.example/status")
    server.start(CollectorRegistry(), dict, lambda: None, routes)
    try:
        address = f"http://{server.address}"
        assert httpx.get(address + SUMMARY_PATH).json()["status"]["indicator"] == "none"
        incidents.append(NAMING)
        answer, page = httpx.get(address + SUMMARY_PATH), httpx.get(address + PAGE_PATH)
    finally:
        server.stop()
    Draft202012Validator(SHAPE, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(answer.json())
    assert parse_ms(answer.json()["page"]["updated_at"]) > 0
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    [style] = re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL)
    assert f"style-src 'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert '<html lang="en">' in page.text


def test_a_guard_that_stands_by_does_not_say_that_all_is_well() -> None:
    server = RoleServer(HttpSettings(), "guard")
    server.start(CollectorRegistry(), dict, lambda: None, status_routes(["twitter"], lambda: None))
    try:
        answers = [httpx.get(f"http://{server.address}{path}") for path in (SUMMARY_PATH, PAGE_PATH)]
    finally:
        server.stop()
    for answer in answers:
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "does not know how things stand" in answer.text


def test_what_is_said_of_a_partition_that_stands_still_is_true_of_one_that_never_began() -> None:
    incident = refused("it has lost its state", partition=3, model="1", now_ms=parse_ms(OPENED))
    [*_, said] = of(incident).incidents[0].incident_updates
    assert said.body == INCIDENT_KINDS["partition_stopped"]
    assert "cannot start or cannot work off a batch" in said.body
