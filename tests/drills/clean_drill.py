"""Data without a fault, through real installations: whatever is said of it is a false alarm."""

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from clout.broker import ROOT
from clout.demo.feed import Feed
from clout.demo.population import COLLECTORS, DAY_MS, Population, PopulationSettings
from clout.replay import ReplaySummary, replay
from clout.sender import RAW_PRODUCER_OPTIONS
from clout.snap import SnapEvents
from scorer.model import Model
from streams import clients
from streams.settings import KafkaSettings, NetworkSettings
from tests.drills.fault_cases import NETWORKS
from tests.drills.guarded import OF_HASTE, RAW_PARTITIONS, Guarded
from tests.drills.rows import CleanRow

HIGGS_PATH: Final = (
    Path(os.environ.get("CLOUT_TEST_DATA_DIR", ROOT.parent / "shared" / "data")) / "higgs-activity_time.txt.gz"
)
"""Where tests look for it (`tests/conftest.py:higgs_path`)."""
HIGGS_FACTOR: Final = 7 * DAY_MS / 1000 / 240
"""The week of the file passes in four minutes: a partition tells its users every two hours of it."""
LEARNED_MS: Final = 14 * DAY_MS
LEARNED_FACTOR: Final = LEARNED_MS / 1000 / 90
"""Two weeks pass in a minute and a half, and a small machine keeps up with them, …"""
JUDGED_MS: Final = 21 * DAY_MS
JUDGED_FACTOR: Final = (JUDGED_MS - LEARNED_MS) / 1000 / 240
"""… the third one in four: a partition tells its users every two hours of it."""
SPARE_MS: Final = DAY_MS
"""What would come behind the three weeks: the feed is not to end before all alerts could be raised."""
EVENTS_IN_FIVE_MINUTES: Final = 120
"""Of each network, on average; at night there are a third, with which volumes can just be judged."""
PEOPLE: Final = 5_000

LOOK_SECONDS: Final = 0.5
PLAYED_SECONDS_MAX: Final = 800.0
PROCESSED_SECONDS_MAX: Final = 120.0
SETTLED_SECONDS: Final = 20.0
"""After the last event: alerts wait for ten seconds, and are looked at every five."""


class CleanData(Protocol):
    """What is played."""

    @property
    def name(self) -> str:
        """Return it in words."""

    @property
    def networks(self) -> Mapping[str, NetworkSettings]:
        """Return who plays."""

    def start(self, guarded: Guarded) -> None:
        """Begin to play into an installation."""

    def is_over(self) -> bool:
        """Return whether all was played that is to be; asked every now and then."""

    def stop(self) -> int:
        """End, and return how many events must have been taken in at least."""


class HiggsFile:
    """A week of real interactions, with the hundredfold burst of a discovery."""

    name = "Higgs file"

    def __init__(self, path: Path) -> None:
        self.networks = {"twitter": NetworkSettings(raw_partitions=RAW_PARTITIONS)}
        self._path = path
        self._done: list[ReplaySummary] = []

    def start(self, guarded: Guarded) -> None:
        installation = guarded.installation
        producer = clients.producer(installation.settings.kafka, RAW_PRODUCER_OPTIONS)
        topic = installation.names.interactions("twitter")

        def play() -> None:
            events = SnapEvents("twitter", prefix="twitter")
            self._done.append(replay(self._path, events, producer, topic, factor=HIGGS_FACTOR))

        self._thread = threading.Thread(target=play, name="replay", daemon=True)
        self._thread.start()

    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def stop(self) -> int:
        assert self._done, "the replay failed"
        return self._done[0].sent


class ThreeWeeks:
    """Two networks with the rhythm of day and night, their bursts, and people who have their moment."""

    name = "three weeks"

    def __init__(self) -> None:
        collectors = NetworkSettings(raw_partitions=RAW_PARTITIONS, sources=COLLECTORS)
        self.networks = dict.fromkeys(NETWORKS, collectors)
        self._is_judged = False

    def start(self, guarded: Guarded) -> None:
        now_ms, whole_ms = int(time.time() * 1000), JUDGED_MS + SPARE_MS
        end_ms = now_ms - now_ms % DAY_MS
        settings = PopulationSettings(
            people=PEOPLE,
            networks=NETWORKS,
            start_ms=end_ms - whole_ms,
            end_ms=end_ms,
            events=EVENTS_IN_FIVE_MINUTES * len(NETWORKS) * 288 * whole_ms // DAY_MS,
        )
        self._begin_ms = settings.start_ms
        installation = guarded.installation
        producer = clients.producer(installation.settings.kafka, RAW_PRODUCER_OPTIONS)
        self._feed = Feed(Population(settings), producer, installation.names, factor=LEARNED_FACTOR)
        self._feed.start()

    def is_over(self) -> bool:
        assert self._feed.running, self._feed.failure
        passed_ms = self._feed.time_ms - self._begin_ms
        if passed_ms >= LEARNED_MS and not self._is_judged:
            self._is_judged = True
            self._feed.go_at(JUDGED_FACTOR)
        return passed_ms >= JUDGED_MS

    def stop(self) -> int:
        self._feed.stop()
        assert self._feed.failure is None, self._feed.failure
        return self._feed.made_events


def run_clean(data: CleanData, kafka: KafkaSettings, directory: Path) -> CleanRow:
    """Play data without a fault in an installation of its own, and note what is said of it."""
    row = CleanRow(data.name, ", ".join(data.networks))
    with Guarded(kafka, directory, data.networks, Model()) as guarded:
        data.start(guarded)
        deadline = time.monotonic() + PLAYED_SECONDS_MAX
        while not data.is_over():
            assert time.monotonic() < deadline, guarded.worker.log()
            _look(guarded, row)
        settled = time.monotonic() + SETTLED_SECONDS
        while time.monotonic() < settled:
            _look(guarded, row)
        sent = data.stop()
        guarded.installation.wait(PROCESSED_SECONDS_MAX)
        _look(guarded, row)
        guarded.wait_until_it_keeps_up(lambda: sent, 0, PROCESSED_SECONDS_MAX)
    return row


def _look(guarded: Guarded, row: CleanRow) -> None:
    seen = guarded.look()
    row.incidents.update((of.id, of.kind) for of in seen.incidents if of.kind not in OF_HASTE)
    row.alerts.update(of for of in seen.firing if of.name not in OF_HASTE)
    row.hasty.update({of.name for of in seen.firing}.union(of.kind for of in seen.incidents).intersection(OF_HASTE))
    row.deliveries += len(seen.deliveries)
    time.sleep(LOOK_SECONDS)
