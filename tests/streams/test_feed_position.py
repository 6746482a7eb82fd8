import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.feed_position import COUNTERS, FeedPosition, decode, encode, source_of

METADATA_BYTES_MAX = 4096
"""What a broker takes with an offset, unless it is configured otherwise."""
counts = st.integers(0, 2**63 - 1)
positions = st.builds(
    FeedPosition,
    sent=st.lists(counts, min_size=1, max_size=64),
    counters=st.fixed_dictionaries(dict.fromkeys(COUNTERS, counts)),
)


@given(positions)
def test_a_position_comes_back_as_it_was(position: FeedPosition) -> None:
    assert decode(encode(position), len(position.sent)) == position


@pytest.mark.parametrize("text", [None, ""])
def test_a_partition_never_committed_starts_at_zero(text: str | None) -> None:
    assert decode(text, 3) == FeedPosition([0, 0, 0], dict.fromkeys(COUNTERS, 0))


def test_the_largest_position_is_metadata_that_a_broker_takes() -> None:
    largest = FeedPosition([2**63 - 1] * 64, dict.fromkeys(COUNTERS, 2**63 - 1))
    assert len(encode(largest)) <= METADATA_BYTES_MAX


@pytest.mark.parametrize("text", ["by hand", "{}", '{"sent": ["a"]}', "[1]", "null"])
def test_metadata_that_ingest_did_not_write_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="was not written by ingest"):
        decode(text, 2)


def test_metadata_of_another_number_of_lane_partitions_is_refused() -> None:
    with pytest.raises(ValueError, match="speaks of 3 lane partitions, not 2"):
        decode(encode(FeedPosition([1, 2, 3])), 2)


def test_the_source_names_network_and_raw_partition() -> None:
    assert source_of("twitter", 3) == "twitter/3"
