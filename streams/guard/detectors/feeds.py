"""Feeds that bring nothing any more: a collector, a network, or ingest itself."""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from schemas.feed_report import FeedReport
from schemas.incident import Severity, Slice
from schemas.limits import RAW_PARTITIONS_MAX
from streams.guard.detector import Verdict
from streams.guard.detectors.kept import AWAY_MS, Kept, Learned, name_of
from streams.guard.observations import FeedSeen, Observation
from streams.settings import STALLED_HEARTBEATS, NetworkSettings

LEARNING_MS: Final = 3_600_000
"""Without heartbeats, a feed must have been seen for so long before its silence says anything."""
GAPS_MIN: Final = 30
FIRST_MS: Final = 60_000
"""So long after the guard began to watch, whoever was not heard yet may still be starting, …"""
FIRST_LIMIT_MS: Final = 30_000
"""… and is not called silent before this."""
USUAL_GAPS: Final = 3
"""Silence that is so many times as long as the longest of late is unusual."""
GAP_HALF_LIFE_MS: Final = 7 * 86_400_000
"""The longest gap of late counts half as long after a week."""


class Source(msgspec.Struct):
    """What is known of one input, by the clock of the guard."""

    value: str = ""
    """What it last said of time."""
    advanced_ms: int = 0
    """When the guard saw that it had gone on."""


class Arrivals(msgspec.Struct):
    """Arrivals of a network, or reports of ingest as a whole: how long the gaps between them are."""

    first_ms: int = 0
    last_ms: int = 0
    gaps: int = 0
    usual_gap_ms: float = 0.0
    """The longest of late."""

    def came(self, now_ms: int, limit_ms: float) -> None:
        """Take note that something came; a gap beyond the limit teaches no more than the limit."""
        if not self.first_ms:
            self.first_ms = self.last_ms = now_ms
            return
        gap_ms = max(0, now_ms - self.last_ms)
        faded = self.usual_gap_ms * 0.5 ** (gap_ms / GAP_HALF_LIFE_MS)
        self.usual_gap_ms = max(faded, min(float(gap_ms), limit_ms))
        self.gaps, self.last_ms = self.gaps + 1, now_ms

    def is_known(self) -> bool:
        """Return whether enough was seen to tell what is usual."""
        return self.gaps >= GAPS_MIN and self.last_ms - self.first_ms >= LEARNING_MS


class Raw(Source):
    """The same of a raw partition."""

    beats: bool = False
    """Whether heartbeats came through it: then they are expected."""
    arrivals: Arrivals = msgspec.field(default_factory=Arrivals)


class Feeds(Learned, kw_only=True):
    """All inputs."""

    now_ms: int = 0
    watching_ms: int = 0
    report_ms: int = 0
    """When ingest last told anything; 0 while it has not."""
    sources: dict[str, dict[str, Source]] = msgspec.field(default_factory=dict)
    """By network and registered collector."""
    arrivals: dict[str, Arrivals] = msgspec.field(default_factory=dict)
    """By network; of all reports under the empty name."""
    newest: dict[str, str] = msgspec.field(default_factory=dict)
    """Newest arrival by network."""
    raws: dict[str, dict[int, Raw]] = msgspec.field(default_factory=dict)
    """By network, every raw partition."""
    frozen: dict[str, dict[int, bool]] = msgspec.field(default_factory=dict)


