"""Whether quiet raw partitions are still read to their end: the broker is asked, between two ticks.

That a fetch reached an end once says nothing of later, when fetches may hang. Networks whose quiet raw partitions may
follow the others (`idle_after_seconds`) need to know it for as long as nothing comes; see `streams.clocks`.
"""

from collections.abc import Collection, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, NamedTuple

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import ListOffsetsResultInfo, OffsetSpec

from streams.feed import Feed, Feeds, Partition
from streams.settings import NetworkSettings
from streams.ticks import Tick

_ANSWER_SECONDS: Final = 5.0
"""Who has not answered by then is asked again."""


class _Asked(NamedTuple):
    told: Tick | None
    """Last tick of the raw partition when the question went."""
    answer: Future[ListOffsetsResultInfo]


class FeedEnds:
    """Asks where raw partitions end, without waiting: about many at once, as often as one may tell a tick."""

    def __init__(self, admin: AdminClient, networks: Mapping[str, NetworkSettings], interval_seconds: float) -> None:
        """Ask about those networks whose settings need it."""
        self._admin, self._interval_seconds, self._next_question = admin, interval_seconds, 0.0
        self._networks = {name for name, settings in networks.items() if settings.idle_after_seconds}
        self._asked: dict[Partition, _Asked] = {}

    def look(self, feeds: Feeds, uncommitted: Collection[Partition], now: float) -> None:
        """Note what was answered, and ask about those that are quiet, unless their last tick is not committed yet.

        `now` is in seconds of any clock that does not go back.
        """
        for at in [at for at, asked in self._asked.items() if asked.answer.done()]:
            _note(self._asked.pop(at), feeds.get(at))
        if not self._networks or now < self._next_question:
            return
        wanted = [
            TopicPartition(*at)
            for at, feed in feeds.items()
            if feed.network in self._networks and at not in uncommitted and at not in self._asked and feed.may_vouch()
        ]
        if not wanted:
            return
        self._next_question = now + self._interval_seconds
        latest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        answers = self._admin.list_offsets(
            dict.fromkeys(wanted, latest),
            # Of a transaction that is still open too: what comes of it has come already.
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=_ANSWER_SECONDS,
        )
        for place, answer in answers.items():
            at = place.topic, place.partition
            self._asked[at] = _Asked(feeds[at].told, answer)


def _note(asked: _Asked, feed: Feed | None) -> None:
    """Note that everything was read, if the answer says so, and the question was asked since the last tick."""
    if feed is None or feed.told is not asked.told:
        return
    with suppress(KafkaException):
        feed.vouched = not feed.frozen and feed.position >= asked.answer.result().offset
