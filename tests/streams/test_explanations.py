"""Explanations add up, and say of contributors what is true; through both stages, against every event by itself."""

import math
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pytest

from schemas.explanation import Explanation, Sums, decode_explanation, encode_explanation
from schemas.times import HOUR_MS, parse_ms
from schemas.users import user_hash
from scorer.contributors import CONTRIBUTORS_MAX
from scorer.model import DAY_MS, Model
from scorer.reference import Event
from scorer.target_state import decode_targets, encode_targets
from streams.explanations import explain
from tests.streams.stages import Retraction, Stages

NOW_MS = 1_340_000_000_000
MODEL = Model()
NETWORKS = ("one", "two")
KINDS = ("share", "reply", "reaction")
FLOAT32 = 1e-5
"""Relative: weights are single floats that were added up."""


@dataclass
class World:
    """Takes acts in one by one, and remembers what each granted."""

    stages: Stages = field(default_factory=lambda: Stages(MODEL))
    names: dict[int, bytes] = field(default_factory=dict)
    given: dict[tuple[str, str], dict[str, list[tuple[Event, float]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    """What counts, by user and network and by who acted."""

    def act(self, event: Event) -> None:
        outcome = self.stages.apply([event])
        if outcome is None:
            return
        self.names |= {int(outcome.actor_hashes[number]): outcome.actors[number] for number in outcome.named.tolist()}
        self.given[event.target, event.network][event.actor].append((event, float(outcome.grants.network[0])))

    def take_back(self, event: Event) -> None:
        self.stages.apply([Retraction(event.network, event.id, event.actor, event.time)])
        self.given[event.target, event.network][event.actor] = [
            (other, grant) for other, grant in self.given[event.target, event.network][event.actor] if other != event
        ]

    def let_pass(self, network: str, clock_ms: int) -> None:
        self.stages.state.network_code(network)
        self.stages.state.clocks[network] = clock_ms
        self.stages.state.population.move_to(self.stages.state.clocks)

    def explain(self, user: str) -> Explanation:
        row = self.stages.targets[user.encode()]
        assert row is not None
        found = explain(
            user.encode(),
            row,
            self.stages.state,
            model=MODEL,
            names_of=lambda hashes: [self.names.get(hash_) for hash_ in hashes],
            forgotten=self.stages.forgotten,
        )
        assert decode_explanation(encode_explanation(found)) == found
        return found

    def true_parts(self, user: str, network: str, at_ms: int) -> dict[str, float]:
        """What each actor's events that count are worth at a time, in the network sum."""
        return {
            actor: sum(grant * 2.0 ** ((event.time - at_ms) / MODEL.half_life_ms) for event, grant in theirs)
            for actor, theirs in self.given[user, network].items()
        }

    def forget(self, user: str) -> None:
        forgotten = self.stages.forgotten
        entry = forgotten.get(user.encode())
        entry.dropping = True
        forgotten.apply([forgotten.row(user.encode(), entry)])


def event(number: int, actor: str, target: str = "t:1", network: str = "one", time: int = NOW_MS) -> Event:
    return Event(network, f"e{number}", KINDS[number % len(KINDS)], actor, target, time)


def check_that_it_adds_up(found: Explanation) -> None:
    """Recompute all from the numbers shown."""
    total = [0.0, 0.0, 0.0]
    for part in found.networks.values():
        for at, name in enumerate(Sums.__struct_fields__):
            granted, decayed = getattr(part.granted, name), getattr(part.decayed, name)
            taken, now = getattr(part.taken_back, name), getattr(part.sums, name)
            assert math.isclose(granted - decayed - taken, now, rel_tol=1e-12, abs_tol=1e-12 * granted)
            assert decayed >= -1e-9 * granted
            assert math.isclose(getattr(part.share, name) * getattr(found.sums, name), now, rel_tol=1e-12)
            total[at] += now
        given_ = sum(contributor.weight for contributor in part.contributors) + part.others
        assert math.isclose(given_, part.sums.network, rel_tol=FLOAT32, abs_tol=1e-12)
    assert total == list(map(float, [found.sums.reach, found.sums.amplification, found.sums.network]))
    reach, amplification, network = total
    strength = reach**0.25 * amplification**0.25 * network**0.5
    assert math.isclose(found.strength, strength, rel_tol=1e-12, abs_tol=1e-300)
    score = min(100.0, 1 + 99 * math.log(1 + strength) / math.log(1 + found.model.score_scale))
    assert found.score is not None
    assert found.unrounded is not None
    assert math.isclose(found.unrounded, score, rel_tol=1e-9)
    assert abs(score - found.score) <= 0.05 + 1e-9


@pytest.mark.parametrize("seed", range(8))
def test_all_of_it_adds_up_and_the_bounds_of_contributors_hold(seed: int) -> None:
    random = np.random.default_rng(seed)
    world = World()
    done: list[Event] = []
    # Some have few contributors and many retractions, some more contributors than the summary has room for.
    people, back = int(random.integers(2, 40)), float(random.choice([0.0, 0.1, 0.4]))
    for number in range(int(random.integers(40, 160))):
        if done and random.random() < back:
            world.take_back(done.pop(int(random.integers(len(done)))))
            continue
        actor, target, network = int(random.integers(people)), int(random.integers(2)), str(random.choice(NETWORKS))
        time = NOW_MS + int(random.integers(-20, 60) * DAY_MS)
        done.append(event(number, f"a:{actor}", f"t:{target}", network, time))
        world.act(done[-1])
    for network in NETWORKS:
        world.let_pass(network, NOW_MS + int(random.integers(0, 300)) * DAY_MS)
    for user in {event.target for event in done}:
        found = world.explain(user)
        check_that_it_adds_up(found)
        for network, part in found.networks.items():
            true = world.true_parts(user, network, parse_ms(part.taken_at))
            sum_, taken = part.sums.network, part.taken_back.network
            slack = FLOAT32 * (sum_ + taken) + 1e-12
            assert math.isclose(sum(true.values()), sum_, rel_tol=1e-9, abs_tol=1e-9 * (sum_ + taken))
            for contributor in part.contributors:
                gave = true.pop(str(contributor.actor))
                assert contributor.least - slack <= gave <= contributor.most + slack
                assert contributor.least <= contributor.weight <= contributor.most
            for gave in true.values():
                assert gave <= part.others_most + slack
            assert part.others_most <= (sum_ + taken) / (CONTRIBUTORS_MAX + 1) + slack


def test_each_network_is_taken_at_its_own_clock_and_says_so() -> None:
    world = World()
    world.act(event(1, "a:1", network="one"))
    world.act(event(2, "a:2", network="two"))
    world.let_pass("one", NOW_MS + 30 * DAY_MS)
    found = world.explain("t:1")
    one, two = found.networks["one"], found.networks["two"]
    assert (parse_ms(one.taken_at), one.clock) == (NOW_MS + 30 * DAY_MS, one.taken_at)
    assert (parse_ms(two.taken_at), two.clock) == (NOW_MS, None)
    assert (one.sums.reach, one.granted.reach, one.decayed.reach) == (0.5, 1.0, 0.5)
    assert (two.sums.reach, two.decayed.reach) == (1.0, 0.0)
    assert found.as_of == one.taken_at
    assert found.networks["one"].share.reach == 0.5 / 1.5


def test_what_retractions_took_is_told_as_it_was_worth_then() -> None:
    world = World()
    for number in range(3):
        world.act(event(3 * number, f"a:{number}"))
    world.act(event(9, "a:9", time=NOW_MS + 30 * DAY_MS))
    world.take_back(event(3, "a:1"))
    part = world.explain("t:1").networks["one"]
    assert (part.events, part.granted.reach, part.taken_back.reach, part.sums.reach) == (3, 4.0, 0.5, 2.0)
    assert part.decayed.reach == 1.5


def test_contributors_gave_no_more_than_there_is_after_some_took_theirs_back() -> None:
    world = World()
    for number in range(5):
        world.act(event(3 * number, f"a:{number}"))
    for number in range(2):
        world.take_back(event(3 * number, f"a:{number}"))
    part = world.explain("t:1").networks["one"]
    assert math.isclose(sum(one.share for one in part.contributors), 1.0, rel_tol=FLOAT32)
    assert [one.least for one in part.contributors] == [0.0] * 5


def test_who_was_forgotten_is_masked_and_others_are_not() -> None:
    world = World()
    for actor in ("a:1", "a:2", "a:3"):
        world.act(event(3, actor))
    # A name that is still there must not be shown, and one that is gone cannot be.
    world.forget("a:1")
    del world.names[user_hash(b"a:2")]
    shown = [contributor.actor for contributor in world.explain("t:1").networks["one"].contributors]
    assert sorted(shown, key=str) == [None, None, "a:3"]


def test_a_user_whose_all_was_taken_back_has_no_score_and_nothing_is_left() -> None:
    world = World()
    world.act(event(1, "a:1"))
    world.take_back(event(1, "a:1"))
    found = world.explain("t:1")
    assert (found.score, found.unrounded, found.subscores, found.networks) == (None, None, None, {})
    assert (found.sums, found.strength, found.next_decay, found.sequence) == (Sums(0.0, 0.0, 0.0), 0.0, None, 2)


def test_the_anchor_is_the_score_when_the_hour_began() -> None:
    world = World()
    assert world.stages.state.clocks == {}
    world.act(event(1, "a:1"))
    assert world.explain("t:1").anchor is None
    world.let_pass("one", NOW_MS)
    first = world.explain("t:1").score
    row = world.stages.targets[b"t:1"]
    hour = NOW_MS // HOUR_MS

    def anchored(anchor_hour: int, anchor_tenths: int) -> float | None:
        heads, entries, contributors = decode_targets([row], 1)
        heads["anchor_hour"], heads["anchor_tenths"] = anchor_hour, anchor_tenths
        [world.stages.targets[b"t:1"]] = encode_targets(heads, entries, contributors)
        anchor = world.explain("t:1").anchor
        assert anchor is not None
        assert parse_ms(anchor.hour) == hour * HOUR_MS
        return anchor.score

    # It has changed in this hour, then: before; it had no score before it; it has not changed since an earlier one.
    assert [anchored(hour, 123), anchored(hour, 0), anchored(hour - 1, 123)] == [12.3, None, first]
    # The clock is in another hour than the one that anchors are kept by.
    world.stages.state.clocks["one"] = NOW_MS + HOUR_MS
    assert world.explain("t:1").anchor is None


def test_a_score_that_decay_cannot_lower_has_no_next_change() -> None:
    world = World()
    world.act(event(1, "a:1"))
    found = world.explain("t:1").next_decay
    assert found is not None
    assert found.after_seconds > 0
    assert parse_ms(found.at["one"]) == NOW_MS + round(found.after_seconds * 1000)
    world.let_pass("one", NOW_MS + 40_000 * DAY_MS)
    heads, entries, contributors = decode_targets([world.stages.targets[b"t:1"]], 1)
    for name in ("score", "reach", "amplification", "network"):
        heads[f"{name}_tenths"] = 10
    entries["score_tenths"] = 10
    [world.stages.targets[b"t:1"]] = encode_targets(heads, entries, contributors)
    assert world.explain("t:1").next_decay is None


def test_the_sums_that_are_shown_are_those_of_the_row() -> None:
    world = World()
    world.act(event(1, "a:1"))
    _, entries, _ = decode_targets([world.stages.targets[b"t:1"]], 1)
    sums = world.explain("t:1").sums
    assert [sums.reach, sums.amplification, sums.network] == [
        float(entries[0, 0][name]) for name in Sums.__struct_fields__
    ]
    assert np.all(entries["events"] == 1)
