"""What every command needs: the settings, read once the command is known, and the logs as they say."""

from dataclasses import dataclass
from pathlib import Path

import typer

from clout import logs
from clout.broker import connect
from clout.config import Loaded, Settings, load


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
    return settings.model_copy(update={"kafka": connect(settings.kafka, settings.data_dir)})
