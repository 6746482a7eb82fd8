import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.change import CAUSES
from schemas.limits import NETWORKS_MAX
from schemas.population import BINS
from scorer.population import SHIFT_COUNTS
from streams.population_state import HourShift, PopulationState
from streams.task_state import COUNTERS, VERSION, TaskState, TaskStateError, decode, encode

counts = st.integers(0, 2**62)
names = st.text(min_size=1, max_size=10)
shifts = st.builds(HourShift, counts, st.tuples(*[counts] * SHIFT_COUNTS))
states = st.builds(
    TaskState,
    version=st.just(VERSION),
    model=names,
    model_hash=names,
    topic_ids=st.dictionaries(names, names),
    positions=st.fixed_dictionaries({"actors": counts, "targets": counts}),
    seen=st.fixed_dictionaries({lane: st.dictionaries(names, counts) for lane in ("actors", "targets")}),
    sent=st.dictionaries(st.integers(0, 63), counts),
    networks=st.lists(names, unique=True),
    clocks=st.dictionaries(names, st.integers(-1, 2**62)),
    counters=st.dictionaries(names, st.dictionaries(names, counts)),
    population=st.builds(
        PopulationState,
        counted=st.booleans(),
        sequence=counts,
        histograms=st.integers(0, 3).map(lambda rows: b"\1\0\0\0" * BINS * rows),
        shift=shifts,
        shift_before=st.one_of(st.none(), shifts),
        changes=st.dictionaries(st.sampled_from(CAUSES), counts),
    ),
)


@given(states)
def test_a_state_comes_back_as_it_was(state: TaskState) -> None:
    assert decode(encode(state)) == state


@given(states, st.data())
def test_truncated_bytes_are_refused(state: TaskState, data: st.DataObject) -> None:
    value = encode(state)
    with pytest.raises(TaskStateError, match="cannot be read"):
        decode(value[: data.draw(st.integers(0, len(value) - 1))])


@given(st.binary(max_size=100))
def test_arbitrary_bytes_are_refused(value: bytes) -> None:
    with pytest.raises(TaskStateError):
        decode(value)


def test_another_version_is_refused_with_both_versions() -> None:
    value = encode(TaskState(version=VERSION + 1, model="1", model_hash=""))
    with pytest.raises(TaskStateError, match=f"format version {VERSION + 1}; this program reads {VERSION}"):
        decode(value)


@given(states)
def test_a_copy_shares_nothing_with_the_original(state: TaskState) -> None:
    before = encode(state)
    copy = state.copy()
    copy.network_code("another network")
    copy.positions["actors"] = -7
    copy.seen["targets"]["s"] = 1
    copy.sent[0] = -1
    copy.population.count_changes("decay", 1)
    copy.population.follow(3, None, None)
    assert encode(state) == before


def test_a_network_keeps_the_code_that_it_got_first() -> None:
    state = TaskState(model="1", model_hash="")
    assert [state.network_code(name) for name in ("a", "b", "a")] == [0, 1, 0]
    assert state.counters["b"] == dict.fromkeys(COUNTERS, 0)


def test_one_network_too_many_is_refused() -> None:
    state = TaskState(model="1", model_hash="")
    for number in range(NETWORKS_MAX):
        state.network_code(str(number))
    with pytest.raises(TaskStateError, match="'another' is one too many"):
        state.network_code("another")


def test_a_field_that_a_later_release_adds_does_no_harm() -> None:
    fields = msgspec.msgpack.decode(encode(TaskState(model="1", model_hash="")))
    assert decode(msgspec.msgpack.encode(fields | {"later": 1})).model == "1"


@pytest.mark.parametrize("value", [b"\x81\xa5model\xa1\xff", b"\x81\xa1x" + b"\x91" * 100_000])
def test_text_that_is_none_and_nesting_beyond_the_stack_are_refused(value: bytes) -> None:
    with pytest.raises(TaskStateError, match="cannot be read"):
        decode(value)
