"""What a feed with a fault sends instead of what it should, event by event, and who falls silent."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from clout.demo.faults import BEHIND_MS, DEAD, FEED_FAULTS, GARBAGE, STORM
from clout.demo.feed import Feed
from clout.demo.interference import Interference
from clout.demo.orders import Mailbox, Order
from clout.demo.population import COLLECTORS, Event, Interactions, Population, PopulationSettings, encoded
from clout.sender import RAW_PRODUCER_OPTIONS
from schemas.interaction import Interaction
from schemas.limits import TIME_AHEAD_MS_MAX
from schemas.times import HOUR_MS
from streams import clients
from streams.names import Names
from streams.settings import KafkaSettings
from tests.checks import raw_records
from tests.roles import eventually

BEGIN_MS = 1_750_000_000_000
NETWORKS = ("sick", "well")
SICK, WELL = range(2)
NOW_SECONDS = 1_760_000_000.0
SETTINGS = PopulationSettings(
    people=200, networks=NETWORKS, start_ms=BEGIN_MS, end_ms=BEGIN_MS + 10 * HOUR_MS, events=4_000
)


@pytest.fixture(scope="module")
def events() -> list[Event]:
    population = Population(SETTINGS)
    return list(encoded(population, Interactions.join(list(population.interactions())), 0))


class Run:
    """A feed whose first half is well; then one network has a fault, until its time is over."""

    def __init__(self, mailbox: Mailbox, events: Sequence[Event], fault: str, **order: object) -> None:
        now = NOW_SECONDS
        half = len(events) // 2
        interference = Interference(mailbox, NETWORKS, lambda: now)
        self.before = [sent for event in events[:half] for sent in interference.instead(event)]
        fields = {"id": "1", "fault": fault, "network": "sick", "until_seconds": now + 10.0} | order
        placed = msgspec.convert(fields, Order)
        mailbox.place(placed)
        now += 1.0
        assert not interference.look()
        self.due = [event for event in events[half:] if event.network == SICK]
        self.sent: list[Event] = []
        for event in events[half:]:
            if event.network == SICK:
                self.sent += interference.instead(event)
            else:
                assert list(interference.instead(event)) == [event]
        self.mute = [collector for collector in range(len(COLLECTORS)) if interference.is_mute(SICK, collector)]
        assert not any(interference.is_mute(WELL, collector) for collector in range(len(COLLECTORS)))
        now += 10.0
        self.later = interference.look()
        assert not mailbox.orders()
        self.report = mailbox.report(placed)
        assert list(interference.instead(events[0])) == [events[0]]
        assert not interference.is_mute(SICK, DEAD)


Suffer = Callable[..., Run]


@pytest.fixture
def suffer(tmp_path: Path, events: list[Event]) -> Suffer:
    return lambda fault, **order: Run(Mailbox(tmp_path), events, fault, **order)


def read(events: Sequence[Event]) -> list[Interaction]:
    return [msgspec.json.decode(event.value, type=Interaction) for event in events]


def test_a_stalled_feed_sends_nothing_and_later_everything(suffer: Suffer) -> None:
    run = suffer("stall")
    assert run.sent == []
    assert run.mute == [0, 1, 2, 3]
    assert run.later == run.due
    assert run.report is not None
    assert (run.report.events, run.report.sent, run.report.ended) == (len(run.due), len(run.due), True)


def test_a_dead_collector_holds_back_its_own_events_alone(suffer: Suffer) -> None:
    run = suffer("dead-collector")
    assert run.mute == [DEAD]
    assert run.sent == [event for event in run.due if event.collector != DEAD]
    assert run.later == [event for event in run.due if event.collector == DEAD]


def test_of_a_partial_feed_a_share_is_lost_and_heartbeats_go_on(suffer: Suffer) -> None:
    run = suffer("partial", share=0.4)
    assert len(run.sent) == pytest.approx(0.6 * len(run.due), rel=0.1)
    assert set(run.sent) < set(run.due)
    assert (run.mute, list(run.later)) == ([], [])


def test_half_garbage_is_not_valid_and_the_rest_is_as_it_was(suffer: Suffer) -> None:
    run = suffer("half-garbage")
    garbage = [sent for sent, due in zip(run.sent, run.due, strict=True) if sent != due]
    assert len(garbage) == pytest.approx(len(run.due) / 2, rel=0.1)
    assert {event.value for event in garbage} == set(GARBAGE)


def test_events_of_the_future_are_later_than_ingest_takes_them(suffer: Suffer) -> None:
    run = suffer("future")
    limit_ms = NOW_SECONDS * 1000 + 11_000 + TIME_AHEAD_MS_MAX
    assert all(isinstance(of.time, int) and of.time > limit_ms for of in read(run.sent))
    assert len(run.sent) == len(run.due)


def test_skewed_events_are_two_days_early_and_otherwise_the_same(suffer: Suffer) -> None:
    run = suffer("skew")
    early = [msgspec.structs.replace(of, time=int(of.time) - BEHIND_MS) for of in read(run.due)]
    assert read(run.sent) == early


def test_a_replay_storm_sends_again_what_was_sent(suffer: Suffer) -> None:
    run = suffer("replay-storm")
    assert len(run.sent) == (1 + STORM) * len(run.due)
    assert run.sent[:: 1 + STORM] == run.due
    again = [event for number, event in enumerate(run.sent) if number % (1 + STORM)]
    assert set(again) <= {event for event in run.before if event.network == SICK}


def test_a_retract_storm_takes_back_what_was_sent_each_event_once_before_any_twice(suffer: Suffer) -> None:
    run = suffer("retract-storm")
    sent = {(of.actor, of.id) for of in read(run.before)}
    taken = [(of.actor, of.id) for of in read(run.sent) if of.kind == "retract"]
    assert len(taken) == STORM * len(run.due)
    assert set(taken) <= sent
    first = taken[: sum(event.network == SICK for event in run.before)]
    assert len(set(first)) == len(first)


def test_misattributed_events_differ_in_whom_they_credit_alone(suffer: Suffer) -> None:
    run = suffer("misattribute")
    pairs = list(zip(read(run.sent), read(run.due), strict=True))
    assert all(msgspec.structs.replace(sent, target=due.target) == due for sent, due in pairs)
    assert sum(sent.target != due.target for sent, due in pairs) > 0.8 * len(pairs)


def test_a_wave_of_bots_are_new_accounts_that_act_on_a_few(suffer: Suffer) -> None:
    run = suffer("bot-wave")
    bots = [of for of in read(run.sent) if of.actor.startswith("bot-")]
    assert len(bots) == STORM * len(run.due)
    assert len({of.actor for of in bots}) == len(bots)
    assert len({of.target for of in bots}) <= 5
    assert [event for event in run.sent if not event.key.startswith(b"bot-")] == run.due


@pytest.mark.parametrize("fault", FEED_FAULTS)
def test_the_same_seed_makes_the_same_of_the_same_events(suffer: Suffer, fault: str) -> None:
    assert suffer(fault).sent == suffer(fault).sent


@pytest.mark.parametrize("order", [{"fault": "nothing-known"}, {"network": "elsewhere"}])
def test_an_order_that_cannot_be_carried_out_changes_nothing(
    tmp_path: Path, events: list[Event], order: dict[str, str]
) -> None:
    mailbox = Mailbox(tmp_path)
    fields = {"id": "1", "fault": "stall", "network": "sick", "until_seconds": NOW_SECONDS + 10} | order
    placed = msgspec.convert(fields, Order)
    mailbox.place(placed)
    interference = Interference(mailbox, NETWORKS, lambda: NOW_SECONDS)
    assert not interference.look()
    assert all(list(interference.instead(event)) == [event] for event in events[:100])
    assert mailbox.report(placed) is None


def test_faults_on_two_networks_go_on_side_by_side_and_each_ends_alone(tmp_path: Path, events: list[Event]) -> None:
    now, mailbox = NOW_SECONDS, Mailbox(tmp_path)
    interference = Interference(mailbox, NETWORKS, lambda: now)
    lost, held = (
        Order(id=fault, fault=fault, network=network, until_seconds=now + seconds, share=1.0)
        for fault, network, seconds in (("partial", "sick", 50.0), ("stall", "well", 60.0))
    )
    mailbox.place(lost)
    mailbox.place(held)
    assert not interference.look()
    assert not [sent for event in events[:100] for sent in interference.instead(event)]
    now += 1.0
    mailbox.withdraw(lost)
    assert not interference.look()
    assert [list(interference.instead(event)) for event in events[100:200]] == [
        [event] if event.network == SICK else [] for event in events[100:200]
    ]
    mailbox.withdraw(held)
    now += 1.0
    assert interference.look() == [event for event in events[:200] if event.network == WELL]
    for order, network in ((lost, SICK), (held, WELL)):
        report = mailbox.report(order)
        assert report is not None
        met = sum(event.network == network for event in events[: 100 if order is lost else 200])
        assert (report.ended, report.behind, report.events) == (True, None, met)


def test_a_second_order_for_a_network_is_refused_and_does_not_begin_later(tmp_path: Path) -> None:
    now, mailbox = NOW_SECONDS, Mailbox(tmp_path)
    interference = Interference(mailbox, NETWORKS, lambda: now)
    first = Order(id="2", fault="stall", network="sick", until_seconds=now + 10)
    second = Order(id="1", fault="partial", network="sick", until_seconds=now + 60)
    mailbox.place(first)
    assert not interference.look()
    mailbox.place(second)
    now += 1.0
    assert not interference.look()
    refused, going_on = mailbox.report(second), mailbox.report(first)
    assert refused is not None
    assert going_on is not None
    assert (refused.ended, refused.behind) == (True, first)
    assert not going_on.ended
    assert interference.is_mute(SICK, DEAD)
    now += 10.0
    assert not interference.look()
    now += 1.0
    assert not interference.look()
    assert not interference.is_mute(SICK, DEAD)
    assert not interference.end()
    assert mailbox.orders() == []


def test_a_feed_that_stalls_brings_everything_in_the_end_and_its_heartbeats_behind_it(
    kafka_settings: KafkaSettings, make_topic: Callable[..., str], tmp_path: Path, events: list[Event]
) -> None:
    names, mailbox = Names(kafka_settings.prefix, "1"), Mailbox(tmp_path)
    for network in NETWORKS:
        make_topic(names.interactions(network), partitions=2)
    producer = clients.producer(kafka_settings, RAW_PRODUCER_OPTIONS)
    feed = Feed(Population(SETTINGS), producer, names, factor=10 * HOUR_MS / 1000 / 2.0, mailbox=mailbox)
    mailbox.place(Order(id="1", fault="stall", network="sick", until_seconds=time.time() + 60))
    feed.start()
    eventually(lambda: feed.made_events > 500)
    early = raw_records(kafka_settings, names.interactions("sick"))
    eventually(lambda: not feed.running)
    feed.stop()
    assert feed.failure is None
    assert not any(early.values())
    found = list(raw_records(kafka_settings, names.interactions("sick")).values())
    assert sum(key is not None for records in found for key, _ in records) == sum(of.network == SICK for of in events)
    for records in found:
        heartbeats = [number for number, (key, _) in enumerate(records) if key is None]
        assert len(heartbeats) >= len(COLLECTORS)
        assert heartbeats == list(range(len(records)))[-len(heartbeats) :]
