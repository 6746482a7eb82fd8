from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dead_letter import decode_headers
from schemas.identity import event_hashes
from schemas.interaction import CODES, RETRACT_CODE
from schemas.limits import LANE_RECORD_ROWS_MAX
from schemas.packed import INTERACTIONS, decode
from schemas.users import partition_of, user_hashes
from streams.decoders import decoder
from streams.ingest_batch import Prepared, Raw, prepare
from streams.stages.lookup import labels
from tests.garbage import left_in_cycles

ARRIVAL = 1_700_000_000_000
LANES = 3


def event(number: int, **fields: Any) -> dict[str, Any]:
    usual = {"id": f"e{number}", "kind": "share", "actor": f"a:{number}", "target": "t:1", "time": ARRIVAL - number}
    return usual | fields


def prepared(values: list[Any], partitions: list[int] | None = None, *, rows_max: int = 100) -> Prepared:
    encoded = [value if value is None or isinstance(value, bytes) else msgspec.json.encode(value) for value in values]
    count = len(values)
    partition = np.array(partitions or [0] * count, np.int64)
    raw = Raw("raw", encoded, None, partition, np.arange(100, 100 + count), np.full(count, ARRIVAL))
    return prepare(raw, "net", decoder("native"), LANES, rows_max)


def test_every_row_is_in_the_lane_of_its_actor_with_all_that_it_said() -> None:
    result = prepared([event(number, source="c") for number in range(50)])
    found = {}
    for record in result.lane:
        rows = decode(record.value)
        assert (rows.kind, rows.networks, rows.labels, record.raw_partition) == (INTERACTIONS, ["net"], ["c"], 0)
        for row in range(rows.rows):
            actor = rows.actors[rows.columns["actor"][row]]
            assert partition_of(actor, LANES) == record.lane_partition
            target = rows.targets[rows.columns["target"][row]]
            found[actor] = (target, int(rows.columns["time"][row]), int(rows.columns["arrival"][row]))
    assert found == {f"a:{n}".encode(): (b"t:1", ARRIVAL - n, ARRIVAL) for n in range(50)}


def test_a_batch_leaves_nothing_that_only_the_collector_of_cycles_frees() -> None:
    broken = [b"[", b"[1, {}]", b"[]", event(0, time="soon"), "not an event"]
    values = [event(number, source="c") for number in range(50)] + broken
    assert prepared(values).letters
    assert left_in_cycles(lambda: prepared(values)) == {}


def test_the_events_of_an_actor_keep_their_order() -> None:
    events = [event(number, actor=f"a:{number % 5}", time=number) for number in range(100)]
    times: dict[int, list[int]] = {}
    for record in prepared(events, rows_max=7).lane:
        rows = decode(record.value)
        for row in range(rows.rows):
            times.setdefault(int(rows.columns["actor"][row]) + 100 * record.lane_partition, [])
        for actor, time in zip(rows.columns["actor"].tolist(), rows.columns["time"].tolist(), strict=True):
            times.setdefault(hash(rows.actors[actor]), []).append(time)
    assert all(of == sorted(of) for of in times.values())


def test_raw_partitions_stay_apart() -> None:
    result = prepared([event(number) for number in range(20)], [number % 2 for number in range(20)])
    rows = {0: 0, 1: 0}
    for record in result.lane:
        rows[record.raw_partition] += decode(record.value).rows
    assert rows == {0: 10, 1: 10}
    assert [result.counts[partition]["read"] for partition in (0, 1)] == [10, 10]


def test_a_retraction_is_a_row_after_what_it_takes_back_with_the_hash_of_that() -> None:
    whose = {"actor": "a:1", "id": "one"}
    [record] = prepared(
        [event(0, **whose), event(1, **whose, kind="retract", target="x:9"), event(2, **whose, kind="follow")]
    ).lane
    rows = decode(record.value)
    assert rows.columns["kind"].tolist() == [CODES["share"], RETRACT_CODE, CODES["follow"]]
    [expected] = event_hashes("net", user_hashes([b"a:1"]), user_hashes([b"one"])).tolist()
    assert rows.columns["event_hash"].tolist() == [expected] * 3
    assert [rows.targets[at] for at in rows.columns["target"].tolist()] == [b"t:1", b"a:1", b"t:1"]


def test_what_does_not_count_is_counted() -> None:
    result = prepared(
        [event(1), {"kind": "heartbeat", "time": 5}, event(2, kind="retract"), b"{", [event(3), event(4, kind="x")]]
    )
    counts = dict(result.counts[0])
    assert counts == {"read": 6, "passed": 2, "dead_lettered": 2, "heartbeat": 1, "retracting": 1}


def test_a_dead_letter_says_where_it_came_from() -> None:
    [letter] = prepared([event(1), [event(2), event(3, kind="x")]]).letters
    assert letter.value == msgspec.json.encode(event(3, kind="x"))
    why = decode_headers(letter.headers)
    assert (why.source_topic, why.source_partition, why.source_offset, why.source_index) == ("raw", 0, 101, 1)
    assert (why.reason, why.source_time) == ("unknown_kind", ARRIVAL)


