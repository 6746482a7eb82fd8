"""Lets a population play in an installation, injects a fault, undoes it, and notes who saw what and when."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from clout.demo.feed import Feed
from clout.demo.orders import Mailbox
from clout.demo.population import COLLECTORS, DAY_MS, Population, PopulationSettings
from clout.injection import FeedOrder, WorkerFault, marked
from clout.sender import RAW_PRODUCER_OPTIONS
from schemas.times import HOUR_MS
from streams import clients
from streams.settings import KafkaSettings, NetworkSettings
from tests.drills.expectation import FLAT
from tests.drills.fault_cases import NETWORKS, STOPPED, Case
from tests.drills.fault_harm import Judge, JudgeOfLoss, JudgeOfSums
from tests.drills.guarded import RAW_PARTITIONS, START_SECONDS_MAX, Guarded, Seen
from tests.drills.observers import Firing
from tests.drills.rows import Detection, Raised, Row
from tests.roles import eventually

DAYS: Final = 6
PLAY_SECONDS: Final = 270.0
"""Wall time in which the days would pass; a run ends before."""
EVENTS: Final = 180_000
PEOPLE: Final = 1_500
BEHIND_SECONDS: Final = 3.0
"""An installation that works has taken in what was made so long ago; from then on a fault is timed."""

HISTORY_DAYS: Final = 16
"""What a feed usually brings is learned in two weeks; the fault comes on the 15th day."""
HISTORY_EVENTS: Final = HISTORY_DAYS * 288 * 1_000
"""A thousand in five minutes."""
HISTORY_PEOPLE: Final = 20_000
HISTORY_MS: Final = 14 * DAY_MS + 83 * HOUR_MS // 4
"""So much passes as fast as the machine can, until the evening, when people are busy."""
HISTORY_SEEDS: Final = {"twitter": 2, "mastodon": 5}
"""Of populations in whose evening a loss shows; how often it does at any time is told by decision 23."""
HISTORY_SECONDS_MAX: Final = 500.0
FAST: Final = 1e9
SLOW: Final = 60.0
"""So many times as fast as life the fault goes on after them: half an hour in 30 seconds."""
SETTLED_SECONDS: Final = 5.0
"""So that it works when the fault begins, and not only just."""

LOOK_SECONDS: Final = 0.2
CLEARED_LOOK_SECONDS: Final = 1.0
AFTER_SECONDS: Final = 8.0
"""Prometheus looks every five seconds."""
RAISED_SECONDS_MAX: Final = 30.0
"""What was noticed last, on a busy machine, is an alert by then."""
CLEARED_SECONDS_MAX: Final = 180.0
"""An alert goes on for up to two minutes after what it is about."""
PROCESSED_SECONDS_MAX: Final = 120.0
READY_SECONDS_MAX: Final = 90.0
ENDED_SECONDS_MAX: Final = 30.0


class FaultDrill:
    """One installation with its feed, through one fault."""

    def __init__(self, case: Case, kafka: KafkaSettings, directory: Path) -> None:
        self.row = Row(case)
        collectors = NetworkSettings(raw_partitions=RAW_PARTITIONS, sources=COLLECTORS)
        self._guarded = Guarded(kafka, directory, dict.fromkeys(case.networks, collectors), FLAT)
        self._population = Population(population_settings(case, int(time.time() * 1000)))
        self._feed = Feed(
            self._population,
            clients.producer(kafka, RAW_PRODUCER_OPTIONS),
            self._guarded.installation.names,
            factor=FAST if case.has_history else DAYS * DAY_MS / 1000 / PLAY_SECONDS,
            mailbox=Mailbox(directory),
        )
        self._fired_before: set[Firing] = set()
        self._began_seconds = 0.0
        self._began_ms = 0

    def run(self, learned: Callable[[], object]) -> Row:
        """Let the feed play, do harm, undo it, and judge; `learned` is called when it has taken in its history."""
        with self._guarded, marked(self._guarded.installation.directory, self.row.case.networks):
            self._feed.start()
            if self.row.case.has_history:
                self._live_through_history()
            behind_events = BEHIND_SECONDS * EVENTS / PLAY_SECONDS
            self._guarded.wait_until_it_keeps_up(lambda: self._feed.made_events, behind_events, HISTORY_SECONDS_MAX)
            learned()
            time.sleep(SETTLED_SECONDS)
            judge = self._judge()
            self._fired_before = self._guarded.look().firing
            self._began_seconds, self._began_ms = time.monotonic(), self._feed.time_ms
            self._harm()
            self._watch(AFTER_SECONDS)
            self._let_alert_be_raised()
            self._guarded.worker.wait_until_ready(READY_SECONDS_MAX)
            # Feeds go on meanwhile: what falls silent is a fault again.
            self._let_alert_clear()
            self._feed.stop()
            assert self._feed.failure is None, self._feed.failure
            self._guarded.installation.wait(PROCESSED_SECONDS_MAX)
            self.row.wrong_changes, self.row.affected_users = judge.harm()
        return self.row

    def _live_through_history(self) -> None:
        """Return when all of it was sent but what comes slowly."""
        slow_ms = self._population.settings.start_ms + HISTORY_MS
        worker = self._guarded.worker
        eventually(lambda: self._feed.time_ms >= slow_ms, seconds=HISTORY_SECONDS_MAX, otherwise=worker.log)
        self._feed.go_at(SLOW)

    def _judge(self) -> Judge:
        of = self._guarded.installation, self._population, self._feed
        return JudgeOfLoss(*of) if self.row.case.has_history else JudgeOfSums(*of, self.row.case)

    def _harm(self) -> None:
        case, directory, worker = self.row.case, self._guarded.installation.directory, self._guarded.worker
        if case.network:
            order = FeedOrder(directory, case.fault, case.network, case.seconds + 60.0)
            order.begin()
            self._watch(case.seconds)
            assert order.end() is not None
            return
        fault = WorkerFault(directory, case.fault, audit=case.audit, partition=0)
        fault.begin()
        self._watch(case.seconds)
        fault.ask_to_end()
        assert worker.process is not None
        worker.process.wait(ENDED_SECONDS_MAX)
        worker.launch().wait_until_listening(START_SECONDS_MAX)
        self._guarded.say_where_roles_are()

    def _watch(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._look()
            time.sleep(LOOK_SECONDS)

    def _look(self) -> Seen:
        """Note who has noticed what."""
        row, is_about = self.row, self.row.case.is_noticed_by
        seen, after_seconds = self._guarded.look(), time.monotonic() - self._began_seconds
        kinds = [incident.kind for incident in seen.incidents if incident.status != "resolved"]
        for by in kinds or self._status():
            if all(of.by != by for of in row.detections):
                row.detections.append(Detection(by, after_seconds, (self._feed.time_ms - self._began_ms) / 1000))
        raised = [of.name for of in sorted(seen.firing - self._fired_before) if is_about(of.name)]
        if raised and row.alert is None:
            row.alert = Raised(raised[0], after_seconds)
        came = [of.at_seconds for of in seen.deliveries if of.genuine and is_about(of.body["incident"]["kind"])]
        if came and row.webhook_seconds is None:
            row.webhook_seconds = came[0] - self._began_seconds
        return seen

    def _status(self) -> list[str]:
        """Return what a worker in which a fault was planted says before there is an incident."""
        worker = self._guarded.worker
        is_asked = not self.row.case.network and not self.row.detections and not worker.ended()
        return [STOPPED] if is_asked and worker.partitions("stopped") else []

    def _let_alert_be_raised(self) -> None:
        deadline = time.monotonic() + RAISED_SECONDS_MAX
        while self.row.alert is None and self.row.case.noticed is not None and time.monotonic() < deadline:
            self._watch(LOOK_SECONDS)

    def _let_alert_clear(self) -> None:
        deadline, alert = time.monotonic() + CLEARED_SECONDS_MAX, self.row.alert
        while alert is not None and time.monotonic() < deadline:
            if all(of.name != alert.name for of in self._look().firing):
                alert.cleared_seconds = time.monotonic() - self._began_seconds
                return
            time.sleep(CLEARED_LOOK_SECONDS)


def population_settings(case: Case, now_ms: int) -> PopulationSettings:
    """Return who plays, up to now at most: some days, or, where weeks are to be learned, these and the next hours."""
    if not case.has_history:
        start_ms = now_ms - DAYS * DAY_MS
        return PopulationSettings(people=PEOPLE, networks=NETWORKS, start_ms=start_ms, end_ms=now_ms, events=EVENTS)
    end_ms = now_ms - now_ms % DAY_MS
    return PopulationSettings(
        seed=HISTORY_SEEDS[case.network],
        people=HISTORY_PEOPLE,
        networks=case.networks,
        start_ms=end_ms - HISTORY_DAYS * DAY_MS,
        end_ms=end_ms,
        events=HISTORY_EVENTS,
    )
