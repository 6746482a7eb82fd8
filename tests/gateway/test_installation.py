"""A gateway beside ingest and a worker: events go in over HTTP, and what they come to is asked of it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from gateway.api.explanations import CHANGES_SHOWN
from schemas.times import format_ms
from streams.settings import LaneSettings, NetworkSettings, WorkerSettings
from tests.gateway.conftest import Serve, Served
from tests.roles import Role, eventually

NOW_MS: Final = int(time.time() * 1000) - 3_600_000
HER, HIM, SLASHED, GONE = "t:her", "t:him", "t:a/b", "t:gone"
NETWORKS: Final = {"twitter": NetworkSettings(raw_partitions=2, sources=("west",)), "mastodon": NetworkSettings()}
FUZZ: Final = Path(__file__).parent / "fuzz_hooks.py"


def event(name: str, actor: str, target: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "kind": "share", "actor": actor, "target": target, "time": NOW_MS, **fields}


def partitions(served: Served) -> list[dict[str, Any]]:
    """Return what the gateway says of each partition of the users."""
    answer = served.get("/v1/partitions").raise_for_status().json()
    found: list[dict[str, Any]] = answer["partitions"]
    return found


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    """A gateway, ingest and a worker that names reasons."""
    served = serve(networks=NETWORKS, lanes=LaneSettings(partitions=2), worker=WorkerSettings(reasons_share=1.0))
    served.installation.up()
    events = [event(str(n), f"t:fan{n}", user) for n, user in enumerate([HER, HER, HIM, SLASHED, GONE])]
    events.append(event("by gone", GONE, HER))
    post(served, events).raise_for_status()
    served.installation.wait()
    eventually(lambda: served.get(f"/v1/scores/{HER}").is_success, otherwise=served.role.log)
    return served


def post(served: Served, body: Any, query: str = "network=twitter", **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json"} | {name.replace("_", "-"): of for name, of in headers.items()}
    return httpx.post(f"{served.url}/v1/interactions?{query}", content=content, headers=headers, timeout=15)


def test_one_event_or_an_array_is_acknowledged_when_kafka_has_it(served: Served) -> None:
    one = post(served, event("one", "t:1", "t:posted"))
    assert (one.status_code, one.json()) == (202, {"network": "twitter", "accepted": 1})
    assert post(served, [event("two", "t:2", "t:posted"), event("three", "t:3", "t:posted")]).json()["accepted"] == 2
    served.installation.wait()
    eventually(lambda: served.get("/v1/scores/t:posted").is_success)
    assert served.installation.users()["t:posted"].networks["twitter"].events == 3


def test_of_events_that_are_wrong_each_is_told_why_and_none_is_taken(served: Served) -> None:
    ahead = event("b", "t:1", "t:none", time=int(time.time() * 1000) + 600_000)
    answer = post(served, [event("a", "t:1", "t:none"), {"kind": "wave", "time": 5}, ahead, 17])
    told = answer.json()
    assert (answer.status_code, told["type"]) == (400, "/problems#invalid-events")
    found = [(error["index"], error["reason"]) for error in told["errors"]]
    assert found == [(1, "unknown_kind"), (2, "time_in_future"), (3, "wrong_type")]
    assert served.get("/v1/scores/t:none").status_code == 404


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "broken_json"),
        (b"[]", "empty_array"),
        (b"[" * 200 + b"]" * 200, "broken_json"),
        (json.dumps(event("1", "@canary/twitter/0", "@canary/twitter/1", source="@canary")).encode(), "reserved_user"),
        (json.dumps([event(str(n), "a", "b") for n in range(5_001)]).encode(), "too_many_events"),
    ],
)
def test_a_body_that_is_no_event_is_refused(served: Served, body: bytes, reason: str) -> None:
    assert [error["reason"] for error in post(served, body).json()["errors"]] == [reason]


def test_what_is_too_large_or_no_json_or_of_no_network_is_refused(served: Served) -> None:
    assert post(served, b" " * 900_001).json()["type"] == "/problems#too-large"
    assert post(served, [], content_type="text/plain").status_code == 415
    assert post(served, event("1", "a", "b"), "network=orkut").status_code == 400
    assert post(served, event("1", "a", "b"), "").status_code == 400
    chunked = httpx.post(
        f"{served.url}/v1/interactions?network=twitter",
        content=(b" " * 100_000 for _ in range(10)),
        headers={"content-type": "application/json"},
    )
    assert chunked.status_code == 413


def test_a_heartbeat_reaches_every_raw_partition_and_the_clock_is_told_with_what_holds_it(served: Served) -> None:
    def network(name: str = "twitter") -> dict[str, Any]:
        networks = served.get("/v1/networks").json()["networks"]
        found: dict[str, Any] = next(of for of in networks if of["network"] == name)
        return found

    assert any(holder["name"] == "source west" for holder in network()["held_by"])
    beat = {"kind": "heartbeat", "time": NOW_MS + 1000, "source": "west"}
    assert post(served, beat).status_code == 202
    # Each raw partition, and the source, is as far as the other: nothing holds the clock.
    eventually(lambda: network()["held_by"] == [], otherwise=network)
    assert (network()["furthest"], network()["raw_partitions"]) == (format_ms(NOW_MS + 1000), 2)
    assert network()["lag_records"] == 0
    assert network()["events"]["heartbeat"] == 2
    volume = network()["volumes"][-1]
    assert volume["events"] >= 6
    assert volume["actors"] >= 6
    assert network("mastodon")["clock"] is None


def test_a_frozen_network_is_told_so(served: Served) -> None:
    def mastodon() -> dict[str, Any]:
        networks = served.get("/v1/networks").json()["networks"]
        found: dict[str, Any] = next(of for of in networks if of["network"] == "mastodon")
        return found

    done = served.installation.run("freeze", "mastodon", "--reason", "a drill")
    assert done.returncode == 0, done.stderr
    eventually(lambda: mastodon()["frozen"] is not None)
    assert mastodon()["held_by"][0]["name"] == "freeze"


def test_a_score_is_explained_by_the_worker_that_keeps_it(served: Served) -> None:
    told = served.get(f"/v1/scores/{HER}/explain").raise_for_status().json()
    explanation = told["explanation"]
    score = served.get(f"/v1/scores/{HER}").json()["score"]
    assert (explanation["user"], explanation["score"]) == (HER, score)
    actors = {of["actor"] for of in explanation["networks"]["twitter"]["contributors"]}
    assert {"t:fan0", "t:fan1", GONE} <= actors
    history = served.get(f"/v1/scores/{HER}/history").json()["points"]
    assert [of["sequence"] for of in told["changes"]] == [of["sequence"] for of in history][-CHANGES_SHOWN:]
    assert all(of["reasons"] for of in told["changes"] if of["cause"] == "interaction")
    assert told["incidents"] == []
    assert served.get("/v1/scores/t:a%2Fb/explain").json()["explanation"]["user"] == SLASHED
    assert served.get("/v1/scores/t:nobody/explain").status_code == 404


def test_the_population_is_told_in_numbers(served: Served) -> None:
    def told() -> dict[str, Any]:
        answer: dict[str, Any] = served.get("/v1/population").json()
        return answer

    eventually(lambda: told()["users"] >= 5 and told()["partitions_told"] == 2, otherwise=told)
    assert sum(told()["histogram"]) == told()["users"] == told()["networks"]["twitter"]["users"]
    assert told()["changes"]["interaction"] >= 5
    assert told()["shift"] is not None


def test_partitions_that_have_taken_in_all_have_nothing_unread(served: Served) -> None:
    served.installation.wait()
    level = [{"partition": at, "state": "running", "unread": {"actors": 0, "targets": 0}} for at in range(2)]
    eventually(lambda: partitions(served) == level, otherwise=lambda: partitions(served))
    assert served.get("/v1/partitions").json()["age_seconds"] < 10


def test_schemathesis_finds_nothing(served: Served, tmp_path: Path) -> None:
    found = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{served.url}/openapi.json"),
            *("--checks", "all", "--max-examples", "15", "--seed", "7", "--no-color", "--max-failures", "20"),
            *("--exclude-path", "/v1/scores/stream", "--warnings", "off"),
        ],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": FUZZ.stem, "PYTHONPATH": f"{FUZZ.parent}:{FUZZ.parents[2]}"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]


def test_who_was_forgotten_is_named_nowhere_and_unknown_at_once(served: Served) -> None:
    done = served.installation.run("forget", GONE, "--reason", "asked for")
    assert done.returncode == 0, done.stderr
    eventually(lambda: served.get(f"/v1/scores/{GONE}").status_code == 404)
    assert served.get(f"/v1/scores/{GONE}/history").status_code == 404
    assert served.get(f"/v1/scores/{GONE}/explain").status_code == 404
    eventually(lambda: GONE not in served.get(f"/v1/scores/{HER}/explain").raise_for_status().text)


def test_a_worker_that_is_away_is_asked_again_later(served: Served) -> None:
    worker: Role = next(role for role in served.installation.roles if role.name == "score-0")
    worker.kill()
    answer = served.get(f"/v1/scores/{HER}/explain")
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems#worker-away")
    assert answer.headers["retry-after"]
    assert served.get(f"/v1/scores/{HER}").is_success


def test_what_waits_for_a_worker_that_is_away_is_told(served: Served) -> None:
    """The last one: the worker was killed by the test before it."""

    def unread() -> list[int]:
        return [of["unread"]["actors"] for of in partitions(served)]

    eventually(lambda: {of["state"] for of in partitions(served)} == {"away"}, otherwise=lambda: partitions(served))
    before = unread()
    post(served, [event(f"late {n}", f"t:late{n}", HER) for n in range(50)]).raise_for_status()
    eventually(lambda: all(now > then for now, then in zip(unread(), before, strict=True)), otherwise=unread)
