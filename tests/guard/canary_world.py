"""A network whose synthetic accounts go through ingest's preparation and both stages, in memory."""

from collections.abc import Sequence

import numpy as np

from schemas.change import ScoreChange, decode_change
from schemas.feed_report import FeedReport
from schemas.packed import decode
from schemas.times import format_ms
from scorer.model import Model
from streams.decoders import decoder
from streams.guard.canaries import CanaryDetector
from streams.guard.canary_records import CanaryRecord
from streams.guard.detector import Verdict
from streams.guard.observations import CanarySeen, FeedSeen, Moment
from streams.ingest_batch import Raw, prepare
from streams.settings import GuardSettings, NetworkSettings
from tests.clout.audit.stand import START_MS, Stand

NETWORK = "net"
WALL_MS = 1_800_000_000_000
RAW_PARTITIONS = 3
STEP_SECONDS = 5


class World:
    """The network's time goes on by `pace` times the wall clock; changes come when they are asked for."""

    def __init__(self, *, format_: str = "native", pace: float = 1.0, model: Model | None = None) -> None:
        self.format, self.pace = format_, pace
        self._decoder = decoder(format_)
        self.stand = Stand()
        self.stand.model = model or Model()
        self.guards_model = Model()
        self.latencies: list[float] = []
        self.now_ms, self.time_ms = WALL_MS, START_MS
        self.sent: list[CanaryRecord] = []
        self.waiting: list[CanaryRecord] = []
        self.verdicts: list[Verdict] = []
        self.detector = self.new_detector()
        self._seen = 0

    def new_detector(self) -> CanaryDetector:
        return CanaryDetector(
            {NETWORK: NetworkSettings(format=self.format)},
            GuardSettings(),
            self.guards_model,
            4,
            lambda _network, seconds: self.latencies.append(seconds),
        )

    def report(self, raw_partition: int, **fields: object) -> None:
        usual: dict[str, object] = {
            "network": NETWORK,
            "raw_partition": raw_partition,
            "raw_partitions": RAW_PARTITIONS,
            "written": format_ms(self.now_ms),
            "position": 0,
            "lag_records": 0,
            "at_end": True,
            "frozen": False,
            "time": format_ms(self.time_ms + 700 * raw_partition),
            "arrival": None,
            "heartbeats": {},
            "counters": {},
        }
        self.detector.update(FeedSeen(FeedReport(**(usual | fields)), self.now_ms))  # type: ignore[arg-type]

    def second(self, count: int = 1, **fields: object) -> list[CanaryRecord]:
        """A second goes by, or more: the feeds tell, the guard looks and sends."""
        self.now_ms += 1_000 * count
        self.time_ms += round(1_000 * count * self.pace)
        for raw_partition in range(RAW_PARTITIONS):
            self.report(raw_partition, **fields)
        return self.look()

    def look(self) -> list[CanaryRecord]:
        self.verdicts += self.detector.update(Moment(self.now_ms))
        records = self.detector.due(self.now_ms)
        self.sent += records
        self.waiting += records
        return records

    def take_in(self) -> None:
        """What was sent goes through the pipeline, and its clocks come as far as the feeds."""
        records, self.waiting = self.waiting, []
        for record in records:
            self._take(record)
        self.stand.pass_time(self.time_ms)

    def _take(self, record: CanaryRecord) -> None:
        zeros = np.zeros(1, np.int64)
        headers = [list(record.headers)] if self.format != "native" else None
        raw = Raw("raw", [record.value], headers, zeros, zeros, zeros + self.now_ms)  # type: ignore[arg-type]
        prepared = prepare(raw, NETWORK, self._decoder, 1, 100)
        assert prepared.letters == []
        for lane in prepared.lane:
            outcome = self.stand.take(decode(lane.value))
            if outcome is not None:
                self.stand._publish(outcome)

    def changes(self) -> list[ScoreChange]:
        """All changes that have come since they were last asked for."""
        new = [decode_change(record.value) for record in self.stand.topic[self._seen :]]
        self._seen = len(self.stand.topic)
        return new

    def tell(self, changes: Sequence[ScoreChange]) -> None:
        for change in changes:
            self.verdicts += self.detector.update(CanarySeen(change, self.now_ms))

    def run(self, seconds: int) -> None:
        """All is well for so long."""
        for _ in range(seconds // STEP_SECONDS):
            self.second(STEP_SECONDS)
            self.take_in()
            self.tell(self.changes())
