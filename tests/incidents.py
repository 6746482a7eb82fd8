"""An incident on the topic, where no guard runs that would write one."""

from schemas.incident import Incident, Slice, encode_incident
from schemas.times import format_ms
from streams import clients
from streams.names import Names
from streams.settings import KafkaSettings


def open_incident(kafka: KafkaSettings, names: Names, name: str, *, network: str, at_ms: int) -> None:
    """Write an incident about a network as a guard does."""
    now = format_ms(at_ms)
    incident = Incident(
        id=name,
        kind="feed_partial",
        slice=Slice(network=network),
        severity="major",
        status="investigating",
        title="half of it is missing",
        opened=now,
        updated=now,
        evidence=[],
        affected_users=0,
    )
    value = encode_incident(incident)
    assert not clients.write_one(kafka, names.incidents, value, partition=0, timeout_seconds=30)
