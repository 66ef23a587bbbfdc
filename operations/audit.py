"""Who let whom in: compares the decisions in the ledger with what Conveyor lists.

This module only reads, from the ledger and from Conveyor.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from math import inf
from typing import NamedTuple, TextIO

from sqlalchemy import func, select

import addresses
from conveyor_client import Authorization, ConveyorClient
from ledger.database import Database
from ledger.states import IN_FLIGHT, State
from ledger.tables import REQUESTS, TRAIL
from ledger.trail import first_start
from text import counted, printable

MAY_HAVE_ACCESS = {State.APPROVED, *IN_FLIGHT} - {State.REJECTING}


class Decided(NamedTuple):
    """A decision in the ledger. `expires_at` is the last day of access (YYYY-MM-DD), or empty.

    `at` is when it was made, and infinite where that is not known.
    """

    dataroom_id: str
    request_id: str
    state: str
    expires_at: str
    at: float


class Difference(NamedTuple):
    """How Conveyor and the ledger differ about an address, and whether that is from before the baseline."""

    address: str
    is_old: bool
    sentence: str


Decisions = defaultdict[str, list[Decided]]  # by address, which is folded (see addresses.py)
Grants = defaultdict[str, list[Authorization]]  # by the same


def reconcile(ledger: Database, conveyor: ConveyorClient, out: TextIO, since: float = 0.0) -> int:
    """Write how Conveyor and the ledger differ. Return the exit status: 1 if they differ, else 0.

    Access from before the app's first start is counted, but is not a difference. With `since`, neither is
    what was given and decided before then, unless Conveyor changed the access after that.
    """
    decided = _decided(ledger)
    with ledger.read() as db:
        baseline = since or first_start(db) or time.time()
    grants: Grants = defaultdict(list)
    for granted in conveyor.every_authorization():
        grants[addresses.folded(granted.email)].append(granted)
    ignored = {request.id for request in conveyor.ignored_requests()}
    differences = [
        *_given_elsewhere(decided, grants, baseline, since),
        *_not_carried_out(decided, grants, ignored, since),
    ]
    found = [each.sentence for each in differences if not each.is_old]
    earlier = {each.address for each in differences if each.is_old}
    for difference in found:
        out.write(printable(difference) + "\n")
    if earlier:
        day = f"{datetime.fromtimestamp(baseline, UTC):%Y-%m-%d}"
        who = counted(len(earlier), "customer")
        before = f"who had access before the app's first start on {day}"
        if since:
            before = f"whose access or decision is from before {day}"
        out.write(f"Not compared: {who} {before}.\n")
    out.write(f"{counted(len(found), 'difference')}.\n" if found else "Conveyor and the ledger agree.\n")
    return 1 if found else 0


def _given_elsewhere(
    decided: Decisions, grants: Grants, baseline: float, since: float
) -> Iterator[Difference]:
    """Yield the access in Conveyor that no decision here gave."""
    for address, theirs in grants.items():
        for granted in theirs:
            decisions = [each for each in decided[address] if granted.is_in(each.dataroom_id)]
            here = {each.state for each in decisions}
            if granted.status == "revoked" or here & MAY_HAVE_ACCESS:
                continue
            is_old = 0.0 < granted.created_at < baseline
            if decisions:
                is_old = 0.0 < granted.updated_at < since and all(each.at < since for each in decisions)
            why = "was revoked here" if State.REVOKED in here else "this ledger has no approval of it"
            said = f"{granted.email} has access in Conveyor ({granted.id}), but {why}."
            yield Difference(address, is_old, said)


def _not_carried_out(
    decided: Decisions, grants: Grants, ignored: set[str], since: float
) -> Iterator[Difference]:
    """Yield the decisions made here that do not stand in Conveyor."""
    today = datetime.now(UTC).date().isoformat()
    for address, decisions in decided.items():
        for each in decisions:
            if each.expires_at and each.expires_at < today:
                continue
            theirs = [granted for granted in grants[address] if granted.is_in(each.dataroom_id)]
            if each.state == State.APPROVED and all(granted.status == "revoked" for granted in theirs):
                but = "has no access in Conveyor"
            elif each.state == State.REJECTED and each.request_id not in ignored:
                but = "is not ignored in Conveyor"
            else:
                continue
            is_old = each.at < since and all(0.0 < granted.updated_at < since for granted in theirs)
            said = f"{address} was {each.state} here ({each.request_id}), but {but}."
            yield Difference(address, is_old, said)


def _decided(ledger: Database) -> Decisions:
    """Return what was decided here about each address."""
    decided: Decisions = defaultdict(list)
    place = REQUESTS.c.address, REQUESTS.c.dataroom_id, REQUESTS.c.id
    decided_here = REQUESTS.c.state.in_((*MAY_HAVE_ACCESS, State.REVOKED, State.REJECTED))
    at = func.coalesce(REQUESTS.c.revoked_at, REQUESTS.c.settled_at, inf)
    now = select(*place, REQUESTS.c.state, REQUESTS.c.expires_at, at).where(decided_here)
    # What was approved and asked for again still has its access, however that ended.
    approved = select(TRAIL.c.request_id).where(TRAIL.c.event == State.APPROVED)
    again = select(*place).where(
        REQUESTS.c.state.not_in((State.APPROVED, State.REVOKED)), REQUESTS.c.id.in_(approved)
    )
    with ledger.read() as db:
        for address, *decision in db.execute(now):
            decided[address].append(Decided(*decision))
        for address, dataroom_id, request_id in db.execute(again):
            decided[address].append(Decided(dataroom_id, request_id, State.REVOKING, "", inf))
    return decided
