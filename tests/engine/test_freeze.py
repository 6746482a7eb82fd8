"""A network is frozen and resumed, on real processes; the tests of this file are one story, told in order."""

import json
import time
from contextlib import closing
from typing import Any

import msgspec
import pytest

from clout.clock_holds import NetworkClock
from clout.commands.wait import reader_of
from clout.heartbeats import heartbeat
from clout.orders import issue, signed
from clout.population import newest_populations
from schemas.feed_report import FeedReport, decode_feed_report
from schemas.times import format_ms, parse_ms
from streams.errors import CloutError
from streams.progress import conservation
from streams.settings import ControlKeySettings, ControlSettings, IngestSettings, LaneSettings, NetworkSettings
from streams.task_state import ACTORS_COUNTERS
from tests.checks import committed
from tests.engine.conftest import Install
from tests.incidents import open_incident
from tests.roles import Installation, eventually, start_together

RAW_PARTITIONS = 2
HOUR_MS = 3_600_000
START_MS = int(time.time() * 1000) // HOUR_MS * HOUR_MS - 48 * HOUR_MS
EACH = 3_000
"""Events that are sent to each raw partition at once: many more than a batch takes, so that some were fetched ahead."""
NETWORKS = {
    # Were frozen raw partitions taken for idle ones, the others would let the clock go on.
    "bad": NetworkSettings(raw_partitions=RAW_PARTITIONS, idle_after_seconds=1),
    "good": NetworkSettings(raw_partitions=RAW_PARTITIONS),
}


class Story:
    """The installation, and what was sent to it."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.ingests, [self.worker] = installation.up(ingests=2)
        self.sent = dict.fromkeys(NETWORKS, 0)

    def send(self, network: str, at_ms: int, each: int) -> None:
        """Let things happen in every raw partition of a network, up to a time; each event has its own actor."""
        for partition in range(RAW_PARTITIONS):
            first = self.sent[network]
            event = {"kind": "share", "target": f"{network}:star", "time": at_ms}
            events = [event | {"id": str(n), "actor": f"{network}:{n}"} for n in range(first, first + each)]
            values = [msgspec.json.encode(event) for event in events]
            self.installation.send([*values, heartbeat("", at_ms)], network=network, partition=partition)
            self.sent[network] += each

    def feeds(self, network: str) -> dict[int, dict[str, Any]]:
        """Return what the ingest processes that run say of a network's raw partitions."""
        entries = [entry for ingest in self.ingests if not ingest.ended() for entry in ingest.status()["partitions"]]
        return {entry["partition"]: entry for entry in entries if entry["network"] == network}

    def read(self, network: str) -> int:
        """Return how many events ingest has committed as read, heartbeats apart."""
        with closing(reader_of(self.installation.settings)) as reader:
            counters = [feed.position.counters for feed in reader.feeds() if feed.network == network]
        return sum(of["read"] - of["heartbeat"] for of in counters)

    def clock(self, network: str) -> NetworkClock:
        shown = json.loads(self.installation.run("clock", "show", "--json").stdout)
        clocks = msgspec.convert(shown["networks"], list[NetworkClock])
        [clock] = [clock for clock in clocks if clock.network == network]
        return clock

    def until_clock(self, network: str, time_ms: int) -> None:
        def clocks() -> list[int | None]:
            return [task["clocks"].get(network) for task in self.worker.partitions().values()]

        eventually(lambda: set(clocks()) == {time_ms}, otherwise=clocks)

    def reports(self) -> dict[tuple[str, int], list[FeedReport]]:
        """Return everything that was told of each raw partition."""
        found: dict[tuple[str, int], list[FeedReport]] = {}
        for key, value in committed(self.installation.settings.kafka, self.installation.names.feeds):
            report = decode_feed_report(value or b"")
            assert key == f"{report.network}/{report.raw_partition}".encode()
            found.setdefault((report.network, report.raw_partition), []).append(report)
        return found

    def gauges(self, network: str) -> set[str]:
        """Return what each ingest process that runs shows of a network being frozen."""
        lines = [
            line for ingest in self.ingests if not ingest.ended() for line in ingest.get("/metrics").text.splitlines()
        ]
        start = f'clout_feed_frozen{{network="{network}"}} '
        return {line.removeprefix(start) for line in lines if line.startswith(start)}


