from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.times import HOUR_MS
from scorer.arrays import Records
from scorer.target_state import ENTRY, HEAD, decode_targets, encode_targets
from streams.population_state import HourShift, PopulationState
from tests.scans import counted_one_by_one, counters_of

NETWORKS = ["one", "two", "three"]
HOUR = 370_000


class User(NamedTuple):
    """As somebody may stand: tenths, 0 for none."""

    score: int
    parts: Sequence[int]
    anchor: int
    anchor_age: int
    """In hours."""


class Batch(NamedTuple):
    hours: int
    """That have passed since the batch before."""
    stand: dict[int, User]
    forgotten: set[int]


scores = st.one_of(st.integers(10, 1000), st.sampled_from([10, 19, 20, 989, 990, 999, 1000]))
somebody = st.builds(
    User, scores, st.lists(st.one_of(st.just(0), scores), min_size=3, max_size=3), st.one_of(st.just(0), scores),
    st.integers(0, 2),
)  # fmt: skip
nobody = st.builds(User, st.just(0), st.just([0, 0, 0]), st.one_of(st.just(0), scores), st.integers(0, 2))
batches = st.lists(
    st.builds(
        Batch,
        st.sampled_from([0, 0, 0, 1, 5]),
        st.dictionaries(st.integers(0, 5), st.one_of(somebody, nobody)),
        st.sets(st.integers(0, 5), max_size=2),
    ),
    max_size=12,
)


def rows_of(users: Sequence[User], hour: int) -> list[bytes]:
    """Rows as they are stored."""
    heads, entries = np.zeros(len(users), HEAD), np.zeros((len(users), 3), ENTRY)
    for at, user in enumerate(users):
        heads[at]["sequence"] = 1
        heads[at]["score_tenths"] = user.score
        heads[at]["anchor_tenths"] = user.anchor
        heads[at]["anchor_hour"] = hour - user.anchor_age
        entries["score_tenths"][at] = user.parts
        entries["events"][at] = np.array(user.parts) > 0
    return encode_targets(heads, entries)


def records(rows: Sequence[bytes | None]) -> tuple[Records, Records]:
    heads, entries, _ = decode_targets(rows, len(NETWORKS))
    return heads, entries


@given(batches)
def test_counters_always_say_what_a_look_at_every_user_would(batches: list[Batch]) -> None:
    population, hour, stored = PopulationState(shift=HourShift(HOUR)), HOUR, dict[int, bytes]()
    for batch in batches:
        hour += batch.hours
        population.move_to({"one": HOUR_MS * hour, "two": 7})
        after = dict(zip(batch.stand, rows_of(list(batch.stand.values()), hour), strict=True))
        population.follow(3, records([stored.get(user) for user in after]), records(list(after.values())))
        stored |= after
        for user in batch.forgotten & stored.keys():
            population.follow(3, records([stored.pop(user)]), None)
        assert counters_of(population, NETWORKS) == counted_one_by_one(stored.values(), 3, hour)
        assert population.users == sum(counters_of(population, NETWORKS)[0][0])

    anew = PopulationState(shift=HourShift(hour))
    keyed = sorted((b"%d" % user, row) for user, row in stored.items())
    assert anew.count_all(3, lambda last, _: [row for row in keyed if row[0] > last][:2], lambda: False)
    assert counters_of(anew, NETWORKS) == counters_of(population, NETWORKS)


def test_an_hour_that_ends_is_kept_and_the_next_begins_at_nothing() -> None:
    population = PopulationState()
    population.move_to({"one": HOUR * HOUR_MS + 1})
    assert [population.shift, population.shift_before] == [HourShift(HOUR), None], "no hour was before the first clock"
    population.follow(3, None, records(rows_of([User(200, [200, 0, 0], 310, 0)], HOUR)))
    fell = population.shift
    assert fell.counts == (1, 1, 1, 0, 0, 0, 0)
    population.move_to({"one": HOUR * HOUR_MS, "two": (HOUR + 3) * HOUR_MS})
    assert [population.shift, population.shift_before] == [HourShift(HOUR + 3), fell]
    assert population.users == 1


def test_an_hour_never_goes_back() -> None:
    population = PopulationState()
    population.move_to({"one": HOUR * HOUR_MS})
    population.move_to({"one": (HOUR - 1) * HOUR_MS})
    assert population.shift == HourShift(HOUR)


def test_the_first_score_of_somebody_is_no_rise() -> None:
    population = PopulationState(shift=HourShift(HOUR))
    population.follow(3, records([None]), records(rows_of([User(800, [800, 0, 0], 0, 0)], HOUR)))
    assert population.shift.counts == (0,) * 7


def test_counting_all_users_ends_when_the_partition_goes() -> None:
    population = PopulationState()
    [row] = rows_of([User(200, [200, 0, 0], 0, 0)], HOUR)
    assert not population.count_all(3, lambda _last, _: [(b"t:1", row)], lambda: True)
    assert not population.counted


@pytest.mark.parametrize("damaged", [{"histograms": b"\0" * 399}, {"shift": {"hour": 1, "counts": [1, 2]}}])
def test_damaged_counters_are_refused(damaged: dict[str, object]) -> None:
    value = msgspec.msgpack.encode(damaged)
    with pytest.raises(msgspec.DecodeError):
        msgspec.msgpack.decode(value, type=PopulationState)
