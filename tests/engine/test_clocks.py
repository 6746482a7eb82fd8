"""Everything that can hold a clock, on real processes: no score falls before all inputs have passed the time.

The tests of this file are one story of one installation, told in order. After each chapter its whole past is held
against what every input had said by then: a fall at a later time would be one that fired too early.
"""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from clout.clock_holds import NetworkClock, network_clocks
from clout.commands.clock import ingest_trouble
from clout.commands.wait import reader_of
from clout.heartbeats import heartbeat
from schemas.packed import Stamp, encode_key
from schemas.times import format_ms, parse_ms
from streams import clients
from streams.progress_reader import ProgressReader, asked_tasks
from streams.settings import IngestSettings, LaneSettings, NetworkSettings
from tests.checks import broken_chains
from tests.engine.conftest import Install
from tests.roles import Installation, Role, eventually

PARTITIONS = 3
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
START_MS = int(time.time() * 1000) // HOUR_MS * HOUR_MS - 12 * DAY_MS
SOURCES = ("north", "east", "south", "west")
OTHERS = SOURCES[:3]
IDLE_SECONDS = 1
NETWORKS = {
    "twitter": NetworkSettings(raw_partitions=3, sources=SOURCES),
    "late": NetworkSettings(raw_partitions=2),
    "live": NetworkSettings(raw_partitions=2),
    "quiet": NetworkSettings(raw_partitions=2, idle_after_seconds=IDLE_SECONDS),
}
STARS = 36
FAR_MS = START_MS + 12 * HOUR_MS
"""How far the raw partition has come that is far behind."""


def shares(network: str, star: int, time_ms: int) -> list[bytes]:
    """A user's fans share something, all at once; nobody is a fan of two.

    Some have more fans than others, so that at any time there is somebody about to fall.
    """
    event = {"kind": "share", "target": f"{network}:star{star}", "time": time_ms}
    return [
        json.dumps(event | {"id": f"{star}-{fan}-{time_ms}", "actor": f"{network}:fan{star}-{fan}"}).encode()
        for fan in range(3 + star % 12)
    ]


def owned(ingest: Role) -> set[tuple[str, int]]:
    """The raw partitions that an ingest process reads."""
    return {(feed["network"], feed["partition"]) for feed in ingest.status()["partitions"]}


def day(network: str) -> list[list[bytes]]:
    """A day of a network, hour by hour: in the first half of it everybody has their moment, and then nothing."""
    hours = []
    for hour in range(25):
        at_ms = START_MS + hour * HOUR_MS
        stars = [star for star in range(STARS) if star % 12 == hour]
        hours.append([*(value for star in stars for value in shares(network, star, at_ms)), heartbeat("", at_ms)])
    return hours


