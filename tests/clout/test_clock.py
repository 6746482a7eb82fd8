from collections.abc import Mapping
from types import SimpleNamespace

import pytest
import typer

from clout.clock_holds import Holder, NetworkClock, network_clocks
from clout.clock_release import outcome, wait_until_released
from clout.commands import clock as clock_commands
from clout.commands.clock import check_source, lines
from clout.config import Settings
from clout.main import main
from schemas.times import format_ms
from streams.clock_status import inputs_status
from streams.clocks import Inputs, Raw
from streams.discovery import RoleMember
from streams.errors import CloutError
from streams.feed_position import CONTROL, FeedPosition
from streams.progress import Feed
from streams.settings import LaneSettings, NetworkSettings
from streams.status import FreezeStatus, IngestStatus, TaskState, TaskStatus, WorkerStatus

HOUR_MS = 3_600_000
NOON_MS = 1_340_020_800_000
ARRIVAL_MS = NOON_MS + 500
NOON, TEN, HEARD = map(format_ms, (NOON_MS, NOON_MS - 2 * HOUR_MS, ARRIVAL_MS))
TEN_MS = NOON_MS - 2 * HOUR_MS


def inputs(clock_ms: int | None, *times_ms: int | None, sources: Mapping[str, int] | None = None) -> Inputs:
    """A network whose raw partitions came so far; None for one that was never heard of."""
    raw = {
        at: Raw(time_ms, ARRIVAL_MS, heartbeats_ms=dict(sources or {}))
        for at, time_ms in enumerate(times_ms)
        if time_ms is not None
    }
    return Inputs(len(times_ms), raw, clock_ms=clock_ms)


def task(
    partition: int,
    heard: Inputs | None,
    clock_ms: int | None = None,
    *,
    state: TaskState = "running",
    reason: str | None = None,
    told_ms: Mapping[int, int] | None = None,
    sources: tuple[str, ...] = (),
    lag: int = 3,
) -> TaskStatus:
    """A task as a worker speaks of it."""
    return TaskStatus(
        partition=partition,
        state=state,
        reason=reason,
        lag_records={"actors": lag, "targets": 0},
        clocks={} if clock_ms is None else {"net": clock_ms},
        told_ms={"net": dict(told_ms or {})},
        inputs={} if heard is None else {"net": inputs_status(heard, NetworkSettings(sources=sources))},
    )


def clock_of(*tasks: TaskStatus, partitions: int | None = None) -> NetworkClock:
    """The clock of the one network."""
    by_partition = {task.partition: task for task in tasks}
    [clock] = network_clocks(by_partition, partitions or len(tasks), ["net"])
    return clock


def said(*tasks: TaskStatus, partitions: int | None = None) -> list[str]:
    return list(lines(clock_of(*tasks, partitions=partitions)))


def test_before_anything_came_nothing_was_heard() -> None:
    assert said(task(0, None), task(1, None)) == [
        "net: no clock yet: waiting for ingest",
        "  held by ingest: nothing was heard of any raw partition yet",
    ]


def test_a_raw_partition_that_was_never_heard_of_holds_the_clock() -> None:
    heard = inputs(None, NOON_MS, None)
    assert said(task(0, heard), task(1, heard)) == [
        "net: no clock yet: waiting for raw partition 1",
        "  held by raw partition 1: never heard of",
    ]


def test_an_empty_raw_partition_was_never_heard_of_either() -> None:
    heard = inputs(None, NOON_MS, 0)
    heard.raw[1].arrival_ms = 0
    assert said(task(0, heard))[1] == "  held by raw partition 1: never heard of"


def test_a_raw_partition_whose_records_had_no_time_was_heard_of() -> None:
    assert said(task(0, inputs(None, NOON_MS, 0)))[1] == (
        f"  held by raw partition 1: nothing with a time yet, last heard {HEARD}"
    )


