"""What `clout retract` chooses from raw records, and what it keeps between two runs."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from schemas.packed import RETRACTIONS, decode
from schemas.users import user_hash
from streams import retract_position
from streams.decoders import decoder
from streams.errors import CloutError
from streams.ingest_batch import Raw, prepare
from streams.retract_position import RetractPosition, Span
from streams.retracting import RECORD_ROWS_MAX, Chosen, choose

FIRST_MS = 1_700_000_000_000
LANES = 3
WHOLE = Span(network="net", source="", since_ms=0, until_ms=2 * FIRST_MS, incident="INC-7")
EPOCH = 41


def event(number: int, **fields: Any) -> dict[str, Any]:
    usual = {"id": f"e{number}", "kind": "share", "actor": f"a:{number}", "target": "t:1", "time": FIRST_MS - number}
    return usual | fields


def raw(values: Sequence[Any], arrivals: Sequence[int] | None = None) -> Raw:
    encoded = [value if isinstance(value, bytes) else msgspec.json.encode(value) for value in values]
    count = len(values)
    arrival_ms = np.array(arrivals or [FIRST_MS + number for number in range(count)], np.int64)
    return Raw("raw", list(encoded), None, np.zeros(count, np.int64), np.arange(count), arrival_ms)


def chosen(values: Sequence[Any], span: Span = WHOLE) -> Chosen:
    return choose(raw(values), span, EPOCH, decoder("native"), LANES)


def hashes(of: Chosen) -> set[tuple[int, int]]:
    """Lane and event hash of what was chosen."""
    return {(lane, value) for lane, text in of.records for value in decode(text).columns["event_hash"].tolist()}


def test_it_names_each_event_as_ingest_does_and_in_the_same_lane() -> None:
    values = [event(number, source="c") for number in range(200)]
    came = {
        (record.lane_partition, value)
        for record in prepare(raw(values), "net", decoder("native"), LANES, 50).lane
        for value in decode(record.value).columns["event_hash"].tolist()
    }
    assert hashes(chosen(values)) == came


def test_rows_say_which_copy_is_meant_and_why_and_name_nobody() -> None:
    [(_, value)] = chosen([event(7, source="west", actor="somebody", target="else")]).records
    record = decode(value)
    assert (record.kind, record.networks, record.labels) == (RETRACTIONS, ["net"], ["INC-7"])
    row = {name: column.tolist() for name, column in record.columns.items()}
    assert (row["arrival"], row["epoch"], row["source_hash"]) == ([FIRST_MS], [EPOCH], [user_hash(b"west")])
    assert (record.actors, record.targets) == ([], [])
    assert b"somebody" not in value


def test_only_what_arrived_in_the_span_is_chosen() -> None:
    span = msgspec.structs.replace(WHOLE, since_ms=FIRST_MS + 3, until_ms=FIRST_MS + 6)
    values = [event(number) for number in range(10)]
    assert hashes(chosen(values, span)) == hashes(choose(raw(values[3:6]), WHOLE, EPOCH, decoder("native"), LANES))
    assert chosen(values, span).counts == {"events": 3, "chosen": 3, "retractions": 0, "unreadable": 0}


@pytest.mark.parametrize(("source", "count"), [("west", 2), ("east", 1), ("", 4), ("north", 0)])
def test_only_what_the_collector_brought_is_chosen_and_without_one_all(source: str, count: int) -> None:
    values = [[event(0, source="west"), event(1, source="east")], event(2, source="west"), event(3)]
    found = chosen(values, msgspec.structs.replace(WHOLE, source=source))
    assert (found.counts["events"], found.counts["chosen"], len(hashes(found))) == (4, count, count)


def test_heartbeats_are_no_events_and_retractions_and_what_cannot_be_read_are_counted_apart() -> None:
    values = [
        event(0, source="west"),
        {"kind": "heartbeat", "time": FIRST_MS, "source": "west"},
        event(1, kind="retract", source="west"),
        event(2, kind="retract", source="east"),
        b"{",
    ]
    found = chosen(values, msgspec.structs.replace(WHOLE, source="west"))
    assert found.counts == {"events": 1, "chosen": 1, "retractions": 1, "unreadable": 1}


def test_a_record_has_no_more_rows_than_it_may() -> None:
    values = [[event(number, actor="a:1") for number in range(RECORD_ROWS_MAX + 1)]]
    assert [decode(value).rows for _, value in chosen(values).records] == [RECORD_ROWS_MAX, 1]


def test_nothing_was_sent_where_nothing_was_committed() -> None:
    position = retract_position.decode(None, 3)
    assert (position.sent, position.unfinished) == ([0, 0, 0], None)


def test_an_order_is_unfinished_until_it_is_done() -> None:
    position = RetractPosition(sent=[1, 2], span=WHOLE, epoch=4)
    assert retract_position.decode(retract_position.encode(position), 2).unfinished == WHOLE
    position.done = True
    assert retract_position.decode(retract_position.encode(position), 2).unfinished is None


@pytest.mark.parametrize("text", ["{", '{"sent":[1],"version":1}', '{"sent":[1,2],"version":2}'])
def test_a_position_that_is_not_ours_is_refused(text: str) -> None:
    with pytest.raises(CloutError, match="cannot be used"):
        retract_position.decode(text, 2)


def test_the_longest_position_fits_into_the_metadata_of_an_offset() -> None:
    longest = Span(network="n" * 32, source='"' * 256, since_ms=2**41, until_ms=2**41, incident='"' * 200)
    counters = dict.fromkeys(retract_position.COUNTERS, 2**40)
    position = RetractPosition(sent=[2**40] * 64, span=longest, epoch=2**40, counters=counters)
    assert len(retract_position.encode(position)) < 4096
