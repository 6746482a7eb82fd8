"""What is sound is never called broken, whatever comes in between the two looks; and most of it is judged."""

import pytest

from scorer.model import DAY_MS
from tests.clout.audit.stand import START_MS, Stand, audited, broken, in_batches, some_acts


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
