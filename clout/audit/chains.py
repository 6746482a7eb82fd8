"""Follows every user's changes through the topic: each one is held against itself and the one before it.

A change's fall is bounded by decay: S is at least what it last stood for, by what decay leaves over the time between.
How long that is, records tell of users on one network alone: there `as_of` is the moment that their part was taken at.
Of several networks it is that of the furthest one, and the others may have had longer to fade. So changes of users who
were ever seen on several networks are not held against this bound; two looks at the rows are (`clout.audit.two_looks`).

Records older than `KEPT_MS` may be missing, since the topic is compacted: a chain may then begin later, or have holes,
but none before a younger record. What comes after a score of null may also follow on what is gone for good. Canaries,
whose changes are in a topic of their own, are followed likewise; of them nothing is kept for longer.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import literal_unroll

from clout.audit.changes import CHANGE, NO_SCORE, Batch, Names, Raw, read_changes
from clout.audit.findings import Findings
from clout.audit.formulas import (
    HIGHEST_TENTHS,
    LOWEST_TENTHS,
    ROUNDING,
    TOLERANCE,
    least_strength,
    left_after,
    score_of,
    strength,
)
from clout.audit.look import Look
from schemas.change import CAUSES
from scorer.arrays import Bools, Floats, Ints, Records
from scorer.compiled import kernel, shared
from scorer.model import Model

KEPT_MS: Final = 7 * 86_400_000
"""For so long the change topic keeps every record."""

LAST: Final = np.dtype([*((name, CHANGE[name].base) for name in CHANGE.names or ()), ("known", "<i4")])
"""The last change of a user (sequence 0: none), and whether `as_of` is the moment that the part on its only network was
taken at."""

_REPEATED: Final = 1
_GAP: Final = 2
_PREVIOUS: Final = 4
_BACK: Final = 8
_HOLE: Final = 16
_NO_SCORE_BEFORE: Final = 32
_BROKEN: Final = {
    _REPEATED: "sequence {sequence} comes after {before}",
    _GAP: "sequence {sequence} comes after {before}: there is a gap",
    _PREVIOUS: "previous of sequence {sequence} is not the score before",
    _BACK: "as_of of sequence {sequence} is earlier than the one before",
    _NO_SCORE_BEFORE: "sequence {sequence} takes away a score that was not there",
}

_RETRACTION: Final = CAUSES.index("retraction")
_FORGET: Final = CAUSES.index("forget")
_FADING: Final = (CAUSES.index("interaction"), CAUSES.index("decay"))
_BY_ROWS: Final = (
    "changes that the rows alone judge: of users on several networks, forgotten and begun anew, or with gaps"
)
_FIELDS: Final = CHANGE.names or ()
_SCORES: Final = ("score", "reach", "amplification", "network")


class Chains:
    """The chains of one partition, as far as they were read."""

    def __init__(self, model: Model, findings: Findings, now_ms: int) -> None:
        """Begin before the first record."""
        self._model = model
        self._findings = findings
        self._kept_from_ms = now_ms - KEPT_MS
        self._users = Names()
        self._networks = Names()
        self._last: Records = np.zeros(1024, LAST)
        self._own: npt.NDArray[np.int32] = np.zeros((1024, 1), np.int32)
        self._null: dict[bytes, int] = {}
        self._wanted: Ints | None = None
        self._look: Look | None = None
        self._met: Bools = np.zeros(0, np.bool_)
        self._missing: list[tuple[bytes, int]] = []
        """Users of whom a score was published and who have no row, and their last sequence."""
        self.slack_tenths = 0
        """What a fall may be more than decay, in tenths: 1 where events were ever taken back."""

    def feed(self, records: Sequence[Raw], tombstones: Sequence[bytes] = ()) -> None:
        """Follow records on, in their order, and then tombstones that come behind them."""
        batch, unreadable = read_changes(records, self._users, self._networks)
        for record, why in unreadable:
            what = f"the record at offset {record.offset} is no change: {why}"
            self._findings.offend(6, record.key.decode(errors="replace"), what)
        rows, own = batch
        self._grow(own.shape[1])
        before = np.zeros(len(rows), LAST)
        faults = np.zeros(len(rows), np.int64)
        _follow(rows, own, self._last, self._own, self._kept_from_ms, before, faults)
        self._findings.looked_at_changes((1, 2, 5, 6, 8), len(rows))
        self._judge_chain(rows, before, faults)
        self._judge_each(batch)
        self._judge_falls(rows, before, faults)
        for at in np.flatnonzero(rows["score"] == NO_SCORE).tolist():
            self._null[self._users.names[rows["user"][at]]] = int(rows["sequence"][at])
        self._meet(rows, own)
        for user in tombstones:
            number = self._users.find(user)
            if number >= 0 and self._last[number]["score"] != NO_SCORE:
                self._findings.offend(8, user.decode(errors="replace"), "deleted, though they were not forgotten")

    def expect(self, look: Look) -> None:
        """Take a look at the rows: each must agree with the change of its sequence, here or further on."""
        self._look = look
        self._met = np.zeros(len(look.users), np.bool_)
        numbers = np.fromiter((self._users.find(user) for user in look.users), np.int64, len(look.users))
        self._wanted = np.full(len(self._users.names), -1, np.int64)
        self._wanted[numbers[numbers >= 0]] = np.flatnonzero(numbers >= 0)
        places = np.flatnonzero(numbers >= 0)
        self._compare(self._last[numbers[places]], self._own[numbers[places]], places)
        last = self._last[: len(self._users.names)]
        without = np.flatnonzero((self._wanted < 0) & (last["score"] != NO_SCORE))
        self._missing = [(self._users.names[at], int(last["sequence"][at])) for at in without.tolist()]

    def reborn(self, first: Look) -> set[bytes]:
        """Return the users who had no score at some time after a look."""
        if not self._null:
            return set()
        places = {user: place for place, user in enumerate(first.users) if user in self._null}
        return {user for user, place in places.items() if self._null[user] > int(first.heads["sequence"][place])}

    def end(self) -> None:
        """Say what the look expected and did not meet."""
        look = self._look
        if look is None:
            return
        self._findings.offend_all(
            6,
            ~self._met & (look.heads["sequence"] > 0) & ~look.is_canary,
            look.users,
            "the state speaks of a change that is not in the topic",
        )
        unmet = int(np.count_nonzero(~self._met & (look.heads["sequence"] > 0) & look.is_canary))
        self._findings.count(6, "canaries whose last change is of more than a week ago, and not kept", unmet)
        for user, sequence in self._missing:
            if self._null.get(user, 0) <= sequence:
                self._findings.offend(8, user.decode(errors="replace"), "a score was published, and there is no row")

    def _grow(self, networks: int) -> None:
        users = len(self._users.names)
        rows = len(self._last) if users <= len(self._last) else 2 * users
        if rows > len(self._last):
            self._last = np.concatenate([self._last, np.zeros(rows - len(self._last), LAST)])
        if self._own.shape[0] < rows or self._own.shape[1] < networks:
            grown = np.zeros((rows, max(networks, self._own.shape[1])), np.int32)
            grown[: self._own.shape[0], : self._own.shape[1]] = self._own
            self._own = grown

    def _name(self, rows: Records, at: int) -> str:
        return self._users.names[int(rows["user"][at])].decode(errors="replace")

    def _offend(self, law: int, rows: Records, broken: Bools, what: str) -> None:
        for at in np.flatnonzero(broken).tolist():
            self._findings.offend(law, self._name(rows, at), what.format(sequence=rows["sequence"][at]))

    def _judge_chain(self, rows: Records, before: Records, faults: Ints) -> None:
        """Law 6, as the kernel found it; who loses a score that was not there breaks law 8."""
        holes = int(np.count_nonzero(faults & _HOLE))
        self._findings.count(6, "places where changes of more than a week ago are compacted away", holes)
        for at in np.flatnonzero(faults & ~_HOLE).tolist():
            for bit, what in _BROKEN.items():
                if faults[at] & bit:
                    text = what.format(sequence=rows["sequence"][at], before=before["sequence"][at])
                    self._findings.offend(8 if bit == _NO_SCORE_BEFORE else 6, self._name(rows, at), text)

    def _judge_each(self, batch: Batch) -> None:
        """Laws 1, 5 and 8, of every change by itself."""
        rows, own = batch
        scored = rows["score"] != NO_SCORE
        scores = np.column_stack([rows[name] for name in _SCORES]).astype(np.int64)
        outside = (scores < LOWEST_TENTHS) | (scores > HIGHEST_TENTHS)
        outside[:, 1:] &= rows["subscored"][:, None] == 1
        outside[:, 0] &= scored
        own_outside = (own != NO_SCORE) & ((own < LOWEST_TENTHS) | (own > HIGHEST_TENTHS))
        wrong = np.any(outside, axis=1) | np.any(own_outside, axis=1)
        wrong |= (rows["previous"] != NO_SCORE) & (
            (rows["previous"] < LOWEST_TENTHS) | (rows["previous"] > HIGHEST_TENTHS)
        )
        self._offend(1, rows, wrong, "a score of sequence {sequence} is not in tenths within 1…100")
        whole = (rows["subscored"] == 1) == scored
        whole &= (rows["networks"] > 0) == scored
        self._offend(8, rows, ~whole, "sequence {sequence} has a score and no parts, or parts and no score")
        judged = scored & whole & ~wrong
        follows = self._follows(scores[judged], own[judged], rows["networks"][judged])
        broken = np.zeros(len(rows), np.bool_)
        broken[judged] = ~follows
        self._offend(5, rows, broken, "the score of sequence {sequence} is not what its sub-scores give")

    def _follows(self, scores: Ints, own: npt.NDArray[np.int32], networks: Ints) -> Bools:
        """Whether S lies where R, A and N put it, and is no less than all networks have by themselves.

        R, A and N lie between the least that is published as their tenths and the next.
        """
        model = self._model
        least, next_ = least_strength(scores, model), least_strength(scores + 1, model)
        with np.errstate(invalid="ignore"):
            lowest, highest = strength(least[:, 1:]), np.nan_to_num(strength(next_[:, 1:]), nan=np.inf)
        follows = (next_[:, 0] >= lowest * (1.0 - TOLERANCE)) & (least[:, 0] <= highest * (1.0 + TOLERANCE))
        of_all = np.where(own == NO_SCORE, 0.0, least_strength(own.astype(np.int64), model)).sum(axis=1)
        follows &= of_all <= next_[:, 0] * (1.0 + TOLERANCE)
        alone = networks == 1
        follows[alone] &= own[alone].max(axis=1, initial=0) == scores[alone, 0]
        found: Bools = follows
        return found

    def _judge_falls(self, rows: Records, before: Records, faults: Ints) -> None:
        """Law 2: what neither took anything back nor began anew falls by no more than decay."""
        fading = np.isin(rows["cause"], _FADING) & (rows["score"] != NO_SCORE) & (before["score"] != NO_SCORE)
        fading &= (before["sequence"] > 0) & (faults == 0)
        judged = fading & (before["known"] == 1) & (rows["only"] == before["only"])
        several = int(np.count_nonzero(fading & ~judged))
        self._findings.count(2, _BY_ROWS, several)
        left = left_after(rows["as_of"][judged] - before["as_of"][judged], self._model)
        broken = np.zeros(len(rows), np.bool_)
        for name in _SCORES:
            # Once anything was taken back, a sub-score may have moved within its integer before it faded.
            stood = before[name][judged].astype(np.int64)
            if self.slack_tenths and name != "score":
                stood = 10 * ((stood + 5) // 10) - 5
            broken[judged] |= self._fell(rows[name][judged], stood, left)
        self._offend(2, rows, broken, "the score of sequence {sequence} fell by more than decay")

    def _fell(self, tenths: Ints, stood: Ints, left: Floats) -> Bools:
        floor = score_of(least_strength(stood, self._model) * left, self._model) * 10.0 - 0.5 - ROUNDING
        # In no time nothing falls, not even over the border between two tenths.
        fell: Bools = tenths + self.slack_tenths < np.where(left == 1.0, stood, floor)
        return fell

    def _meet(self, rows: Records, own: npt.NDArray[np.int32]) -> None:
        """Compare changes with the rows that speak of them."""
        look = self._look
        if look is None or self._wanted is None:
            return
        if len(self._wanted) < len(self._users.names):
            places = {user: place for place, user in enumerate(look.users)}
            new = [places.get(user, -1) for user in self._users.names[len(self._wanted) :]]
            self._wanted = np.append(self._wanted, np.array(new, np.int64))
        at = self._wanted[rows["user"]]
        known = at >= 0
        self._compare(rows[known], own[known], at[known])

    def _compare(self, rows: Records, own: npt.NDArray[np.int32], places: Ints) -> None:
        """Hold changes against the rows of the look at these places, where their sequences are the same."""
        look = self._look
        assert look is not None  # noqa: S101  asked by the callers
        same = rows["sequence"] == look.heads["sequence"][places].astype(np.int64)
        rows, own, places = rows[same], own[same], places[same]
        self._met[places] = True
        published = look.published[places]
        wrong = (rows["score"] != published[:, 0]) | (rows["as_of"] != look.heads["as_of"][places])
        for place, name in enumerate(_SCORES[1:], 1):
            wrong |= (rows["subscored"] == 1) & (rows[name] != published[:, place])
        wrong |= np.any(own != self._stored_own(look, places, own.shape[1]), axis=1)
        who = [look.users[place] for place in places.tolist()] if wrong.any() else []
        self._findings.offend_all(6, wrong, who, "the state has other scores than the change of its sequence")
        forgotten = (rows["cause"] == _FORGET) & (rows["score"] == NO_SCORE)
        if forgotten.any():
            who = [look.users[place] for place in places.tolist()]
            self._findings.offend_all(8, forgotten, who, "a row of somebody who was forgotten")

    def _stored_own(self, look: Look, places: Ints, networks: int) -> npt.NDArray[np.int64]:
        """Return each network's score as stored [places, networks], by the codes that changes are read with."""
        codes = np.array(self._networks.numbers([name.encode() for name in look.head.networks]), np.int64)
        row = np.full(len(look.users), -1, np.int64)
        row[places] = np.arange(len(places))
        at = row[look.user]
        chosen = at >= 0
        stored = np.zeros((len(places), max(networks, len(self._networks.names))), np.int64)
        stored[at[chosen], codes[look.code[chosen]]] = look.entries["score_tenths"][chosen]
        # A network that no change has ever named has no column there.
        beyond = np.any(stored[:, networks:] != 0, axis=1)
        stored[beyond, 0] = -1
        return stored[:, :networks]


