"""A fault in a worker's fold, through whole roles: one partition stands still and says so, and goes on when mended."""

import json
import time
from itertools import count
from typing import Any, Final

import pytest

from schemas.incident import Incident, decode_incident
from schemas.users import partition_of
from scorer.targets import fold_targets
from streams.progress import conservation
from streams.settings import LaneSettings, NetworkSettings, WorkerSettings
from streams.stages import targets
from tests.checks import broken_chains, committed
from tests.engine.conftest import Install
from tests.roles import Installation, Role, eventually, start_together

PARTITIONS: Final = 2
START_MS: Final = int(time.time()) * 1000 - 3_600_000
POISON: Final = 777
"""Milliseconds of the second in which events are that the fault turns wrong."""
POISON_MS: Final = START_MS + POISON
STANDS, GOES_ON = 0, 1
HIT, SPARED = (
    next(user for user in map("t:{}".format, count()) if partition_of(user.encode(), PARTITIONS) == partition)
    for partition in (STANDS, GOES_ON)
)
"""Users of the two partitions."""


def be_faulty() -> None:
    """Let the fold double what some events made of their users."""

    def wrong(entries: Any, *, users: Any, times: Any, **columns: Any) -> Any:
        entered = fold_targets(entries, users=users, times=times, **columns)
        entries["reach"][users[times % 1000 == POISON], 0] *= 2
        return entered

    targets.fold_targets = wrong  # type: ignore[attr-defined]


def values(first: int, number: int, target: str, time_ms: int = START_MS) -> list[bytes]:
    event: dict[str, Any] = {"kind": "share", "target": target, "time": time_ms}
    return [json.dumps(event | {"id": f"e{n}", "actor": actor(n)}).encode() for n in range(first, first + number)]


def actor(number: int) -> str:
    """Return somebody whose actions are weighed in the partition that goes on."""
    names = (f"a:{number}.{suffix}" for suffix in count())
    return next(name for name in names if partition_of(name.encode(), PARTITIONS) == GOES_ON)


def incidents_of(installation: Installation) -> list[Incident]:
    records = committed(installation.settings.kafka, installation.names.incidents)
    return [decode_incident(value or b"") for _, value in records]


@pytest.fixture(scope="module")
def installation(install: Install) -> Installation:
    return install(
        lanes=LaneSettings(partitions=PARTITIONS),
        networks={"twitter": NetworkSettings(raw_partitions=1)},
        worker=WorkerSettings(heartbeat_interval_seconds=1),
    )


@pytest.fixture(scope="module")
def faulty(installation: Installation) -> Role:
    ingest, worker = installation.ingest(), installation.worker(before=be_faulty)
    start_together(ingest, worker)
    installation.send([*values(0, 20, HIT), *values(20, 20, SPARED)])
    installation.wait()
    return worker


def stop(installation: Installation, worker: Role, first: int) -> Incident:
    """Send what the fault turns wrong; return the incident when the partition stands still."""
    known = len(incidents_of(installation))
    installation.send([*values(first, 1, HIT, POISON_MS), *values(first + 1, 5, SPARED)])
    eventually(lambda: STANDS in worker.partitions("stopped"), otherwise=worker.log)
    eventually(lambda: len(incidents_of(installation)) > known, otherwise=worker.log)
    return incidents_of(installation)[-1]


def test_a_faulty_worker_stops_one_partition_which_says_so_and_goes_on_after_a_quarantine(
    installation: Installation, faulty: Role
) -> None:
    before = installation.changes()[HIT]
    incident = stop(installation, faulty, 100)
    assert (incident.kind, incident.slice.partition, incident.users) == ("law_violation", STANDS, [HIT])
    assert "sums_rise_by_grants" in incident.evidence[0].finding
    assert 'clout_law_violations_total{law="sums_rise_by_grants"} 1.0' in faulty.get("/metrics").text

    # The others go on; what stands is marked, one by one and all together.
    assert faulty.get(f"/v1/users/{HIT}").json()["stale"] is True
    installation.send(values(200, 5, SPARED))
    eventually(lambda: faulty.get(f"/v1/users/{SPARED}").json()["networks"]["twitter"]["events"] == 30)
    assert "stale" not in faulty.get(f"/v1/users/{SPARED}").json()
    lines = [json.loads(line) for line in faulty.get(f"/v1/users?partition={STANDS}").text.splitlines()]
    assert lines
    assert all(line["stale"] is True for line in lines)
    assert "last good score" in installation.run("show", HIT).stdout
    status = installation.run("status").stdout
    assert "its scores are stale" in status
    [suspect] = [evidence.suspect for evidence in incident.evidence]
    assert suspect is not None
    reason = faulty.partitions("stopped")[STANDS]["reason"]
    order = f"clout quarantine --partition {STANDS} --lane targets --offset {suspect.first} --reason TEXT"
    assert order in reason
    assert installation.changes()[HIT] == before

    suspect = incident.evidence[0].suspect
    assert suspect is not None
    place = ("--partition", str(STANDS), "--offset", str(suspect.first))
    nowhere = installation.run("quarantine", "--partition", str(STANDS), "--offset", "99999", "--reason", "a test")
    assert "there is no record at" in nowhere.stderr
    done = installation.run("quarantine", *place, "--reason", "a test")
    assert done.returncode == 0, done.stderr
    assert "was set aside: a record of credits with 1 rows, of which events: 1 of twitter" in done.stdout
    assert f"partition {STANDS} runs" in done.stdout
    command = done.stderr.split("accepted: command ")[1].split(",")[0]
    last = incidents_of(installation)[-1]
    assert (last.id, last.status, last.reference) == (incident.id, "resolved", command)
    assert "stale" not in faulty.get(f"/v1/users/{HIT}").json()
    [sums] = conservation(installation.wait())
    assert (sums.missing, sums.dead_lettered) == (0, 1)
    again = installation.run("quarantine", *place, "--reason", "a test")
    assert again.returncode == 1
    assert "was passed already" in again.stderr


def test_a_worker_without_the_fault_goes_on_from_the_same_record_and_resolves_the_incident(
    installation: Installation, faulty: Role
) -> None:
    incident = stop(installation, faulty, 300)
    events = installation.users()[HIT].networks["twitter"].events
    assert faulty.stop() == 0
    installation.worker(slot=1).start()
    [sums] = conservation(installation.wait())
    assert sums.missing == 0
    assert installation.users()[HIT].networks["twitter"].events == events + 1
    last = incidents_of(installation)[-1]
    assert (last.id, last.status, last.reference) == (incident.id, "resolved", None)
    assert last.opened == incident.opened
    assert broken_chains(installation.changes()) == []
