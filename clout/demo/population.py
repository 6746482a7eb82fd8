"""A made-up population whose interactions look like those of real networks.

The same people are on several networks. Few are widely followed and most hardly at all; a post draws its reactions in
a burst that fades exponentially; authors answer some replies; nights are quiet; now and then somebody unknown has
their moment. Everything follows from the seed. Memory holds only the reactions still to come.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clout.demo.names import person_ids
from schemas.kinds import KINDS
from schemas.times import HOUR_MS

DAY_MS: Final = 24 * HOUR_MS

KIND_SHARES: Final = {"share": 0.22, "quote": 0.05, "reply": 0.16, "mention": 0.06, "follow": 0.06, "reaction": 0.45}
REPLY: Final = KINDS.index("reply")

REACTIONS_A_POST: Final = 8.0
"""Mean; popular authors have many times more, most posts none."""
ANSWERED_SHARE: Final = 0.3
"""Share of replies that the author answers."""
OWN_REPLY_SHARE: Final = 0.004
"""Share of reactions that are the author's own (threads): they credit nobody."""
POPULARITY_EXPONENT: Final = 0.85
"""Of the power law of popularity by rank."""
BURST_MINUTES: Final = 40.0
"""Median time in which a burst fades to 1/e; each post has its own."""
NEIGHBOUR_SHARE: Final = 0.6
"""Share of reactions from the author's own community."""
COMMUNITIES: Final = 24
URN_SIZE: Final = 1 << 16
MOMENTS_A_WEEK: Final = 6
"""How many unknown people have their moment."""
COLLECTORS: Final = ("north", "east", "south", "west")
"""Who reports what happens on a network: each collector has the same people for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulationSettings:
    """What to make up."""

    seed: int = 1
    people: int = 8_000
    networks: tuple[str, ...] = ("twitter", "mastodon", "bluesky")
    start_ms: int
    end_ms: int
    events: int = 300_000
    """Expected number of interactions in the whole time."""


@dataclass(frozen=True, slots=True)
class Interactions:
    """Interactions in time order, a row each, in columns of one length."""

    time_ms: NDArray[np.int64]
    actor: NDArray[np.int64]
    """Index in `Population.people`."""
    target: NDArray[np.int64]
    network: NDArray[np.int64]
    """Index in the settings' networks."""
    kind: NDArray[np.int64]
    """Code of the kind."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.time_ms)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Interactions":
        """Choose rows."""
        return Interactions(*(column[rows] for column in self.columns()))

    def columns(self) -> tuple[NDArray[np.int64], ...]:
        """Return the columns in the order of the fields."""
        return self.time_ms, self.actor, self.target, self.network, self.kind

    @staticmethod
    def join(parts: list["Interactions"]) -> "Interactions":
        """Put the rows of several one after another."""
        return Interactions(*(np.concatenate(columns) for columns in zip(*(p.columns() for p in parts), strict=True)))


class Population:
    """People, and what they do to each other.

    >>> settings = PopulationSettings(people=100, start_ms=0, end_ms=DAY_MS, events=1_000)
    >>> rows = Interactions.join(list(Population(settings).interactions()))
    >>> bool((np.diff(rows.time_ms) >= 0).all())
    True
    """

    def __init__(self, settings: PopulationSettings) -> None:
        """Make the people; their acts come from `interactions`."""
        self.settings = settings
        rng = np.random.default_rng([settings.seed, 0])
        people, networks = settings.people, len(settings.networks)
        self.people = person_ids(people, settings.seed)
        self._on = rng.random((people, networks)) < rng.choice([0.35, 0.75], size=(people, 1))
        self._on[np.arange(people), rng.integers(networks, size=people)] = True
        self._community = rng.integers(COMMUNITIES, size=people)
        by_rank = np.arange(1, people + 1) ** -POPULARITY_EXPONENT
        self._popularity = rng.permutation(by_rank)
        # Who is widely read writes somewhat more; activity itself is skewed too.
        self._activity = rng.lognormal(0.0, 1.0, people) * self._popularity**0.15
        self._activity /= self._activity.sum()
        self._popularity /= (self._popularity * self._activity).sum()
        self._urns = self._make_urns(rng)

    def _make_urns(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw who may react, `[network, community, URN_SIZE / COMMUNITIES]`; picking from an urn is one index."""
        networks = len(self.settings.networks)
        size = URN_SIZE // COMMUNITIES
        urns = np.empty((networks, COMMUNITIES, size), np.int64)
        for network in range(networks):
            everyone = self._activity * self._on[:, network]
            for community in range(COMMUNITIES):
                weights = everyone * (self._community == community)
                weights = weights if weights.any() else (everyone if everyone.any() else self._activity)
                urns[network, community] = rng.choice(len(weights), size=size, p=weights / weights.sum())
        return urns

    def interactions(self) -> Iterator[Interactions]:
        """Yield all interactions from start to end, an hour at a time."""
        settings = self.settings
        rng = np.random.default_rng([settings.seed, 1])
        hours = (settings.end_ms - settings.start_ms) / HOUR_MS
        posts_an_hour = settings.events / (REACTIONS_A_POST * (1 + KIND_SHARES["reply"] * ANSWERED_SHARE)) / hours
        moments = self._moments(rng)
        pending: list[Interactions] = []
        for begin_ms in range(settings.start_ms, settings.end_ms, HOUR_MS):
            end_ms = min(begin_ms + HOUR_MS, settings.end_ms)
            share = (end_ms - begin_ms) / HOUR_MS
            authors, post_ms, popularity = self._posts(rng, begin_ms, end_ms, posts_an_hour * share, moments)
            pending.append(self._reactions(rng, authors, post_ms, popularity))
            everything = Interactions.join(pending)
            ripe = everything.time_ms < end_ms
            now = everything.take(ripe)
            pending = [everything.take(~ripe)]
            yield now.take(np.argsort(now.time_ms, kind="stable"))

    def _moments(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Choose whose moment comes when: rows of person, begin and end in milliseconds."""
        settings = self.settings
        span_ms = settings.end_ms - settings.start_ms
        count = max(1, round(MOMENTS_A_WEEK * span_ms / (7 * DAY_MS)))
        unknown = np.argsort(self._popularity)[: max(1, settings.people // 2)]
        begin_ms = settings.start_ms + (rng.random(count) * span_ms).astype(np.int64)
        lasts_ms = (rng.uniform(0.5, 2.0, count) * DAY_MS).astype(np.int64)
        return np.stack([rng.choice(unknown, count), begin_ms, begin_ms + lasts_ms], axis=1)

    def _posts(
        self, rng: np.random.Generator, begin_ms: int, end_ms: int, mean: float, moments: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Draw the posts of an hour: author, time and how popular the author is at the time."""
        count = rng.poisson(mean * day_rhythm(begin_ms))
        authors = rng.choice(len(self._activity), size=count, p=self._activity)
        popularity = self._popularity[authors]
        active = moments[(moments[:, 1] < end_ms) & (moments[:, 2] > begin_ms), 0]
        famous = np.repeat(active, 2)
        authors = np.concatenate([authors, famous])
        popularity = np.concatenate([popularity, np.full(len(famous), self._popularity.max() / 40)])
        times = begin_ms + (rng.random(len(authors)) * (end_ms - begin_ms)).astype(np.int64)
        return authors, times, popularity

    def _reactions(
        self,
        rng: np.random.Generator,
        authors: NDArray[np.int64],
        post_ms: NDArray[np.int64],
        popularity: NDArray[np.float64],
    ) -> Interactions:
        """Draw what posts bring about, now and in the hours that follow."""
        networks = len(self.settings.networks)
        spread = 1.1
        appeal = rng.lognormal(-spread * spread / 2, spread, len(authors))
        mean = np.minimum(REACTIONS_A_POST * popularity * appeal, self.settings.people / 8)
        count = rng.poisson(mean)
        where = np.argmax(rng.random((len(authors), networks)) * self._on[authors], axis=1)
        fades_ms = BURST_MINUTES * 60_000 * rng.lognormal(0.0, 0.7, len(authors))

        post = np.repeat(np.arange(len(authors)), count)
        rows = len(post)
        target, network = authors[post], where[post]
        time_ms = post_ms[post] + 1_000 + (rng.exponential(1.0, rows) * fades_ms[post]).astype(np.int64)
        near = rng.random(rows) < NEIGHBOUR_SHARE
        community = np.where(near, self._community[target], rng.integers(COMMUNITIES, size=rows))
        actor = self._urns[network, community, rng.integers(self._urns.shape[2], size=rows)]
        own = rng.random(rows) < OWN_REPLY_SHARE
        actor = np.where(own, target, actor)
        shares = np.array([KIND_SHARES[kind] for kind in KINDS])
        kind = np.searchsorted(np.cumsum(shares), rng.random(rows) * shares.sum()).clip(max=len(KINDS) - 1)
        reactions = Interactions(time_ms, actor, target, network, kind).take(own | (actor != target))

        answers_to = (reactions.kind == REPLY) & (reactions.actor != reactions.target)
        answered = reactions.take(answers_to & (rng.random(len(reactions)) < ANSWERED_SHARE))
        later_ms = 5_000 + (rng.exponential(20 * 60_000, len(answered))).astype(np.int64)
        answers = Interactions(
            answered.time_ms + later_ms, answered.target, answered.actor, answered.network, answered.kind
        )
        return Interactions.join([reactions, answers])


def day_rhythm(time_ms: int) -> float:
    """Tell how lively an hour is, 1 on average over a day: quiet at 4 in the morning UTC, busy at 7 in the evening.

    >>> day_rhythm(4 * HOUR_MS) < 0.3 < 1.5 < day_rhythm(19 * HOUR_MS)
    True
    """
    hour = time_ms % DAY_MS / HOUR_MS
    angle = 2 * np.pi * (hour - 17) / 24
    return float(1 + 0.75 * np.cos(angle) + 0.15 * np.cos(2 * angle - 1.2))


class Event(NamedTuple):
    """An interaction as a collector sends it."""

    time_ms: int
    network: int
    """Index in the settings' networks."""
    collector: int
    """Index in `COLLECTORS`."""
    key: bytes
    value: bytes
    """Native JSON."""


def encoded(population: Population, rows: Interactions, first_number: int) -> Iterator[Event]:
    """Yield each row as it is sent; ids count up from `first_number`."""
    people, networks = population.people, population.settings.networks
    columns = (column.tolist() for column in rows.columns())
    for number, (time_ms, actor, target, network, kind) in enumerate(zip(*columns, strict=True), first_number):
        key, collector = people[actor], actor % len(COLLECTORS)
        value = (
            f'{{"id":"{networks[network]}:{number}","kind":"{KINDS[kind]}","actor":"{key}",'
            f'"target":"{people[target]}","time":{time_ms},"source":"{COLLECTORS[collector]}"}}'
        )
        yield Event(time_ms, network, collector, key.encode(), value.encode())
