import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.feed_report import REGISTERS
from schemas.users import user_hashes
from streams.sketches import Registers, _take_in, estimate, merged, sketches, take_in

HASHES = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50).map(lambda found: np.array(found, np.uint64))
DEVIATION = 1.04 / REGISTERS**0.5


def sketch_of(hashes: np.ndarray) -> Registers:
    found = sketches(1)
    take_in(found, np.zeros(len(hashes), np.int64), np.arange(len(hashes)), hashes)
    sketch: Registers = found[0]
    return sketch


@given(HASHES)
def test_a_register_holds_the_longest_run_of_zeros_and_the_one_behind_it(hashes: np.ndarray) -> None:
    expected = [0] * REGISTERS
    for value in hashes.tolist():
        rest = f"{value:064b}"[8:]
        register = value >> 56
        expected[register] = max(expected[register], len(rest) - len(rest.lstrip("0")) + 1)
    assert sketch_of(hashes).tolist() == expected


@given(HASHES, HASHES)
def test_the_sketch_of_both_is_the_larger_of_each_register_and_repeats_change_nothing(
    one: np.ndarray, other: np.ndarray
) -> None:
    both = sketch_of(np.concatenate([one, other, one]))
    assert both.tolist() == merged(sketch_of(one), sketch_of(other)).tolist()


@given(HASHES)
def test_the_kernel_does_what_its_plain_python_says(hashes: np.ndarray) -> None:
    found, group = sketches(2), np.arange(len(hashes)) % 2
    _take_in.py_func(found, group, np.arange(len(hashes), dtype=np.uint32), hashes)
    expected = sketches(2)
    take_in(expected, group, np.arange(len(hashes)), hashes)
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("users", [1, 10, 100, 400, 640, 1_000, 2_000, 20_000])
def test_estimates_are_as_near_as_the_paper_says_and_lean_to_neither_side(users: int) -> None:
    errors = [
        estimate(sketch_of(np.random.default_rng(seed).integers(0, 2**64, users, np.uint64))) / users - 1
        for seed in range(200)
    ]
    assert np.std(errors) < 1.25 * DEVIATION
    assert abs(np.mean(errors)) < DEVIATION / 2


def test_ids_as_they_come_are_as_good_as_random_ones() -> None:
    errors = [
        estimate(sketch_of(user_hashes([f"twitter:{first + n}".encode() for n in range(5_000)]))) / 5_000 - 1
        for first in range(0, 500_000, 10_000)
    ]
    assert np.std(errors) < 1.25 * DEVIATION
