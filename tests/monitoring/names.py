"""Which metrics there are, and which a PromQL expression names."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from prometheus_client import CollectorRegistry

from gateway.metrics import GatewayMetrics
from streams.guard.metrics import GuardMetrics
from streams.metrics import IngestMetrics, WorkerMetrics
from streams.settings import NetworkSettings

ROOT: Final = Path(__file__).resolve().parents[2]
PROMETHEUS: Final = ROOT / "deploy" / "prometheus"
RULE_FILES: Final = sorted((PROMETHEUS / "rules").glob("*.yml"))

OF_PROMETHEUS: Final = frozenset({"up", "ALERTS"})

_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_NOT_NAMES: Final = re.compile(
    r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)|\boffset\s+\w+"
)
_NAME: Final = re.compile(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?!\s*\()(?![\w:])")
_WORDS: Final = frozenset({"and", "or", "unless", "bool", "on", "by", "offset", "inf", "nan"})


@cache
def exported() -> set[str]:
    """Every series name that a role exports."""
    names = set()
    networks = {"twitter": NetworkSettings()}
    guard = GuardMetrics(networks, ["partner"])
    roles = (IngestMetrics(["twitter"]), WorkerMetrics(["twitter"], 1), guard, GatewayMetrics())
    for registry in (role.registry for role in roles):
        names |= set(_series(registry))
    return names


def _series(registry: CollectorRegistry) -> Iterator[str]:
    for family in registry.collect():
        if family.type == "histogram":
            yield from (f"{family.name}_bucket", f"{family.name}_count", f"{family.name}_sum")
        else:
            yield f"{family.name}_total" if family.type == "counter" else family.name


def named(expression: str) -> set[str]:
    """Return the metrics that an expression names.

    >>> sorted(named('sum by (role) (rate(a_total{x="b c"}[5m] offset 3m)) / on () group_left () (l:m:sum > 0)'))
    ['a_total', 'l:m:sum']
    """
    bare = _NOT_NAMES.sub(" ", _QUOTED.sub("", expression))
    return {name for name in _NAME.findall(bare) if name.lower() not in _WORDS}


@cache
def rules() -> list[dict[str, Any]]:
    """Every rule of every file."""
    return [
        rule
        for path in RULE_FILES
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]


def alerts() -> list[dict[str, Any]]:
    """Every alerting rule."""
    return [rule for rule in rules() if "alert" in rule]


def recorded() -> set[str]:
    """Names of the recording rules."""
    return {rule["record"] for rule in rules() if "record" in rule}