@pytest.fixture(scope="module")
def story(install: Install) -> Story:
    keys = {
        "ops": ControlKeySettings(secret="ops" * 16),
        "clerk": ControlKeySettings(secret="clerk" * 16, may=("note",)),
    }
    return Story(
        install(
            networks=NETWORKS,
            lanes=LaneSettings(partitions=1),
            ingest=IngestSettings(batch_events_max=200, tick_interval_ms=200, session_timeout_seconds=3),
            control=ControlSettings(keys=keys, key="ops"),
        )
    )


def test_a_key_that_may_not_freeze_is_refused_and_nothing_stops(story: Story) -> None:
    # Where it is sent from, the key may do everything.
    clerk = ControlSettings(keys={"clerk": ControlKeySettings(secret="clerk" * 16)})
    settings = story.installation.settings.model_copy(update={"control": clerk})
    with pytest.raises(CloutError, match="refused") as raised:
        issue(settings, signed(settings, "freeze", "I want to", network="bad"), 30)
    assert "not_permitted" in raised.value.detail
    story.send("bad", START_MS, 100)
    story.installation.wait()
    assert story.read("bad") == story.sent["bad"]


def test_a_frozen_network_is_not_read_in_the_middle_of_a_flood_and_its_clock_stands_while_others_go_on(
    story: Story,
) -> None:
    story.until_clock("bad", START_MS)
    story.send("bad", START_MS + HOUR_MS, EACH)
    open_incident(story.installation.settings.kafka, story.installation.names, "x/1", network="bad", at_ms=START_MS)
    run = story.installation.run("freeze", "bad", "--reason", "half of it is garbage", "--incident", "x/1")
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("bad is frozen: ")
    before = {number: feed["position"] for number, feed in story.feeds("bad").items()}
    story.send("bad", START_MS + 2 * HOUR_MS, EACH)
    story.send("good", START_MS + 2 * HOUR_MS, EACH)
    story.until_clock("good", START_MS + 2 * HOUR_MS)
    assert {number: feed["position"] for number, feed in story.feeds("bad").items()} == before
    assert {feed["frozen"] for feed in story.feeds("bad").values()} == {True}
    assert story.read("bad") < story.sent["bad"]
    assert {task["clocks"]["bad"] for task in story.worker.partitions().values()} <= {START_MS, START_MS + HOUR_MS}
    assert (story.gauges("bad"), story.gauges("good")) == ({"1.0"}, {"0.0"})


def test_it_is_said_everywhere_that_the_network_is_frozen_and_why(story: Story) -> None:
    why = "by incident x/1: half of it is garbage"
    waited = story.installation.run("wait", "--timeout", "30s")
    assert waited.returncode == 1
    assert waited.stderr.startswith("error: all else is processed, but bad is frozen")
    assert why in waited.stderr
    assert "clout resume bad" in waited.stderr
    assert why in story.installation.run("status").stdout
    [*_, holder] = [holder for holder in story.clock("bad").held_by if holder.name == "freeze"]
    assert why in holder.why
    last = {of: reports[-1] for of, reports in story.reports().items()}
    assert {of: report.frozen for of, report in last.items()} == {
        (network, number): network == "bad" for network in NETWORKS for number in range(RAW_PARTITIONS)
    }
    assert [last["bad", number].at_end for number in range(RAW_PARTITIONS)] == [False] * RAW_PARTITIONS


def test_it_stays_frozen_through_a_crash_of_ingest_and_a_rebalance(story: Story) -> None:
    before = story.read("bad")
    for ingest in story.ingests:
        ingest.kill()
    start_together(*story.ingests)
    eventually(
        lambda: len(story.feeds("bad")) == len(story.feeds("good")) == RAW_PARTITIONS, otherwise=story.ingests[0].log
    )
    story.send("good", START_MS + 3 * HOUR_MS, 10)
    story.until_clock("good", START_MS + 3 * HOUR_MS)
    story.ingests[1].stop()
    eventually(lambda: len(story.feeds("bad")) == RAW_PARTITIONS, otherwise=story.ingests[0].log)
    story.send("good", START_MS + 4 * HOUR_MS, 10)
    story.until_clock("good", START_MS + 4 * HOUR_MS)
    assert {feed["frozen"] for feed in story.feeds("bad").values()} == {True}
    assert story.read("bad") == before


