"""Takes readings of progress: asks Kafka how far ingest is, and the workers how far their stages are."""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TypeVar

import httpx
import msgspec
from confluent_kafka import Consumer, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin._listoffsets import OffsetSpec

from streams import clients
from streams.discovery import RoleMember, members
from streams.errors import CloutError
from streams.feed_position import CONTROL, FeedPosition, decode
from streams.names import Names
from streams.progress import RUNNING, Feed, Reading
from streams.retract_position import RetractPosition
from streams.retract_position import decode as decode_retract
from streams.settings import KafkaSettings
from streams.status import FreezeStatus, GuardStatus, IngestStatus, TaskStatus, WorkerStatus
from streams.task_state import ACTORS, TARGETS

Status = TypeVar("Status", WorkerStatus, IngestStatus, GuardStatus)

KAFKA_TIMEOUT_SECONDS = 10.0
REBALANCE_TIMEOUT_SECONDS = 30.0
HTTP_TIMEOUT_SECONDS = 5.0
NO_REBALANCE_SECONDS = 2.0
"""Wait for a group of which it is enough to know what it says now."""
_NAP_SECONDS = 0.02


class ProgressReader:
    """Takes readings of one installation; keeps its connections between them."""

    def __init__(
        self,
        kafka: KafkaSettings,
        names: Names,
        networks: Iterable[str],
        lane_partitions: int,
        *,
        answer_seconds_max: float = HTTP_TIMEOUT_SECONDS,
    ) -> None:
        """Connect to the broker; `networks` are those whose feeds count. A role that takes longer has not answered."""
        self._kafka, self._admin = kafka, clients.admin(kafka)
        self._askers: dict[tuple[str, bool], Consumer] = {}
        """By group, and whether to wait for what a transaction holds back: who asks for committed positions."""
        self._names = names
        self._networks = list(networks)
        self._lane_partitions = lane_partitions
        self._http = httpx.Client(timeout=answer_seconds_max)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        for asker in self._askers.values():
            asker.close()

    def read(self, *, timeout_seconds: float = REBALANCE_TIMEOUT_SECONDS) -> Reading:
        """Take a reading. Raises `CloutError` if no worker runs or Kafka does not answer."""
        feeds = self.feeds()
        taking_back = self.taking_back().sent
        frozen = self.frozen() if any(feed.records_behind for feed in feeds) else {}
        workers = self.workers(timeout_seconds)
        actors = tasks_by_partition(self.worker_statuses(workers))
        targets = tasks_by_partition(self.worker_statuses(workers))
        return Reading(
            feeds=feeds,
            actors=actors,
            targets=targets,
            lane_partitions=self._lane_partitions,
            frozen=frozen,
            taking_back=taking_back,
        )

    def frozen(self) -> dict[str, FreezeStatus]:
        """Ask ingest which networks are frozen; while no ingest process answers, none is known to be."""
        with suppress(CloutError):
            return frozen_networks(self.ingest_statuses(self.ingests(NO_REBALANCE_SECONDS)))
        return {}

    def feeds(self) -> list[Feed]:
        """Read the ends of the raw partitions, then what ingest committed of them.

        In the order of the networks; the control topic, which ingest reads too, comes last as `CONTROL`.
        """
        places = self._raw_partitions()
        begins = self._offsets([topic for topics in places.values() for topic in topics], OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        ends = self._offsets(list(begins), OffsetSpec.latest())  # type: ignore[no-untyped-call]
        committed = self._committed(list(begins))
        return [
            Feed(
                network=network,
                partition=partition,
                begin=begins[topic, partition],
                end=ends[topic, partition],
                committed=committed[topic, partition][0],
                position=committed[topic, partition][1],
            )
            for network, topics in places.items()
            for topic, partition in topics
        ]

    def lane_ends(self) -> list[dict[str, int]]:
        """Return by partition and lane the offset after the last record that was committed."""
        topics = {self._names.actors_lane: ACTORS, self._names.targets_lane: TARGETS}
        places = [(topic, partition) for topic in topics for partition in range(self._lane_partitions)]
        ends = self._offsets(places, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        return [
            {lane: ends[topic, partition] for topic, lane in topics.items()}
            for partition in range(self._lane_partitions)
        ]

    def taking_back(self, *, settled: bool = True) -> RetractPosition:
        """Read how far `clout retract` is, once what it writes now is settled, or before that."""
        try:
            [place] = self._committed_places(self._names.retract_id, [(self._names.control, 0)], settled=settled)
        except KafkaException as error:
            raise _unreachable(error) from error
        return decode_retract(place.metadata, self._lane_partitions)

    def workers(self, timeout_seconds: float = REBALANCE_TIMEOUT_SECONDS) -> list[RoleMember]:
        """Find the workers. Raises `CloutError` if none runs."""
        return members(self._admin, self._names.app_id, timeout_seconds=timeout_seconds)

    def ingests(self, timeout_seconds: float = REBALANCE_TIMEOUT_SECONDS) -> list[RoleMember]:
        """Find the ingest processes. Raises `CloutError` if none runs."""
        return members(self._admin, self._names.ingest_group, timeout_seconds=timeout_seconds)

    def guards(self, timeout_seconds: float = REBALANCE_TIMEOUT_SECONDS) -> list[RoleMember]:
        """Find the guards. Raises `CloutError` if none runs."""
        return members(self._admin, self._names.guard_id, timeout_seconds=timeout_seconds)

    def worker_statuses(self, workers: Iterable[RoleMember]) -> list[WorkerStatus]:
        """Ask workers for their status; one that does not answer is left out."""
        return [status for worker in workers if (status := self.worker_status(worker.address)) is not None]

    def worker_status(self, address: str) -> WorkerStatus | None:
        """Ask the worker at an address for its status; None if it does not answer."""
        return self._status(address, WorkerStatus)

    def ingest_statuses(
        self, ingests: Iterable[RoleMember], answer_seconds_max: float | None = None
    ) -> list[IngestStatus]:
        """Ask ingest processes for their status; one that does not answer, in that time if it is given, is left out."""
        asked = (self._status(ingest.address, IngestStatus, answer_seconds_max) for ingest in ingests)
        return [status for status in asked if status is not None]

    def guard_statuses(self, guards: Iterable[RoleMember]) -> list[GuardStatus]:
        """Ask guards for their status; one that does not answer is left out."""
        return [status for guard in guards if (status := self._status(guard.address, GuardStatus)) is not None]

    def _status(self, address: str, kind: type[Status], answer_seconds_max: float | None = None) -> Status | None:
        timeout = self._http.timeout if answer_seconds_max is None else answer_seconds_max
        try:
            answer = self._http.get(f"http://{address}/v1/status", timeout=timeout).raise_for_status()
            return msgspec.json.decode(answer.content, type=kind)
        except (httpx.HTTPError, msgspec.DecodeError):
            return None

    def _raw_partitions(self) -> dict[str, list[tuple[str, int]]]:
        try:
            topics = self._admin.list_topics(timeout=KAFKA_TIMEOUT_SECONDS).topics
        except KafkaException as error:
            raise _unreachable(error) from error
        found = {}
        names = {network: self._names.interactions(network) for network in self._networks}
        for network, name in (names | {CONTROL: self._names.control}).items():
            if name not in topics:
                raise CloutError(f"topic {name} is missing", hint="run `clout topics create`")
            found[network] = [(name, partition) for partition in sorted(topics[name].partitions)]
        return found

    def _offsets(self, places: list[tuple[str, int]], spec: OffsetSpec) -> dict[tuple[str, int], int]:
        asked = self._admin.list_offsets(
            {TopicPartition(*place): spec for place in places},
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=KAFKA_TIMEOUT_SECONDS,
        )
        try:
            return {(place.topic, place.partition): future.result().offset for place, future in asked.items()}
        except KafkaException as error:
            raise _unreachable(error) from error

    def _committed(self, places: list[tuple[str, int]]) -> dict[tuple[str, int], tuple[int | None, FeedPosition]]:
        try:
            return {
                (place.topic, place.partition): (
                    place.offset if place.offset >= 0 else None,
                    decode(place.metadata, self._lane_partitions),
                )
                for place in self._committed_places(self._names.ingest_group, places)
            }
        except KafkaException as error:
            raise _unreachable(error) from error
        except ValueError as error:
            raise CloutError(
                f"what the group {self._names.ingest_group} committed cannot be read",
                detail=str(error),
                hint="check lanes.partitions and the prefix: clout topics check",
            ) from error

    def _committed_places(
        self, group: str, places: list[tuple[str, int]], *, settled: bool = True
    ) -> list[TopicPartition]:
        """Return what is committed, once no transaction holds it back: such a place says nothing, not even its last."""
        # Not by the admin client: where the group's coordinator is new to it or has just moved, librdkafka (2.16)
        # treats the refusal as a consumer's, which an admin client is not, and takes the process down.
        if (group, settled) not in self._askers:
            isolation = "read_committed" if settled else "read_uncommitted"
            options = {"group.id": group, "isolation.level": isolation}
            self._askers[group, settled] = clients.consumer(self._kafka, options)
        asker = self._askers[group, settled]
        deadline = time.monotonic() + KAFKA_TIMEOUT_SECONDS
        while True:
            found = asker.committed([TopicPartition(*place) for place in places], timeout=KAFKA_TIMEOUT_SECONDS)
            problem = next((place.error for place in found if place.error is not None), None)
            if problem is None:
                return found
            if time.monotonic() > deadline:
                raise KafkaException(problem)
            time.sleep(_NAP_SECONDS)


def frozen_networks(ingests: Iterable[IngestStatus]) -> dict[str, FreezeStatus]:
    """Return the networks that any of these processes knows to be frozen, each by its latest order."""
    found: dict[str, FreezeStatus] = {}
    for ingest in ingests:
        for network, freeze in ingest.frozen.items():
            if network not in found or freeze.epoch > found[network].epoch:
                found[network] = freeze
    return found


def tasks_by_partition(statuses: Iterable[WorkerStatus]) -> Mapping[int, TaskStatus]:
    """Choose each partition's task: the running one, where a former owner still speaks of it too."""
    found: dict[int, TaskStatus] = {}
    for status in statuses:
        for task in status.partitions:
            if task.partition not in found or task.state == RUNNING:
                found[task.partition] = task
    return found


def asked_tasks(reader: ProgressReader) -> Mapping[int, TaskStatus]:
    """Find the workers, ask them, and return each partition's task. Raises `CloutError` if none runs."""
    return tasks_by_partition(reader.worker_statuses(reader.workers()))


def unanswered(members: Iterable[RoleMember], statuses: Iterable[IngestStatus | WorkerStatus]) -> list[RoleMember]:
    """Return those of a group's members that gave no status.

    >>> unanswered([RoleMember("score", "here:1", ())], [])
    [RoleMember(role='score', address='here:1', partitions=())]
    """
    answered = {status.address for status in statuses}
    return [member for member in members if member.address not in answered]


def _unreachable(error: KafkaException) -> CloutError:
    return CloutError(
        "the broker did not answer", detail=error.args[0].str(), hint="see that it is up: clout broker status"
    )
