"""What the guard shows of itself."""

from streams.guard.metrics import GuardMetrics


def shown(metrics: GuardMetrics) -> tuple[float | None, float | None]:
    """Whether it watches, and when it last looked."""
    value = metrics.registry.get_sample_value
    return value("clout_guard_active"), value("clout_guard_moment_seconds")


def test_a_guard_that_begins_to_watch_does_not_seem_to_have_stopped_looking() -> None:
    metrics = GuardMetrics({})
    assert shown(metrics)[0] == 0
    metrics.watch(5_000)
    assert shown(metrics) == (1, 5), "its first look takes a while, and an alert asks when it last looked"
    metrics.look(6_000)
    metrics.stand_by()
    metrics.watch(90_000)
    assert shown(metrics) == (1, 90), "it watches again, and the last look is from before it stood by"
