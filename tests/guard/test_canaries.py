"""Synthetic accounts: whatever they do shows, is as it must be, and moves no clock; what is not is said."""

import itertools
from collections import Counter
from typing import Any

import msgspec
import pytest

from schemas.change import decode_change
from schemas.feed_report import FeedReport
from schemas.interaction import Interaction
from schemas.times import format_ms, parse_ms
from schemas.users import partition_of
from scorer.model import Model, Weights
from streams.decoders import decoder, decoder_names
from streams.guard.canaries import CanaryDetector
from streams.guard.canary_feed import BACKLOG_RECORDS_MAX
from streams.guard.canary_records import FORMATS, Act, CanaryRecord, canary_record
from streams.guard.canary_schedule import GIVE_UP_MS, LATE_MS
from streams.guard.detectors.feeds import FeedStalled
from streams.guard.observations import FeedSeen, Moment
from streams.settings import GuardSettings, NetworkSettings
from tests.guard.canary_world import NETWORK, RAW_PARTITIONS, WALL_MS, World

LATE_SECONDS = LATE_MS // 1000
ROUND_SECONDS = 60
HOURS = 3_600


def read(record: CanaryRecord, format_: str = "native") -> Interaction:
    [event] = decoder(format_).decode([record.value], [list(record.headers)]).events
    return event


def test_there_is_a_way_to_write_every_format_that_can_be_read() -> None:
    assert sorted(FORMATS) == decoder_names()


@pytest.mark.parametrize(
    ("format_", "kind"), [(name, kind) for name, of in FORMATS.items() for kind in (*of.kinds, "retract")]
)
def test_what_is_written_is_read_back(format_: str, kind: Any) -> None:
    act = Act(kind, "@canary/net/1", "@canary/net/2", "seven", 1_340_000_000_123)
    event = read(canary_record("net", format_, 2, act), format_)
    found = (event.kind, event.actor, event.id, event.source, event.time)
    time = act.time_ms if format_ == "native" else format_ms(act.time_ms)
    assert found == (kind, act.actor, "seven", "@canary", time)
    assert event.target == ("" if kind == "retract" else act.target)


@pytest.mark.parametrize(
    ("format_", "pace"),
    [("native", 1.0), ("activitystreams", 0.01), ("native", HOURS), ("activitystreams", 12 * HOURS)],
)
def test_every_act_shows_and_is_as_the_reference_says(format_: str, pace: float) -> None:
    world = World(format_=format_, pace=pace)
    world.run(360)
    assert world.verdicts == []
    assert len(world.sent) == 36
    assert len(world.latencies) >= len(world.sent) - 1
    kinds = Counter(read(record, format_).kind for record in world.sent)
    assert kinds["retract"] == 18
    assert set(kinds) == {*FORMATS[format_].kinds, "retract"}
    credited = {read(record, format_).target for record in world.sent} - {""}
    assert sorted(partition_of(user.encode(), 4) for user in credited) == [0, 1, 2, 3]
    assert {record.raw_partition for record in world.sent} == set(range(RAW_PARTITIONS))


def test_they_never_act_later_than_their_raw_partition_has_come() -> None:
    world = World()
    for _ in range(100):
        latest = {number: world.time_ms + 1_000 + 700 * number for number in range(RAW_PARTITIONS)}
        for record in world.second():
            assert read(record).time == latest[record.raw_partition]
        world.take_in()
        world.tell(world.changes())


@pytest.mark.parametrize(
    "fields", [{"frozen": True}, {"time": None}, {"lag_records": BACKLOG_RECORDS_MAX + 1}, {"time": format_ms(7)}]
)
def test_nobody_acts_while_the_networks_time_is_unknown_or_stands(fields: dict[str, Any]) -> None:
    world = World()
    world.look()
    for _ in range(50):
        world.second(4, **fields)
        world.take_in()
        world.tell(world.changes())
    if fields == {"time": format_ms(7)}:  # It moved once, and no more from then on.
        assert len(world.sent) == 1
        # The one partition's time is not beyond what was published: no further act is possible.
        assert world.verdicts == []
    else:
        assert world.sent == []


