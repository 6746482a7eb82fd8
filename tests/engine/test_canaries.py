"""Synthetic accounts on a running installation: scored all the way, and seen nowhere but in their own topic."""

import json
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import TopicPartition

from schemas.change import ScoreChange, decode_change
from schemas.dead_letter import decode_headers
from schemas.feed_report import FeedReport
from schemas.population import decode_population
from schemas.times import format_ms
from schemas.users import is_canary
from streams import clients
from streams.guard.canaries import CanaryDetector
from streams.guard.canary_sender import CanarySender
from streams.guard.detector import Verdict
from streams.guard.observations import CanarySeen, FeedSeen, Moment
from streams.settings import GuardSettings, LaneSettings, NetworkSettings
from tests.checks import broken_chains, changes_of, committed
from tests.clout.audit.stand import START_MS, some_acts
from tests.engine.conftest import Install
from tests.engine.test_audit import raw
from tests.roles import Installation, eventually

PARTITIONS = 2
NETWORKS = {
    "one": NetworkSettings(raw_partitions=2),
    "two": NetworkSettings(format="activitystreams", raw_partitions=1),
}
ACTS = 6
"""Of each network: a round."""
STEP_SECONDS = 10


class Guard:
    """Sends what the accounts do and reads what comes of it; its own time goes ten seconds an act."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.latencies: dict[str, list[float]] = {name: [] for name in NETWORKS}
        self.verdicts: list[Verdict] = []
        self.sender = CanarySender(installation.settings.kafka, installation.names)
        self.reader = clients.consumer(installation.settings.kafka, {"group.id": "guard", "fetch.wait.max.ms": 10})
        self.reader.assign([TopicPartition(installation.names.canaries, 0, 0)])
        self.changes: list[ScoreChange] = []
        model = installation.settings.model
        self.detector = CanaryDetector(NETWORKS, GuardSettings(), model, PARTITIONS, self._note)
        self.now_ms = int(time.time() * 1000)
        self._told = 0

    def _note(self, network: str, seconds: float) -> None:
        self.latencies[network].append(seconds)

    def tell(self, network: str, raw_partition: int) -> None:
        report = FeedReport(
            network=network,
            raw_partition=raw_partition,
            raw_partitions=NETWORKS[network].raw_partitions,
            written=format_ms(self.now_ms),
            position=0,
            lag_records=0,
            at_end=True,
            frozen=False,
            time=format_ms(START_MS + self._told),
            arrival=None,
            heartbeats={},
            counters={},
        )
        self.detector.update(FeedSeen(report, self.now_ms))

    def act(self) -> None:
        """Let one account of each network act, and wait for the change."""
        self.now_ms += STEP_SECONDS * 1000
        self._told += 1000
        for network, settings in NETWORKS.items():
            for raw_partition in range(settings.raw_partitions):
                self.tell(network, raw_partition)
        records = self.detector.due(self.now_ms)
        assert len(records) == len(NETWORKS)
        before = {network: len(of) for network, of in self.latencies.items()}
        self.sender.send(records)
        eventually(lambda: all(len(of) > before[network] for network, of in self._look().items()))

    def _look(self) -> dict[str, list[float]]:
        for message in self.reader.consume(100, 0.05):
            change = decode_change(message.value() or b"")
            self.changes.append(change)
            self.verdicts += self.detector.update(CanarySeen(change, self.now_ms))
        self.verdicts += self.detector.update(Moment(self.now_ms))
        return self.latencies

    def close(self) -> None:
        self.sender.close()
        self.reader.close()


@pytest.fixture(scope="module")
def guard(install: Install) -> Iterator[Guard]:
    installation = install(networks=NETWORKS, lanes=LaneSettings(partitions=PARTITIONS))
    _, [worker] = installation.up()
    worker.wait_until_ready()
    installation.send([raw(act) for act in some_acts(7, 500, days=0.1) if act.network == "one"], network="one")
    guard = Guard(installation)
    for _ in range(ACTS):
        guard.act()
    installation.wait()
    yield guard
    guard.close()


def test_every_act_brings_its_change_and_all_are_as_expected(guard: Guard) -> None:
    assert guard.verdicts == []
    assert {network: len(of) for network, of in guard.latencies.items()} == dict.fromkeys(NETWORKS, ACTS)
    found = changes_of(guard.installation.settings.kafka, guard.installation.names.canaries)
    assert broken_chains(found) == []
    assert [change.score for of in found.values() for change in of].count(None) == len(NETWORKS)


def test_nothing_of_them_is_public(guard: Guard) -> None:
    installation = guard.installation
    people = installation.changes()
    assert people
    assert not [user for user in people if is_canary(user.encode())]
    run = installation.run("export")
    users = [json.loads(line)["user"] for line in run.stdout.splitlines()]
    assert sorted(users) == sorted(people)

    def told() -> tuple[int, int]:
        """Users and changes, as partitions told last: every few seconds."""
        records = committed(installation.settings.kafka, installation.names.population)
        latest = {of.partition: of for of in (decode_population(value or b"") for _, value in records)}
        return sum(of.users for of in latest.values()), sum(sum(of.changes.values()) for of in latest.values())

    changes = sum(map(len, people.values()))
    eventually(lambda: told() == (len(people), changes), otherwise=told)
    [worker] = [role for role in installation.roles if role.name.startswith("score")]
    metrics = worker.get("/metrics").text
    shown = [float(line.split()[-1]) for line in metrics.splitlines() if line.startswith("clout_changes_total{")]
    assert sum(shown) == changes


def test_one_of_them_can_be_asked_about(guard: Guard) -> None:
    user = guard.changes[0].user
    run = guard.installation.run("show", user, "--json")
    shown = json.loads(run.stdout)
    assert shown["user"] == user
    # Whoever's events are all taken back has no score.
    assert run.returncode == (1 if shown["score"] is None else 0), run.stderr


def test_all_laws_hold_with_them(guard: Guard) -> None:
    run = guard.installation.run("audit", "--json", "--seconds", "0")
    laws = {law["law"]: law for law in json.loads(run.stdout)["laws"]}
    assert {name: law for name, law in laws.items() if law["verdict"] != "holds"} == {}
    changes = sum(map(len, guard.installation.changes().values())) + len(guard.changes)
    assert laws["sequence_and_previous_chain"]["changes"] == changes


def test_what_a_person_does_to_one_of_them_is_a_dead_letter(guard: Guard) -> None:
    installation = guard.installation
    event = {"id": "mine", "kind": "share", "actor": "ann", "target": guard.changes[0].user, "time": START_MS}
    installation.send([json.dumps(event).encode()], network="one")
    installation.wait()
    consumer = clients.consumer(installation.settings.kafka, {"group.id": "letters"})
    consumer.subscribe([installation.names.dead_letters("one")])
    [letter] = consumer.consume(1, 20)
    consumer.close()
    headers = letter.headers()
    assert isinstance(headers, list)
    assert decode_headers(headers).reason == "reserved_user"
    assert guard.reader.consume(1, 0.5) == []
