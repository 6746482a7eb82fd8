"""What became of all events, read while more come in: what is lost or doubled shows, what is under way does not."""

from typing import Any, cast

import pytest

from clout.audit import counts
from clout.audit.counts import judge_conservation
from clout.audit.findings import Findings
from streams.feed_position import FeedPosition
from streams.progress import Feed
from streams.status import TaskState, TaskStatus, WorkerStatus


class Reader:
    """Answers with what it is told, one look at the tasks after the other; the last one again and again."""

    def __init__(self, read: int, sent: int, *looks: TaskStatus) -> None:
        position = FeedPosition(sent=[sent], counters={"read": read})
        # Ingest itself is behind: more lies in the raw topic.
        self._feed = Feed("twitter", 0, 0, 1_000, 10, position)
        self._looks = list(looks)

    def feeds(self) -> list[Feed]:
        return [self._feed]

    def workers(self) -> list[Any]:
        return []

    def worker_statuses(self, _workers: object) -> list[WorkerStatus]:
        look = self._looks[0] if len(self._looks) == 1 else self._looks.pop(0)
        return [WorkerStatus(role="score", pid=1, address="", partitions=[look])]


def task(*, heard: int, sent: int, taken: int, applied: int, state: TaskState = "running") -> TaskStatus:
    return TaskStatus(
        partition=0,
        state=state,
        reason=None if state == "running" else "a law is broken",
        seen={"actors": {"twitter/0": heard}, "targets": {"actors/0": taken}},
        sent={"0": sent},
        counters={"twitter": {"applied": applied}},
    )


def judged(reader: Reader) -> tuple[str, list[str]]:
    findings = Findings()
    judge_conservation(cast("Any", reader), 1, findings, lambda _line: None)
    law = findings.verdicts[6]
    return law.verdict, [offence.what for offence in law.offences] + law.unjudged


IDLE = task(heard=5, sent=5, taken=5, applied=100)


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(counts, "_NAP_SECONDS", 0.01)


def test_what_was_read_and_processed_holds() -> None:
    assert judged(Reader(100, 5, IDLE)) == ("holds", [])


def test_what_is_on_its_way_is_waited_for_and_what_comes_after_is_not() -> None:
    way = [
        task(heard=3, sent=3, taken=2, applied=40),
        task(heard=4, sent=4, taken=3, applied=60),
        task(heard=7, sent=7, taken=5, applied=80),
        task(heard=9, sent=9, taken=7, applied=120),
        task(heard=12, sent=12, taken=8, applied=140),
    ]
    assert judged(Reader(100, 5, *way)) == ("holds", [])


def test_events_that_are_nowhere_are_lost() -> None:
    verdict, [what] = judged(Reader(100, 5, task(heard=5, sent=5, taken=5, applied=99)))
    assert (verdict, what) == ("broken", "1 of 100 events read are not accounted for")


def test_events_that_were_never_read_are_counted_twice() -> None:
    verdict, [what] = judged(Reader(100, 5, task(heard=5, sent=5, taken=5, applied=101)))
    assert (verdict, what) == ("broken", "1 events more than were read are accounted for")


@pytest.mark.parametrize(
    ("stuck", "why"),
    [
        (task(heard=3, sent=3, taken=3, applied=60), "partition 0: 2 records under way"),
        (task(heard=5, sent=5, taken=3, applied=60), "partition 0: 2 records under way"),
        (task(heard=5, sent=5, taken=5, applied=100, state="stopped"), "partition 0: stopped: a law is broken"),
    ],
)
def test_what_does_not_come_on_could_not_be_judged(stuck: TaskStatus, why: str) -> None:
    verdict, [text] = judged(Reader(100, 5, stuck))
    assert verdict == "could not be judged"
    assert text.endswith(why)
