"""What a worker answers about its users, over a real store."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from rocksdict import Cache

from schemas.explanation import decode_explanation
from schemas.export import decode_user, encode_user
from schemas.limits import FORGOTTEN_USERS_MAX
from schemas.users import partition_of
from scorer.contributors import no_contributors
from scorer.model import DAY_MS, Model
from scorer.target_state import ENTRY, HEAD, encode_targets
from streams.actor_names import name_key
from streams.forgotten import Forgotten
from streams.http import RoleServer
from streams.queries import routes, user_states
from streams.settings import HttpSettings
from streams.store import Local, Rows, Store
from streams.task_state import TaskState

PARTITIONS = 4
HERE = 2
PARAMETERS = Model().parameters
STATE = TaskState(model="1", model_hash="", networks=["a", "b"], clocks={"b": 2_000})
NAMED = 4711
"""Hash of a contributor whose name is known; that of the next number is not."""
MANY = 4_500
"""More than two pieces of an answer."""


def user_here(number: int) -> str:
    """A user of the partition that is here, with characters that a path must escape."""
    return next(
        name
        for name in (f"net:{number:05d}/ü?#{attempt}" for attempt in range(1_000))
        if partition_of(name.encode(), PARTITIONS) == HERE
    )


def row(events: int) -> bytes:
    heads, entries = np.zeros(1, HEAD), np.zeros((1, 2), ENTRY)
    heads["score_tenths"], heads["sequence"], heads["as_of"] = 123, 7, 1_000
    heads["reach_tenths"], heads["amplification_tenths"], heads["network_tenths"] = 200, 100, 55
    entries["events"][0, 1] = events
    entries["reach"][0, 1], entries["amplification"][0, 1], entries["network"][0, 1] = 1 / 3, 2 / 3, 0.1
    entries["time"][0, 1], entries["score_tenths"][0, 1] = 500, 119
    contributors = no_contributors(1, 2)
    contributors.actors[0, 1, :2], contributors.weights[0, 1, :2] = (NAMED, NAMED + 1), (0.0625, 0.03125)
    return encode_targets(heads, entries, contributors)[0]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    store = Store(tmp_path_factory.mktemp("store") / "0", Cache(1 << 20))
    users = [user_here(number).encode() for number in range(MANY)]
    names = [(name_key(NAMED), b"a:named")]
    store.write(Rows([], [(user, row(1 + at)) for at, user in enumerate(users)], names=names), b"", Local("", 0, 0.0))
    shared = SimpleNamespace(model=Model())
    forgotten = Forgotten(b"key")
    yield SimpleNamespace(
        partition=HERE,
        store=store,
        state=STATE,
        parameters=PARAMETERS,
        shared=shared,
        forgotten=forgotten,
        stopped="",
    )
    store.close()


@pytest.fixture(scope="module")
def client(task: Any) -> Iterator[httpx.Client]:
    tasks = {HERE: task, 3: SimpleNamespace(partition=3, store=None)}
    server = RoleServer(HttpSettings(), "score")
    server.start(CollectorRegistry(), dict, lambda: None, routes(tasks, PARTITIONS))
    with httpx.Client(base_url=f"http://{server.address}") as client:
        yield client
    server.stop()


def test_a_user_is_told_with_unrounded_sums_of_the_networks_that_saw_events(client: httpx.Client) -> None:
    user = user_here(5)
    answer = client.get(f"/v1/users/{quote(user, safe='')}")
    assert answer.status_code == 200
    assert answer.json() == {
        "user": user,
        "score": 2.4,
        "sequence": 7,
        "as_of": "1970-01-01T00:00:02.000Z",
        "subscores": {"reach": 3.1, "amplification": 4.7, "network": 1.7},
        "networks": {
            "b": {
                "reach": 1 / 3,
                "amplification": 2 / 3,
                "network": 0.1,
                "time": "1970-01-01T00:00:00.500Z",
                "events": 6,
                "score": 2.4,
            }
        },
    }


def test_of_a_partition_that_stands_still_every_answer_is_marked(
    client: httpx.Client, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, everyone = f"/v1/users/{quote(user_here(5), safe='')}", f"/v1/users?partition={HERE}"
    assert b"stale" not in client.get(one).content + client.get(everyone).content
    monkeypatch.setattr(task, "stopped", "a law is broken")
    assert client.get(one).json()["stale"] is True
    assert all(decode_user(line).stale is True for line in client.get(everyone).content.splitlines())


def test_a_user_is_told_as_of_the_clocks_though_the_change_may_not_be_published_yet() -> None:
    states = [msgspec.structs.replace(STATE, clocks={"b": clock_ms}) for clock_ms in (500, 500 + 30 * DAY_MS)]
    [now], [later] = (list(user_states([(b"a:1", row(1))], state, PARAMETERS)) for state in states)
    assert now.networks["b"].reach == later.networks["b"].reach
    assert (now.as_of, later.as_of) == ("1970-01-01T00:00:01.000Z", "1970-01-31T00:00:00.500Z")
    assert (now.score, later.score) == (2.4, 1.7)


def test_a_user_whose_every_credit_was_taken_back_has_no_score() -> None:
    head = np.zeros(1, HEAD)
    head["sequence"], head["as_of"] = 2, 1_000
    [state] = user_states([(b"a:1", encode_targets(head, np.zeros((1, 2), ENTRY))[0])], STATE, PARAMETERS)
    assert (state.score, state.subscores, state.networks, state.sequence) == (None, None, {}, 2)
    assert decode_user(encode_user(state)) == state


def test_a_user_is_explained_with_the_contributors_that_have_a_name(client: httpx.Client) -> None:
    user = user_here(5)
    answer = client.get(f"/v1/explanations/{quote(user, safe='')}")
    assert answer.status_code == 200
    found = decode_explanation(answer.content)
    assert (found.user, found.score, found.model.name, found.sequence) == (user, 2.4, "1", 7)
    contributors = found.networks["b"].contributors
    assert [contributor.actor for contributor in contributors] == ["a:named", None]
    assert [contributor.weight for contributor in contributors] == pytest.approx([0.0625, 0.03125])
    assert found.networks["b"].others == pytest.approx(0.1 - 0.0625 - 0.03125)


def test_an_explanation_says_that_its_partition_stands_still(
    client: httpx.Client, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = f"/v1/explanations/{quote(user_here(5), safe='')}"
    assert "stale" not in client.get(question).json()
    monkeypatch.setattr(task, "stopped", "a law was broken")
    assert client.get(question).json()["stale"] is True


@pytest.mark.parametrize("question", ["users", "explanations"])
def test_a_user_nobody_engaged_with_is_unknown_and_has_no_score(client: httpx.Client, question: str) -> None:
    answer = client.get(f"/v1/{question}/{quote(user_here(MANY), safe='')}")
    assert answer.status_code == 404
    assert "score" not in answer.json()
    assert "unknown" in answer.json()["error"]


@pytest.mark.parametrize("partition", [0, 3])
def test_a_user_of_a_partition_that_is_elsewhere_or_not_restored_is_misdirected(
    client: httpx.Client, partition: int
) -> None:
    user = next(name for name in map(str, range(100)) if partition_of(name.encode(), PARTITIONS) == partition)
    assert client.get(f"/v1/users/{user}").status_code == 421
    assert client.get(f"/v1/explanations/{user}").status_code == 421
    assert client.get(f"/v1/users?partition={partition}").status_code == 421


def test_all_users_of_a_partition_come_once_in_key_order(client: httpx.Client) -> None:
    answer = client.get(f"/v1/users?partition={HERE}")
    users = [decode_user(line) for line in answer.content.splitlines()]
    assert [user.user for user in users] == sorted(user_here(number) for number in range(MANY))
    assert sum(user.networks["b"].events for user in users) == MANY * (MANY + 1) // 2


@pytest.mark.parametrize("partition", ["", "x", "-1", str(PARTITIONS)])
def test_a_partition_that_does_not_exist_is_a_wrong_question(client: httpx.Client, partition: str) -> None:
    answer = client.get(f"/v1/users?partition={partition}")
    assert answer.status_code == 400
    assert "0 to 3" in answer.json()["error"]


def test_whether_somebody_was_forgotten_is_told_of_whom_nothing_else_is_known_too(
    client: httpx.Client, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, back, never = (user_here(MANY + number) for number in range(3))
    forgotten = Forgotten(b"key")
    for user, dropping in ((gone, True), (back, False)):
        entry = forgotten.get(user.encode())
        entry.dropping = dropping
        forgotten.apply([forgotten.row(user.encode(), entry)])
    monkeypatch.setattr(task, "forgotten", forgotten)
    asked = client.get("/v1/forgotten", params={"user": [gone, back, never]})
    assert asked.json() == {"forgotten": [gone]}
    elsewhere = next(f"t:{n}" for n in range(99) if partition_of(f"t:{n}".encode(), PARTITIONS) != HERE)
    assert client.get("/v1/forgotten", params={"user": [gone, elsewhere]}).status_code == 421


@pytest.mark.parametrize("count", [0, FORGOTTEN_USERS_MAX + 1])
def test_who_was_forgotten_is_asked_of_a_few_at_a_time(client: httpx.Client, count: int) -> None:
    answer = client.get("/v1/forgotten", params={"user": [user_here(number) for number in range(count)]})
    assert answer.status_code == 400
    assert f"1 to {FORGOTTEN_USERS_MAX} users, not {count}" in answer.json()["error"]
