"""How much came in, by collector and stretch of event time: counted by column, batch by batch, for `feeds.v1`."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.feed_report import BUCKET_MS, OTHER_SOURCES, Volume
from schemas.interaction import RETRACT_CODE
from schemas.times import format_ms
from streams.decoders.texts import Texts
from streams.packing import renumbering
from streams.sketches import Registers, merged, sketches, take_in

DENSE_KEYS_MAX: Final = 65_536
"""Raw partitions times collectors times stretches of a batch, up to which they are numbered without sorting."""

Slice = tuple[str, int]
"""Collector, and when its stretch of time began, in ms."""


class Acts(NamedTuple):
    """Interactions and retractions of a batch by column, without heartbeats."""

    raw_partition: NDArray[np.int64]
    kind: NDArray[np.uint8]
    time_ms: NDArray[np.int64]
    sources: Texts
    actors: Texts
    targets: Texts


class Counted(NamedTuple):
    """What came of one slice."""

    events: int
    retracting: int
    actors: Registers
    targets: Registers
    """Whom they credit, retractions left out."""

    def plus(self, other: "Counted") -> "Counted":
        """Return both together."""
        actors, targets = merged(self.actors, other.actors), merged(self.targets, other.targets)
        return Counted(self.events + other.events, self.retracting + other.retracting, actors, targets)


def volumes_of(acts: Acts, sources: Sequence[str]) -> Iterator[tuple[int, Slice, Counted]]:
    """Yield the volumes of a batch, each with its raw partition; `sources` are the collectors that are registered.

    >>> from streams.decoders.texts import numbered
    >>> one = np.zeros(1, np.int64)
    >>> texts = numbered(["west"]), numbered(["a"]), numbered(["b"])
    >>> acts = Acts(one, one.astype(np.uint8), one + BUCKET_MS + 7, *texts)
    >>> [(at, of, counted.events) for at, of, counted in volumes_of(acts, ["west"])]
    [(0, ('west', 300000), 1)]
    """
    if not len(acts.kind):
        return
    names = [OTHER_SOURCES, *sources]
    bucket = acts.time_ms // BUCKET_MS
    first = int(bucket.min())
    span = int(bucket.max()) - first + 1
    key = (acts.raw_partition * len(names) + _registered(acts.sources, sources)) * span + (bucket - first)
    keys, group = _numbered(key, (int(acts.raw_partition.max()) + 1) * len(names) * span)
    events = np.bincount(group, minlength=len(keys)).tolist()
    credits_somebody = acts.kind != RETRACT_CODE
    retracting = np.bincount(group[~credits_somebody], minlength=len(keys)).tolist()
    actors, targets = sketches(len(keys)), sketches(len(keys))
    take_in(actors, group, acts.actors.number, acts.actors.hashes)
    take_in(targets, group[credits_somebody], acts.targets.number[credits_somebody], acts.targets.hashes)
    of, stretch = np.divmod(keys, span)
    raw_partition, name = np.divmod(of, len(names))
    begin_ms = (first + stretch) * BUCKET_MS
    # Sketches are rows of the batch's arrays, which is all that these hold.
    for at, number, begin, theirs in zip(
        raw_partition.tolist(),
        name.tolist(),
        begin_ms.tolist(),
        zip(events, retracting, actors, targets, strict=True),
        strict=True,
    ):
        yield at, (names[number], begin), Counted(*theirs)


def _registered(sources: Texts, registered: Sequence[str]) -> Any:
    """Return the number of each row's collector, from 1, and 0 for those that are not registered."""
    if not registered:
        return 0
    numbers = {name.encode(): number for number, name in enumerate(registered, 1)}
    return np.array([numbers.get(name, 0) for name in sources.names], np.int64).take(sources.number)


def _numbered(key: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if size <= DENSE_KEYS_MAX:
        return renumbering(key, size)
    keys, group = np.unique(key, return_inverse=True)
    return keys, group


def volume(of: Slice, counted: Counted) -> Volume:
    """Return what a report says of a slice."""
    source, bucket_ms = of
    return Volume(
        source=source,
        bucket=format_ms(bucket_ms),
        events=counted.events,
        retracting=counted.retracting,
        actors=counted.actors.tobytes(),
        targets=counted.targets.tobytes(),
    )
