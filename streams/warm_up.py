"""Load every kernel before the first record comes, so that it does not wait for seconds."""

import numpy as np

from schemas.packed import COLUMNS, INTERACTIONS, Record, decode
from scorer.model import Model
from scorer.target_state import published_scores
from streams.packing import cut, groups_of
from streams.publish import changes
from streams.stages import actors, targets
from streams.task_state import TaskState


def load_kernels(model: Model) -> None:
    """Send one interaction through both stages, in memory."""
    columns = {name: np.zeros(1, kind) for name, kind in COLUMNS[INTERACTIONS].items()}
    columns["actor_account"] = columns["target_account"] = np.empty(0, np.uint16)
    record = Record(INTERACTIONS, 1, ["network"], [""], [b"actor"], [b"target"], columns)
    state = TaskState(model=model.name, model_hash=model.parameters_hash)
    credited = actors.fold(
        [record],
        state,
        read_states=lambda keys: [None] * len(keys),
        read_scores=lambda users: published_scores([None] * len(users)),
        parameters=model.parameters,
        partitions=1,
    )
    ((_, value),) = cut(credited.credits, groups_of(credited.partitions, 1), 1)
    outcome = targets.fold([decode(value)], state, read=lambda users: [None] * len(users), parameters=model.parameters)
    changes(outcome.published, outcome.users, state.networks, cause="interaction", model=model.name, source=b"")
