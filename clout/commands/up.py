"""`clout up`: everything on this machine, supervised."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import structlog
import typer

from clout.broker import local
from clout.commands.common import options_of, settings_of
from clout.commands.topics import specification
from clout.config import Settings
from clout.machine import StopSignals, broker_at_hand, gateway_ports, role_specs
from clout.monitoring import Monitoring, check_wanted, monitored
from clout.ports import free_ports
from clout.supervisor import RoleState, Supervisor, only_one
from streams import topics

TICK_SECONDS = 0.1

_log = structlog.get_logger(__name__)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="up")(command)


def command(
    context: typer.Context,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many score roles.")] = 1,
    ingests: Annotated[int, typer.Option(min=1, max=64, help="How many ingest roles.")] = 1,
    guards: Annotated[int, typer.Option(min=0, max=64, help="How many guards: one watches, the others stand by.")] = 1,
    gateways: Annotated[int, typer.Option(min=0, max=64, help="How many gateways.")] = 1,
    monitoring: Annotated[bool, typer.Option("--monitoring", help="Prometheus and Alertmanager too.")] = False,
) -> None:
    """Run everything on this machine: broker, topics, ingest, workers, guard and gateway; start again whatever dies.

    Without --broker a local Kafka is started, and stopped at the end, unless one runs already. Ends on Ctrl-C or
    SIGTERM, after every role has finished its batch. Each role logs to a file under `logs` in the data directory;
    `run/prometheus-targets.json` there lists their addresses for Prometheus. The gateway is at gateway.host and
    gateway.port, a second one at the port after it; each keeps its address when it is started again. With
    --monitoring a Prometheus and an Alertmanager run beside them, with the rules of `deploy/prometheus`, on free
    ports of this machine.

    Example: clout up --workers 2
    """
    settings = settings_of(context)
    if monitoring:
        check_wanted()
    with (
        StopSignals() as stop,
        only_one(settings.data_dir),
        broker_at_hand(settings.kafka, local(settings.data_dir)) as kafka,
        monitored(settings.data_dir, wanted=monitoring) as watchers,
    ):
        settings = settings.model_copy(update={"kafka": kafka})
        specs = specification(settings)
        topics.create(kafka, specs)
        topics.require(kafka, specs)
        options = replace(options_of(context), broker=kafka.broker, data_dir=str(settings.data_dir))
        roles = role_specs(
            options.arguments(),
            ingests=ingests,
            workers=workers,
            guards=free_ports(settings.http.host, guards),
            gateways=gateway_ports(settings.gateway, gateways),
            environment=os.environ,
        )
        _supervise(Supervisor(roles, settings.data_dir, say=_log.info), stop, settings, watchers)
    raise typer.Exit(stop.exit_code)


def _supervise(supervisor: Supervisor, stop: StopSignals, settings: Settings, watchers: Monitoring | None) -> None:
    announced = False
    if watchers is not None:
        _log.info("monitoring runs", prometheus=watchers.prometheus, alertmanager=watchers.alertmanager)
    try:
        supervisor.start()
        while stop.received is None:
            supervisor.tick()
            states = supervisor.states()
            if watchers is not None:
                watchers.tick(states)
            if not announced and all(state.address for state in states):
                announced = True
                _log.info(
                    "everything runs", broker=settings.kafka.broker, data_dir=str(settings.data_dir), **_pages(states)
                )
            time.sleep(TICK_SECONDS)
        _log.info("stopping", reason=stop.received.name)
    finally:
        for name in supervisor.stop():
            _log.warning("killed: it did not stop in time", role=name)


def _pages(states: Sequence[RoleState]) -> dict[str, str]:
    """Return where a browser finds scores."""
    found = [f"http://{state.public_address}/" for state in states if state.public_address]
    return {"pages": ", ".join(found)} if found else {}