def test_they_take_a_network_for_stalled_when_the_detector_of_stalls_does() -> None:
    canaries = CanaryDetector({NETWORK: NetworkSettings()}, GuardSettings(), Model(), 4)
    stalls = FeedStalled({NETWORK: NetworkSettings(sources=("west",))}, GuardSettings().heartbeat_seconds)
    heard = format_ms(WALL_MS)
    report = FeedReport(
        network=NETWORK, raw_partition=0, raw_partitions=1, written=heard, position=0, lag_records=0, at_end=True,
        frozen=False, time=heard, arrival=heard, heartbeats={"west": heard}, counters={},
    )  # fmt: skip
    for now_ms in range(WALL_MS, WALL_MS + 180_000, 1_000):
        seen = FeedSeen(report, now_ms)  # Ingest goes on to tell, and always the same.
        canaries.update(seen)
        stalls.update(seen)
        stalled = bool(stalls.update(Moment(now_ms)))
        assert canaries._feeds[NETWORK].is_moving(now_ms) is not stalled
        if stalled:
            break
    assert now_ms - WALL_MS == 94_000


def test_a_wrong_score_is_critical_until_other_accounts_were_right_for_a_round() -> None:
    world = World(model=Model(influence_floor=0.12))
    world.run(10)
    [wrong] = world.verdicts
    assert (wrong.kind, wrong.firing, wrong.severity, wrong.slice.network) == ("canary", True, "critical", NETWORK)
    assert wrong.numbers["score"] - wrong.numbers["score_expected"] > wrong.numbers["limit"] == 0.05
    first = {read(record).actor for record in world.sent}
    world.stand.model = world.guards_model
    world.run(ROUND_SECONDS - 10)
    assert len(world.verdicts) == 1
    world.run(20)
    assert [verdict.firing for verdict in world.verdicts] == [True, False]
    assert not first & {read(record).actor for record in world.sent[1:]}


@pytest.mark.parametrize(
    "changed", [{"sequence": 5}, {"previous": 7.7}, {"score": 3.1}, {"score": None, "subscores": None}]
)
def test_a_change_that_is_not_as_it_must_be_is_found(changed: dict[str, Any]) -> None:
    world = World()
    world.run(2 * ROUND_SECONDS)
    while not world.waiting:
        world.second()
    world.take_in()
    [change] = world.changes()
    world.tell([msgspec.structs.replace(change, **changed)])
    assert [(verdict.firing, verdict.severity) for verdict in world.verdicts] == [(True, "critical")]
    assert world.verdicts[0].since_ms is not None
    assert world.verdicts[0].since_ms <= parse_ms(change.as_of)


def test_a_change_that_nobody_caused_is_found() -> None:
    world = World()
    world.run(2 * ROUND_SECONDS)
    forged = max(world.stand.topic, key=lambda record: record.offset)
    change = decode_change(forged.value)
    world.tell([msgspec.structs.replace(change, sequence=change.sequence + 1, previous=change.score)])
    assert [verdict.firing for verdict in world.verdicts] == [True]


def test_a_change_that_is_seen_again_is_nothing() -> None:
    world = World()
    changes = []
    for _ in range(ROUND_SECONDS):
        world.second(2)
        world.take_in()
        changes += (new := world.changes())
        world.tell([*new, *changes[-5:]])
    assert world.verdicts == []


def test_what_comes_late_is_said_once_and_sent_again_as_the_same_event_until_it_comes() -> None:
    world = World()
    world.run(2 * ROUND_SECONDS)
    while not world.second():
        pass
    for _ in range(LATE_SECONDS):
        world.second()
    assert world.verdicts == []
    for _ in range(3 * LATE_SECONDS):
        world.second()
    [late] = world.verdicts
    assert (late.kind, late.firing, late.severity) == ("canary_late", True, "major")
    assert late.numbers == {"waited_seconds": LATE_SECONDS + 1, "limit": LATE_SECONDS}
    assert len(world.waiting) == 4
    assert len({record.value for record in world.waiting}) == 1
    world.take_in()
    world.tell(world.changes())
    assert [verdict.firing for verdict in world.verdicts] == [True, False]
    world.run(2 * ROUND_SECONDS)
    assert len(world.verdicts) == 2


