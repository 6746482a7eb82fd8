"""What an account can do that acts a hundred times a day."""

from collections.abc import Callable

import numpy as np

from scorer.actors import Grants
from scorer.arrays import Floats
from scorer.model import DAY_MS, Model
from scorer.scale import combined
from scorer.target_state import ENTRY
from scorer.targets import fold_targets
from tests.scorer.partition import START_MS, Partition, act

ACTS = 3000
CYCLES = (1, 17, 100, 1000)
FOLLOWINGS = {"nobody": (0.0, 0.0, 0.0), "100 people": (100.0, 100.0, 10.0), "10,000": (10_000.0, 10_000.0, 1000.0)}
"""R, A and N that a target has from others, who keep it up."""
PACES = {
    "all day": np.arange(ACTS) * DAY_MS // 100,
    "in bursts": np.arange(ACTS) // 100 * DAY_MS + np.arange(ACTS) % 100 * 1000,
}


def lift(have: tuple[float, float, float], reach: float, amplification: float, network: float) -> float:
    """By how much S rises when these are added to what a target has."""
    return combined(have[0] + reach, have[1] + amplification, have[2] + network) - combined(*have)


def highest_lifts(cycle: int, times: np.ndarray) -> dict[str, float]:
    """The most that any target of the account ever owes it, in S, by what the target has besides."""
    model = Model()
    events = [act("bot", f"target{number % cycle}", START_MS + int(time)) for number, time in enumerate(times)]
    grants = Partition(model).grant(events)
    entries = np.zeros((cycle, 1), ENTRY)
    highest = dict.fromkeys(FOLLOWINGS, 0.0)
    for number, event in enumerate(events):
        target = number % cycle
        fold_targets(
            entries,
            users=[target],
            networks=[0],
            times=[event.time],
            grants=Grants(*(column[number : number + 1] for column in grants)),
            parameters=model.parameters,
        )
        entry = entries[target, 0]
        for name, have in FOLLOWINGS.items():
            owed = lift(have, entry["reach"], entry["amplification"], entry["network"])
            highest[name] = max(highest[name], owed)
    return highest


def test_a_busy_account_lifts_nobody_by_more_than_twice_what_an_ordinary_person_does(
    say: Callable[[str], None],
) -> None:
    """The same kind of act; both have no score. An ordinary person acts once and is taken at that moment."""
    person = Partition(Model()).grant([act("person", "target", START_MS)])
    ordinary = {name: lift(have, *(float(column[0]) for column in person)) for name, have in FOLLOWINGS.items()}
    lines = ["", "100 acts a day for a month: highest lift of a target in S, an ordinary person's single act being 1"]
    lines.append(f"{'acts come':<10} {'targets':>8} " + " ".join(f"{'has ' + name:>14}" for name in FOLLOWINGS))
    worst = 0.0
    for pace, times in PACES.items():
        for cycle in CYCLES:
            ratios = {name: value / ordinary[name] for name, value in highest_lifts(cycle, times).items()}
            lines.append(f"{pace:<10} {cycle:>8,} " + " ".join(f"{ratio:>14.2f}" for ratio in ratios.values()))
            worst = max(worst, *ratios.values())
    say("\n".join(lines))
    assert worst <= 2.0


def test_a_hundred_busy_accounts_lift_a_target_to_29_at_most() -> None:
    """S is homogeneous: a hundred of them give a hundred times what one gives."""
    from_one = max(highest_lifts(1, PACES["all day"])["nobody"], highest_lifts(17, PACES["all day"])["nobody"])
    from_hundred: Floats = np.array([1 + 99 * np.log1p(100 * from_one) / np.log1p(1e6)])
    assert from_hundred[0] <= 29.5
