"""What the guard shows of itself."""

from streams.guard.metrics import GuardMetrics
from tests.guard.seen import population


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


def test_the_share_that_fell_is_of_this_hour_and_the_one_before_and_of_nobody_whom_an_order_lowered() -> None:
    metrics = GuardMetrics({})
    told = population(below=(30, 10, 0), below_before=(100, 0, 0), taken_back_before={"flood": (60, 0, 0)})
    metrics.show_population({0: told.population})
    shares = [
        metrics.registry.get_sample_value("clout_guard_population_fallen_share", {"points": points})
        for points in ("1", "5")
    ]
    assert shares == [0.07, 0.01]
