"""What is said of a change that the topic has only in part, and of a score; through words that must be true."""

from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace
from rich.console import Console, RenderableType

from clout.commands.tail import line
from clout.explain_view import change_line, change_panel, panel
from clout.explaining import decayed, story, taken_back, unexplained_among, unexplained_points
from clout.user_history import listing, since_forgotten
from schemas.change import Reason, ScoreChange, Subscores
from schemas.explanation import (
    Anchor,
    Contributor,
    Explained,
    Explanation,
    ModelUsed,
    NetworkPart,
    NextDecay,
    Standing,
    Sums,
)
from schemas.incident import Incident, IncidentUsers, Slice, encode_incident_users
from schemas.times import format_ms
from scorer.model import DAY_MS, Model
from streams.errors import CloutError
from streams.masking import change_without
from streams.touched import touching

START_MS = 1_340_000_000_000


def a_change(sequence: int, score: float | None, previous: float | None, cause: str = "interaction") -> ScoreChange:
    parts = None if score is None else Subscores(score, score, score)
    return ScoreChange(
        "t:1",
        sequence,
        score,
        previous,
        parts,
        {} if score is None else {"twitter": score},
        format_ms(START_MS + sequence * DAY_MS),
        cause,  # type: ignore[arg-type]
        "1",
    )


LIFE = [a_change(5, 20.0, 19.0), a_change(6, 19.9, 20.0, "decay"), a_change(7, 22.0, 19.9)]


def in_one_line(shown: RenderableType) -> str:
    out = StringIO()
    Console(file=out, width=200).print(shown)
    return " ".join(out.getvalue().replace("│", " ").split())


def test_a_change_is_compared_with_the_one_before() -> None:
    found = story(LIFE, "t:1", 6, Model())
    assert (found.change, found.before) == (LIFE[1], LIFE[0])
    assert (found.moved, found.elapsed_seconds) == (-0.1, 86_400)
    assert found.by_decay_alone == pytest.approx(decayed(20.0, DAY_MS, Model()))
    said = in_one_line(change_panel(found))
    assert "20.0 → 19.9 (-0.1) decay" in said
    assert "decay lowered it." in said
    assert "Change 5 was 1 d before" in said
    assert f"Decay alone would have left about {found.by_decay_alone:.2f}." in said
    assert "not noted" not in said


def test_a_fall_by_more_than_decay_takes_is_not_called_decay() -> None:
    fallen = [LIFE[0], a_change(6, 12.0, 20.0, "decay"), a_change(7, 11.9, 12.0, "decay")]
    found = story(fallen, "t:1", 6, Model())
    assert found.by_decay_alone is not None
    assert found.unexplained == round(found.by_decay_alone - 12.0, 1)
    said = in_one_line(change_panel(found))
    assert f"{found.unexplained:.1f} points of change 6 are more than decay takes: `clout audit` judges" in said
    assert "it fell further than decay takes." in said
    assert "decay lowered it" not in said
    assert unexplained_among(fallen, Model()) == {6: found.unexplained}
    told = replace(explanation(210.0, 200.0, [], 5.0), changes=fallen, unexplained={6: found.unexplained})
    assert f"{found.unexplained:.1f} points of change 6 are more than decay takes" in in_one_line(panel(told))


@given(score=st.floats(1.0, 100.0), days=st.floats(0.0, 400.0))
def test_what_decay_takes_is_explained_whatever_was_rounded(score: float, days: float) -> None:
    elapsed_ms = int(days * DAY_MS)
    left = decayed(score, elapsed_ms, Model())
    before, after = a_change(1, round(score, 1), 1.0), a_change(2, round(left, 1), round(score, 1), "decay")
    after = replace(after, as_of=format_ms(START_MS + DAY_MS + elapsed_ms))
    assert unexplained_points(before, after, Model()) is None


def test_neither_a_retraction_nor_a_fall_on_several_networks_is_called_unexplained() -> None:
    back = [LIFE[0], a_change(6, 12.0, 20.0, "retraction")]
    several = replace(a_change(6, 12.0, 20.0, "decay"), networks={"twitter": 9.0, "mastodon": 3.0})
    assert unexplained_among(back, Model()) == unexplained_among([LIFE[0], several], Model()) == {}
    # The change between them is not in the topic any more.
    assert unexplained_among([LIFE[0], a_change(7, 12.0, 20.0, "decay")], Model()) == {}


