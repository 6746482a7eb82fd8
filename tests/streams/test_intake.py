import numpy as np
import pytest

from schemas.packed import COLUMNS, COMMANDS, CREDITS, RETRACTIONS, Record, Stamp, encode, encode_key
from streams.intake import Intake, Verdict
from streams.task_state import ACTORS, TARGETS, TaskState

GENERATION = 7
OWN = "actors/2"


def record(rows: int = 1) -> bytes:
    columns = {name: np.zeros(rows, kind) for name, kind in COLUMNS[CREDITS].items()}
    return encode(Record(CREDITS, rows, ["n"], [""], [b"a"], [b"t"], columns))


def state(*, positions: int = -1, seen: int = 0, sent: int = 0) -> TaskState:
    return TaskState(
        model="1",
        model_hash="",
        positions={ACTORS: positions, TARGETS: positions},
        seen={ACTORS: {"n/0": seen}, TARGETS: {OWN: seen}},
        sent={2: sent},
    )


def opened(of: TaskState | None = None) -> Intake:
    intake = Intake()
    intake.open(of or state(), GENERATION)
    return intake


def offer(
    intake: Intake, offset: int, sequence: int, *, lane: str = ACTORS, source: str = "n/0", rows: int = 1
) -> Verdict:
    message = (encode_key(Stamp(source, sequence)), record(rows))
    return intake.offer(lane, offset, GENERATION, message, None)


def taken(intake: Intake, of: TaskState, *, rows_max: int = 100, own_in_flight_max: int = 0) -> list[tuple[str, int]]:
    batch = intake.take(of, OWN, rows_max=rows_max, own_in_flight_max=own_in_flight_max)
    return [(accepted.lane, accepted.offset) for accepted in batch]


def test_records_of_its_generation_are_taken_in_order() -> None:
    intake = opened()
    assert [offer(intake, offset, offset + 1) for offset in range(3)] == [Verdict.ACCEPTED] * 3
    assert taken(intake, state()) == [(ACTORS, 0), (ACTORS, 1), (ACTORS, 2)]


@pytest.mark.parametrize("generation", [GENERATION - 1, GENERATION + 1, -1])
def test_a_record_of_another_generation_is_stale(generation: int) -> None:
    message = (encode_key(Stamp("n/0", 1)), record())
    assert opened().offer(ACTORS, 0, generation, message, None) is Verdict.STALE


def test_a_record_at_or_before_the_stored_position_is_stale() -> None:
    intake = opened(state(positions=4, seen=3))
    assert [offer(intake, offset, 3) for offset in (3, 4)] == [Verdict.STALE, Verdict.STALE]
    assert offer(intake, 5, 4) is Verdict.ACCEPTED


def test_a_record_that_comes_again_is_stale() -> None:
    intake = opened()
    offer(intake, 0, 1)
    offer(intake, 1, 2)
    assert [offer(intake, 0, 1), offer(intake, 1, 2)] == [Verdict.STALE, Verdict.STALE]


def test_nothing_is_accepted_before_it_is_opened() -> None:
    assert offer(Intake(), 0, 1) is Verdict.STALE


def test_nothing_is_accepted_between_a_revoke_and_the_next_seek() -> None:
    intake = opened()
    offer(intake, 0, 1)
    intake.close()
    # Of the generation that was revoked, and following what was accepted: it would jump the queue.
    assert offer(intake, 1, 2) is Verdict.STALE


def test_a_revoke_drops_what_was_not_committed() -> None:
    intake = opened()
    offer(intake, 0, 1)
    intake.close()
    assert taken(intake, state()) == []
    assert intake.rows == {ACTORS: 0, TARGETS: 0}


def test_what_was_dropped_is_accepted_again_after_the_seek() -> None:
    intake = opened()
    offer(intake, 0, 1)
    intake.open(state(), GENERATION + 1)
    assert intake.offer(ACTORS, 0, GENERATION + 1, (encode_key(Stamp("n/0", 1)), record()), None) is Verdict.ACCEPTED


def test_holes_in_the_offsets_are_no_gaps() -> None:
    intake = opened()
    assert [offer(intake, 0, 1), offer(intake, 17, 2)] == [Verdict.ACCEPTED] * 2


@pytest.mark.parametrize(("sequence", "words"), [(3, "records are missing"), (1, "came twice"), (0, "came twice")])
def test_a_gap_or_repeat_of_a_source_closes_the_intake_and_is_named(sequence: int, words: str) -> None:
    intake = opened()
    offer(intake, 0, 1)
    assert offer(intake, 5, sequence) is Verdict.GAP
    assert f"offset 5: record {sequence} of n/0 follows record 1" in intake.gap
    assert words in intake.gap
    assert offer(intake, 6, 2) is Verdict.STALE
    assert taken(intake, state()) == []


