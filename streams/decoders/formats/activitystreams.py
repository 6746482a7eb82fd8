"""ActivityStreams 2.0 activities inside CloudEvents 1.0, binary or structured.

| activity                    | becomes    | towards                                                        |
|-----------------------------|------------|----------------------------------------------------------------|
| Announce                    | share      | the author of the object                                       |
| Like                        | reaction   | the author of the object                                       |
| Create with `inReplyTo`     | reply      | the author of what is answered                                 |
| Create with `Mention` tags  | mention    | each person mentioned, except the one who is answered          |
| Follow                      | follow     | the object                                                     |
| Undo                        | retract    | takes back the activity that is its object                     |
| Delete                      | retract    | takes back what the Create of its object made                  |
| none, type `clout.heartbeat.v1` | heartbeat | the collector `ce_source` has reported everything up to `ce_time` |

Users are the IRIs of actors. The id of an interaction is the id of its *activity*, not of the CloudEvent, because an
Undo names the activity; but what a Create makes has the id of the *created object*, if that has one, because a Delete
names the object. Where one activity makes several interactions, the first has that id and the others `id#1`, `id#2` …
in the order reply, then mentions as tagged. The time is the activity's `published`, else the CloudEvent's `time`. The
source is the CloudEvent's `source`.

A Delete, and an Undo of a Create, takes back as many ids as the embedded object tells that there were. Where the
object is only an IRI or a Tombstone that cannot be told, and all `RECIPIENTS_MAX` ids that there can be are taken
back; those that never were are counted as unmatched. To take back a Create by an Undo it must be embedded. Only the
author can delete, and an author who is deleted is no interaction.

Who the author is: `attributedTo` of an embedded object. Where the object is only an IRI:

- of an Announce or a Like: the one addressee left in `to`, or if none is left there in `cc`, after taking away the
  public, the actor, and collections under the actor's IRI (followers);
- of a reply: the person, out of those mentioned and the actor, under whose IRI the answered object lies, else the
  only one mentioned.

Where that does not name exactly one person, the activity is rejected as not understood; nothing is guessed or fetched.
An activity is understood as a whole or not at all. Quotes have no settled form in ActivityStreams and are not read.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from schemas.interaction import Interaction, Kind
from schemas.limits import RECIPIENTS_MAX
from streams.decoders.batch import WHOLE, Batch, Headers, RejectedError
from streams.decoders.cloudevents import CloudEvent, Json, read

NEEDS_HEADERS: Final = True

HEARTBEAT_TYPE: Final = "clout.heartbeat.v1"
"""CloudEvents type with which a collector says that it is alive; the event needs a `time` and no data."""

_PUBLIC: Final = frozenset({"https://www.w3.org/ns/activitystreams#Public", "as:Public", "Public"})

Act = tuple[Kind, str, str | None]
"""What was done, towards whom, to what."""


def decode(values: Sequence[bytes], headers: Sequence[Headers] | None = None) -> Batch:
    """Read records of CloudEvents with activities; a bad record, or a bad element of a batch, is set aside alone.

    >>> envelope = [("ce_specversion", b"1.0"), ("ce_id", b"7"), ("ce_source", b"/collector"), ("ce_type", b"Follow"),
    ...             ("ce_time", b"2012-07-01T00:00:00Z")]
    >>> follow = b'{"id": "https://a/1", "type": "Follow", "actor": "https://a/ann", "object": "https://b/bob"}'
    >>> event, = decode([follow], [envelope]).events
    >>> event.kind, event.actor, event.target
    ('follow', 'https://a/ann', 'https://b/bob')
    """
    batch = Batch()
    places: list[tuple[int, int]] = []
    for record, value in enumerate(values):
        try:
            found = read(value, headers[record] if headers else None)
        except RejectedError as error:
            batch.reject(record, WHOLE, error)
            continue
        for index, event in found:
            if isinstance(event, RejectedError):
                batch.reject(record, index, event)
                continue
            try:
                interactions = _interactions(event)
            except RejectedError as error:
                batch.reject(record, index, error)
            else:
                batch.events.extend(interactions)
                places.extend([(record, index)] * len(interactions))
    if places:
        batch.came_from(*zip(*places, strict=True))
    return batch


def _interactions(event: CloudEvent) -> list[Interaction]:
    if event.type == HEARTBEAT_TYPE:
        return [Interaction(kind="heartbeat", time=_time(event, {}), source=event.source)]
    activity = event.data
    if activity is None:
        raise RejectedError("missing_field", "the CloudEvent has no data")
    time, actor = _time(event, activity), _only(activity, "actor")
    taken_back = _TAKE_BACK.get(_type(activity))
    if taken_back is not None:
        return [
            Interaction(kind="retract", time=time, id=id_, actor=actor, source=event.source)
            for id_ in taken_back(activity, actor)
        ]
    acts = _acts(activity, actor)
    ids = _ids(activity, len(acts))
    return [
        Interaction(kind=kind, time=time, id=id_, actor=actor, target=target, object=object_, source=event.source)
        for id_, (kind, target, object_) in zip(ids, acts, strict=True)
    ]


def _acts(activity: Json, actor: str) -> list[Act]:
    kind = _type(activity)
    if kind not in _ACTS:
        raise RejectedError("not_understood", f"an activity of type {kind[:40]!r} is no interaction")
    return _ACTS[kind](activity, actor)


def _share(activity: Json, actor: str) -> list[Act]:
    return [("share", _author(activity, actor), _only(activity, "object"))]


def _reaction(activity: Json, actor: str) -> list[Act]:
    return [("reaction", _author(activity, actor), _only(activity, "object"))]


def _follow(activity: Json, actor: str) -> list[Act]:  # noqa: ARG001
    return [("follow", _only(activity, "object"), None)]


def _create(activity: Json, actor: str) -> list[Act]:
    created = activity.get("object")
    if not isinstance(created, dict):
        raise RejectedError("not_understood", "what was created is not embedded, so that nobody can be credited")
    mentioned = _iris([tag for tag in _many(created.get("tag")) if isinstance(tag, dict) and _type(tag) == "Mention"])
    acts: list[Act] = []
    if created.get("inReplyTo"):
        answered = _answered(created["inReplyTo"], mentioned, actor)
        acts.append(("reply", answered, _only(created, "inReplyTo")))
        mentioned = [person for person in mentioned if person != answered]
    own = _iris(created)
    acts += [("mention", person, own[0] if own else None) for person in mentioned]
    if not acts:
        raise RejectedError("not_understood", "a Create without inReplyTo or Mention is no interaction")
    if len(acts) > RECIPIENTS_MAX:
        raise RejectedError("too_many_events", f"{len(acts)} people answered or mentioned, at most {RECIPIENTS_MAX}")
    return acts


_ACTS: Final[dict[str, Callable[[Json, str], list[Act]]]] = {
    "Announce": _share,
    "Like": _reaction,
    "Follow": _follow,
    "Create": _create,
}


def _undone(activity: Json, actor: str) -> list[str]:
    """Ids of the interactions that an Undo takes back."""
    inner = _only_value(activity, "object")
    if not isinstance(inner, dict):
        return [_only(activity, "object")]
    if inner.get("actor") is not None and _only(inner, "actor") != actor:
        raise RejectedError("not_understood", "an Undo of what someone else did")
    # All others make one interaction, and are often embedded without what is needed to say which.
    return _ids(inner, len(_create(inner, actor)) if _type(inner) == "Create" else 1)


def _deleted(activity: Json, actor: str) -> list[str]:
    """Ids of the interactions that a Delete takes back."""
    inner = _only_value(activity, "object")
    deleted = _only(activity, "object")
    if deleted == actor:
        raise RejectedError("not_understood", "a Delete of an actor is no interaction")
    if not isinstance(inner, dict):
        return _numbered(deleted, RECIPIENTS_MAX)
    if inner.get("attributedTo") and _only(inner, "attributedTo") != actor:
        raise RejectedError("not_understood", "a Delete of what someone else created")
    told = inner.get("inReplyTo") or inner.get("tag")
    return _numbered(deleted, len(_create({"object": inner}, actor)) if told else RECIPIENTS_MAX)


_TAKE_BACK: Final[dict[str, Callable[[Json, str], list[str]]]] = {"Undo": _undone, "Delete": _deleted}


def _ids(activity: Json, count: int) -> list[str]:
    created = activity.get("object") if _type(activity) == "Create" else None
    named = _iris({"id": created.get("id")}) if isinstance(created, dict) else []
    return _numbered(named[0] if named else _only({"id": activity.get("id")}, "id"), count)


def _numbered(first: str, count: int) -> list[str]:
    return [first, *(f"{first}#{number}" for number in range(1, count))]


def _time(event: CloudEvent, activity: Json) -> str:
    time = activity.get("published") or event.time
    if not time:
        raise RejectedError("missing_field", "neither the activity nor the CloudEvent says when")
    if not isinstance(time, str):
        raise RejectedError("wrong_type", "`published` is not text")
    return time


def _author(activity: Json, actor: str) -> str:
    shared = _only_value(activity, "object")
    if isinstance(shared, dict) and shared.get("attributedTo"):
        return _only(shared, "attributedTo")
    for field in ("to", "cc"):
        people = [
            person
            for person in _iris(activity.get(field))
            if person not in _PUBLIC and person != actor and not person.startswith(f"{actor}/")
        ]
        if len(people) == 1:
            return people[0]
        if people:
            break
    raise RejectedError("not_understood", "whose object it is cannot be told: give its `attributedTo`")


def _answered(parent: Any, mentioned: list[str], actor: str) -> str:
    if isinstance(parent, dict) and parent.get("attributedTo"):
        return _only(parent, "attributedTo")
    iri = _only({"inReplyTo": parent}, "inReplyTo")
    above = [person for person in (*mentioned, actor) if iri.startswith(f"{person}/")]
    if above:
        return max(above, key=len)
    if len(mentioned) == 1:
        return mentioned[0]
    raise RejectedError("not_understood", "who is answered cannot be told: give the `attributedTo` of `inReplyTo`")


def _type(found: Json) -> str:
    types = [name for name in _many(found.get("type")) if isinstance(name, str)]
    return types[0] if types else ""


def _many(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _iris(value: Any) -> list[str]:
    """Return the IRIs of one or many objects, links or plain IRIs, in order and each once."""
    iris = [(one.get("href") or one.get("id")) if isinstance(one, dict) else one for one in _many(value)]
    return list(dict.fromkeys(iri for iri in iris if isinstance(iri, str) and iri))


def _only(found: Json, name: str) -> str:
    """Return the one IRI in a field."""
    value = found.get(name)
    if value and isinstance(value, str):
        return value  # By far the most common form.
    iris = _iris(_only_value(found, name))
    if not iris:
        raise RejectedError("missing_field", f"`{name}` has no id")
    return iris[0]


def _only_value(found: Json, name: str) -> Any:
    values = _many(found.get(name))
    if not values:
        raise RejectedError("missing_field", f"`{name}` is absent")
    if len(values) > 1:
        raise RejectedError("not_understood", f"more than one `{name}`")
    return values[0]
