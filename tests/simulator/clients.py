"""Clients of the log in memory, with as much of confluent-kafka's interface as the code under test uses.

Every call that a process could die in passes a named point first; `Probe` decides there whether it dies.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, Final

from confluent_kafka import KafkaError, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import ConfigResource  # type: ignore[attr-defined]

from streams.clients import Options
from streams.store import META_KEY
from tests.simulator.log import Entry, Headers, Log, Place, Transaction, failure

Probe = Callable[[str], None]
"""Called with the name of the point that a process passes."""

_APPEND_TIME: Final = 2
_SHORT_FETCH_RECORDS: Final = 100
_TRIES_LEFT_FOR_EVER: Final = 1_000
_FULL_SHARE: Final = 1 / 4
"""Of the records written while the queue is to be full: how many find it so."""


class Producer:
    """A transactional producer."""

    def __init__(self, log: Log, options: Options, probe: Probe, points: dict[str, str]) -> None:
        """Begin; `points` names the point that is passed by writing to a topic."""
        self.log, self.probe, self.points = log, probe, points
        self.owner: str = options["transactional.id"]
        self.timeout_ms: int = options["transaction.timeout.ms"]
        self.epoch = -1
        self.transaction: Transaction | None = None
        self.trouble = ""
        """What goes wrong with the next commit, see `commit_transaction`."""
        self._held: list[tuple[Place, tuple[bytes | None, bytes | None, Headers]]] | None = None
        """Records that are still in the client's queue; None when they go out at once."""
        self._tries_left = 0

    def list_topics(self, *, timeout: float) -> None:
        """Connect: there is nothing to connect to."""

    def init_transactions(self, _seconds: float = 0) -> None:
        """Fence the former owner."""
        self.probe("fence")
        self.epoch = self.log.fence(self.owner)
        self.probe("fenced")

    def begin_transaction(self) -> None:
        """Begin a transaction."""
        self.probe("begin")
        self.transaction = self.log.begin(self.owner, self.epoch, self.timeout_ms)
        self._held = [] if self.log.random.random() < 1 / 2 else None

    def produce(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int = 0,
        _callback: None = None,
        _on_delivery: None = None,
        _timestamp: int = 0,
        headers: Headers | dict[str, str | bytes | None] = None,
    ) -> None:
        """Write a record."""
        self.probe(self._point(topic, key))
        if self.trouble == "queue full" and self.log.random.random() < _FULL_SHARE:
            self.trouble = ""
            raise BufferError("Local: Queue full")
        # As the client does: its caller may go on with the same dict.
        copied = list(headers.items() if isinstance(headers, dict) else headers or ())
        self._write((topic, partition), (key, value, copied or None))

    def send_offsets_to_transaction(
        self, offsets: Iterable[TopicPartition], group: tuple[str, int], _seconds: float = 0
    ) -> None:
        """Move a group's positions with the transaction."""
        self.probe("offsets")
        self.log.check(self.owner, self.epoch)
        name, generation = group
        if generation != self.log.generations[name]:
            raise failure(KafkaError.ILLEGAL_GENERATION, "the group has moved on", abort=True)
        assert self.transaction is not None
        for at in offsets:
            self.transaction.offsets[name, (at.topic, at.partition)] = (at.offset, at.metadata or "")

    def commit_transaction(self, _seconds: float = 0) -> None:
        """Commit; or fail as `trouble` says.

        "unanswered": the request is lost, again and again; "answer lost": the commit is done and nobody knows; both
        a few times or for ever; "refused": it must be aborted.
        """
        self.probe("commit")
        kind, _, more = self.trouble.partition(", ")
        if kind == "refused":
            self.trouble = ""
            raise failure(KafkaError.INVALID_TXN_STATE, "the transaction must be aborted", abort=True)
        if kind and not self._tries_left:
            self._tries_left = _TRIES_LEFT_FOR_EVER if more else self.log.random.randint(2, 4)
        if kind != "unanswered" or self._tries_left == 1:
            self._flush()
            self.log.commit(self.owner, self.epoch)
        if self._tries_left:
            self._tries_left -= 1
            if self._tries_left:
                raise failure(KafkaError._TIMED_OUT, "no answer", retriable=True)
            self.trouble = ""
        self.transaction = None
        self.probe("committed")

    def _point(self, topic: str, key: bytes | None) -> str:
        return self.points.get(f"{topic} {'record' if key == META_KEY else 'rows'}") or self.points.get(topic, topic)

    def _write(self, place: Place, message: tuple[bytes | None, bytes | None, Headers]) -> None:
        if self._held is not None:
            self._held.append((place, message))
        else:
            self._append(place, message)

    def _flush(self) -> None:
        for place, message in self._held or []:
            self._append(place, message)
        self._held = None

    def _append(self, place: Place, message: tuple[bytes | None, bytes | None, Headers]) -> None:
        transaction = self.transaction
        if transaction is None or self.log.open.get(self.owner) is not transaction:
            return  # A fenced producer's records are refused; its commit says so.
        transaction.unmarked.add(place)
        self.log.at(place).append(message, self.log.now_ms, transaction)


