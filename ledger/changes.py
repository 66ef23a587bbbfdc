"""How a request changes: compare and set, with a line in the trail and a note to whoever has to hear of it.

Each write is one short transaction whose first statement is the guarded UPDATE or INSERT: no read before it,
no network inside it. That is what makes one winner of two clicks, on SQLite as on PostgreSQL.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import and_, bindparam, select, update

import addresses
from conveyor_client import GATED, AuthorizationRequest
from ledger.database import Database
from ledger.rows import NOBODY, Reviewer, Row, person, row_of
from ledger.states import LET_IN, SETTLED, State
from ledger.tables import REQUESTS
from ledger.trail import add_note, ask_about_colleagues, log_event, tell_watchers

MANY_FAILURES = 3  # of one row: it may be its own fault, the operator is told, and others go first
AT_ONCE = 500  # rows of one statement or transaction: SQLite takes 32,766 values, and clicks wait meanwhile

# Prepared statements, made once: to make a statement costs SQLAlchemy more than to run it. fair_lock.py says
# what that buys.
ROWS = select(REQUESTS)
FIND = ROWS.where(REQUESTS.c.id == bindparam("request_id"))

# A decision that nobody has begun to carry out.
NOT_BEGUN: dict[str, Any] = {
    "claimed_at": None,
    "claimed_since": None,
    "sent_at": None,
    "open_since": None,
    "refusal": None,
    "decide_at": None,
    "decide_failures": 0,
    "problem": "",
    "told_late": False,
    "adopted": False,
    "read_at": None,
    "not_found": 0,
}
NOT_REVOKED: dict[str, Any] = {**person("revoker", NOBODY), "revoke_reason": ""}
NOT_CHANGING: dict[str, Any] = {**person("changer", NOBODY), "wanted": None, "basis": None, "note": ""}
# A request that nobody has decided.
UNDECIDED: dict[str, Any] = {
    **person("reviewer", NOBODY),
    "groups": None,
    "nda_bypass": False,
    "expires_at": "",
    "authorization_id": "",
    "access_status": "",
    "access_ends": None,
    "signed_at": None,
    "reason": "",
    **NOT_REVOKED,
    "revoked_at": None,
    **NOT_CHANGING,
    "changed": None,
    "rejection": None,
    "settled_at": None,
    "settled_since": None,
    **NOT_BEGUN,
}


Item = TypeVar("Item")


class Changes:
    """What the parts of the ledger share. Every method of them may raise LedgerError.

    `now` is a time of the ledger's own clock (see clock.py), as is every time at which something is due.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, request_id: str) -> Row | None:
        with self._database.read() as db:
            found = db.execute(FIND, {"request_id": request_id}).one_or_none()
            return None if found is None else row_of(found)

    def handled_elsewhere(
        self,
        row: Row,
        state: State,
        now: float,
        note: str = "",
        request: AuthorizationRequest | None = None,
    ) -> bool:
        """Return whether the row, unchanged since it was read, is closed because Conveyor says so.

        `request` is what Conveyor says about it now.
        """
        nobody = {"groups": None, "reason": "", "nda_bypass": False, "expires_at": "", **NOT_CHANGING}
        nobody["rejection"] = row.rejected.kept() if row.rejected else None
        known = said(request, self._time_of_day()) if request else {}
        return self._settle(row, state, now, {**nobody, **known}, note=note)

    def _time_of_day(self) -> float:
        """Return what people read as the time."""
        return self._database.clock.time_of_day()

    def _settle(
        self,
        row: Row,
        state: State,
        now: float,
        values: Mapping[str, Any],
        by: Reviewer = NOBODY,
        note: str = "",
        event: str = "",
    ) -> bool:
        """End the round in this state, after which the event is named by default. Otherwise as `_change`."""
        values = {
            **redraw(now),
            "settled_at": self._time_of_day(),
            "settled_since": now,
            **values,
            "state": state,
            "decide_at": None,
            "decide_failures": 0,
            "problem": "",
            "open_since": None,
        }
        return self._change(row, values, now, event or state, by, note=note)

    def _revoked(self, row: Row, now: float) -> dict[str, Any]:
        """Return when access was taken back, and still when it had been given."""
        at = self._time_of_day()
        given = {"settled_at": row.settled_at or at, "settled_since": row.settled_since or now}
        return {**given, "revoked_at": at}

    def _change(
        self,
        row: Row,
        values: Mapping[str, Any],
        now: float,
        event: str,
        by: Reviewer = NOBODY,
        note: str = "",
        detail: str = "",
        round: int = 0,
    ) -> bool:
        """Give the row these values unless it has changed since it was read; return whether it got them.

        The trail says what happened and who did it. `note` is the kind of a reply to the reviewer, and
        `detail` its words from Conveyor, which stay out of the trail: they may name the customer.
        """
        with self._database.write() as db:
            if not db.execute(update(REQUESTS).where(unchanged(row)).values(**values)).rowcount:
                return False
            groups = values.get("groups")
            written = note or ("" if groups is None else json.dumps(groups))
            at = self._time_of_day()
            is_first = values["state"] in SETTLED and row.settled_at is None
            waited = max(0.0, at - row.received_at) if is_first else None
            log_event(db, at, event, row.id, round or row.round, by, written, waited=waited)
            if note:
                add_note(db, row, note, now, detail)
            if values["state"] in SETTLED and event == values["state"]:
                once_more, ended = values.get("access_status") == GATED, values["state"] not in LET_IN
                tell_watchers(db, row, now, once_more=once_more, ended=ended)
            if event == State.APPROVED:
                ask_about_colleagues(db, row, now)
        return True


def redraw(now: float) -> dict[str, Any]:
    """Return the values that let the card be drawn again."""
    return {"revision": REQUESTS.c.revision + 1, "show_at": now, "show_failures": 0, "refusals": 0}


def unchanged(row: Row) -> Any:
    """The condition that the row has not moved on since it was read: same round, state and decision."""
    claimed = REQUESTS.c.claimed_at
    return and_(
        REQUESTS.c.id == row.id,
        REQUESTS.c.round == row.round,
        REQUESTS.c.state == row.state,
        claimed.is_(None) if row.claimed_at is None else claimed == row.claimed_at,
    )


def fresh(request_id: str, now: float) -> dict[str, Any]:
    """Return the values of a request that has just come, but for `received_at` and what Conveyor says."""
    return {
        "id": request_id,
        "round": 1,
        "state": State.PENDING,
        "waiting_since": now,
        "message": "",
        "dataroom_id": "",
        "link": "",
        "revision": 1,
        "show_at": now,
    }


def said(request: AuthorizationRequest, time_of_day: float) -> dict[str, Any]:
    """Return the values that keep what Conveyor says about a request."""
    return {
        **addressed(request.email),
        "status": request.status,
        "message": request.message,
        "dataroom_id": request.dataroom_id,
        "link": request.link,
        "crm_link": request.crm_link,
        "updated_at": request.updated_at or None,
        # By our clock nothing was received later than now.
        **({"received_at": min(request.received_at, time_of_day)} if request.received_at else {}),
    }


def addressed(email: str) -> dict[str, Any]:
    return {"email": email, "address": addresses.folded(email), "domain": addresses.domain(email)}


def chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), AT_ONCE):
        yield items[start : start + AT_ONCE]
