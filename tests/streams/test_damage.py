"""Files that are damaged, go missing or cannot grow: said, rebuilt from the changelog, nothing lost."""

import os
import re
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from rocksdict import Cache
from structlog.testing import capture_logs

from streams import clients
from streams.damage import DamagedError, Trouble, trouble_of
from streams.errors import CloutError
from streams.settings import KafkaSettings
from streams.store import Local, Rows, Store
from streams.task import Task
from tests.drills.small_disk import no_room, small_disk
from tests.streams.tasks import Lanes, some_events
from tests.streams.test_task import exported, rows_of

EVENTS = some_events(60)
CUTS = 6
SCRIBBLED_BYTES = 64
FULL = re.compile("No space left|File too large")


def scribble(path: Path, at: float) -> None:
    """Overwrite a piece of a file, as a failing disk does."""
    data = bytearray(path.read_bytes())
    begin = int(len(data) * at)
    data[begin : begin + SCRIBBLED_BYTES] = os.urandom(len(data[begin : begin + SCRIBBLED_BYTES]))
    path.write_bytes(data)


def recycled(path: Path) -> None:
    """Make the second record look like one of a recycled log, which RocksDB would read for ever."""
    data = bytearray(path.read_bytes())
    data[7 + int.from_bytes(data[4:6], "little") + 6] = 5
    path.write_bytes(data)


def cut(path: Path) -> None:
    """Leave half of a file."""
    os.truncate(path, path.stat().st_size // 2)


DAMAGE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "tables with garbage in them": ("*.sst", lambda path: scribble(path, 0.2)),
    "tables that are shorter": ("*.sst", cut),
    "tables that are gone": ("*.sst", Path.unlink),
    "a list of tables with garbage in it": ("MANIFEST-*", lambda path: scribble(path, 0.5)),
    "a list of tables with a record of another kind of log": ("MANIFEST-*", recycled),
    "a list of tables that is gone": ("MANIFEST-*", Path.unlink),
    "no name of the list": ("CURRENT", Path.unlink),
    "garbage for the name of the list": ("CURRENT", lambda path: scribble(path, 0.0)),
}


@pytest.fixture
def worked(kafka_settings: KafkaSettings, tmp_path: Path) -> tuple[Lanes, dict[bytes, Any]]:
    """Lanes that a task, whose files are in `tmp_path`, has worked on; and its rows."""
    lanes = Lanes(kafka_settings)
    lanes.send(EVENTS)
    with lanes.task(tmp_path) as task:
        lanes.work(task)
        rows = rows_of(task.store)
    return lanes, rows


def opened(lanes: Lanes, directory: Path) -> tuple[dict[bytes, Any], list[str]]:
    """Open the partition; return its rows and the warnings."""
    with capture_logs() as logs, lanes.task(directory) as task:
        rows = rows_of(task.store)
    return rows, [f"{entry['event']}: {entry.get('reason')}" for entry in logs if entry["log_level"] == "warning"]


def test_every_kind_of_damage_is_rebuilt_from_the_changelog_and_said(
    worked: tuple[Lanes, dict[bytes, Any]], tmp_path: Path
) -> None:
    lanes, rows = worked
    for name, (files, do) in DAMAGE.items():
        for path in (tmp_path / "0").glob(files):
            do(path)
        after, [warning] = opened(lanes, tmp_path)
        assert after == rows, name
        assert warning.startswith("local state is damaged and will be rebuilt from the changelog: "), name


