"""Keep Kafka's classes as Java has loaded them, so that every start of the local broker takes two thirds of the time.

`python -m clout.broker_classes` starts a broker, uses it a little and stops it, which takes ten seconds (`make setup`
does). It is Java's dynamic archive of classes (JEP 350); what is not in it Java loads as ever.
"""

import sys
import tempfile
from pathlib import Path
from typing import Final

from clout.broker import CLASSES, LocalBroker
from streams import clients, topics
from streams.settings import KafkaSettings

_TOPIC: Final = "a-topic"
_SECONDS: Final = 15.0


def keep_classes(file: Path) -> bool:
    """Write the file; False where this Java writes none."""
    draft = file.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="clout-broker-") as directory:
        broker = LocalBroker(Path(directory), port=None, heap_mb=256, short_lived=True, leaves_classes_in=draft)
        try:
            _use(KafkaSettings(broker=broker.up().address))
        finally:
            broker.down()
    if not draft.exists():
        return False
    # Java ends on half a file.
    draft.replace(file)
    return True


def _use(kafka: KafkaSettings) -> None:
    """Do what brings most of the classes: a transaction that commits a group's position, and a reader of it."""
    topics.create(kafka, [topics.TopicSpec(_TOPIC, 1)])
    consumer = clients.consumer(kafka, {"group.id": "a-group"})
    consumer.subscribe([_TOPIC])
    producer = clients.producer(kafka, {"transactional.id": "an-id", "log_level": 2})
    try:
        clients.fence(producer, _SECONDS)
        producer.begin_transaction()
        producer.produce(_TOPIC, b"value", b"key")
        producer.commit_transaction(_SECONDS)
        # If nothing comes in this time, some classes fewer are kept.
        consumer.poll(_SECONDS)
        producer.begin_transaction()
        places = consumer.position(consumer.assignment())
        producer.send_offsets_to_transaction(places, consumer.consumer_group_metadata(), _SECONDS)
        producer.commit_transaction(_SECONDS)
    finally:
        consumer.close()


if __name__ == "__main__" and not keep_classes(CLASSES):
    sys.stderr.write("warning: this Java keeps no classes; the local broker starts as slowly as ever\n")
