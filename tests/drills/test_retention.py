"""A compacted topic loses a deleted user as `docs/privacy.md` says; a day takes three seconds."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from clout.broker import LocalBroker
from streams.clients import admin, producer
from streams.names import Names
from streams.settings import KafkaSettings, LaneSettings, NetworkSettings
from streams.topics import DAY_MS, TopicSpec, make, specification

pytestmark = pytest.mark.drill

DAY_SECONDS = 3
CLEANER_SECONDS = 60
"""The broker's cleaner looks for work every 15 seconds, and deletes files later."""
USER, SCORE = b"user-who-leaves", b"score-of-theirs"


def hurried(spec: TopicSpec) -> TopicSpec:
    """The topic, with days of a few seconds."""
    times = {key: int(value) * DAY_SECONDS * 1000 // DAY_MS for key, value in spec.config.items() if ".ms" in key}
    return replace(spec, partitions=1, config=spec.config | {key: str(value) for key, value in times.items()})


@pytest.fixture(scope="module")
def gone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[float, float]]:
    """Days after which value and key of a deleted user were in no file of a topic."""
    directory = tmp_path_factory.mktemp("broker")
    names = Names("", "1")
    specs = specification(names, LaneSettings(partitions=1), {"twitter": NetworkSettings()})
    compacted = [hurried(spec) for spec in specs if spec.config["cleanup.policy"] == "compact"]
    broker = LocalBroker(directory, port=None, heap_mb=256)
    kafka = KafkaSettings(broker=broker.up().address)
    try:
        make(admin(kafka), compacted, 1)
        to, begun = producer(kafka), time.monotonic()
        for spec in compacted:
            to.produce(spec.name, SCORE, USER)
            to.produce(spec.name, None, USER)
        found: dict[tuple[str, bytes], float] = {}
        while time.monotonic() < begun + 12 * DAY_SECONDS + CLEANER_SECONDS and len(found) < 2 * len(compacted):
            for spec in compacted:
                to.produce(spec.name, b"another", b"%d" % time.monotonic_ns())
            assert to.flush(20) == 0
            time.sleep(0.5)
            for spec in compacted:
                for what in (USER, SCORE):
                    if not holds(directory, spec.name, what):
                        found.setdefault((spec.name, what), (time.monotonic() - begun) / DAY_SECONDS)
        return {spec.name: (found[spec.name, SCORE], found[spec.name, USER]) for spec in compacted}
    finally:
        broker.down()


def holds(directory: Path, topic: str, what: bytes) -> bool:
    """Whether a segment of the topic has these bytes; while one is being replaced, it counts as having them."""
    try:
        return any(what in file.read_bytes() for file in directory.rglob(f"{topic}-0/*.log"))
    except FileNotFoundError:
        return True


@pytest.mark.parametrize(("topic", "value_days", "key_days"), [("scores.state.v1", 1, 9), ("scores.changes.v1", 9, 11)])
def test_a_deleted_user_is_gone_in_time(
    gone: dict[str, tuple[float, float]], topic: str, value_days: int, key_days: int
) -> None:
    value, key = gone[topic]
    cleaner_days = CLEANER_SECONDS / DAY_SECONDS
    assert value <= value_days + cleaner_days
    assert key <= key_days + cleaner_days


def test_changes_keep_their_full_history_for_seven_days(gone: dict[str, tuple[float, float]]) -> None:
    assert gone["scores.changes.v1"][0] > 7
