"""`clout guard`: the role that sees faults of the whole population."""

from typing import Annotated

import typer

from clout import VERSION
from clout.commands.common import connected_role


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(guard)


def guard(
    context: typer.Context,
    slot: Annotated[
        int, typer.Option(min=0, max=63, help="Number of this guard on this machine; each has its own state directory.")
    ] = 0,
) -> None:
    """Watch: see a fault of the whole population, open an incident, freeze the network that it comes from.

    One guard watches; others stand by, and take over when it ends.

    Example: clout guard --broker localhost:9092 --slot 1
    """
    # Faust takes a second to import: other commands do without.
    from streams.control_secrets import control_secrets
    from streams.guard.canaries import CanaryDetector
    from streams.guard.company import Company
    from streams.guard.detector import Detector
    from streams.guard.detectors import detectors
    from streams.guard.role import Guard

    settings = connected_role(context, "guard", slot)

    def all_detectors() -> list[Detector]:
        return [
            *detectors(settings.networks, settings.guard),
            CanaryDetector(
                settings.networks,
                settings.guard,
                settings.model,
                settings.lanes.partitions,
                lambda network, seconds: role.metrics.canary_latency.labels(network).observe(seconds),
            ),
        ]

    role = Guard(
        kafka=settings.kafka,
        lanes=settings.lanes,
        networks=settings.networks,
        model=settings.model.name,
        settings=settings.guard,
        secrets=control_secrets(settings.control, settings.data_dir),
        http=settings.http,
        data_dir=settings.data_dir,
        slot=slot,
        version=VERSION,
        detectors=all_detectors,
    )
    company = Company(
        settings.kafka,
        settings.names,
        settings.guard,
        lambda webhook, outcome: role.metrics.deliveries.labels(webhook, outcome).inc(),
    )
    company.join(role, settings.networks)
    try:
        role.run()
    finally:
        company.close()
