"""`clout tail`: score changes as they come."""

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, TopicPartition
from rich.text import Text

from clout.commands.common import check_network, connected_to_lanes
from clout.config import Settings
from clout.terminal import output
from schemas.change import ScoreChange, decode_change
from schemas.users import partition_of
from streams import clients
from streams.errors import CloutError

POLL_SECONDS = 0.5
BATCH_RECORDS = 1_000
METADATA_TIMEOUT_SECONDS = 10.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="tail")(command)


def command(
    context: typer.Context,
    user: Annotated[
        list[str] | None, typer.Option(metavar="USER", help="Changes of this user alone; may be given several times.")
    ] = None,
    network: Annotated[
        str | None, typer.Option(metavar="NAME", help="Changes of users who have a score on this network alone.")
    ] = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="All changes that the log still has, not only new ones.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="End after so many changes.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the events as they are.")] = False,
) -> None:
    """Follow score changes: when, whose, from what to what, and why.

    Only committed changes are shown. It goes on until it is interrupted, or until --limit is reached. With --network
    a change counts that leaves its user with a score there, whichever network moved it.

    Example: clout tail --user twitter:50329 --from-beginning
    """
    if network is not None:
        check_network(context, network)
    users = user or []
    keys = {user.encode() for user in users}
    settings = connected_to_lanes(context)
    consumer = changes_consumer(settings, users=users, from_beginning=from_beginning)
    console = output()
    shown = 0
    try:
        for key, value in records(consumer):
            if keys and key not in keys:
                continue
            change = None if as_json and network is None else decode_change(value)
            if change is not None and network is not None and network not in change.networks:
                continue
            if as_json or change is None:
                typer.echo(value)
            else:
                console.print(line(change))
            shown += 1
            if shown == limit:
                return
    finally:
        consumer.close()


def changes_consumer(settings: Settings, *, users: Sequence[str] = (), from_beginning: bool) -> Consumer:
    """Return a consumer of all score changes, or of the partitions alone that these users' are in."""
    topic = settings.names.changes
    consumer = clients.consumer(settings.kafka, {"group.id": f"{settings.names.app_id}-tail"})
    try:
        found = consumer.list_topics(topic, timeout=METADATA_TIMEOUT_SECONDS).topics[topic]
    except KafkaException as error:
        raise CloutError("the broker did not answer", detail=error.args[0].str(), hint="check --broker") from error
    if not found.partitions:
        raise CloutError(f"topic {topic} is missing", hint="run `clout topics create`")
    theirs = {partition_of(user.encode(), len(found.partitions)) for user in users}
    partitions = sorted(theirs or found.partitions)
    start = OFFSET_BEGINNING if from_beginning else OFFSET_END
    consumer.assign([TopicPartition(topic, partition, start) for partition in partitions])
    return consumer


def records(consumer: Consumer) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of the records that come, for ever."""
    while True:
        for message in consumer.consume(BATCH_RECORDS, POLL_SECONDS):
            value = message.value()
            if message.error() is None and value is not None:
                yield message.key() or b"", value


def line(change: ScoreChange) -> Text:
    """Write a change as a line.

    >>> import msgspec
    >>> value = (b'{"user":"t:1","sequence":2,"score":12.5,"previous":11.0,"subscores":null,'
    ...          b'"networks":{"t":12.5},"as_of":"2012-07-01T12:00:00.000Z","cause":"interaction","model":"1"}')
    >>> print(line(msgspec.json.decode(value, type=ScoreChange)))
    2012-07-01T12:00:00.000Z  t:1  11.0 → 12.5  interaction  t 12.5
    """
    style = ""
    if change.score is not None and change.previous is not None and change.score != change.previous:
        style = "green" if change.score > change.previous else "red"
    parts = ", ".join(f"{name} {score:.1f}" for name, score in change.networks.items())
    return Text.assemble(
        (change.as_of, "dim"),
        "  ",
        change.user,
        "  ",
        (f"{_score(change.previous)} → {_score(change.score)}", style),
        f"  {change.cause}",
        (f"  {parts}", "dim"),
    )


def _score(score: float | None) -> str:
    return "no score" if score is None else f"{score:.1f}"
