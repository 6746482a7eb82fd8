"""Sends single events at a steady rate, as collectors would; everything is encoded before the first is sent.

Reads what to send from standard input, writes what was sent to standard output, both JSON. It is a process of its
own, and takes its share of the machine.
"""

import sys
import time
from typing import Final

import msgspec

from bench.load import Load
from clout.sender import RAW_PRODUCER_OPTIONS
from streams import clients
from streams.settings import KafkaSettings

_SLICE_SECONDS: Final = 0.01


class Pace(msgspec.Struct):
    """What to send."""

    broker: str
    topic: str
    after: Load
    """The events go on after this load."""
    events_per_second: int
    seconds: float


def main() -> None:
    """Send."""
    pace = msgspec.json.decode(sys.stdin.buffer.read(), type=Pace)
    events = int(pace.events_per_second * pace.seconds)
    after = pace.after
    end_ms = int(time.time() * 1000)
    records = list(Load(after.users, "single", after.seed, after.total, events, after.total + events, end_ms).records())
    producer = clients.producer(KafkaSettings(broker=pace.broker), {**RAW_PRODUCER_OPTIONS, "linger.ms": 5})
    begun, sent = time.monotonic(), 0
    while sent < events:
        due = min(events, int((time.monotonic() - begun) * pace.events_per_second))
        for partition, key, value in records[sent:due]:
            producer.produce(pace.topic, value, key, partition)
        sent = due
        producer.poll(0)
        time.sleep(_SLICE_SECONDS)
    producer.flush(30)
    sys.stdout.buffer.write(msgspec.json.encode({"events": sent, "seconds": time.monotonic() - begun}))


if __name__ == "__main__":
    main()
