"""The detector of synthetic accounts: their scores and latency are known, so that any other is a fault."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from schemas.incident import Slice
from scorer.model import Model
from streams.guard.canary_feed import CanaryFeed
from streams.guard.canary_records import FORMATS, CanaryRecord, canary_record
from streams.guard.canary_schedule import LATE_MS, CanarySchedule, Seen
from streams.guard.detector import Verdict
from streams.guard.observations import CanarySeen, FeedSeen, Moment, Observation
from streams.settings import STALLED_HEARTBEATS, GuardSettings, NetworkSettings

ACCOUNTS_MIN: Final = 2
"""Somebody acts and somebody is credited."""


class _Network(msgspec.Struct):
    """What is stored of a network."""

    schedule: bytes
    wrong: str = ""
    """What was wrong, until a round of other accounts has ended well."""
    is_late: bool = False


class CanaryDetector:
    """Fires for a network when an account's score is wrong or its chain is broken; as late when its change is.

    Besides, `due` says what the accounts do next. Store the state before that is sent: what a lost state had sent is
    taken for unknown, not for a fault.

    False alarms: none. A score is what the reference says, to half a step of what is published; who takes over begins
    with other accounts wherever the stored state does not fit. A change is late after 30 seconds in which the network's
    time went on: so is everyone's then.
    """

    name = "canary"

    def __init__(
        self,
        networks: Mapping[str, NetworkSettings],
        settings: GuardSettings,
        model: Model,
        partitions: int,
        on_latency: Callable[[str, float], None] = lambda _network, _seconds: None,
    ) -> None:
        """Begin with nothing seen; `partitions` are those of the lanes, `on_latency` is told network and seconds."""
        self._interval_ms = settings.canary_interval_seconds * 1000
        watched = networks.items() if settings.canaries else ()
        self._formats = {name: network.format for name, network in watched if network.format in FORMATS}
        stalled_ms = int(STALLED_HEARTBEATS * settings.heartbeat_seconds * 1000)
        self._feeds = {name: CanaryFeed(stalled_ms) for name in self._formats}
        self._schedules = {
            name: CanarySchedule(
                name, feed, model, FORMATS[self._formats[name]].kinds, max(ACCOUNTS_MIN, settings.canaries), partitions
            )
            for name, feed in self._feeds.items()
        }
        self._wrong = dict.fromkeys(self._formats, "")
        self._is_late = dict.fromkeys(self._formats, False)
        self._on_latency = on_latency

    def due(self, now_ms: int) -> list[CanaryRecord]:
        """Return what is to be sent now; asked once a second."""
        found = []
        for network, schedule in self._schedules.items():
            following = schedule.next(now_ms, self._interval_ms)
            if following is not None:
                found.append(canary_record(network, self._formats[network], *following))
        return found

    def update(self, observation: Observation) -> Sequence[Verdict]:
        """Take in one observation; return what has changed."""
        match observation:
            case FeedSeen(report, now_ms) if report.network in self._feeds:
                self._feeds[report.network].hear(report, now_ms)
            case CanarySeen(change, now_ms):
                for network, schedule in self._schedules.items():
                    if (seen := schedule.see(change, now_ms)) is not None:
                        return self._judged(network, seen)
            case Moment(now_ms):
                late = (self._late(network, now_ms) for network in self._schedules)
                return [verdict for verdict in late if verdict is not None]
        return []

    def _judged(self, network: str, seen: Seen) -> list[Verdict]:
        said = []
        if seen.latency_seconds is not None:
            self._on_latency(network, seen.latency_seconds)
        if seen.came and self._is_late[network]:
            self._is_late[network] = False
            said.append(self._of_time(network, "changes of synthetic accounts come in time again", {}))
        if seen.fault:
            self._wrong[network] = seen.fault
            said.append(self._of_score(network, seen.fault, seen.numbers))
        elif seen.round_ended and self._wrong[network]:
            self._wrong[network] = ""
            said.append(self._of_score(network, "synthetic accounts are right again", {}))
        return said

    def _late(self, network: str, now_ms: int) -> Verdict | None:
        waited_ms = self._schedules[network].waited_ms(now_ms)
        if waited_ms <= LATE_MS or self._is_late[network]:
            return None
        self._is_late[network] = True
        numbers = {"waited_seconds": waited_ms / 1000, "limit": LATE_MS / 1000}
        return self._of_time(network, f"no change came {waited_ms / 1000:.0f} seconds after an interaction", numbers)

    def _of_score(self, network: str, detail: str, numbers: dict[str, float]) -> Verdict:
        of, firing = self._schedules[network], bool(self._wrong[network])
        about = Slice(network=network)
        return Verdict("canary", about, firing, "critical", detail, numbers, since_ms=of.well_until_ms)

    def _of_time(self, network: str, detail: str, numbers: dict[str, float]) -> Verdict:
        return Verdict("canary_late", Slice(network=network), self._is_late[network], "major", detail, numbers)

    def state(self) -> bytes:
        """Return what was learned and done; feeds tell themselves anew."""
        return msgspec.msgpack.encode(
            {
                network: _Network(schedule.encode(), self._wrong[network], self._is_late[network])
                for network, schedule in self._schedules.items()
            }
        )

    def restore(self, state: bytes) -> None:
        """Go on from what was stored; raise `ValueError` when it cannot be read."""
        for network, stored in msgspec.msgpack.decode(state, type=dict[str, _Network]).items():
            if network in self._schedules:
                self._schedules[network].restore(stored.schedule)
                self._wrong[network], self._is_late[network] = stored.wrong, stored.is_late