def test_the_input_that_is_furthest_behind_holds_the_clock() -> None:
    heard = inputs(TEN_MS, NOON_MS, TEN_MS, NOON_MS - HOUR_MS)
    assert said(task(0, heard, TEN_MS), task(1, heard, TEN_MS)) == [
        f"net: {TEN}, 2 h behind its furthest input",
        f"  held by raw partition 1: at {TEN}, last heard {HEARD}",
    ]


def test_a_clock_with_its_furthest_input_is_not_held() -> None:
    heard = inputs(NOON_MS, NOON_MS)
    assert said(task(0, heard, NOON_MS)) == [f"net: {NOON}, with its furthest input"]


def test_a_source_holds_the_clock_until_it_is_released() -> None:
    heard = inputs(TEN_MS, NOON_MS, NOON_MS, sources={"west": TEN_MS})
    [_, west, east] = said(task(0, inputs(None, NOON_MS), sources=("west", "east")))
    assert (west, east) == ("  held by source west: never heard of", "  held by source east: never heard of")
    assert said(task(0, heard, TEN_MS, sources=("west",)))[1] == f"  held by source west: last heartbeat {TEN}"
    heard.release("west")
    heard.clock_ms = NOON_MS
    assert said(task(0, heard, NOON_MS, sources=("west",))) == [
        f"net: {NOON}, with its furthest input",
        "  not waited for, because released: west",
    ]


def test_where_nobody_answers_the_clock_is_the_one_last_told() -> None:
    last_ms = {0: {"net": TEN_MS}, 1: {"net": TEN_MS + HOUR_MS}}
    [alone] = network_clocks({}, 2, ["net"], last_ms=last_ms)
    assert list(lines(alone)) == [
        f"net: {TEN}",
        f"  held by partition 0: no worker answers for it; last at {TEN}",
        f"  held by partition 1: no worker answers for it; last at {format_ms(TEN_MS + HOUR_MS)}",
    ]
    answering = task(0, inputs(NOON_MS, NOON_MS), TEN_MS, told_ms={0: NOON_MS, 1: TEN_MS})
    [clock] = network_clocks({0: answering}, 2, ["net"], last_ms=last_ms)
    assert list(lines(clock))[1:] == [f"  held by partition 1: no worker answers for it; last at {TEN}"]


def test_a_partition_that_no_worker_answers_for_holds_the_clock() -> None:
    heard = inputs(NOON_MS, NOON_MS, NOON_MS)
    assert said(task(0, heard, TEN_MS, told_ms={0: NOON_MS, 1: TEN_MS}), partitions=2) == [
        f"net: {TEN}, 2 h behind its furthest input",
        f"  held by partition 1: no worker answers for it; last at {TEN}",
    ]


def test_a_partition_that_stands_still_holds_the_clock_even_before_it_is_behind() -> None:
    heard = inputs(NOON_MS, NOON_MS)
    reason = "error: a law is broken\ndetail: R below 0"
    stopped = task(1, heard, NOON_MS, state="stopped", reason=reason)
    assert said(task(0, heard, NOON_MS), stopped) == [
        f"net: {NOON}, with its furthest input",
        "  held by partition 1: it is stopped: a law is broken",
    ]


def test_where_all_partitions_stand_still_it_says_so_and_where_the_clock_is() -> None:
    heard = inputs(NOON_MS, NOON_MS)
    stopped = [task(number, heard, TEN_MS, state="stopped", reason="error: a law is broken") for number in range(2)]
    assert said(*stopped) == [
        f"net: {TEN}; all partitions stand still",
        "  held by partition 0: it is stopped: a law is broken",
        "  held by partition 1: it is stopped: a law is broken",
    ]
    assert said(*stopped[:1], partitions=2)[0] == f"net: {TEN}"
    refused = task(0, None, state="stopped", reason="error: another model")
    assert said(refused)[0] == "net: no clock yet; all partitions stand still"


def test_a_partition_that_is_restored_has_no_clock_to_tell_and_takes_none_from_others() -> None:
    heard = inputs(NOON_MS, NOON_MS)
    clock = clock_of(task(0, heard, TEN_MS), TaskStatus(partition=1, state="restoring"))
    assert (clock.clock, clock.held_by) == (TEN, [Holder(name="partition 1", why="it is restoring")])


