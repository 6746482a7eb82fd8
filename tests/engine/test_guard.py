"""The guard on a real Kafka and RocksDB: one watches, the other stands by and goes on where the first one was."""

import json
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from typing import Final

import pytest

from clout.main import main
from schemas.control import CommandRecord, decode_record
from schemas.feed_report import FeedReport, encode_feed_report
from schemas.incident import Incident, Slice, decode_incident, encode_incident
from schemas.times import format_ms
from streams import clients
from streams.settings import GuardSettings, LaneSettings, NetworkSettings
from tests.checks import committed
from tests.engine.conftest import Install
from tests.engine.suspicious import be_suspicious
from tests.roles import Installation, Role, environment_of, eventually, start_together

NOW_TEXT: Final = format_ms(1_760_000_000_000)


def incidents_of(installation: Installation) -> list[Incident]:
    records = committed(installation.settings.kafka, installation.names.incidents)
    return [decode_incident(value or b"") for _, value in records]


def freezes_of(installation: Installation) -> list[CommandRecord]:
    records = committed(installation.settings.kafka, installation.names.control_record)
    return [record for _, value in records if (record := decode_record(value or b"")).command == "freeze"]


def report(lag_records: int) -> bytes:
    return encode_feed_report(
        FeedReport(
            network="twitter",
            raw_partition=99,
            raw_partitions=100,
            written=NOW_TEXT,
            position=0,
            lag_records=lag_records,
            at_end=False,
            frozen=False,
            time=None,
            arrival=None,
            heartbeats={},
            counters={},
        )
    )


def put(installation: Installation, topic: str, *values: bytes, key: bytes = b"k") -> None:
    producer = clients.producer(installation.settings.kafka)
    for value in values:
        producer.produce(topic, value, key)
    assert producer.flush(30) == 0


def watches(guard: Role) -> bool:
    status = guard.status()
    return bool(status["active"] and not status["reading"])


def gauge(guard: Role, name: str) -> float:
    [value] = [line.rpartition(" ")[2] for line in guard.get("/metrics").text.splitlines() if line.startswith(name)]
    return float(value)


def ran(installation: Installation, *arguments: str) -> tuple[int, str, str]:
    """Run a command in this process, which has imported what it takes; return exit code, output and errors."""
    code = 0
    out, errors = TextIOWrapper(BytesIO(), "utf-8"), TextIOWrapper(BytesIO(), "utf-8")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(errors):
        for name, value in environment_of(installation.settings).items():
            patch.setenv(name, value)
        patch.chdir(installation.directory)
        try:
            main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, _text(out), _text(errors)


