import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clout.snap import LineCounts, SnapEvents


def played(*lines: bytes, kind: str | None = None) -> tuple[list[tuple[str, str, str]], LineCounts]:
    reader = SnapEvents("net", prefix="p", kind=kind)
    events = [json.loads(value) for key, value, _ in reader.events(lines) if key is not None]
    return [(event["id"], event["kind"], event["target"]) for event in events], reader.counts


def test_columns_become_kinds() -> None:
    events, _ = played(b"1 2 100 RT\n", b"1 2 101 MT\n", b"1 2 102 RE\n")
    assert [kind for _, kind, _ in events] == ["share", "mention", "reply"]


def test_the_twin_of_a_reply_is_dropped_wherever_it_stands_in_its_second() -> None:
    events, counts = played(b"1 2 100 MT\n", b"3 4 100 RT\n", b"1 2 100 RE\n", b"5 6 100 RE\n", b"5 6 100 MT\n")
    assert [name for name, _, _ in events] == ["net:2", "net:3", "net:4"]
    assert counts.twins == 2


def test_a_reply_takes_only_one_mention_with_it() -> None:
    events, _ = played(b"1 2 100 MT\n", b"1 2 100 MT\n", b"1 2 100 RE\n")
    assert [kind for _, kind, _ in events] == ["mention", "reply"]


@pytest.mark.parametrize("mention", [b"1 2 101 MT\n", b"1 3 100 MT\n", b"2 1 100 MT\n"])
def test_a_mention_in_another_second_or_between_others_stays(mention: bytes) -> None:
    events, counts = played(mention, b"1 2 100 RE\n")
    assert len(events) == 2
    assert counts.twins == 0


def test_event_ids_count_all_lines_of_the_file() -> None:
    events, counts = played(b"# comment\n", b"\n", b"1 2 100 RT\n")
    assert events[0][0] == "net:3"
    assert counts.skipped == 2


def test_lines_without_a_kind_have_the_one_that_is_given() -> None:
    events, _ = played(b"1 2 100\n", b"1 2 101 RT", kind="follow")
    assert [kind for _, kind, _ in events] == ["follow", "share"]


@pytest.mark.parametrize(
    "line",
    [
        b"1 2 100\n",
        b"1 2 now RT\n",
        b"1 2 100 XX\n",
        b"1 2 100 RT more\n",
        b"\xff 2 100 RT\n",
        b'{"id": 1}\n',
        b"1" * 5000 + b" 2 100 RT\n",
    ],
)
def test_a_malformed_line_comes_unchanged_and_without_a_key(line: bytes) -> None:
    reader = SnapEvents("net", prefix="p")
    assert list(reader.events([line])) == [(None, line.rstrip(), None)]
    assert reader.counts.malformed == 1


def test_an_event_carries_prefix_key_and_milliseconds() -> None:
    [(key, value, time_ms)] = SnapEvents("net", prefix="p").events([b"1 2 1341100972 RT\n"])
    assert (key, time_ms) == (b"p:1", 1341100972000)
    assert json.loads(value) == {
        "id": "net:1",
        "kind": "share",
        "actor": "p:1",
        "target": "p:2",
        "time": 1341100972000,
    }


ids = st.text(st.characters(exclude_categories=("Cs", "Z", "Cc")), min_size=1).filter(
    lambda text: not text.startswith("#") and len(text.encode().split()) == 1
)


@given(ids, ids)
def test_any_id_survives_json(actor: str, target: str) -> None:
    [(_, value, _)] = SnapEvents("net", prefix="p").events([f"{actor} {target} 100 RT\n".encode()])
    event = json.loads(value)
    assert (event["actor"], event["target"]) == (f"p:{actor}", f"p:{target}")


def test_the_higgs_file_has_its_known_counts(higgs_path: Path) -> None:
    reader = SnapEvents("twitter", prefix="twitter")
    own = sent = 0
    with gzip.open(higgs_path) as lines:
        for key, value, _ in reader.events(lines):
            own += value.endswith(b'"target":"%b","time":%b' % (key or b"", value[-14:]))
            sent += 1
    assert (reader.counts.lines, reader.counts.twins, reader.counts.malformed) == (563_069, 36_902, 0)
    assert (sent, own, sent - own) == (526_167, 7_081, 519_086)
