"""The durable record: every request, its state, who decided; and the audit trail.

Each write is one short transaction whose first statement is the guarded UPDATE or INSERT: no read before it,
no network inside it. That is what makes one winner of two clicks, on SQLite as on PostgreSQL.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from functools import partial
from typing import Any

from sqlalchemy import (
    Connection,
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.exc import IntegrityError

import addresses
from conveyor_client import AccessGroup, Authorization, AuthorizationRequest
from ledger.database import Database, OddValue
from ledger.tables import (
    ACCESS_GROUPS,
    APPROVED,
    APPROVING,
    CLOSED,
    GONE,
    IN_FLIGHT,
    LEASE,
    NOTES,
    OUTAGE,
    OUTAGE_OVER,
    PENDING,
    REJECTED,
    REQUESTS,
    REVOKED,
    REVOKING,
    SETTLED,
    TRAIL,
    WATCHERS,
    FoundCard,
    Look,
    Note,
    Reviewer,
    Row,
    packed,
    row_of,
)

log = logging.getLogger(__name__)

LONGEST_PAUSE = 300.0
OUTAGE_SECONDS = 600.0  # after which the channel is told that requests are not arriving
MANY_FAILURES = 3  # of one row: it may be its own fault, the operator is told, and others go first
REMINDERS = 3  # of one card
FORGET_AT_ONCE = 500
OUTCOME, REMINDER = "outcome", "reminder"  # notes that are no answer to a decision
PROGRESS_GRACE = 0.4  # a decision that is over sooner is shown once, as decided


ROW_COLUMNS = [REQUESTS.c[field.name] for field in fields(Row)]
# The statements of each click and round. Made once: to make them costs SQLAlchemy more than to run them.
FIND = select(*ROW_COLUMNS).where(REQUESTS.c.id == bindparam("request_id"))
WITHOUT_CARD = (
    select(*ROW_COLUMNS)
    .where(REQUESTS.c.show_at.is_not(None), REQUESTS.c.card_ts == "")
    .order_by(REQUESTS.c.received_at, REQUESTS.c.id)
    .limit(1)
)
WITHOUT_CARD_DUE = WITHOUT_CARD.where(REQUESTS.c.show_at <= bindparam("now"))
UPDATE_DUE = (
    select(*ROW_COLUMNS)
    .where(REQUESTS.c.show_at <= bindparam("now"), REQUESTS.c.card_ts != "")
    .order_by(REQUESTS.c.show_at)
    .limit(1)
)
DECISIONS_DUE = (
    select(*ROW_COLUMNS)
    .where(REQUESTS.c.decide_at <= bindparam("now"))
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
    .values(revision=REQUESTS.c.revision + 1)
)
LOG = TRAIL.insert()
# A decision that nobody has begun to carry out.
NOT_BEGUN: dict[str, Any] = {
    "claimed_at": None,
    "sent_at": None,
    "open_since": None,
    "refusal": None,
    "decide_at": None,
    "decide_failures": 0,
    "trouble": "",
    "told_late": 0,
    "adopted": 0,
    "read_at": None,
    "not_found": 0,
}
NO_REVOKER = {"revoker_id": "", "revoker_name": "", "revoker_email": ""}
# A request that nobody has decided.
UNDECIDED: dict[str, Any] = {
    "reviewer_id": "",
    "reviewer_name": "",
    "reviewer_email": "",
    "groups": None,
    "nda_bypass": 0,
    "expires_at": "",
    "authorization_id": "",
    "access_status": "",
    "access_ends": None,
    "reason": "",
    **NO_REVOKER,
    "revoked_at": None,
    "settled_at": None,
    **NOT_BEGUN,
}


_DETAILS = ("email", "message", "dataroom_id", "link")
KNOWN = select(REQUESTS.c.id, REQUESTS.c.round, REQUESTS.c.state, *(REQUESTS.c[name] for name in _DETAILS))


def pause(failures: int) -> float:
    """Seconds to wait after so many failures in a row: one, doubling, up to five minutes."""
    return float(min(2 ** min(failures, 20), LONGEST_PAUSE))


class Ledger(Database):
    """The database behind the app. Every method may raise LedgerError."""

    # Who works

    def lease(self) -> tuple[str, int]:
        """The owner and the beat."""
        with self.read() as db:
            owner, beat = db.execute(select(LEASE.c.owner, LEASE.c.beat)).one()
            return owner, beat

    def take_lease(self, owner: str, seen_owner: str, seen_beat: int) -> bool:
        """Whether the lease, unchanged since it was seen, is now this owner's."""
        seen = and_(LEASE.c.owner == seen_owner, LEASE.c.beat == seen_beat)
        return self.update(update(LEASE).where(seen).values(owner=owner, beat=LEASE.c.beat + 1))

    def beat(self, owner: str) -> bool:
        """Whether this owner still has the lease; if so, the others see that it lives."""
        return self.update(update(LEASE).where(LEASE.c.owner == owner).values(beat=LEASE.c.beat + 1))

    def release_lease(self, owner: str) -> None:
        self.update(update(LEASE).where(LEASE.c.owner == owner).values(owner=""))

    def look(self) -> Look:
        with self.read() as db:
            row = db.execute(select(LEASE)).one()
            return Look(row.adopted_at, row.looked_at, row.look_trouble, row.groups_at)

    def record_look(self, trouble: str, now: float, *, arriving: bool) -> None:
        """Remember how the last look at Conveyor went; an empty trouble means complete.

        `arriving` says whether its queue could be read. The channel is told if that takes too long to change.
        """
        values = {"look_trouble": trouble} if trouble else {"look_trouble": "", "looked_at": now}
        outage = REQUESTS.c.state == OUTAGE
        untold = and_(outage, REQUESTS.c.card_ts == "", REQUESTS.c.posting_at.is_(None))
        with self.write() as db:
            db.execute(update(LEASE).values(**values))
            if arriving:
                db.execute(NOTES.delete().where(NOTES.c.kind == OUTAGE))
                db.execute(REQUESTS.delete().where(untold))
                over = {"state": OUTAGE_OVER, "settled_at": now, **_redraw(now)}
                db.execute(update(REQUESTS).where(outage).values(**over))
                return
            known = union_all(
                select(REQUESTS.c.id).where(outage), select(NOTES.c.request_id).where(NOTES.c.kind == OUTAGE)
            )
            if db.execute(known).first() is None:
                due = {"kind": OUTAGE, "request_id": f"outage {now:.3f}", "send_at": now + OUTAGE_SECONDS}
                db.execute(NOTES.insert().values(**due, person_id="", detail=str(now)))

    def tell_outage(self, note: Note, now: float) -> None:
        """The time has come: the message about this outage is to be posted, unless it ended meanwhile."""
        with self.write() as db:
            if db.execute(NOTES.delete().where(NOTES.c.number == note.number)).rowcount:
                began = {"received_at": float(note.detail), "state": OUTAGE}
                db.execute(
                    REQUESTS.insert().values({**_fresh(note.request_id, now), **_addressed(""), **began})
                )

    def want_look(self) -> None:
        """Let the worker, in whichever process it is, look at Conveyor soon."""
        self.update(update(LEASE).where(LEASE.c.look_wanted == 0).values(look_wanted=1), changed=False)

    def take_wanted_look(self) -> bool:
        """Whether somebody wanted a look since the last was taken."""
        with self.read() as db:
            if not db.scalar(select(LEASE.c.look_wanted)):
                return False
        taken = update(LEASE).where(LEASE.c.look_wanted == 1).values(look_wanted=0)
        return self.update(taken, changed=False)

    # Access groups

    def access_groups(self, dataroom_id: str | None = None) -> list[AccessGroup]:
        """The last list read from Conveyor: all, or those that can be granted in one data room."""
        with self.read() as db:
            rows = db.execute(select(ACCESS_GROUPS).order_by(ACCESS_GROUPS.c.position))
            groups = [AccessGroup(row.id, row.name, row.dataroom_id) for row in rows]
        return groups if dataroom_id is None else [group for group in groups if group.is_in(dataroom_id)]

    def replace_access_groups(
        self, groups: Sequence[AccessGroup], changed_rooms: Sequence[str], now: float
    ) -> None:
        """Keep the list, and let the open cards of the rooms whose offer changed follow it."""
        with self.write() as db:
            db.execute(update(LEASE).values(groups_at=now))
            db.execute(ACCESS_GROUPS.delete())
            if groups:
                rows = [{"position": position, **asdict(group)} for position, group in enumerate(groups)]
                db.execute(ACCESS_GROUPS.insert(), rows)
            if changed_rooms:
                stale = and_(REQUESTS.c.state == PENDING, REQUESTS.c.dataroom_id.in_(changed_rooms))
                db.execute(update(REQUESTS).where(stale).values(**_redraw(now)))

    def groups_are_current(self, now: float) -> None:
        self.update(update(LEASE).values(groups_at=now))

    def open_rooms(self) -> list[str]:
        """The data rooms of the requests that wait, or may wait again if their decision is given back."""
        with self.read() as db:
            may_wait = REQUESTS.c.state.in_((PENDING, *IN_FLIGHT))
            query = select(REQUESTS.c.dataroom_id).where(may_wait).distinct()
            return list(db.scalars(query))

    # What the queue says

    def record(self, requests: Sequence[AuthorizationRequest], now: float) -> int:
        """How many of these open requests are new; the details of the known ones that wait are kept fresh."""
        with self.read() as db:
            query = KNOWN.where(REQUESTS.c.id.in_([request.id for request in requests]))
            known = {row.id: row for row in db.execute(query)}
        for request in requests:
            row = known.get(request.id)
            if row is not None and row.state == PENDING and _details(row) != _details(request):
                self._record_each([request], partial(self._learn_waiting, row, now=now))
        new = [request for request in requests if request.id not in known]
        if new:
            self._record_each(new, partial(self._insert, now=now))
        return len(new)

    def _record_each(
        self,
        requests: Sequence[AuthorizationRequest],
        write: Callable[[Sequence[AuthorizationRequest]], None],
    ) -> None:
        """Write them together; if one holds what the database does not take, each by itself."""
        try:
            write(requests)
        except OddValue as error:
            if len(requests) == 1:
                log.error("request=%s recorded=no cause=%r", requests[0].id, str(error))
                return
            for request in requests:
                self._record_each([request], write)

    def _insert(self, requests: Sequence[AuthorizationRequest], now: float) -> None:
        values = [{**_fresh(request.id, now), **_learnt(request, now)} for request in requests]
        with self.write() as db:
            db.execute(self.insert_if_absent(REQUESTS, values))
            for request in requests:
                self._log(db, now, "asked", request.id, 1)

    def _learn_waiting(self, row: Any, requests: Sequence[AuthorizationRequest], now: float) -> None:
        """Keep what Conveyor says of a waiting request now. The trail says so if it is somebody else's.

        What is older than what is known comes from a copy that lags behind, and is not kept.
        """
        (request,) = requests
        values = {**_learnt(request, now), **_redraw(now)}
        if not request.updated_at:
            del values["updated_at"]  # what is known stays
        if addresses.domain(row.email) != addresses.domain(request.email):
            values["company"] = None
        known = REQUESTS.c.updated_at
        is_news = or_(known.is_(None), known <= request.updated_at) if request.updated_at else true()
        waiting = and_(REQUESTS.c.id == request.id, REQUESTS.c.state == PENDING, is_news)
        with self.write() as db:
            changed = db.execute(update(REQUESTS).where(waiting).values(**values)).rowcount
            if changed and not request.is_about(row.email, row.dataroom_id):
                self._log(db, now, "changed in Conveyor", request.id, row.round)

    def learn(self, row: Row, request: AuthorizationRequest, now: float) -> None:
        """Keep what Conveyor says of a request whose own record was lost, and show it."""
        self.update(update(REQUESTS).where(_is(row)).values(**_learnt(request, now), **_redraw(now)))

    def missing(self, seen: set[str], again_before: float, most: int) -> list[Row]:
        """Waiting requests that are not among the seen ones and were not read since, longest unread first."""
        with self.read() as db:
            waiting = set(db.scalars(select(REQUESTS.c.id).where(REQUESTS.c.state == PENDING)))
            rows: list[Row] = []
            for some in _chunks(sorted(waiting - seen)):
                read_at = REQUESTS.c.read_at
                due = or_(read_at.is_(None), read_at < again_before, REQUESTS.c.not_found > 0)
                query = select(*ROW_COLUMNS).where(REQUESTS.c.id.in_(some), due)
                rows.extend(row_of(found) for found in db.execute(query))
        return sorted(rows, key=lambda row: row.read_at or 0.0)[:most]

    def still_open(self, row: Row, request: AuthorizationRequest, now: float) -> None:
        """The request was read itself and is open, though the queue left it out."""
        self.update(update(REQUESTS).where(_is(row)).values(read_at=now, not_found=0))
        self.record([request], now)

    def not_found(self, row: Row, now: float) -> bool:
        """Count a 404, and say whether it was the second: then the request is gone."""
        if row.not_found == 0:
            self.update(update(REQUESTS).where(_is(row)).values(read_at=now, not_found=1))
            return False
        return self.handled_elsewhere(row, GONE, now)

    def handled_elsewhere(
        self,
        row: Row,
        state: str,
        now: float,
        note: str = "",
        request: AuthorizationRequest | None = None,
    ) -> bool:
        """Whether the row, unchanged since it was read, is closed because Conveyor says so.

        `request` is what Conveyor says of it now.
        """
        nobody = {"groups": None, "reason": "", "nda_bypass": 0, "expires_at": ""}
        learnt = _learnt(request, now) if request else {}
        return self._settle(row, state, now, {**nobody, **learnt}, note=note)

    def settled_among(self, request_ids: Iterable[str]) -> list[Row]:
        """Those of the requests that are settled, and shown as settled unless Slack keeps refusing that."""
        settled: list[Row] = []
        with self.read() as db:
            for some in _chunks(list(request_ids)):
                # More is not asked of SQLite, or it would go through every settled row instead of these.
                query = select(*ROW_COLUMNS).where(REQUESTS.c.id.in_(some), REQUESTS.c.state != PENDING)
                rows = (row_of(found) for found in db.execute(query))
                settled.extend(row for row in rows if row.state in SETTLED and _is_shown(row))
        return settled

    def reopen(self, row: Row, request: AuthorizationRequest, now: float) -> bool:
        """Start a new round, with a new card, for a settled request that is open again."""
        values = {
            **UNDECIDED,
            **_redraw(now),
            "received_at": now,
            **_learnt(request, now),
            "state": PENDING,
            "round": row.round + 1,
            "previous": json.dumps(asdict(row.past)),
            "company": None,
            "waiting_since": now,
            "reminded_at": None,
            "reminders": 0,
            "card_ts": "",
            "posting_at": None,
        }
        return self._change(row, values, now, "asked again", round=row.round + 1)

    # What people decide

    def find(self, request_id: str) -> Row | None:
        with self.read() as db:
            found = db.execute(FIND, {"request_id": request_id}).one_or_none()
            return None if found is None else row_of(found)

    def find_by_card(self, channel: str, ts: str) -> Row | None:
        """The request whose current card this is."""
        if not ts:
            return None
        with self.read() as db:
            current = and_(REQUESTS.c.channel == channel, REQUESTS.c.card_ts == ts)
            found = db.execute(select(*ROW_COLUMNS).where(current)).first()
            return None if found is None else row_of(found)

    def claim(
        self,
        row: Row,
        state: str,
        reviewer: Reviewer,
        trigger_id: str,
        now: float,
        *,
        groups: Sequence[AccessGroup] = (),
        reason: str = "",
        nda_bypass: bool = False,
        expires_at: str = "",
    ) -> bool:
        """Whether this click decided the request: it waits, on this very card, and the click is a new one."""
        decision: dict[str, Any] = {
            "groups": packed(groups),
            "reason": reason,
            "nda_bypass": int(nda_bypass),
            "expires_at": expires_at,
        }
        person = {
            "reviewer_id": reviewer.id,
            "reviewer_name": reviewer.name,
            "reviewer_email": reviewer.email,
        }
        return self._claim(row, PENDING, state, reviewer, trigger_id, now, {**person, **decision}, decision)

    def claim_revocation(self, row: Row, reviewer: Reviewer, trigger_id: str, now: float) -> bool:
        """Whether this click takes back what was approved, on this very card, and is a new one."""
        person = {"revoker_id": reviewer.id, "revoker_name": reviewer.name, "revoker_email": reviewer.email}
        return self._claim(row, APPROVED, REVOKING, reviewer, trigger_id, now, person, {})

    def _claim(
        self,
        row: Row,
        before: str,
        state: str,
        person: Reviewer,
        trigger_id: str,
        now: float,
        values: Mapping[str, Any],
        detail: Mapping[str, Any],
    ) -> bool:
        current = {
            "the_id": row.id,
            "the_round": row.round,
            "the_state": before,
            "the_channel": row.channel,
            "the_card": row.card_ts,
            "the_address": addresses.folded(row.email),
            "the_room": row.dataroom_id,
        }
        begun = {
            **NOT_BEGUN,
            "state": state,
            "claimed_at": now,
            "decide_at": now,
            "show_at": now + PROGRESS_GRACE,
        }
        try:
            with self.write() as db:
                if not db.execute(CLAIM, {**current, **values, **begun}).rowcount:
                    return False
                self._log(db, now, state, row.id, row.round, person, json.dumps(detail), trigger_id)
        except _Repeated:
            return False
        return True

    def refuse(
        self,
        request_id: str,
        why: str,
        person_id: str,
        trigger_id: str,
        now: float,
        *,
        event: str = "refused",
    ) -> bool:
        """Keep in the trail that a click decided nothing; False if this very click is there already."""
        person = Reviewer(person_id, "", "")
        try:
            with self.write() as db:
                self._log(db, now, event, request_id, 0, person, why, trigger_id)
        except _Repeated:
            return False
        return True

    def redraw(self, request_id: str, now: float) -> None:
        """Let the card be drawn again, unless it is the only record of its decision."""
        drawable = and_(REQUESTS.c.id == request_id, REQUESTS.c.state != CLOSED)
        self.update(update(REQUESTS).where(drawable).values(**_redraw(now)))

    # Carrying a decision out

    def decisions_due(self, now: float, most: int) -> list[Row]:
        with self.read() as db:
            return [row_of(found) for found in db.execute(DECISIONS_DUE, {"now": now, "most": most})]

    def mark_sent(self, row: Row, now: float) -> bool:
        """Whether the row, unchanged since it was read, now says that a write is about to be sent."""
        sent = REQUESTS.c.sent_at
        as_read = sent.is_(None) if row.sent_at is None else sent == row.sent_at
        marked = update(REQUESTS).where(_is(row), as_read).values(sent_at=now, open_since=None)
        return self.update(marked, changed=False)

    def put_off(
        self, row: Row, now: float, until: float, trouble: str = "", note: str = "", **values: Any
    ) -> None:
        """Try the decision again at a later time, and show why if that has changed."""
        values = {"decide_at": until, "trouble": trouble, **values}
        if trouble != row.trouble:
            values.update(_redraw(now))
        with self.write() as db:
            if db.execute(update(REQUESTS).where(_is(row)).values(**values)).rowcount and note:
                self._note(db, row, note, now)

    def give_back(
        self,
        row: Row,
        now: float,
        note: str,
        detail: str = "",
        request: AuthorizationRequest | None = None,
    ) -> bool:
        """Whether the decision was taken back: all is as before, and whoever decided will be told why.

        `request` is what Conveyor says of it now.
        """
        before = {**UNDECIDED, **(_learnt(request, now) if request else {}), "state": PENDING}
        if row.state == REVOKING:
            before = {**NOT_BEGUN, **NO_REVOKER, "state": APPROVED}
        values = {**before, **_redraw(now)}
        return self._change(row, values, now, "given back", row.decider, note=note, detail=detail)

    def settle(
        self, row: Row, now: float, granted: Authorization | None = None, updated_at: float | None = None
    ) -> bool:
        """Whether the decision is done: Conveyor said so.

        `granted` is what Conveyor says that it gave; `updated_at` is when it last changed the request.
        """
        if row.state == REVOKING:
            revoked = {"settled_at": row.settled_at or now, "revoked_at": now}
            return self._settle(row, REVOKED, now, revoked, row.decider)
        known = {"updated_at": max(updated_at or 0.0, row.updated_at or 0.0)}
        if row.state == APPROVING:
            access = {
                "groups": packed(granted.groups if granted else None),
                "authorization_id": granted.id if granted else "",
                "access_status": granted.status if granted else "",
                "access_ends": granted.ends if granted else None,
                # Spelled as Conveyor finds it again.
                "email": granted.email if granted else row.email,
                "dataroom_id": row.dataroom_id or (granted.dataroom_id if granted else ""),
            }
            return self._settle(row, APPROVED, now, {**known, **access}, row.decider)
        return self._settle(row, REJECTED, now, known, row.decider)

    def revoked_elsewhere(self, row: Row, now: float) -> bool:
        """Whether the row says that the access had been taken back before this decision got there."""
        revoked = {"settled_at": row.settled_at or now, "revoked_at": now, **NO_REVOKER}
        return self._settle(row, REVOKED, now, revoked, note="elsewhere")

    def learn_groups(self, row: Row, groups: Sequence[AccessGroup] | None) -> None:
        """Keep what was granted, for a card whose own record was lost."""
        self.update(update(REQUESTS).where(_is(row)).values(groups=packed(groups)), changed=False)

    # Showing it

    def next_update(self, now: float) -> Row | None:
        """The card that has waited longest to be brought up to date."""
        return self._first(UPDATE_DUE, {"now": now})

    def next_post(self, now: float) -> Row | None:
        """The oldest request without a card. A few failures of that one do not change the order."""
        row = self._first(WITHOUT_CARD, {})
        if row and (row.show_at or 0.0) > now and row.show_failures >= MANY_FAILURES:
            row = self._first(WITHOUT_CARD_DUE, {"now": now})
        return row if row and (row.show_at or 0.0) <= now else None

    def _first(self, query: Any, parameters: dict[str, Any]) -> Row | None:
        with self.read() as db:
            found = db.execute(query, parameters).one_or_none()
            return None if found is None else row_of(found)

    def posting(self, row: Row, channel: str, now: float) -> bool:
        """Commit that the card is about to be posted, with what is known of the customer's company."""
        return self.update(
            update(REQUESTS)
            .where(_is(row), REQUESTS.c.card_ts == "")
            .values(channel=channel, posting_at=now, company=row.company),
            changed=False,
        )

    def not_posted(self, row: Row) -> None:
        """Slack said clearly that there is no card."""
        self.update(update(REQUESTS).where(_card_of(row)).values(posting_at=None), changed=False)

    def posted(self, row: Row, channel: str, ts: str) -> None:
        """The card is there. It is up to date unless the row has changed since it was drawn."""
        with self.write() as db:
            values = {"channel": channel, "card_ts": ts, "posting_at": None, "show_failures": 0}
            db.execute(update(REQUESTS).where(_card_of(row)).values(**values))
            drawn = and_(_card_of(row), REQUESTS.c.revision == row.revision)
            db.execute(update(REQUESTS).where(drawn).values(show_at=None))

    def shown(self, row: Row, again_at: float | None = None) -> None:
        """The card is up to date, or has to be drawn once more at that time, unless the row has changed."""
        drawn = and_(_card_of(row), REQUESTS.c.revision == row.revision)
        self.update(update(REQUESTS).where(drawn).values(show_at=again_at, show_failures=0), changed=False)

    def found_card(self, row: Row, channel: str, ts: str) -> None:
        """A card whose posting was in doubt is there; it is drawn again, since it may be an older picture."""
        values = {"channel": channel, "card_ts": ts, "posting_at": None, "show_failures": 0}
        self.update(update(REQUESTS).where(_card_of(row), REQUESTS.c.card_ts == "").values(**values))

    def lost_card(self, row: Row, now: float) -> None:
        """The card was deleted, or is out of reach: another is to be posted."""
        values = {"card_ts": "", "posting_at": None, **_redraw(now)}
        lost = and_(_card_of(row), REQUESTS.c.card_ts == row.card_ts, REQUESTS.c.state != CLOSED)
        self.update(update(REQUESTS).where(lost).values(**values))

    def show_later(self, row: Row, until: float, *, failed: bool, posting_at: float | None = None) -> None:
        """Draw the card at a later time; `failed` when it is this card that Slack does not take."""
        values: dict[str, Any] = {"show_at": until}
        if failed:
            values["show_failures"] = REQUESTS.c.show_failures + 1
        if posting_at is not None:
            values["posting_at"] = posting_at
        drawable = and_(_card_of(row), REQUESTS.c.state != CLOSED)
        self.update(update(REQUESTS).where(drawable).values(**values), changed=False)

    def remind(self, hours: float, now: float) -> int:
        """Queue a reminder for each card that has waited so long since it came or was last reminded of."""
        since = func.coalesce(REQUESTS.c.reminded_at, REQUESTS.c.waiting_since)
        late = and_(
            REQUESTS.c.state == PENDING,
            REQUESTS.c.card_ts != "",
            REQUESTS.c.reminders < REMINDERS,
            since <= now - hours * 3600,
        )
        with self.read() as db:
            rows = [row_of(found) for found in db.execute(select(*ROW_COLUMNS).where(late).limit(100))]
        for row in rows:
            reminded = {"reminded_at": now, "reminders": REQUESTS.c.reminders + 1}
            with self.write() as db:
                # Guarded as a whole: another process may have reminded of it meanwhile.
                if db.execute(update(REQUESTS).where(_is(row), late).values(**reminded)).rowcount:
                    self._log(db, now, REMINDER, row.id, row.round)
                    self._note(db, row, REMINDER, now)
        return len(rows)

    def forget(self, before: float, now: float) -> int:
        """Remove customers' words and addresses from old requests, whose cards are then not drawn again."""
        old = and_(REQUESTS.c.state.in_(SETTLED), REQUESTS.c.settled_at < before, REQUESTS.c.email != "")
        some = select(REQUESTS.c.id).where(old).limit(FORGET_AT_ONCE)
        nobody = {**_addressed(""), "message": "", "link": "", "previous": "", "company": None}
        closed = {**nobody, **_redraw(now), "state": CLOSED, "show_at": None}
        with self.write() as db:
            # Not too many at once: clicks wait for this transaction.
            count = db.execute(update(REQUESTS).where(old, REQUESTS.c.id.in_(some)).values(**closed)).rowcount
            if count:
                self._log(db, now, "forgotten", "", 0, detail=f"{count} requests")
        return count

    def record_start(self, owner: str, now: float) -> None:
        with self.write() as db:
            self._log(db, now, "start", "", 0, detail=owner)

    def failing(self, most: int = 20) -> list[str]:
        """Ids of requests that keep failing, for the operator."""
        # Compared with 0 so that the indexes are used: almost all rows have nothing left to do.
        cards = and_(REQUESTS.c.show_at >= 0, REQUESTS.c.show_failures >= MANY_FAILURES)
        decisions = and_(REQUESTS.c.decide_at >= 0, REQUESTS.c.decide_failures >= MANY_FAILURES)
        with self.read() as db:
            query = select(REQUESTS.c.id).where(or_(cards, decisions))
            return list(db.scalars(query.limit(most)))

    def waiting_cards(self) -> list[Row]:
        """Requests that wait or are being decided, whose cards should be in the channel."""
        with self.read() as db:
            query = select(*ROW_COLUMNS).where(
                REQUESTS.c.state.in_((PENDING, *IN_FLIGHT)), REQUESTS.c.card_ts != ""
            )
            return [row_of(found) for found in db.execute(query)]

    def adopt(self, cards: Iterable[FoundCard], now: float) -> None:
        """Begin with the cards that are in the channel, when the ledger that made them is lost."""
        with self.write() as db:
            for card in cards:
                values = {
                    **_fresh(card.request_id, now),
                    **_addressed(card.email),
                    "round": card.round,
                    "state": card.state,
                    "channel": card.channel,
                    "card_ts": card.ts,
                    "received_at": float(card.ts),
                    "dataroom_id": card.dataroom_id,
                }
                if card.state in IN_FLIGHT:
                    values |= {
                        "reviewer_id": card.reviewer_id,
                        "reviewer_name": card.reviewer_name,
                        "reason": card.reason,
                        "settled_at": card.settled_at or None,
                        "nda_bypass": card.nda_bypass,
                        "expires_at": card.expires_at,
                        "revoker_id": card.revoker_id,
                        "revoker_name": card.revoker_name,
                        "claimed_at": now,
                        "sent_at": now,
                        "decide_at": now,
                        "show_at": None,
                        "adopted": 1,
                    }
                elif card.state == OUTAGE:
                    values |= {"show_at": None}
                elif card.state != PENDING:
                    values |= {"state": CLOSED, "settled_at": now, "show_at": None}
                db.execute(self.insert_if_absent(REQUESTS, [values]))
                self._log(db, now, f"adopted as {values['state']}"[:30], card.request_id, card.round)
            db.execute(update(LEASE).values(adopted_at=now))

    # Notes

    def next_note(self, now: float) -> Note | None:
        """The oldest reply that is due, reminders last."""
        due = select(NOTES).where(NOTES.c.send_at <= now)
        with self.read() as db:
            found = db.execute(due.order_by(NOTES.c.kind == REMINDER, NOTES.c.number).limit(1)).one_or_none()
            if found is None:
                return None
            return Note(
                found.number, found.request_id, found.kind, found.person_id, found.detail, found.failures
            )

    def note_sent(self, note: Note) -> None:
        self.update(NOTES.delete().where(NOTES.c.number == note.number), changed=False)

    def note_later(self, note: Note, until: float) -> None:
        failed = update(NOTES).where(NOTES.c.number == note.number)
        self.update(failed.values(send_at=until, failures=NOTES.c.failures + 1), changed=False)

    # How it is written

    def _settle(
        self,
        row: Row,
        state: str,
        now: float,
        more: Mapping[str, Any],
        person: Reviewer | None = None,
        note: str = "",
    ) -> bool:
        values = {
            **_redraw(now),
            **more,
            "state": state,
            "settled_at": more.get("settled_at", now),
            "decide_at": None,
            "decide_failures": 0,
            "trouble": "",
            "open_since": None,
        }
        return self._change(row, values, now, state, person, note=note)

    def _change(
        self,
        row: Row,
        values: Mapping[str, Any],
        now: float,
        what: str,
        person: Reviewer | None = None,
        note: str = "",
        detail: str = "",
        round: int = 0,
    ) -> bool:
        """Compare and set: the row as it was read becomes another. The trail names whose doing that is."""
        with self.write() as db:
            if not db.execute(update(REQUESTS).where(_is(row)).values(**values)).rowcount:
                return False
            groups = values.get("groups") or ""
            # Conveyor's own sentence is for the thread alone: it may name the customer.
            self._log(db, now, what, row.id, round or row.round, person, note or groups)
            if note:
                self._note(db, row, note, now, detail)
            if values["state"] in SETTLED:
                self._tell_watchers(db, row, now)
        return True

    def _tell_watchers(self, db: Connection, row: Row, now: float) -> None:
        of_this = WATCHERS.c.request_id == row.id
        told = select(
            WATCHERS.c.request_id, literal(OUTCOME), WATCHERS.c.person_id, literal(""), literal(now)
        )
        names = ("request_id", "kind", "person_id", "detail", "send_at")
        db.execute(NOTES.insert().from_select(names, told.where(of_this)))
        db.execute(WATCHERS.delete().where(of_this))

    def _log(
        self,
        db: Connection,
        now: float,
        what: str,
        request_id: str,
        round: int,
        person: Reviewer | None = None,
        detail: str = "",
        trigger_id: str | None = None,
    ) -> None:
        try:
            line = {
                "at": now,
                "event": what,
                "request_id": request_id,
                "round": round,
                "person_id": person.id if person else "",
                "person_email": person.email if person else "",
                "detail": detail,
                "trigger_id": trigger_id or None,
            }
            db.execute(LOG, line)
        except IntegrityError as error:
            raise _Repeated from error

    def _note(self, db: Connection, row: Row, kind: str, now: float, detail: str = "") -> None:
        values = {
            "request_id": row.id,
            "kind": f"revoke {kind}" if row.state == REVOKING else kind,
            "person_id": row.decider.id,
            "detail": detail,
            "send_at": now,
        }
        db.execute(NOTES.insert().values(**values))