def _text(stream: TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


def done(installation: Installation, *arguments: str) -> str:
    code, out, errors = ran(installation, *arguments)
    assert code == 0, errors
    return out


@pytest.fixture(scope="module")
def installation(install: Install) -> Installation:
    return install(
        lanes=LaneSettings(partitions=2),
        networks={"twitter": NetworkSettings(raw_partitions=1)},
        guard=GuardSettings(session_timeout_seconds=3),
    )


@pytest.fixture(scope="module")
def guards(installation: Installation) -> tuple[Role, Role]:
    """The one that watches and the one that stands by, beside an ingest that takes commands."""
    one, other = installation.guard(before=be_suspicious), installation.guard(1, before=be_suspicious)
    start_together(one, other, installation.ingest())
    one.wait_until_ready()
    other.wait_until_ready()
    eventually(lambda: watches(one) or watches(other), otherwise=one.log)
    return (one, other) if watches(one) else (other, one)


def test_one_guard_watches_and_the_other_stands_by(guards: tuple[Role, Role]) -> None:
    active, standby = guards
    assert (gauge(active, "clout_guard_active"), gauge(standby, "clout_guard_active")) == (1, 0)
    assert standby.get("/readyz").is_success
    assert standby.status()["detectors"] == {}


def test_the_status_of_all_roles_says_which_guard_watches(
    installation: Installation, guards: tuple[Role, Role]
) -> None:
    shown = [line.split()[2:5] for line in installation.run("status").stdout.splitlines() if line.startswith("guard")]
    assert sorted(shown) == sorted([[guards[0].address, "-", "watches"], [guards[1].address, "-", "stands"]])


def test_a_stopped_partitions_incident_is_known_to_the_guard_which_opens_none_of_its_own(
    installation: Installation, guards: tuple[Role, Role]
) -> None:
    active, _ = guards
    stopped = Incident(
        id="law_violation:1:1:17:0",
        kind="law_violation",
        slice=Slice(partition=1),
        severity="critical",
        status="investigating",
        title="partition 1 stands still: sums_rise_by_grants",
        opened=NOW_TEXT,
        updated=NOW_TEXT,
        evidence=[],
        affected_users=0,
        model="1",
    )
    put(installation, installation.names.incidents, encode_incident(stopped), key=stopped.id.encode())
    eventually(lambda: active.status()["detectors"]["law_violation"] == [{"partition": 1}], otherwise=active.log)
    open_now = 'clout_incidents_open{kind="law_violation",network="",severity="critical"}'
    eventually(lambda: gauge(active, open_now) == 1, otherwise=active.log)
    assert gauge(active, 'clout_guard_firing{kind="law_violation",network="",severity="critical"}') == 1
    assert [incident["id"] for incident in active.status()["incidents"]] == [stopped.id]
    assert incidents_of(installation) == [stopped]
    code, _, errors = ran(installation, "incident", "resolve", "law_violation", "--reason", "it is late")
    assert (code, "is resolved by its partition" in errors) == (1, True)


def test_operators_declare_note_and_resolve_by_the_command_line(
    installation: Installation, guards: tuple[Role, Role]
) -> None:
    assert "is open" in done(
        installation, "incident", "declare", "mine", "--network", "twitter", "--reason", "half is missing"
    )
    done(installation, "incident", "note", "mi", "a cable")
    shown = json.loads(done(installation, "incident", "show", "mine", "--json"))
    assert (shown["status"], [note["text"] for note in shown["notes"]]) == ("identified", ["a cable"])
    done(installation, "incident", "resolve", "mine", "--reason", "the cable is in")
    eventually(lambda: "is told mine resolved" in guards[0].log(), otherwise=guards[0].log)
    touched = json.loads(done(installation, "incident", "show", "mine", "--json"))
    assert (touched["affected_users"], touched["users"]) == (7, ["t:7"])
    assert "mine" not in done(installation, "incident", "list")
    assert "mine" in done(installation, "incident", "list", "--all")
    assert "there is no incident" in ran(installation, "incident", "show", "nobody's")[2]


def test_a_finding_is_written_seldom_freezes_its_network_when_critical_and_outlives_the_guard(
    installation: Installation, guards: tuple[Role, Role]
) -> None:
    active, standby = guards

    def findings() -> list[Incident]:
        return [incident for incident in incidents_of(installation) if incident.kind == "feed_partial"]

    put(installation, installation.names.feeds, *(report(lag) for lag in range(1, 50)))
    eventually(findings, otherwise=active.log)
    put(installation, installation.names.feeds, report(100), report(2_000))
    eventually(lambda: freezes_of(installation), otherwise=active.log)
    [freeze] = freezes_of(installation)
    assert (freeze.accepted, freeze.network, freeze.incident) == (True, "twitter", findings()[0].id)
    eventually(lambda: findings()[-1].frozen == ["twitter"], otherwise=active.log)
    assert findings()[-1].severity == "critical"
    # It opened, got worse, and froze; the other findings wait for their turn.
    assert len(findings()) < 10
    assert gauge(active, 'clout_guard_freezes_total{network="twitter"}') == 1

    active.kill()
    eventually(lambda: watches(standby), otherwise=standby.log)
    # What was not stored yet it reads again.
    eventually(lambda: standby.status()["detectors"]["feed_partial"] == [{"network": "twitter"}])
    put(installation, installation.names.feeds, report(0))
    eventually(lambda: findings()[-1].status == "monitoring", otherwise=standby.log)
    assert {incident.id for incident in findings()} == {findings()[0].id}
    # The detector saw each report once, on whichever guard.
    assert findings()[-1].evidence[-1].numbers["reports"] == 52, active.log() + standby.log()
    assert len(freezes_of(installation)) == 1
    assert f"begins with ['{findings()[0].id}'" in standby.log()
    put(installation, installation.names.feeds, report(0))
    eventually(lambda: f"is told {findings()[0].id} monitoring" in standby.log(), otherwise=standby.log)
    assert standby.stop() == 0
    assert standby.log_file.read_text().count("ends") == 1
