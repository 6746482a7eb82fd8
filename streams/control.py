"""What ingest makes of the control topic: commands for every lane partition, the public record, dead letters.

`quarantine` goes on public record alone: the lanes cannot bring it to a partition that has stopped in them. So do the
commands about networks and incidents, which ingest and the guard read there.

No Kafka here. A command is obeyed when its signature is that of a configured key, the key may issue it, and it was
issued after every command of that key before it: so nobody without a key can order anything, not even by sending an
old command again.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from schemas.control import MAY, NEEDS, Command, Why, decode_command, encode_record, given, record_of, verified
from schemas.dead_letter import DeadLetter, encode_headers
from schemas.limits import (
    COMMAND_BYTES_MAX,
    COMMAND_ID_BYTES_MAX,
    INCIDENT_ID_BYTES_MAX,
    REASON_BYTES_MAX,
    SEQUENCE_MAX,
    SOURCE_BYTES_MAX,
    TIME_AHEAD_MS_MAX,
    TIME_MS_MAX,
    TIME_MS_MIN,
)
from schemas.packed import COLUMNS, COMMAND_CODES, COMMANDS, Record, encode
from schemas.times import format_ms, parse_ms
from schemas.users import is_printable, is_user_id, keyed_hash
from streams.control_secrets import ControlSecrets
from streams.decoders.batch import RejectedError
from streams.ingest_batch import Letter
from streams.ticks import release_value


class RawCommand(NamedTuple):
    """A record of the control topic, which has one partition: commands have one order."""

    value: bytes | None
    offset: int
    arrival_ms: int


class Known(NamedTuple):
    """What a command may be about."""

    sources: Mapping[str, Collection[str]]
    """Registered collectors, by network."""
    lane_partitions: int


class Decided(NamedTuple):
    """What records of the control topic come to."""

    lane: list[bytes]
    """Packed records for every partition of the actors lane, in this order."""
    records: list[tuple[bytes, bytes]]
    """Key and value of public records."""
    letters: list[Letter]
    counts: Counter[str]


def decide(
    commands: Sequence[RawCommand], topic: str, secrets: ControlSecrets, issued_ms: dict[str, int], known: Known
) -> Decided:
    """Judge commands in their order; `issued_ms` says when each key last issued one, and is brought up to date."""
    for name in issued_ms.keys() - secrets.keys.keys():
        del issued_ms[name]  # Offset metadata is small: keys that are configured no more must not fill it.
    decided = Decided([], [], [], Counter(read=len(commands)))
    for raw in commands:
        try:
            command, time_ms = _read(raw.value)
        except RejectedError as error:
            decided.counts["dead_lettered"] += 1
            decided.letters.append(_letter(raw, topic, error))
            continue
        why = _why_refused(command, time_ms, raw.arrival_ms, secrets, issued_ms, known)
        if why is None:
            issued_ms[command.key] = time_ms
            decided.lane.extend(_lane_records(command, time_ms, raw.offset))
        decided.counts["accepted" if why is None else "refused"] += 1
        record = record_of(
            command,
            subject=keyed_hash(command.user.encode(), secrets.hash_key) if _names_user(command) else b"",
            received=format_ms(raw.arrival_ms),
            epoch=raw.offset,
            why=why,
        )
        decided.records.append((record.id.encode(), encode_record(record)))
    return decided


def _read(value: bytes | None) -> tuple[Command, int]:
    """Return the command and when it was issued, in ms; raise `RejectedError` when the value is none."""
    if value is None:
        raise RejectedError("broken_json", "the record has no value")
    if len(value) > COMMAND_BYTES_MAX:
        raise RejectedError("record_too_large", f"{len(value)} bytes, at most {COMMAND_BYTES_MAX}")
    try:
        command = decode_command(value)
    except msgspec.ValidationError as error:
        raise RejectedError("wrong_type", str(error)) from error
    except (ValueError, RecursionError) as error:
        raise RejectedError("broken_json", str(error)) from error
    try:
        time_ms = parse_ms(command.issued)
    except ValueError as error:
        raise RejectedError("time_invalid", f"`issued`: {error}") from error
    if not TIME_MS_MIN <= time_ms < TIME_MS_MAX:
        raise RejectedError("time_invalid", "`issued` is outside 1970 to 2099")
    return command, time_ms


def _why_refused(
    command: Command,
    time_ms: int,
    arrival_ms: int,
    secrets: ControlSecrets,
    issued_ms: Mapping[str, int],
    known: Known,
) -> Why | None:
    key = secrets.keys.get(command.key)
    checks: tuple[tuple[bool, Why], ...] = (
        (key is None, "unknown_key"),
        (key is not None and not verified(command, key.secret), "bad_signature"),
        (key is not None and command.command not in key.may, "not_permitted"),
        (not command.reason.strip(), "no_reason"),
        (len(command.reason.encode()) > REASON_BYTES_MAX, "reason_too_long"),
        (not 0 < len(command.id.encode()) <= COMMAND_ID_BYTES_MAX, "id_unusable"),
        *_unfit(command, known),
        (time_ms > arrival_ms + TIME_AHEAD_MS_MAX, "issued_ahead"),
        (time_ms <= issued_ms.get(command.key, TIME_MS_MIN - 1), "issued_before"),
    )
    return next((why for refused, why in checks if refused), None)


def _unfit(command: Command, known: Known) -> tuple[tuple[bool, Why], ...]:
    """Return the checks of what a command is about."""
    if _names_user(command):
        checks: tuple[tuple[bool, Why], ...] = ((not is_user_id(command.user), "user_unusable"),)
    elif command.command == "release":
        checks = (
            (command.network not in known.sources, "network_unknown"),
            (command.source not in known.sources.get(command.network, ()), "source_unknown"),
        )
    elif command.command == "quarantine":
        checks = ((not _is_position(command, known.lane_partitions), "position_unusable"),)
    else:
        checks = _unfit_for_guard(command, known)
    about = (*NEEDS[command.command], *MAY.get(command.command, ()))
    return *checks, (bool(given(command).difference(about)), "field_unused")


def _unfit_for_guard(command: Command, known: Known) -> tuple[tuple[bool, Why], ...]:
    """Return the checks of a command about a network or an incident."""
    needs = NEEDS[command.command]
    names_network = "network" in needs or command.network != ""
    names_incident = "incident" in needs or command.incident != ""
    is_incident = is_printable(command.incident) and len(command.incident.encode()) <= INCIDENT_ID_BYTES_MAX
    return (
        (names_network and command.network not in known.sources, "network_unknown"),
        (len(command.source.encode()) > SOURCE_BYTES_MAX, "source_unknown"),
        (names_incident and not is_incident, "incident_unusable"),
        (not _is_span(command), "span_unusable"),
    )


def _is_span(command: Command) -> bool:
    """Return whether what a command says about from when and until when can be meant; absent is what is not needed."""
    needs = NEEDS[command.command]
    try:
        since, until = (parse_ms(text) if text or name in needs else None for name, text in _span_of(command))
    except ValueError:
        return False
    return since is None or until is None or since < until


def _span_of(command: Command) -> tuple[tuple[str, str], ...]:
    return ("since", command.since), ("until", command.until)


def _names_user(command: Command) -> bool:
    return "user" in NEEDS[command.command]


def _is_position(command: Command, lane_partitions: int) -> bool:
    partition, offset = command.partition, command.offset
    if command.lane is None or partition is None or offset is None:
        return False
    return 0 <= partition < lane_partitions and 0 <= offset <= SEQUENCE_MAX


def _lane_records(command: Command, time_ms: int, epoch: int) -> list[bytes]:
    """Return what every partition of the actors lane gets."""
    if command.command == "release":
        return [release_value(command.network, command.source)]
    return [_order(command, time_ms, epoch)] if _names_user(command) else []


def _order(command: Command, time_ms: int, epoch: int) -> bytes:
    row = {"target": 0, "label": 0, "command": COMMAND_CODES[command.command], "time": time_ms, "epoch": epoch}
    columns = {name: np.array([row[name]], kind) for name, kind in COLUMNS[COMMANDS].items()}
    return encode(Record(COMMANDS, 1, [], [command.id], [], [command.user.encode()], columns))


def _letter(raw: RawCommand, topic: str, error: RejectedError) -> Letter:
    letter = DeadLetter(
        reason=error.reason,
        detail=error.detail,
        source_topic=topic,
        source_partition=0,
        source_offset=raw.offset,
        source_time=raw.arrival_ms,
    )
    return Letter(raw.value, encode_headers(letter))
