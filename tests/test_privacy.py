"""The page on privacy promises what the topics' settings enforce."""

import re
from pathlib import Path

import pytest

from schemas.times import HOUR_MS
from streams.names import Names
from streams.settings import LaneSettings, NetworkSettings
from streams.topics import DAY_MS, TopicSpec, specification

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "privacy.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([\w.]+\.v1)` \| .+? \| (.+?) \| (.+?) \|$", re.MULTILINE)
SETTING = re.compile(r"`([\w.]+\.ms)` ([^,|]+)")
PROMISED = {topic: (dict(SETTING.findall(settings)), gone) for topic, settings, gone in ROW.findall(PAGE)}
SPECS = {spec.name: spec for spec in specification(Names("", "1"), LaneSettings(), {"NETWORK": NetworkSettings()})}


def said(duration_ms: int) -> str:
    """A duration in words.

    >>> said(DAY_MS), said(25 * HOUR_MS)
    ('1 day', '25 hours')
    """
    unit_ms, unit = (DAY_MS, "day") if duration_ms % DAY_MS == 0 else (HOUR_MS, "hour")
    count = duration_ms // unit_ms
    return f"{count} {unit}{'s' if count > 1 else ''}"


def gone(spec: TopicSpec) -> str:
    """When a record of a topic is gone: a segment is closed within its time, and the next one brings the cleaner."""
    times = {key: int(value) for key, value in spec.config.items() if key.endswith(".ms")}
    if spec.config["cleanup.policy"] == "delete":
        return said(times["retention.ms"] + times["segment.ms"])
    lag_ms = times["max.compaction.lag.ms"]
    return f"{said(lag_ms)}, key {said(lag_ms + times['delete.retention.ms'] + times['segment.ms'])}"


def test_the_page_names_every_topic() -> None:
    assert PROMISED.keys() == SPECS.keys()


@pytest.mark.parametrize("topic", SPECS)
def test_the_times_of_a_topic_are_those_of_its_settings(topic: str) -> None:
    settings, promised = PROMISED[topic]
    assert settings == {key: said(int(value)) for key, value in SPECS[topic].config.items() if key.endswith(".ms")}
    assert promised == gone(SPECS[topic])


@pytest.mark.parametrize("topic", [name for name, spec in SPECS.items() if spec.config["cleanup.policy"] == "compact"])
def test_a_segment_is_old_enough_to_be_cleaned_before_it_must_be(topic: str) -> None:
    times = {key: int(value) for key, value in SPECS[topic].config.items() if key.endswith(".ms")}
    assert times.get("min.compaction.lag.ms", 0) + times["segment.ms"] <= times["max.compaction.lag.ms"]
