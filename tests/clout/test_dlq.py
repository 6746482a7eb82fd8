"""Dead letters are found again, shown safely, and sent again once."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import typer
from confluent_kafka import Producer

from clout.commands.dlq import described, lines
from clout.commands.durations import moment_ms
from clout.dead_letters import Letter, Place, Selection, letters, undelivered
from clout.dlq_replay import TRANSACTION_LETTERS_MAX, Replayed, _Sender, headers_of, replay
from clout.main import main
from schemas.dead_letter import DeadLetter, Header, Reason, decode_headers, encode_headers, original_headers
from schemas.limits import RECORD_BYTES_MAX
from schemas.webhook import UndeliveredHeaders, encode_undelivered
from streams import clients, topics
from streams.decoders import decoder
from streams.decoders.batch import WHOLE
from streams.errors import CloutError
from streams.ingest_batch import Raw, prepare
from streams.names import Names
from streams.settings import KafkaSettings, LaneSettings, NetworkSettings
from tests.checks import committed

NETWORKS = {name: NetworkSettings(raw_partitions=n) for name, n in [("twitter", 2), ("mastodon", 1), ("bluesky", 1)]}
"""Those that the command knows unless it is told otherwise."""
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Desk:
    """An installation's topics, and what was put aside there."""

    kafka: KafkaSettings
    names: Names

    def put_aside(
        self,
        *offsets: int,
        network: str = "twitter",
        reason: Reason = "unknown_kind",
        value: bytes | None = None,
        index: int | None = None,
        partition: int = 1,
        original: Sequence[Header] = (),
        producer: Producer | None = None,
    ) -> None:
        """Write dead letters of these offsets of the network's topic; each arrived as many days after 1970."""
        to = producer or clients.producer(self.kafka)
        for offset in offsets:
            letter = DeadLetter(
                reason=reason,
                detail="because",
                source_topic=self.names.interactions(network),
                source_partition=partition,
                source_offset=offset,
                source_time=offset * DAY_MS,
                source_index=index,
            )
            body = b"%d" % offset if value is None else value
            to.produce(self.names.dead_letters(network), body, headers=encode_headers(letter, original))
        assert to.flush(20) == 0

    def put_aside_undelivered(self, body: bytes, *, webhook: str = "acme", at_ms: int = DAY_MS) -> None:
        """Write a delivery that a webhook could not make."""
        why = UndeliveredHeaders(webhook=webhook, id="inc_1", reason="gone", detail="410 sorry", attempts=1)
        to = clients.producer(self.kafka)
        to.produce(
            self.names.webhook_dead_letters, body, b"canary/all/1", headers=encode_undelivered(why), timestamp=at_ms
        )
        assert to.flush(20) == 0

    def chosen(self, selection: Selection = Selection(), *networks: str) -> list[Letter]:  # noqa: B008 - it is frozen
        """Return the letters that are asked for."""
        read = letters(self.kafka, "test", [self.names.dead_letters(of) for of in networks or NETWORKS])
        return [letter for letter in read if selection.takes(letter)]

    def replay(self, selection: Selection = Selection(), **options: object) -> tuple[int, int, int]:  # noqa: B008
        """Send again; return how many were sent, were sent before, and are too large."""
        done = replay(self.kafka, self.names, NETWORKS, selection, **options)  # type: ignore[arg-type]
        return done.sent, done.before, done.too_large

    def came_in(self, network: str = "twitter") -> list[bytes | None]:
        """Return the values of the network's topic."""
        return [value for _, value in committed(self.kafka, self.names.interactions(network))]


@pytest.fixture
def desk(kafka_settings: KafkaSettings) -> Desk:
    names = Names(kafka_settings.prefix, "1")
    topics.create(kafka_settings, topics.specification(names, LaneSettings(partitions=1), NETWORKS))
    return Desk(kafka_settings, names)


def letter_of(value: bytes | None, **fields: object) -> Letter:
    why = DeadLetter(
        reason="wrong_type", detail="d", source_topic="t", source_partition=0, source_offset=7, source_time=0
    )
    return Letter("t.dlq", 0, 3, msgspec.structs.replace(why, **fields), value, [], replayed=False)


