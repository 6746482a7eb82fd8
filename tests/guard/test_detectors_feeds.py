from schemas.incident import Slice
from streams.guard.detector import Verdict
from streams.guard.detectors.feeds import FeedStalled
from streams.guard.observations import Moment, Observation
from streams.settings import NetworkSettings
from tests.guard.seen import NOW_MS, all_verdicts, feed

TWO = {"twitter": NetworkSettings(sources=("east", "west")), "mastodon": NetworkSettings(sources=("main",))}
YEARS_MS = 5 * 365 * 86_400_000
"""How long ago the history is that is replayed: event time plays no part."""


def minutes(
    begin: int, end: int, alive: dict[str, tuple[str, ...]], *, frozen: tuple[str, ...] = (), every: int = 60
) -> list[Observation]:
    """Each collector that is alive beats once a minute; seconds go by between."""
    seen: list[Observation] = []
    for second in range(60 * begin, 60 * end):
        now_ms = NOW_MS + 1_000 * second
        if second % every == 0:
            seen += [
                feed(
                    now_ms,
                    network=network,
                    time_ms=now_ms - YEARS_MS,
                    heartbeats_ms=dict.fromkeys(sources, now_ms - YEARS_MS),
                    frozen=network in frozen,
                )
                for network, sources in alive.items()
            ]
        seen.append(Moment(now_ms))
    return seen


ALL = {name: settings.sources for name, settings in TWO.items()}


def two() -> FeedStalled:
    return FeedStalled(TWO, 60)


def first_seconds(verdicts: list[Verdict]) -> float:
    return verdicts[0].numbers["age_seconds"]


def test_collectors_that_beat_each_minute_never_stall() -> None:
    assert all_verdicts(two(), minutes(0, 120, ALL)) == []


def test_a_dead_collector_is_seen_within_twice_the_heartbeat_and_again_when_it_is_back() -> None:
    detector = two()
    all_verdicts(detector, minutes(0, 10, ALL))
    verdicts = all_verdicts(detector, minutes(10, 13, ALL | {"twitter": ("east",)}))
    assert verdicts[0].slice == Slice(network="twitter", source="west")
    assert verdicts[0].severity == "major"
    assert 93 < first_seconds(verdicts) <= 95
    ends = all_verdicts(detector, minutes(13, 15, ALL))
    assert [(end.slice, end.firing) for end in ends] == [(verdicts[0].slice, False)]


def test_a_network_of_which_no_collector_beats_is_one_finding() -> None:
    detector = two()
    all_verdicts(detector, minutes(0, 10, ALL))
    verdicts = all_verdicts(detector, minutes(10, 13, {"mastodon": ("main",)}))
    assert {verdict.slice for verdict in verdicts} == {Slice(network="twitter")}


def test_ingest_that_dies_is_one_finding_about_all_networks() -> None:
    detector = two()
    all_verdicts(detector, minutes(0, 10, ALL))
    verdicts = all_verdicts(detector, minutes(10, 20, {}))
    assert {verdict.slice for verdict in verdicts} == {Slice()}
    assert 93 < first_seconds(verdicts) <= 95
    assert verdicts[0].severity == "critical"


def test_a_frozen_network_does_not_stall_nor_at_once_when_it_goes_on() -> None:
    detector = two()
    all_verdicts(detector, minutes(0, 10, ALL))
    seen = minutes(10, 30, {"twitter": (), "mastodon": ("main",)}, frozen=("twitter",))
    assert all_verdicts(detector, seen) == []
    assert all_verdicts(detector, minutes(30, 31, {"twitter": (), "mastodon": ("main",)})) == []
    assert all_verdicts(detector, minutes(31, 34, {"twitter": (), "mastodon": ("main",)}))


