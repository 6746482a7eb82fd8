"""From Kafka settings to confluent-kafka's clients, in this one place; `faust_options` is the same for Faust.

Settings carry security properties under librdkafka's names, so they are passed on as they are.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from streams.errors import CloutError
from streams.settings import KafkaSettings

Options = dict[str, Any]
Client = TypeVar("Client")

_log: Final = logging.getLogger("librdkafka")


def client_options(kafka: KafkaSettings, overrides: Options | None = None) -> Options:
    """Options that every confluent-kafka client takes; `overrides` win.

    >>> client_options(KafkaSettings(broker="localhost:9092"), {"linger.ms": 5})["linger.ms"]
    5
    """
    if not kafka.broker:
        raise CloutError("no broker address", hint="run `clout broker up`, or give --broker HOST:PORT")
    return {"bootstrap.servers": kafka.broker, **kafka.options, "logger": _log, **(overrides or {})}


def admin(kafka: KafkaSettings, overrides: Options | None = None) -> AdminClient:
    """An admin client."""
    return _open(AdminClient, client_options(kafka, overrides))


def producer(kafka: KafkaSettings, overrides: Options | None = None) -> Producer:
    """A producer."""
    return _open(Producer, client_options(kafka, overrides))


def consumer(kafka: KafkaSettings, overrides: Options | None = None) -> Consumer:
    """A consumer of committed records only, which commits nothing by itself."""
    defaults = {"enable.auto.commit": False, "isolation.level": "read_committed", "auto.offset.reset": "earliest"}
    return _open(Consumer, client_options(kafka, {**defaults, **(overrides or {})}))


def fence(producer: Producer, timeout_seconds: float) -> None:
    """Let a transactional producer begin; what a former one of its id left open is aborted, and that one shut out.

    Raise `KafkaException` where that takes longer.
    """
    # A client without a connection yet finds nobody to ask for its coordinator, and asks again half a second later.
    producer.list_topics(timeout=timeout_seconds)
    producer.init_transactions(timeout_seconds)


def commit(
    producer: Producer,
    timeout_seconds: float,
    *,
    retries_max: int,
    on_retry: Callable[[int, str], object] = lambda _attempt, _reason: None,
) -> None:
    """Commit a transaction, and try again what may be tried again; raise `KafkaException` when it failed for good.

    `on_retry` is told how many attempts failed, and why the last one did.
    """
    for attempt in range(retries_max + 1):
        try:
            producer.commit_transaction(timeout_seconds)
        except KafkaException as error:
            if not error.args[0].retriable() or attempt == retries_max:
                raise
            on_retry(attempt + 1, error.args[0].str())
        else:
            return


def write_one(
    kafka: KafkaSettings,
    topic: str,
    value: bytes | None,
    *,
    partition: int,
    timeout_seconds: float,
    key: bytes | None = None,
) -> str:
    """Write one record and return once the broker has it; return why not, empty where it has."""
    writer = producer(kafka, {"enable.idempotence": True})
    failures: list[str] = []
    try:
        # As in `fence`: else it waits half a second for its id.
        writer.list_topics(topic, timeout=timeout_seconds)
        writer.produce(
            topic,
            value,
            key,
            partition=partition,
            on_delivery=lambda error, _message: failures.append(error.str()) if error is not None else None,
        )
        if writer.flush(timeout_seconds):
            failures.append("the broker did not answer")
    except KafkaException as error:
        failures.append(error.args[0].str())
    return failures[0] if failures else ""


def _open(kind: Callable[[Options], Client], options: Options) -> Client:
    try:
        return kind(options)
    except KafkaException as error:
        raise CloutError(
            "the Kafka client refuses its options",
            detail=error.args[0].str(),
            hint="correct [kafka.options] in clout.toml, or CLOUT_KAFKA in the environment; `clout config show` says "
            "what is set",
        ) from error


@dataclass(frozen=True, slots=True)
class Connect:
    """How clients are made; a simulation gives clients of a log in memory instead."""

    producer: Callable[[KafkaSettings, Options], Producer] = producer
    consumer: Callable[[KafkaSettings, Options], Consumer] = consumer
    admin: Callable[[KafkaSettings], AdminClient] = admin


KAFKA: Final = Connect()
