"""The text of score changes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from schemas.change import CAUSES, Reason, decode_change
from scorer.targets import Published
from streams.publish import Why, _one_by_one, _together, changes
from streams.reasons import Reasons, no_reasons
from streams.references import References

NETWORKS = ["twitter", "mastodon", "bluesky"]
SCORES = st.integers(10, 1000)
USERS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), min_size=1, max_size=40)
ROWS = st.tuples(
    USERS,
    st.integers(1, 2**40),
    st.sampled_from([0]) | SCORES,
    st.tuples(SCORES, SCORES, SCORES, SCORES),
    st.tuples(SCORES, st.just(0) | SCORES, st.just(0) | SCORES),
    st.integers(0, 4_102_444_799_999),
)
NAMES = ["twitter:1", "ü"]
WHY = st.tuples(
    st.integers(-1, len(NAMES) - 1),
    st.integers(0, len(NETWORKS) - 1),
    st.integers(1, 2**31),
    st.integers(0, 10**12) | st.integers(0, 10).map(lambda power: 10**power),
)


def published(rows: list[tuple[object, ...]]) -> Published:
    _, sequence, previous, scores, networks, as_of = zip(*rows, strict=True)
    tenths = np.array(scores, np.int64)
    parts = np.array(networks, np.float64)
    return Published(
        index=np.arange(len(rows)),
        sequence=np.array(sequence, np.uint64),
        previous_tenths=np.array(previous, np.uint16),
        score=tenths[:, 0] / 10.0,
        reach=tenths[:, 1] / 10.0,
        amplification=tenths[:, 2] / 10.0,
        network=tenths[:, 3] / 10.0,
        networks=np.where(parts == 0, np.nan, parts / 10.0),
        as_of=np.array(as_of, np.int64),
    )


def reasons(of_changes: list[list[tuple[int, ...]]]) -> Reasons:
    begins = np.append(0, np.cumsum([len(theirs) for theirs in of_changes]))
    columns = np.array([why for theirs in of_changes for why in theirs], np.int64).reshape(-1, 4).T.copy()
    return Reasons(begins, [name.encode() for name in NAMES], *columns)


@given(st.lists(st.tuples(ROWS, st.lists(WHY, max_size=3)), min_size=1, max_size=5))
def test_the_kernel_writes_what_the_contract_writes(
    drawn: list[tuple[tuple[object, ...], list[tuple[int, ...]]]],
) -> None:
    rows = [row for row, _ in drawn]
    users = [str(row[0]).encode() for row in rows]
    batch, why = published(rows), reasons([theirs for _, theirs in drawn])

    causes = np.array([number % len(CAUSES) for number in range(len(users))], np.uint8)
    refers = np.where(causes == CAUSES.index("retraction"), np.arange(len(users)) % 2, -1)
    references = References(["feed_partial/twitter/1", 'ü"\\'], refers)
    whole = Why(causes, why, references)

    together = _together(batch, users, NETWORKS, whole, "1")

    assert together == _one_by_one(batch, users, NETWORKS, whole, "1")
    assert [decode_change(value).reasons for value in together] == [why.of(at, NETWORKS) for at in range(len(rows))]
    assert [decode_change(value).reference for value in together] == [references.of(at) for at in range(len(rows))]


def test_a_user_id_that_needs_escapes_is_written_right() -> None:
    row = ('a"b\\c', 1, 0, (10, 20, 30, 40), (10, 0, 0), 0)

    batch = changes(
        published([row]),
        [b'a"b\\c'],
        NETWORKS,
        causes=np.zeros(1, np.uint8),
        reasons=no_reasons(1),
        model="1",
    )

    assert decode_change(batch.values[0] or b"").user == 'a"b\\c'
    assert batch.ids == [b'a"b\\c:1']


def test_an_actor_id_that_needs_escapes_is_written_right() -> None:
    row = ("a", 1, 0, (10, 20, 30, 40), (10, 0, 0), 0)
    why = reasons([[(0, 1, 2, 150_000)]])._replace(names=[b'x"y'])

    batch = changes(published([row]), [b"a"], NETWORKS, causes=np.zeros(1, np.uint8), reasons=why, model="1")

    assert decode_change(batch.values[0] or b"").reasons == [Reason('x"y', "mastodon", 2, 1.5)]