def test_freezing_a_network_that_stalls_ends_the_finding() -> None:
    detector = two()
    all_verdicts(detector, [*minutes(0, 10, ALL), *minutes(10, 14, {"mastodon": ("main",)})])
    ends = all_verdicts(detector, minutes(14, 15, {"twitter": (), "mastodon": ("main",)}, frozen=("twitter",)))
    assert [(end.slice, end.firing) for end in ends] == [(Slice(network="twitter"), False)]


def test_a_collector_that_was_never_heard_stalls() -> None:
    verdicts = all_verdicts(two(), minutes(0, 4, ALL | {"twitter": ("west",)}))
    assert {verdict.slice for verdict in verdicts} == {Slice(network="twitter", source="east")}


def test_while_roles_may_be_starting_only_who_was_heard_can_fall_silent() -> None:
    detector = FeedStalled(TWO, 5)

    def second(at: int, alive: dict[str, tuple[str, ...]]) -> list[Observation]:
        now_ms = NOW_MS + 1_000 * at
        beats = [
            feed(now_ms, network=name, time_ms=now_ms, heartbeats_ms=dict.fromkeys(sources, now_ms))
            for name, sources in alive.items()
        ]
        return [*beats, Moment(now_ms)]

    def seconds(begin: int, end: int, alive: dict[str, tuple[str, ...]]) -> list[Verdict]:
        return all_verdicts(detector, [seen for at in range(begin, end) for seen in second(at, alive)])

    assert seconds(0, 5, {"twitter": ("east",), "mastodon": ("main",)}) == []
    silent = seconds(5, 29, {"twitter": ("west",), "mastodon": ()})
    assert {verdict.slice for verdict in silent} == {Slice(network="twitter", source="east"), Slice(network="mastodon")}
    assert all(first.numbers["limit_seconds"] == 7.75 for first in silent)


def test_without_collectors_silence_counts_against_the_longest_gap_of_late() -> None:
    detector = FeedStalled({"twitter": NetworkSettings(), "mastodon": NetworkSettings()}, 60)
    both: dict[str, tuple[str, ...]] = {"twitter": (), "mastodon": ()}
    assert all_verdicts(detector, minutes(0, 120, both)) == []
    verdicts = all_verdicts(detector, minutes(120, 125, {"mastodon": ()}))
    assert verdicts[0].slice == Slice(network="twitter")
    assert 180 < first_seconds(verdicts) <= 182
    assert not all_verdicts(detector, minutes(125, 126, both))[0].firing


def test_a_short_history_that_was_replayed_and_ended_does_not_stall() -> None:
    detector = FeedStalled({"twitter": NetworkSettings()}, 60)
    replay = minutes(0, 5, {"twitter": ()}, every=1)
    assert all_verdicts(detector, [*replay, *minutes(5, 300, {})]) == []


def test_the_only_network_is_named_when_ingest_tells_nothing() -> None:
    detector = FeedStalled({"twitter": NetworkSettings(sources=("east",))}, 60)
    verdicts = all_verdicts(detector, [*minutes(0, 5, {"twitter": ("east",)}), *minutes(5, 9, {})])
    assert {verdict.slice for verdict in verdicts} == {Slice(network="twitter")}
    ends = all_verdicts(detector, minutes(9, 10, {"twitter": ("east",)}))
    assert [end.firing for end in ends] == [False]


def test_a_guard_that_was_away_begins_to_watch_anew() -> None:
    detector = two()
    all_verdicts(detector, minutes(0, 10, ALL))
    assert all_verdicts(detector, [Moment(NOW_MS + 7_200_000 + 1_000 * second) for second in range(90)]) == []


def test_a_new_installation_of_which_no_collector_was_ever_heard_says_so_and_does_not_blame_ingest() -> None:
    detector = two()
    report = feed(NOW_MS, time_ms=None, heartbeats_ms={})
    moments: list[Observation] = [Moment(NOW_MS + 1_000 * second) for second in range(300)]
    verdicts = all_verdicts(detector, [report, *moments])
    assert {verdict.slice for verdict in verdicts} == {Slice(network="twitter"), Slice(network="mastodon")}
    assert {verdict.severity for verdict in verdicts} == {"major"}


