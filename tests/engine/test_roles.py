"""What the roles say of themselves and of users, as processes on a real broker."""

import json
import time
from dataclasses import dataclass
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families

from schemas.export import decode_user
from schemas.packed import Stamp, encode_key
from schemas.users import partition_of
from scorer.reference import Event
from streams import clients
from streams.settings import NetworkSettings, WorkerSettings
from tests.engine.conftest import Install
from tests.roles import Installation, Role, eventually
from tests.streams.tasks import lane_values

NOW_MS = int(time.time() * 1000)
PEOPLE = 40
ALL = {0, 1, 2, 3}


def some(network: str, actor: int, target: int) -> Event:
    """An interaction of the last minute."""
    kind = ("share", "reply", "mention")[actor % 3]
    return Event(network, f"{actor}-{target}", kind, f"p/{actor}", f"p/{target}", NOW_MS - 60_000 + actor)


EVENTS = {network: [some(network, a, (a + 7) % PEOPLE) for a in range(PEOPLE)] for network in ("twitter", "mastodon")}


def raw(event: Event) -> bytes:
    return json.dumps({name: getattr(event, name) for name in ("id", "kind", "actor", "target", "time")}).encode()


@dataclass(frozen=True, slots=True)
class Running:
    installation: Installation
    ingest: Role
    workers: tuple[Role, Role]

    def owner(self, partition: int) -> Role:
        return next(worker for worker in self.workers if partition in worker.partitions())

    def other(self, partition: int) -> Role:
        return next(worker for worker in self.workers if partition not in worker.partitions())


@pytest.fixture(scope="module")
def running(install: Install) -> Running:
    networks = {name: NetworkSettings(raw_partitions=1) for name in EVENTS}
    installation = install(networks=networks, worker=WorkerSettings(session_timeout_seconds=6))
    [ingest], workers = installation.up(workers=2)
    eventually(lambda: all(worker.partitions() for worker in workers), otherwise=workers[0].log)
    for network, events in EVENTS.items():
        installation.send(map(raw, events), network=network)
    installation.wait()
    return Running(installation, ingest, (workers[0], workers[1]))


def metrics_of(role: Role) -> dict[str, float]:
    """Every sample of a role, by its line's beginning."""
    found = {}
    for family in text_string_to_metric_families(role.get("/metrics").raise_for_status().text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def test_the_partitions_are_shared_between_the_workers(running: Running) -> None:
    first, second = (worker.partitions().keys() for worker in running.workers)
    assert first | second == ALL
    assert not first & second


def test_a_user_of_several_networks_is_asked_of_the_owner(running: Running) -> None:
    user = "p/7"
    answer = running.owner(partition_of(user.encode(), 4)).get(f"/v1/users/{quote(user, safe='')}")
    state = decode_user(answer.raise_for_status().content)
    assert (state.user, set(state.networks)) == (user, {"twitter", "mastodon"})


def test_a_worker_that_does_not_own_a_user_says_so(running: Running) -> None:
    user = "p/7"
    partition = partition_of(user.encode(), 4)
    assert running.other(partition).get(f"/v1/users/{quote(user, safe='')}").status_code == 421
    assert running.other(partition).get(f"/v1/users?partition={partition}").status_code == 421


def test_a_user_nobody_engaged_with_is_unknown(running: Running) -> None:
    answer = running.owner(partition_of(b"p/nobody", 4)).get("/v1/users/p%2Fnobody")
    assert answer.status_code == 404


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/v1/status"])
def test_every_role_answers(running: Running, path: str) -> None:
    assert all(role.get(path).status_code == 200 for role in (running.ingest, *running.workers))


def test_the_status_of_the_workers_adds_up(running: Running) -> None:
    tasks = [task for worker in running.workers for task in worker.status()["partitions"]]
    for network in EVENTS:
        assert sum(task["counters"].get(network, {}).get("applied", 0) for task in tasks) == PEOPLE
    assert {task["state"] for task in tasks} == {"running"}
    assert max(task["clocks"]["twitter"] for task in tasks if task["clocks"]) == NOW_MS - 60_000 + PEOPLE - 1


def test_an_idle_partition_has_no_lag(running: Running) -> None:
    def lags() -> set[int]:
        tasks = [task for worker in running.workers for task in worker.status()["partitions"]]
        return {lag for task in tasks for lag in task["lag_records"].values()}

    eventually(lambda: lags() == {0}, otherwise=lags)


def test_the_metrics_count_what_was_done(running: Running) -> None:
    ingest = metrics_of(running.ingest)
    workers = [metrics_of(worker) for worker in running.workers]

    def total(name: str) -> float:
        return sum(metrics[name] for metrics in workers)

    for network in EVENTS:
        assert ingest[f"clout_events_total{{network={network},outcome=passed}}"] == PEOPLE
        assert total(f"clout_events_total{{network={network},outcome=applied}}") == PEOPLE
    assert total("clout_rows_total{stage=targets}") == 2 * PEOPLE
    changes = running.installation.changes()
    assert total("clout_changes_total{cause=interaction}") == sum(map(len, changes.values()))
    assert total("clout_arrival_to_change_seconds_count{}") > 0
    assert total("clout_restores_total{}") >= len(ALL)


def test_no_metric_names_a_user(running: Running) -> None:
    for role in (running.ingest, *running.workers):
        assert "p/" not in role.get("/metrics").text


def test_what_an_aborted_transaction_wrote_into_a_lane_is_never_seen(running: Running) -> None:
    installation, events = running.installation, [some("twitter", 100 + number, 1) for number in range(20)]
    values = lane_values(events, 4)
    producer = clients.producer(installation.settings.kafka, {"transactional.id": f"{installation.names.app_id}-probe"})
    producer.init_transactions(30)
    for finish in (producer.abort_transaction, producer.commit_transaction):
        producer.begin_transaction()
        for partition, value in values:
            # The same sequence both times: a task that saw the first would stop at the second.
            producer.produce(
                installation.names.actors_lane, value, encode_key(Stamp("probe/0", 1)), partition=partition
            )
        producer.flush(10)
        finish(30)

    def counted() -> int:
        tasks = [task for worker in running.workers for task in worker.partitions().values()]
        return sum(int(task["counters"]["twitter"]["applied"]) for task in tasks)

    eventually(lambda: counted() == PEOPLE + len(events), otherwise=counted)
    assert {partition for worker in running.workers for partition in worker.partitions()} == ALL
