"""A broker that is killed while transactions end brings each of them to its end when it comes back.

All that Clout promises rests on that, and not every release of Kafka does it (`docs/decisions/0033`): to be run before
another one is taken. Other work keeps the machine busy, as the fault shows where a broker starts slowly.
"""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer

from clout.broker import LocalBroker
from clout.machine import broker_at_hand
from clout.supervisor import TIED
from streams import changelog, clients, topics
from streams.settings import KafkaSettings
from tests.drills.harm import kill_broker

TOPIC = "ends"
KILLS = 6
PARTITIONS = 12
PRODUCERS = 8
BUSY_PROCESSES = 6
UNDER_LOAD_SECONDS = 3.0
COMMIT_SECONDS = 10.0
FENCE_SECONDS = 60.0
ENDS_SECONDS = 1.0
"""Of a commit, until readers see all of it."""
SEED = 1

pytestmark = [pytest.mark.drill, pytest.mark.timeout(600)]


@contextmanager
def busy() -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(BUSY_PROCESSES):
            command = [sys.executable, str(TIED), str(os.getpid()), sys.executable, "-c", "while True: pass"]
            process = stack.enter_context(subprocess.Popen(command))
            stack.callback(process.kill)
        yield


def commit_until(over: threading.Event, kafka: KafkaSettings, name: str) -> None:
    """Write to all partitions in each transaction, until the broker is gone."""
    with suppress(KafkaException):
        producer = fenced(kafka, name)
        while not over.is_set():
            producer.begin_transaction()
            for partition in range(PARTITIONS):
                producer.produce(TOPIC, name, partition=partition)
            producer.commit_transaction(COMMIT_SECONDS)


def fenced(kafka: KafkaSettings, name: str) -> Producer:
    producer = clients.producer(kafka, {"transactional.id": name})
    clients.fence(producer, FENCE_SECONDS)
    return producer


def kill_under_load(broker: LocalBroker, kafka: KafkaSettings, seconds: float) -> None:
    over = threading.Event()
    writers = [
        threading.Thread(target=commit_until, args=(over, kafka, f"writer-{number}"), daemon=True)
        for number in range(PRODUCERS)
    ]
    for writer in writers:
        writer.start()
    time.sleep(seconds)
    kill_broker(broker)
    over.set()
    broker.up()
    for writer in writers:
        writer.join()


def test_no_transaction_is_left_without_an_end(tmp_path: Path) -> None:
    choose = random.Random(SEED)
    broker = LocalBroker(tmp_path, port=None, heap_mb=512, short_lived=True)
    with broker_at_hand(KafkaSettings(), broker) as kafka, busy():
        topics.create(kafka, [topics.TopicSpec(TOPIC, PARTITIONS)])
        for kill in range(KILLS):
            kill_under_load(broker, kafka, UNDER_LOAD_SECONDS + choose.random())
            for number in range(PRODUCERS):
                fenced(kafka, f"writer-{number}")
            time.sleep(ENDS_SECONDS)
            committed, written = (
                [changelog.watermarks(kafka, TOPIC, partition, committed=of)[1] for partition in range(PARTITIONS)]
                for of in (True, False)
            )
            assert committed == written, f"after {kill + 1} kills"
            assert min(written) > 0