def test_a_guard_that_was_away_takes_nothing_for_news_that_nobody_told() -> None:
    detector = two()
    begun = [*minutes(0, 10, ALL), *minutes(10, 14, {"mastodon": ("main",)})]
    assert all_verdicts(detector, begun)[-1].slice == Slice(network="twitter")
    end_ms = NOW_MS + 14 * 60_000
    silent = [
        seen
        for second in range(60, 150)
        for seen in (
            feed(
                end_ms + 1_000 * second,
                network="mastodon",
                time_ms=end_ms + 1_000 * second,
                heartbeats_ms={"main": end_ms + 1_000 * second},
            ),
            Moment(end_ms + 1_000 * second),
        )
    ]
    assert [verdict.firing for verdict in all_verdicts(detector, silent) if not verdict.firing] == []
    back = minutes(17, 18, ALL)
    assert [(verdict.slice, verdict.firing) for verdict in all_verdicts(detector, back)] == [
        (Slice(network="twitter"), False)
    ]


def raw_minutes(
    begin: int, end: int, raws: dict[int, bool], sources: tuple[str, ...] = ("main",), *, of: int = 2
) -> list[Observation]:
    """Raw partitions that bring something each minute, with or without heartbeats; seconds go by between."""
    seen: list[Observation] = []
    for second in range(60 * begin, 60 * end):
        now_ms = NOW_MS + 1_000 * second
        if second % 60 == 0:
            seen += [
                feed(
                    now_ms,
                    raw_partition=number,
                    raw_partitions=of,
                    heartbeats_ms=dict.fromkeys(sources, now_ms) if beats else {},
                )
                for number, beats in raws.items()
            ]
        seen.append(Moment(now_ms))
    return seen


ONE = {"twitter": NetworkSettings(sources=("main",))}


def test_a_raw_partition_that_brings_nothing_while_the_network_goes_on_stalls_until_it_does() -> None:
    detector = FeedStalled(ONE, 60)
    assert all_verdicts(detector, raw_minutes(0, 10, {0: True, 1: True})) == []
    [silent, *_] = all_verdicts(detector, raw_minutes(10, 13, {0: True}))
    assert (silent.slice, silent.severity) == (Slice(network="twitter", raw_partition=1), "major")
    assert 93 < silent.numbers["age_seconds"] <= 95
    ends = all_verdicts(detector, raw_minutes(13, 15, {0: True, 1: True}))
    assert [(end.slice, end.firing) for end in ends] == [(silent.slice, False)]


def test_a_raw_partition_that_never_brought_anything_holds_the_clock_and_is_said() -> None:
    seen = raw_minutes(0, 5, {0: True})
    assert {verdict.slice.raw_partition for verdict in all_verdicts(FeedStalled(ONE, 60), seen)} == {1}
    idle = {"twitter": NetworkSettings(sources=("main",), idle_after_seconds=60)}
    assert all_verdicts(FeedStalled(idle, 60), seen) == []


def test_a_raw_partition_through_which_no_heartbeats_come_may_be_quiet() -> None:
    detector = FeedStalled(ONE, 60)
    assert all_verdicts(detector, raw_minutes(0, 10, {0: True, 1: False})) == []
    assert all_verdicts(detector, raw_minutes(10, 30, {0: True})) == []


def test_a_network_that_stalls_as_a_whole_is_one_finding_whatever_its_raw_partitions() -> None:
    detector = FeedStalled(ONE | {"mastodon": NetworkSettings(sources=("main",))}, 60)
    mastodon = minutes(0, 20, {"mastodon": ("main",)})
    first, then = raw_minutes(0, 10, {0: True, 1: True}), raw_minutes(10, 12, {0: True})
    seen = sorted([*first, *then, *mastodon], key=lambda one: one.now_ms)
    verdicts = all_verdicts(detector, seen)
    firing = {verdict.slice: verdict.firing for verdict in verdicts}
    assert firing == {Slice(network="twitter", raw_partition=1): False, Slice(network="twitter"): True}