def test_the_oldest_change_that_is_left_is_told_without_the_one_before() -> None:
    found = story(LIFE, "t:1", 5, Model())
    assert (found.before, found.moved, found.elapsed_seconds, found.by_decay_alone) == (None, 1.0, None, None)
    said = in_one_line(change_panel(found))
    assert "Change 4 is not in the topic any more" in said
    assert "Who added most was not noted" in said


def test_of_another_model_nothing_is_computed() -> None:
    assert story(LIFE, "t:1", 6, Model(name="2")).by_decay_alone is None


def test_a_change_that_was_compacted_away_and_one_that_does_not_exist_yet_are_told_apart() -> None:
    with pytest.raises(CloutError, match="change 4 of t:1 is not in the topic any more"):
        story(LIFE, "t:1", 4, Model())
    with pytest.raises(CloutError, match="t:1 has no change 8 yet"):
        story(LIFE, "t:1", 8, Model())


def test_of_a_user_who_came_back_only_the_new_life_is_told() -> None:
    forgotten = a_change(8, None, 22.0, "forget")
    again = a_change(9, 3.0, None)
    assert since_forgotten([*LIFE, forgotten, again]) == [again]
    assert since_forgotten([*LIFE, forgotten]) == []
    assert since_forgotten(LIFE) == LIFE
    with pytest.raises(CloutError, match="change 7 of t:1 is of a time before the user was forgotten"):
        story([*LIFE, forgotten, again], "t:1", 7, Model())
    found = story([*LIFE, forgotten, again], "t:1", 9, Model())
    assert found.before is None
    said = in_one_line(change_panel(found))
    assert "there was no score before" in said
    assert "not in the topic" not in said


def test_an_incident_of_a_former_life_is_not_named() -> None:
    incidents = [an_incident("old", START_MS - 1), an_incident("new", START_MS + 1), an_incident("newer", START_MS + 2)]
    assert [found.id for found in touching(incidents, "t:1", START_MS)] == ["newer", "new"]
    assert [found.id for found in touching(incidents, "t:1", None)] == ["newer", "new", "old"]
    assert touching(incidents, "t:2", None) == []


def test_of_two_users_an_incident_is_named_to_the_one_whom_it_lists() -> None:
    records = [
        (b"listing/0", encode_incident_users(IncidentUsers(incident="listing", number=0, users=["t:7", "t:2"])), 5),
        (b"listing/1", encode_incident_users(IncidentUsers(incident="listing", number=1, users=["t:8"])), 5),
    ]
    incidents = [an_incident("listing", START_MS), an_incident("another", START_MS)]
    hers, his = (touching(incidents, user, None, listing(records, user, "")) for user in ("t:2", "t:3"))
    assert [found.id for found in hers] == ["listing"]
    assert his == []


def test_a_list_that_was_written_again_without_a_user_or_taken_away_names_them_no_more() -> None:
    first = encode_incident_users(IncidentUsers(incident="i", number=0, users=["t:2", "t:3"]))
    again = encode_incident_users(IncidentUsers(incident="i", number=0, users=["t:3"]))
    assert listing([(b"i/0", first, 5), (b"i/0", again, 6)], "t:2", "") == {}
    assert listing([(b"i/0", first, 5), (b"i/0", again, 6)], "t:3", "") == {"i": 6}
    assert listing([(b"i/0", first, 5), (b"i/0", None, 6)], "t:3", "") == {}


def test_a_list_from_before_a_user_was_forgotten_is_not_theirs_but_one_written_since_is() -> None:
    incidents = [an_incident("long", START_MS)]
    assert touching(incidents, "t:2", START_MS + 9, {"long": START_MS + 8}) == []
    assert touching(incidents, "t:2", START_MS + 9, {"long": START_MS + 10}) == incidents


def test_a_user_is_found_by_the_whole_id_however_it_is_written() -> None:
    record = encode_incident_users(IncidentUsers(incident="i", number=0, users=['t:"ann"', "t:22"]))
    assert [listing([(b"i/0", record, 5)], user, "") for user in ('t:"ann"', "t:2", "ann")] == [{"i": 5}, {}, {}]


def an_incident(name: str, opened_ms: int) -> Incident:
    at = format_ms(opened_ms)
    return Incident(
        id=name, kind="law_violation", slice=Slice(partition=0), severity="major", status="resolved", title="",
        opened=at, updated=at, evidence=[], affected_users=1, users=["t:1"],
    )  # fmt: skip


