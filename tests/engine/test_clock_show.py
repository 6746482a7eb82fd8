"""A raw partition that nothing comes into holds its network's clock, and everything that is asked says so."""

import json
import time
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from clout.population import newest_populations
from schemas.times import format_ms
from streams.settings import LaneSettings, NetworkSettings
from tests.engine.conftest import Install
from tests.roles import Installation, Role, eventually

NOW_MS = int(time.time() * 1000)
EARLIER_MS = NOW_MS - 7_500_000
SILENT = "raw partition 1"


def event(name: str, time_ms: int) -> bytes:
    return json.dumps({"id": name, "kind": "share", "actor": "p/1", "target": "p/2", "time": time_ms}).encode()


@dataclass(frozen=True, slots=True)
class Running:
    installation: Installation
    worker: Role

    def said(self, *options: str) -> str:
        run = self.installation.run("clock", "show", *options)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def inputs(self) -> list[dict[str, Any]]:
        """What each partition says of the network's inputs."""
        return [entry["inputs"].get("twitter", {}) for entry in self.worker.partitions().values()]

    def gauges(self) -> dict[str, list[dict[str, str]]]:
        """Labels of the series of clocks, by metric and in the order of partitions."""
        families = text_string_to_metric_families(self.worker.get("/metrics").raise_for_status().text)
        found: dict[str, list[dict[str, str]]] = {}
        for sample in (sample for family in families for sample in family.samples):
            if sample.name.startswith("clout_clock_"):
                found.setdefault(sample.name, []).append(sample.labels)
        for labels in found.values():
            labels.sort(key=lambda of: of["partition"])
        return found


@pytest.fixture(scope="module")
def running(install: Install) -> Running:
    installation = install(networks={"twitter": NetworkSettings(raw_partitions=2)}, lanes=LaneSettings(partitions=2))
    _, [worker] = installation.up()
    worker.wait_until_ready()
    running = Running(installation, worker)
    assert "nothing was heard of any raw partition yet" in running.said() or SILENT in running.said()
    installation.send([event("a", NOW_MS)])
    installation.wait()

    def all_know() -> bool:
        return [inputs.get("furthest_ms") for inputs in running.inputs()] == [NOW_MS, NOW_MS]

    eventually(all_know, otherwise=running.inputs)
    return running


def test_a_raw_partition_that_nothing_ever_came_into_holds_the_clock(running: Running) -> None:
    assert running.said().splitlines() == [
        f"twitter: no clock yet: waiting for {SILENT}",
        f"  held by {SILENT}: never heard of",
    ]
    [clock] = json.loads(running.said("--json"))["networks"]
    assert (clock["clock"], clock["furthest"]) == (None, format_ms(NOW_MS))
    assert [(by["name"], by["time"]) for by in clock["held_by"]] == [(SILENT, None)]
    for inputs in running.inputs():
        assert (inputs["clock_ms"], inputs["released"]) == (None, [])
        assert [of["name"] for of in inputs["waits_for"]] == [SILENT, "raw partition 0"]
    held = [{"network": "twitter", "partition": partition, "by": SILENT} for partition in ("0", "1")]
    assert running.gauges() == {"clout_clock_held": held}


def test_once_something_came_the_clock_is_as_far_as_that(running: Running) -> None:
    running.installation.send([event("b", EARLIER_MS)], partition=1)

    def clocks() -> list[int | None]:
        return [entry["clocks"].get("twitter") for entry in running.worker.partitions().values()]

    eventually(lambda: clocks() == [EARLIER_MS, EARLIER_MS], otherwise=running.inputs)
    [clock, held] = running.said().splitlines()
    assert clock == f"twitter: {format_ms(EARLIER_MS)}, 2 h 5 min behind its furthest input"
    assert held.startswith(f"  held by {SILENT}: at {format_ms(EARLIER_MS)}, last heard 20")
    told = [entry["told_ms"]["twitter"] for entry in running.worker.partitions().values()]
    assert told == [{"0": EARLIER_MS, "1": EARLIER_MS}] * 2
    shown = running.gauges()
    assert [len(shown[f"clout_clock_{name}"]) for name in ("seconds", "behind_seconds", "held")] == [2, 2, 2]


def test_without_a_worker_it_says_where_the_clock_stands_and_that_no_worker_moves_it(running: Running) -> None:
    def told() -> list[str | None]:
        populations = newest_populations(running.installation.settings.kafka, running.installation.names)
        return [of.networks["twitter"].clock for of in populations.values() if "twitter" in of.networks]

    eventually(lambda: told() == [format_ms(EARLIER_MS)] * 2, otherwise=told)
    running.worker.freeze()
    hanging = running.said().splitlines()
    running.worker.thaw()
    assert running.worker.stop() == 0
    for said in (hanging, running.said().splitlines()):
        assert said == [
            f"twitter: {format_ms(EARLIER_MS)}",
            f"  held by partition 0: no worker answers for it; last at {format_ms(EARLIER_MS)}",
            f"  held by partition 1: no worker answers for it; last at {format_ms(EARLIER_MS)}",
        ]
