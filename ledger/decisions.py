"""What reviewers decide, from the click that claims a request until Conveyor has confirmed it."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, bindparam, select, union, update

import addresses
from conveyor_client import AccessGroup, Authorization, AuthorizationRequest
from ledger import second_thoughts
from ledger.changes import (
    NOT_BEGUN,
    NOT_CHANGING,
    NOT_REVOKED,
    ROWS,
    UNDECIDED,
    Changes,
    redraw,
    said,
    unchanged,
)
from ledger.rows import Reviewer, Row, decision_id, pairs, person, row_of
from ledger.states import AFTER_ALL, APPROVE, CHANGE, REVOKE, RUNNING, Decision, State
from ledger.tables import ACCESS_GROUPS, REQUESTS
from ledger.trail import GIVEN_BACK, Repeated, add_note, log_event

PROGRESS_GRACE = 0.4  # seconds: a decision that is over sooner is shown once, as decided

# Made once: to make a statement costs SQLAlchemy more than to run it.
DUE = (
    ROWS.where(REQUESTS.c.decide_at <= bindparam("now"))
    .order_by(REQUESTS.c.decide_at)
    .limit(bindparam("most"))
)
CLAIM = (
    update(REQUESTS)
    .where(
        REQUESTS.c.id == bindparam("the_id"),
        REQUESTS.c.round == bindparam("the_round"),
        REQUESTS.c.state == bindparam("the_state"),
        REQUESTS.c.channel == bindparam("the_channel"),
        REQUESTS.c.card_ts == bindparam("the_card"),
        REQUESTS.c.address == bindparam("the_address"),
        REQUESTS.c.dataroom_id == bindparam("the_room"),
    )
    .values(revision=REQUESTS.c.revision + 1, refusals=0)
)


class Decisions(Changes):
    """Used by the listeners, which claim, and by the loop that carries the claimed decisions out."""

    # Claiming

    def find_by_card(self, channels: frozenset[str], ts: str) -> Row | None:
        """Return the request whose current card this is, or None. The channel may have several ids."""
        if not ts:
            return None
        with self._database.read() as db:
            current = and_(REQUESTS.c.channel.in_(channels), REQUESTS.c.card_ts == ts)
            found = db.execute(ROWS.where(current)).first()
            return None if found is None else row_of(found)

    def claim(
        self,
        row: Row,
        decision: Decision,
        reviewer: Reviewer,
        trigger_id: str,
        now: float,
        *,
        groups: Sequence[AccessGroup] = (),
        reason: str = "",
        nda_bypass: bool = False,
        expires_at: str = "",
        basis: Sequence[AccessGroup] = (),
    ) -> str:
        """Record that this click decided the request, and return the decision's id; "" if it did not.

        It did if the request is in the state that the decision starts from, with the same card, address and
        Trust Center, and if the trail does not have this click yet. Otherwise nothing changes. `basis` has
        the groups that a change of groups is to replace.
        """
        seen = {
            "the_id": row.id,
            "the_round": row.round,
            "the_state": decision.comes_from,
            "the_channel": row.channel,
            "the_card": row.card_ts,
            "the_address": addresses.folded(row.email),
            "the_room": row.dataroom_id,
        }
        chosen: dict[str, Any] = {"revoke_reason": reason}
        terms = {"nda_bypass": nda_bypass, "expires_at": expires_at}
        if decision is CHANGE:
            chosen = {"wanted": pairs(groups), "basis": pairs(basis)}
        elif decision is AFTER_ALL:
            chosen = {"wanted": pairs(groups), "note": reason, **terms}
        elif decision is not REVOKE:
            chosen = {"groups": pairs(groups), "reason": reason, **terms}
        at = self._time_of_day()
        begun = {
            **NOT_BEGUN,
            "state": decision.runs_as,
            "claimed_at": at,
            "claimed_since": now,
            "decide_at": now,
            "show_at": now + PROGRESS_GRACE,
        }
        try:
            with self._database.write() as db:
                values = {**person(decision.by, reviewer), **chosen, **begun}
                if not db.execute(CLAIM, {**seen, **values}).rowcount:
                    return ""
                detail = json.dumps(chosen)
                who = row.id, row.round, reviewer
                log_event(db, at, decision.runs_as, *who, detail, trigger_id)
        except Repeated:
            return ""
        return decision_id(row.id, row.round, at)

    def record_click(
        self, event: str, request_id: str, person_id: str, trigger_id: str, detail: str = ""
    ) -> bool:
        """Add a click that decided nothing to the trail; return False if this very click is there already."""
        who = Reviewer(person_id, "", "")
        try:
            with self._database.write() as db:
                log_event(db, self._time_of_day(), event, request_id, 0, who, detail, trigger_id)
        except Repeated:
            return False
        return True

    # Carrying out

    def due(self, now: float, most: int) -> list[Row]:
        """Return the decisions whose next step is due, the longest due first."""
        with self._database.read() as db:
            return list(map(row_of, db.execute(DUE, {"now": now, "most": most})))

    def mark_sent(self, row: Row, now: float) -> bool:
        """Commit that a write is about to be sent, and return whether the row was unchanged until then."""
        sent = REQUESTS.c.sent_at
        as_read = sent.is_(None) if row.sent_at is None else sent == row.sent_at
        marked = update(REQUESTS).where(unchanged(row), as_read).values(sent_at=now, open_since=None)
        return self._database.update(marked, wakes=False)

    def put_off(
        self, row: Row, now: float, until: float, problem: str = "", note: str = "", **values: Any
    ) -> None:
        """Try the decision again at a later time, and show why if that has changed."""
        values = {"decide_at": until, "problem": problem, **values}
        if problem != row.problem:
            values.update(redraw(now))
        with self._database.write() as db:
            if db.execute(update(REQUESTS).where(unchanged(row)).values(**values)).rowcount and note:
                add_note(db, row, note, now)

    def give_back(
        self,
        row: Row,
        now: float,
        note: str,
        detail: str = "",
        request: AuthorizationRequest | None = None,
        granted: Authorization | None = None,
    ) -> bool:
        """Take the decision back, so that all is as before, and let whoever decided be told why.

        Return whether the row was unchanged until then. `request` is what Conveyor says about it now, and
        `granted` about the access whose groups were to be changed.
        """
        known = said(request, self._time_of_day()) if request else {}
        before = {**UNDECIDED, **known, "state": State.PENDING}
        if row.state == REVOKE.runs_as:
            before = {**NOT_BEGUN, **NOT_REVOKED, "state": REVOKE.comes_from}
        elif row.state == CHANGE.runs_as:
            before = second_thoughts.not_changed(granted)
        elif row.state == AFTER_ALL.runs_as:
            before = second_thoughts.STILL_REJECTED
        values = {**before, **redraw(now)}
        return self._change(row, values, now, GIVEN_BACK, row.decider, note=note, detail=detail)

    def settle(
        self, row: Row, now: float, granted: Authorization | None = None, updated_at: float | None = None
    ) -> bool:
        """End the decision, since Conveyor confirmed it; return whether the row was unchanged until then.

        `granted` is what Conveyor says that it gave; `updated_at` is when it last changed the request.
        """
        values: dict[str, Any] = {"updated_at": max(updated_at or 0.0, row.updated_at or 0.0)}
        event = ""
        if row.state == REVOKE.runs_as:
            values = self._revoked(row, now)
        elif row.state == CHANGE.runs_as:
            values = second_thoughts.changed(row, granted, self._time_of_day())
            event = second_thoughts.CHANGED
        elif row.state in (APPROVE.runs_as, AFTER_ALL.runs_as):
            values |= second_thoughts.approved(row) if row.state == AFTER_ALL.runs_as else {}
            values |= {
                "groups": pairs(granted.groups if granted else None),
                "authorization_id": granted.id if granted else "",
                "access_status": granted.status if granted else "",
                "access_ends": granted.ends if granted else None,
                # Spelled as Conveyor finds it again.
                "email": granted.email if granted else row.email,
                "dataroom_id": row.dataroom_id or (granted.dataroom_id if granted else ""),
            }
        return self._settle(row, RUNNING[row.state].ends_as, now, values, row.decider, event=event)

    def revoked_elsewhere(self, row: Row, now: float) -> bool:
        """End a decision about access that was taken back before; return whether the row was unchanged."""
        revoked = {**self._revoked(row, now), **NOT_REVOKED, **NOT_CHANGING}
        return self._settle(row, REVOKE.ends_as, now, revoked, note="elsewhere")

    def is_bound(self, row: Row, group_ids: Sequence[str]) -> bool:
        """Return whether a grant of these groups to an address can only be for the request's Trust Center.

        That is so if one of the groups is of its Trust Center, or if no other Trust Center is known.
        """
        rooms = union(select(REQUESTS.c.dataroom_id), select(ACCESS_GROUPS.c.dataroom_id))
        own = select(ACCESS_GROUPS.c.id).where(ACCESS_GROUPS.c.dataroom_id == row.dataroom_id)
        with self._database.read() as db:
            if not set(db.scalars(rooms)) - {"", row.dataroom_id}:
                return True
            return bool(row.dataroom_id) and not set(group_ids).isdisjoint(db.scalars(own))

    def learn(self, row: Row, request: AuthorizationRequest, now: float) -> None:
        """Keep what Conveyor says about a request whose own record was lost, and show it."""
        learned = (
            update(REQUESTS).where(unchanged(row)).values(**said(request, self._time_of_day()), **redraw(now))
        )
        self._database.update(learned)

    def learn_groups(self, row: Row, groups: Sequence[AccessGroup] | None) -> None:
        """Keep what was granted, for a card whose own record was lost."""
        learned = update(REQUESTS).where(unchanged(row)).values(groups=pairs(groups))
        self._database.update(learned, wakes=False)