def test_what_a_stopped_task_heard_does_not_speak_for_the_inputs() -> None:
    clock = clock_of(
        task(0, inputs(NOON_MS, NOON_MS, NOON_MS), TEN_MS), task(1, inputs(TEN_MS, NOON_MS, TEN_MS), state="stopped")
    )
    assert [holder.name for holder in clock.held_by] == ["partition 1"]


def test_a_task_that_is_behind_the_others_holds_the_clock() -> None:
    ahead, late = inputs(NOON_MS, NOON_MS), inputs(TEN_MS, TEN_MS)
    assert said(task(0, ahead, TEN_MS), task(1, late, TEN_MS))[1:] == [
        f"  held by partition 1: it is behind the others, 3 records behind; last at {TEN}",
    ]


def test_a_task_that_has_not_told_its_clock_is_waited_for() -> None:
    heard = inputs(NOON_MS, NOON_MS)
    assert said(task(0, heard, None), task(1, None)) == [
        "net: no clock yet: waiting for partition 1",
        "  held by partition 1: it has not told its clock yet",
    ]


def test_each_network_has_a_clock_of_its_own() -> None:
    of_both = task(0, inputs(NOON_MS, NOON_MS), NOON_MS)
    of_both.clocks["old"] = TEN_MS
    clocks = network_clocks({0: of_both}, 1, ["other", "net"])
    assert {clock.network: clock.clock for clock in clocks} == {"other": None, "net": NOON, "old": TEN}


@pytest.mark.parametrize(("times_ms", "seconds"), [((NOON_MS, TEN_MS), 7_200.0), ((NOON_MS, NOON_MS), 0.0)])
def test_how_far_it_is_behind_is_told_in_seconds(times_ms: tuple[int, int], seconds: float) -> None:
    assert clock_of(task(0, inputs(min(times_ms), *times_ms), min(times_ms))).behind_seconds == seconds


def test_an_input_that_one_partition_alone_waits_for_is_named_with_it() -> None:
    released, waiting = (inputs(clock, NOON_MS, sources={"west": TEN_MS}) for clock in (NOON_MS, TEN_MS))
    released.release("west")
    ahead, behind = (task(at, heard, TEN_MS, sources=("west",), lag=0) for at, heard in enumerate((released, waiting)))
    assert said(ahead, behind) == [
        f"net: {TEN}, 2 h behind its furthest input",
        f"  held by source west: partition 1 alone waits for it; last at {TEN}",
    ]


def test_a_source_that_is_behind_in_one_raw_partition_is_named_with_it() -> None:
    heard = inputs(TEN_MS, NOON_MS, NOON_MS, sources={"west": NOON_MS})
    heard.raw[1].heartbeats_ms["west"] = TEN_MS
    assert said(task(0, heard, TEN_MS, sources=("west",), lag=0)) == [
        f"net: {TEN}, 2 h behind its furthest input",
        f"  held by source west: last heartbeat {TEN} in raw partition 1",
    ]


def test_while_no_ingest_runs_that_holds_every_clock() -> None:
    heard = inputs(NOON_MS, NOON_MS)
    [clock] = network_clocks({0: task(0, heard, NOON_MS)}, 1, ["net"], ingest_trouble="no running role was found")
    assert list(lines(clock))[1:] == ["  held by ingest: no running role was found"]


