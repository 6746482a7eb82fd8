"""The fingerprint table answers as a dictionary would, at any age of the ledger."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.fingerprints import (
    DUPLICATE,
    HELD,
    LIVE,
    REPEATED,
    RETRACTED,
    TAKEN,
    TAKEN_IN,
    UNMATCHED,
    WITHHELD,
    Fingerprints,
)

_EVENT = {
    None: (TAKEN_IN, LIVE),
    LIVE: (DUPLICATE, LIVE),
    TAKEN: (DUPLICATE, TAKEN),
    HELD: (WITHHELD, TAKEN),
}
_RETRACTION = {
    None: (UNMATCHED, HELD),
    LIVE: (RETRACTED, TAKEN),
    TAKEN: (REPEATED, TAKEN),
    HELD: (REPEATED, HELD),
}
_ENTERING = (TAKEN_IN, WITHHELD, RETRACTED, UNMATCHED)


@pytest.mark.parametrize("first_row", [0, (1 << 30) - 700, (1 << 33) + 5])
@given(seed=st.integers(0, 2**32), hashes=st.sampled_from([3, 300, 4000]))
@settings(deadline=None, max_examples=15)
def test_it_judges_as_a_dictionary_of_rows_would(first_row: int, seed: int, hashes: int) -> None:
    chance = random.Random(seed)
    table = Fingerprints(first_row)
    known: dict[int, tuple[int, int]] = {}
    for _ in range(40):
        batch = [chance.randrange(1, hashes + 1) for _ in range(chance.randrange(1, 200))]
        back = [chance.random() < 0.3 for _ in batch]
        judged = table.judge(np.array(batch, np.uint64), np.array(back))
        entered: list[int] = []
        statuses: list[int] = []
        status = {value: found for value, (row, found) in known.items() if row >= table.oldest}
        for value, is_back, verdict, row in zip(
            batch, back, judged.verdict.tolist(), judged.ledger_row.tolist(), strict=True
        ):
            expected, after = (_RETRACTION if is_back else _EVENT)[status.get(value)]
            assert verdict == expected
            if row >= 0:
                assert row == known[value][0]
            status[value] = after
            if verdict in _ENTERING:
                entered.append(value)
                statuses.append(after)
        known |= {value: (table.next + at, statuses[at]) for at, value in enumerate(entered)}
        table.insert(np.array(entered, np.uint64), np.array(statuses, np.uint8))
        if chance.random() < 0.3:
            table.expire(table.next - chance.randrange(1, 3000))


def test_it_stays_small_while_rows_come_and_expire() -> None:
    table = Fingerprints()
    alive = 10_000
    for batch in range(100):
        table.insert(np.arange(batch * 5_000, (batch + 1) * 5_000, dtype=np.uint64), np.zeros(5_000, np.uint8))
        table.expire(table.next - alive)
    assert table.slots <= 4 * alive
    probe = np.array([table.next - 1, table.next - alive, table.next - alive - 1], np.uint64)
    assert table.judge(probe, np.zeros(3, np.bool_)).verdict.tolist() == [DUPLICATE, DUPLICATE, TAKEN_IN]
