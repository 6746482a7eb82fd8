"""Made-up traffic for drills: interactions that come twice, are taken back, or are taken back before they come.

Arrays, so that millions of rows cost little. An actor's rows all go to one raw partition, in their order: what an
action is worth depends on the actor's actions before, and only so is it known beforehand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.kinds import KINDS
from scorer.reference import Event

NETWORK: Final = "twitter"
BEGIN_MS: Final = 1_750_000_000_000
DAYS: Final = 10
DAY_MS: Final = 86_400_000
LATE_MS_MAX: Final = 3_600_000
TWICE_SHARE: Final = 0.03
TAKEN_BACK_SHARE: Final = 0.03
EARLY_SHARE: Final = 0.05
"""Of what is taken back: before it comes."""
LATER_ROWS_MAX: Final = 50_000
EARLIER_ROWS_MAX: Final = 2_000
ARRAY_EVENTS: Final = 40
SLICE_ROWS: Final = 8_000

Column = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Events by number, and the rows in which they are told: each tells an event, or takes it back."""

    actor: Column
    target: Column
    kind: Column
    time: Column
    row_event: Column
    row_retracts: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.row_event)

    def event(self, number: int) -> Event:
        """Return an event as the reference takes it."""
        kind = KINDS[self.kind[number]]
        time = int(self.time[number])
        return Event(NETWORK, f"e{number}", kind, user(self.actor[number]), user(self.target[number]), time)

    def slices(self, partitions: int) -> Iterator[list[tuple[int, bytes]]]:
        """Yield records, raw partition and value, of so many rows at a time."""
        for begin in range(0, len(self), SLICE_ROWS):
            rows = np.arange(begin, min(begin + SLICE_ROWS, len(self)))
            of_row = self.actor[self.row_event[rows]] % partitions
            records = []
            for partition in range(partitions):
                texts = list(map(self._text, rows[of_row == partition].tolist()))
                arrays = range(0, len(texts), ARRAY_EVENTS)
                records += [(partition, b"[%b]" % b",".join(texts[at : at + ARRAY_EVENTS])) for at in arrays]
            yield records

    def _text(self, row: int) -> bytes:
        number = self.row_event[row]
        told = b'{"id":"e%d","actor":"u%d","time":%d' % (number, self.actor[number], self.time[number])
        if self.row_retracts[row]:
            return told + b',"kind":"retract"}'
        return told + b',"kind":"%b","target":"u%d"}' % (KINDS[self.kind[number]].encode(), self.target[number])


def user(number: int) -> str:
    """Return a user's id."""
    return f"u{number}"


def traffic(rows: int, users: int, seed: int) -> Traffic:
    """Make about so many rows, among so many users, a few of whom get most of the attention.

    >>> made = traffic(1_000, 50, seed=1)
    >>> len(made), next(made.slices(4))[0][1][:9]
    (1000, b'[{"id":"e')
    """
    choose = np.random.default_rng(seed)
    count = int(rows / (1 + TWICE_SHARE + TAKEN_BACK_SHARE))
    twice = choose.integers(0, count, (rows - count) // 2)
    taken_back = choose.integers(0, count, rows - count - len(twice))
    later = choose.uniform(0, LATER_ROWS_MAX, len(taken_back))
    early = choose.random(len(taken_back)) < EARLY_SHARE
    later[early] = -choose.uniform(0, EARLIER_ROWS_MAX, int(early.sum()))
    place = np.concatenate(
        [
            np.arange(count, dtype=np.float64),
            twice + choose.uniform(0, LATER_ROWS_MAX, len(twice)),
            taken_back + later,
        ]
    )
    order = np.argsort(place, kind="stable")
    retracts = np.zeros(rows, np.bool_)
    retracts[count + len(twice) :] = True
    time = BEGIN_MS + np.arange(count) * (DAYS * DAY_MS) // count - choose.integers(0, LATE_MS_MAX, count)
    return Traffic(
        actor=_skewed(choose, users, count, 0.6),
        target=_skewed(choose, users, count, 0.9),
        kind=choose.integers(0, len(KINDS), count),
        time=time,
        row_event=np.concatenate([np.arange(count), twice, taken_back])[order],
        row_retracts=retracts[order],
    )


def _skewed(choose: np.random.Generator, users: int, count: int, exponent: float) -> Column:
    """Return users, the first of whom are chosen far more often than the last (Zipf)."""
    weight = np.arange(1, users + 1) ** -exponent
    chosen: Column = choose.choice(users, count, p=weight / weight.sum())
    return choose.permutation(users)[chosen]
