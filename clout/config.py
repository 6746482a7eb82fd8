"""The settings of an installation: flag over environment over `clout.toml` over default.

Every setting has a dotted name, for instance `kafka.prefix`. In the file it is a key of a table; in the environment
it is `CLOUT_KAFKA__PREFIX`; `CLOUT_BROKER` and `CLOUT_PREFIX` are short for the two most often given.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from clout.layers import (
    ENVIRONMENT_PREFIX,
    ConfigError,
    Layer,
    environment_layer,
    file_layer,
    flag_layer,
    settings_file,
    tree,
)
from schemas.limits import KEY_NAME_BYTES_MAX, NETWORK_BYTES_MAX, NETWORKS_MAX
from schemas.webhook import address_error, secret_bytes
from scorer.model import Model
from streams.decoders import decoder_names
from streams.names import Names
from streams.settings import (
    CONTROL_KEYS_MAX,
    SECRET_LENGTH_MIN,
    ControlSettings,
    GatewaySettings,
    GuardSettings,
    HttpSettings,
    IngestSettings,
    KafkaSettings,
    LaneSettings,
    NetworkSettings,
    VisibilitySettings,
    WorkerSettings,
)

NetworkName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=NETWORK_BYTES_MAX)]

_TOPIC_PART: Final = re.compile(r"[A-Za-z0-9._-]*")
_ADDRESSES: Final = re.compile(r"([^\s,]+:\d{1,5}(,[^\s,]+:\d{1,5})*)?")
_SECRET: Final = re.compile(
    r"password|secret|\.pem$|^control\.(hash_key$|keys(?!.*\.may\b))|^guard\.webhooks(?!.*\.url$)"
)
_WEBHOOK_NAME: Final = re.compile(r"[a-z0-9_-]{1,32}")
_MASK: Final = "********"


def _default_data_dir() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "clout"


def _default_networks() -> dict[str, NetworkSettings]:
    return {name: NetworkSettings() for name in ("twitter", "mastodon", "bluesky")}


class Settings(BaseSettings):
    """All settings."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, validate_default=False
    )

    data_dir: Path = Field(default_factory=_default_data_dir)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "text", "json"] = "auto"
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    lanes: LaneSettings = Field(default_factory=LaneSettings)
    networks: dict[NetworkName, NetworkSettings] = Field(
        default_factory=_default_networks, min_length=1, max_length=NETWORKS_MAX
    )
    model: Model = Field(default_factory=Model)
    ingest: IngestSettings = Field(default_factory=IngestSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    control: ControlSettings = Field(default_factory=ControlSettings)
    guard: GuardSettings = Field(default_factory=GuardSettings)
    gateway: GatewaySettings = Field(default_factory=GatewaySettings)
    visibility: VisibilitySettings = Field(default_factory=VisibilitySettings)
    http: HttpSettings = Field(default_factory=HttpSettings)

    @property
    def names(self) -> Names:
        """Topic, group and transactional names of this installation and model."""
        return Names(self.kafka.prefix, self.model.name)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and where each one that is not a default came from."""

    settings: Settings
    layer: Layer

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """Dotted name, value and origin of every setting; secrets are masked."""
        for path, value in _leaves(self.settings):
            given = next((self.layer[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.layer), None)
            name = ".".join(path)
            shown = _MASK if _SECRET.search(name) and value else value
            yield name, shown, given.origin if given else "default"


def load(flags: Mapping[str, str | None], file: Path | None = None) -> Loaded:
    """Read all sources; `flags` are by dotted name, `file` is the one named by `--config`.

    A key that does not exist or a value that cannot be is a `ConfigError`.
    """
    file = settings_file(file, os.environ)
    layer = file_layer(Settings, file) if file is not None else {}
    layer |= environment_layer(Settings, os.environ) | flag_layer(flags)
    try:
        # The environment is in the layer too: what the class reads there by itself changes nothing.
        settings = Settings(**tree(layer))
    except ValidationError as error:
        first = error.errors()[0]
        path = tuple(str(part) for part in first["loc"] if part != "[key]")
        raise _unusable(path, first["msg"], first["input"], layer) from error
    _check_names(settings, layer)
    _check_control(settings.control, layer)
    _check_webhooks(settings.guard, layer)
    return Loaded(settings.model_copy(update={"data_dir": _absolute(settings.data_dir, file, layer)}), layer)


def _check_names(settings: Settings, layer: Layer) -> None:
    """Refuse names that no topic can carry, addresses that are none and formats that no decoder reads."""
    for path, name in {("kafka", "prefix"): settings.kafka.prefix, ("model", "name"): settings.model.name}.items():
        if not _TOPIC_PART.fullmatch(name):
            message = "It becomes part of topic names: only letters, digits, '.', '_' and '-'"
            raise _unusable(path, message, name, layer)
    if not _ADDRESSES.fullmatch(settings.kafka.broker):
        message = "It must be HOST:PORT, or several of them with commas between"
        raise _unusable(("kafka", "broker"), message, settings.kafka.broker, layer)
    formats = decoder_names()
    for network, of_network in settings.networks.items():
        if of_network.format not in formats:
            message = f"It must be one of {', '.join(formats)}"
            raise _unusable(("networks", network, "format"), message, of_network.format, layer)


def _check_control(control: ControlSettings, layer: Layer) -> None:
    """Refuse secrets that are easily guessed, and a key of the command line that is none."""
    if len(control.keys) > CONTROL_KEYS_MAX:
        message = f"There can be at most {CONTROL_KEYS_MAX} keys"
        raise _unusable(("control", "keys"), message, {}, layer)
    secrets: dict[tuple[str, ...], str] = {
        ("control", "keys", name, "secret"): key.secret for name, key in control.keys.items()
    }
    if control.hash_key:
        secrets["control", "hash_key"] = control.hash_key
    for path, secret in secrets.items():
        if len(secret) < SECRET_LENGTH_MIN:
            raise _unusable(path, f"It must have at least {SECRET_LENGTH_MIN} characters", secret, layer)
    for name in control.keys:
        if len(name.encode()) > KEY_NAME_BYTES_MAX:
            raise _unusable(("control", "keys", name), f"Its name must have 1 to {KEY_NAME_BYTES_MAX} bytes", {}, layer)
    if control.key and control.key not in control.keys:
        raise _unusable(("control", "key"), "It must be one of control.keys", control.key, layer)


def _check_webhooks(guard: GuardSettings, layer: Layer) -> None:
    """Refuse addresses that incidents would cross a network to in the clear, and secrets that are easily guessed."""
    for name, webhook in guard.webhooks.items():
        path = ("guard", "webhooks", name)
        if not _WEBHOOK_NAME.fullmatch(name):
            raise _unusable(path, "Its name must have 1 to 32 of a-z, 0-9, '_' and '-'", {}, layer)
        if (message := address_error(webhook.url)) is not None:
            raise _unusable((*path, "url"), message, webhook.url, layer)
        if len(webhook.secret) < SECRET_LENGTH_MIN:
            message = f"It must have at least {SECRET_LENGTH_MIN} characters"
            raise _unusable((*path, "secret"), message, webhook.secret, layer)
        try:
            secret_bytes(webhook.secret)
        except ValueError as error:
            message = "What follows whsec_ must be Base64"
            raise _unusable((*path, "secret"), message, webhook.secret, layer) from error


def _absolute(data_dir: Path, file: Path | None, layer: Layer) -> Path:
    """A relative directory that the file names is relative to the file, any other to the current directory."""
    origin = layer[("data_dir",)].origin if ("data_dir",) in layer else ""
    base = file.parent if file is not None and origin == f"file {file}" else Path.cwd()
    return base / data_dir.expanduser()


def _unusable(path: tuple[str, ...], message: str, value: Any, layer: Layer) -> ConfigError:
    name = ".".join(path)
    shown = _MASK if _SECRET.search(name) else repr(value)
    got = "" if isinstance(value, dict) else f", got {shown}"
    origins = {given.origin: None for at, given in layer.items() if at[: len(path)] == path or path[: len(at)] == at}
    return ConfigError(
        f"the setting {name} cannot be used", detail=f"{message}{got} ({', '.join(origins)})", hint="correct it there"
    )


def _leaves(of: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    children: dict[str, Any] = {}
    if isinstance(of, Settings):
        children = {name: getattr(of, name) for name in Settings.model_fields}
    elif is_dataclass(of):
        children = {field.name: getattr(of, field.name) for field in fields(of)}
    elif isinstance(of, dict):
        children = of
    if not children:
        yield path, of
    for name, child in children.items():
        yield from _leaves(child, (*path, name))
