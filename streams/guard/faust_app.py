"""The guard's Faust app: one partition of each topic, and two small tables on RocksDB."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from streams.faust_options import faust_broker_options
from streams.names import Names
from streams.settings import KafkaSettings
from streams.topics import GUARD_STATE_BYTES_MAX
from streams.transport import App, Positions, make_transport

RAW: Final[dict[str, Any]] = {
    "key_type": bytes,
    "value_type": bytes,
    "key_serializer": "raw",
    "value_serializer": "raw",
}
_METADATA_AGE_MS: Final = 5_000
_HEARTBEAT_SECONDS: Final = 1.0
_TABLE_OPTIONS: Final = {
    "driver": "rocksdict",
    # Faust's default is 2 GiB.
    "block_cache_size": 4 << 20,
    "write_buffer_size": 4 << 20,
    "max_write_buffer_number": 2,
    "target_file_size_base": 4 << 20,
    "max_open_files": 64,
}


def make_app(
    kafka: KafkaSettings,
    names: Names,
    *,
    client_id: str,
    directory: Path,
    session_seconds: float,
    positions: Callable[[], "Place"],
) -> App:
    """Return the app, whose consumer reads where these positions say; agents and tables come to it."""
    app = App(
        names.guard_id,
        **faust_broker_options(kafka),
        broker_client_id=client_id,
        store="rocksdb://",
        datadir=str(directory),
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=1,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=_METADATA_AGE_MS,
        producer_max_request_size=GUARD_STATE_BYTES_MAX,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        broker_session_timeout=session_seconds,
        broker_heartbeat_interval=_HEARTBEAT_SECONDS,
        # A guard that stands by keeps the tables up to date, and is the first to take over.
        table_standby_replicas=1,
    )
    app.transport_class = _transport(positions)
    return app


class Place(Positions, Protocol):
    """Where the guard reads."""

    def is_open(self, generation: int) -> bool:
        """Return whether the consumer stands at those offsets in this generation already."""


def _transport(place: Callable[[], Place]) -> Any:
    """Return a transport whose consumer seeks once a generation.

    Faust seeks again when it finds its flow stopped, at a time when the flow goes on: to what is committed, and then to
    where we want it. Records that were fetched before are handed on meanwhile, and what lies before them is lost.
    """
    transport: Any = make_transport(place)

    class Consumer(transport.Consumer):  # type: ignore[misc]
        async def perform_seek(self) -> None:
            """Seek, unless that is done."""
            if not place().is_open(self.app.consumer_generation_id):
                await super().perform_seek()

    return type("Transport", (transport,), {"Consumer": Consumer})


def make_table(app: App, name: str, changelog: str) -> Any:
    """Return a table of bytes by name, kept in this changelog."""
    topic = app.topic(
        changelog, **RAW, partitions=1, compacting=True, acks=False, internal=True, maxsize=1024, allow_empty=True
    )
    # Faust takes options out of what it is given.
    options = dict(_TABLE_OPTIONS)
    return app.Table(name, key_type=bytes, value_type=bytes, partitions=1, changelog_topic=topic, options=options)
