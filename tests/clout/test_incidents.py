"""Which incident an operator means, and what is said of it."""

from typing import Any

import pytest
from msgspec.structs import replace

from clout.commands.incident import VALUES_SHOWN, lines
from clout.incidents import chosen
from schemas.incident import Evidence, Incident, Slice, Span, UserValues
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


def law_violation(users: int) -> Incident:
    evidence = Evidence(
        finding="only_decay_lowers_strength",
        detail="they fell\nof 5 records 5 were tried alone, 1 of them fail",
        positions=[Span(lane="targets", first=1_017, last=1_021)],
        suspect=Span(lane="targets", first=1_020, last=1_020),
        users=[
            UserValues(user=f"t:{user}", score=26.4, proposed=None, networks={"mastodon": [7.125, 5.0, 0.5, 0.0, 5, 1]})
            for user in range(users)
        ],
    )
    return replace(incident("law", "investigating"), slice=Slice(partition=3), evidence=[evidence])


def test_a_broken_law_is_shown_with_values_and_with_the_order_that_sets_the_suspect_aside() -> None:
    assert "\n".join(lines(law_violation(1))).splitlines()[3:] == [
        "  2026-01-01T00:00:00.000Z only_decay_lowers_strength: they fell",
        "    of 5 records 5 were tried alone, 1 of them fail",
        "    in partition 3 of the targets lane, offsets 1017 to 1021",
        "    suspect: offset 1020 of the targets lane",
        "    to go on without it: clout quarantine --partition 3 --lane targets --offset 1020 --reason TEXT",
        "    t:0: score 26.4 → no number",
        "      mastodon: reach 7.125 → 0, amplification 5 → 5, network sum 0.5 → 1",
    ]


def test_of_many_users_the_first_few_are_shown_with_values() -> None:
    said = list(lines(law_violation(VALUES_SHOWN + 3)))
    assert sum("score 26.4" in line for line in said) == VALUES_SHOWN
    assert said[-1] == "    and 3 more users: clout incident show law --json"


def test_a_record_is_not_to_be_set_aside_once_the_partition_goes_on() -> None:
    said = "\n".join(lines(replace(law_violation(1), status="resolved")))
    assert "suspect: offset 1020" in said
    assert "quarantine" not in said
