import pytest

from gateway.api.search import FOUND_MAX
from tests.gateway.conftest import Serve, Served


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    served = serve()
    people = {f"twitter:{number:03}": 10.0 + number for number in range(60)}
    served.publish([*people.items(), ("mastodon:ü/1", 30.0), ("mastodon:gone", 20.0), ("mastodon:gone", None)])
    return served


def found(served: Served, **parameters: object) -> list[str]:
    answer = served.get("/v1/search", params=parameters)
    assert answer.status_code == 200, answer.text
    return [of["user"] for of in answer.json()["users"]]


def test_users_are_found_by_the_beginning_of_their_id_in_its_order(served: Served) -> None:
    assert found(served, prefix="twitter:05") == [f"twitter:05{digit}" for digit in range(10)]
    assert found(served, prefix="twitter:050") == ["twitter:050"]
    assert found(served, prefix="mastodon:ü") == ["mastodon:ü/1"]
    assert found(served, prefix="Twitter:") == []


def test_more_is_said_where_there_may_be_others(served: Served) -> None:
    answer = served.get("/v1/search", params={"prefix": "twitter:", "limit": 3}).json()
    assert answer == {
        "users": [{"user": f"twitter:00{digit}", "score": 10.0 + digit} for digit in range(3)],
        "more": True,
    }
    assert served.get("/v1/search", params={"prefix": "mastodon:ü"}).json()["more"] is False
    assert len(found(served, prefix="t", limit=FOUND_MAX)) == FOUND_MAX


def test_who_has_no_score_is_not_found(served: Served) -> None:
    assert found(served, prefix="mastodon:g") == []


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"prefix": ""},
        {"prefix": "a\nb"},
        {"prefix": "a" * 257},
        {"prefix": ["a", "b"]},
        {"prefix": "a", "limit": 0},
        {"prefix": "a", "limit": FOUND_MAX + 1},
        {"prefix": "a", "other": 1},
    ],
)
def test_a_search_that_cannot_be_meant_is_refused(served: Served, parameters: dict[str, object]) -> None:
    answer = served.get("/v1/search", params=parameters)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
