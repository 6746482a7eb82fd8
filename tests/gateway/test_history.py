"""History, tops and movers over HTTP, from a real gateway on a change topic that a test writes."""

import json
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest

from gateway.history import Timed, thinned
from schemas.change import Subscores, encode_change
from schemas.gateway import HistoryPoint
from schemas.incident import Incident, IncidentUsers, Slice, encode_incident, encode_incident_users
from schemas.times import format_ms
from schemas.users import partition_of
from streams import clients
from streams.settings import NetworkSettings
from streams.topics import DAY_MS
from tests.gateway.conftest import BEGIN_MS, Serve, Served
from tests.roles import eventually

LATER_MS: Final = BEGIN_MS + 200 * DAY_MS
OLD, SLASHED, OTHER, BACK = "t:old", "t:a/b?#%2F ü", "t:other", "t:back"


def an_incident(name: str, user: str, **fields: Any) -> Incident:
    about: dict[str, Any] = {"kind": "declared", "slice": Slice(), "severity": "major", "status": "resolved"}
    times = {"opened": format_ms(LATER_MS - DAY_MS), "updated": format_ms(LATER_MS)}
    title = f"{name} befell {user}"
    return Incident(id=name, title=title, affected_users=1, users=[user], evidence=[], **(about | times | fields))


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    served = serve(networks={"twitter": NetworkSettings(), "mastodon": NetworkSettings()})
    publisher = served.publisher
    for day in range(3):
        for hour in (1, 2, 3):
            publisher.change(OLD, 10.0 + day + hour / 10, at_ms=BEGIN_MS + day * DAY_MS + hour * 1000)
    for minute in range(200):
        publisher.change(OLD, 20.0 + minute % 50, at_ms=LATER_MS + minute * 60_000)
    publisher.change(OTHER, 40.0, at_ms=LATER_MS + DAY_MS // 2, networks={"mastodon": 40.0})
    publisher.change(SLASHED, 33.0, at_ms=LATER_MS)
    publisher.change(BACK, 5.0, at_ms=LATER_MS)
    publisher.change(BACK, None, at_ms=LATER_MS, cause="forget")
    publisher.flush()
    time.sleep(0.05)
    publisher.change(BACK, 3.0, at_ms=LATER_MS)
    served.catch_up()
    return served


def history(served: Served, user: str = OLD, query: str = "") -> dict[str, Any]:
    answer: dict[str, Any] = served.get(f"/v1/scores/{user}/history{query}").raise_for_status().json()
    return answer


def test_history_is_full_for_ninety_days_and_one_point_a_day_before(served: Served) -> None:
    told = history(served, query="?points=1000")
    assert [point["score"] for point in told["points"][:3]] == [10.3, 11.3, 12.3]
    assert [point["sequence"] for point in told["points"]] == [3, 6, 9, *range(10, 210)]
    assert (told["changes"], told["thinned"]) == (203, False)


def test_a_span_is_what_was_asked_for_in_either_form_of_time(served: Served) -> None:
    first, last = LATER_MS + 60_000, LATER_MS + 180_000
    as_numbers = history(served, query=f"?from={first}&to={last}")
    assert [point["sequence"] for point in as_numbers["points"]] == [11, 12, 13]
    assert history(served, query=f"?from={format_ms(first)}&to={format_ms(last)}")["points"] == as_numbers["points"]
    turned = served.get(f"/v1/scores/{OLD}/history?from={last}&to={first}")
    assert (turned.status_code, turned.json()["detail"]) == (400, "from is after to")


def test_what_is_thinned_is_published_points_with_the_lowest_and_the_highest(served: Served) -> None:
    span = f"?from={LATER_MS}"
    whole, few = history(served, query=span)["points"], history(served, query=f"{span}&points=20")
    assert few["thinned"] is True
    assert 8 <= len(few["points"]) <= 20
    assert all(point in whole for point in few["points"])
    assert (few["points"][0], few["points"][-1]) == (whole[0], whole[-1])
    scores = [point["score"] for point in few["points"]]
    assert (min(scores), max(scores)) == (20.0, 69.0)


@pytest.mark.parametrize("points_max", [8, 9, 50, 400])
def test_never_more_points_than_asked_for(points_max: int) -> None:
    for span in (500, 7_919, 1_000_003):
        points = [
            Timed(17 + at * span // 500, HistoryPoint(at + 1, "", 1.0 + at * 37 % 90, None, "decay", "1"))
            for at in range(500)
        ]
        shown = thinned(points, points_max)
        assert len(shown) <= points_max
        assert {shown[0].sequence, shown[-1].sequence} == {1, 500}


def test_who_is_unknown_or_forgotten_has_no_history(served: Served) -> None:
    for about in ("history", "explain"):
        answer = served.get(f"/v1/scores/t:nobody/{about}")
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems#unknown-user")
    assert [point["sequence"] for point in history(served, BACK)["points"]] == [3]


def test_an_id_may_hold_a_slash_and_anything_else_that_is_printed(served: Served) -> None:
    encoded = quote(SLASHED, safe="")
    assert served.get(f"/v1/scores/{encoded}").json()["user"] == SLASHED
    assert served.get("/v1/scores", params={"user": SLASHED}).json()["scores"][0]["user"] == SLASHED
    assert history(served, encoded)["user"] == SLASHED
    assert served.get("/v1/scores/t:a/b").json()["type"] == "/problems#not-found"
    assert served.get("/v1/scores/%FF").json()["type"] == "/problems#bad-request"


def test_marks_are_of_the_incidents_that_touched_the_user_in_this_life_alone(served: Served) -> None:
    names = served.installation.names
    producer = clients.producer(served.installation.settings.kafka)
    told = [
        an_incident("named", OLD),
        an_incident("listed", OTHER, status="investigating", since=format_ms(LATER_MS)),
        an_incident("other", OTHER),
        an_incident("former life", BACK),
    ]
    for incident in told:
        producer.produce(names.incidents, encode_incident(incident), incident.id)
    users = IncidentUsers(incident="listed", number=0, users=[OTHER, OLD])
    producer.produce(names.incident_users, encode_incident_users(users), "listed/0")
    producer.flush(10)
    eventually(lambda: len(history(served)["marks"]) == 2, otherwise=lambda: history(served)["marks"])
    found = {mark["incident"]: mark for mark in history(served)["marks"]}
    assert found["listed"]["until"] is None
    assert (found["named"]["at"], found["named"]["until"]) == (format_ms(LATER_MS - DAY_MS), format_ms(LATER_MS))
    assert OLD not in found["named"]["title"]
    assert history(served, BACK)["marks"] == []
    assert history(served, query=f"?to={BEGIN_MS}")["marks"] == []
    shown = served.get("/v1/incidents?limit=3").json()
    assert (shown["open"], shown["count"], shown["incidents"][0]["id"]) == (1, 4, "listed")
    assert shown["incidents"][0]["affected_users"] == 2
    assert not {OLD, OTHER, BACK} & set(json.dumps(shown).split('"'))


def test_a_change_of_model_is_marked(served: Served) -> None:
    served.publisher.change("t:model", 5.0, at_ms=LATER_MS)
    served.catch_up()
    parts, at_ms = Subscores(30.0, 25.0, 20.0), LATER_MS + 1000
    value = encode_change("t:model", 2, 6.0, 5.0, parts, {"twitter": 6.0}, at_ms, "model", "second")
    producer = clients.producer(served.installation.settings.kafka)
    partition = partition_of(b"t:model", served.installation.settings.lanes.partitions)
    producer.produce(served.installation.names.changes, value, b"t:model", partition)
    producer.flush(10)
    eventually(lambda: history(served, "t:model")["marks"])
    (mark,) = history(served, "t:model")["marks"]
    assert (mark["kind"], mark["at"]) == ("model", format_ms(at_ms))
    assert "second" in mark["title"]


def test_tops_are_in_order_and_by_network_of_those_who_are_there(served: Served) -> None:
    top = served.get("/v1/top").raise_for_status().json()
    assert [(of["rank"], of["user"]) for of in top["users"][:3]] == [(1, OLD), (2, OTHER), (3, SLASHED)]
    assert top["as_of"] == format_ms(LATER_MS + DAY_MS // 2)
    on_twitter = served.get("/v1/top?network=twitter&limit=1").json()["users"]
    assert len(on_twitter) == 1
    assert on_twitter[0]["user"] == OLD
    assert [of["user"] for of in served.get("/v1/top?network=mastodon").json()["users"]] == [OTHER]
    assert served.get("/v1/top?by=reach&limit=2").json()["users"][0]["value"] == 30.0


def test_movers_moved_furthest_since_the_last_full_hour(served: Served) -> None:
    now_ms = LATER_MS + 2 * DAY_MS
    for user, scores in (("t:up", (10.0, 30.0)), ("t:down", (60.0, 25.0)), ("t:flat", (50.0, 50.0))):
        served.publisher.change(user, scores[0], at_ms=now_ms - 5 * 3_600_000)
        served.publisher.change(user, scores[1], at_ms=now_ms)
    served.catch_up()

    def moved() -> list[tuple[str, float]]:
        return [(of["user"], of["moved"]) for of in served.get("/v1/movers?limit=5").json()["users"]]

    eventually(lambda: moved()[:2] == [("t:down", -35.0), ("t:up", 20.0)], otherwise=moved)
    assert "t:flat" not in dict(moved())


@pytest.mark.parametrize(
    "path",
    [
        "/v1/top?limit=0",
        "/v1/top?limit=101",
        "/v1/top?limit=1&limit=2",
        "/v1/top?limit=1.5",
        "/v1/top?by=fame",
        "/v1/top?network=orkut",
        "/v1/top?order=up",
        "/v1/movers?limit=ten",
        "/v1/population?x=1",
        "/v1/networks?limit=1",
        "/v1/incidents?limit=501",
        "/v1/scores",
        "/v1/scores?user=",
        "/v1/scores?user=a%0Ab",
        "/v1/scores/t:1?min_sequence=-1",
        "/v1/scores/t:1/history?from=yesterday",
        "/v1/scores/t:1/history?from=2026-02-30T00:00:00Z",
        "/v1/scores/t:1/history?points=7",
        "/v1/scores/t:1/explain?change=1",
        "/v1/scores?" + "&".join(f"user=t:{n}" for n in range(101)),
        "/openapi.json?v=1",
        f"/v1/scores/{'x' * 257}",
    ],
)
def test_a_parameter_that_is_unknown_or_beyond_its_limits_is_refused(served: Served, path: str) -> None:
    answer = served.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.json()["type"] == "/problems#bad-request"
    assert answer.headers["cache-control"] == "no-store"


def test_every_address_of_the_api_is_described_and_what_there_is_not_is_told_so(served: Served) -> None:
    document = served.get("/openapi.json").raise_for_status().json()
    assert document["openapi"] == "3.1.0"
    page = (Path(__file__).resolve().parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
    assert {path for path in document["paths"] if path not in page} == set()
    for path, operations in document["paths"].items():
        for method in {"get", "post", "delete"} - set(operations):
            address = path.replace("{user}", "t:1")
            answer = httpx.request(method, served.url + address)
            assert (answer.status_code, answer.json()["type"]) == (405, "/problems#method-not-allowed"), path
    assert served.get("/v1/nothing").json()["type"] == "/problems#not-found"
    assert served.get(f"/{'x' * 5000}").status_code == 414


def test_lists_can_be_kept_for_a_second_and_asked_for_by_their_tag(served: Served) -> None:
    answer = served.get("/v1/incidents")
    assert answer.headers["cache-control"] == "private, no-cache"
    assert served.get("/v1/incidents", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert served.get("/v1/top").headers["cache-control"] == "private, max-age=1"
