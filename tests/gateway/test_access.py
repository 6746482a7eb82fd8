"""Who may ask, for what, how often, and about whom; through the commands that operators use."""

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import pytest
from confluent_kafka import TopicPartition
from typer.testing import CliRunner

from clout.main import app, globals_first
from gateway.access import Access
from gateway.role import require_keys
from schemas.access import AccessUser, read_key
from schemas.change import Reason, ScoreChange
from schemas.control import decode_command
from schemas.incident import Incident, Slice, encode_incident
from streams import clients
from streams.errors import CloutError
from streams.settings import GatewaySettings, VisibilitySettings
from tests.gateway.conftest import Serve, Served
from tests.gateway.listening import Listener
from tests.roles import environment_of, eventually


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    """A gateway that wants keys."""
    served = serve(gateway=GatewaySettings(port=0, cors_origins=("https://friend.example",)))
    served.publish([("t:1", 20.0), ("t:2", 50.0), ("t:3", 10.0)])
    return served


@pytest.fixture(scope="module")
def claimed(serve: Serve) -> Served:
    """A gateway that tells of claimed users alone."""
    served = serve(
        gateway=GatewaySettings(port=0, anonymous_scopes=("read", "stream")),
        visibility=VisibilitySettings(default="claimed"),
    )
    served.publish([("t:1", 20.0), ("t:2", 50.0)])
    return served


def run(served: Served, *arguments: str) -> str:
    """Run a command in this process: to start one takes longer than what it does."""
    environment = environment_of(served.installation.settings)
    done = CliRunner().invoke(app, globals_first(arguments), env=environment, prog_name="clout")
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


def new_key(served: Served, *options: str) -> str:
    """A key that the gateway knows of."""
    key = run(served, "key", "create", "a name", *options)
    eventually(lambda: ask(served, "/v1/nothing", key).status_code != 401, otherwise=served.role.log)
    return key


def ask(served: Served, path: str, key: str | None = None) -> httpx.Response:
    return served.get(path, headers={} if key is None else {"Authorization": f"Bearer {key}"})


def _tells_nothing(served: Served, path: str, key: str, user: str) -> bool:
    return user not in ask(served, path, key).text


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("/problems#")


@pytest.fixture(scope="module")
def reading(served: Served) -> str:
    return new_key(served, "--scope", "read")


@pytest.fixture(scope="module")
def operating(served: Served) -> str:
    return new_key(served, "--scope", "operate")


WRONG: Sequence[dict[str, str]] = [
    {},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer clout_00c0ffee00c0ffee_Zm9v"},
    {"Authorization": "Basic YTpi"},
    {"Authorization": "Bearer \xff"},
]


@pytest.mark.parametrize("headers", WRONG)
def test_without_a_key_that_holds_nobody_is_answered(served: Served, headers: dict[str, str]) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = httpx.get(f"{served.url}/v1/scores/t:1", headers=raw)
    assert problem(answer) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_key_in_the_address_is_none(served: Served, reading: str) -> None:
    assert problem(ask(served, f"/v1/scores/t:1?key={reading}")) == (401, "unauthorized")


def test_a_key_may_what_its_scopes_say(served: Served, reading: str, operating: str) -> None:
    answer = ask(served, "/v1/scores/t:1", reading)
    assert (answer.json()["score"], answer.headers["clout-scopes"]) == (20.0, "read")
    assert problem(ask(served, "/v1/scores/stream?user=t:1", reading)) == (403, "forbidden")
    assert problem(ask(served, "/v1/scores/t:1", operating)) == (403, "forbidden")
    post = httpx.post(f"{served.url}/v1/interactions", headers={"Authorization": f"Bearer {reading}"}, json=[])
    assert problem(post) == (403, "forbidden")


def test_half_a_key_is_none(served: Served, reading: str) -> None:
    assert problem(ask(served, "/v1/scores/t:1", reading[:-1])) == (401, "unauthorized")


def test_a_key_that_asks_too_often_is_told_when_to_come_back(served: Served) -> None:
    key = new_key(served, "--scope", "read", "--rate", "3")
    time.sleep(1.1)
    # Side by side, as a busy machine may answer no four of them within a second one after the other.
    with httpx.Client(headers={"Authorization": f"Bearer {key}"}) as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(client.get, [f"{served.url}/v1/scores/t:1"] * 24))
    assert answers[0].headers["ratelimit-policy"] == '"key";q=3;w=1'
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert problem(refused[0]) == (429, "too-many-requests")
    assert refused[0].headers["retry-after"] == "1"


