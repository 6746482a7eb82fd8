"""A week on two networks with and without outages, and weeks after it in which nothing happens."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from confluent_kafka import TopicPartition

from schemas.change import decode_change
from schemas.export import NetworkState, UserState
from schemas.times import parse_ms
from scorer.model import DAY_MS
from scorer.reference import Event, Sums, sums_of
from streams import clients
from streams.settings import IngestSettings, LaneSettings
from tests.checks import committed_records, wrong_sums
from tests.engine import fading
from tests.engine.fading import Fading, Published
from tests.engine.two_networks import END_MS, EVERYBODY, FLAT, MASTODON, NETWORKS, START_MS, TWITTER, Collectors
from tests.roles import Installation, Role, eventually, start_together

FEED_STOPS_MS: Final = START_MS + 3 * DAY_MS
FEED_IS_BACK_MS: Final = FEED_STOPS_MS + DAY_MS
COLLECTOR_DIES_MS: Final = FEED_IS_BACK_MS + DAY_MS
COLLECTOR_IS_BACK_MS: Final = COLLECTOR_DIES_MS + DAY_MS
DEAD: Final = "west"
_TOLERANCE: Final = 1e-9


def settings(partitions: int) -> dict[str, object]:
    """Settings of the installations; ticks are told at once, so that both networks' clocks go together."""
    lanes, ingest = LaneSettings(partitions=partitions), IngestSettings(tick_interval_ms=0)
    return {"networks": NETWORKS, "model": FLAT, "lanes": lanes, "ingest": ingest}


class Run:
    """An installation, its roles and its collectors."""

    def __init__(self, installation: Installation, events: Sequence[Event], *, seconds: float) -> None:
        """Prepare; `seconds` is how long anything may take, and a hundredth of it how long it must be quiet."""
        self.installation = installation
        self.collectors = Collectors(installation, events)
        self.roles: list[Role] = [installation.ingest(), installation.worker()]
        self._seconds = seconds

    def settle(self, **clocks: int) -> dict[int, int]:
        """Return where the changes end when the clocks have come so far and all that follows is published."""
        self.installation.wait(self._seconds)

        def there() -> bool:
            tasks = self.roles[1].partitions().values()
            return [task["clocks"] for task in tasks] == [clocks] * self.installation.settings.lanes.partitions

        eventually(there, seconds=self._seconds, otherwise=lambda: (self.clocks(), self.roles[1].log()))
        before: dict[int, int] = {}
        while (ends := self.ends(self.installation.names.state)) != before:
            before = ends
            time.sleep(self._seconds / 100)
        return self.ends(self.installation.names.changes)

    def clocks(self) -> list[dict[str, int]]:
        """Return the clocks of each partition."""
        return [task["clocks"] for task in self.roles[1].partitions().values()]

    def ends(self, topic: str) -> dict[int, int]:
        """Return where the partitions of a topic end."""
        consumer = clients.consumer(self.installation.settings.kafka, {"group.id": "checks"})
        places = [TopicPartition(topic, number) for number in range(self.installation.settings.lanes.partitions)]
        ends = {place.partition: consumer.get_watermark_offsets(place, 10)[1] for place in places}
        consumer.close()
        return ends


@dataclass(frozen=True, slots=True)
class Moment:
    """What was known at one moment."""

    users: dict[str, UserState]
    ends: dict[int, int]
    """Where the changes ended."""


@dataclass(frozen=True, slots=True)
class Week:
    """Both installations after the week."""

    steady: Run
    interrupted: Run
    expected: dict[tuple[str, str], Sums]
    end: Moment
    """Of the steady one."""
    stopped: tuple[Moment, Moment]
    """Before and after twitter's feed stood still for a day."""
    halved: tuple[Moment, Moment]
    """Before and after one of its collectors was dead for a day."""
    interrupted_end: Moment


