"""Which incident an operator means."""

from typing import Any

import pytest

from clout.incidents import chosen
from schemas.incident import Incident, Slice
from streams.errors import CloutError


def incident(name: str, status: Any = "resolved") -> Incident:
    return Incident(
        id=name,
        kind="feed_stalled",
        slice=Slice(network="twitter"),
        severity="major",
        status=status,
        title="nothing comes",
        opened="2026-01-01T00:00:00.000Z",
        updated="2026-01-01T00:00:00.000Z",
        evidence=[],
        affected_users=0,
    )


def test_the_beginning_of_an_id_means_the_one_that_is_open() -> None:
    known = [incident("feed_stalled/twitter/1"), incident("feed_stalled/twitter/2", "monitoring")]
    assert chosen(known, "feed_stalled/twitter").id == "feed_stalled/twitter/2"
    assert chosen(known, "feed_stalled/twitter/1").status == "resolved"
    assert chosen(known[:1], "feed_st").id == "feed_stalled/twitter/1"


@pytest.mark.parametrize(
    ("statuses", "named"),
    [(("resolved", "resolved"), "a1, a2"), (("investigating", "identified", "resolved"), "a1, a2")],
)
def test_where_several_are_meant_they_are_named(statuses: tuple[str, ...], named: str) -> None:
    known = [incident(f"a{number}", status) for number, status in enumerate(statuses, 1)]
    with pytest.raises(CloutError, match="2 incidents begin with 'a'") as refused:
        chosen(known, "a")
    assert refused.value.detail == named


def test_none_is_none() -> None:
    with pytest.raises(CloutError, match="there is no incident 'b'"):
        chosen([incident("a")], "b")
