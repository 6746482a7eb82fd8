"""`clout audit` on a running installation: it holds while events flow, and names the law that a fault breaks."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from rocksdict import Cache

from clout.audit.findings import HOLDS
from clout.commands.audit import audit_all
from schemas.change import ScoreChange, encode_change
from schemas.times import parse_ms
from schemas.users import partition_of
from scorer.target_state import decode_targets, encode_targets
from streams import clients
from streams.errors import CloutError
from streams.settings import LaneSettings, NetworkSettings
from streams.store import Rows, Store
from tests.clout.audit.stand import some_acts
from tests.engine.conftest import Install
from tests.roles import Installation, Role, eventually
from tests.streams.stages import Retraction

PARTITIONS = 2
PAUSE_SECONDS = 0.02
CHAIN = "sequence_and_previous_chain"


class Running:
    """An installation that events flow into until it is told to be still."""

    def __init__(self, installation: Installation, worker: Role) -> None:
        self.installation = installation
        self.worker = worker
        self._still = threading.Event()
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()

    def _feed(self) -> None:
        acts = list(some_acts(7, 30_000, days=300, retracting=0.05))
        for at in range(0, len(acts), 100):
            if self._still.wait(PAUSE_SECONDS):
                return
            for network in ("one", "two"):
                theirs = [raw(act) for act in acts[at : at + 100] if act.network == network]
                until = {"id": str(at), "kind": "heartbeat", "actor": "c", "target": "c", "time": acts[at].time}
                theirs.append(json.dumps(until | {"source": "test"}).encode())
                self.installation.send(theirs, network=network)

    def be_still(self) -> None:
        self._still.set()
        self._thread.join()
        self.installation.wait()

    def broken(self) -> dict[str, list[str]]:
        """Laws that do not hold, and whom an audit names."""
        findings, _ = audit_all(self.installation.settings, 0.0, lambda _line: None)
        return {
            of.law: sorted({offence.who for offence in of.offences}) for of in findings.verdicts if of.verdict != HOLDS
        }


def raw(act: Any) -> bytes:
    if isinstance(act, Retraction):
        event = {"id": act.id, "kind": "retract", "actor": act.actor, "target": "nobody", "time": act.time}
    else:
        event = {"id": act.id, "kind": act.kind, "actor": act.actor, "target": act.target, "time": act.time}
    return json.dumps(event).encode()


@pytest.fixture(scope="module")
def running(install: Install) -> Iterator[Running]:
    networks = {"one": NetworkSettings(), "two": NetworkSettings()}
    installation = install(networks=networks, lanes=LaneSettings(partitions=PARTITIONS))
    _, [worker] = installation.up()
    worker.wait_until_ready()
    running = Running(installation, worker)
    yield running
    running.be_still()


def test_all_laws_hold_while_events_flow(running: Running) -> None:
    eventually(lambda: sum(len(theirs) for theirs in running.installation.changes().values()) > 100)
    run = running.installation.run("audit", "--json", "--seconds", "1")
    assert run.stdout, run.stderr
    laws = {law["law"]: law for law in json.loads(run.stdout)["laws"]}
    assert {name: law for name, law in laws.items() if law["verdict"] != "holds"} == {}
    assert run.returncode == 0
    assert all(law["users"] > 20 for law in laws.values())
    assert laws["sequence_and_previous_chain"]["changes"] > 100


def test_changes_that_somebody_else_wrote_break_the_chain(running: Running) -> None:
    running.be_still()
    changes = running.installation.changes()
    one, two = sorted(user for user, theirs in changes.items() if theirs[-1].score is not None)[:2]
    forge(running.installation, changes[one][-1], sequence=0, previous=0.0)
    forge(running.installation, changes[two][-1], sequence=1, previous=0.5)
    run = running.installation.run("audit", "--seconds", "0")
    assert run.returncode == 1
    table = {line.split()[0]: line.split()[1] for line in run.stdout.splitlines()[1:9]}
    assert table.pop(CHAIN) == "broken"
    assert set(table.values()) == {"holds"}
    assert f"{CHAIN}: {one}: sequence {changes[one][-1].sequence} comes after {changes[one][-1].sequence}" in run.stdout
    assert f"{CHAIN}: {two}: previous of sequence {changes[two][-1].sequence + 1} is not" in run.stdout


def test_a_row_that_was_changed_by_hand_breaks_the_laws_of_sums(running: Running) -> None:
    running.be_still()
    before = running.broken()
    assert running.worker.stop() == 0
    with pytest.raises(CloutError, match="no running role was found"):
        running.broken()
    user = b"t1"
    settings = running.installation.settings
    directory = settings.data_dir / "state" / settings.names.app_id / "worker-0"
    store = Store(directory / str(partition_of(user, PARTITIONS)), Cache(1 << 20))
    local = store.local()
    assert local is not None
    heads, entries, contributors = decode_targets([store.target(user)], len(settings.networks))
    entries["reach"] = 1.5 * entries["granted_reach"]
    store.write(Rows(targets=[(user, encode_targets(heads, entries, contributors)[0])]), None, local)
    store.close()
    running.worker.start().wait_until_ready()
    assert running.broken() == before | {"sums_rise_by_grants": ["t1"], "score_follows_sums": ["t1"]}


def forge(installation: Installation, of: ScoreChange, *, sequence: int, previous: float) -> None:
    """Write a change once more with other numbers."""
    assert of.score is not None
    value = encode_change(
        of.user, of.sequence + sequence, of.score, of.score + previous, of.subscores, of.networks,
        parse_ms(of.as_of), of.cause, of.model,
    )  # fmt: skip
    producer = clients.producer(installation.settings.kafka)
    producer.produce(installation.names.changes, value, of.user, partition=partition_of(of.user.encode(), PARTITIONS))
    assert producer.flush(10) == 0