@dataclass(slots=True)
class Running:
    installation: Installation
    worker: Role
    ingests: list[Role]
    reader: ProgressReader

    def beat(self, network: str, time_ms: int, partitions: Iterable[int], sources: Iterable[str] = ("",)) -> None:
        """Let collectors say how far they are."""
        values = [heartbeat(source, time_ms) for source in sources]
        for partition in partitions:
            self.installation.send(values, network=network, partition=partition)

    def tasks(self) -> list[dict[str, Any]]:
        return self.worker.status()["partitions"]  # type: ignore[no-any-return]

    def inputs(self, network: str) -> list[dict[str, Any]]:
        return [task.get("inputs", {}).get(network, {}) for task in self.tasks()]

    def clocks(self, network: str) -> set[int | None]:
        return {task.get("clocks", {}).get(network) for task in self.tasks()}

    def until_clock(self, network: str, time_ms: int) -> None:
        """Return when all partitions take scores at this time."""
        eventually(lambda: self.clocks(network) == {time_ms}, otherwise=lambda: self.inputs(network))

    def until_heard(self, network: str, furthest_ms: int, **heartbeats_ms: int) -> None:
        """Return when all partitions know of the furthest input, and of these sources, and nothing is under way."""

        def heard(inputs: dict[str, Any]) -> bool:
            theirs = inputs.get("heartbeats_ms", {})
            return inputs.get("furthest_ms") == furthest_ms and heartbeats_ms.items() <= theirs.items()

        eventually(lambda: all(map(heard, self.inputs(network))), otherwise=lambda: self.inputs(network))
        self.installation.wait()

    def held(self, network: str) -> dict[str, str]:
        """By partition: what holds its clock, as the metric says."""
        families = text_string_to_metric_families(self.worker.get("/metrics").raise_for_status().text)
        return {
            sample.labels["partition"]: sample.labels["by"]
            for family in families
            for sample in family.samples
            if sample.name == "clout_clock_held" and sample.labels["network"] == network
        }

    def shown(self, network: str) -> NetworkClock:
        """What `clout clock show` says of a network."""
        tasks = asked_tasks(self.reader)
        clocks = network_clocks(tasks, PARTITIONS, ingest_trouble=ingest_trouble(self.reader))
        [found] = [clock for clock in clocks if clock.network == network]
        return found

    def falls(self, network: str, after_ms: int = 0) -> dict[str, list[tuple[int, float | None]]]:
        """Of each user of a network: when they fell by decay, and to what."""
        changes = self.installation.changes()
        assert broken_chains(changes) == []
        return {
            user.removeprefix(network): [
                (parse_ms(change.as_of), change.score)
                for change in theirs
                if change.cause == "decay" and parse_ms(change.as_of) > after_ms
            ]
            for user, theirs in changes.items()
            if user.startswith(network)
        }

    def check_held(self, network: str, clock_ms: int, by: str, *, hanging: Sequence[Role] = ()) -> None:
        """The clock stands at a time, both ways of asking say by whom it is held, and nobody fell later than that."""
        assert self.clocks(network) == {clock_ms}
        assert set(self.held(network).values()) == {by}
        shown = self.shown(network)
        standing = ["ingest"] if hanging else []
        assert (shown.clock, [holder.name for holder in shown.held_by]) == (format_ms(clock_ms), [*standing, by])
        for ingest in hanging:
            assert f"do not answer: {ingest.address}" in shown.held_by[0].why
        assert shown.behind_seconds
        assert self.fell_last(network) <= clock_ms

    def fell_last(self, network: str) -> int:
        return max((at_ms for falls in self.falls(network).values() for at_ms, _ in falls), default=0)


@pytest.fixture(scope="module")
def running(install: Install) -> Iterator[Running]:
    installation = install(
        networks=NETWORKS,
        lanes=LaneSettings(partitions=PARTITIONS),
        ingest=IngestSettings(tick_interval_ms=100, session_timeout_seconds=6),
    )
    # A day that came in while nothing ran; of one raw partition only half of it.
    late = day("late")
    installation.send([value for hour in late for value in hour], network="late")
    installation.send([heartbeat("", START_MS), heartbeat("", FAR_MS)], network="late", partition=1)
    installation.send(shares("quiet", 0, START_MS), network="quiet")
    installation.send([value for star in range(STARS) for value in shares("twitter", star, START_MS)])
    ingests, [worker] = installation.up()
    worker.wait_until_ready()
    reader = reader_of(installation.settings)
    yield Running(installation, worker, ingests, reader)
    reader._http.close()


def test_where_nothing_ever_came_there_is_no_clock_and_it_is_said_why(running: Running) -> None:
    running.until_heard("twitter", START_MS)
    assert running.clocks("twitter") == {None}
    assert set(running.held("twitter").values()) == {"raw partition 1"}
    names = [holder.name for holder in running.shown("twitter").held_by]
    assert names == ["raw partition 1", "raw partition 2", *(f"source {source}" for source in SOURCES)]
    assert running.fell_last("twitter") == 0


def test_a_raw_partition_without_any_traffic_is_not_waited_for_where_it_may_be_idle(running: Running) -> None:
    running.until_clock("quiet", START_MS)
    assert running.held("quiet") == {}
    assert running.shown("quiet").held_by == []


def test_one_that_was_idle_holds_the_clock_from_when_something_comes_until_it_has_long_been_quiet(
    running: Running,
) -> None:
    running.beat("quiet", START_MS + HOUR_MS, [0])
    running.until_clock("quiet", START_MS + HOUR_MS)
    running.beat("quiet", START_MS + 1, [1])
    running.beat("quiet", START_MS + DAY_MS, [0])
    running.until_heard("quiet", START_MS + DAY_MS)
    running.check_held("quiet", START_MS + HOUR_MS, "raw partition 1")
    time.sleep(IDLE_SECONDS)
    running.beat("quiet", START_MS + 2 * DAY_MS, [0])
    running.until_clock("quiet", START_MS + 2 * DAY_MS)