class _Repeated(Exception):
    """The trail has this click already."""


def _details(source: Any) -> tuple[str, ...]:
    return tuple(getattr(source, name) for name in _DETAILS)


def _learnt(request: AuthorizationRequest, now: float) -> dict[str, Any]:
    return {
        **dict(zip(_DETAILS, _details(request), strict=True)),
        **_addressed(request.email),
        "updated_at": request.updated_at or None,
        # By our clock nothing was received later than now.
        **({"received_at": min(request.received_at, now)} if request.received_at else {}),
    }


def _addressed(email: str) -> dict[str, Any]:
    return {"email": email, "address": addresses.folded(email), "domain": addresses.domain(email)}


def _fresh(request_id: str, now: float) -> dict[str, Any]:
    return {
        "id": request_id,
        "round": 1,
        "state": PENDING,
        "waiting_since": now,
        "message": "",
        "dataroom_id": "",
        "link": "",
        "received_at": now,
        "revision": 1,
        "show_at": now,
    }


def _redraw(now: float) -> dict[str, Any]:
    return {"revision": REQUESTS.c.revision + 1, "show_at": now, "show_failures": 0}


def _is(row: Row) -> Any:
    """The row has not moved on since it was read: same round, same state, same decision."""
    claimed = REQUESTS.c.claimed_at
    return and_(
        REQUESTS.c.id == row.id,
        REQUESTS.c.round == row.round,
        REQUESTS.c.state == row.state,
        claimed.is_(None) if row.claimed_at is None else claimed == row.claimed_at,
    )


def _card_of(row: Row) -> Any:
    return and_(REQUESTS.c.id == row.id, REQUESTS.c.round == row.round)


def _is_shown(row: Row) -> bool:
    return row.show_at is None or row.show_failures >= MANY_FAILURES


def _chunks(ids: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
