"""The ingest role: raw interactions and commands in, packed lane records out, exactly once; without own state.

What it must remember (sequences and counters of each raw partition) travels in the metadata of the offsets that it
commits, in the same transaction as the records. Fetching, decoding and packing of the next batch overlap with the
commit of the last one.
"""

import signal
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.packed import Stamp, encode_key
from streams import feed_reports, topics
from streams.arrivals import arrivals
from streams.clients import KAFKA, Connect, commit, fence
from streams.control import Known, RawCommand, decide
from streams.control_secrets import ControlSecrets
from streams.decoders import Decoder, decoder
from streams.errors import CloutError
from streams.feed import Feed, Partition
from streams.feed_ends import FeedEnds
from streams.feed_lag import FeedLag
from streams.feed_position import COMMAND_OUTCOMES, CONTROL, COUNTERS, decode, encode, source_of
from streams.freezes import Freezes
from streams.http import RoleServer
from streams.ingest_batch import Letter, Prepared, Progress, Raw, prepare, present
from streams.ingest_status import ingest_status
from streams.metrics import IngestMetrics
from streams.names import Names
from streams.process import ended_if_stuck, set_up_garbage_collection
from streams.settings import HttpSettings, IngestSettings, KafkaSettings, LaneSettings, NetworkSettings
from streams.ticks import tick_value
from streams.volumes import volumes_of
from streams.warm_up import load_decoders

_log = structlog.get_logger(__name__)

_REQUEST_SECONDS: Final = 30.0
_COMMIT_SECONDS: Final = 20.0
_COMMIT_RETRIES_MAX: Final = 5
_STUCK_SECONDS: Final = 30.0
"""A commit that has not come back by then hardly will: ingest has no state, so to start it again costs little."""
_OFFSETS_SECONDS: Final = 10.0
_OFFSETS_STUCK_SECONDS: Final = 15.0
"""librdkafka does not keep the time-out, and may wait for ever for a coordinator that is back already
(github.com/confluentinc/librdkafka issues 5456 and 5511)."""
_RETRY_SECONDS: Final = (1.0, 2.0, 5.0, 10.0)
"""Wait before a new attempt after a failure; the last one repeats."""
_QUEUE_RECORDS_MIN: Final = 100_000
_QUEUE_KILOBYTES_MAX: Final = 16_384
"""Fetched ahead of each raw partition."""
_FETCH_BYTES_MIN: Final = 65_536
_FETCH_WAIT_MS: Final = 50
"""A fetch waits this long for that many bytes: fewer requests, and still less than a batch's interval."""


@dataclass(frozen=True, slots=True)
class Work:
    """A batch ready to be committed."""

    lane: list[tuple[int, bytes, bytes]]
    """Lane partition, key, value."""
    letters: list[tuple[str, Letter]]
    """Topic and dead letter."""
    records: list[tuple[str, bytes, bytes]]
    """Topic, key and value of public records of commands, and of reports."""
    offsets: list[TopicPartition]
    group: Any
    counts: list[tuple[str, str, int]]
    told: set[Partition] = field(default_factory=set)
    """Raw partitions of which it has a tick."""


