"""The targets stage on a batch: fold credits into the users' decayed sums, and say whose score changed."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from schemas.packed import CREDITS, Record
from scorer.actors import Grants
from scorer.compiled import Ints, Records
from scorer.model import Parameters
from scorer.target_state import decode_targets, encode_targets
from scorer.targets import NO_CLOCK, Published, Scored, advance_clocks, fold_targets, publish, score_targets
from streams.packing import distinct, joined, renumbered
from streams.stages.lookup import network_codes, require_kind
from streams.store import Row
from streams.task_state import TaskState


class Users(NamedTuple):
    """The users of a batch at one moment: heads[n], entries[n, networks], and the clocks in ms, one a network."""

    heads: Records
    entries: Records
    clocks: Ints


class TargetsOutcome(NamedTuple):
    """What a batch of credits proposes."""

    users: list[bytes]
    before: Users
    after: Users
    user: Ints
    """Each row's user."""
    network: Ints
    """Each row's network, as the partition's code."""
    time: Ints
    arrival: Ints
    grants: Grants
    scored: Scored
    published: Published
    rows: list[Row]
    """The users' new rows."""


def fold(
    records: Sequence[Record],
    state: TaskState,
    *,
    read: Callable[[list[bytes]], list[bytes | None]],
    parameters: Parameters,
) -> TargetsOutcome:
    """Fold credits in the order of the lane; count them and move the clocks in `state`.

    `read` gives the stored rows of users. Raise `CloutError` for a kind of record that this stage does not fold.
    """
    require_kind(records, CREDITS)
    network = network_codes(records, state).astype(np.int64)
    users, numbers = distinct([record.targets for record in records])
    user = renumbered(records, "target", numbers).astype(np.int64)
    time = joined(records, "time")
    grants = Grants(joined(records, "reach"), joined(records, "amplification"), joined(records, "influence"))

    heads, entries = decode_targets(read(users), len(state.networks))
    clocks = np.array([state.clocks.get(name, NO_CLOCK) for name in state.networks], np.int64)
    before = Users(heads.copy(), entries.copy(), clocks)
    clocks = advance_clocks(clocks, network, time)
    fold_targets(entries, users=user, networks=network, times=time, grants=grants, parameters=parameters)
    scored = score_targets(heads, entries, clocks, parameters)
    published = publish(heads, entries, scored)

    for code, rows in enumerate(np.bincount(network, minlength=len(state.networks)).tolist()):
        state.counters[state.networks[code]]["applied"] += rows
    state.clocks |= {name: int(clocks[code]) for code, name in enumerate(state.networks) if clocks[code] != NO_CLOCK}
    return TargetsOutcome(
        users,
        before,
        Users(heads, entries, clocks),
        user,
        network,
        time,
        joined(records, "arrival"),
        grants,
        scored,
        published,
        list(zip(users, encode_targets(heads, entries), strict=True)),
    )
