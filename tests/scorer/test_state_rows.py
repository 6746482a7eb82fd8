"""Stored rows give back what was stored and refuse what they do not know."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.actor_state import ACTOR, decode_actors, encode_actors
from scorer.arrays import Records
from scorer.errors import StateFormatError
from scorer.model import PAIRS
from scorer.target_state import ENTRY, HEAD, decode_targets, encode_targets, published_scores


def random_actors(seed: int, count: int) -> Records:
    """States of all shapes: no pair to all pairs, each filter set or not; unused pairs are zero."""
    chance = np.random.default_rng(seed)
    states: Records = np.frombuffer(chance.bytes(ACTOR.itemsize * count), ACTOR).copy()
    states["rate"], states["pair_x"] = chance.random(count), chance.random((count, PAIRS))
    states["used"] = chance.integers(0, PAIRS + 1, count)
    unused = np.arange(PAIRS) >= states["used"][:, None]
    for name in ("pair_target", "pair_x", "pair_time"):
        states[name][unused] = 0
    states["current"][chance.random(count) < 0.5] = 0
    states["former"][chance.random(count) < 0.5] = 0
    return states


def random_targets(seed: int, count: int, networks: int) -> tuple[Records, Records]:
    chance = np.random.default_rng(seed)
    heads: Records = np.zeros(count, HEAD)
    entries: Records = np.zeros((count, networks), ENTRY)
    for name in ("score_tenths", "reach_tenths", "amplification_tenths", "network_tenths"):
        heads[name] = chance.integers(0, 1001, count)
    heads["sequence"] = chance.integers(0, 2**63, count)
    heads["as_of"] = chance.integers(-(2**62), 2**62, count)
    entries["score_tenths"] = chance.integers(0, 1001, entries.shape)
    entries["events"] = chance.integers(1, 2**63, entries.shape)
    entries["time"] = chance.integers(-(2**62), 2**62, entries.shape)
    for name in ("reach", "amplification", "network"):
        entries[name] = chance.random(entries.shape)
    entries[chance.random(entries.shape) < 0.5] = 0
    return heads, entries


@given(st.integers(0, 2**32), st.integers(0, 40))
@settings(deadline=None, max_examples=50)
def test_actors_come_back_as_they_were_stored(seed: int, count: int) -> None:
    states = random_actors(seed, count)
    assert decode_actors(encode_actors(states)).tobytes() == states.tobytes()


@given(st.integers(0, 2**32), st.integers(0, 40), st.integers(1, 5))
@settings(deadline=None, max_examples=50)
def test_targets_come_back_as_they_were_stored(seed: int, count: int, networks: int) -> None:
    heads, entries = random_targets(seed, count, networks)
    rows = encode_targets(heads, entries)
    heads_back, entries_back, _ = decode_targets(rows, networks)
    for name in ("score_tenths", "reach_tenths", "amplification_tenths", "network_tenths", "sequence", "as_of"):
        assert np.array_equal(heads_back[name], heads[name])
    for name in ("score_tenths", "events", "time", "reach", "amplification", "network"):
        assert np.array_equal(entries_back[name], entries[name])
    assert encode_targets(heads_back, entries_back) == rows


def test_a_partition_that_knows_more_networks_reads_older_rows() -> None:
    heads, entries = random_targets(3, 10, 2)
    _, wider, _ = decode_targets(encode_targets(heads, entries), 4)
    assert np.array_equal(wider["reach"][:, :2], entries["reach"])
    assert not wider["events"][:, 2:].any()


def test_absent_rows_are_new_states_among_stored_ones() -> None:
    rows = encode_actors(random_actors(1, 2))
    states = decode_actors([None, rows[0], None, rows[1]])
    assert states[[0, 2]].tobytes() == bytes(2 * ACTOR.itemsize)
    assert encode_actors(states[[1, 3]]) == rows


def test_published_scores_are_read_from_rows_and_are_1_where_there_is_none() -> None:
    heads: Records = np.zeros(2, HEAD)
    heads["score_tenths"] = [663, 0]
    rows = encode_targets(heads, np.zeros((2, 1), ENTRY))
    assert published_scores([rows[0], None, rows[1]]).tolist() == [66.3, 1.0, 1.0]


def test_an_actor_with_one_pair_takes_56_bytes() -> None:
    state: Records = np.zeros(1, ACTOR)
    state["used"] = 1
    assert [len(row) for row in encode_actors(state)] == [56]


ACTOR_ROW = encode_actors(random_actors(2, 1))[0]
TARGET_ROW = encode_targets(*random_targets(4, 1, 5))[0]


@pytest.mark.parametrize("size", [*range(1, len(ACTOR_ROW), 7), len(ACTOR_ROW) + 8])
def test_an_actor_row_of_a_wrong_length_is_refused(size: int) -> None:
    with pytest.raises(StateFormatError, match=r"row 1 of 2 has \d+ bytes"):
        decode_actors([None, (ACTOR_ROW + bytes(8))[:size]])


@pytest.mark.parametrize("size", [*range(1, len(TARGET_ROW), 7), len(TARGET_ROW) + 8])
def test_a_target_row_of_a_wrong_length_is_refused(size: int) -> None:
    with pytest.raises(StateFormatError, match=r"row 1 of 2 has \d+ bytes"):
        decode_targets([None, (TARGET_ROW + bytes(8))[:size]], 5)


def test_an_actor_row_of_another_version_is_refused() -> None:
    with pytest.raises(StateFormatError, match="actor row 0 of 1 has format version 9; this release reads version 1"):
        decode_actors([b"\x09" + ACTOR_ROW[1:]])


def test_a_target_row_of_another_version_is_refused() -> None:
    with pytest.raises(StateFormatError, match="target row 0 of 1 has format version 9; this release reads version 2"):
        decode_targets([b"\x09" + TARGET_ROW[1:]], 5)


def test_scores_are_not_read_from_a_row_of_another_version() -> None:
    with pytest.raises(StateFormatError, match="target row 1 of 2 has format version 9"):
        published_scores([TARGET_ROW, b"\x09" + TARGET_ROW[1:]])


def test_scores_are_not_read_from_a_stub_of_a_row() -> None:
    with pytest.raises(StateFormatError, match="target row 1 of 2 has 3 bytes"):
        published_scores([TARGET_ROW, TARGET_ROW[:3]])


def test_a_target_row_with_a_network_without_code_is_refused() -> None:
    heads, entries = random_targets(4, 1, 5)
    entries["events"] = 1
    with pytest.raises(StateFormatError, match="target row 0 of 1"):
        decode_targets(encode_targets(heads, entries), 4)
