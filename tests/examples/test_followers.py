"""The followers of `examples/`, as the programs that they are, on a real Kafka."""

import json
import random
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from clout.config import Settings
from streams.clients import admin
from streams.settings import KafkaSettings, NetworkSettings
from streams.topics import partition_counts
from tests.conftest import ROOT
from tests.examples.world import World
from tests.roles import Installation, eventually

NOW_MS = time.time_ns() // 1_000_000
PROGRAMS = ["follow_scores.py", "follow_scores_faust.py"]


@dataclass
class Follower:
    """One follower and its copy."""

    program: str
    broker: str
    topic: str
    path: Path

    def __post_init__(self) -> None:
        self.log_file = self.path.with_suffix(".log")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> Self:
        """Run it."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, ROOT / "examples" / self.program, self.broker, self.topic, self.path, *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.path.parent,
            )
        return self

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it and return its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(how)
        return self.process.wait(20)

    def log(self) -> str:
        """Return what it said."""
        return self.log_file.read_text(errors="replace")

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the copy; nothing while there is none."""
        try:
            with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as db:
                return db.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []

    def taken(self) -> int:
        """Return how far it is, over all partitions."""
        return sum(offset for (offset,) in self.ask("SELECT next_offset FROM positions"))

    def copy(self) -> dict[str, tuple[int, float | None]]:
        """Return sequence and score of everyone."""
        return {user: (number, score) for user, number, score in self.ask("SELECT user, sequence, score FROM scores")}

    def becomes(self, truth: dict[str, tuple[int, float | None]]) -> None:
        """Return when the copy is the truth."""
        eventually(lambda: self.copy() == truth or self.has_ended(), otherwise=self.log)
        assert not self.has_ended(), self.log()

    def has_ended(self) -> bool:
        """Return whether it is gone."""
        return self.process is None or self.process.poll() is not None


Follow = Callable[[str], Follower]


@pytest.fixture
def world(kafka_settings: KafkaSettings) -> World:
    return World(kafka_settings)


@pytest.fixture
def follow(kafka_settings: KafkaSettings, world: World, tmp_path: Path) -> Iterator[Follow]:
    with ExitStack() as stack:

        def start(program: str) -> Follower:
            follower = Follower(program, kafka_settings.broker, world.topic, tmp_path / "scores.db")
            stack.callback(lambda: follower.end(signal.SIGKILL))
            return follower.start()

        yield start


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_copy_is_the_truth_through_a_kill_in_the_middle_and_a_restart(
    program: str, world: World, follow: Follow
) -> None:
    for _ in range(10):
        world.batch()
    follower = follow(program)
    for _ in range(1000):
        if (at_the_kill := follower.taken()) > 0:
            break
        world.batch(changes=20)
    assert follower.end(signal.SIGKILL) == -signal.SIGKILL
    for _ in range(5):
        world.batch()
    assert world.forgotten, "somebody should be forgotten when it is over"
    follower.start().becomes(world.truth)
    assert 0 < at_the_kill < follower.taken()
    assert follower.ask("SELECT * FROM faults") == []
    assert follower.end() == 0
    assert follower.copy() == world.truth


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_gap_a_repeat_and_a_broken_chain_are_found_and_the_newest_score_is_kept(
    program: str, world: World, follow: Follow
) -> None:
    world.batch()
    world.commit(("a", 1, 20.0, None), ("b", 1, 30.0, None), ("c", 1, 40.0, None))
    world.commit(("a", 3, 22.0, 21.0), ("b", 1, 30.0, None), ("c", 2, 42.0, 41.0), ("d", 5, 50.0, 49.0))
    world.commit(("a", 4, 23.0, 22.0))
    follower = follow(program)
    follower.becomes(world.truth | {"a": (4, 23.0), "b": (1, 30.0), "c": (2, 42.0), "d": (5, 50.0)})
    found = follower.ask("SELECT user, kind FROM faults ORDER BY user")
    assert found == [("a", "gap"), ("b", "repeat"), ("c", "chain"), ("d", "gap")]
    eventually(lambda: "change 3 came after change 1" in follower.log(), otherwise=follower.log)


def test_a_topic_that_was_made_anew_is_read_anew(world: World, kafka_settings: KafkaSettings, follow: Follow) -> None:
    world.batch()
    follower = follow("follow_scores.py")
    follower.becomes(world.truth)
    follower.end()
    client = admin(kafka_settings)
    client.delete_topics([world.topic])[world.topic].result(20)
    eventually(lambda: world.topic not in partition_counts(client))
    another = World(kafka_settings, seed=2)
    for _ in range(3):
        another.batch()
    follower.start().becomes(another.truth)
    assert "begins anew: the topic was made anew" in follower.log()
    assert follower.ask("SELECT * FROM faults") == []


def test_a_rebuild_begins_with_nothing(world: World, follow: Follow) -> None:
    world.batch()
    follower = follow("follow_scores.py")
    follower.becomes(world.truth)
    follower.end()
    with closing(sqlite3.connect(follower.path)) as db, db:
        db.execute("UPDATE scores SET score = 1")
    follower.start("--rebuild").becomes(world.truth)


def test_a_copy_of_what_workers_publish_is_what_they_hold(broker: str, tmp_path: Path) -> None:
    kafka = KafkaSettings(broker=broker, prefix=f"t{secrets.token_hex(4)}-")
    networks = {name: NetworkSettings(raw_partitions=1) for name in ("twitter", "mastodon")}
    chance = random.Random(1)
    with Installation(Settings(data_dir=tmp_path / "clout", kafka=kafka, networks=networks)) as installation:
        installation.up()
        followers = [
            Follower(program, broker, installation.names.changes, tmp_path / f"{program}.db").start()
            for program in PROGRAMS
        ]
        try:
            for network in networks:
                installation.send((interaction(chance, at) for at in range(2_000)), network=network)
            installation.wait()
            forgotten = installation.run("forget", "p:1", "--reason", "case 1")
            assert forgotten.returncode == 0, forgotten.stderr
            eventually(lambda: "p:1" not in installation.users())
            truth = {user: (state.sequence, state.score) for user, state in installation.users().items()}
            for follower in followers:
                follower.becomes(truth)
                assert follower.ask("SELECT * FROM faults") == []
        finally:
            for follower in followers:
                follower.end(signal.SIGKILL)


def interaction(chance: random.Random, number: int) -> bytes:
    """Return what somebody did for one of a few people."""
    actor, target = f"p:{chance.randrange(500)}", f"p:{chance.randrange(50)}"
    told = {"id": str(number), "kind": "share", "actor": actor, "target": target, "time": NOW_MS - number * 60_000}
    return json.dumps(told).encode()
