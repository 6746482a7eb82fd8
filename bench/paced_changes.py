"""Sends score changes at a steady rate, in a process of its own; reads what to send from standard input, as JSON."""

import sys
import time
from typing import Final

import msgspec

from bench.changes import Changes, produce
from streams import clients
from streams.settings import KafkaSettings

_SLICE_SECONDS: Final = 0.005


class Pace(msgspec.Struct):
    """What to send."""

    broker: str
    topic: str
    partitions: int
    users: int
    sequence: int
    changes_per_second: int
    seconds: float


def main() -> None:
    """Send."""
    pace = msgspec.json.decode(sys.stdin.buffer.read(), type=Pace)
    changes = Changes(pace.users, pace.partitions, pace.sequence, pace.sequence).at_random()
    producer = clients.producer(KafkaSettings(broker=pace.broker), {"linger.ms": 2, "compression.type": "lz4"})
    begun, sent = time.monotonic(), 0
    while (now := time.monotonic() - begun) < pace.seconds:
        due = int(now * pace.changes_per_second)
        for _ in range(sent, due):
            produce(producer, pace.topic, next(changes))
        sent = max(sent, due)
        producer.poll(0)
        time.sleep(_SLICE_SECONDS)
    producer.flush(30)


if __name__ == "__main__":
    main()