def test_a_batch_of_nothing_but_bad_records_has_no_lane_records() -> None:
    result = prepared([b"{", None, []])
    assert result.lane == []
    assert len(result.letters) == 3
    assert dict(result.counts[0]) == {"read": 3, "dead_lettered": 3}


values = st.one_of(
    st.none(),
    st.binary(max_size=20),
    st.builds(event, st.integers(0, 9), kind=st.sampled_from(["share", "retract", "heartbeat", "x"])),
    st.lists(st.builds(event, st.integers(0, 9), time=st.sampled_from([1, ARRIVAL + 400_000, "soon"])), max_size=4),
)


@given(st.lists(st.tuples(values, st.integers(0, 2)), min_size=1, max_size=30))
def test_every_event_read_has_one_outcome_and_every_passed_or_retracting_one_a_row(
    given: list[tuple[Any, int]],
) -> None:
    result = prepared([value for value, _ in given], [partition for _, partition in given])
    for counts in result.counts.values():
        assert counts["read"] == sum(count for outcome, count in counts.items() if outcome != "read")
    rows = sum(decode(record.value).rows for record in result.lane)
    assert rows == sum(counts["passed"] + counts["retracting"] for counts in result.counts.values())
    assert len(result.letters) == sum(counts["dead_lettered"] for counts in result.counts.values())


def test_a_batch_may_name_more_collectors_than_an_index_can_count() -> None:
    count = LANE_RECORD_ROWS_MAX + 10_000
    events = [event(number, source=f"c{number}") for number in range(count)]
    result = prepared([events[at : at + 5_000] for at in range(0, count, 5_000)], rows_max=4_000)
    rows = [decode(record.value) for record in result.lane]
    assert max(len(of.labels) for of in rows) <= 4_000
    named = {
        (of.actors[actor].decode()[2:], of.labels[label][1:])
        for of in rows
        for actor, label in zip(of.columns["actor"].tolist(), of.columns["label"].tolist(), strict=True)
    }
    assert named == {(str(number), str(number)) for number in range(count)}
    # The stage that joins these records numbers their labels anew.
    joined, label = labels(rows)
    assert [joined[number] for number in label.tolist()[-3:]] == rows[-1].labels[-3:]


def act_of_a_canary(number: int, network: str = "net", **fields: Any) -> dict[str, Any]:
    usual = {"actor": f"@canary/{network}/1", "target": f"@canary/{network}/2", "source": "@canary"}
    return event(number, **usual | fields)


@pytest.mark.parametrize("fields", [{}, {"kind": "retract", "target": ""}])
def test_what_the_guard_lets_its_synthetic_accounts_do_is_taken_in(fields: dict[str, Any]) -> None:
    result = prepared([act_of_a_canary(0, **fields)])
    assert result.letters == []
    [record] = result.lane
    assert decode(record.value).actors == [b"@canary/net/1"]


@pytest.mark.parametrize(
    "fields",
    [
        {"source": None},
        {"source": "west"},
        {"actor": "a:1"},
        {"target": "t:1"},
        {"target": "@canary/other/2"},
        {"actor": "@canary/other/1", "target": "@canary/other/2"},
        {"actor": "@canary/network/1"},
        {"kind": "retract", "target": "", "source": "west"},
    ],
)
@pytest.mark.parametrize("others", [0, 3])
def test_whoever_else_names_a_synthetic_account_is_refused_alone(fields: dict[str, Any], others: int) -> None:
    values = [event(number) for number in range(others)]
    result = prepared([[*values, act_of_a_canary(9, **fields)]])
    [letter] = result.letters
    assert decode_headers(letter.headers).reason == "reserved_user"
    assert result.counts[0] == Counter(read=others + 1, dead_lettered=1, passed=others)
    assert sum(decode(record.value).rows for record in result.lane) == others


def test_names_that_only_resemble_those_of_synthetic_accounts_are_peoples() -> None:
    result = prepared(
        [event(0, actor="@canary", target="@canary0"), event(1, actor="x@canary/net/1", source="@canary")]
    )
    assert result.letters == []
    assert sum(decode(record.value).rows for record in result.lane) == 2


def test_synthetic_accounts_move_neither_time_nor_arrival_of_their_raw_partition() -> None:
    alone = prepared([act_of_a_canary(0)]).progress[0]
    assert (alone.time_ms, alone.arrival_ms) == (0, 0)
    among = prepared([act_of_a_canary(0), event(7)]).progress[0]
    assert (among.time_ms, among.arrival_ms) == (ARRIVAL - 7, ARRIVAL)


def test_what_people_did_is_told_without_heartbeats_and_synthetic_accounts_wherever_they_stand() -> None:
    beat = {"kind": "heartbeat", "time": ARRIVAL, "source": "west"}
    acts = prepared(
        [beat, event(1), act_of_a_canary(2), beat, act_of_a_canary(3), event(4), beat], [0, 0, 0, 1, 1, 1, 1]
    ).acts
    assert [acts.actors.names[number] for number in acts.actors.number] == [
        event(number)["actor"].encode() for number in (1, 4)
    ]
    assert acts.time_ms.tolist() == [ARRIVAL - 1, ARRIVAL - 4]
    assert acts.raw_partition.tolist() == [0, 1]
    assert [len(column) for column in (acts.kind, acts.sources.number)] == [2, 2]