class Consumer:
    """A reader; one that was given a group's name also knows its positions."""

    def __init__(self, log: Log, options: Options) -> None:
        self.log = log
        self.group: str = options.get("group.id", "")
        self.committed_only = options.get("isolation.level", "read_committed") == "read_committed"
        self.tells_ends = options.get("enable.partition.eof", False)
        self.positions: dict[Place, int] = {}
        self.paused: set[Place] = set()
        """Also of partitions that are not assigned: a pause outlives an assignment, as with the real one."""
        self.generation = 0
        """Of the group, as this member has heard."""

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        """Read these partitions from the offsets given; what is paused stays so."""
        self.positions = {(at.topic, at.partition): max(at.offset, 0) for at in partitions}

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Read no more of these."""
        self.paused |= {(at.topic, at.partition) for at in partitions}

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """Read them again."""
        self.paused -= {(at.topic, at.partition) for at in partitions}

    def seek(self, at: TopicPartition) -> None:
        """Read on from there."""
        self.positions[at.topic, at.partition] = at.offset

    def consume(self, records_max: int = 1, _seconds: float = 0) -> list[Message]:
        """Return what comes next, at most as much as a fetch happens to bring, and an end where one is reached."""
        messages: list[Message] = []
        room = records_max
        if self.log.random.random() < 1 / 2:
            room = self.log.random.randint(1, min(records_max, _SHORT_FETCH_RECORDS))
        for place, position in self.positions.items():
            if place in self.paused:
                continue
            partition = self.log.at(place)
            entries, self.positions[place] = partition.read(
                max(position, partition.begin), room, committed=self.committed_only
            )
            messages += [message(place, entry) for entry in entries]
            room -= len(entries)
            if self.tells_ends and self.positions[place] >= self.end_of(place):
                end = KafkaError(KafkaError._PARTITION_EOF)
                messages.append(Message(topic=place[0], partition=place[1], offset=self.positions[place], error=end))
            if not room:
                break
        return messages

    def end_of(self, place: Place) -> int:
        """Return the offset after the last record that this reader may see."""
        partition = self.log.at(place)
        return partition.stable_end if self.committed_only else partition.end

    def committed(self, partitions: Sequence[TopicPartition], timeout: float = 0) -> list[TopicPartition]:
        """Return the group's positions."""
        del timeout
        found = self.log.committed(self.group, [(at.topic, at.partition) for at in partitions])
        return [
            TopicPartition(at.topic, at.partition, *found.get((at.topic, at.partition), (-1001, "")))
            for at in partitions
        ]

    def get_watermark_offsets(self, at: TopicPartition, timeout: float = 0, cached: bool = False) -> tuple[int, int]:  # noqa: FBT002
        """Return the first offset and the one after the last."""
        del timeout, cached
        place = (at.topic, at.partition)
        return self.log.at(place).begin, self.end_of(place)

    def list_topics(self, topic: str, timeout: float = 0) -> Any:
        """Return a topic's partitions."""
        del timeout
        partitions = dict.fromkeys(range(len(self.log.topics[topic])))
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=partitions)})

    def consumer_group_metadata(self) -> tuple[str, int]:
        """Return what a transaction needs to know of the group."""
        return self.group, self.generation

    def close(self) -> None:
        """Leave."""
        self.positions = {}


class Admin:
    """As much of the admin client as the start of a role takes."""

    def __init__(self, log: Log) -> None:
        self.log = log

    def list_topics(self, timeout: float = 0) -> Any:
        """Return all topics with their partitions."""
        del timeout
        topics = self.log.topics.items()
        return SimpleNamespace(topics={name: SimpleNamespace(partitions=parts) for name, parts in topics})

    def list_offsets(self, places: Iterable[TopicPartition], **_options: Any) -> dict[TopicPartition, Future[Any]]:
        """Return where partitions end, with what is not decided yet."""
        ends = {place: self.log.at((place.topic, place.partition)).end for place in places}
        return {place: _done(SimpleNamespace(offset=end)) for place, end in ends.items()}

    def describe_configs(self, resources: Iterable[ConfigResource]) -> dict[Any, Future[Any]]:
        """Return what topics were created with."""
        configs = self.log.configs
        return {
            of: _done({key: SimpleNamespace(value=value) for key, value in configs[of.name].items()})
            for of in resources
        }

    def describe_topics(self, topics: TopicCollection) -> dict[str, Future[Any]]:
        """Return topics' ids: here their names, since none is made anew."""
        return {name: _done(SimpleNamespace(topic_id=f"id of {name}")) for name in topics.topic_names}


def message(place: Place, entry: Entry) -> Message:
    """Return a record as a reader gets it."""
    return Message(
        topic=place[0],
        partition=place[1],
        offset=entry.offset,
        key=entry.key,
        value=entry.value,
        headers=entry.headers,
        timestamp=(_APPEND_TIME, entry.time_ms),
    )


def _done(result: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(result)
    return future