def test_a_revoked_key_holds_no_more_for_open_streams_too_and_the_list_says_so(served: Served) -> None:
    key = new_key(served, "--scope", "read", "--scope", "stream")
    parts = read_key(key)
    assert parts is not None
    stream = Listener("/v1/scores/stream?user=t:1", key=key).listen(served.url)
    assert next(stream).name == "score"
    run(served, "key", "revoke", parts[0])
    eventually(lambda: ask(served, "/v1/scores/t:1", key).status_code == 401, otherwise=served.role.log)
    served.publish([("t:1", 20.5)])
    ended = next(stream)
    assert (ended.name, ended.data) == ("resume", {"why": "your key holds no more"})
    assert list(stream) == []
    listed = run(served, "key", "list", "--json")
    assert next(of for of in json.loads(listed)["keys"] if of["id"] == parts[0])["revoked"]
    assert parts[1] not in listed
    assert "hash" not in listed


def test_a_private_user_is_unknown_but_to_keys_that_may_see_private_ones(served: Served, reading: str) -> None:
    seeing = new_key(served, "--scope", "read", "--private")
    assert served.installation.run("private", "t:2").returncode == 1
    run(served, "claim", "t:2")
    run(served, "private", "t:2")
    eventually(lambda: ask(served, "/v1/scores/t:2", reading).status_code == 404, otherwise=served.role.log)
    hidden, unknown = ask(served, "/v1/scores/t:2", reading), ask(served, "/v1/scores/t:9", reading)
    assert hidden.text.replace("t:2", "t:9") == unknown.text
    both = ask(served, "/v1/scores?user=t:1&user=t:2", reading).json()
    assert [of["user"] for of in both["scores"]] == ["t:1"]
    assert ask(served, "/v1/scores/t:2", seeing).json()["score"] == 50.0
    for path in ("/v1/scores/t:2/history", "/v1/scores/t:2/explain"):
        assert problem(ask(served, path, reading)) == (404, "unknown-user"), path
    for path in ("/v1/search?prefix=t:", "/v1/top"):
        assert "t:2" in ask(served, path, seeing).text, path
        eventually(partial(_tells_nothing, served, path, reading, "t:2"))
    assert served.installation.run("claim", "t:2", "--undo").returncode == 1
    run(served, "private", "t:2", "--undo")
    eventually(lambda: ask(served, "/v1/scores/t:2", reading).status_code == 200, otherwise=served.role.log)


def test_a_stream_says_nothing_of_who_is_not_claimed(claimed: Served) -> None:
    run(claimed, "claim", "t:2")
    eventually(lambda: ask(claimed, "/v1/scores/t:2").status_code == 200, otherwise=claimed.role.log)
    everybody, both = Listener(), Listener("/v1/scores/stream?user=t:1&user=t:2")
    opening = both.listen(claimed.url)
    assert next(opening).data["user"] == "t:2"
    everybody.last_id = both.last_id
    claimed.publish([("t:1", 21.0), ("t:2", 51.0)])
    assert next(opening).data["score"] == 51.0
    opening.close()
    everybody.until(claimed.url, 1)
    assert everybody.seen == [("t:2", 2)]


def test_where_only_claimed_users_are_shown_others_are_unknown(claimed: Served) -> None:
    assert problem(ask(claimed, "/v1/scores/t:1")) == (404, "unknown-user")
    run(claimed, "claim", "t:1")
    eventually(lambda: ask(claimed, "/v1/scores/t:1").status_code == 200, otherwise=claimed.role.log)
    run(claimed, "claim", "t:1", "--undo")
    eventually(lambda: ask(claimed, "/v1/scores/t:1").status_code == 404, otherwise=claimed.role.log)


def test_a_gateway_that_others_can_reach_does_not_start_without_keys() -> None:
    settings = GatewaySettings(host="0.0.0.0", port=0, anonymous_scopes=("read",))  # noqa: S104 - what is refused
    with pytest.raises(CloutError, match="needs API keys"):
        require_keys(settings)
    require_keys(GatewaySettings(host="0.0.0.0"))  # noqa: S104 - with keys it may


def order(served: Served, path: str, key: str, body: Any, **options: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}", **options.pop("headers", {})}
    return httpx.post(f"{served.url}/v1/operate/{path}", headers=headers, json=body, timeout=30, **options)