@shared
def _fault_of(row: np.void, old: np.void, kept_from_ms: int) -> int:
    """What is wrong with a change that comes after another, or after none."""
    taken_away = row["score"] == NO_SCORE and old["score"] == NO_SCORE
    if old["sequence"] == 0 and row["sequence"] == 1:
        return int(_PREVIOUS * (row["previous"] != NO_SCORE) | _NO_SCORE_BEFORE * taken_away)
    if old["sequence"] > 0 and row["sequence"] == old["sequence"] + 1:
        begins_anew = old["score"] == NO_SCORE and old["cause"] == _FORGET
        return int(
            _PREVIOUS * (row["previous"] != old["score"])
            | _BACK * (row["as_of"] < old["as_of"] and not begins_anew)
            | _NO_SCORE_BEFORE * (taken_away and row["cause"] != _FORGET)
        )
    if old["sequence"] > 0 and row["sequence"] <= old["sequence"]:
        return _REPEATED
    if row["written"] < kept_from_ms or (old["sequence"] == 0 and row["previous"] == NO_SCORE):
        return _HOLE
    return _GAP


@kernel
def _follow(
    rows: Records,
    own: npt.NDArray[np.int32],
    last: Records,
    last_own: npt.NDArray[np.int32],
    kept_from_ms: int,
    before: Records,
    faults: Ints,
) -> None:
    for at in range(len(rows)):
        row = rows[at]
        old = last[row["user"]]
        before[at] = old
        faults[at] = _fault_of(row, old, kept_from_ms)
        if faults[at] & _REPEATED:
            continue
        follows = old["sequence"] > 0 and row["sequence"] == old["sequence"] + 1
        ahead = row["sequence"] == 1 or (follows and row["as_of"] > old["as_of"])
        carried = follows and old["known"] == 1 and row["only"] == old["only"] and row["cause"] != _RETRACTION
        old["known"] = 1 if row["only"] >= 0 and (ahead or carried) else 0
        for name in literal_unroll(_FIELDS):
            old[name] = row[name]
        for code in range(own.shape[1]):
            last_own[row["user"], code] = own[at, code]
