import json
from typing import Any

import numpy as np
import pytest

from schemas.interaction import Interaction
from schemas.limits import RECIPIENTS_MAX
from streams.decoders.batch import WHOLE, Batch
from streams.decoders.formats.activitystreams import decode
from streams.decoders.reader import read
from tests.garbage import left_in_cycles

PUBLIC = "https://www.w3.org/ns/activitystreams#Public"
ANN, BOB, CAT, DAN = (f"https://social.example/users/{name}" for name in ("ann", "bob", "cat", "dan"))
NOTE = f"{BOB}/statuses/1"
POST = f"{ANN}/statuses/7"
ENVELOPE = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"delivery-9"),
    ("ce_source", b"/collectors/1"),
    ("ce_type", b"org.w3.activitystreams"),
    ("ce_time", b"2012-07-01T00:00:09Z"),
    ("content-type", b"application/activity+json"),
]


def decoded(activity: Any) -> Batch:
    return decode([json.dumps(activity).encode()], [ENVELOPE])


def by_ann(type_: str, **fields: Any) -> dict[str, Any]:
    return {"id": "https://social.example/1", "type": type_, "actor": ANN, **fields}


def acts(activity: Any) -> list[tuple[str, str, str, str | None]]:
    batch = decoded(activity)
    assert not batch.rejected
    return [(event.id, event.kind, event.target, event.object) for event in batch.events]


def reason(activity: Any) -> str:
    batch = decoded(activity)
    assert not batch.events
    (rejection,) = batch.rejected
    return rejection.reason


def create(**fields: Any) -> dict[str, Any]:
    return by_ann("Create", object={"id": POST, "type": "Note", **fields})


def mention(*people: str) -> list[dict[str, str]]:
    return [{"type": "Mention", "href": person} for person in people]


def test_what_is_set_aside_leaves_nothing_that_only_the_collector_of_cycles_frees() -> None:
    """It would keep the whole batch."""
    batched = [*ENVELOPE[:-1], ("content-type", b"application/cloudevents-batch+json")]
    records = [(b"{", ENVELOPE), (b'{"type": "Like"}', ENVELOPE), (b'[7, {"specversion": 1}]', batched)]
    values, headers = zip(*records, strict=True)
    assert len(decode(values, headers).rejected) == 4
    assert left_in_cycles(lambda: decode(values, headers)) == {}


def test_everything_about_an_activity_is_taken_over() -> None:
    announce = by_ann("Announce", object={"id": NOTE, "attributedTo": BOB}, published="2012-07-01T00:00:01Z")
    assert decoded(announce).events == [
        Interaction(
            kind="share",
            time="2012-07-01T00:00:01Z",
            id="https://social.example/1",
            actor=ANN,
            target=BOB,
            object=NOTE,
            source="/collectors/1",
        )
    ]


def test_an_activity_that_says_no_time_has_that_of_its_envelope() -> None:
    (event,) = decoded(by_ann("Follow", object=BOB)).events
    assert event.time == "2012-07-01T00:00:09Z"


def test_without_any_time_it_is_rejected() -> None:
    envelope = [header for header in ENVELOPE if header[0] != "ce_time"]
    batch = decode([json.dumps(by_ann("Follow", object=BOB)).encode()], [envelope])
    assert [bad.reason for bad in batch.rejected] == ["missing_field"]


@pytest.mark.parametrize("actor", [ANN, {"id": ANN, "type": "Person"}, [ANN], [{"id": ANN}]])
def test_an_actor_may_be_an_iri_or_an_object(actor: Any) -> None:
    (event,) = decoded(by_ann("Follow", object=BOB) | {"actor": actor}).events
    assert event.actor == ANN


def test_a_type_may_be_one_of_several() -> None:
    assert acts(by_ann("Follow", object=BOB) | {"type": ["Follow", "Extension"]})[0][1] == "follow"


@pytest.mark.parametrize(("type_", "kind"), [("Announce", "share"), ("Like", "reaction")])
@pytest.mark.parametrize(
    "fields",
    [
        {"object": {"id": NOTE, "attributedTo": BOB}},
        {"object": {"id": NOTE, "attributedTo": {"id": BOB}}, "to": CAT},
        {"object": NOTE, "to": BOB},
        {"object": NOTE, "to": [BOB, PUBLIC]},
        {"object": NOTE, "to": [PUBLIC], "cc": [BOB, f"{ANN}/followers"]},
        {"object": NOTE, "to": ["as:Public", ANN], "cc": {"id": BOB}},
        {"object": {"id": NOTE}, "to": [BOB], "cc": [CAT, DAN]},
    ],
)
def test_shares_and_reactions_credit_the_author(type_: str, kind: str, fields: dict[str, Any]) -> None:
    assert acts(by_ann(type_, **fields)) == [("https://social.example/1", kind, BOB, NOTE)]


