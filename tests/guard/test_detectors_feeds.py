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
    assert 105 < first_seconds(verdicts) <= 107
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
    assert 105 < first_seconds(verdicts) <= 107
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
    assert all(first.numbers["limit_seconds"] == 8.75 for first in silent)


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
    assert all_verdicts(detector, [Moment(NOW_MS + 7_200_000 + 1_000 * second) for second in range(100)]) == []