def test_resumed_it_goes_on_where_it_stopped_and_every_event_counts_once(story: Story) -> None:
    # A raw partition that one process had frozen is with another when the order ends, and comes back afterwards.
    story.ingests[1].start()
    eventually(lambda: story.ingests[1].status()["partitions"], otherwise=story.ingests[1].log)
    run = story.installation.run("resume", "bad", "--reason", "repaired")
    assert run.returncode == 0, run.stderr
    assert "bad is read again" in run.stdout
    reading = story.installation.wait()
    sums = {of.network: of for of in conservation(reading)}
    assert {network: (of.applied, of.missing) for network, of in sums.items()} == {
        network: (sent, 0) for network, sent in story.sent.items()
    }
    story.until_clock("bad", START_MS + 2 * HOUR_MS)
    assert story.gauges("bad") == {"0.0"}
    assert story.ingests[1].stop() == 0
    story.send("bad", START_MS + 2 * HOUR_MS, 10)
    story.installation.wait()
    assert story.read("bad") == story.sent["bad"]
    again = story.installation.run("resume", "bad", "--reason", "repaired")
    assert (again.returncode, again.stdout) == (1, "")
    assert "bad is not frozen" in again.stderr


def test_a_running_process_that_stops_in_a_flood_and_goes_on_loses_nothing_and_doubles_nothing(story: Story) -> None:
    settings = story.installation.settings
    story.send("bad", START_MS + 3 * HOUR_MS, EACH)
    for command in ("freeze", "resume"):
        issue(settings, signed(settings, command, "again", network="bad"), 30)
        eventually(lambda: {feed["frozen"] for feed in story.feeds("bad").values()} == {command == "freeze"})  # noqa: B023
    [bad, _] = conservation(story.installation.wait())
    assert (bad.applied, bad.missing) == (story.sent["bad"], 0)


def test_what_the_population_says_became_of_events_is_what_the_workers_say(story: Story) -> None:
    again: dict[str, object] = {"id": "0", "kind": "share", "actor": "good:0", "target": "good:star", "time": START_MS}
    unknown: dict[str, object] = {"id": "no", "kind": "retract", "actor": "good:0", "time": START_MS}
    values = [msgspec.json.encode(event) for event in (again, again | {"id": "own", "target": "good:0"}, unknown)]
    story.installation.send(values, network="good")
    story.installation.wait()
    counters = story.worker.partitions()[0]["counters"]
    expected = {of: {name: counted[name] for name in ACTORS_COUNTERS} for of, counted in counters.items()}
    assert (expected["good"]["duplicate"], expected["good"]["self"], expected["good"]["unmatched"]) == (1, 1, 1)

    def told() -> object:
        settings = story.installation.settings
        return newest_populations(settings.kafka, settings.names)[0].outcomes

    eventually(lambda: told() == expected, otherwise=told)


def test_the_last_report_of_each_raw_partition_says_what_ingest_has_committed(story: Story) -> None:
    with closing(reader_of(story.installation.settings)) as reader:
        feeds = {(feed.network, feed.partition): feed for feed in reader.feeds() if feed.network in NETWORKS}

    def last() -> dict[tuple[str, int], FeedReport]:
        return {of: reports[-1] for of, reports in story.reports().items()}

    eventually(lambda: all(report.at_end for report in last().values()), otherwise=last)
    for of, report in last().items():
        feed = feeds[of]
        assert (report.position, report.counters, report.lag_records) == (feed.committed, feed.position.counters, 0)
        assert (report.raw_partitions, report.frozen) == (RAW_PARTITIONS, False)
        assert report.time == format_ms(feed.position.time_ms)
        volumes = [volume for each in story.reports()[of] for volume in each.volumes]
        told = sum(volume.events for volume in volumes)
        assert 0 < told <= report.counters["passed"] + report.counters["retracting"]
        assert {parse_ms(volume.bucket) % 300_000 for volume in volumes} == {0}
