import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.change import CAUSES, Subscores, change_headers, decode_change, encode_change

texts = st.text(st.characters(codec="utf-8"), min_size=1)
scores = st.integers(10, 1000).map(lambda tenths: tenths / 10)
arguments = st.tuples(
    texts,
    st.integers(1, 2**53),
    st.none() | scores,
    st.none() | scores,
    st.none() | st.builds(Subscores, scores, scores, scores),
    st.dictionaries(texts, scores),
    st.integers(0, 4_000_000_000_000),
    st.sampled_from(CAUSES),
    texts,
    st.none() | texts,
)


@given(arguments)
def test_what_is_written_is_read_back(fields: tuple[Any, ...]) -> None:
    change = decode_change(encode_change(*fields))
    assert (change.user, change.sequence, change.score, change.previous, change.subscores) == fields[:5]
    assert (change.networks, change.cause, change.model, change.reference) == (fields[5], *fields[7:])


def test_a_forgotten_user_has_a_score_of_null() -> None:
    change = json.loads(encode_change("twitter:1", 9, None, 26.4, None, {}, 0, "forget", "1"))
    assert (change["score"], change["subscores"], change["networks"]) == (None, None, {})


def test_the_moment_is_rfc_3339_with_milliseconds() -> None:
    encoded = encode_change("u", 1, 1.0, None, Subscores(1.0, 1.0, 1.0), {}, 1_340_000_000_007, "decay", "1")
    assert decode_change(encoded).as_of == "2012-06-18T06:13:20.007Z"


def test_headers_are_those_of_a_cloud_event_in_binary_mode() -> None:
    assert dict(change_headers("twitter:ж", 3, b"/clout/1")) == {
        "ce_specversion": b"1.0",
        "ce_type": b"clout.score.changed.v1",
        "ce_source": b"/clout/1",
        "ce_id": "twitter:ж:3".encode(),
        "content-type": b"application/json",
    }


def test_headers_of_one_change_do_not_leak_into_the_next() -> None:
    change_headers("a", 1, b"/x").append(("more", b""))
    assert "more" not in dict(change_headers("b", 1, b"/x"))