def test_an_order_is_the_signed_command_that_the_command_line_sends(served: Served, operating: str) -> None:
    answer = order(served, "freeze", operating, {"network": "twitter", "reason": "half of it is garbage"})
    assert answer.status_code == 202
    settings = served.installation.settings
    reader = clients.consumer(settings.kafka, {"group.id": "a test"})
    reader.assign([TopicPartition(settings.names.control, 0, 0)])
    message = next(message for message in reader.consume(1, 10))
    reader.close()
    command = decode_command(message.value() or b"")
    assert (command.id, command.command, command.network) == (answer.json()["command"], "freeze", "twitter")
    parts = read_key(operating)
    assert parts is not None
    assert command.reason == f"half of it is garbage (through the gateway, API key {parts[0]})"


BAD_ORDERS: Sequence[tuple[str, Any, int, str]] = [
    ("freeze", {"network": "other", "reason": "a"}, 404, "unknown-network"),
    ("freeze", {"network": "twitter", "reason": " "}, 400, "bad-request"),
    ("freeze", {"network": "twitter", "reason": "a" * 1_001}, 400, "bad-request"),
    ("freeze", {"network": "twitter"}, 400, "bad-request"),
    ("freeze", {"network": "twitter", "reason": "a", "force": True}, 400, "bad-request"),
    ("resume", [], 400, "bad-request"),
    ("resume", {"network": "twitter", "reason": "a" * 20_000}, 413, "too-large"),
    ("incidents/nothing/resolve", {"note": "a"}, 404, "unknown-incident"),
]


@pytest.mark.parametrize(("path", "body", "status", "name"), BAD_ORDERS)
def test_an_order_that_cannot_be_is_refused(
    served: Served, operating: str, path: str, body: Any, status: int, name: str
) -> None:
    assert problem(order(served, path, operating, body)) == (status, name)


def test_an_order_comes_as_json_and_from_who_may(served: Served, reading: str, operating: str) -> None:
    body = {"network": "twitter", "reason": "a"}
    assert problem(order(served, "freeze", reading, body)) == (403, "forbidden")
    plain = order(served, "freeze", operating, body, headers={"Content-Type": "text/plain"})
    assert problem(plain) == (415, "not-json")


def test_an_open_incident_can_be_resolved_and_a_partition_s_own_cannot(served: Served, operating: str) -> None:
    settings = served.installation.settings
    producer = clients.producer(settings.kafka)
    for identity in ("feed_stalled/twitter/1", "law_violation:1:3"):
        kind: Any = identity.partition("/")[0].partition(":")[0]
        incident = Incident(
            id=identity,
            kind=kind,
            slice=Slice(),
            severity="major",
            status="investigating",
            title="a title",
            opened="2026-01-01T00:00:00Z",
            updated="2026-01-01T00:00:00Z",
            affected_users=0,
            evidence=[],
        )
        producer.produce(settings.names.incidents, encode_incident(incident), identity.encode())
    producer.flush(10)
    path = "incidents/feed_stalled%2Ftwitter%2F1/resolve"
    answer = eventually_known(lambda: order(served, path, operating, {"note": "it is back"}))
    assert answer.status_code == 202, answer.text
    own = eventually_known(lambda: order(served, "incidents/law_violation:1:3/resolve", operating, {"note": "a"}))
    assert problem(own) == (400, "bad-request")


def eventually_known(asked: Any) -> httpx.Response:
    deadline = time.monotonic() + 20
    while (answer := asked()).status_code == 404 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert isinstance(answer, httpx.Response)
    return answer


def test_a_friend_s_pages_may_read_and_no_others(served: Served, reading: str) -> None:
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    friend = httpx.options(f"{served.url}/v1/scores/t:1", headers={"Origin": "https://friend.example", **asked})
    assert friend.headers["access-control-allow-origin"] == "https://friend.example"
    assert "Authorization" in friend.headers["access-control-allow-headers"]
    headers = {"Authorization": f"Bearer {reading}"}
    got = served.get("/v1/scores/t:1", headers={**headers, "Origin": "https://friend.example"})
    assert got.headers["access-control-allow-origin"] == "https://friend.example"
    other = served.get("/v1/scores/t:1", headers={**headers, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_names_of_hidden_users_are_masked_in_reasons() -> None:
    access = Access(VisibilitySettings())
    access.users["t:2"] = AccessUser(user="t:2", claimed="2026-01-01T00:00:00Z", private=True)
    reasons = [Reason("t:1", "twitter", 1, 0.5), Reason("t:2", "twitter", 1, 0.5)]
    change = ScoreChange("t:3", 1, 5.0, None, None, {}, "2026-01-01T00:00:00Z", "interaction", "1", None, reasons)
    shown = access.masked(change, access.anonymous).reasons
    assert isinstance(shown, list)
    assert [reason.actor for reason in shown] == ["t:1", None]
