from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.kinds import KINDS
from schemas.limits import LANE_RECORD_BYTES_MAX, LANE_RECORD_ROWS_MAX, SOURCE_BYTES_MAX
from schemas.packed import COLUMNS, CREDITS, INTERACTIONS, Record, decode
from streams.packing import Rows, cut, distinct, groups_of, joined, renumbered, renumbering

user_names = st.text(st.characters(codec="utf-8", min_codepoint=0x20), min_size=1, max_size=6).map(str.encode)
user_lists = st.lists(user_names, min_size=1, max_size=12, unique=True)


@st.composite
def batches(draw: st.DrawFn) -> Rows:
    kind = draw(st.sampled_from([INTERACTIONS, CREDITS]))
    count = draw(st.integers(1, 60))
    actors, targets = draw(user_lists), draw(user_lists)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    columns: dict[str, Any] = {n: random.integers(0, 100, count).astype(d) for n, d in COLUMNS[kind].items()}
    columns["network"] %= 2
    columns["label"] %= 3
    columns["kind"] %= len(KINDS)
    for side, users in (("actor", actors), ("target", targets)):
        columns[side] = random.integers(0, len(users), count).astype(np.uint32)
        accounts = random.integers(0, len(users), count if draw(st.booleans()) else 0)
        columns[f"{side}_account"] = accounts.astype(np.uint32)
    return Rows(kind, ["a", "b"], ["", "x", "y"], actors, targets, columns)


def told(rows: Rows | Record) -> list[tuple[Any, ...]]:
    """Every row with its users and label by name."""
    by_name = []
    for name, column in rows.columns.items():
        lists: dict[str, Sequence[object]] = {"actor": rows.actors, "target": rows.targets, "label": rows.labels}
        users = lists.get(name.removesuffix("_account"))
        if not len(column):
            by_name.append([None] * len(rows.columns["target"]))
        else:
            by_name.append([users[at] for at in column.tolist()] if users is not None else column.tolist())
    return list(zip(*by_name, strict=True))


def test_a_row_that_fits_no_record_is_an_error_and_no_endless_loop() -> None:
    columns: dict[str, Any] = {name: np.zeros(1, dtype) for name, dtype in COLUMNS[INTERACTIONS].items()}
    rows = Rows(INTERACTIONS, ["a"], [""], [b"x" * LANE_RECORD_BYTES_MAX], [b"y"], columns)
    with pytest.raises(ValueError, match="fits no record"):
        cut(rows, groups_of(np.zeros(1, np.uint8), 1), 100)


@given(batches(), st.integers(1, 70), st.integers(1, 4))
def test_records_cut_from_a_batch_hold_its_rows_in_order_group_by_group(rows: Rows, rows_max: int, groups: int) -> None:
    group = np.arange(len(rows)) % groups
    found: dict[int, list[tuple[Any, ...]]] = {}
    for at, value in cut(rows, groups_of(group, groups), rows_max):
        record = decode(value)
        assert record.rows <= rows_max
        assert (record.kind, record.networks) == (rows.kind, rows.networks)
        found.setdefault(at, []).extend(told(record))
    everything = told(rows)
    assert found == {g: everything[g::groups] for g in range(groups) if everything[g::groups]}


@given(batches())
def test_a_record_lists_only_the_users_and_labels_of_its_rows(rows: Rows) -> None:
    for _, value in cut(rows, groups_of(np.arange(len(rows)), len(rows)), 10):
        record = decode(value)
        assert len(record.actors) <= 2
        assert len(record.targets) <= 2
        assert len(record.labels) == 1