def test_without_collectors_a_raw_partition_is_judged_by_its_own_arrivals_unless_idle_ones_hold_nothing() -> None:
    for idle_after_seconds, expected in ((0, {Slice(network="twitter", raw_partition=1)}), (60, set())):
        detector = FeedStalled({"twitter": NetworkSettings(idle_after_seconds=idle_after_seconds)}, 60)
        assert all_verdicts(detector, raw_minutes(0, 120, {0: False, 1: False})) == []
        verdicts = all_verdicts(detector, raw_minutes(120, 125, {0: False}))
        assert {verdict.slice for verdict in verdicts} == expected


def test_a_network_that_is_resumed_gives_its_raw_partitions_time_again() -> None:
    detector = FeedStalled(ONE, 60)
    all_verdicts(detector, [*raw_minutes(0, 10, {0: True, 1: True}), *raw_minutes(10, 13, {0: True})])
    end_ms = NOW_MS + 13 * 60_000

    def told(raw_partition: int, now_ms: int, *, frozen: bool) -> Observation:
        return feed(
            now_ms, raw_partition=raw_partition, raw_partitions=2, frozen=frozen, heartbeats_ms={"main": now_ms}
        )

    frozen = [told(0, end_ms, frozen=True), told(1, end_ms, frozen=True), Moment(end_ms + 1)]
    assert [verdict.firing for verdict in all_verdicts(detector, frozen)] == [False]
    moments: list[Observation] = [Moment(end_ms + 1_000 * second) for second in range(2, 300)]
    thawed = [told(0, end_ms + 300_000, frozen=False), told(1, end_ms + 300_000, frozen=False)]
    after = [Moment(end_ms + 300_000 + 1_000 * second) for second in range(90)]
    assert all_verdicts(detector, [*moments, *thawed, *after]) == []


def heard(detector: FeedStalled, seconds: int, **what: object) -> None:
    detector.update(feed(NOW_MS + 1_000 * seconds, **what))  # type: ignore[arg-type]


def ages(detector: FeedStalled, seconds: int) -> dict[str, float]:
    detector.update(Moment(NOW_MS + 1_000 * seconds))
    return detector.ages_seconds(NOW_MS + 1_000 * seconds)


BOTH = {"twitter": NetworkSettings(sources=("east", "west")), "mastodon": NetworkSettings()}


def test_a_network_is_as_old_as_its_oldest_heartbeat_came_whatever_time_it_told_and_whoever_watches() -> None:
    detector = FeedStalled(BOTH, 60)
    ago_ms = NOW_MS - YEARS_MS
    detector.update(Moment(NOW_MS))
    heard(detector, 10, heartbeats_ms={"east": ago_ms, "west": ago_ms})
    heard(detector, 20, heartbeats_ms={"east": ago_ms + 1, "west": ago_ms}, raw_partition=1)
    assert ages(detector, 30) == {"twitter": 20.0, "mastodon": 30.0}
    follower = FeedStalled(BOTH, 60)
    follower.restore(detector.state())
    heard(follower, 35, heartbeats_ms={"east": ago_ms, "west": ago_ms + 2})
    assert ages(follower, 40)["twitter"] == 20.0
    assert ages(detector, 40)["twitter"] == 30.0


def test_without_collectors_a_network_is_as_old_as_its_newest_arrival() -> None:
    detector = FeedStalled(BOTH, 60)
    detector.update(Moment(NOW_MS))
    heard(detector, 12, network="mastodon", arrival_ms=NOW_MS + 11_000)
    heard(detector, 20, network="mastodon", raw_partition=1, arrival_ms=NOW_MS + 1_000)
    heard(detector, 25, network="mastodon", arrival_ms=NOW_MS + 11_000)
    assert ages(detector, 30)["mastodon"] == 18.0