def test_letters_are_chosen_by_network_reason_time_and_place(desk: Desk) -> None:
    desk.put_aside(1, 2, 3)
    desk.put_aside(4, reason="broken_json")
    desk.put_aside(5, network="mastodon")
    desk.put_aside(6, index=0)
    desk.put_aside(6, index=1)
    raw = desk.names.interactions("twitter")

    found = desk.chosen()
    assert [letter.place.offset for letter in found] == [1, 2, 3, 4, 6, 6, 5]
    assert [letter.place.offset for letter in desk.chosen(Selection(), "mastodon")] == [5]

    def offsets(selection: Selection) -> list[int]:
        return [letter.place.offset for letter in filter(selection.takes, found)]

    assert offsets(Selection(reason="broken_json")) == [4]
    assert offsets(Selection(since_ms=2 * DAY_MS, until_ms=4 * DAY_MS)) == [2, 3]
    assert offsets(Selection(places=frozenset({Place(raw, 1, 3)}))) == [3]
    assert offsets(Selection(places=frozenset({Place(raw, 1, 6)}))) == [6, 6]
    element = Selection(places=frozenset({Place(raw, 1, 6, 1)}))
    assert [letter.why.source_index for letter in filter(element.takes, found)] == [1]


def test_the_original_bytes_go_to_the_partition_and_topic_that_they_came_from(desk: Desk) -> None:
    bodies = [b"\xff\x00 not json", b"", b'{"kind": "applause"}']
    for at, body in enumerate(bodies):
        desk.put_aside(at, value=body)
    desk.put_aside(9, network="mastodon", partition=5)
    assert desk.replay() == (4, 0, 0)
    assert desk.came_in() == bodies
    assert desk.came_in("mastodon") == [b"9"]


def test_nothing_is_sent_twice(desk: Desk) -> None:
    desk.put_aside(1, 2, 3)
    assert desk.replay(Selection(until_ms=3 * DAY_MS)) == (2, 0, 0)
    assert desk.replay() == (1, 2, 0)
    assert desk.replay() == (0, 3, 0)
    assert desk.came_in() == [b"1", b"2", b"3"]
    assert [letter.replayed for letter in desk.chosen()] == [True] * 3


def test_a_dry_run_sends_and_marks_nothing(desk: Desk) -> None:
    desk.put_aside(1)
    seen: list[Letter] = []
    assert desk.replay(dry_run=True, on_letter=seen.append) == (1, 0, 0)
    assert [letter.place.offset for letter in seen] == [1]
    assert desk.came_in() == []
    assert desk.replay() == (1, 0, 0)


def test_a_limit_ends_it_and_the_next_goes_on_from_there(desk: Desk) -> None:
    desk.put_aside(*range(TRANSACTION_LETTERS_MAX + 5))
    assert desk.replay(limit=TRANSACTION_LETTERS_MAX + 1) == (TRANSACTION_LETTERS_MAX + 1, 0, 0)
    assert desk.replay() == (4, TRANSACTION_LETTERS_MAX + 1, 0)
    assert desk.came_in() == [b"%d" % at for at in range(TRANSACTION_LETTERS_MAX + 5)]


def test_a_replay_that_dies_before_its_commit_has_sent_nothing(desk: Desk) -> None:
    desk.put_aside(1)
    [letter] = desk.chosen()
    abandoned = _Sender(desk.kafka, desk.names)
    abandoned.add(letter)
    abandoned._producer.flush(10)
    assert desk.replay() == (1, 0, 0)
    assert desk.came_in() == [b"1"]


def test_a_second_replay_at_once_ends_the_first_and_each_letter_is_sent_once(desk: Desk) -> None:
    desk.put_aside(1, 2)
    first, second = desk.chosen()
    one = _Sender(desk.kafka, desk.names)
    one.add(first)
    one.commit()
    one.add(second)
    assert desk.replay() == (1, 1, 0)
    with pytest.raises(CloutError, match="another one began") as raised:
        one.commit()
    assert "1 letters were sent" in raised.value.detail
    assert sorted(filter(None, desk.came_in())) == [b"1", b"2"]