def test_a_backlog_of_a_day_goes_only_as_far_as_its_slowest_raw_partition(running: Running) -> None:
    running.until_heard("late", START_MS + DAY_MS)
    running.check_held("late", FAR_MS, "raw partition 1")


def test_a_backlog_read_at_full_speed_ends_with_the_falls_of_a_day_that_was_read_as_it_passed(
    running: Running,
) -> None:
    hours = day("live")
    for first in range(0, len(hours), 6):
        passed = hours[first : first + 6]
        running.installation.send([value for hour in passed for value in hour], network="live")
        now_ms = START_MS + (first + len(passed) - 1) * HOUR_MS
        running.beat("live", now_ms, [1])
        running.until_clock("live", now_ms)
    running.beat("late", START_MS + DAY_MS, [1])
    running.until_clock("late", START_MS + DAY_MS)
    running.installation.wait()
    # Whoever had no score yet when the clock of the backlog came that far does not fall before.
    live, late = running.falls("live", after_ms=FAR_MS), running.falls("late", after_ms=FAR_MS)
    assert len(live) == STARS
    assert sum(map(len, live.values())) >= STARS / 3
    assert live == late


def test_uneven_raw_partitions_and_one_far_behind_read_by_two_processes(running: Running) -> None:
    running.ingests.append(running.installation.ingest(1).start())
    eventually(lambda: all(ingest.status()["partitions"] for ingest in running.ingests))
    running.beat("twitter", START_MS + HOUR_MS, range(3), SOURCES)
    running.until_clock("twitter", START_MS + HOUR_MS)
    running.beat("twitter", START_MS + DAY_MS, [0, 1], SOURCES)
    running.until_heard("twitter", START_MS + DAY_MS, west=START_MS + DAY_MS)
    running.check_held("twitter", START_MS + HOUR_MS, "raw partition 2")
    running.beat("twitter", START_MS + DAY_MS, [2], SOURCES)
    running.until_clock("twitter", START_MS + DAY_MS)
    assert running.held("twitter") == {}


def test_what_comes_into_a_quiet_raw_partition_is_waited_for_while_its_ingest_hangs_and_when_it_is_dead(
    running: Running,
) -> None:
    end_ms = START_MS + 2 * DAY_MS
    other, reader = sorted(running.ingests, key=lambda ingest: ("quiet", 1) in owned(ingest))
    assert ("quiet", 0) in owned(other)
    running.until_clock("quiet", end_ms)
    reader.freeze()
    running.installation.send(shares("quiet", 0, end_ms + HOUR_MS), network="quiet", partition=1)
    time.sleep(IDLE_SECONDS)
    running.beat("quiet", end_ms + DAY_MS, [0])
    eventually(lambda: {of["furthest_ms"] for of in running.inputs("quiet")} == {end_ms + DAY_MS})
    running.check_held("quiet", end_ms, "raw partition 1", hanging=[reader])
    reader.kill()
    reader.start()
    # It was read, and has been quiet since.
    running.until_clock("quiet", end_ms + DAY_MS)
    running.installation.wait()
    changes = running.installation.changes()["quiet:star0"]
    credit = max(at for at, change in enumerate(changes) if change.cause != "decay")
    assert parse_ms(changes[credit].as_of) <= end_ms + HOUR_MS
    assert {change.cause for change in changes[credit + 1 :]} == {"decay"}
    assert all(parse_ms(change.as_of) <= end_ms for change in changes[:credit])


def test_one_of_four_collectors_dead_holds_the_clock(running: Running) -> None:
    running.beat("twitter", START_MS + 3 * DAY_MS, range(3), OTHERS)
    running.until_heard("twitter", START_MS + 3 * DAY_MS)
    running.check_held("twitter", START_MS + DAY_MS, "source west")
    [clock, *_] = json.loads(running.installation.run("clock", "show", "--json").stdout)["networks"]
    west = {"name": "source west", "time": format_ms(START_MS + DAY_MS), "since": None, "why": ""}
    assert (clock["network"], clock["held_by"]) == ("twitter", [west | {"raw_partition": None}])
    assert 0 < running.fell_last("twitter") <= START_MS + DAY_MS


