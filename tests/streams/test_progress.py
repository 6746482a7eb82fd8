from collections.abc import Mapping
from dataclasses import replace

from streams.feed_position import CONTROL, FeedPosition
from streams.progress import Feed, Reading, behind, conservation
from streams.status import TaskState, TaskStatus


def test_what_stands_still_is_said_in_a_line() -> None:
    stopped = TaskStatus(partition=0, state="stopped", reason="error: a law is broken\ndetail: R\nhint: see the log")
    [late] = behind(Reading([], {0: stopped}, {0: stopped}, 1))
    assert late.note == "stopped: a law is broken"


def feed(*, end: int = 10, committed: int | None = 10, sent: tuple[int, int] = (3, 2), begin: int = 0) -> Feed:
    counters = {"read": 10, "passed": 8, "dead_lettered": 2, "heartbeat": 0, "retracting": 0}
    return Feed("net", 0, begin, end, committed, FeedPosition(list(sent), counters))


def task(
    partition: int,
    *,
    raw: int,
    own: tuple[int, int] = (4, 5),
    state: TaskState = "running",
    counted: Mapping[str, int] | None = None,
) -> TaskStatus:
    """A task that saw `raw` records of the feed, sent 4 to partition 0 and 5 to partition 1, and saw `own` of both."""
    return TaskStatus(
        partition=partition,
        state=state,
        seen={"actors": {"net/0": raw}, "targets": {"actors/0": own[0], "actors/1": own[1]}},
        sent={"0": 4, "1": 5},
        counters={"net": {"applied": 3, "self": 1, "credited": 3, **(counted or {})}},
    )


def reading(
    *feeds: Feed, actors: tuple[TaskStatus, ...] | None = None, targets: tuple[TaskStatus, ...] | None = None
) -> Reading:
    done = (task(0, raw=3, own=(4, 4)), task(1, raw=2, own=(5, 5)))
    return Reading(
        feeds or (feed(),),
        {of.partition: of for of in actors or done},
        {of.partition: of for of in targets or done},
        2,
    )


def places(of: Reading) -> list[tuple[str, str, int]]:
    return [(late.stage, late.where, late.records) for late in behind(of)]


def test_nothing_is_behind_when_every_stage_has_what_the_one_before_sent() -> None:
    assert behind(reading()) == []


def test_ingest_is_behind_by_what_it_did_not_commit() -> None:
    assert places(reading(feed(committed=7))) == [("ingest", "net/0", 3)]


def test_a_feed_without_commits_is_behind_if_it_holds_anything() -> None:
    assert places(reading(feed(committed=None, begin=4, sent=(0, 0)))) == [("ingest", "net/0", 6)]
    assert places(reading(feed(committed=None, begin=0, end=0, sent=(0, 0)))) == []


def test_an_actors_stage_is_behind_by_the_packed_records_it_has_not_seen() -> None:
    late = (task(0, raw=1, own=(4, 4)), task(1, raw=2, own=(5, 5)))
    assert places(reading(actors=late)) == [("actors", "partition 0", 2)]


def test_a_targets_stage_is_behind_by_what_all_actors_stages_sent_it() -> None:
    late = (task(0, raw=3, own=(4, 4)), task(1, raw=2, own=(5, 3)))
    assert places(reading(targets=late)) == [("targets", "partition 1", 2)]


def test_a_stage_that_went_on_meanwhile_is_not_behind() -> None:
    ahead = (task(0, raw=9, own=(8, 8)), task(1, raw=9, own=(9, 9)))
    assert behind(reading(targets=ahead)) == []


def test_a_partition_without_a_worker_is_behind() -> None:
    [late] = behind(reading(actors=(task(0, raw=3),), targets=(task(0, raw=3, own=(4, 4)),)))
    assert (late.where, late.note) == ("partition 1", "no worker has it")


def test_a_partition_that_does_not_run_is_behind_and_says_why() -> None:
    stopped = task(1, raw=2, own=(5, 5), state="stopped")
    stopped.reason = "a gap"
    [late] = behind(reading(targets=(task(0, raw=3, own=(4, 4)), stopped)))
    assert late.note == "stopped: a gap"


def test_events_read_are_the_sum_of_what_became_of_them() -> None:
    [sums] = conservation(reading())
    assert (sums.read, sums.applied, sums.self_, sums.dead_lettered, sums.missing) == (10, 6, 2, 2, 0)
    assert sums.as_dict()["holds"] is True


def test_duplicates_withheld_and_forgotten_events_are_accounted_for() -> None:
    counted = {"duplicate": 1, "withheld": 2, "forgotten": 3, "retracted": 4, "repeated": 5, "unmatched": 6}
    dropped = {"forgotten": 1, "dropped": 2}
    tasks = (task(0, raw=3, own=(4, 4), counted=counted | dropped), task(1, raw=2, own=(5, 5)))
    [sums] = conservation(reading(targets=tasks))
    assert {name: sums.as_dict()[name] for name in counted} == counted
    assert sums.missing == -(1 + 2 + 3)


def test_commands_are_waited_for_and_are_no_network() -> None:
    commands = Feed(CONTROL, 0, 0, 2, 1, FeedPosition([1, 0]))
    waiting = reading(feed(), commands)
    assert places(waiting) == [("ingest", "@control/0", 1), ("actors", "partition 0", 1)]
    assert [sums.network for sums in conservation(waiting)] == ["net"]


def test_what_an_operator_takes_back_is_waited_for() -> None:
    done = task(0, raw=3, own=(4, 4))
    done.seen["actors"]["@retract/0"] = 2
    waiting = replace(reading(actors=(done, task(1, raw=2, own=(5, 5)))), taking_back=[2, 3])
    assert places(waiting) == [("actors", "partition 1", 3)]


def test_events_that_are_nowhere_are_missing() -> None:
    [sums] = conservation(reading(targets=(task(0, raw=3, own=(4, 4)),)))
    assert sums.missing == 4
