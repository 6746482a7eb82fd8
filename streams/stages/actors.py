"""The actors stage on a batch: what is each action worth, and to which partition does its credit go?"""

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.packed import CREDITS, INTERACTIONS, Record
from schemas.users import user_hashes
from scorer.actor_state import decode_actors, encode_actors
from scorer.actors import fold_actors, influences
from scorer.model import Parameters
from streams.packing import Rows, distinct, joined, renumbered, renumbering
from streams.stages.lookup import accounts, labels, network_codes, require_kind
from streams.store import Row, actor_key
from streams.task_state import TaskState

_PASSED_ON = ("kind", "time", "arrival", "event_hash")


class ActorsOutcome(NamedTuple):
    """What a batch of interactions comes to."""

    states: list[Row]
    """The actors' new rows."""
    credits: Rows
    """What each interaction grants, in the order that they came."""
    partitions: NDArray[np.uint8]
    """Partition of the targets lane that each credit goes to."""


def fold(
    records: Sequence[Record],
    state: TaskState,
    *,
    read_states: Callable[[list[bytes]], list[bytes | None]],
    read_scores: Callable[[list[bytes]], NDArray[np.float64]],
    parameters: Parameters,
    partitions: int,
) -> ActorsOutcome:
    """Fold interactions in the order of the lane; count credits and self-interactions in `state`.

    `read_states` gives the stored rows of actor keys, `read_scores` the last published scores of users.
    """
    require_kind(records, INTERACTIONS)
    network = network_codes(records, state)
    actors, actor_numbers = distinct([record.actors for record in records])
    targets, target_numbers = distinct([record.targets for record in records])
    actor = renumbered(records, "actor", actor_numbers)
    target = renumbered(records, "target", target_numbers)
    label_names, label = labels(records)
    columns = {
        "actor": actor,
        "actor_account": accounts(records, "actor", actor_numbers),
        "target": target,
        "target_account": accounts(records, "target", target_numbers),
        "network": network,
        "label": label,
    } | {name: joined(records, name) for name in _PASSED_ON}

    others = _acts_on_others(actors, actor, targets, target)
    if others is not None:
        _count(state, "self", network[~others])
        columns = {name: column[others] if len(column) else column for name, column in columns.items()}
        actor, target, network = columns["actor"], columns["target"], columns["network"]
    _count(state, "credited", network)

    of_actor, of_network, index = _states_needed(actor, network, len(actors), len(state.networks))
    ends = [actor_key(b"", name.encode()) for name in state.networks]
    keys = [actors[who] + ends[code] for who, code in zip(of_actor, of_network, strict=True)]
    states = decode_actors(read_states(keys))
    scores = read_scores(actors)
    hashes = user_hashes(targets)
    grants = fold_actors(
        states,
        index=index,
        targets=hashes[target],
        kinds=columns["kind"],
        times=columns["time"],
        influence=influences(scores[np.array(of_actor, np.intp)], parameters),
        parameters=parameters,
    )
    columns |= {"reach": grants.reach, "amplification": grants.amplification, "influence": grants.network}
    return ActorsOutcome(
        list(zip(keys, encode_actors(states), strict=True)),
        Rows(CREDITS, list(state.networks), label_names, actors, targets, columns),
        (hashes % np.uint64(partitions)).astype(np.uint8)[target],
    )


def _acts_on_others(
    actors: list[bytes], actor: NDArray[np.uint32], targets: list[bytes], target: NDArray[np.uint32]
) -> NDArray[np.bool_] | None:
    """Return which rows have another target than their actor; None when all have."""
    number = dict(zip(actors, range(len(actors)), strict=True)).get
    as_actor = np.fromiter(map(number, targets, repeat(-1)), np.int64, len(targets))
    others: NDArray[np.bool_] = as_actor[target] != actor
    return None if others.all() else others


def _states_needed(
    actor: NDArray[np.uint32], network: NDArray[np.uint8], actors: int, networks: int
) -> tuple[list[int], list[int], NDArray[np.int64]]:
    """Return actor and network of each state, and each row's state."""
    kept, index = renumbering(actor.astype(np.int64) * networks + network, actors * networks)
    return (kept // networks).tolist(), (kept % networks).tolist(), index


def _count(state: TaskState, outcome: str, network: NDArray[np.uint8]) -> None:
    for code, rows in enumerate(np.bincount(network, minlength=len(state.networks)).tolist()):
        state.counters[state.networks[code]][outcome] += rows
