"""The columns that tops and movers read, against changes taken one at a time."""

import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from gateway.columns import Columns
from gateway.read_model import Seen
from schemas.change import Cause, ScoreChange, Subscores
from schemas.times import HOUR_MS

USERS = [b"t:%d" % number for number in range(5)]
BEGIN_HOUR = 400_000


def change(user: bytes, score: float | None, previous: float | None, hour: int, cause: Cause = "interaction") -> Seen:
    parts = None if score is None else Subscores(score, score / 2, score / 4)
    networks = {} if score is None else {"twitter": score}
    made = ScoreChange(user.decode(), 1, score, previous, parts, networks, "", cause, "1")
    return Seen(0, 0, user, b"", made, hour * HOUR_MS + 1)


SCORES = st.none() | st.integers(1, 100).map(float)
CHANGES = st.lists(
    st.builds(
        change,
        st.sampled_from(USERS),
        SCORES,
        SCORES,
        st.integers(BEGIN_HOUR, BEGIN_HOUR + 4),
        st.sampled_from([*["interaction"] * 9, "forget"]),
    ),
    max_size=30,
)


def shown(columns: Columns) -> dict[bytes, list[float | None]]:
    """Return all that is kept of each user, with None for NaN."""
    moved = columns.moved()
    kept = [*columns.scores.values(), *columns.networks.values(), moved]
    values = {user: [float(column[slot]) for column in kept] for user, slot in columns.slots.items()}
    days = {user: float(columns.day_of(user)) for user in columns.slots}
    return {user: [None if math.isnan(value) else value for value in [*values[user], days[user]]] for user in values}


@given(changes=CHANGES, cut=st.integers(0, 30))
def test_changes_taken_together_come_to_what_they_come_to_one_by_one(changes: Sequence[Seen], cut: int) -> None:
    together, single = Columns(["twitter", "mastodon"]), Columns(["twitter", "mastodon"])
    for part in (changes[:cut], changes[cut:]):
        together.put(part)
    for each in changes:
        single.put([each])
    assert shown(together) == shown(single)
    assert together.hour == single.hour


def test_who_moved_is_compared_with_what_they_had_when_the_last_full_hour_began() -> None:
    columns = Columns(["twitter"])
    columns.put([change(b"t:1", 10.0, None, BEGIN_HOUR), change(b"t:2", 5.0, 6.0, BEGIN_HOUR)])
    columns.put([change(b"t:1", 30.0, 10.0, BEGIN_HOUR + 1)])
    columns.put([change(b"t:1", 35.0, 30.0, BEGIN_HOUR + 2)])
    assert columns.moved().tolist()[0] == 25.0
    assert math.isnan(columns.moved()[1])
