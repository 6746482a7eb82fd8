"""The kinds of interaction and the numbers that stand for them in packed records.

A kind's code is its place in `KINDS`; codes are on the wire, so the order is never changed, only extended.
"""

from typing import Final

KINDS: Final = ("share", "quote", "reply", "mention", "follow", "reaction")
"""Kinds that credit the target, in the order of their codes."""

RETRACT: Final = "retract"
HEARTBEAT: Final = "heartbeat"

KIND_CODES: Final = {kind: code for code, kind in enumerate(KINDS)}