@pytest.mark.parametrize("type_", ["Announce", "Like"])
@pytest.mark.parametrize(
    "fields",
    [
        {"object": NOTE},
        {"object": NOTE, "to": [PUBLIC], "cc": [f"{ANN}/followers"]},
        {"object": NOTE, "to": [BOB, CAT]},
        {"object": NOTE, "to": [CAT, DAN], "cc": [BOB]},
        {"object": {"id": NOTE, "attributedTo": [BOB, CAT]}},
        {"object": [NOTE, f"{BOB}/statuses/2"], "to": BOB},
    ],
)
def test_an_author_that_cannot_be_told_is_not_guessed(type_: str, fields: dict[str, Any]) -> None:
    assert reason(by_ann(type_, **fields)) == "not_understood"


def test_a_follow_credits_its_object() -> None:
    assert acts(by_ann("Follow", object={"id": BOB, "type": "Person"})) == [
        ("https://social.example/1", "follow", BOB, None)
    ]


@pytest.mark.parametrize(
    ("parent", "tags"),
    [
        ({"id": NOTE, "attributedTo": BOB}, []),
        (NOTE, mention(BOB)),
        ("https://elsewhere.example/@bob/1", mention(BOB)),
    ],
)
def test_a_reply_credits_the_author_of_what_is_answered(parent: Any, tags: list[Any]) -> None:
    iri = parent if isinstance(parent, str) else NOTE
    assert acts(create(inReplyTo=parent, tag=tags)) == [(POST, "reply", BOB, iri)]


def test_a_reply_that_mentions_others_credits_them_too_each_under_an_id_of_its_own() -> None:
    tags = [*mention(CAT, BOB), {"type": "Hashtag", "href": "https://x"}, *mention(DAN, CAT), "odd", None]
    assert acts(create(inReplyTo=NOTE, tag=tags)) == [
        (POST, "reply", BOB, NOTE),
        (f"{POST}#1", "mention", CAT, POST),
        (f"{POST}#2", "mention", DAN, POST),
    ]


def test_an_answer_to_oneself_is_still_a_reply_to_oneself() -> None:
    assert acts(create(inReplyTo=f"{ANN}/statuses/6", tag=mention(BOB)))[0][1:3] == ("reply", ANN)


def test_a_person_whose_name_begins_like_the_author_is_not_the_author() -> None:
    tags = mention(BOB, BOB[:-1])
    assert acts(create(inReplyTo=NOTE, tag=tags))[0][2] == BOB


@pytest.mark.parametrize("tags", [[], mention(BOB, CAT)])
def test_who_is_answered_is_not_guessed_and_the_mentions_are_not_taken_alone(tags: list[Any]) -> None:
    assert reason(create(inReplyTo="https://elsewhere.example/@bob/1", tag=tags)) == "not_understood"


def test_mentions_without_an_answer_credit_those_mentioned() -> None:
    assert [act[:3] for act in acts(create(tag=mention(BOB, CAT)))] == [
        (POST, "mention", BOB),
        (f"{POST}#1", "mention", CAT),
    ]


def test_a_single_tag_need_not_be_in_a_list() -> None:
    assert len(acts(create(tag=mention(BOB)[0]))) == 1


@pytest.mark.parametrize(
    "activity",
    [
        create(),
        by_ann("Create", object=NOTE, to=BOB),
        by_ann("Arrive"),
        {"id": "https://social.example/1", "actor": ANN},
    ],
)
def test_what_is_no_interaction_is_not_understood(activity: Any) -> None:
    assert reason(activity) == "not_understood"


@pytest.mark.parametrize("missing", ["id", "actor", "object"])
def test_what_every_activity_needs_must_be_there(missing: str) -> None:
    follow = by_ann("Follow", object=BOB)
    del follow[missing]
    assert reason(follow) == "missing_field"