def test_who_was_forgotten_since_is_not_named_in_an_old_change() -> None:
    reasons = [Reason("t:9", "twitter", 2, 1.25), Reason("t:8", "twitter", 1, 1.0), Reason(None, "twitter", 1, 0.5)]
    masked = change_without(replace(LIFE[0], reasons=reasons), lambda user: user == "t:9")
    assert masked.reasons == [Reason(None, "twitter", 2, 1.25), *reasons[1:]]
    assert change_without(LIFE[0], lambda _: True) == LIFE[0]


def test_what_decay_alone_would_have_left_is_not_told_where_clocks_may_be_apart() -> None:
    elsewhere = replace(LIFE[1], networks={"twitter": 19.9, "mastodon": 3.0})
    assert story([LIFE[0], elsewhere], "t:1", 6, Model()).by_decay_alone is None
    assert story([elsewhere, LIFE[2]], "t:1", 7, Model()).by_decay_alone is None


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (a_change(6, 18.0, 20.0, "retraction"), "interactions that had counted were taken back"),
        (a_change(6, None, 20.0, "retraction"), "all interactions that had counted were taken back"),
        (a_change(6, None, 20.0), "all interactions that had counted were taken back"),
    ],
)
def test_a_change_by_which_something_was_taken_back_says_so_and_not_who_added(change: ScoreChange, what: str) -> None:
    said = in_one_line(change_panel(story([LIFE[0], change], "t:1", 6, Model())))
    assert f": {what}." in said
    assert "not noted" not in said
    assert "others" not in said


def test_a_fall_by_decay_says_that_others_added_only_where_they_did() -> None:
    added = replace(LIFE[1], reasons=[Reason("t:9", "twitter", 1, 0.5)])
    assert "decay took more than others added" in in_one_line(change_panel(story([added], "t:1", 6, Model())))
    assert "others" not in in_one_line(change_panel(story([LIFE[1]], "t:1", 6, Model())))


def test_a_change_after_which_there_is_none_says_no_score() -> None:
    gone = a_change(6, None, 16.2, "retraction")
    assert "16.2 → no score" in change_line(gone)
    assert "16.2 → no score" in line(gone).plain


def test_a_change_whose_score_stayed_says_what_else_moved() -> None:
    said = in_one_line(change_panel(story([a_change(6, 20.0, 20.0)], "t:1", 6, Model())))
    assert "20.0 → 20.0 (a sub-score or a network's score moved) interaction" in said


def test_reasons_are_told_and_who_is_not_named_stays_so() -> None:
    reasons = [Reason("t:9", "twitter", 2, 1.25), Reason(None, "twitter", 1, 0.5)]
    change = replace(a_change(1, 3.0, None), reasons=reasons)
    said = in_one_line(change_panel(story([change], "t:1", 1, Model())))
    assert (
        "t:9 (2 interactions on twitter, 1.2500), somebody who is not named (1 interaction on twitter, 0.5000)" in said
    )
    assert "the first score" in said
    assert LIFE[0].reasons is UNSET


def explanation(granted: float, now: float, contributors: list[Contributor], others_most: float) -> Explained:
    """Of a user with one network, all of whose sums are alike."""
    sums = [Sums(value, value, value) for value in (now, 1.0, granted, granted - now, 0.0)]
    part = NetworkPart(
        score=60.0, events=3, last_event=format_ms(START_MS), clock=None, taken_at=format_ms(START_MS),
        sums=sums[0], share=sums[1], granted=sums[2], decayed=sums[3], taken_back=sums[4],
        contributors=contributors, others=now, others_most=others_most,
    )  # fmt: skip
    model = ModelUsed(
        name="1", half_life_days=30.0, rate_half_life_days=1.0, rate_reference=20.0, alpha=0.2, influence_floor=0.1,
        score_scale=1e6, weights={"share": 1.0},
    )  # fmt: skip
    told = Explanation(
        user="t:1", score=60.0, sequence=1, as_of=format_ms(START_MS), subscores=None, sums=sums[0], strength=now,
        unrounded=60.0, networks={"twitter": part}, model=model, anchor=None, next_decay=None,
    )  # fmt: skip
    standing = Standing(users=59_075, lower=0.9874)
    return Explained(explanation=told, standing=standing, changes=[], incidents=[])