def test_a_mark_behind_the_open_transaction_of_another_writer_is_not_overlooked(desk: Desk) -> None:
    desk.put_aside(1)
    [letter] = desk.chosen()
    ingest = clients.producer(desk.kafka, {"transactional.id": f"{desk.names.prefix}other"})
    ingest.init_transactions(20)
    ingest.begin_transaction()
    sender = _Sender(desk.kafka, desk.names)
    desk.put_aside(2, producer=ingest)
    sender.add(letter)
    sender.commit()
    ends = threading.Timer(1.5, ingest.abort_transaction)
    ends.start()
    begun = time.monotonic()
    assert desk.replay() == (0, 1, 0)
    assert time.monotonic() - begun > 1.0
    ends.join()
    assert desk.came_in() == [b"1"]


def test_what_would_be_too_large_again_is_left_out(desk: Desk) -> None:
    desk.put_aside(1, value=b"x" * (RECORD_BYTES_MAX + 1), reason="record_too_large")
    assert desk.replay() == (0, 0, 1)


def test_a_letter_is_sent_with_the_headers_that_it_came_with(desk: Desk) -> None:
    original: list[Header] = [("ce_id", b"7"), ("content-type", b"application/json"), ("ce_none", None)]
    desk.put_aside(1, original=original)
    [letter] = desk.chosen()
    assert headers_of(letter) == original
    desk.replay()
    reader = clients.consumer(desk.kafka, {"group.id": "headers"})
    reader.subscribe([desk.names.interactions("twitter")])
    [message] = reader.consume(1, 20)
    assert message.headers() == original
    reader.close()


def test_an_element_of_a_batch_is_sent_as_one_event() -> None:
    letter = letter_of(b"{}", source_index=2)._replace(
        headers=[("Content-Type", b"application/cloudevents-batch+json"), ("x", b"1")]
    )
    assert headers_of(letter) == [("Content-Type", b"application/cloudevents+json"), ("x", b"1")]


@pytest.mark.parametrize("batch", [True, False])
def test_an_activity_is_understood_when_it_is_sent_again_as_it_was_at_first(batch: bool) -> None:
    attributes = {"specversion": "1.0", "id": "7", "source": "/x", "type": "Like"}
    data = {"type": "Like", "actor": "https://a.example/1"}
    if batch:
        headers: list[tuple[str, bytes]] = [("content-type", b"application/cloudevents-batch+json")]
        value = msgspec.json.encode([attributes, attributes | {"data": data}])
    else:
        headers = [(f"ce_{name}", text.encode()) for name, text in attributes.items()]
        value = msgspec.json.encode(data)
    decoder_ = decoder("activitystreams")
    one = np.zeros(1, np.int64)
    [*_, put_aside] = prepare(Raw("raw", [value], [headers], one, one, one), "net", decoder_, 1, 10).letters
    why = decode_headers(put_aside.headers)
    letter = Letter("raw.dlq", 0, 0, why, put_aside.value, original_headers(put_aside.headers), replayed=False)
    [again] = decoder_.decode([letter.value or b""], [headers_of(letter)]).rejected
    assert (again.reason, again.detail, again.index) == (why.reason, why.detail, WHOLE)
    assert why.detail.endswith("says when")


def test_a_letter_of_another_topic_is_left_out_and_told(desk: Desk) -> None:
    desk.put_aside(1)
    strange = replace(desk, names=Names(f"{desk.names.prefix}x-", "1"))
    letter = letter_of(b"2", source_topic=strange.names.interactions("twitter"))
    to = clients.producer(desk.kafka)
    to.produce(desk.names.dead_letters("twitter"), letter.value, headers=encode_headers(letter.why))
    assert to.flush(10) == 0
    assert replay(desk.kafka, desk.names, NETWORKS, Selection()) == Replayed(sent=1, elsewhere=1)


def test_what_is_no_dead_letter_is_passed_over(desk: Desk) -> None:
    stranger = clients.producer(desk.kafka)
    strange: list[Header] = [("reason", b"\xff"), ("replayed_offset", b"soon"), ("reason", b"unheard_of")]
    for headers in ([], *([header] for header in strange)):
        stranger.produce(desk.names.dead_letters("twitter"), b"?", headers=headers)
    assert stranger.flush(10) == 0
    desk.put_aside(1)
    assert [letter.value for letter in desk.chosen()] == [b"1"]


