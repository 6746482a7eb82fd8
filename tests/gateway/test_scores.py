"""Scores over HTTP, from a real gateway on a real change topic."""

import pytest

from tests.gateway.conftest import Serve, Served


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    served = serve()
    served.publish([("t:1", 20.0), ("t:1", 26.4), ("t:2", 50.0), ("t:3", 10.0), ("t:3", None)])
    return served


def test_a_score_is_what_was_published_last(served: Served) -> None:
    answer = served.get("/v1/scores/t:1").raise_for_status().json()
    assert (answer["user"], answer["score"], answer["previous"], answer["sequence"]) == ("t:1", 26.4, 20.0, 2)
    assert answer["stale"] is False
    assert answer["age_seconds"] < 1


def test_who_is_unknown_is_told_so_and_has_no_score(served: Served) -> None:
    answer = served.get("/v1/scores/t:9")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems#unknown-user"
    assert "score" not in answer.json()


def test_who_lost_everything_has_no_score(served: Served) -> None:
    assert served.get("/v1/scores/t:3").json()["type"] == "/problems#no-score"


def test_several_are_answered_at_once_and_the_unknown_are_named(served: Served) -> None:
    answer = served.get("/v1/scores?user=t:2&user=t:9&user=t:1").json()
    assert [of["user"] for of in answer["scores"]] == ["t:2", "t:1"]
    assert answer["unknown"] == [{"user": "t:9", "problem": "unknown-user"}]


def test_an_answer_older_than_what_was_seen_is_refused(served: Served) -> None:
    assert served.get("/v1/scores/t:1?min_sequence=2").status_code == 200
    refused = served.get("/v1/scores/t:1?min_sequence=3")
    assert (refused.status_code, refused.headers["retry-after"]) == (409, "1")


def test_an_answer_that_the_asker_has_goes_not_over_the_wire_again(served: Served) -> None:
    tag = served.get("/v1/scores/t:2").headers["etag"]
    assert served.get("/v1/scores/t:2", headers={"If-None-Match": tag}).status_code == 304


def test_a_gateway_goes_on_where_it_was(served: Served) -> None:
    before = served.role.status()["positions"]
    assert served.role.stop() == 0
    served.role.start().wait_until_ready()
    assert served.role.status()["positions"] == before
    assert served.get("/v1/scores/t:1").json()["score"] == 26.4
    served.publish([("t:1", 30.0)])
    assert served.get("/v1/scores/t:1").json()["sequence"] == 3