def test_a_list_of_tables_that_was_cut_short_loses_no_row(
    worked: tuple[Lanes, dict[bytes, Any]], tmp_path: Path
) -> None:
    lanes, rows = worked
    whole = tmp_path / "0"
    kept = tmp_path / "kept"
    shutil.copytree(whole, kept)
    [manifest] = whole.glob("MANIFEST-*")
    # Cut anywhere, the list says that some tables are older than others, or are not there at all.
    for size in range(0, manifest.stat().st_size, manifest.stat().st_size // CUTS):
        shutil.rmtree(whole)
        shutil.copytree(kept, whole)
        os.truncate(whole / manifest.name, size)
        assert opened(lanes, tmp_path)[0] == rows, size


def test_a_damaged_copy_whose_changelog_is_gone_is_left_for_a_rescue(
    worked: tuple[Lanes, dict[bytes, Any]], tmp_path: Path
) -> None:
    lanes, _ = worked
    group = clients.consumer(lanes.kafka, {"group.id": lanes.names.app_id})
    group.commit(offsets=[TopicPartition(lanes.names.actors_lane, 0, 1)], asynchronous=False)
    group.close()
    lanes.remake(lanes.names.state)
    (tmp_path / "0" / "CURRENT").write_bytes(b"garbage")
    with pytest.raises(CloutError, match="is empty") as raised, lanes.task(tmp_path):
        pass
    assert raised.value.hint
    assert list((tmp_path / "0").glob("*.sst"))


def test_a_scan_that_meets_damage_says_so_and_does_not_just_end(tmp_path: Path) -> None:
    store = Store(tmp_path / "0", Cache(1 << 20))
    store.write(Rows(targets=[(b"%06d" % user, os.urandom(80)) for user in range(3_000)]), b"", Local("id", 1, 0.0))
    store.close()
    scribble(max((tmp_path / "0").glob("*.sst"), key=lambda path: path.stat().st_size), 0.5)
    again = Store(tmp_path / "0", Cache(1 << 20))
    with pytest.raises(Exception, match="Corruption") as raised:
        list(again.scan("targets"))
    assert trouble_of(raised.value) is Trouble.DAMAGED
    again.destroy()


def test_a_copy_goes_on_from_the_table_that_is_least_far(tmp_path: Path) -> None:
    store = Store(tmp_path / "0", Cache(1 << 20))
    store.write(Rows(), b"", Local("id", 1, 0.0))
    for family in store._tables.values():
        family.flush()
    store.write(Rows(), b"", Local("id", 2, 0.0))
    store._db.flush()
    # What is on disk now is what a crash leaves.
    shutil.copytree(tmp_path / "0", tmp_path / "crashed")
    store.close()
    crashed = Store(tmp_path / "crashed", Cache(1 << 20))
    assert crashed.local() == Local("id", 1, 0.0)
    crashed.close()


def test_a_copy_of_which_some_tables_know_nothing_is_damaged(tmp_path: Path) -> None:
    store = Store(tmp_path / "0", Cache(1 << 20))
    store.write(Rows(), b"", Local("id", 1, 0.0))
    store._db.flush()
    shutil.copytree(tmp_path / "0", tmp_path / "crashed")
    store.close()
    crashed = Store(tmp_path / "crashed", Cache(1 << 20))
    with pytest.raises(DamagedError):
        crashed.local()
    crashed.close()


def test_a_full_disk_loses_nothing_and_the_copy_goes_on_when_there_is_room(
    kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    lanes, small = Lanes(kafka_settings), tmp_path / "small"
    with small_disk(small, size_mb=4) as mounted:
        lanes.send(EVENTS[:30])
        with lanes.task(small) as task:
            lanes.work(task)
        lanes.send(EVENTS[30:])
        with capture_logs() as logs, lanes.task(small) as task:
            lanes.work(task)
            before = exported(task)
            full = ExitStack()
            full.enter_context(no_room(small, mounted=mounted, pid=os.getpid(), file_bytes_max=0))
        with full:
            assert any(FULL.search(entry.get("reason", "")) for entry in logs)
            with pytest.raises(Exception, match=FULL) as raised:
                Task(0, lanes.shared(small)).open()
            assert trouble_of(raised.value) is Trouble.FULL
        with lanes.task(small) as task:
            assert exported(task) == before
            assert task.state.counters["twitter"]["applied"] == 60