class Ingest:
    """One ingest process."""

    def __init__(
        self,
        *,
        kafka: KafkaSettings,
        lanes: LaneSettings,
        networks: Mapping[str, NetworkSettings],
        model: str,
        settings: IngestSettings,
        secrets: ControlSecrets,
        http: HttpSettings,
        slot: int,
        version: str,
        connect: Connect = KAFKA,
    ) -> None:
        """Check topics and formats and put everything together; `run` starts it."""
        self.kafka, self.settings, self.slot, self.version, self.connect = kafka, settings, slot, version, connect
        self.secrets = secrets
        self.names = Names(kafka.prefix, model)
        topics.require(kafka, topics.specification(self.names, lanes, dict(networks)), connect)
        self.lane_partitions = lanes.partitions
        self.network_of = {self.names.interactions(network): network for network in networks}
        self.network_of[self.names.control] = CONTROL
        self.sources = {name: settings.sources for name, settings in networks.items()}
        self.decoders: dict[str, Decoder] = {name: decoder(settings.format) for name, settings in networks.items()}
        self.metrics = IngestMetrics(networks)
        self.feeds: dict[Partition, Feed] = {}
        self.lag = FeedLag(self.metrics, self.network_of.values())
        self._admin = connect.admin(kafka)
        self.ends = FeedEnds(self._admin, networks, settings.tick_interval_ms / 1000)
        self.freezes = Freezes(kafka, self.names, connect)
        self.stop = threading.Event()
        self.server = RoleServer(http, "ingest")
        self.joined = False
        self._commits = ThreadPoolExecutor(1, "commit")
        self._commit: Future[None] | None = None
        self._uncommitted: set[Partition] = set()
        """Raw partitions whose tick is in the commit under way."""
        self._events_per_record = 1.0

    def run(self) -> None:
        """Work until told to stop; SIGTERM and SIGINT finish the batch in hand, commit and leave."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: self.stop.set())
        load_decoders(self.decoders.values())
        set_up_garbage_collection()
        self.server.start(self.metrics.registry, self.status, lambda: None if self.joined else "joining the group")
        failures = 0
        try:
            while not self.stop.is_set():
                begun = time.monotonic()
                try:
                    self._session()
                except KafkaException as error:
                    if error.args[0].fatal() and error.args[0].code() == KafkaError._FENCED:  # noqa: SLF001
                        _log.warning("another process took this slot's transactional id", slot=self.slot)
                    failures = 0 if time.monotonic() - begun > max(_RETRY_SECONDS) else failures + 1
                    wait = _RETRY_SECONDS[min(failures, len(_RETRY_SECONDS)) - 1]
                    _log.warning(
                        "gave up a transaction, will read again",
                        positions=self._positions(),
                        reason=str(error),
                        retry_seconds=wait,
                    )
                    self.metrics.aborts.inc()
                    self.stop.wait(wait)
        finally:
            self.server.stop()
            self._commits.shutdown()

    # A session: from joining the group to leaving it ---------------------------------------------------------------

    def _session(self) -> None:
        self._producer = self.connect.producer(
            self.kafka,
            {
                "transactional.id": self.names.ingest_transactional_id(self.slot),
                "transaction.timeout.ms": self.settings.transaction_timeout_seconds * 1000,
                "linger.ms": 5,
                "compression.type": "lz4",
                "message.max.bytes": topics.DEAD_LETTER_BYTES_MAX,
            },
        )
        fence(self._producer, _REQUEST_SECONDS)
        self.freezes.open(self.stop.is_set)
        consumer = self.connect.consumer(
            self.kafka,
            {
                "group.id": self.names.ingest_group,
                "client.id": f"clout-ingest@{self.server.address}",
                "enable.partition.eof": True,
                "session.timeout.ms": self.settings.session_timeout_seconds * 1000,
                "heartbeat.interval.ms": 1_000,
                "queued.min.messages": max(_QUEUE_RECORDS_MIN, 4 * self.settings.batch_events_max),
                "queued.max.messages.kbytes": _QUEUE_KILOBYTES_MAX,
                "fetch.min.bytes": _FETCH_BYTES_MIN,
                "fetch.wait.max.ms": _FETCH_WAIT_MS,
            },
        )
        self.feeds = {}
        self._commit, self._uncommitted = None, set()
        consumer.subscribe(list(self.network_of), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)
        try:
            while not self.stop.is_set():
                self._step(consumer)
                self.lag.observe(consumer, self.feeds)
            self._finish_commit()
        finally:
            self.joined = False
            with suppress(KafkaException):
                self._finish_commit()
            self.freezes.close()
            consumer.close()

    def _step(self, consumer: Consumer) -> None:
        """Fetch and prepare the next batch while the last one commits; then hand it over."""
        records_max = max(1, int(self.settings.batch_events_max / self._events_per_record))
        messages = consumer.consume(records_max, self.settings.batch_interval_ms / 1000)
        if self.freezes.poll():
            self._freeze(consumer)
        if self._commit is not None and self._commit.done():
            self._finish_commit()
        with self.metrics.batch_seconds.time():
            work = self._prepare(messages, consumer)
        if work is not None:
            self._finish_commit()
            self._commit, self._uncommitted = self._commits.submit(self._write_in_time, work), work.told
        self.ends.look(self.feeds, self._uncommitted, time.monotonic())

    def _freeze(self, consumer: Consumer) -> None:
        """Stop at networks that are frozen, and go on with those that are not any more."""
        self.freezes.apply(consumer, self.feeds)
        for network in self.sources:
            self.metrics.frozen.labels(network).set(network in self.freezes.frozen)

    def _finish_commit(self) -> None:
        """Wait for the commit under way; raise what it raised."""
        commit, self._commit = self._commit, None
        if commit is not None:
            commit.result()
            self._uncommitted = set()

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Take every partition up where its last commit left it."""
        committed = consumer.committed(partitions, timeout=_REQUEST_SECONDS)
        # Not the consumer's own: within its callbacks that call may end the process (confluent-kafka 2.16).
        known = self._admin.list_topics(timeout=_REQUEST_SECONDS).topics
        for position in committed:
            if position.error is not None:
                raise KafkaException(position.error)
            try:
                outcomes = COMMAND_OUTCOMES if position.topic == self.names.control else COUNTERS
                state = decode(position.metadata, self.lane_partitions, outcomes)
            except ValueError as error:
                raise CloutError(
                    f"the committed offset of {position.topic} [{position.partition}] cannot be used",
                    detail=str(error),
                    hint="only ingest may commit offsets of its group; use another kafka.prefix to begin anew",
                ) from error
            offset = max(position.offset, 0)
            _, end = consumer.get_watermark_offsets(position, timeout=_REQUEST_SECONDS)
            if offset > end:
                raise CloutError(
                    f"{position.topic} [{position.partition}] ends before what ingest has already read",
                    detail=f"it ends at offset {end}, the next would be {offset}: it was truncated, or deleted and "
                    "created again",
                    hint="bring its records back from a replica or backup, or start anew under another kafka.prefix",
                )
            network = self.network_of[position.topic]
            for source in state.heartbeats_ms.keys() - set(self.sources.get(network, ())):
                del state.heartbeats_ms[source]
            # The first tick and report take their time too, so that a session that ends at once tells nothing.
            now = time.monotonic()
            feed = Feed(network, offset, state, len(known[position.topic].partitions), told_at=now, reported_at=now)
            self.feeds[position.topic, position.partition] = feed
            position.offset = offset
        consumer.assign([TopicPartition(p.topic, p.partition, p.offset) for p in committed])
        self._freeze(consumer)
        self.joined = True
        _log.info("assigned", positions=self._positions())

    def _positions(self) -> dict[str, int]:
        """Return where each raw partition is read, by its source name."""
        return {source_of(feed.network, number): feed.position for (_, number), feed in self.feeds.items()}

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Finish the commit in hand before others take over."""
        with suppress(KafkaException):
            if self._commit is not None:
                self._commit.exception()
        self._lost(consumer, partitions)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            feed = self.feeds.pop((partition.topic, partition.partition), None)
            if feed is not None:
                self.freezes.let_go(consumer, partition, feed)

    # A batch -------------------------------------------------------------------------------------------------------

    def _prepare(self, messages: list[Message], consumer: Consumer) -> Work | None:
        work = Work([], [], [], [], consumer.consumer_group_metadata(), [])
        good = messages
        if any(map(Message.error, messages)):
            good = [message for message in messages if message.error() is None]
        moved: set[Partition] = set()
        for topic, theirs in self._by_topic(good).items():
            prepare_topic = self._prepare_commands if topic == self.names.control else self._prepare_topic
            moved |= prepare_topic(topic, theirs, work)
        if len(good) < len(messages):
            moved |= self._reach_ends(message for message in messages if message.error() is not None)
        now, interval_seconds = time.monotonic(), self.settings.tick_interval_ms / 1000
        self._tell(work, now, interval_seconds)
        moved |= work.told
        moved |= feed_reports.urgent(self.feeds, now, interval_seconds)
        if moved:
            reports = feed_reports.due(self.feeds, now, interval_seconds, int(time.time() * 1000))
            work.records.extend((self.names.feeds, key, value) for key, value in reports)
        for topic, partition in moved:
            feed = self.feeds[topic, partition]
            work.offsets.append(TopicPartition(topic, partition, feed.position, encode(feed.state)))
        return work if moved else None

    def _tell(self, work: Work, now: float, interval_seconds: float) -> None:
        """Add a tick of every raw partition that has news and did not tell just now."""
        for (topic, partition), feed in self.feeds.items():
            tick = feed.news(partition, now, interval_seconds)
            if tick is None:
                continue
            value = tick_value(tick)
            for lane in range(self.lane_partitions):
                work.lane.append((lane, self._next_key(feed.network, partition, feed, lane), value))
            work.told.add((topic, partition))

    def _reach_ends(self, messages: Iterable[Message]) -> set[Partition]:
        """Move positions to the ends reached (control records take offsets too); raise errors that are none."""
        moved = set()
        for message in messages:
            error = message.error()
            if error is None or error.retriable():
                continue
            if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  the client has no public name for it
                raise KafkaException(error)
            at, end = (message.topic() or "", message.partition() or 0), message.offset() or 0
            feed = self.feeds.get(at)
            if feed is None or feed.frozen:
                continue
            feed.end = end
            feed.at_end = end >= feed.position
            if end > feed.position:
                feed.position = end
                moved.add(at)
        return moved

    def _by_topic(self, messages: list[Message]) -> dict[str, list[Message]]:
        topics_met = list(map(Message.topic, messages))
        if topics_met and topics_met.count(topics_met[0]) == len(topics_met):
            return {topics_met[0] or "": messages}
        groups: dict[str, list[Message]] = {}
        for topic, message in zip(topics_met, messages, strict=True):
            groups.setdefault(topic or "", []).append(message)
        return groups

    def _prepare_topic(self, topic: str, messages: list[Message], work: Work) -> set[Partition]:
        """Pack one topic's records into `work`; return the partitions that moved."""
        network = self.network_of[topic]
        decoder_ = self.decoders[network]
        partition = np.fromiter(map(Message.partition, messages), np.int64, len(messages))
        offset = np.fromiter(map(Message.offset, messages), np.int64, len(messages))
        current = self._current(topic, partition, offset)
        if not current.all():
            messages = [message for message, keep in zip(messages, current.tolist(), strict=True) if keep]
            partition, offset = partition[current], offset[current]
            if not messages:
                return set()
        arrival = arrivals(messages, partition)
        values = list(map(Message.value, messages))
        headers = [message.headers() for message in messages] if decoder_.needs_headers else None
        raw = Raw(topic, values, headers, partition, offset, arrival)  # type: ignore[arg-type]
        prepared = prepare(raw, network, decoder_, self.lane_partitions, self.settings.record_rows_max)
        moved = set()
        for number in present(partition):
            feed = self.feeds[topic, number]
            feed.position = int(offset[partition == number].max()) + 1
            feed.at_end = False
            moved.add((topic, number))
            self._come_along(feed, prepared.progress[number])
        for number, of, counted in volumes_of(prepared.acts, self.sources[network]):
            self.feeds[topic, number].count(of, counted)
        self._stamp(topic, network, prepared, work)
        events = sum(counts["read"] for counts in prepared.counts.values())
        self._events_per_record += (max(1.0, events / len(messages)) - self._events_per_record) / 2
        return moved

    def _come_along(self, feed: Feed, progress: Progress) -> None:
        """Note how far a raw partition has come; of collectors, those that the configuration knows."""
        state = feed.state
        state.time_ms = max(state.time_ms, progress.time_ms)
        state.arrival_ms = max(state.arrival_ms, progress.arrival_ms)
        for source in progress.heartbeats_ms.keys() & set(self.sources[feed.network]):
            state.heartbeats_ms[source] = max(progress.heartbeats_ms[source], state.heartbeats_ms.get(source, 0))

    def _prepare_commands(self, topic: str, messages: list[Message], work: Work) -> set[Partition]:
        """Judge what came as commands into `work`; every partition of the actors lane gets those accepted."""
        feed = self.feeds.get((topic, 0))
        if feed is None:
            return set()
        raw = [RawCommand(of.value(), of.offset() or 0, of.timestamp()[1]) for of in messages]
        raw = [command for command in raw if command.offset >= feed.position]
        if not raw:
            return set()
        decided = decide(raw, topic, self.secrets, feed.state.issued_ms, Known(self.sources, self.lane_partitions))
        for value in decided.lane:
            for lane in range(self.lane_partitions):
                work.lane.append((lane, self._next_key(CONTROL, 0, feed, lane), value))
        work.records.extend((self.names.control_record, key, record) for key, record in decided.records)
        work.letters.extend((self.names.control_dead_letters, letter) for letter in decided.letters)
        self._count(feed, decided.counts, work)
        feed.position = raw[-1].offset + 1
        return {(topic, 0)}

    def _current(self, topic: str, partition: Any, offset: Any) -> Any:
        """Return which records belong to partitions that are read now and were not taken before."""
        keep = np.zeros(len(partition), np.bool_)
        for number in present(partition):
            feed = self.feeds.get((topic, number))
            if feed is not None and not feed.frozen:
                keep |= (partition == number) & (offset >= feed.position)
        return keep

    def _stamp(self, topic: str, network: str, prepared: Prepared, work: Work) -> None:
        """Number the records by source and lane partition, and add everything to the batch."""
        for raw_partition, lane, value in prepared.lane:
            feed = self.feeds[topic, raw_partition]
            work.lane.append((lane, self._next_key(network, raw_partition, feed, lane), value))
        work.letters.extend((self.names.dead_letters(network), letter) for letter in prepared.letters)
        for raw_partition, counts in prepared.counts.items():
            self._count(self.feeds[topic, raw_partition], counts, work)

    def _next_key(self, network: str, raw_partition: int, feed: Feed, lane: int) -> bytes:
        feed.state.sent[lane] += 1
        return encode_key(Stamp(source_of(network, raw_partition), feed.state.sent[lane]))

    def _count(self, feed: Feed, counts: Mapping[str, int], work: Work) -> None:
        for outcome, events in counts.items():
            feed.state.counters[outcome] += events
            work.counts.append((feed.network, outcome, events))

    def _write_in_time(self, work: Work) -> None:
        with ended_if_stuck("a commit of ingest", _STUCK_SECONDS):
            self._write(work)

    def _write(self, work: Work) -> None:
        """Commit a batch: lane records, dead letters and offsets in one transaction. Runs in the commit thread."""
        producer, begun = self._producer, time.perf_counter()
        producer.begin_transaction()
        for lane, key, value in work.lane:
            producer.produce(self.names.actors_lane, value, key, partition=lane)
        for topic, letter in work.letters:
            producer.produce(topic, letter.value, headers=letter.headers)
        for topic, public_key, record in work.records:
            producer.produce(topic, record, public_key)
        with ended_if_stuck("sending offsets to a transaction", _OFFSETS_STUCK_SECONDS):
            producer.send_offsets_to_transaction(work.offsets, work.group, _OFFSETS_SECONDS)
        commit(producer, _COMMIT_SECONDS, retries_max=_COMMIT_RETRIES_MAX)
        self.metrics.commit_seconds.observe(time.perf_counter() - begun)
        for network, outcome, events in work.counts:
            self.metrics.count(network, outcome, events)

    # What others ask -----------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Return what /v1/status shows."""
        return ingest_status(self.feeds.copy(), self.freezes.frozen, self.server.address, self.version)
