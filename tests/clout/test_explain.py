"""What is said of a change that the topic has only in part, and of a score; through words that must be true."""

from io import StringIO

import msgspec
import pytest
from msgspec import UNSET
from rich.console import Console, RenderableType

from clout.explain_view import change_panel, panel
from clout.explaining import decayed, story
from clout.user_history import since_forgotten
from schemas.change import Reason, ScoreChange, Subscores
from schemas.explanation import Contributor, Explained, Explanation, ModelUsed, NetworkPart, Standing, Sums
from schemas.times import format_ms
from scorer.model import DAY_MS, Model
from streams.errors import CloutError

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
    assert "decay took more than others added" in said
    assert "Change 5 was 1 d before" in said
    assert f"Decay alone would have left about {found.by_decay_alone:.2f}." in said
    assert "not noted" not in said


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


def test_reasons_are_told_and_who_is_not_named_stays_so() -> None:
    reasons = [Reason("t:9", "twitter", 2, 1.25), Reason(None, "twitter", 1, 0.5)]
    change = a_change(1, 3.0, None)
    change = ScoreChange(**{name: getattr(change, name) for name in change.__struct_fields__} | {"reasons": reasons})
    said = in_one_line(change_panel(story([change], "t:1", 1, Model())))
    assert "t:9 (2 interactions on twitter, 1.2500), somebody not named (1 interaction on twitter, 0.5000)" in said
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
    assert "higher than 98.7 % of the 59,075 people who have a score" in said


def test_a_stale_score_says_so() -> None:
    sound = explanation(210.0, 200.0, [], 5.0)
    stale = msgspec.structs.replace(sound, explanation=msgspec.structs.replace(sound.explanation, stale=True))
    assert "this is the last good score" in in_one_line(panel(stale))
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
    of_many = in_one_line(panel(explanation(210.0, 200.0, [passing], 5.0)))
    assert "On twitter nobody gave more than 6.0000" in of_many
