"""What every command needs: the settings, read once the command is known, and the logs as they say."""

from dataclasses import dataclass
from pathlib import Path

import typer
from confluent_kafka import KafkaException

from clout import logs
from clout.alone import alone
from clout.broker import connect
from clout.config import Loaded, Settings, load
from streams import clients, topics
from streams.errors import CloutError
from streams.orders import check_reason

METADATA_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    """The options that stand anywhere on the command line."""

    config: Path | None = None
    broker: str | None = None
    prefix: str | None = None
    data_dir: str | None = None

    def arguments(self) -> list[str]:
        """The same options for a command that this one starts."""
        given = {"--config": self.config, "--broker": self.broker, "--prefix": self.prefix, "--data-dir": self.data_dir}
        return [f"{flag}={value}" for flag, value in given.items() if value is not None]


def loaded(context: typer.Context) -> Loaded:
    """The settings and their origins; logs are set up as they say."""
    options = options_of(context)
    flags = {"kafka.broker": options.broker, "kafka.prefix": options.prefix, "data_dir": options.data_dir}
    found = load(flags, options.config)
    logs.set_up(found.settings.log_level, found.settings.log_format)
    return found


def options_of(context: typer.Context) -> GlobalOptions:
    """The global options given."""
    options = context.find_root().obj
    return options if isinstance(options, GlobalOptions) else GlobalOptions()


def settings_of(context: typer.Context) -> Settings:
    """The settings as they are written."""
    return loaded(context).settings


def connected(context: typer.Context) -> Settings:
    """The settings with a broker's address: the one set, or the local broker's."""
    settings = settings_of(context)
    if settings.log_level != "debug":
        logs.quieten_client()
    return _connected(settings)


def connected_role(context: typer.Context, role: str, slot: int) -> Settings:
    """The same for a role, which holds its slot until it ends; it logs all of its Kafka client."""
    settings = settings_of(context)
    otherwise = CloutError(
        f"another `clout {role}` with slot {slot} runs on {settings.data_dir}",
        hint="give each its own --slot; each has its own state and its own transactions",
    )
    name = f"{settings.names.app_id}.{role}-{slot}.lock"
    context.with_resource(alone(settings.data_dir / "run" / name, otherwise))
    return _connected(settings)


def _connected(settings: Settings) -> Settings:
    return settings.model_copy(update={"kafka": connect(settings.kafka, settings.data_dir)})


def connected_to_lanes(context: typer.Context) -> Settings:
    """The same, once it is sure that `lanes.partitions` is what the topics were made with."""
    settings = connected(context)
    specs = topics.specification(settings.names, settings.lanes, settings.networks)
    fixed = [spec for spec in specs if spec.fixed]
    try:
        found = clients.admin(settings.kafka).list_topics(timeout=METADATA_TIMEOUT_SECONDS).topics
    except KafkaException as error:
        raise CloutError("the broker did not answer", detail=error.args[0].str(), hint="check --broker") from error
    # The full check asks for the topics' configuration too, which not everyone may read.
    if any(spec.name in found and len(found[spec.name].partitions) != spec.partitions for spec in fixed):
        topics.require(settings.kafka, fixed)
    return settings


def reason_given(reason: str) -> str:
    """Refuse what cannot be a command's reason."""
    return _checked(reason, "reason")


def text_given(text: str) -> str:
    """Refuse what cannot be said of an incident."""
    return _checked(text, "text")


def _checked(text: str, called: str) -> str:
    try:
        check_reason(text, called)
    except CloutError as error:
        raise typer.BadParameter(f"{error.error}: {error.detail}") from error
    return text


def check_network(context: typer.Context, network: str, named_by: str = "--network") -> None:
    """Refuse a network that the settings do not name."""
    settings = settings_of(context)
    if network not in settings.networks:
        message = f"{network!r} is none of {', '.join(settings.networks)}, which the settings name"
        raise typer.BadParameter(message, param_hint=named_by)


def check_registered(context: typer.Context, network: str, source: str) -> None:
    """Refuse a collector that a network does not register; one that registers none may have any."""
    registered = settings_of(context).networks[network].sources
    if source and registered and source not in registered:
        message = f"{source!r} is none of {', '.join(registered)}, which networks.{network}.sources registers"
        raise typer.BadParameter(message, param_hint="--source")