class FeedStalled(Kept[Feeds]):
    """A network's time stands still: a collector, a raw partition, a whole network or ingest brings nothing.

    By the guard's own clock, from when it saw something go on: a history that is replayed has event times of long ago.
    A registered collector is stalled when its heartbeat has not gone on for 1.55 `guard.heartbeat_seconds`, while
    ingest tells of anything at all. A network without registered collectors is stalled when nothing arrived for three
    times its longest gap of late, and for as long as collectors would be given; it must have been seen for an hour
    and 30 arrivals before, and until then nothing is said. A raw partition holds its network's clock as a collector
    does, and is judged like one while the network goes on: where heartbeats come through it, or nothing ever did.
    Without registered collectors its arrivals are, unless `idle_after_seconds` lets the clock go on. When ingest tells
    nothing of any network for 1.55 times the heartbeat (where no network has heartbeats: for three times its longest
    silence), that is one finding about all. Frozen networks do not stall. False alarms: at most one a network in 10
    weeks of clean data, in which heartbeats are late by half of their interval at most, and after the first day of a
    network without collectors, whose nights are longer silences than its day taught; one that never comes is an alarm.
    """

    name = "feed_stalled"

    def __init__(self, networks: Mapping[str, NetworkSettings], heartbeat_seconds: int) -> None:
        """Watch these networks."""
        super().__init__(Feeds())
        self._networks = networks
        self._heartbeat_ms = heartbeat_seconds * 1000
        self._limit_ms = int(STALLED_HEARTBEATS * self._heartbeat_ms)
        self._all = Slice(network=next(iter(networks)) if len(networks) == 1 else None)

    def update(self, observation: Observation) -> list[Verdict]:
        """Take in one observation; reports say that something goes on, moments that nothing does."""
        now_ms, learned = observation.now_ms, self._learned
        if not 0 <= now_ms - learned.now_ms < AWAY_MS:
            self._return(now_ms)
        learned.now_ms = now_ms
        if isinstance(observation, FeedSeen):
            self._hear(observation.report, now_ms)
            return []
        return list(self._judge(now_ms))

    def ages_seconds(self, now_ms: int) -> dict[str, float]:
        """Return for each network how long the collector has been silent that is longest, or without any, all of it."""
        learned, ages = self._learned, {}
        for network in self._networks:
            if self._sources(network):
                heard_ms = min(source.advanced_ms for source in self._known_sources(network).values())
            elif (arrivals := learned.arrivals.get(network)) is not None:
                heard_ms = arrivals.last_ms
            else:
                heard_ms = learned.watching_ms
            ages[network] = max(0, now_ms - (heard_ms or now_ms)) / 1000
        return ages

    def _return(self, now_ms: int) -> None:
        """Begin to watch anew: what was not seen happened or did not. Of what stood nothing says that it goes on."""
        learned = self._learned
        learned.watching_ms = now_ms
        if learned.report_ms and not self._stood(self._all):
            learned.report_ms = now_ms
        for network, sources in learned.sources.items():
            for name, source in sources.items():
                if not self._stood(Slice(network=network), Slice(network=network, source=name)):
                    source.advanced_ms = now_ms
        for network, arrivals in learned.arrivals.items():
            if not self._stood(Slice(network=network or self._all.network)):
                arrivals.last_ms = now_ms
        for network, raws in learned.raws.items():
            for number, raw in raws.items():
                if not self._stood(Slice(network=network), Slice(network=network, raw_partition=number)):
                    raw.advanced_ms = raw.arrivals.last_ms = now_ms

    def _stood(self, *about: Slice) -> bool:
        return any(self._said("feed_stalled", of) is not None for of in about)

    def _hear(self, report: FeedReport, now_ms: int) -> None:
        learned, network = self._learned, report.network
        learned.report_ms = now_ms
        self._came("", now_ms)
        frozen = learned.frozen.setdefault(network, {})
        thawed = any(frozen.values())
        frozen[report.raw_partition] = report.frozen
        thawed = thawed and not any(frozen.values())
        sources = learned.sources.setdefault(network, {})
        for name in self._sources(network):
            source = sources.setdefault(name, Source(advanced_ms=now_ms))
            if report.heartbeats.get(name, "") > source.value:
                source.value, source.advanced_ms = report.heartbeats[name], now_ms
            elif thawed:
                source.advanced_ms = now_ms
        if report.arrival is not None and report.arrival > learned.newest.get(network, ""):
            learned.newest[network] = report.arrival
            self._came(network, now_ms)
        elif thawed and network in learned.arrivals:
            learned.arrivals[network].last_ms = now_ms
        self._hear_raw(report, now_ms, thawed=thawed)

    def _hear_raw(self, report: FeedReport, now_ms: int, *, thawed: bool) -> None:
        raws = self._learned.raws.setdefault(report.network, {})
        for number in range(len(raws), min(report.raw_partitions, RAW_PARTITIONS_MAX)):
            raws[number] = Raw(advanced_ms=now_ms)
        for raw in raws.values() if thawed else ():
            raw.advanced_ms = raw.arrivals.last_ms = now_ms
        if (told := raws.get(report.raw_partition)) is None:
            return
        told.beats = told.beats or bool(report.heartbeats)
        if (report.time or "") > told.value:
            told.value, told.advanced_ms = report.time or "", now_ms
            told.arrivals.came(now_ms, self._arrival_limit_ms(told.arrivals))

    def _came(self, network: str, now_ms: int) -> None:
        arrivals = self._learned.arrivals.setdefault(network, Arrivals())
        arrivals.came(now_ms, self._arrival_limit_ms(arrivals))

    def _arrival_limit_ms(self, arrivals: Arrivals) -> float:
        return max(float(self._limit_ms), USUAL_GAPS * arrivals.usual_gap_ms)

    def _sources(self, network: str) -> tuple[str, ...]:
        settings = self._networks.get(network)
        return () if settings is None else settings.sources

    def _known_sources(self, network: str) -> dict[str, Source]:
        """Return what is known of each registered collector; one of which nothing was heard is silent all the time."""
        never, known = Source(advanced_ms=self._learned.watching_ms), self._learned.sources.get(network, {})
        return {name: known.get(name, never) for name in self._sources(network)}

    def _is_frozen(self, network: str) -> bool:
        return any(self._learned.frozen.get(network, {}).values())

    def _judge(self, now_ms: int) -> Iterator[Verdict]:
        # An ingest that has told nothing yet may have had nothing to read.
        age_ms = now_ms - self._learned.report_ms if self._learned.report_ms else 0
        limit_ms = self._all_limit_ms()
        if limit_ms is not None and age_ms > (limit_ms := max(limit_ms, self._limit(now_ms, self._learned.report_ms))):
            yield from self._stalls(self._all, age_ms, limit_ms, "ingest tells nothing of any feed", now_ms)
        # A collector is told from ingest only while ingest is seen to work; where none was ever heard, ingest rests.
        if age_ms > self._heartbeat_ms and self._was_any_heard():
            return
        if self._all.network is None:
            yield from self._goes_on(self._all, age_ms)
        for network in self._networks:
            if self._is_frozen(network):
                yield from self._ends(network)
            elif self._sources(network):
                yield from self._judge_sources(network, now_ms)
                yield from self._judge_raws(network, now_ms)
            elif network in self._learned.arrivals:
                yield from self._judge_arrivals(network, now_ms)
                yield from self._judge_raws(network, now_ms)

    def _limit(self, now_ms: int, heard_ms: int) -> float:
        """Return how long an input may be silent that was last heard at a time."""
        watching_ms = self._learned.watching_ms
        may_be_starting = heard_ms <= watching_ms and now_ms - watching_ms < FIRST_MS
        return float(max(self._limit_ms, FIRST_LIMIT_MS) if may_be_starting else self._limit_ms)

    def _all_limit_ms(self) -> float | None:
        """Return how long ingest may tell nothing of anything; None where that is not known."""
        if any(self._was_heard(network) and not self._is_frozen(network) for network in self._networks):
            return float(self._limit_ms)
        reports = self._learned.arrivals.get("")
        frozen = any(self._is_frozen(network) for network in self._networks)
        return self._arrival_limit_ms(reports) if reports is not None and reports.is_known() and not frozen else None

    def _was_heard(self, network: str) -> bool:
        """Return whether any registered collector of a network ever sent a heartbeat."""
        sources = self._learned.sources.get(network, {})
        return any(name in sources and sources[name].value for name in self._sources(network))

    def _was_any_heard(self) -> bool:
        return any(map(self._was_heard, self._networks)) or not any(map(self._sources, self._networks))

    def _judge_sources(self, network: str, now_ms: int) -> Iterator[Verdict]:
        names, sources = self._sources(network), self._known_sources(network)
        ages_ms = {name: now_ms - source.advanced_ms for name, source in sources.items()}
        limits_ms = {
            name: self._limit(now_ms, source.advanced_ms if source.value else 0) for name, source in sources.items()
        }
        whole, longest = Slice(network=network), max(names, key=lambda name: ages_ms[name])
        if ages_ms[longest] > limits_ms[longest] and min(ages_ms.values()) > self._heartbeat_ms:
            what = f"no collector of {network} sends heartbeats ({', '.join(names)})"
            for name in names:
                yield from self._unsay("feed_stalled", Slice(network=network, source=name), what, {})
            yield from self._stalls(whole, ages_ms[longest], limits_ms[longest], what, now_ms)
            return
        yield from self._goes_on(whole, min(ages_ms.values()))
        for name, source in sources.items():
            about = Slice(network=network, source=name)
            if ages_ms[name] > limits_ms[name]:
                what = f"collector {name} of {network} sends no heartbeats (the last: {source.value or 'none'})"
                yield from self._stalls(about, ages_ms[name], limits_ms[name], what, now_ms)
            else:
                yield from self._goes_on(about, ages_ms[name])

    def _judge_arrivals(self, network: str, now_ms: int) -> Iterator[Verdict]:
        arrivals = self._learned.arrivals[network]
        about, age_ms = Slice(network=network), now_ms - arrivals.last_ms
        limit_ms = self._arrival_limit_ms(arrivals)
        if arrivals.is_known() and age_ms > limit_ms:
            usual = f"its longest gap of late: {arrivals.usual_gap_ms / 1000:.0f} s"
            yield from self._stalls(about, age_ms, limit_ms, f"nothing arrives of {network} ({usual})", now_ms)
        elif age_ms <= limit_ms:
            yield from self._goes_on(about, age_ms)

    def _judge_raws(self, network: str, now_ms: int) -> Iterator[Verdict]:
        """Judge the raw partitions of a network, unless it stands as a whole."""
        is_whole = self._said("feed_stalled", Slice(network=network)) is not None
        for number, raw in self._learned.raws.get(network, {}).items():
            about = Slice(network=network, raw_partition=number)
            limit_ms = self._raw_limit_ms(network, raw, now_ms)
            age_ms = now_ms - (raw.advanced_ms if self._sources(network) else raw.arrivals.last_ms)
            if is_whole:
                yield from self._unsay("feed_stalled", about, f"nothing of {network} comes", {})
            elif limit_ms is not None and age_ms > limit_ms:
                ever = f"the last is of {raw.value}" if raw.value else "nothing ever did"
                what = f"raw partition {number} of {network} brings nothing and holds its clock ({ever})"
                yield from self._stalls(about, age_ms, limit_ms, what, now_ms)
            else:
                yield from self._goes_on(about, age_ms)

    def _raw_limit_ms(self, network: str, raw: Raw, now_ms: int) -> float | None:
        """Return how long a raw partition may bring nothing; None where that holds no clock, or is not known."""
        holds = not self._networks[network].idle_after_seconds
        if self._sources(network):
            is_expected = raw.beats or (holds and not raw.value)
            return self._limit(now_ms, raw.advanced_ms if raw.value else 0) if is_expected else None
        return self._arrival_limit_ms(raw.arrivals) if holds and raw.arrivals.is_known() else None

    def _stalls(self, about: Slice, age_ms: float, limit_ms: float, what: str, now_ms: int) -> list[Verdict]:
        severity: Severity = "critical" if about.network is None else "major"
        return self._say(
            "feed_stalled",
            about,
            severity,
            f"{what} for {age_ms / 1000:.1f} s (limit {limit_ms / 1000:.1f} s)",
            {"age_seconds": age_ms / 1000, "limit_seconds": limit_ms / 1000},
            size=age_ms,
            at_ms=now_ms,
        )

    def _goes_on(self, about: Slice, age_ms: float) -> list[Verdict]:
        if self._said("feed_stalled", about) is None:
            return []
        whose = about.source or about.network or "ingest"
        if about.raw_partition is not None:
            whose = f"raw partition {about.raw_partition} of {about.network}"
        return self._unsay(
            "feed_stalled", about, f"{whose} tells again, {age_ms / 1000:.0f} s ago", {"age_seconds": age_ms / 1000}
        )

    def _ends(self, network: str) -> Iterator[Verdict]:
        """End what was said of a network that is frozen now: nobody expects anything of it."""
        sources = (Slice(network=network, source=of) for of in self._sources(network))
        raws = (Slice(network=network, raw_partition=of) for of in self._learned.raws.get(network, {}))
        for about in (Slice(network=network), *sources, *raws):
            if name_of("feed_stalled", about) in self._learned.said:
                yield from self._unsay("feed_stalled", about, f"{network} is frozen", {})