def test_an_undo_takes_back_exactly_the_ids_that_the_activity_made() -> None:
    for activity in (
        by_ann("Follow", object=BOB),
        by_ann("Like", object={"id": NOTE, "attributedTo": BOB}),
        create(inReplyTo=NOTE, tag=mention(BOB, CAT, DAN)),
    ):
        undo = {"id": "https://social.example/2", "type": "Undo", "actor": ANN, "object": activity}
        taken_back = decoded(undo).events
        assert [event.id for event in taken_back] == [act[0] for act in acts(activity)]
        assert {(event.kind, event.actor) for event in taken_back} == {("retract", ANN)}


@pytest.mark.parametrize(
    "undone",
    ["https://social.example/1", {"id": "https://social.example/1"}, by_ann("Like", object=NOTE)],
)
def test_an_undo_needs_only_the_id_of_what_it_takes_back(undone: Any) -> None:
    (event,) = decoded({"type": "Undo", "actor": ANN, "object": undone}).events
    assert event.id == "https://social.example/1"


def test_nobody_can_undo_what_someone_else_did() -> None:
    assert reason({"type": "Undo", "actor": BOB, "object": by_ann("Like", object=NOTE)}) == "not_understood"


def test_as_many_people_can_be_mentioned_as_a_delete_takes_back() -> None:
    people = [f"https://social.example/{number}" for number in range(RECIPIENTS_MAX + 1)]
    assert len(acts(create(tag=mention(*people[:-1])))) == RECIPIENTS_MAX
    assert reason(create(tag=mention(*people))) == "too_many_events"


def test_what_has_no_id_of_its_own_is_named_by_the_activity_that_created_it() -> None:
    anonymous = by_ann("Create", object={"type": "Note", "tag": mention(BOB)})
    assert acts(anonymous)[0][0] == "https://social.example/1"


@pytest.mark.parametrize("tags", [mention(BOB), mention(BOB, CAT, DAN)])
def test_a_delete_of_an_embedded_object_takes_back_exactly_the_ids_that_its_create_made(tags: list[Any]) -> None:
    created = create(inReplyTo=NOTE, tag=tags)
    for author in ({}, {"attributedTo": ANN}):
        taken_back = decoded(by_ann("Delete", object=created["object"] | author)).events
        assert [event.id for event in taken_back] == [act[0] for act in acts(created)]
        assert {(event.kind, event.actor) for event in taken_back} == {("retract", ANN)}


@pytest.mark.parametrize("deleted", [POST, {"id": POST, "type": "Tombstone"}, {"id": POST, "type": "Note"}])
def test_a_delete_that_does_not_tell_how_many_there_were_takes_back_all_that_there_can_be(deleted: Any) -> None:
    people = [f"https://social.example/{number}" for number in range(RECIPIENTS_MAX)]
    taken_back = decoded(by_ann("Delete", object=deleted)).events
    assert [event.id for event in taken_back] == [act[0] for act in acts(create(tag=mention(*people)))]


def test_an_undo_that_embeds_a_create_takes_back_the_same_as_a_delete() -> None:
    created = create(inReplyTo=NOTE, tag=mention(BOB, CAT))
    undone = decoded({"id": "https://social.example/2", "type": "Undo", "actor": ANN, "object": created}).events
    assert [event.id for event in undone] == [POST, f"{POST}#1"]


def test_nobody_can_delete_what_someone_else_created() -> None:
    assert reason(by_ann("Delete", object={"id": NOTE, "attributedTo": BOB, "tag": mention(CAT)})) == "not_understood"


@pytest.mark.parametrize("deleted", [ANN, {"id": ANN, "type": "Person"}, {"id": ANN, "type": "Tombstone"}])
def test_a_delete_of_an_actor_is_no_interaction(deleted: Any) -> None:
    assert reason(by_ann("Delete", object=deleted)) == "not_understood"


def test_a_heartbeat_is_an_envelope_without_an_activity() -> None:
    envelope = [*ENVELOPE, ("ce_type", b"clout.heartbeat.v1")]
    assert decode([b""], [envelope]).events == [
        Interaction(kind="heartbeat", time="2012-07-01T00:00:09Z", source="/collectors/1")
    ]


def test_a_bad_time_is_found_with_the_columns() -> None:
    follow = json.dumps(by_ann("Follow", object=BOB, published="yesterday")).encode()
    columns = read(decode, [follow], [ENVELOPE], np.zeros(1, np.int64))
    assert [(bad.index, bad.reason) for bad in columns.rejected] == [(WHOLE, "time_invalid")]
