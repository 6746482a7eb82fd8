"""Settings of the stream processors, one frozen object a concern.

`clout.config` fills them from flags, environment, file and defaults; nothing here reads any of those.
Durations carry their unit in the name. Bounds are declared with `annotated_types` and enforced by the loader.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Le, Len, Predicate

from schemas.access import Scope
from schemas.control import COMMAND_NAMES, CommandName
from schemas.limits import RAW_PARTITIONS_MAX, REGISTERED_SOURCE_BYTES_MAX, REGISTERED_SOURCES_MAX

CONTROL_KEYS_MAX = 16
"""Keys that may sign commands; ingest remembers when each last did, and has little room for it."""
STALLED_HEARTBEATS = 1.55
"""Heartbeats that may be missing: an alert is to be raised before the second one is, and Prometheus takes its time."""
CANARIES_MAX = 64
"""Synthetic accounts a network."""
SESSION_SECONDS_MAX = 60
"""Longest silence of a member of a group; beyond 90 s Faust refuses to start, beyond 300 s the client of ingest."""
WEBHOOKS_MAX = 16
"""Partners who are told of incidents."""
SECRET_LENGTH_MIN = 16
"""Characters of a configured secret."""

LEDGER_ROWS_MAX = 1 << 29
"""Rows that a ledger can tell apart: their numbers are kept modulo twice as many."""

Positive = Annotated[int, Ge(1)]
SessionSeconds = Annotated[int, Ge(1), Le(SESSION_SECONDS_MAX)]
SourceName = Annotated[str, Len(1, REGISTERED_SOURCE_BYTES_MAX), Predicate(str.isascii)]


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaSettings:
    """How to reach Kafka and what to call things there."""

    broker: str = ""
    """HOST:PORT of the cluster; empty means the local broker of the data directory."""
    prefix: str = ""
    """Put before every topic name, group id and transactional id of this installation."""
    options: dict[str, str] = field(default_factory=dict)
    """Security properties under librdkafka's names (`security.protocol`, `sasl.*`, `ssl.*`), for both clients."""
    replication_factor: Positive = 1
    """Replicas of the topics that `clout topics create` makes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneSettings:
    """The two lanes between ingest and the stages."""

    partitions: Annotated[int, Ge(1), Le(64)] = 4
    """Partitions of each lane, the changelog and the changes; fixed for the life of the topics."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSettings:
    """One social network."""

    format: str = "native"
    """Name of the decoder: a module of `streams.decoders.formats`."""
    raw_partitions: Annotated[int, Ge(1), Le(RAW_PARTITIONS_MAX)] = 4
    """Partitions of its interactions topic when `clout topics create` makes it."""
    sources: Annotated[tuple[SourceName, ...], Len(0, REGISTERED_SOURCES_MAX)] = ()
    """Collectors that send heartbeats to every raw partition, as `source` names them: the network's clock waits for all
    of them in each."""
    idle_after_seconds: Annotated[int, Ge(0)] = 0
    """For networks without heartbeats: a raw partition whose last arrival is so much older than the network's newest
    follows the others, as long as its ingest process says that all of it is read. 0: every raw partition holds the
    clock until something comes into it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlKeySettings:
    """A key that may sign commands."""

    secret: str = field(default="", repr=False)
    """What it signs with; it must be set."""
    may: tuple[CommandName, ...] = COMMAND_NAMES
    """Commands that it may issue."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlSettings:
    """Who may issue commands; secrets that are not set are made once, in the data directory."""

    keys: dict[str, ControlKeySettings] = field(default_factory=dict)
    """Keys by name."""
    key: str = ""
    """Name of the key that the command line signs with; empty takes the only one there is."""
    hash_key: str = field(default="", repr=False)
    """Secret of the hashes by which forgotten users are known; the same for all processes, for ever."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestSettings:
    """The ingest role."""

    batch_events_max: Positive = 20_000
    """Raw records taken into one transaction."""
    batch_interval_ms: Positive = 50
    """Longest wait for a batch to fill."""
    record_rows_max: Positive = 8_000
    """Rows in one packed record."""
    tick_interval_ms: Annotated[int, Ge(0)] = 1_000
    """Shortest time between two ticks of a raw partition: how finely the networks' clocks move; and between two of its
    reports on `feeds.v1`."""
    session_timeout_seconds: SessionSeconds = 10
    transaction_timeout_seconds: Positive = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSettings:
    """The score role: the two stages."""

    batch_rows_max: Positive = 50_000
    """Rows folded in one commit (a packed record is never split)."""
    commit_interval_ms: Positive = 100
    """Wait between commits while little comes in; under load a full batch commits at once."""
    own_records_in_flight_max: Annotated[int, Ge(0)] = 256
    """Records sent to the task's own targets lane and not yet folded, beyond which no actor rows are taken.

    With 0, one lane partition and one row a batch and record, events are scored strictly one after the other."""
    ledger_window_seconds: Positive = 86_400
    """How long, by arrival, an event is recognised when it comes again, and can be taken back."""
    ledger_rows_max: Annotated[int, Ge(1), Le(LEDGER_ROWS_MAX)] = 2_000_000
    """Events and retractions that a partition's ledger holds; more than that come in a window make it shorter.

    About 50 to 70 bytes each on disk and 24 in memory."""
    reasons_share: Annotated[float, Ge(0), Le(1)] = 0.0
    """Share of the score changes that name who added most, 1 for all: readers of them then learn who acts on whom."""
    cache_bytes: Positive = 256 << 20
    """RocksDB's block cache, shared by all partitions of a worker."""
    session_timeout_seconds: SessionSeconds = 10
    heartbeat_interval_seconds: Positive = 1
    transaction_timeout_seconds: Positive = 15
    restore_delay_seconds: Annotated[float, Ge(0)] = 0.0
    """Extra time each restore takes; for drills of restores that are slower than the session."""
    stop_seconds: Positive = 8
    """Time a worker that was told to stop has for the batch in hand."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WebhookSettings:
    """A partner who is told of incidents."""

    url: str = ""
    """Where to send it; it must be set, and begin with https:// or, for a loopback address, http://."""
    secret: str = field(default="", repr=False)
    """What deliveries are signed with, HMAC-SHA256; it must be set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GuardSettings:
    """The guard role."""

    freeze: bool = True
    """Whether a critical finding about one network freezes it at once; it is resumed by an operator alone."""
    heartbeat_seconds: Positive = 60
    """How often collectors send heartbeats: a feed that tells nothing for 1.55 times as long counts as stalled."""
    canaries: Annotated[int, Ge(0), Le(CANARIES_MAX)] = 4
    """Synthetic accounts a network by which scores and latency are checked; 0: none. 1 counts as 2: one acts on one."""
    canary_interval_seconds: Positive = 10
    """How often each network's next synthetic interaction is sent."""
    session_timeout_seconds: SessionSeconds = 6
    """Silence after which another guard takes over: as short as brokers allow unless told otherwise."""
    webhooks: Annotated[dict[str, WebhookSettings], Len(0, WEBHOOKS_MAX)] = field(default_factory=dict)
    """Partners by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpSettings:
    """The HTTP server of each role."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Ge(0), Le(65535)] = 0
    """Port to listen on; 0 takes a free one."""
    advertised_host: str = ""
    """Address that others use to reach this role; empty means `host`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewaySettings:
    """The gateway: scores and their changes over HTTP."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Ge(0), Le(65535)] = 8080
    """Port to listen on; 0 takes a free one."""
    cache_bytes: Annotated[int, Ge(1 << 20)] = 64 << 20
    """Memory for recently read parts of the read model."""
    stale_seconds: Annotated[float, Ge(0)] = 30.0
    """A partition that was not read to its end for longer makes its users' answers stale."""
    streams_max: Annotated[int, Ge(1), Le(100_000)] = 10_000
    """Streams that may be open at once."""
    streams_per_caller_max: Annotated[int, Ge(1), Le(100_000)] = 5_000
    """Streams that one API key may have open at once; without a key, one address."""
    heartbeat_seconds: Annotated[float, Ge(0.1)] = 15.0
    """A stream says so often that it is still there."""
    anonymous_scopes: tuple[Scope, ...] = ()
    """What may be done without an API key; anything at all only where `host` is a loopback address."""
    cors_origins: tuple[str, ...] = ()
    """Origins, like https://example.org, whose pages may read answers in a browser."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VisibilitySettings:
    """Whom the gateway tells of."""

    default: Literal["public", "claimed"] = "public"
    """public: everyone who is not private. claimed: users who were claimed (`clout claim USER`) and nobody else."""
