"""`clout dlq`: what could not be taken in, and why."""

from collections.abc import Iterator
from typing import Annotated, Final

import typer
from confluent_kafka import Consumer, Message, TopicPartition
from rich.console import Console
from rich.text import Text

from clout.commands.common import check_network, connected
from clout.config import Settings
from schemas.dead_letter import REASONS, DeadLetter, decode_headers
from schemas.times import format_ms
from streams import clients
from streams.errors import CloutError

SHOWN_BYTES: Final = 100
POLL_SECONDS: Final = 1.0
METADATA_TIMEOUT_SECONDS: Final = 10.0
BATCH_RECORDS: Final = 500

group = typer.Typer(help="What could not be taken in.\n\nExample: clout dlq list --limit 10", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(group, name="dlq")


@group.command(name="list")
def list_(
    context: typer.Context,
    network: Annotated[str | None, typer.Option(metavar="NAME", help="Of this network alone.")] = None,
    reason: Annotated[str | None, typer.Option(metavar="REASON", help="With this reason alone.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many.")] = None,
) -> None:
    """List dead letters, network by network, in the order they were put aside: reason, place, start of the bytes.

    Example: clout dlq list --network twitter --reason unknown_kind --limit 10
    """
    if reason is not None and reason not in REASONS:
        raise typer.BadParameter(f"one of {', '.join(REASONS)}", param_hint="--reason")
    if network is not None:
        check_network(context, network)
    settings = connected(context)
    console = Console(soft_wrap=True, highlight=False)
    shown = 0
    for letter, value in dead_letters(settings, [network] if network else list(settings.networks)):
        if reason is not None and letter.reason != reason:
            continue
        console.print(lines(letter, value))
        shown += 1
        if shown == limit:
            return
    if not shown:
        typer.echo("no dead letters", err=True)


def dead_letters(settings: Settings, networks: list[str]) -> Iterator[tuple[DeadLetter, bytes]]:
    """Yield the dead letters of these networks that are there now."""
    consumer = clients.consumer(
        settings.kafka, {"group.id": f"{settings.names.ingest_group}-dlq", "enable.partition.eof": True}
    )
    try:
        for network in networks:
            for message in _now_in(consumer, settings.names.dead_letters(network)):
                yield decode_headers(_headers(message)), message.value() or b""
    finally:
        consumer.close()


def _now_in(consumer: Consumer, topic: str) -> Iterator[Message]:
    """Yield the records that a topic holds, partition by partition."""
    partitions = consumer.list_topics(topic, timeout=METADATA_TIMEOUT_SECONDS).topics[topic].partitions
    if not partitions:
        raise CloutError(f"topic {topic} is missing", hint="run `clout topics create`")
    for partition in sorted(partitions):
        place = TopicPartition(topic, partition)
        begin, end = consumer.get_watermark_offsets(place, timeout=METADATA_TIMEOUT_SECONDS)
        consumer.assign([TopicPartition(topic, partition, begin)])
        position = begin
        while position < end:
            for message in consumer.consume(BATCH_RECORDS, POLL_SECONDS):
                if message.error() is None:
                    position = (message.offset() or 0) + 1
                    yield message
                else:
                    position = end  # nothing more is there: what was left are transaction markers


def _headers(message: Message) -> list[tuple[str, bytes]]:
    headers = message.headers()
    return [(name, value) for name, value in headers if isinstance(value, bytes)] if isinstance(headers, list) else []


def lines(letter: DeadLetter, value: bytes) -> Text:
    """Write a dead letter as two lines."""
    index = "" if letter.source_index is None else f"[{letter.source_index}]"
    start = value[:SHOWN_BYTES].decode(errors="backslashreplace").replace("\n", "\\n")
    return Text.assemble(
        (format_ms(letter.source_time), "dim"),
        "  ",
        (letter.reason, "bold"),
        f"  {letter.source_topic}/{letter.source_partition}@{letter.source_offset}{index}  {letter.detail}\n",
        (f"    {start}{'…' if len(value) > SHOWN_BYTES else ''}", "dim"),
    )
