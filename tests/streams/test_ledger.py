"""The ledger gives back what was granted, notices what is missing, and tells events with equal hashes apart."""

import msgspec
import numpy as np
import pytest

from schemas.users import user_hash
from scorer.model import Model
from scorer.reference import Actors, Event
from streams.errors import CloutError
from streams.ledger import ANYBODY, Ledger, LedgerLimits, LedgerState, block_key
from streams.ledger_block import BLOCK_ROWS_MAX, UNKNOWN_ARRIVAL, VERSION, decode_block
from tests.streams.stages import Stages, record_of

START_MS = 1_340_000_000_000
NUMBER = ("reach", "amplification", "influence")


def events(count: int, *, actors: int = 3, targets: int = 40) -> list[Event]:
    return [
        Event("one", str(at), "share", f"actor{at % actors}", f"person{at * 7 % targets}", START_MS + at * 60_000)
        for at in range(count)
    ]


def test_it_gives_back_what_each_event_granted() -> None:
    stages, reference = Stages(Model()), Actors(Model())
    acts = events(3 * BLOCK_ROWS_MAX // 2)
    granted = [reference.grant(act, Model().influence_floor) for act in acts]
    stages.apply(acts)
    rows = np.array([len(acts) - 1, 0, BLOCK_ROWS_MAX, BLOCK_ROWS_MAX - 1, 17])
    found = stages.ledger.find(rows)
    for at, row in enumerate(rows.tolist()):
        grant = granted[row]
        assert found.targets[at] == acts[row].target.encode()
        assert (found.networks[at], found.time[at]) == ("one", acts[row].time)
        expected = (grant.reach, grant.amplification, grant.network)
        assert [float(getattr(found, name)[at]) for name in NUMBER] == pytest.approx(expected, rel=1e-12)


def test_another_actors_event_with_the_same_hash_counts() -> None:
    stages = Stages(Model())
    first, other = (
        Event("one", "1", "share", "ann", "bob", START_MS),
        Event("one", "2", "share", "cat", "bob", START_MS),
    )
    stages.apply([first])
    record = record_of([other], 0)
    same_hash = record_of([first], 0).columns["event_hash"]
    stages.take(record._replace(columns={**record.columns, "event_hash": same_hash}))
    assert (stages.counted("credited"), stages.counted("duplicate")) == (2, 0)


@pytest.mark.parametrize("step_ms", [0, 10, 100, 10_000_000, 2**33])
def test_it_knows_when_each_event_came_and_who_brought_it(step_ms: int) -> None:
    stages = Stages(Model())
    record = record_of(events(40), 0, "west")
    arrival = START_MS + step_ms * np.arange(40)
    stages.take(record._replace(columns={**record.columns, "arrival": arrival}))
    found = stages.ledger.find(np.arange(40))
    assert found.arrival.tolist() == arrival.tolist()
    assert set(found.source_hash.tolist()) == {user_hash(b"west")}


def test_a_block_of_the_first_version_is_read_and_does_not_say_when_events_came() -> None:
    stages = Stages(Model())
    stages.apply(events(40))
    [(key, value)] = stages.blocks.items()
    version, *rest, columns, _arrival = msgspec.msgpack.decode(value)
    assert version == VERSION
    stages.blocks[key] = msgspec.msgpack.encode([1, *rest, columns[:-1]])
    stages.reopen()
    found = stages.ledger.find(np.arange(40))
    assert found.targets == [event.target.encode() for event in events(40)]
    assert set(found.arrival.tolist()) == {UNKNOWN_ARRIVAL}


def test_a_missing_block_is_noticed_when_the_ledger_is_opened() -> None:
    stages = Stages(Model())
    stages.apply(events(2 * BLOCK_ROWS_MAX + 5))
    for gone in list(stages.blocks):
        left = {key: value for key, value in stages.blocks.items() if key != gone}
        with pytest.raises(CloutError, match="cannot be used"):
            Ledger(stages.state.ledger, sorted(left.items()), left.get)


def test_a_damaged_block_is_noticed_when_the_ledger_is_opened() -> None:
    stages = Stages(Model())
    stages.apply(events(10))
    blocks = {key: value[:-9] for key, value in stages.blocks.items()}
    with pytest.raises(CloutError, match="cannot be used"):
        Ledger(stages.state.ledger, sorted(blocks.items()), blocks.get)


def test_a_full_ledger_lets_go_of_the_oldest_rows_and_says_how_far_it_reaches() -> None:
    limits = LedgerLimits(window_seconds=86_400, rows_max=1_000)
    stages = Stages(Model(), limits)
    acts = events(3_000)
    for at in range(0, len(acts), 100):
        stages.apply(acts[at : at + 100], arrival_ms=at * 1_000)
    state = stages.state.ledger
    assert limits.rows_max // 2 < state.rows <= limits.rows_max
    assert state.window_seconds == pytest.approx(state.rows, abs=200)
    assert len(stages.blocks) <= limits.rows_max // 100
    stages.apply([acts[-1], acts[0]])
    assert (stages.counted("duplicate"), stages.counted("credited")) == (1, len(acts) + 1)


def test_a_name_can_be_taken_out_of_its_blocks() -> None:
    stages = Stages(Model())
    stages.apply(events(50))
    stages.store(stages.ledger.without(b"actor1", {}))
    blocks = [decode_block(value) for value in stages.blocks.values()]
    names = {name for block in blocks for name in (block.actors[at] for at in range(len(block.actors)))}
    assert names == {b"actor0", ANYBODY, b"actor2"}
    stages.apply(events(50))
    assert stages.counted("duplicate") == 50


def test_an_empty_ledger_has_no_window() -> None:
    assert (LedgerState().rows, LedgerState().window_seconds) == (0, 0.0)
    assert Ledger(LedgerState(), [], lambda _: None).without(b"ann", {}) == []
    assert block_key(1) < block_key(256) < block_key(1 << 40)
