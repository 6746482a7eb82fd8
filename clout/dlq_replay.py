"""Sends dead letters again, each at most once.

What is sent and the mark that says so are one Kafka transaction, so that there is never one without the other. The
transactional id is the same for everyone who replays: who begins fences whoever is at it, and then reads the marks,
to which nobody else can add any more.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaException, Producer

from clout.dead_letters import Letter, Selection, letters
from clout.sender import RAW_PRODUCER_OPTIONS
from schemas.dead_letter import Header, encode_mark
from schemas.limits import RECORD_BYTES_MAX
from streams import clients
from streams.errors import CloutError
from streams.names import Names
from streams.settings import KafkaSettings

TRANSACTION_LETTERS_MAX: Final = 500
TRANSACTION_BYTES_MAX: Final = 4 << 20
TRANSACTION_TIMEOUT_MS: Final = 15_000
"""An abandoned transaction holds up the readers of the topics that it touched for so long."""
REQUEST_SECONDS: Final = 30.0
COMMIT_RETRIES_MAX: Final = 3
ANY_PARTITION: Final = -1

_ONE_EVENT: Final = b"application/cloudevents+json"
"""Content type of one element of a batch of CloudEvents."""


@dataclass(slots=True)
class Replayed:
    """What became of the letters that were asked for."""

    sent: int = 0
    before: int = 0
    """Sent again by an earlier replay."""
    too_large: int = 0
    """They would only be put aside again."""
    elsewhere: int = 0
    """From another topic than that of the network."""


def replay(
    kafka: KafkaSettings,
    names: Names,
    networks: Iterable[str],
    selection: Selection,
    *,
    limit: int | None = None,
    dry_run: bool = False,
    on_letter: Callable[[Letter], None] = lambda _letter: None,
) -> Replayed:
    """Send the letters of these networks that are asked for, and were not sent before, to where they came from.

    `on_letter` is called with each before it is sent. Letters that come in meanwhile are left for the next time. A
    dry run only reads. Raise `CloutError` when another replay begins or Kafka refuses; what was counted as sent until
    then is sent and marked.
    """
    done = Replayed()
    sender = None if dry_run else _Sender(kafka, names)
    sources = {names.dead_letters(network): names.interactions(network) for network in networks}
    for letter in letters(kafka, f"{names.ingest_group}-dlq", list(sources)):
        if not selection.takes(letter):
            continue
        if letter.why.source_topic != sources[letter.topic]:
            done.elsewhere += 1
        elif letter.replayed:
            done.before += 1
        elif len(letter.value or b"") > RECORD_BYTES_MAX:
            done.too_large += 1
        else:
            on_letter(letter)
            done.sent += 1
            if sender is not None:
                sender.add(letter)
            if done.sent == limit:
                break
    if sender is not None:
        sender.commit()
    return done


class _Sender:
    """The transactions of a replay."""

    def __init__(self, kafka: KafkaSettings, names: Names) -> None:
        """Fence whoever replays now: what they have not committed never happened."""
        self._producer: Producer = clients.producer(
            kafka,
            {
                **RAW_PRODUCER_OPTIONS,
                "transactional.id": names.dead_letter_transactional_id,
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
            },
        )
        self._partitions: dict[str, int] = {}
        self._letters = 0
        self._bytes = 0
        self._committed = 0
        self._try(lambda: clients.fence(self._producer, REQUEST_SECONDS))

    def add(self, letter: Letter) -> None:
        """Put a letter into the transaction under way, and commit that when it is full."""
        if not self._letters:
            self._try(self._producer.begin_transaction)
        self._try(lambda: self._produce(letter))
        self._letters += 1
        self._bytes += len(letter.value or b"")
        if self._letters >= TRANSACTION_LETTERS_MAX or self._bytes >= TRANSACTION_BYTES_MAX:
            self.commit()

    def commit(self) -> None:
        """Commit what was added."""
        if not self._letters:
            return
        self._try(lambda: clients.commit(self._producer, REQUEST_SECONDS, retries_max=COMMIT_RETRIES_MAX))
        self._committed += self._letters
        self._letters = self._bytes = 0

    def _produce(self, letter: Letter) -> None:
        source = letter.why.source_topic
        self._producer.produce(source, letter.value, headers=headers_of(letter), partition=self._partition(letter))
        self._producer.produce(letter.topic, partition=letter.partition, headers=encode_mark(letter.offset))

    def _partition(self, letter: Letter) -> int:
        """Return the partition that the letter came from, if there still is one."""
        source = letter.why.source_topic
        if source not in self._partitions:
            found = self._producer.list_topics(source, timeout=REQUEST_SECONDS).topics[source]
            if not found.partitions:
                raise CloutError(f"topic {source} is missing", hint="run `clout topics create`")
            self._partitions[source] = len(found.partitions)
        return letter.why.source_partition if letter.why.source_partition < self._partitions[source] else ANY_PARTITION

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (KafkaException, BufferError) as error:
            reason = error.args[0].str() if isinstance(error, KafkaException) else str(error)
            raise CloutError(
                "the replay ended before its time: another one began, or Kafka refused",
                detail=f"{reason}; {self._committed:,} letters were sent and marked before",
                hint="run it again: nothing is sent twice",
            ) from error


def headers_of(letter: Letter) -> list[Header]:
    """Return the headers to send a letter with: its own; an element of a batch is no batch any more."""
    if letter.why.source_index is None:
        return letter.headers
    return [(name, _ONE_EVENT if name.lower() == "content-type" else value) for name, value in letter.headers]