def week(steady: Run, interrupted: Run, events: Sequence[Event], step_ms: int) -> Week:
    """Let both installations have the week, one of them with outages; collectors report once in a step."""
    start_together(*steady.roles, *interrupted.roles)
    with ThreadPoolExecutor() as background:
        expected = background.submit(sums_of, events, FLAT)
        ended = background.submit(_steady_week, steady, step_ms)
        moments = _interrupted_week(interrupted, step_ms)
        return Week(steady, interrupted, expected.result(), ended.result(), moments[:2], moments[2:4], moments[4])


def _steady_week(run: Run, step_ms: int) -> Moment:
    run.collectors.report_in_steps(START_MS, END_MS, step_ms)
    return _moment(run, twitter=END_MS, mastodon=END_MS)


def _interrupted_week(run: Run, step_ms: int) -> tuple[Moment, Moment, Moment, Moment, Moment]:
    report = run.collectors.report_in_steps
    report(START_MS, FEED_STOPS_MS, step_ms)
    before = _moment(run, twitter=FEED_STOPS_MS, mastodon=FEED_STOPS_MS)
    report(FEED_STOPS_MS, FEED_IS_BACK_MS, step_ms, MASTODON)
    after = _moment(run, twitter=FEED_STOPS_MS, mastodon=FEED_IS_BACK_MS)
    report(FEED_STOPS_MS, FEED_IS_BACK_MS, DAY_MS, TWITTER)
    report(FEED_IS_BACK_MS, COLLECTOR_DIES_MS, step_ms)
    whole = _moment(run, twitter=COLLECTOR_DIES_MS, mastodon=COLLECTOR_DIES_MS)
    report(COLLECTOR_DIES_MS, COLLECTOR_IS_BACK_MS, step_ms, [source for source in EVERYBODY if source != DEAD])
    partial = _moment(run, twitter=COLLECTOR_DIES_MS, mastodon=COLLECTOR_IS_BACK_MS)
    report(COLLECTOR_DIES_MS, COLLECTOR_IS_BACK_MS, DAY_MS, [DEAD])
    report(COLLECTOR_IS_BACK_MS, END_MS, step_ms)
    return before, after, whole, partial, _moment(run, twitter=END_MS, mastodon=END_MS)


def _moment(run: Run, **clocks: int) -> Moment:
    ends = run.settle(**clocks)
    return Moment(run.installation.users(), ends)


def differs_on_twitter(before: Moment, after: Moment) -> list[str]:
    """Users whose part from twitter is not what it was to the last bit, but for those with new events there."""
    return [
        f"{user}: {part} after {state.networks['twitter']}"
        for user, state in before.users.items()
        if "twitter" in state.networks
        and (part := after.users[user].networks["twitter"]) != state.networks["twitter"]
        and part.events == state.networks["twitter"].events
    ]


def with_new_events(before: Moment, after: Moment) -> list[tuple[str, NetworkState, NetworkState]]:
    """Users on twitter to whom something happened there in between."""
    return [
        (user, state.networks["twitter"], after.users[user].networks["twitter"])
        for user, state in before.users.items()
        if "twitter" in state.networks
        and after.users[user].networks["twitter"].events > state.networks["twitter"].events
    ]


def fell_by_more_than_their_own_events_time(before: Moment, after: Moment) -> list[str]:
    """Users of whose part less is left than what decay to their own last event leaves of what they had."""
    wrong = []
    for user, old, new in with_new_events(before, after):
        left = 2.0 ** (-(parse_ms(new.time) - parse_ms(old.time)) / FLAT.half_life_ms) * (1 - _TOLERANCE)
        if new.reach < old.reach * left or new.amplification < old.amplification * left:
            wrong.append(f"{user}: {new} after {old}")
    return wrong


def published_otherwise(run: Run, before: Moment, after: Moment) -> list[str]:
    """Changes between two moments that give another network score of twitter than there was before."""
    wrong = []
    for partition, offset, _, value in committed_records(
        run.installation.settings.kafka, run.installation.names.changes
    ):
        if before.ends[partition] <= offset < after.ends[partition]:
            change = decode_change(value or b"")
            known = before.users[change.user].networks.get("twitter") if change.user in before.users else None
            if change.networks.get("twitter") != (known and known.score):
                wrong.append(f"{change.user}: {change.networks} after {known}")
    return wrong


