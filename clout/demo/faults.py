"""Faults of a feed: what collectors send instead of what they should.

Each is a function of the event whose turn it is and of what went before; chance comes from the order's seed alone.
Heartbeats go on, but of collectors that are mute. What is held back is sent when the fault is over, as collectors do
that were cut off; what is lost, changed or added stays so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np

from clout.demo.population import COLLECTORS, DAY_MS, Event
from schemas.interaction import Interaction, encode

AHEAD_MS: Final = 30 * DAY_MS
BEHIND_MS: Final = 2 * DAY_MS
STORM: Final = 3
"""Records that a storm adds to each event."""
FAVOURITES: Final = 5
"""People on whom a wave of bots acts."""
GARBAGE: Final = (b'{"id": "half a rec', b"\xff\xfe\x00 no text", b"[]]", b'{"kind": "share", "time": "yesterday"}')

_decode: Final = msgspec.json.Decoder(Interaction).decode


@dataclass(slots=True, kw_only=True)
class Scene:
    """What a fault goes by, and what it keeps."""

    seed: int
    share: float
    recent: Sequence[Event]
    """The network's last events as they were sent, from before the fault."""
    now_ms: Callable[[], int]
    held: list[Event] = field(default_factory=list)
    """What is sent when the fault is over."""
    made: int = 0
    """Records made up so far."""
    at: int = 0
    """How many of `recent` a storm has gone through."""
    choose: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        """Begin the same chances for the same seed."""
        self.choose = np.random.default_rng(self.seed)

    def hit(self) -> bool:
        """Return whether the fault meets this event."""
        return bool(self.choose.random() < self.share)

    def next_recent(self) -> list[Event]:
        """Return the next few of what was sent, each once as long as there are others."""
        count = min(STORM, len(self.recent))
        found = [self.recent[(self.at + number) % len(self.recent)] for number in range(count)]
        self.at += count
        return found


Instead = Callable[[Event, Scene], list[Event]]


@dataclass(frozen=True, slots=True)
class FeedFault:
    """A fault, and who falls silent."""

    what: str
    """What happens, in words."""
    instead: Instead
    """Returns what is sent instead of an event."""
    share: float = 1.0
    """Of the events that it meets, unless the order says otherwise."""
    mute: tuple[int, ...] = ()
    """Collectors that send no heartbeats."""


def _hold(event: Event, scene: Scene) -> list[Event]:
    scene.held.append(event)
    return []


def _hold_one(event: Event, scene: Scene) -> list[Event]:
    return _hold(event, scene) if event.collector == DEAD else [event]


def _lose(event: Event, scene: Scene) -> list[Event]:
    return [] if scene.hit() else [event]


def _garble(event: Event, scene: Scene) -> list[Event]:
    return [event._replace(value=GARBAGE[scene.choose.integers(len(GARBAGE))])] if scene.hit() else [event]


def _ahead(event: Event, scene: Scene) -> list[Event]:
    return [_at(event, scene.now_ms() + AHEAD_MS)] if scene.hit() else [event]


def _behind(event: Event, scene: Scene) -> list[Event]:
    return [_at(event, event.time_ms - BEHIND_MS)] if scene.hit() else [event]


def _again(event: Event, scene: Scene) -> list[Event]:
    return [event, *(scene.next_recent() if scene.hit() else ())]


def _taken_back(event: Event, scene: Scene) -> list[Event]:
    return [event, *(_retraction(of) for of in (scene.next_recent() if scene.hit() else ()))]


def _misattributed(event: Event, scene: Scene) -> list[Event]:
    if not scene.recent or not scene.hit():
        return [event]
    other = _decode(scene.recent[int(scene.choose.integers(len(scene.recent)))].value)
    return [_changed(event, target=other.target)]


def _with_bots(event: Event, scene: Scene) -> list[Event]:
    if not scene.hit():
        return [event]
    favourites = [of.value for of in scene.recent[-FAVOURITES:]] or [event.value]
    added = []
    for _ in range(STORM):
        scene.made += 1
        name = f"bot-{scene.seed}-{scene.made}"
        target = _decode(favourites[scene.made % len(favourites)]).target
        added.append(_changed(event, id=name, actor=name, target=target)._replace(key=name.encode()))
    return [event, *added]


def _at(event: Event, time_ms: int) -> Event:
    return _changed(event, time=time_ms)._replace(time_ms=time_ms)


def _changed(event: Event, **fields: object) -> Event:
    return event._replace(value=encode(msgspec.structs.replace(_decode(event.value), **fields)))


def _retraction(event: Event) -> Event:
    of = _decode(event.value)
    return event._replace(
        value=encode(Interaction(kind="retract", time=of.time, id=of.id, actor=of.actor, source=of.source))
    )


ALL: Final = tuple(range(len(COLLECTORS)))
DEAD: Final = COLLECTORS.index("west")
"""The collector that dies."""

FEED_FAULTS: Final[Mapping[str, FeedFault]] = {
    "stall": FeedFault(
        "its collectors send nothing, no heartbeats either; what they held back comes later", _hold, 1.0, ALL
    ),
    "dead-collector": FeedFault(
        f"its collector {COLLECTORS[DEAD]} sends nothing, no heartbeats either; what it held back comes later",
        _hold_one,
        1.0,
        (DEAD,),
    ),
    "partial": FeedFault("a share of its events is lost, heartbeats go on", _lose, 0.3),
    "half-garbage": FeedFault("a share of its records is not valid", _garble, 0.5),
    "future": FeedFault("its events say that they happen in a month", _ahead),
    "skew": FeedFault("its events say that they happened two days before", _behind),
    "replay-storm": FeedFault("what was sent is sent again, over and over", _again),
    "retract-storm": FeedFault("what was sent is taken back", _taken_back),
    "misattribute": FeedFault("its events credit the wrong person", _misattributed),
    "bot-wave": FeedFault("many new accounts act on a few people", _with_bots),
}
"""Every fault of a feed, by name."""