def test_the_columns_of_what_was_granted_add_up_as_they_are_shown() -> None:
    # Rounded each by itself they would not: 1,234.57 less 411.52 is not 823.04.
    said = in_one_line(panel(explanation(1234.565, 823.043, [], 90.0)))
    line = said[said.index("reach 1,234") :]
    granted, decay, taken, now = (round(float(text.replace(",", "")) * 100) for text in line.split()[1:5])
    assert granted - decay - taken == now
    assert "higher than at least 98.7 % of the 59,075 people who have a score" in said


@pytest.mark.parametrize(
    ("incident", "said"), [("INC-7", "for incident INC-7: `clout incident show INC-7`"), (None, "taken back")]
)
def test_who_has_no_score_any_more_is_told_at_once_for_which_incident(incident: str | None, said: str) -> None:
    gone = replace(a_change(9, None, 22.0, "retraction"), reference=incident)
    error = taken_back(replace(explanation(1.0, 0.0, [], 0.0), changes=[*LIFE, gone]))
    assert error.detail.endswith(said)
    assert "change 1 says when" in error.hint


def said_of(found: Explained, **fields: Any) -> str:
    return in_one_line(panel(replace(found, explanation=replace(found.explanation, **fields))))


def test_the_score_when_the_hour_began_is_told_where_there_was_one() -> None:
    found, hour = explanation(210.0, 200.0, [], 5.0), "2012-07-07T23:00:00.000Z"
    assert "When the furthest clock came to 2012-07-07 23:00:00 it was 63.3." in said_of(
        found, anchor=Anchor(hour=hour, score=63.3)
    )
    assert "When the" not in said_of(found, anchor=Anchor(hour=hour, score=None))


def test_when_decay_shows_next_is_told_with_what_it_takes() -> None:
    found = explanation(210.0, 200.0, [], 5.0)
    part = found.explanation.networks["twitter"]
    one, two = format_ms(START_MS), format_ms(START_MS + DAY_MS)
    next_decay = NextDecay(after_seconds=480.0, at={"twitter": one})
    assert "If nobody engages, decay changes" in said_of(found, next_decay=next_decay)
    assert "on twitter, in 8 min." in said_of(found, next_decay=next_decay)
    next_decay = NextDecay(after_seconds=480.0, at={"mastodon": two, "twitter": one})
    for taken_at, end in ((part.taken_at, "on twitter, in 8 min."), (two, "on twitter.")):
        networks = {"twitter": part, "mastodon": replace(part, taken_at=taken_at)}
        said = said_of(found, networks=networks, next_decay=next_decay)
        assert "If nobody engages and all clocks go on alike, decay changes" in said
        assert end in said


def test_one_interaction_is_one() -> None:
    found = explanation(210.0, 200.0, [], 5.0)
    once = {"twitter": replace(found.explanation.networks["twitter"], events=1)}
    assert "60.0: 1 interaction by others on twitter is worth" in said_of(found, networks=once)
    assert "60.0: 3 interactions by others on twitter are worth" in said_of(found)


def test_a_stale_score_says_so() -> None:
    sound = explanation(210.0, 200.0, [], 5.0)
    assert "this is the last good score" in said_of(sound, stale=True)
    assert "stale" not in in_one_line(panel(sound))


def test_who_gave_most_is_named_where_it_is_known_well_enough() -> None:
    loyal = Contributor(actor="t:loyal", weight=50.0, least=50.0, most=55.0, share=0.25)
    masked = Contributor(actor=None, weight=20.0, least=20.0, most=25.0, share=0.1)
    passing = Contributor(actor="t:passing", weight=1.0, least=1.0, most=6.0, share=0.005)
    said = in_one_line(panel(explanation(210.0, 200.0, [loyal, masked, passing], 5.0)))
    assert "t:loyal 50.0000 25.0% 50.0000 and 55.0000" in said
    assert "(not named) 20.0000" in said
    assert "everybody else 130.00 65.0%" in said
    assert "t:passing" not in said
    assert "On twitter nobody else gave more than 6.0000 of the network sum (3.0%)." in said
    taken_back = Contributor(actor="t:taken", weight=20.0, least=0.0, most=35.0, share=0.1)
    assert "t:taken" not in in_one_line(panel(explanation(210.0, 200.0, [loyal, taken_back], 5.0)))
    of_many = in_one_line(panel(explanation(210.0, 200.0, [passing], 5.0)))
    assert "On twitter nobody gave more than 6.0000" in of_many
