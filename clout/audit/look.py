"""All users of a partition as of one moment, as columns."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import numpy.typing as npt

from clout.audit.formulas import left_after
from schemas.look import LookHead, LookPiece, decode_look
from schemas.users import canaries_among
from scorer.arrays import Floats, Ints, Records
from scorer.model import Model
from scorer.target_state import ENTRY, HEAD, decode_targets
from scorer.timers import NO_CLOCK, clock_column

SUMS = ("reach", "amplification", "network")


@dataclass(frozen=True)
class Look:
    """The users of a partition: n users in the order of their ids, m parts (a user on a network) in theirs."""

    head: LookHead
    users: list[bytes]
    heads: Records
    """HEAD[n]: what was last published."""
    entries: Records
    """ENTRY[m] of each part."""
    user: Ints
    """[m] whose part it is."""
    code: Ints
    """[m] on which network."""
    told: npt.NDArray[np.uint16]
    """[n, 4]: what the worker says of score, reach, amplification and network as of the clocks, in tenths."""
    told_own: npt.NDArray[np.uint16]
    """[m]: the same of the part by itself."""

    @cached_property
    def clocks(self) -> Ints:
        """Each network's clock in ms, `NO_CLOCK` where there is none."""
        return clock_column(self.head.clocks_ms, self.head.networks)

    @cached_property
    def clock(self) -> Ints:
        """[m] the clock of each part's network."""
        return self.clocks[self.code]

    @cached_property
    def taken_at(self) -> Ints:
        """[m] when each part is taken: at the clock, or at the user's last event there if that is later."""
        at: Ints = np.maximum(self.clock, self.entries["time"])
        return at

    @cached_property
    def sums(self) -> Floats:
        """[m, 3] reach, amplification and network of each part, as they are stored."""
        return np.column_stack([self.entries[name] for name in SUMS]) if len(self.entries) else np.empty((0, 3))

    def part_sums(self, model: Model) -> Floats:
        """[m, 3] the same as of when each part is taken."""
        faded: Floats = self.sums * left_after(self.taken_at - self.entries["time"], model)[:, None]
        return faded

    def user_sums(self, part_sums: Floats) -> Floats:
        """[n, 3] the sums of each user over all networks."""
        totals = [np.bincount(self.user, weights=part, minlength=len(self.users)) for part in part_sums.T]
        return np.column_stack(totals)

    @cached_property
    def is_canary(self) -> npt.NDArray[np.bool_]:
        """[n] which are synthetic accounts: all laws hold for them, but they count in no public figure."""
        found = np.zeros(len(self.users), np.bool_)
        found[canaries_among(self.users)] = True
        return found

    @cached_property
    def has_parts(self) -> npt.NDArray[np.bool_]:
        """[n] who has any."""
        return np.bincount(self.user, minlength=len(self.users)) > 0

    @cached_property
    def is_due(self) -> npt.NDArray[np.bool_]:
        """[n] whose time has come by the clocks: what was published of them need not be what the sums say."""
        due = (self.entries["due"] <= self.clock) & (self.clock != NO_CLOCK)
        return np.bincount(self.user, weights=due, minlength=len(self.users)) > 0

    @cached_property
    def published(self) -> Ints:
        """[n, 4] score, reach, amplification and network as last published, in tenths; 0 where there is none."""
        names = ("score_tenths", "reach_tenths", "amplification_tenths", "network_tenths")
        return np.column_stack([self.heads[name] for name in names]).astype(np.int64)


def read_look(chunks: Iterable[bytes]) -> Look:
    """Read a worker's answer; raise `LookError` or `StateFormatError`, both `ValueError`s, where it is none."""
    frames: Iterator[LookHead | LookPiece] = decode_look(chunks)
    head = cast("LookHead", next(frames))
    networks = len(head.networks)
    users: list[bytes] = []
    heads, entries = [np.empty(0, HEAD)], [np.empty(0, ENTRY)]
    user, code = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    told, told_own = [np.empty((0, 4), np.uint16)], [np.empty(0, np.uint16)]
    for piece in cast("Iterator[LookPiece]", frames):
        theirs, dense, _ = decode_targets(piece.rows, networks)
        at, codes = np.nonzero(dense["events"])
        tenths = np.frombuffer(piece.tenths, "<u2").reshape(len(piece.users), 4 + networks)
        heads.append(theirs)
        entries.append(dense[at, codes])
        user.append(at + len(users))
        code.append(codes.astype(np.int64))
        told.append(tenths[:, :4])
        told_own.append(tenths[:, 4:][at, codes])
        users += piece.users
    return Look(
        head=head,
        users=users,
        heads=np.concatenate(heads),
        entries=np.concatenate(entries),
        user=np.concatenate(user),
        code=np.concatenate(code),
        told=np.concatenate(told),
        told_own=np.concatenate(told_own),
    )
