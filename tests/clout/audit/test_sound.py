"""What is sound is never called broken, whatever comes in between the two looks; and most of it is judged."""

from dataclasses import replace

import pytest

from scorer.model import DAY_MS
from scorer.reference import Event
from tests.clout.audit.stand import START_MS, Stand, audited, broken, in_batches, some_acts
from tests.streams.stages import Act


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("retracting", [0.0, 0.1, 0.5])
def test_events_retractions_and_time_between_the_looks_break_nothing(seed: int, retracting: float) -> None:
    stand = Stand()
    looks, ends = [], []
    for number, acts in enumerate(in_batches(list(some_acts(seed, 400, days=60, retracting=retracting)), 50)):
        stand.apply(acts)
        if number % 2:
            stand.pass_time(START_MS + (number - 1) * 7 * DAY_MS, apart_ms=seed * DAY_MS)
        looks.append(stand.look())
        ends.append(len(stand.topic))
    for at, first in enumerate(looks):
        second = looks[min(at + 1 + seed, len(looks) - 1)]
        findings = audited(first, second, stand.topic, seen=ends[at])
        assert broken(findings) == {}
        assert [of.users for of in findings.verdicts] == [len(second.users)] * 8
        left_out = sum(number for what, number in findings.verdicts[1].counted.items() if what.startswith("users"))
        assert left_out <= (len(first.users) if retracting else 0)


def test_synthetic_accounts_are_held_to_the_laws_and_count_as_nobody() -> None:
    stand = Stand()
    looks, ends = [], []
    for number, acts in enumerate(in_batches(list(some_acts(5, 400, days=3, retracting=0.1)), 50)):
        stand.apply([some_by_canaries(act) for act in acts])
        stand.pass_time(START_MS + number * DAY_MS)
        looks.append(stand.look())
        ends.append(len(stand.topic))
    findings = audited(looks[3], looks[-1], stand.topic, seen=ends[3])
    assert broken(findings) == {}
    canaries = [user for user in looks[-1].users if user.startswith(b"@canary/")]
    assert len(canaries) > 5
    assert sum(looks[-1].head.histograms[0]) <= len(looks[-1].users) - len(canaries)
    # Their topic keeps a week, and not even their last change for longer.
    kept = [record for record in stand.topic if not record.key.startswith(b"@canary/")]
    found = audited(looks[-1], looks[-1], kept)
    assert broken(found) == {}
    [number] = [number for what, number in found.verdicts[5].counted.items() if "canaries" in what]
    assert number == len(canaries)
    # But what is there must be as the laws say.
    lost = next(record for record in reversed(stand.topic) if record.key == canaries[0])
    doubled = [*stand.topic, lost]
    assert set(broken(audited(looks[-1], looks[-1], doubled))) == {"sequence_and_previous_chain"}


def some_by_canaries(act: Act) -> Act:
    """Every fourth user is a synthetic account."""
    if isinstance(act, Event):
        return replace(act, actor=perhaps_canary(act.actor), target=perhaps_canary(act.target))
    return replace(act, actor=perhaps_canary(act.actor))


def perhaps_canary(user: str) -> str:
    return f"@canary/one/{user}" if int(user[1:]) % 4 == 0 else user


def test_whoever_was_forgotten_and_began_anew_between_the_looks_breaks_nothing() -> None:
    stand = Stand()
    stand.apply(list(some_acts(1, 200, days=10)))
    first, seen = stand.look(), len(stand.topic)
    gone = stand.forget("t1")
    stand.apply(list(some_acts(2, 200, days=10)))
    second = stand.look(anyone_forgotten=True)
    assert b"t1" in second.users
    findings = audited(first, second, stand.topic, seen=seen)
    assert broken(findings) == {}
    assert any("forgotten and begun anew" in what for what in findings.verdicts[1].counted)
    # One of them is said in the singular, by that word alone.
    assert all(what.split()[0].endswith("s") for verdict in findings.verdicts for what in verdict.counted)
    assert broken(audited(first, second, stand.topic[:gone], seen=seen, tombstones=[b"t1"]))


def test_changes_of_more_than_a_week_ago_may_be_compacted_away() -> None:
    stand = Stand()
    for acts in in_batches(list(some_acts(3, 300, days=30)), 30):
        stand.apply(acts)
    look = stand.look()
    latest = {record.key: record.offset for record in stand.topic}
    kept = [record for record in stand.topic if latest[record.key] == record.offset or record.offset % 3 == 0]
    later = START_MS + 8 * DAY_MS
    findings = audited(look, look, kept, now_ms=later)
    assert broken(findings) == {}
    assert findings.verdicts[5].counted
    young = [record._replace(written_ms=later) for record in kept]
    assert set(broken(audited(look, look, young, now_ms=later))) == {"sequence_and_previous_chain"}