class Frozen:
    """Speaks for an installation whose one network is frozen, and whose one source was released."""

    def __init__(self) -> None:
        heard = inputs(TEN_MS, NOON_MS, TEN_MS, sources={"west": TEN_MS})
        heard.release("west")
        task_of_all = task(0, heard, TEN_MS, sources=("west",))
        task_of_all.seen = {"actors": {"@control/0": 1}}
        self._status = WorkerStatus(role="score", pid=1, address="", partitions=[task_of_all])

    def workers(self) -> list[RoleMember]:
        return []

    def ingest_statuses(self, *_: object) -> list[IngestStatus]:
        return []

    def worker_statuses(self, _workers: list[RoleMember]) -> list[WorkerStatus]:
        return [self._status]

    def ingests(self, _timeout_seconds: float) -> list[RoleMember]:
        return []

    def feeds(self) -> list[Feed]:
        return [Feed(CONTROL, 0, 0, 1, 1, FeedPosition(sent=[1]))]

    def frozen(self) -> dict[str, FreezeStatus]:
        return {"net": FreezeStatus(since=NOON, reason="half of it is garbage")}


def test_after_a_release_the_clock_is_shown_with_all_that_holds_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(networks={"net": NetworkSettings(sources=("west",))}, lanes=LaneSettings(partitions=1))
    record = SimpleNamespace(id="7", epoch=1)
    for name, stands_in in {
        "connected_to_lanes": settings, "reader_of": Frozen(), "signed": None, "issue": record,
    }.items():  # fmt: skip
        monkeypatch.setattr(clock_commands, name, lambda *_, stands_in=stands_in, **__: stands_in)
    for arguments in (["clock", "show"], ["clock", "release", "net", "--source", "west", "--reason", "a test"]):
        with pytest.raises(SystemExit):
            main(arguments)
    shown, released = capsys.readouterr().out.split("source west of net is not waited for any more", 1)
    assert f"  held by freeze: frozen since {NOON}: half of it is garbage" in shown
    assert released.partition("\n")[2] == shown


def test_a_release_is_waited_for_in_every_partition_that_works() -> None:
    heard = inputs(NOON_MS, NOON_MS, sources={"west": TEN_MS})
    stopped = task(2, heard, state="stopped")
    answers = iter([(1, 0), (1, 0), (1, 1)])

    def ask() -> dict[int, TaskStatus]:
        seen = next(answers)
        tasks = {at: task(at, heard) for at in range(2)} | {2: stopped}
        for at, commands in enumerate(seen):
            tasks[at].seen = {"actors": {"@control/0": commands}}
        return tasks

    assert wait_until_released(ask, [1, 1, 1], 10.0)[1].seen == {"actors": {"@control/0": 1}}
    assert list(answers) == []


def test_a_release_that_is_not_obeyed_in_time_is_an_error_that_says_where() -> None:
    tasks = {0: task(0, inputs(NOON_MS, NOON_MS))}
    with pytest.raises(CloutError, match="not obeyed everywhere") as raised:
        wait_until_released(lambda: tasks, [1], 0.0)
    assert raised.value.detail == "partition 0: 3 records before it"
    assert "nothing more has to be ordered" in raised.value.hint


def test_a_source_that_was_heard_since_its_release_is_waited_for_again() -> None:
    released = inputs(NOON_MS, NOON_MS, sources={"west": TEN_MS})
    released.release("west")
    again = inputs(NOON_MS, NOON_MS, sources={"west": NOON_MS})
    said_so = outcome({0: task(0, released), 1: task(1, again)}, "net", "west")
    assert said_so == f"source west of net was heard again, at {NOON}: it is waited for as before"
    assert "not waited for any more" in outcome({0: task(0, released), 1: task(1, released)}, "net", "west")


@pytest.mark.parametrize(
    ("network", "source", "way_out"),
    [
        ("twiter", "west", "none of twitter, mastodon, which the settings name"),
        ("twitter", "vest", "none of west, east; its clock waits only for those that networks.twitter.sources names"),
        ("mastodon", "west", "there are none; its clock waits only for those that networks.mastodon.sources names"),
    ],
)
def test_what_the_settings_do_not_name_cannot_be_released(network: str, source: str, way_out: str) -> None:
    networks = {"twitter": NetworkSettings(sources=("west", "east")), "mastodon": NetworkSettings()}
    check_source(networks, "twitter", "west")
    with pytest.raises(typer.BadParameter, match=way_out):
        check_source(networks, network, source)
