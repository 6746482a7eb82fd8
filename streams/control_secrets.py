"""The secrets behind commands: keys that may sign them, and the key of the hashes that stand for forgotten users.

What the settings do not give is made once and kept in `control/secrets.json` of the data directory, readable by its
owner alone, so that an installation on one machine needs no settings. Roles on several machines must be given the
same ones.
"""

import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from schemas.control import COMMAND_NAMES, Command, CommandName, sign
from streams.errors import CloutError
from streams.settings import ControlSettings

LOCAL_KEY: Final = "local"
"""Name of the key that a machine makes for itself."""

_SECRET_BYTES: Final = 32
_OWNER_ONLY: Final = 0o700


@dataclass(frozen=True, slots=True)
class ControlKey:
    """A key that may sign commands."""

    secret: bytes
    may: frozenset[CommandName]


@dataclass(frozen=True, slots=True)
class ControlSecrets:
    """All secrets of an installation, as far as this machine knows them."""

    keys: Mapping[str, ControlKey]
    key: str
    """Name of the key that this machine signs with; empty where that is not settled."""
    hash_key: bytes
    """Of `schemas.users.keyed_hash`."""

    def signed(self, command: Command) -> Command:
        """Return the command signed with this machine's key; raise `CloutError` where there is none or it may not."""
        if self.key not in self.keys:
            raise CloutError(
                "it is not settled which key signs",
                detail=f"control.keys has {', '.join(self.keys)}",
                hint="name one of them in control.key",
            )
        key = self.keys[self.key]
        if command.command not in key.may:
            raise CloutError(
                f"the key {self.key} may not issue {command.command}",
                detail=f"it may {', '.join(sorted(key.may)) or 'nothing'}",
                hint="sign with another key: control.key names it",
            )
        return sign(msgspec.structs.replace(command, key=self.key), key.secret)


class _Made(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a machine made for itself, in hex."""

    key: str
    hash_key: str


def control_secrets(settings: ControlSettings, data_dir: Path) -> ControlSecrets:
    """Return the configured secrets, and for what is not configured those of the data directory, made at first need.

    Raise `CloutError` when they can be neither read nor made.
    """
    made = None if settings.keys and settings.hash_key else _made(data_dir / "control" / "secrets.json")
    if settings.keys:
        keys = {name: ControlKey(key.secret.encode(), frozenset(key.may)) for name, key in settings.keys.items()}
        signing = settings.key or (next(iter(keys)) if len(keys) == 1 else "")
    else:
        keys = {LOCAL_KEY: ControlKey(bytes.fromhex(made.key) if made else b"", frozenset(COMMAND_NAMES))}
        signing = LOCAL_KEY
    # Of any length to the 64 bytes that BLAKE2b's key may have.
    hash_key = hashlib.blake2b((settings.hash_key or (made.hash_key if made else "")).encode()).digest()
    return ControlSecrets(keys, signing, hash_key)


def _made(path: Path) -> _Made:
    try:
        return _read(path)
    except FileNotFoundError:
        _make(path)
        return _read(path)


def _read(path: Path) -> _Made:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_Made)
        bytes.fromhex(found.key)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise CloutError(
            f"the secrets in {path} cannot be read",
            detail=str(error),
            hint="bring the file back; with other secrets, users who were forgotten are no longer recognised",
        ) from error
    return found


def _make(path: Path) -> None:
    """Write new secrets, all or nothing; those of a process that was faster stay."""
    made = _Made(secrets.token_hex(_SECRET_BYTES), secrets.token_hex(_SECRET_BYTES))
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=_OWNER_ONLY, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(made))
                file.flush()
                os.fsync(file.fileno())
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    except OSError as error:
        raise CloutError(
            f"the secrets in {path} cannot be made",
            detail=str(error),
            hint="make the data directory writable, or set control.keys and control.hash_key",
        ) from error
