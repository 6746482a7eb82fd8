"""The model's parameters."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from schemas.kinds import KINDS
from schemas.users import partition_of
from scorer.model import Model, Weights

OTHERS = {
    "half_life_days": 29.0,
    "rate_half_life_days": 2.0,
    "rate_reference": 21.0,
    "alpha": 0.3,
    "influence_floor": 0.2,
    "score_scale": 1e5,
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_parameter_is_in_the_hash(name: str) -> None:
    assert replace(Model(), **{name: OTHERS[name]}).parameters_hash != Model().parameters_hash  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_is_in_the_hash(kind: str) -> None:
    assert Model(weights=Weights(**{kind: 0.1})).parameters_hash != Model().parameters_hash


def test_the_hash_of_model_1_is_the_one_that_states_are_stored_with() -> None:
    assert Model().parameters_hash == "2c554d285eafda89"


def test_whole_numbers_hash_as_the_floats_that_they_are() -> None:
    assert Model(half_life_days=30).parameters_hash == Model(half_life_days=30.0).parameters_hash


def test_weights_stand_by_the_codes_of_their_kinds() -> None:
    assert np.array_equal(Model().parameters.weights, [1.0, 1.0, 0.8, 0.6, 0.5, 0.3])


@pytest.mark.parametrize(
    "table",
    [
        {"half_life_days": 0},
        {"rate_half_life_days": -1},
        {"rate_reference": 0},
        {"alpha": 0},
        {"alpha": 1.1},
        {"influence_floor": 0},
        {"influence_floor": 1.1},
        {"score_scale": 0},
        {"score_scale": float("inf")},
        {"half_life_days": float("nan")},
        {"weights": {"share": 0}},
        {"name": ""},
    ],
)
def test_parameters_out_of_bounds_are_refused(table: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Model).validate_python(table)


def test_a_configured_table_makes_a_model() -> None:
    model = TypeAdapter(Model).validate_python({"name": "2", "alpha": 0.5, "weights": {"reaction": 0.1}})
    assert model == Model(name="2", alpha=0.5, weights=Weights(reaction=0.1))


def test_users_spread_evenly_over_partitions() -> None:
    counts = np.bincount([partition_of(b"twitter:%d" % number, 4) for number in range(4000)], minlength=4)
    assert counts.min() > 900