def test_the_sequence_goes_on_from_the_state() -> None:
    assert offer(opened(state(seen=41)), 0, 42) is Verdict.ACCEPTED
    assert offer(opened(state(seen=41)), 0, 1) is Verdict.GAP


def test_sources_count_by_themselves_and_lanes_too() -> None:
    intake = opened()
    assert [
        offer(intake, 0, 1),
        offer(intake, 1, 1, source="n/1"),
        offer(intake, 0, 1, lane=TARGETS, source="actors/0"),
        offer(intake, 1, 1, lane=TARGETS, source="actors/1"),
        offer(intake, 2, 2),
    ] == [Verdict.ACCEPTED] * 5


def test_an_unreadable_value_is_accepted_for_the_dead_letters_and_keeps_its_place_in_the_sequence() -> None:
    intake = opened()
    assert intake.offer(ACTORS, 0, GENERATION, (encode_key(Stamp("n/0", 1)), b"garbage"), None) is Verdict.ACCEPTED
    assert offer(intake, 1, 2) is Verdict.ACCEPTED
    assert taken(intake, state()) == [(ACTORS, 0), (ACTORS, 1)]


@pytest.mark.parametrize("key", [None, b"", b"twitter/0", b"twitter/0:x", b":7"])
def test_an_unreadable_key_is_accepted_for_the_dead_letters(key: bytes | None) -> None:
    intake = opened()
    assert intake.offer(ACTORS, 0, GENERATION, (key, record()), None) is Verdict.ACCEPTED
    [accepted] = intake.take(state(), OWN, rows_max=10, own_in_flight_max=0)
    assert accepted.stamp is None


def test_a_batch_holds_at_most_so_many_rows_of_a_lane() -> None:
    intake = opened()
    for offset in range(4):
        offer(intake, offset, offset + 1, rows=40)
    assert taken(intake, state()) == [(ACTORS, 0), (ACTORS, 1)]
    assert intake.rows[ACTORS] == 80
    assert taken(intake, state()) == [(ACTORS, 2), (ACTORS, 3)]


def test_a_record_with_more_rows_than_a_batch_goes_alone() -> None:
    intake = opened()
    offer(intake, 0, 1, rows=500)
    offer(intake, 1, 2, rows=1)
    assert taken(intake, state()) == [(ACTORS, 0)]
    assert taken(intake, state()) == [(ACTORS, 1)]


def test_targets_come_before_actors() -> None:
    intake = opened()
    offer(intake, 0, 1)
    offer(intake, 0, 1, lane=TARGETS, source=OWN)
    assert taken(intake, state(sent=1)) == [(TARGETS, 0), (ACTORS, 0)]


def test_actors_wait_while_too_many_of_the_own_credits_are_under_way() -> None:
    intake = opened()
    offer(intake, 0, 1)
    assert taken(intake, state(sent=3), own_in_flight_max=2) == []
    assert taken(intake, state(sent=3), own_in_flight_max=3) == [(ACTORS, 0)]


def test_own_credits_in_the_same_batch_are_not_under_way_any_more() -> None:
    intake = opened()
    offer(intake, 0, 1)
    offer(intake, 0, 1, lane=TARGETS, source=OWN)
    offer(intake, 1, 1, lane=TARGETS, source="actors/0")
    assert taken(intake, state(sent=1)) == [(TARGETS, 0), (TARGETS, 1), (ACTORS, 0)]


def test_others_credits_do_not_hold_actors_back() -> None:
    intake = opened()
    offer(intake, 0, 1)
    of = state()
    of.sent = {0: 90, 1: 90, 3: 90}
    assert taken(intake, of) == [(ACTORS, 0)]


@pytest.mark.parametrize("kind", [COMMANDS, RETRACTIONS])
def test_what_is_not_folded_with_others_is_taken_alone(kind: str) -> None:
    intake = opened()
    columns = {name: np.zeros(0, type_) for name, type_ in COLUMNS[kind].items()}
    alone = encode(Record(kind, 0, [], [], [], [], columns))
    for offset, value in enumerate([record(), alone, alone, record(), record()]):
        assert intake.offer(ACTORS, offset, GENERATION, (encode_key(Stamp("n/0", offset + 1)), value), None)
    assert [[offset for _, offset in taken(intake, state())] for _ in range(4)] == [[0], [1, 2], [3, 4], []]
