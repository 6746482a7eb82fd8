import pytest

from clout.clock_holds import network_clocks
from clout.freezing import wait_until_frozen_or_resumed
from streams.errors import CloutError
from streams.feed_position import FeedPosition
from streams.progress import Behind, Feed, Reading, behind
from streams.status import FeedStatus, FreezeStatus, IngestStatus

FREEZE = FreezeStatus(since="2026-01-01T00:00:00.000Z", reason="garbage", epoch=7)


def ingest(*, heard: bool, held: bool) -> IngestStatus:
    feed = FeedStatus(topic="", network="bad", partition=0, position=0, end=0, lag_records=0, frozen=held)
    frozen = {"bad": FREEZE} if heard else {}
    return IngestStatus(role="ingest", pid=1, address="", partitions=[feed], frozen=frozen)


DOES, HEARD_ALONE, DEAF = ingest(heard=True, held=True), ingest(heard=True, held=False), ingest(heard=False, held=False)


@pytest.mark.parametrize("other", [HEARD_ALONE, DEAF])
def test_an_order_is_obeyed_only_when_every_process_does_it(other: IngestStatus) -> None:
    answers = iter([[DOES], [DOES, other], [DOES, DOES]])
    wait_until_frozen_or_resumed(lambda: (2, next(answers)), "bad", "freeze", 7, 30)
    assert not list(answers)


def test_a_process_that_does_not_obey_in_time_is_an_error_that_counts_it() -> None:
    with pytest.raises(CloutError, match="not obeyed everywhere after 0 seconds") as raised:
        wait_until_frozen_or_resumed(lambda: (3, [DOES, DEAF]), "bad", "freeze", 7, 0)
    assert raised.value.detail == "2 of 3 ingest processes have not said that they did it"


def test_what_waits_in_a_frozen_network_is_told_from_what_is_late() -> None:
    feeds = [Feed(network, 0, 0, 9, 4, FeedPosition([0])) for network in ("bad", "good")]
    waits = "5 records wait: frozen since 2026-01-01T00:00:00.000Z: garbage"
    assert behind(Reading(feeds, {}, {}, 0, {"bad": FREEZE})) == [
        Behind("ingest", "bad/0", 5, waits, "bad"),
        Behind("ingest", "good/0", 5),
    ]


def test_a_freeze_holds_the_clock_of_its_network_alone() -> None:
    bad, good = network_clocks({}, 0, ["bad", "good"], frozen={"bad": FREEZE})
    assert next((holder.name, holder.since) for holder in bad.held_by) == ("freeze", FREEZE.since)
    assert "freeze" not in [holder.name for holder in good.held_by]
