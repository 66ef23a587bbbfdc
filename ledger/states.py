"""The states of a request, and the kinds of decisions that move it from one to the next.

The life of a request, one step a line:

    pending → approving             a reviewer approves it
    approving → approved            Conveyor confirmed the approval
    pending → rejecting             a reviewer rejects it
    rejecting → rejected            Conveyor confirmed the rejection
    approved → revoking             a reviewer takes the access back
    revoking → revoked              Conveyor confirmed the revocation, or had revoked the access before
    approved → changing             a reviewer changes the access groups
    changing → approved             Conveyor confirmed the groups, or they are given back as they were
    changing → revoked              somebody revoked the access in Conveyor before the groups were changed
    rejected → approving after all  a reviewer approves it all the same
    approving after all → approved  Conveyor confirmed the approval
    approving after all → rejected  given back: rejected as it was
    approving → pending             given back: Conveyor refused, or certainly never heard of the approval
    rejecting → pending             given back, in the same way
    revoking → approved             given back: the customer still has access
    approved → revoked              somebody revoked it in Conveyor while the NDA was not signed yet
    pending → approved elsewhere    somebody approved it in Conveyor (also while a decision is carried out)
    approving after all → approved elsewhere  the same, before the approval got there
    pending → ignored elsewhere     somebody ignored it in Conveyor
    pending → gone                  Conveyor does not have it anymore

Whatever is settled becomes `pending` again, in a new round with a new card, when the customer asks again, and
becomes `closed` when it is so old that the customer's words are removed.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class State(StrEnum):
    """Where a request stands. The values are kept in the ledger and in the metadata of cards."""

    PENDING = "pending"
    APPROVING = "approving"
    APPROVED = "approved"
    REJECTING = "rejecting"
    REJECTED = "rejected"
    REVOKING = "revoking"
    REVOKED = "revoked"
    CHANGING = "changing"
    APPROVING_AFTER_ALL = "approving after all"
    APPROVED_ELSEWHERE = "approved elsewhere"
    IGNORED_ELSEWHERE = "ignored elsewhere"
    GONE = "gone"
    # Decided, but only its card knows how: the ledger was lost, or the customer's words were removed.
    CLOSED = "closed"
    # Not a request: the message that requests are not arriving. As a row it gets what a card gets: it is
    # posted once, found again after a crash, and kept up to date.
    OUTAGE = "outage"
    OUTAGE_OVER = "outage over"
    # Not a request either: the weekly message with numbers, which is posted once and then stays as it is.
    NUMBERS = "numbers"


@dataclass(frozen=True)
class Decision:
    """One kind of decision.

    `wanted` is the status in Conveyor that it leads to, of the request or, for a revocation, of the access; a
    change of groups leads to none. `by` is the column prefix and the field of the row that hold who made it.
    `notes` is how the kinds of its notes begin.
    """

    comes_from: State
    runs_as: State
    ends_as: State
    wanted: str
    by: Literal["reviewer", "revoker", "changer"]
    notes: str = ""


APPROVE = Decision(State.PENDING, State.APPROVING, State.APPROVED, "approved", "reviewer")
REJECT = Decision(State.PENDING, State.REJECTING, State.REJECTED, "ignored", "reviewer")
REVOKE = Decision(State.APPROVED, State.REVOKING, State.REVOKED, "revoked", "revoker", "revoke ")
CHANGE = Decision(State.APPROVED, State.CHANGING, State.APPROVED, "", "changer", "change ")
AFTER_ALL = Decision(
    State.REJECTED, State.APPROVING_AFTER_ALL, State.APPROVED, "approved", "changer", "after all "
)
DECISIONS = (APPROVE, REJECT, REVOKE, CHANGE, AFTER_ALL)

# Conveyor's status of a request that was closed there, and the state that it leads to here.
ELSEWHERE = {"approved": State.APPROVED_ELSEWHERE, "ignored": State.IGNORED_ELSEWHERE}

RUNNING = {decision.runs_as: decision for decision in DECISIONS}
IN_FLIGHT = tuple(RUNNING)
OPEN = (State.PENDING, *IN_FLIGHT)
LET_IN = (State.APPROVED, State.APPROVED_ELSEWHERE)
# Nobody has decided it yet, so people may ask to be told how it ends.
UNDECIDED = (State.PENDING, State.APPROVING, State.REJECTING)
SETTLED = (*(decision.ends_as for decision in DECISIONS), *ELSEWHERE.values(), State.GONE, State.CLOSED)
