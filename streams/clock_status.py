"""What a task says of its clocks: how far each network's inputs have come, and which of them it waits for."""

from typing import Final

from streams.clocks import Inputs, inputs_waited_for
from streams.settings import NetworkSettings
from streams.status import InputsStatus, InputStatus

WAITS_FOR_MAX: Final = 8
"""How many inputs are named: a network may have thousands, and those furthest behind are what somebody looks for."""


def furthest_ms(inputs: Inputs) -> int | None:
    """Return the newest time heard of any input, in ms; None before the first.

    >>> furthest_ms(Inputs())
    """
    # A raw partition's time takes in the heartbeats that came through it.
    return max((raw.time_ms for raw in inputs.raw.values()), default=0) or None


def inputs_status(inputs: Inputs, settings: NetworkSettings) -> InputsStatus:
    """Return what is known of a network's inputs, for `/v1/status`.

    >>> status = inputs_status(Inputs(raw_partitions=9), NetworkSettings())
    >>> len(status.waits_for), status.waits_for[0]
    (8, InputStatus(name='raw partition 0', time_ms=None, arrival_ms=None, raw_partition=None))
    """
    holds = inputs_waited_for(inputs, settings)[:WAITS_FOR_MAX]
    return InputsStatus(
        clock_ms=inputs.clock_ms,
        furthest_ms=furthest_ms(inputs),
        waits_for=[InputStatus(**of._asdict()) for of in holds],
        heartbeats_ms=inputs.last_heartbeats_ms,
        released=sorted(inputs.released_ms),
    )
