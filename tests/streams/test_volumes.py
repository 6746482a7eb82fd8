from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from schemas.feed_report import BUCKET_MS
from schemas.interaction import CODES, RETRACT_CODE
from schemas.limits import TIME_MS_MAX
from streams.decoders.texts import numbered
from streams.sketches import estimate
from streams.volumes import DENSE_KEYS_MAX, Acts, Slice, volumes_of

REGISTERED = ("west", "east")
SHARE = CODES["share"]
ACTS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from([SHARE, RETRACT_CODE]),
        st.integers(0, 3 * BUCKET_MS) | st.integers(0, TIME_MS_MAX - 1),
        st.sampled_from(["west", "east", "unknown", None]),
        st.sampled_from("abc"),
        st.sampled_from("xyz"),
    ),
    max_size=40,
)
Act = tuple[int, int, int, str | None, str, str]


def acts_of(rows: list[Act]) -> Acts:
    raw, kinds, times, sources, actors, targets = map(list, zip(*rows, strict=True)) if rows else ([],) * 6
    return Acts(
        np.array(raw, np.int64),
        np.array(kinds, np.uint8),
        np.array(times, np.int64),
        numbered(sources),
        numbered(actors),
        numbered(targets),
    )


@given(ACTS, st.sampled_from([(), REGISTERED]))
def test_every_event_is_in_the_volume_of_its_raw_partition_collector_and_time(
    rows: list[Act], registered: tuple[str, ...]
) -> None:
    events: Counter[tuple[int, Slice]] = Counter()
    retracting: Counter[tuple[int, Slice]] = Counter()
    actors: dict[tuple[int, Slice], set[str]] = {}
    targets: dict[tuple[int, Slice], set[str]] = {}
    for raw, kind, time, source, actor, target in rows:
        place = raw, (source if source in registered else "", time // BUCKET_MS * BUCKET_MS)
        events[place] += 1
        retracting[place] += kind == RETRACT_CODE
        actors.setdefault(place, set()).add(actor)
        targets.setdefault(place, set()).update([target] if kind != RETRACT_CODE else [])
    found = {(raw, of): counted for raw, of, counted in volumes_of(acts_of(rows), registered)}
    assert {of: counted.events for of, counted in found.items()} == events
    assert {of: counted.retracting for of, counted in found.items()} == retracting
    assert {of: round(estimate(counted.actors)) for of, counted in found.items()} == {
        of: len(theirs) for of, theirs in actors.items()
    }
    assert {of: round(estimate(counted.targets)) for of, counted in found.items()} == {
        of: len(theirs) for of, theirs in targets.items()
    }


def test_times_far_apart_are_told_apart_as_well() -> None:
    rows: list[Act] = [(0, SHARE, time, None, "a", "x") for time in (0, DENSE_KEYS_MAX * BUCKET_MS, TIME_MS_MAX - 1)]
    assert [of for _, of, _ in volumes_of(acts_of(rows), ())] == [
        ("", time // BUCKET_MS * BUCKET_MS) for _, _, time, *_ in rows
    ]
