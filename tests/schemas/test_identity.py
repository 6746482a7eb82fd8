import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from schemas.identity import event_hashes
from schemas.users import user_hash, user_hashes

texts = st.text(min_size=1, max_size=40)


def hashes_of(ids: list[str]) -> NDArray[np.uint64]:
    return user_hashes([id_.encode() for id_ in ids])


def of(network: str, actor: str, event: str) -> int:
    return int(event_hashes(network, np.array([user_hash(actor.encode())], np.uint64), hashes_of([event]))[0])


@given(texts, st.lists(st.tuples(texts, texts), min_size=1, max_size=20))
def test_the_hash_of_an_event_does_not_depend_on_its_batch(network: str, events: list[tuple[str, str]]) -> None:
    actors = np.array([user_hash(actor.encode()) for actor, _ in events], np.uint64)
    together = event_hashes(network, actors, hashes_of([event for _, event in events]))
    assert together.tolist() == [of(network, actor, event) for actor, event in events]


@given(st.tuples(texts, texts, texts), st.tuples(texts, texts, texts))
def test_events_that_differ_in_network_actor_or_id_have_different_hashes(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    assert (of(*one) == of(*other)) == (one == other)


def test_moving_a_character_from_one_part_to_the_next_changes_the_hash() -> None:
    assert len({of("ab", "c", "d"), of("a", "bc", "d"), of("a", "b", "cd")}) == 3


def test_the_hash_is_the_same_in_every_release() -> None:
    assert hex(of("twitter", "twitter:1", "17")) == "0xf3090cc10b087b75"


def test_many_events_of_one_actor_collide_no_more_than_chance() -> None:
    actors = np.full(200_000, user_hash(b"twitter:1"), np.uint64)
    hashes = event_hashes("twitter", actors, hashes_of([str(number) for number in range(200_000)]))
    assert len(np.unique(hashes)) == 200_000
    assert len(np.unique(hashes >> np.uint64(32))) > 199_980