def test_a_collector_that_is_back_in_one_raw_partition_vouches_for_no_other(running: Running) -> None:
    back_ms = START_MS + DAY_MS + HOUR_MS
    running.beat("twitter", back_ms, [0, 1], ["west"])
    running.until_heard("twitter", START_MS + 3 * DAY_MS, west=back_ms)
    running.check_held("twitter", START_MS + DAY_MS, "source west")
    [holder] = running.shown("twitter").held_by
    assert (holder.time, holder.raw_partition) == (format_ms(START_MS + DAY_MS), 2)


def test_ingest_processes_that_come_and_go_neither_move_nor_lose_a_clock(running: Running) -> None:
    first = running.ingests[0]
    assert first.stop() == 0
    running.beat("twitter", START_MS + 3 * DAY_MS + HOUR_MS, range(3), OTHERS)
    first.start()
    eventually(lambda: first.status()["partitions"], otherwise=first.log)
    running.beat("twitter", START_MS + 3 * DAY_MS + 2 * HOUR_MS, range(3), OTHERS)
    running.until_heard("twitter", START_MS + 3 * DAY_MS + 2 * HOUR_MS)
    running.check_held("twitter", START_MS + DAY_MS, "source west")
    assert running.clocks("late") == {START_MS + DAY_MS}


def test_a_release_lets_the_clock_go_on_at_once_and_everybody_can_read_why(running: Running) -> None:
    run = running.installation.run("clock", "release", "twitter", "--source", "west", "--reason", "its disk burnt")
    assert run.returncode == 0, run.stderr
    assert "accepted: command" in run.stderr
    assert run.stdout.startswith("source west of twitter is not waited for any more, until it is heard again\n")
    # Without any tick after it.
    end_ms = START_MS + 3 * DAY_MS + 2 * HOUR_MS
    running.until_clock("twitter", end_ms)
    shown = running.shown("twitter")
    assert (shown.held_by, shown.released) == ([], ["west"])
    running.installation.wait()
    assert START_MS + DAY_MS < running.fell_last("twitter") <= end_ms
    [line] = running.installation.run("control", "log").stdout.splitlines()
    assert "release twitter source west  accepted" in line
    assert "its disk burnt" in line


def test_a_release_ends_when_the_source_is_heard_again_and_the_clock_does_not_go_back(running: Running) -> None:
    end_ms = START_MS + 3 * DAY_MS + 2 * HOUR_MS
    running.beat("twitter", START_MS + 2 * DAY_MS, range(3), ["west"])
    running.beat("twitter", START_MS + 4 * DAY_MS, range(3), OTHERS)
    running.until_heard("twitter", START_MS + 4 * DAY_MS, west=START_MS + 2 * DAY_MS)
    running.check_held("twitter", end_ms, "source west")
    assert running.shown("twitter").released == []
    running.beat("twitter", START_MS + 4 * DAY_MS, range(3), ["west"])
    running.until_clock("twitter", START_MS + 4 * DAY_MS)


def test_a_partition_that_stopped_holds_every_clock_and_all_others_say_so(running: Running) -> None:
    producer = clients.producer(running.installation.settings.kafka)
    names = running.installation.names
    producer.produce(names.targets_lane, b"", encode_key(Stamp("actors/0", 1_000_000)), partition=1)
    assert producer.flush(10) == 0
    eventually(lambda: running.worker.partitions("stopped"), otherwise=running.worker.log)
    last_ms = START_MS + 5 * DAY_MS
    running.beat("twitter", last_ms, range(3), SOURCES)

    def heard() -> bool:
        working = [task["inputs"]["twitter"] for task in running.worker.partitions().values()]
        return [inputs["clock_ms"] for inputs in working] == [last_ms] * 2

    eventually(heard, otherwise=running.tasks)
    eventually(
        lambda: running.held("twitter") == dict.fromkeys("012", "partition 1"),
        otherwise=lambda: running.held("twitter"),
    )
    running.check_held("twitter", START_MS + 4 * DAY_MS, "partition 1")
    [holder] = running.shown("twitter").held_by
    assert "the sequence of a lane has a gap" in holder.why
    assert holder.time == format_ms(START_MS + 4 * DAY_MS)


def test_without_any_ingest_it_is_said_that_nothing_is_read(running: Running) -> None:
    for ingest in running.ingests:
        assert ingest.stop() == 0, ingest.log()
    [holder, *_] = running.shown("late").held_by
    assert holder.name == "ingest"
    assert "no running role was found" in holder.why
