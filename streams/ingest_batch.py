"""From raw records of one network to packed interactions, dead letters and counts; no Kafka here."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.dead_letter import DeadLetter, Header, encode_headers
from schemas.identity import event_hashes
from schemas.interaction import HEARTBEAT_CODE, RETRACT_CODE
from schemas.packed import INTERACTIONS
from schemas.users import CANARY_PREFIX, CANARY_SOURCE, is_canary
from streams.decoders import Decoder
from streams.decoders.batch import WHOLE, Rejection, originals
from streams.decoders.columns import Columns
from streams.decoders.reader import read
from streams.decoders.texts import Texts
from streams.packing import Rows, cut, groups_of
from streams.volumes import Acts


class Raw(NamedTuple):
    """Raw records of one network; all of one length."""

    topic: str
    values: list[bytes | None]
    headers: list[list[tuple[str, bytes]] | None] | None
    """Only where the network's format needs them."""
    partition: NDArray[np.int64]
    offset: NDArray[np.int64]
    arrival_ms: NDArray[np.int64]


class LaneRecord(NamedTuple):
    """A packed record on its way: it gets its key when it is written."""

    raw_partition: int
    lane_partition: int
    value: bytes


class Letter(NamedTuple):
    """A dead letter: the original bytes, and why."""

    value: bytes | None
    headers: list[Header]


_CANARY_SOURCE: Final = CANARY_SOURCE.encode()


@dataclass(slots=True)
class Progress:
    """How far a raw partition has come with some records; 0 where they say nothing.

    What synthetic accounts do says nothing: it comes from the guard, and not from the network.
    """

    time_ms: int = 0
    """Latest event time or heartbeat."""
    arrival_ms: int = 0
    heartbeats_ms: dict[str, int] = field(default_factory=dict)
    """Last heartbeat of each collector that gives its name."""


class Prepared(NamedTuple):
    """What the records come to."""

    lane: list[LaneRecord]
    letters: list[Letter]
    counts: dict[int, Counter[str]]
    """Events by outcome, for each raw partition."""
    progress: dict[int, Progress]
    """Of each raw partition."""
    acts: Acts


def prepare(raw: Raw, network: str, decoder: Decoder, lane_partitions: int, rows_max: int) -> Prepared:
    """Decode, check, and pack by raw partition and by the actor's lane partition."""
    columns = read(decoder.decode, raw.values, raw.headers, raw.arrival_ms, decoder.read_plain)
    canaries = _canaries(columns, network)
    counts: dict[int, Counter[str]] = {partition: Counter() for partition in present(raw.partition)}
    letters = _letters(raw, columns, counts)
    _count(counts, "read", raw.partition[columns.record])
    progress = _progress(raw, columns, canaries)
    heartbeats = columns.kind == HEARTBEAT_CODE
    if heartbeats.any():
        _count(counts, "heartbeat", raw.partition[columns.record[heartbeats]])
        columns.keep(~heartbeats)
        canaries = canaries - np.cumsum(heartbeats)[canaries]
    from_partition = raw.partition[columns.record]
    acts = _acts(columns, from_partition, canaries)
    retractions = columns.kind == RETRACT_CODE
    if retractions.any():
        _count(counts, "retracting", from_partition[retractions])
        _count(counts, "passed", from_partition[~retractions])
        _address_to_themselves(columns, np.flatnonzero(retractions))
    else:
        _count(counts, "passed", from_partition)
    if not len(columns.kind):
        return Prepared([], letters, counts, progress, acts)
    rows, lane = _rows(raw, columns, network, lane_partitions)
    group = from_partition * lane_partitions + lane
    records = cut(rows, groups_of(group, int(group.max()) + 1), rows_max)
    lane_records = [LaneRecord(*divmod(at, lane_partitions), value) for at, value in records]
    return Prepared(lane_records, letters, counts, progress, acts)


def _canaries(columns: Columns, network: str) -> NDArray[np.intp]:
    """Return the rows of this network's synthetic accounts; those of others' are set aside."""
    if _CANARY_SOURCE not in columns.sources.names:
        return np.empty(0, np.intp)
    own = f"{CANARY_PREFIX}{network}/".encode()
    wanted = np.ones(len(columns.kind), np.bool_)
    by_guard = columns.sources.number == columns.sources.names.index(_CANARY_SOURCE)
    for row in np.flatnonzero(by_guard).tolist():
        users = (texts.names[texts.number[row]] for texts in (columns.actors, columns.targets))
        foreign = [user for user in users if is_canary(user) and not user.startswith(own)]
        if foreign:
            wanted[row] = False
            detail = f"{foreign[0][:40]!r} is none of this network's"
            place = int(columns.record[row]), int(columns.index[row])
            columns.rejected.append(Rejection(*place, "reserved_user", detail))
    if not wanted.all():
        columns.keep(wanted)
        by_guard = by_guard[wanted]
    is_theirs = np.array([is_canary(name) for name in columns.actors.names], np.bool_)
    return np.flatnonzero(by_guard & is_theirs[columns.actors.number])