@pytest.mark.parametrize("rows_max", [4_000, 1_000_000])
def test_records_of_the_longest_user_ids_are_split_below_the_limit(rows_max: int) -> None:
    count = 20_000
    columns: dict[str, Any] = {name: np.zeros(count, dtype) for name, dtype in COLUMNS[CREDITS].items()}
    users = [b"%0256d" % number for number in range(count)]
    columns |= {side: np.arange(count, dtype=np.uint32) for side in ("actor", "target")}
    columns |= {side: np.empty(0, np.uint32) for side in ("actor_account", "target_account")}
    rows = Rows(CREDITS, ["n"], [""], users, users, columns)
    records = cut(rows, [(0, np.arange(count))], rows_max)
    assert max(len(value) for _, value in records) <= LANE_RECORD_BYTES_MAX
    assert [user for _, value in records for user in decode(value).actors] == users


def test_records_of_the_longest_labels_one_a_row_are_split_below_the_limit() -> None:
    count = 2 * LANE_RECORD_ROWS_MAX
    columns: dict[str, Any] = {name: np.zeros(count, dtype) for name, dtype in COLUMNS[CREDITS].items()}
    columns |= {side: np.zeros(count, np.uint32) for side in ("actor", "target")}
    columns |= {side: np.empty(0, np.uint32) for side in ("actor_account", "target_account")}
    columns["label"] = np.arange(count, dtype=np.uint32)
    labels = [f"{number:0{SOURCE_BYTES_MAX}}" for number in range(count)]
    records = cut(Rows(CREDITS, ["n"], labels, [b"a"], [b"t"], columns), [(0, np.arange(count))], count)
    assert max(len(value) for _, value in records) <= LANE_RECORD_BYTES_MAX
    assert [label for _, value in records for label in decode(value).labels] == labels


def test_records_with_more_rows_than_an_index_can_count_are_split() -> None:
    count = 3 * LANE_RECORD_ROWS_MAX
    columns: dict[str, Any] = {name: np.zeros(count, dtype) for name, dtype in COLUMNS[INTERACTIONS].items()}
    columns |= {side: np.zeros(count, np.uint32) for side in ("actor", "target")}
    columns |= {side: np.empty(0, np.uint32) for side in ("actor_account", "target_account")}
    columns["event_hash"] = np.arange(count, dtype=np.uint64)
    rows = Rows(INTERACTIONS, ["n"], [""], [b"a"], [b"t"], columns)
    records = [decode(value) for _, value in cut(rows, [(0, np.arange(count))], 10_000_000)]
    assert np.concatenate([record.columns["event_hash"] for record in records]).tolist() == list(range(count))


@given(st.lists(st.integers(0, 30), max_size=50))
def test_renumbering_leads_back_to_the_values(values: list[int]) -> None:
    index = np.array(values, np.int64)
    kept, numbers = renumbering(index, 31)
    assert sorted(kept.tolist()) == sorted(set(values))
    assert kept[numbers].tolist() == values


@given(st.lists(user_lists, min_size=1, max_size=4))
def test_the_numbers_of_distinct_users_lead_back_to_the_lists(lists: list[list[bytes]]) -> None:
    users, numbers = distinct(lists)
    assert len(set(users)) == len(users)
    assert [[users[number] for number in of] for of in numbers] == lists


@given(st.lists(batches(), min_size=1, max_size=4))
def test_records_joined_are_their_rows_one_after_the_other(parts: list[Rows]) -> None:
    records = [Record(p.kind, len(p), p.networks, p.labels, p.actors, p.targets, p.columns) for p in parts]
    users, numbers = distinct([record.targets for record in records])
    together = [users[at] for at in renumbered(records, "target", numbers).tolist()]
    assert together == [record.targets[at] for record in records for at in record.columns["target"].tolist()]
    times = [time for record in records for time in record.columns["time"].tolist()]
    assert joined(records, "time").tolist() == times


@given(st.lists(st.integers(0, 5), max_size=40))
def test_every_row_is_in_its_group_in_row_order(group: list[int]) -> None:
    found = {g: rows.tolist() for g, rows in groups_of(np.array(group, np.uint8), 6)}
    assert found == {g: [row for row, of in enumerate(group) if of == g] for g in set(group)}
