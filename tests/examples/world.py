"""A change topic with a known truth: written in transactions as workers write it, some of which are aborted."""

import random
import secrets
from typing import Final

from schemas.change import Cause, Subscores, change_headers, encode_change
from schemas.users import partition_of
from streams import clients, topics
from streams.names import Names
from streams.settings import KafkaSettings, LaneSettings

BEGIN_MS: Final = 1_750_000_000_000
USERS: Final = 300
CHANGES_OF_A_BATCH: Final = 200
_PARTS: Final = Subscores(30.0, 25.0, 20.0)


class World:
    """Users whose scores move, are lost, forgotten and begin again."""

    def __init__(self, kafka: KafkaSettings, seed: int = 1) -> None:
        """Make the topic, with the settings that the real one has."""
        self.topic = Names(kafka.prefix, "1").changes
        self.partitions = LaneSettings().partitions
        specs = topics.specification(Names(kafka.prefix, "1"), LaneSettings(), {})
        topics.make(clients.admin(kafka), [spec for spec in specs if spec.name == self.topic], 1)
        self._random = random.Random(seed)
        self._producer = clients.producer(kafka, {"transactional.id": secrets.token_hex(8)})
        self._producer.init_transactions(20)
        self._sequences: dict[str, int] = {}
        self.truth: dict[str, tuple[int, float | None]] = {}
        """Sequence and score of every user who is known, by what was committed."""
        self.forgotten: set[str] = set()

    def batch(self, *, changes: int = CHANGES_OF_A_BATCH) -> None:
        """Commit a batch of changes; now and then one that comes to nothing goes before it."""
        if self._random.random() < 0.3:
            self._producer.begin_transaction()
            for _ in range(20):
                user = self._any_user()
                self.write(user, self._sequences.get(user, 0) + 1, 99.9, None)
            self._producer.flush()
            self._producer.abort_transaction(20)
        self._producer.begin_transaction()
        for _ in range(changes):
            self._move(self._any_user())
        self._producer.commit_transaction(20)

    def commit(self, *changes: tuple[str, int, float | None, float | None], timestamp_ms: int = 0) -> None:
        """Commit changes as they are given: user, sequence, score, and the score before."""
        self._producer.begin_transaction()
        for user, sequence, score, previous in changes:
            self.write(user, sequence, score, previous, timestamp_ms=timestamp_ms)
        self._producer.commit_transaction(20)

    def write(
        self,
        user: str,
        sequence: int,
        score: float | None,
        previous: float | None,
        cause: Cause = "interaction",
        timestamp_ms: int = 0,
    ) -> None:
        """Write one change into the transaction that is open."""
        parts, networks = (None, {}) if score is None else (_PARTS, {"twitter": score})
        value = encode_change(user, sequence, score, previous, parts, networks, BEGIN_MS + sequence, cause, "1")
        self._produce(user, value, change_headers(user, sequence, b"/clout/1"), timestamp_ms)

    def _produce(self, user: str, value: bytes | None, headers: list[tuple[str, str | bytes | None]], at: int) -> None:
        key = user.encode()
        place = partition_of(key, self.partitions)
        self._producer.produce(self.topic, value, key, partition=place, headers=headers, timestamp=at)

    def _any_user(self) -> str:
        return f"twitter:{self._random.randrange(USERS)}"

    def _move(self, user: str) -> None:
        previous = self.truth.get(user, (0, None))[1]
        sequence = self._sequences[user] = self._sequences.get(user, 0) + 1
        what = self._random.random()
        if user in self.truth and what < 0.02:
            self.write(user, sequence, None, previous, "forget")
            self._produce(user, None, [], 0)
            del self.truth[user]
            self.forgotten.add(user)
            return
        if previous is not None and what < 0.05:
            self.write(user, sequence, None, previous, "retraction")
            self.truth[user] = (sequence, None)
            return
        score = self._random.randrange(10, 1000) / 10
        self.write(user, sequence, score, previous)
        self.truth[user] = (sequence, score)
        self.forgotten.discard(user)
