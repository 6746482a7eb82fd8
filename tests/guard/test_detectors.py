"""What holds for every detector, and for all of them together on real interactions."""

import gzip
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from schemas.feed_report import BUCKET_MS
from schemas.incident import INCIDENT_KINDS
from streams.guard.detector import Detector, Verdict
from streams.guard.detectors import detectors
from streams.guard.observations import FeedSeen, Moment, Observation, PopulationSeen
from streams.settings import GuardSettings, NetworkSettings
from tests.guard.seen import NOW_MS, all_verdicts, feed, histogram, incident, moments, population
from tests.guard.weeks import WEEK, Weeks, hashed, reports, together

NETWORKS = {"twitter": NetworkSettings(sources=("east", "west")), "mastodon": NetworkSettings()}
NAMES = [detector.name for detector in detectors(NETWORKS, GuardSettings())]


def new(name: str) -> Detector:
    (found,) = [detector for detector in detectors(NETWORKS, GuardSettings()) if detector.name == name]
    return found


def a_bit_of_everything() -> list[Observation]:
    """Some hours in which all kinds of things go wrong."""
    seen: list[Observation] = [incident("law_violation"), incident("partition_stopped")]
    for step in range(400):
        now_ms = NOW_MS + 10_000 * step
        bad = step % 200 > 100
        event_ms = NOW_MS + 120_000 * step
        counters = {"read": 500 * step, "dead_lettered": 250 * max(0, step - 100), "retracting": 100 * step}
        heartbeats = {"east": event_ms, "west": NOW_MS if bad else event_ms}
        if step < 300:
            seen.append(feed(now_ms, time_ms=event_ms, heartbeats_ms=heartbeats, counters=counters))
        if step % 10 == 0:
            bins = histogram(p1=900, p20=90) if bad else histogram(p20=1000)
            seen.append(
                population(
                    now_ms,
                    sequence=step % 150 + 1,
                    bins=bins,
                    clock_ms=event_ms,
                    below=(900, 900, 900) if bad else (0, 0, 0),
                    changes={"forget": step * 3},
                    outcomes={"twitter": {"credited": 100 * step, "duplicate": 300 * step}},
                    partitions=2,
                )
            )
        seen.append(Moment(now_ms))
    return [*seen, *moments(NOW_MS + 4_000_000, 400)]


@pytest.mark.parametrize("name", NAMES)
def test_a_detector_that_was_restored_in_the_middle_goes_on_as_if_nothing_had_been(name: str) -> None:
    seen = a_bit_of_everything()
    whole = new(name)
    expected = [all_verdicts(whole, [one]) for one in seen]
    for cut in (1, 150, 333, 700):
        first, second = new(name), new(name)
        all_verdicts(first, seen[:cut])
        second.restore(first.state())
        assert [all_verdicts(second, [one]) for one in seen[cut:]] == expected[cut:]


@pytest.mark.parametrize("name", NAMES)
def test_a_detector_refuses_what_it_cannot_read_and_keeps_what_it_knows(name: str) -> None:
    detector = new(name)
    all_verdicts(detector, a_bit_of_everything()[:200])
    before = detector.state()
    for damaged in (b"", b"\xff", before[:-1], msgspec.msgpack.encode({"version": 99, "said": {}})):
        with pytest.raises(ValueError, match=r"reads version|cannot read"):
            detector.restore(damaged)
    assert detector.state() == before


def odd() -> Iterator[Observation]:
    """What should not come, and does."""
    years = 40 * 365 * 86_400_000
    yield from (feed(NOW_MS, counters={}), feed(NOW_MS, counters={"read": -5}), feed(NOW_MS - 10**9))
    yield from (feed(NOW_MS, network="unknown"), feed(NOW_MS, raw_partition=9, raw_partitions=4))
    for time_ms in (0, NOW_MS + years, NOW_MS - years, NOW_MS):
        yield feed(NOW_MS, time_ms=time_ms, heartbeats_ms={"east": time_ms, "other": time_ms})
        yield population(NOW_MS, clock_ms=time_ms)
    spoilt = msgspec.structs.replace(feed(NOW_MS).report, time="soon", arrival="later", written="never")
    yield FeedSeen(spoilt, NOW_MS)
    empty = [0] * 100
    yield from (
        population(bins=empty),
        population(partition=63, partitions=64),
        population(partition=70, partitions=64),
    )
    bad = msgspec.structs.replace(population().population, written="never")
    yield PopulationSeen(bad, NOW_MS)
    yield from (population(partitions=1), population(partitions=2), Moment(0), Moment(NOW_MS + years))


@pytest.mark.parametrize("name", NAMES)
def test_odd_input_breaks_no_detector(name: str) -> None:
    detector = new(name)
    for verdict in all_verdicts(detector, [*odd(), *a_bit_of_everything()[:300], *odd()]):
        assert verdict.kind in INCIDENT_KINDS
        assert "\n" not in verdict.detail
        assert all(np.isfinite(number) for number in verdict.numbers.values())


BUSY = GuardSettings(heartbeat_seconds=300)
"""A report comes every five minutes here."""


def alarms(seen: Iterable[Observation], all_detectors: list[Detector]) -> list[Verdict]:
    return [verdict for one in seen for detector in all_detectors for verdict in detector.update(one)]


def test_the_real_interactions_with_their_hundredfold_burst_make_no_false_alarm(higgs_path: Path) -> None:
    """They are a week, and feeds are learned in two: so it comes three times, each two days later than before."""
    # As columns, mentions that are twins of a retweet among them: what matters is how many act, and when.
    words = gzip.decompress(higgs_path.read_bytes()).decode().split()
    at_ms = np.array(words[2::4]).astype(np.int64) * 1_000
    begin_ms = int(at_ms.min()) // BUCKET_MS * BUCKET_MS
    users = words[0::4], words[1::4]
    counts, actors, targets = (
        np.concatenate([np.roll(of, 2 * week * 288, axis=0) for week in range(3)])[:, None]
        for of in hashed(at_ms - begin_ms, *users, WEEK, raw_partitions=2)
    )
    told = reports(
        counts, counts, network="twitter", sources=(), start_ms=begin_ms, seed=1, sketches=actors, targets=targets
    )
    assert alarms(told, detectors({"twitter": NetworkSettings(raw_partitions=2)}, BUSY)) == []


def test_all_detectors_together_take_less_than_half_a_millisecond_an_observation() -> None:
    seen = list(together(Weeks(seed=2, weeks=1, sources=("east", "west"))))
    all_detectors = detectors(NETWORKS, GuardSettings())
    begun = time.process_time()
    alarms(seen, all_detectors)
    assert (time.process_time() - begun) / len(seen) < 0.000_5
