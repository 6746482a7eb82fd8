"""A task that stops, as its worker lets it, and the incidents that come of it."""

from confluent_kafka import TopicPartition

from schemas.incident import Incident, decode_incident
from streams import clients
from streams.task import Task
from tests.streams.tasks import Lanes


def stopped(lanes: Lanes, task: Task, *, rows_max: int = 50_000) -> Exception:
    """Let a task work until it stops and has said why; return what stopped it."""
    while lanes.offer(task) or task.has_due:
        batch = task.intake.take(task.state, task.source, rows_max=rows_max, own_in_flight_max=256)
        while batch or task.has_due:
            try:
                task.commit(batch)
            except Exception as error:  # noqa: BLE001  as the worker does
                task.report(error, batch)
                return error
            batch = task.intake.take(task.state, task.source, rows_max=rows_max, own_in_flight_max=256)
    raise AssertionError("nothing stopped the task")


def incidents_of(lanes: Lanes) -> list[Incident]:
    """Return every record of the incidents that committed transactions wrote, in order."""
    reader = clients.consumer(
        lanes.kafka, {"group.id": "incidents", "enable.partition.eof": True, "fetch.wait.max.ms": 10}
    )
    reader.assign([TopicPartition(lanes.names.incidents, 0, 0)])
    found = []
    try:
        while (message := reader.consume(1, 10)[0]).error() is None:
            found.append(decode_incident(message.value() or b""))
    finally:
        reader.close()
    return found
