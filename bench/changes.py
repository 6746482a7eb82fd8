"""Score changes that benchmarks of the gateway send: as the workers write them, with the reasons that they have.

A change is JSON of about 450 bytes with the headers of an event. Users are drawn evenly, which is the hardest for the
gateway: hardly any two changes of a batch are of one user.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from confluent_kafka import Producer

from bench.load import NETWORK
from bench.site import Installation
from schemas.change import Headers, change_headers
from schemas.times import format_ms
from schemas.users import partition_of
from streams import clients

_SOURCE: Final = b"/clout/1"
_DRAWN: Final = 100_000
PATTERN: Final = (
    b'{"user":"%b","sequence":%d,"score":%.1f,"previous":%.1f,"subscores":{"reach":%.1f,"amplification":%.1f,'
    b'"network":%.1f},"networks":{"' + NETWORK.encode() + b'":%.1f},"as_of":"%b","cause":"interaction","model":"1",'
    b'"reference":"%d","reasons":[{"actor":"twitter:%d","network":"' + NETWORK.encode() + b'","events":1,'
    b'"granted":0.48221},{"actor":"twitter:%d","network":"' + NETWORK.encode() + b'","events":2,"granted":0.21004}]}'
)
"""`reference` is when it was written, in microseconds since 1970: its receiver knows how long it was on its way."""


@dataclass
class Changes:
    """Changes of so many users, whose sequences go on from `sequence`."""

    users: int
    partitions: int
    seed: int
    sequence: int = 0
    _sequences: dict[int, int] = field(default_factory=dict)

    def of_everyone(self) -> Iterator[tuple[int, bytes, bytes, Headers]]:
        """Yield a change of each user: partition, key, value, headers."""
        for user in range(self.users):
            yield self._change(user, user % 990 / 10 + 1)

    def at_random(self) -> Iterator[tuple[int, bytes, bytes, Headers]]:
        """Yield changes of users drawn evenly, for ever."""
        chance = np.random.default_rng(self.seed)
        while True:
            users, scores = chance.integers(0, self.users, _DRAWN), chance.uniform(1, 100, _DRAWN)
            for user, score in zip(users.tolist(), scores.tolist(), strict=True):
                yield self._change(user, score)

    def _change(self, number: int, score: float) -> tuple[int, bytes, bytes, Headers]:
        user = user_id(number)
        sequence = self._sequences[number] = self._sequences.get(number, self.sequence) + 1
        now = time.time()
        as_of = format_ms(int(now * 1000)).encode()
        parts = score, score / 2 + 1, score, score, score, score
        value = PATTERN % (user.encode(), sequence, *parts, as_of, int(now * 1e6), number + 1, number + 2)
        key = user.encode()
        return partition_of(key, self.partitions), key, value, change_headers(user, sequence, _SOURCE)


def user_id(number: int) -> str:
    """Return the id of a user."""
    return f"{NETWORK}:{number}"


def produce(producer: Producer, topic: str, change: tuple[int, bytes, bytes, Headers]) -> None:
    """Queue a change, waiting while the queue is full."""
    partition, key, value, headers = change
    while True:
        try:
            producer.produce(topic, value, key, partition, headers=headers)
        except BufferError:
            producer.poll(0.1)
        else:
            return


@contextmanager
def hidden(installation: Installation) -> Iterator[Producer]:
    """Yield a producer whose changes are seen at the end, all at once: readers take what is committed only."""
    options = {"transactional.id": f"bench-changes-{time.time_ns()}", "transaction.timeout.ms": 900_000}
    producer = clients.producer(installation.kafka, {**options, "linger.ms": 20, "compression.type": "lz4"})
    producer.init_transactions(30)
    producer.begin_transaction()
    yield producer
    producer.flush(120)
    producer.commit_transaction(30)
