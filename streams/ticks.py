"""Ticks, by which ingest tells every task how far each raw partition has come, and clocks, by which tasks tell others.

Both travel in the lanes, behind the rows that they speak of; and so do releases, by which an operator lets a clock go
on without a collector.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from schemas.packed import CLOCKS, COLUMNS, RELEASES, TICKS, Record, encode


class Tick(NamedTuple):
    """How far one raw partition of a network has come."""

    network: str
    raw_partition: int
    raw_partitions: int
    """How many the network has."""
    time_ms: int
    """Latest event time or heartbeat read; 0 when there was none."""
    arrival_ms: int
    """Latest arrival read."""
    at_end: bool
    """Whether it was seen, after the tick before was written, that everything had been read that had come."""
    heartbeats_ms: Mapping[str, int]
    """Last heartbeat that each registered collector sent to this raw partition."""


def tick_value(tick: Tick) -> bytes:
    """Return the packed record of a tick.

    >>> tick = Tick("twitter", 2, 4, 7, 9, True, {"west": 5})
    >>> from schemas.packed import decode
    >>> ticks_of([decode(tick_value(tick))]) == [tick]
    True
    """
    times = [tick.time_ms, *tick.heartbeats_ms.values()]
    size = len(times)
    columns: dict[str, Sequence[int]] = {
        "network": [0] * size,
        "label": list(range(size)),
        "raw_partition": [tick.raw_partition] * size,
        "raw_partitions": [tick.raw_partitions] * size,
        "time": times,
        "arrival": [tick.arrival_ms] * size,
        "at_end": [tick.at_end] * size,
    }
    return _encoded(TICKS, [tick.network], ["", *tick.heartbeats_ms], columns)


def ticks_of(records: Sequence[Record]) -> list[Tick]:
    """Return the ticks of packed records, in order."""
    ticks = []
    for record in records:
        columns = {name: column.tolist() for name, column in record.columns.items()}
        heartbeats: dict[str, int] = {}
        for row in range(record.rows):
            source = record.labels[columns["label"][row]]
            if source:
                heartbeats[source] = columns["time"][row]
                continue
            heartbeats = {}  # The collectors of a raw partition follow it.
            tick = Tick(
                record.networks[columns["network"][row]],
                columns["raw_partition"][row],
                columns["raw_partitions"][row],
                columns["time"][row],
                columns["arrival"][row],
                bool(columns["at_end"][row]),
                heartbeats,
            )
            ticks.append(tick)
    return ticks


def release_value(network: str, source: str) -> bytes:
    """Return the packed record that releases a collector.

    >>> from schemas.packed import decode
    >>> releases_of(decode(release_value("twitter", "west")))
    [('twitter', 'west')]
    """
    return _encoded(RELEASES, [network], [source], {"network": [0], "label": [0]})


def releases_of(record: Record) -> list[tuple[str, str]]:
    """Return networks and collectors that a packed record releases, in order."""
    networks, labels = record.columns["network"].tolist(), record.columns["label"].tolist()
    return [(record.networks[of], record.labels[name]) for of, name in zip(networks, labels, strict=True)]


def clocks_value(clocks_ms: Mapping[str, int]) -> bytes:
    """Return the packed record of a task's clocks, by network.

    >>> from schemas.packed import decode
    >>> clocks_of(decode(clocks_value({"twitter": 7})))
    {'twitter': 7}
    """
    columns = {"network": list(range(len(clocks_ms))), "time": list(clocks_ms.values())}
    return _encoded(CLOCKS, list(clocks_ms), [], columns)


def clocks_of(record: Record) -> dict[str, int]:
    """Return the clocks that a packed record tells, in ms by network."""
    networks, times = record.columns["network"].tolist(), record.columns["time"].tolist()
    return {record.networks[network]: time for network, time in zip(networks, times, strict=True)}


def _encoded(kind: str, networks: list[str], labels: list[str], columns: Mapping[str, Sequence[int]]) -> bytes:
    arrays = {name: np.array(columns[name], type_) for name, type_ in COLUMNS[kind].items()}
    return encode(Record(kind, len(arrays["network"]), networks, labels, [], [], arrays))