def test_a_letter_is_shown_whole_with_its_json_laid_out() -> None:
    shown = described(letter_of(b'{"a":[1,2]}', source_index=4))
    assert "t/0@7[4]" in shown
    assert '{\n  "a": [\n    1,\n    2\n  ]\n}' in shown


@pytest.mark.parametrize("value", [b"\x1b[2Jgone", b"[" * 100_000, b"\xff\xfe", b"", None])
def test_no_bytes_break_the_terminal_or_the_command(value: bytes | None) -> None:
    letter = letter_of(value, detail="\x1b]0;title\x07")
    for shown in (described(letter), lines(letter).plain):
        assert "\x1b" not in shown
        assert "\x07" not in shown


@pytest.mark.parametrize("text", ["", "a/b@c", "t/0", "t/0@1[x]", "t/0@1[", "t/-1@2"])
def test_what_is_no_place_is_refused(text: str) -> None:
    assert Place.parse(text) is None


@pytest.mark.parametrize("text", ["yesterday", "2026-01-31", "2026-01-31T12:00:00"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        moment_ms(text, 0)


@pytest.fixture
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def said(desk: Desk, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run `clout dlq`; return the exit code and what it says."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["dlq", *arguments, "--broker", desk.kafka.broker, "--prefix", desk.kafka.prefix])
    return int(ended.value.code or 0), "".join(capsys.readouterr())


@pytest.mark.usefixtures("_no_settings")
def test_what_webhooks_could_not_deliver_is_listed_and_shown(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.put_aside(1)
    desk.put_aside_undelivered(b'{"type":"incident.opened"}')
    place = f"{desk.names.webhook_dead_letters}/0@0"
    code, listed = said(desk, capsys, "list")
    assert code == 0, listed
    assert f"gone  {place}  acme  canary/all/1  410 sorry\n" in listed
    assert listed.count("because") == 1
    assert said(desk, capsys, "list", "--reason", "gone")[1].count("\n") == 2
    assert "acme" not in said(desk, capsys, "list", "--network", "twitter")[1]
    code, shown = said(desk, capsys, "show", place)
    assert code == 0
    for fact in ("acme", "canary/all/1", "inc_1", "gone: The receiver answered 410", '"type": "incident.opened"'):
        assert fact in shown


@pytest.mark.usefixtures("_no_settings")
@pytest.mark.parametrize("choice", [["--reason", "gone"], ["{place}"]])
def test_what_webhooks_could_not_deliver_is_not_sent_again_and_it_says_what_to_do(
    choice: list[str], desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.put_aside_undelivered(b"{}")
    place = f"{desk.names.webhook_dead_letters}/0@0"
    code, told = said(desk, capsys, "replay", *(word.format(place=place) for word in choice))
    assert code == 1
    assert "what a webhook could not deliver cannot be sent again" in told
    assert "start the guard again" in told


def test_deliveries_are_chosen_by_when_they_were_set_aside(desk: Desk) -> None:
    for at_day in (1, 2, 3):
        desk.put_aside_undelivered(b"{}", at_ms=int(time.time() * 1000) - at_day * DAY_MS)
    found = list(undelivered(desk.kafka, "test", desk.names.webhook_dead_letters))
    assert len({letter.time_ms for letter in found}) == 3
    since = Selection(since_ms=found[1].time_ms)
    assert [letter.place.offset for letter in found if since.takes(letter)] == [0, 1]


def test_what_is_no_delivery_is_passed_over(desk: Desk) -> None:
    stranger = clients.producer(desk.kafka)
    strange: list[Header] = [("reason", b"\xff"), ("reason", b"unheard_of")]
    for headers in ([], *([header] for header in strange)):
        stranger.produce(desk.names.webhook_dead_letters, b"?", headers=headers)
    assert stranger.flush(10) == 0
    desk.put_aside_undelivered(b"{}")
    assert [letter.value for letter in undelivered(desk.kafka, "test", desk.names.webhook_dead_letters)] == [b"{}"]
