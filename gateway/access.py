"""Who may ask what, and about whom: keys and users as `access.v1` has them, kept in memory.

Everything that answers about a user, or names one, asks `Access.visible`: there is no second place that decides.
"""

import hmac
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Message

from gateway.problems import ProblemError
from schemas.access import AccessKey, AccessUser, Scope, decode_access, read_key, secret_hash
from schemas.change import ScoreChange
from streams.masking import change_without
from streams.settings import VisibilitySettings

CHALLENGE: Final[Mapping[str, str]] = {"WWW-Authenticate": 'Bearer realm="clout"'}
_SCHEME: Final = "bearer "
_NOBODY: Final = "0" * 64
"""Compared with where there is no such key, so that its absence takes as long as a wrong secret."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever asks."""

    key: str
    """Id of the key; empty for one without."""
    scopes: frozenset[Scope]
    may_see_private: bool = False
    rate_per_second: int = 0
    """Requests a second that it may make; 0 where nobody counts."""


class Access:
    """Keys and users; one thread brings news, any may ask."""

    def __init__(self, settings: VisibilitySettings, anonymous_scopes: Collection[Scope] = ()) -> None:
        """Begin with nothing told: no key is known, and who is private neither."""
        self._claimed_only = settings.default == "claimed"
        self.anonymous = Caller("", frozenset(anonymous_scopes))
        self.users: dict[str, AccessUser] = {}
        self._callers: dict[str, tuple[str, Caller]] = {}
        """The hash and the caller of each key that holds, by its id."""
        self.is_told: Callable[[], bool] = lambda: True
        """Says whether all keys and users were read."""
        self.missing: Callable[[], str | None] = lambda: None
        """Says what is still missing before questions can be answered; None when nothing is."""

    def on_record(self, message: Message) -> None:
        """Take a record of `access.v1`."""
        key, value = message.key() or b"", message.value()
        if value is None:
            kind, _, identity = key.decode(errors="replace").partition(":")
            (self._callers if kind == "key" else self.users).pop(identity, None)
            return
        record = decode_access(key, value)
        if isinstance(record, AccessUser):
            self.users[record.user] = record
        elif record.revoked is not None:
            self._callers.pop(record.id, None)
        else:
            self._callers[record.id] = (record.hash, caller_with(record))

    def caller(self, authorization: str) -> Caller:
        """Return who sends this header, empty where there is none; raise `ProblemError` for a key that does not hold.

        A wrong key is told so even where none is needed: who sends one means to be somebody.
        """
        if not authorization:
            return self.anonymous
        scheme, text = authorization[: len(_SCHEME)], authorization[len(_SCHEME) :]
        parts = read_key(text.strip()) if scheme.lower() == _SCHEME else None
        if parts is None:
            raise ProblemError(
                "unauthorized", "Authorization holds no API key", "send it as `Authorization: Bearer KEY`", CHALLENGE
            )
        kept, caller = self._callers.get(parts[0], (_NOBODY, self.anonymous))
        if not hmac.compare_digest(secret_hash(*parts), kept):
            raise ProblemError(
                "unauthorized",
                "this API key is unknown, or was revoked",
                "an operator makes one with `clout key create`",
                CHALLENGE,
            )
        return caller

    def holds(self, caller: Caller) -> bool:
        """Return whether a caller's key still holds, with what it may: long answers ask now and then."""
        return caller == (self._callers[caller.key][1] if caller.key in self._callers else self.anonymous)

    def visible(self, user: str, caller: Caller) -> bool:
        """Return whether a caller is told of a user; for anyone else the user is unknown."""
        known = self.users.get(user)
        if known is None:
            return not self._claimed_only
        return caller.may_see_private or not known.private

    def masked(self, change: ScoreChange, caller: Caller) -> ScoreChange:
        """Return a change as a caller may read it: among its reasons, who is not visible has no name."""
        return change_without(change, lambda actor: not self.visible(actor, caller))


def caller_with(key: AccessKey) -> Caller:
    """Return who holds a key."""
    return Caller(key.id, frozenset(key.scopes), key.may_see_private, key.rate_per_second)
