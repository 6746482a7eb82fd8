"""All detectors of the guard but the canaries': what each watches, and how grave what it finds is.

| detector | about | critical | major |
|---|---|---|---|
| `law_violation` | partition | as its task says: always | |
| `partition_stopped` | partition; also lane gaps | as its task says: always | |
| `partition_silent` | partition, or all | | always: its scores grow old |
| `partition_shrunk` | partition | always: scores are lost | |
| `population_fall` | all | 5 times the limit | from 2 % of users by 1 point, 1 % by 5, 0.5 % by 10 |
| `population_shift` | all, network | half of the users moved | index above 0.25 and a tenth moved |
| `population_at_floor` | all, network | a quarter of the users | 5 % of the users |
| `feed_stalled` | network, collector, raw partition; all | all networks | one: scores hold, nothing is lost |
| `feed_partial` | network, collector, raw partition | half is missing | less |
| `dead_letter_surge` | network | 40 % of the events | 5 points above what is usual |
| `duplicate_surge` | network | 90 % | 20 points above |
| `retraction_surge` | network | 30 % | 5 points above |
| `forget_surge` | all | 5 % of the users | half a point above |

Nothing is minor: what no operator must look at today is told by no detector. Each docstring states how many false
alarms it may make; `tests/guard/` holds it to that on synthetic weeks, and `bench/partial_feeds.py` on more of them.
"""

import math
from collections.abc import Mapping

from streams.guard.detector import Detector
from streams.guard.detectors.falls import PopulationFall
from streams.guard.detectors.feeds import FeedStalled
from streams.guard.detectors.partitions import PartitionShrunk, PartitionSilent, PassedOn
from streams.guard.detectors.population import PopulationAtFloor, PopulationShift
from streams.guard.detectors.surges import SURGES, DuplicateSurge, FeedSurge, ForgetSurge
from streams.guard.detectors.volume import FeedPartial
from streams.settings import GuardSettings, NetworkSettings


def detectors(networks: Mapping[str, NetworkSettings], settings: GuardSettings) -> list[Detector]:
    """Return new detectors that have seen nothing yet.

    >>> len({detector.name for detector in detectors({"twitter": NetworkSettings()}, GuardSettings())})
    13
    """
    own_interval_seconds = settings.canary_interval_seconds if settings.canaries else math.inf
    return [
        PassedOn("law_violation", ("law_violation",)),
        PassedOn("partition_stopped", ("partition_stopped", "lane_gap")),
        PartitionSilent(),
        PartitionShrunk(),
        PopulationFall(),
        PopulationShift(),
        PopulationAtFloor(),
        FeedStalled(networks, settings.heartbeat_seconds),
        FeedPartial(networks),
        FeedSurge(SURGES["dead_letter_surge"], "dead_lettered"),
        DuplicateSurge(SURGES["duplicate_surge"]),
        FeedSurge(SURGES["retraction_surge"], "retracting", own_interval_seconds),
        ForgetSurge(SURGES["forget_surge"]),
    ]