def _progress(raw: Raw, columns: Columns, canaries: NDArray[np.intp]) -> dict[int, Progress]:
    """Return how far each raw partition has come; heartbeats, which have no rows, are looked at one by one."""
    progress = {partition: Progress() for partition in present(raw.partition)}
    from_partition = raw.partition[columns.record]
    arrival_ms, time_ms = raw.arrival_ms, columns.time_ms
    if len(canaries):
        arrival_ms, time_ms = arrival_ms.copy(), time_ms.copy()
        arrival_ms[columns.record[canaries]] = 0
        time_ms[canaries] = 0
    latest = np.zeros((2, int(raw.partition.max(initial=0)) + 1), np.int64)
    np.maximum.at(latest[0], raw.partition, arrival_ms)
    np.maximum.at(latest[1], from_partition, time_ms)
    for partition, theirs in progress.items():
        theirs.arrival_ms, theirs.time_ms = latest[:, partition].tolist()
    for row in np.flatnonzero(columns.kind == HEARTBEAT_CODE).tolist():
        source = columns.sources.names[columns.sources.number[row]].decode()
        if source:
            heartbeats = progress[int(from_partition[row])].heartbeats_ms
            heartbeats[source] = max(int(columns.time_ms[row]), heartbeats.get(source, 0))
    return progress


def _acts(columns: Columns, from_partition: NDArray[np.int64], canaries: NDArray[np.intp]) -> Acts:
    """Return what people did, without synthetic accounts; heartbeats are gone already.

    Columns are copied only to leave some out. Nobody writes into one: what changes it later puts another in its place.
    """
    sources, actors, targets = columns.sources, columns.actors, columns.targets
    if not len(canaries):
        return Acts(from_partition, columns.kind, columns.time_ms, sources, actors, targets)
    theirs = np.ones(len(columns.kind), np.bool_)
    theirs[canaries] = False
    return Acts(
        from_partition[theirs],
        columns.kind[theirs],
        columns.time_ms[theirs],
        sources._replace(number=sources.number[theirs]),
        actors._replace(number=actors.number[theirs]),
        targets._replace(number=targets.number[theirs]),
    )


def _address_to_themselves(columns: Columns, rows: NDArray[np.intp]) -> None:
    """Give retractions their own actor as target: whom the event credited is known where it was valued."""
    actors, targets = columns.actors, columns.targets
    number = targets.number.copy()
    number[rows] = len(targets.names) + actors.number[rows]
    columns.targets = Texts([*targets.names, *actors.names], number, np.append(targets.hashes, actors.hashes))


def _rows(raw: Raw, columns: Columns, network: str, lane_partitions: int) -> tuple[Rows, NDArray[np.int64]]:
    """Return interactions and retractions as rows, and the lane partition of each."""
    actors, targets, sources = columns.actors, columns.targets, columns.sources
    same = np.empty(0, np.uint32)
    rows = Rows(
        INTERACTIONS,
        [network],
        [name.decode() for name in sources.names],
        actors.names,
        targets.names,
        {
            "actor": actors.number,
            "actor_account": same,
            "target": targets.number,
            "target_account": same,
            "network": np.zeros(len(columns.kind), np.uint8),
            "kind": columns.kind,
            "label": sources.number,
            "time": columns.time_ms,
            "arrival": raw.arrival_ms[columns.record],
            "event_hash": event_hashes(network, actors.hashes.take(actors.number), columns.id_hash),
        },
    )
    return rows, (actors.hashes % np.uint64(lane_partitions)).astype(np.int64).take(actors.number)


def present(partitions: NDArray[np.int64]) -> list[int]:
    """Return the distinct partitions, ascending.

    >>> present(np.array([3, 1, 3]))
    [1, 3]
    """
    return np.flatnonzero(np.bincount(partitions)).tolist()


def _letters(raw: Raw, columns: Columns, counts: dict[int, Counter[str]]) -> list[Letter]:
    letters = []
    for rejection, original in zip(columns.rejected, originals(columns.rejected, raw.values), strict=True):
        at = rejection.record
        partition = int(raw.partition[at])
        counts[partition]["read"] += 1
        counts[partition]["dead_lettered"] += 1
        letter = DeadLetter(
            reason=rejection.reason,
            detail=rejection.detail,
            source_topic=raw.topic,
            source_partition=partition,
            source_offset=int(raw.offset[at]),
            source_time=int(raw.arrival_ms[at]),
            source_index=None if rejection.index == WHOLE else rejection.index,
        )
        theirs = None if raw.headers is None else raw.headers[at]
        letters.append(Letter(original, encode_headers(letter, theirs or ())))
    return letters


def _count(counts: dict[int, Counter[str]], outcome: str, partitions: NDArray[np.int64]) -> None:
    for partition, events in enumerate(np.bincount(partitions).tolist()):
        if events:
            counts[partition][outcome] += events