def differs_from_steady(week: Week) -> list[str]:
    """Users of whom the interrupted run knows something else at the end than the steady one."""
    wrong = wrong_sums(week.interrupted_end.users, week.expected, influence_floor=1.0)
    for user, steady in week.end.users.items():
        other = week.interrupted_end.users[user]
        if (other.score, other.subscores, other.as_of) != (steady.score, steady.subscores, steady.as_of):
            wrong.append(f"{user}: {other} after outages, {steady} without")
        for name, part in steady.networks.items():
            theirs = other.networks[name]
            same = all(
                math.isclose(getattr(theirs, sum_), getattr(part, sum_), rel_tol=_TOLERANCE)
                for sum_ in ("reach", "amplification", "network")
            )
            if not same or (theirs.time, theirs.events, theirs.score) != (part.time, part.events, part.score):
                wrong.append(f"{user} on {name}: {theirs} after outages, {part} without")
    return wrong


def changes_while_nothing_comes(run: Run, seconds: float) -> int:
    """How many changes are published while no collector says anything; tasks may still say that they live."""
    before = sum(run.ends(run.installation.names.changes).values())
    time.sleep(seconds)
    return sum(run.ends(run.installation.names.changes).values()) - before


@dataclass(frozen=True, slots=True)
class Weeks:
    """What decay alone did."""

    published: Published
    verdict: fading.Verdict
    too_much_at_once: list[str]
    unlike_export: list[str]
    """Users whom the export gives other scores than the formulas."""


def fade(run: Run, week: Week, steps_ms: Iterable[int], say: Callable[[str], None]) -> Weeks:
    """Let weeks pass by heartbeats alone, and hold everything that is published against the formulas."""
    clocks, ends = [END_MS], {END_MS: week.end.ends}
    for step_ms in steps_ms:
        clocks.append(clocks[-1] + step_ms)
        run.collectors.report(clocks[-1])
        ends[clocks[-1]] = run.settle(twitter=clocks[-1], mastodon=clocks[-1])
    kafka, names = run.installation.settings.kafka, run.installation.names
    should = Fading.of(week.expected, list(NETWORKS), FLAT)
    found = fading.published(kafka, names.changes, should, week.end.ends, ends)
    assert found.changes is not None
    ways = fading.apart(kafka, names.state, END_MS)
    verdict = fading.judge(should, found.changes, clocks, run.installation.settings.lanes.partitions, ways)
    before = should.shown(np.full(len(should.users), END_MS))[:, 0]
    say(
        f"{len(should.users):,} users fade for {sum(steps_ms) / DAY_MS:.0f} days: {found.count:,} changes in all, "
        f"{len(found.changes.user):,} by decay alone, {verdict.exact:,} of them at the computed moment (at most "
        f"{verdict.late_ms_max} ms off), {verdict.ways:,} while the clocks of the networks were apart; "
        f"{len(verdict.wrong)} wrong"
    )
    return Weeks(
        found,
        verdict,
        fading.too_much_at_once(found.changes, before),
        _unlike(run.installation.users(), should, clocks[-1]),
    )


def _unlike(users: Mapping[str, UserState], should: Fading, at_ms: int) -> list[str]:
    shown = should.shown(np.full(len(should.users), at_ms))
    wrong = []
    for user, [score, *parts] in zip(should.users, shown.tolist(), strict=True):
        state = users[user]
        own = [state.networks[name].score if name in state.networks else 0.0 for name in should.networks]
        have = [*msgspec.to_builtins(state.subscores).values(), *own]
        if round((state.score or 0.0) * 10) != score or [math.floor(value + 0.5) for value in have] != parts:
            wrong.append(f"{user}: {state}, not {score} and {parts}")
    return wrong
