"""Load every kernel before the first record comes, so that it does not wait for seconds.

`python -m streams.warm_up` compiles them for all processes to come (`make setup` does), which takes half a minute.
"""

from collections.abc import Iterable

import numpy as np

from schemas.interaction import Interaction, encode
from schemas.packed import COLUMNS, INTERACTIONS, Record, decode
from scorer.model import Model
from scorer.target_state import published_scores
from streams.audit import broken_laws
from streams.decoders import Decoder, decoder, decoder_names
from streams.forgotten import Forgotten
from streams.ingest_batch import Raw, prepare
from streams.ledger import Ledger, LedgerLimits, LedgerState
from streams.packing import cut, groups_of
from streams.publish import changes
from streams.reasons import reasons_of
from streams.stages import actors, targets
from streams.task_state import TaskState
from streams.volumes import volumes_of


def load_decoders(decoders: Iterable[Decoder]) -> None:
    """Let formats read one event and pack it."""
    event = encode(Interaction(kind="share", time=0, id="event", actor="actor", target="target"))
    nothing = np.zeros(1, np.int64)
    for format_ in decoders:
        prepared = prepare(Raw("", [event], [None], nothing, nothing, nothing), "network", format_, 1, 1)
        list(volumes_of(prepared.acts, ()))


def load_stages(model: Model) -> None:
    """Send one interaction through both stages and the ledger, in memory."""
    columns = {name: np.zeros(1, kind) for name, kind in COLUMNS[INTERACTIONS].items()}
    columns["actor_account"] = columns["target_account"] = np.empty(0, np.uint16)
    record = Record(INTERACTIONS, 1, ["network"], [""], [b"actor"], [b"target"], columns)
    state = TaskState(model=model.name, model_hash=model.parameters_hash)
    ledger, forgotten = Ledger(LedgerState(), [], lambda _: None), Forgotten(b"")
    credited = actors.fold(
        [record],
        state,
        read_states=lambda keys: [None] * len(keys),
        read_scores=lambda users: published_scores([None] * len(users)),
        parameters=model.parameters,
        partitions=1,
        ledger=ledger,
        forgotten=forgotten,
    )
    ledger.apply(ledger.enter(credited.entered, credited.newest_arrival, state.ledger, LedgerLimits(1, 1)))
    ((_, value),) = cut(credited.credits, groups_of(credited.credit_partitions, 1), 1)
    credit = decode(value)
    outcome = targets.fold(
        [credit],
        ["actors/0"],
        state,
        read=lambda users: [None] * len(users),
        parameters=model.parameters,
        forgotten=forgotten,
        clocks_before={},
    )
    broken_laws(outcome, [credit], before=state, after=state, tasks=1, parameters=model.parameters)
    causes = outcome.causes
    changes(
        outcome.published,
        outcome.users,
        state.networks,
        causes=causes,
        reasons=reasons_of(outcome, 1.0),
        model=model.name,
    )


if __name__ == "__main__":
    load_decoders(map(decoder, decoder_names()))
    load_stages(Model())
