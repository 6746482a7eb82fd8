import os
import socket
from pathlib import Path

import psutil
import pytest

from clout import broker as broker_module
from clout.broker import CLASSES, LocalBroker, connect, local
from clout.ports import free_port
from streams.clients import admin
from streams.errors import CloutError
from streams.settings import KafkaSettings
from streams.topics import TopicSpec, create, topic_id


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A broker's directory after one start and stop; its former address, and the id of the topic made in it."""
    directory = tmp_path_factory.mktemp("broker")
    broker = LocalBroker(directory, port=None, heap_mb=256, short_lived=True)
    running = broker.up()
    kafka = KafkaSettings(broker=running.address)
    create(kafka, [TopicSpec("kept", 1)])
    identity = topic_id(admin(kafka), "kept")
    assert broker.up() == running, "up on a running broker changes nothing"
    assert LocalBroker(directory).running() == running, "another command sees it"
    assert broker.down()
    assert not psutil.pid_exists(running.pid)
    return directory, running.address, identity


def test_a_broker_that_was_stopped_is_not_running(stopped: tuple[Path, str, str]) -> None:
    directory, _, _ = stopped
    assert LocalBroker(directory).running() is None


def test_it_starts_with_the_classes_that_were_kept(broker: str) -> None:
    port = int(broker.rpartition(":")[2])
    [pid] = {
        of.pid for of in psutil.net_connections("tcp") if of.status == "LISTEN" and of.laddr and of.laddr.port == port
    }
    assert str(CLASSES) in {mapped.path for mapped in psutil.Process(pid).memory_maps()}


def test_stopping_what_does_not_run_does_nothing(stopped: tuple[Path, str, str]) -> None:
    directory, _, _ = stopped
    assert not LocalBroker(directory).down()


def test_topics_outlive_a_restart_and_a_port_that_was_taken_meanwhile(stopped: tuple[Path, str, str]) -> None:
    directory, address, identity = stopped
    host, _, port = address.rpartition(":")
    broker = LocalBroker(directory, heap_mb=256, short_lived=True)
    with socket.create_server((host, int(port))):
        try:
            running = broker.up()
            assert running.address != address
            assert topic_id(admin(KafkaSettings(broker=running.address)), "kept") == identity
        finally:
            broker.down()


def test_ports_that_somebody_takes_while_the_broker_starts_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[int] = set()

    def seems_taken(_host: str, port: int) -> bool:
        """Nobody listens anywhere yet when it is asked for first."""
        known = port in asked
        asked.add(port)
        return known

    monkeypatch.setattr(broker_module, "is_taken", seems_taken)
    port = free_port("127.0.0.1")
    broker = LocalBroker(tmp_path, port=port, heap_mb=256, short_lived=True)
    with socket.create_server(("127.0.0.1", port)), socket.create_server(("127.0.0.1", port + 1)):
        try:
            running = broker.up()
            create(KafkaSettings(broker=running.address), [TopicSpec("kept", 1)])
        finally:
            broker.down()
    assert asked == {port, port + 1}
    assert not asked & {int(running.address.rpartition(":")[2]), running.controller_port}


def test_another_process_under_the_recorded_pid_is_left_alone(tmp_path: Path) -> None:
    record = f'{{"address": "127.0.0.1:1", "controller_port": 2, "pid": {os.getpid()}, "cluster": "c"}}'
    (tmp_path / "broker.json").write_text(record, encoding="utf-8")
    assert not LocalBroker(tmp_path).down()


def test_missing_jars_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "JARS", tmp_path)
    with pytest.raises(CloutError, match="jars are missing") as caught:
        LocalBroker(tmp_path / "broker").up()
    assert "make setup" in caught.value.hint


def test_missing_java_says_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(CloutError, match="Java was not found") as caught:
        LocalBroker(tmp_path / "broker").up()
    assert str(tmp_path) in caught.value.detail


def test_a_broker_that_ends_while_it_starts_shows_what_it_said(tmp_path: Path) -> None:
    broker = LocalBroker(tmp_path, port=None, heap_mb=0)
    with pytest.raises(CloutError, match="ended while it started") as caught:
        broker.up()
    assert "heap" in caught.value.detail


def test_a_given_address_needs_no_local_broker(tmp_path: Path) -> None:
    kafka = KafkaSettings(broker="elsewhere:9092")
    assert connect(kafka, tmp_path) == kafka


def test_without_address_and_local_broker_the_way_out_is_told(tmp_path: Path) -> None:
    with pytest.raises(CloutError) as caught:
        connect(KafkaSettings(), tmp_path)
    assert "clout broker up" in caught.value.hint


def test_the_directory_of_a_demonstration_that_is_over_says_so(tmp_path: Path) -> None:
    with pytest.raises(CloutError, match="a demonstration can be asked while it runs") as raised:
        connect(KafkaSettings(), tmp_path / "demo")
    assert "demo/demo" not in str(raised.value)


def test_an_installation_has_its_broker_in_its_data_directory(tmp_path: Path) -> None:
    assert local(tmp_path).directory == tmp_path / "broker"
