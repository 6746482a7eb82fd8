"""What the score's kernels cost, each alone: microseconds of one core an event, a state or a row.

Run: `.venv/bin/python bench/kernels.py`
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

import numpy as np

from schemas.users import user_hash
from scorer.actor_state import decode_actors, encode_actors
from scorer.actors import fold_actors
from scorer.arrays import Ints
from scorer.laws import Batch, audit
from scorer.model import Model
from scorer.target_state import decode_targets, encode_targets, found, published_scores
from scorer.targets import fold_targets, publish, score_targets
from scorer.timers import NO_CLOCK, advance, evaluation_times, reschedule
from streams.population_state import PopulationState

EVENTS = 50_000
ROUNDS = 8
NETWORKS = 3


class Costs:
    """The best of several rounds, by step."""

    def __init__(self) -> None:
        self.best: dict[str, float] = {}

    @contextmanager
    def of(self, step: str, count: int) -> Iterator[None]:
        """Note what each of `count` took."""
        begin = perf_counter()
        yield
        cost = (perf_counter() - begin) / count * 1e6
        self.best[step] = min(cost, self.best.get(step, cost))


def main() -> None:
    """Print one table."""
    chance = np.random.default_rng(0)
    draws: dict[str, Callable[[], Ints]] = {
        "Zipf(1.3) of 1 M": lambda: chance.zipf(1.3, EVENTS) % 1_000_000,
        "uniform of 10 M": lambda: chance.integers(0, 10_000_000, EVENTS),
    }
    tables = {}
    for name, draw in draws.items():
        run(draw, Costs(), rounds=1)  # compiles, or loads what was compiled
        tables[name] = Costs()
        run(draw, tables[name], rounds=ROUNDS)
    print(f"{'µs each':<28}" + "".join(f"{name:>18}" for name in tables))
    for step in tables["uniform of 10 M"].best:
        print(f"{step:<28}" + "".join(f"{costs.best[step]:>18.3f}" for costs in tables.values()))


def run(draw: Callable[[], Ints], costs: Costs, *, rounds: int) -> None:
    """Both stages over batches of events among the users drawn, with states kept from round to round."""
    parameters = Model().parameters
    chance = np.random.default_rng(1)
    actors: dict[int, bytes] = {}
    targets: dict[int, bytes | None] = {}
    clocks = np.full(NETWORKS, NO_CLOCK)
    population = PopulationState()
    for number in range(rounds):
        keys, index = np.unique(draw(), return_inverse=True)
        users, credited = np.unique(draw(), return_inverse=True)
        hashes = np.array([user_hash(b"%d" % user) for user in users.tolist()], np.uint64)[credited]
        times = 1_340_000_000_000 + (number * EVENTS + np.arange(EVENTS)) * 10
        networks = chance.integers(0, NETWORKS, EVENTS)
        kinds = chance.integers(0, 6, EVENTS).astype(np.uint8)

        actor_hashes = np.array([user_hash(b"%d" % key) for key in keys.tolist()], np.uint64)[index]

        rows = [actors.get(key) for key in keys.tolist()]
        with costs.of("decode actors, a state", len(rows)):
            states = decode_actors(rows)
        influence = np.full(len(states), 0.1)
        with costs.of("fold actors, an event", EVENTS):
            grants, _ = fold_actors(
                states,
                index=index,
                targets=hashes,
                kinds=kinds,
                times=times,
                influence=influence,
                parameters=parameters,
            )
        with costs.of("encode actors, a state", len(rows)):
            encoded = encode_actors(states)
        actors.update(zip(keys.tolist(), encoded, strict=True))

        rows = [targets.get(user) for user in users.tolist()]
        with costs.of("published scores, a row", len(rows)):
            published_scores(rows)
        with costs.of("decode targets, a user", len(rows)):
            heads, entries, contributors = decode_targets(rows, NETWORKS)
        heads_before, entries_before = heads.copy(), found(entries)
        with costs.of("fold targets, an event", EVENTS):
            clocks_after = np.maximum(clocks, times.max())
            fold_targets(
                entries,
                users=credited,
                networks=networks,
                times=times,
                grants=grants,
                parameters=parameters,
                actors=actor_hashes,
                contributors=contributors,
            )
        with costs.of("score and publish, a user", len(rows)):
            scored = score_targets(heads, entries, evaluation_times(entries, clocks_after), parameters)
            published = publish(heads, entries, scored)
        with costs.of("due times, a user", len(rows)):
            reschedule(heads, entries, scored.times, clocks_after, parameters)
        with costs.of("population, a row", EVENTS):
            population.follow(NETWORKS, (heads_before, entries_before), (heads, entries))
        batch = Batch(
            heads_before=heads_before,
            entries_before=entries_before,
            clocks_before=clocks,
            heads_after=heads,
            entries_after=entries,
            clocks_after=clocks_after,
            users=credited,
            networks=networks,
            times=times,
            grants=grants,
            takes_back=np.zeros(EVENTS, np.bool_),
            scored=scored,
            published=published,
            rows_in=EVENTS,
            duplicates=0,
            skipped=0,
        )
        with costs.of("audit, an event", EVENTS):
            violations = audit(batch, parameters)
        if violations:
            raise SystemExit(f"the benchmark's own batch breaks a law: {violations}")
        with costs.of("encode targets, a user", len(rows)):
            encoded = encode_targets(heads, entries, contributors)
        targets.update(zip(users.tolist(), encoded, strict=True))
        clocks = clocks_after
    let_fire(list(targets.values())[:EVENTS], clocks, costs, rounds=rounds)


def let_fire(rows: list[bytes | None], clocks: Ints, costs: Costs, *, rounds: int) -> None:
    """Users whose time has come, half a day later: what looking, scoring and setting the next due time costs."""
    parameters = Model().parameters
    for _ in range(rounds):
        heads, entries, _ = decode_targets(rows, NETWORKS)
        later = clocks + 43_200_000
        due = np.flatnonzero(np.any((entries["due"] > 0) & (entries["due"] <= later), axis=1))
        heads, entries = heads[due], entries[due]
        with costs.of("timer, kernels alone", len(due)):
            times = evaluation_times(entries, later)
            advance(heads, entries, times, np.arange(len(due)), later, parameters)
            publish(heads, entries, score_targets(heads, entries, times, parameters))
            reschedule(heads, entries, times, later, parameters)


if __name__ == "__main__":
    main()
