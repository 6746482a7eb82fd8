"""Every law catches a fault of its kind, and names the users."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from scorer.laws import LAWS, Batch, Violation, audit
from scorer.model import DAY_MS, Model
from scorer.reference import Event
from tests.scorer.partition import START_MS, Partition, act, fans

MODEL = Model()
USER = 1
"""Index of "bob", the user that faults are planted in, in every batch here."""

Fault = Callable[[Batch], Batch]


@pytest.fixture
def batch() -> Batch:
    """A sound second batch of four users: ann, bob and cat known before, dan new."""
    partition = Partition(MODEL)
    partition.apply([*fans("ann", 5), *fans("bob", 5), *fans("cat", 5, network="two")])
    later = START_MS + DAY_MS
    events: list[Event] = [
        *(event for user in ("ann", "bob", "cat") for event in fans(user, 3, kind="reply", time=later)),
        act("eve", "bob", later - 3 * DAY_MS, network="two"),
        act("eve", "dan", later, network="three"),
    ]
    return partition.apply(events)


def change_entry(field: str, factor: float, user: int = USER) -> Fault:
    def fault(batch: Batch) -> Batch:
        entries = batch.entries_after.copy()
        entries[field][user, 0] = (entries[field][user, 0] * factor).astype(entries[field].dtype)
        return replace(batch, entries_after=entries)

    return fault


def change_score(score: float) -> Fault:
    def fault(batch: Batch) -> Batch:
        scores = batch.scored.score.copy()
        scores[USER] = score
        return replace(batch, scored=batch.scored._replace(score=scores))

    return fault


def change_network_score(batch: Batch) -> Batch:
    scores = batch.scored.networks.copy()
    scores[USER, 0] = np.nan
    return replace(batch, scored=batch.scored._replace(networks=scores))


def skip_a_sequence(batch: Batch) -> Batch:
    heads = batch.heads_after.copy()
    heads["sequence"][USER] += np.uint64(1)
    return replace(batch, heads_after=heads)


def change_in_silence(batch: Batch) -> Batch:
    """A published score that changes, sequence and all, without being emitted."""
    keep = batch.published.index != USER
    columns = {name: getattr(batch.published, name)[keep] for name in batch.published.__dataclass_fields__}
    return replace(batch, published=replace(batch.published, **columns))


def misstate_previous(batch: Batch) -> Batch:
    previous = batch.published.previous_tenths.copy()
    previous[batch.published.index == USER] += 1
    return replace(batch, published=replace(batch.published, previous_tenths=previous))


def emit_twice(batch: Batch) -> Batch:
    twice = np.sort(np.append(np.arange(len(batch.published.index)), USER))
    columns = {name: getattr(batch.published, name)[twice] for name in batch.published.__dataclass_fields__}
    return replace(batch, published=replace(batch.published, **columns))


def emit_another_score(batch: Batch) -> Batch:
    score = batch.published.score.copy()
    score[batch.published.index == USER] += 0.1
    return replace(batch, published=replace(batch.published, score=score))


def lose_the_state(batch: Batch) -> Batch:
    entries = batch.entries_after.copy()
    entries[USER] = 0
    return replace(batch, entries_after=entries)


def lose_a_grant(batch: Batch) -> Batch:
    reach = batch.grants.reach.copy()
    reach[np.flatnonzero(batch.users == USER)[0]] *= 1 + 1e-6
    return replace(batch, grants=batch.grants._replace(reach=reach))


def broken_laws(batch: Batch) -> dict[int, Violation]:
    return {violation.law: violation for violation in audit(batch, MODEL.parameters)}


def test_a_sound_batch_breaks_no_law(batch: Batch) -> None:
    assert audit(batch, MODEL.parameters) == []


def test_a_batch_without_rows_breaks_no_law(batch: Batch) -> None:
    partition = Partition(MODEL)
    partition.apply(fans("ann", 1))
    assert batch.users.size
    assert not broken_laws(partition.apply(fans("ann", 1)))


FAULTS: dict[str, tuple[int, Fault]] = {
    "a score that is no number": (1, change_score(float("nan"))),
    "an infinite score": (1, change_score(float("inf"))),
    "a score below 1": (1, change_score(0.9)),
    "a score above 100": (1, change_score(100.1)),
    "a network score that is no number": (1, change_network_score),
    "a strength that fell": (2, change_entry("network", 0.5)),
    "a sum that fell": (3, change_entry("amplification", 0.1)),
    "a negative sum": (3, change_entry("reach", -1.0)),
    "a sum that is no number": (3, change_entry("network", float("nan"))),
    "reach that nobody granted": (4, change_entry("reach", 1 + 1e-8)),
    "amplification that nobody granted": (4, change_entry("amplification", 1 + 1e-8)),
    "network that nobody granted": (4, change_entry("network", 1 + 1e-8)),
    "sums of another time": (4, change_entry("time", 1.0001)),
    "a grant that is missing": (4, lose_a_grant),
    "a score that fell while the sums rose": (5, change_score(2.0)),
    "a sequence number left out": (6, skip_a_sequence),
    "a change not emitted": (6, change_in_silence),
    "another previous score": (6, misstate_previous),
    "a change emitted twice": (6, emit_twice),
    "another score than the state's": (6, emit_another_score),
    "a change of a user without state": (8, lose_the_state),
}

LOSSES: dict[str, Fault] = {
    "a row lost on the way": lambda batch: replace(batch, rows_in=batch.rows_in + 1),
    "a row applied and skipped": lambda batch: replace(batch, skipped=1),
    "a row applied and a duplicate": lambda batch: replace(batch, duplicates=1),
    "events that no row brought": change_entry("events", 2.0),
    "a state lost": lose_the_state,
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_breaks_its_law_for_its_user_only(batch: Batch, name: str) -> None:
    law, fault = FAULTS[name]
    broken = broken_laws(fault(batch))
    assert broken[law].users.tolist() == [USER]
    assert broken[law].name == LAWS[law]


@pytest.mark.parametrize("name", LOSSES)
def test_a_row_lost_or_made_up_breaks_the_seventh_law(batch: Batch, name: str) -> None:
    assert "rows in" in broken_laws(LOSSES[name](batch))[7].detail