@pytest.mark.parametrize("fields", [{"frozen": True}, {"time": format_ms(7)}])
def test_nothing_is_late_while_the_network_stands(fields: dict[str, Any]) -> None:
    world = World()
    world.run(2 * ROUND_SECONDS)
    while not world.second():
        pass
    for _ in range(20):
        world.second(**fields)
    # A stall is known after two heartbeats; what was said until then was so.
    said = len(world.verdicts)
    for _ in range(100):
        world.second(**fields)
    world.run(ROUND_SECONDS)
    assert said == 0
    assert [verdict.firing for verdict in world.verdicts] in ([], [True, False])
    if fields.get("frozen"):
        assert world.verdicts == []


def test_what_never_comes_makes_others_begin() -> None:
    world = World()
    world.run(ROUND_SECONDS)
    while not world.second():
        pass
    lost = read(world.sent[-1])
    world.waiting.clear()
    for _ in range(GIVE_UP_MS // 10_000 + 6):
        world.second(10)
        world.waiting.clear()
    world.run(ROUND_SECONDS)
    assert [verdict.firing for verdict in world.verdicts] == [True, False]
    assert read(world.sent[-1]).actor != lost.actor


def test_a_standby_goes_on_with_the_same_accounts() -> None:
    world = World()
    for _ in range(6):
        world.run(35)
        state, world.detector = world.detector.state(), world.new_detector()
        world.detector.restore(state)
        world.report(0)
    assert world.verdicts == []
    assert len({partition_of(read(record).actor.encode(), 4) for record in world.sent}) == 4
    assert len({read(record).actor for record in world.sent}) == 4


@pytest.mark.parametrize("ago", [5, 25, 70])
@pytest.mark.parametrize("are_missed", [False, True])
def test_a_stored_state_that_is_behind_makes_others_begin_and_is_no_fault(ago: int, *, are_missed: bool) -> None:
    world = World()
    world.run(2 * ROUND_SECONDS)
    for _ in range(3):
        state, known = world.detector.state(), len(world.stand.topic)
        world.run(ago)
        world.detector = world.new_detector()
        world.detector.restore(state)
        if not are_missed:
            world.tell([decode_change(record.value) for record in world.stand.topic[known:]])
        world.run(ROUND_SECONDS)
    assert world.verdicts == []
    assert max(world.latencies) == 0.0, "time in which nobody watched is no latency"


def test_without_a_stored_state_others_begin() -> None:
    world = World()
    world.run(100)
    first = {read(record).actor for record in world.sent}
    world.detector, count = world.new_detector(), len(world.sent)
    world.run(100)
    assert world.verdicts == []
    assert len(world.sent) > count
    assert not first & {read(record).actor for record in world.sent[count:]}


def test_a_state_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match=r".*"):
        World().detector.restore(b"\xff")


@pytest.mark.parametrize(
    "model",
    [
        Model(score_scale=1e15),
        Model(score_scale=0.01),
        Model(half_life_days=0.01),
        Model(influence_floor=1.0, alpha=0.9, weights=Weights(share=40.0, reaction=0.01)),
    ],
)
def test_they_fit_every_model(model: Model) -> None:
    world = World(model=model)
    world.guards_model = model
    world.detector = world.new_detector()
    world.run(130)
    assert world.verdicts == []
    assert len(world.latencies) == 13


def test_one_account_is_two_and_none_is_none() -> None:
    world = World()
    for canaries, partners in ((1, 2), (0, 0)):
        world.detector = CanaryDetector(
            {NETWORK: NetworkSettings()}, GuardSettings(canaries=canaries), world.guards_model, 4
        )
        begun = len(world.sent)
        world.run(100)
        events = [read(record) for record in itertools.islice(world.sent, begun, None)]
        assert len({user for event in events for user in (event.actor, event.target)} - {""}) == partners
    assert world.verdicts == []
