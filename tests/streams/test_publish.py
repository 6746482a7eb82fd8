"""The text of score changes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from schemas.change import CAUSES, decode_change
from scorer.targets import Published
from streams.publish import _joined, _one_by_one, _together, changes

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


@given(st.lists(ROWS, min_size=1, max_size=5))
def test_the_kernel_writes_what_the_contract_writes(rows: list[tuple[object, ...]]) -> None:
    users = [str(row[0]).encode() for row in rows]
    batch = published(rows)

    causes = np.array([number % len(CAUSES) for number in range(len(users))], np.uint8)

    together = _together(batch, users, _joined(users)[0], NETWORKS, causes, "1")

    assert together == _one_by_one(batch, users, NETWORKS, causes, "1")


def test_a_user_id_that_needs_escapes_is_written_right() -> None:
    row = ('a"b\\c', 1, 0, (10, 20, 30, 40), (10, 0, 0), 0)

    batch = changes(
        published([row]), [b'a"b\\c'], NETWORKS, causes=np.zeros(1, np.uint8), model="1", source=b"/clout/1"
    )

    assert decode_change(batch.values[0] or b"").user == 'a"b\\c'
    assert ("ce_id", b'a"b\\c:1') in batch.headers[0]
