"""What Conveyor's queue says: new requests, changed ones, missing ones, and those that ask again."""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

from sqlalchemy import and_, or_, select, true, update

import addresses
from conveyor_client import AuthorizationRequest
from ledger.changes import MANY_FAILURES, ROWS, UNDECIDED, Changes, chunks, fresh, redraw, said, unchanged
from ledger.database import OddValue
from ledger.rows import Row, row_of
from ledger.states import SETTLED, State
from ledger.tables import REQUESTS
from ledger.trail import LOG, first_start, line, log_event

log = logging.getLogger(__name__)

BEFORE = "before the first start"  # what the trail says of a request that came then
DETAILS = ("email", "status", "message", "dataroom_id", "link", "crm_link")
_details: Callable[[Any], tuple[str, ...]] = attrgetter(*DETAILS)
KNOWN = select(REQUESTS.c.id, REQUESTS.c.round, REQUESTS.c.state, *(REQUESTS.c[name] for name in DETAILS))

Write = Callable[[Sequence[AuthorizationRequest]], None]


class Queue(Changes):
    """Used by the loop that polls Conveyor."""

    def record(self, requests: Sequence[AuthorizationRequest], now: float) -> int:
        """Record these open requests, and return how many are new. Known ones are kept up to date."""
        new = 0
        for some in chunks(requests):
            with self._database.read() as db:
                query = KNOWN.where(REQUESTS.c.id.in_([request.id for request in some]))
                known = {row.id: row for row in db.execute(query)}
            for request in some:
                row = known.get(request.id)
                if row is not None and row.state == State.PENDING and _details(row) != _details(request):
                    self._record_each([request], partial(self._update, row, now))
            unknown = [request for request in some if request.id not in known]
            if unknown:
                self._record_each(unknown, partial(self._insert, now))
            new += len(unknown)
        return new

    def _record_each(self, requests: Sequence[AuthorizationRequest], write: Write) -> None:
        """Write them together; if one holds a value that the database does not take, each by itself."""
        try:
            write(requests)
        except OddValue as error:
            if len(requests) == 1:
                log.error("request=%s recorded=no cause=%r", requests[0].id, str(error))
                return
            for request in requests:
                self._record_each([request], write)

    def _insert(self, now: float, requests: Sequence[AuthorizationRequest]) -> None:
        at = self._time_of_day()
        came = {"received_at": at, "counted_from": at}
        values = [{**fresh(request.id, now), **came, **said(request, at)} for request in requests]
        with self._database.write() as db:
            db.execute(self._database.insert_if_absent(REQUESTS), values)
            started = first_start(db)
            early = {each.id: BEFORE for each in requests if 0.0 < each.received_at < started}
            asked = [line(at, "asked", each.id, 1, detail=early.get(each.id, "")) for each in requests]
            db.execute(LOG, asked)

    def _update(self, row: Any, now: float, requests: Sequence[AuthorizationRequest]) -> None:
        """Keep what Conveyor says about a waiting request now. The trail says so if it is somebody else's.

        What is older than what is known comes from a copy that lags behind, and is not kept.
        """
        (request,) = requests
        values = {**said(request, self._time_of_day()), **redraw(now)}
        if not request.updated_at:
            del values["updated_at"]  # what is known stays
        if addresses.domain(row.email) != addresses.domain(request.email):
            values["company"] = None
        known = REQUESTS.c.updated_at
        is_news = or_(known.is_(None), known <= request.updated_at) if request.updated_at else true()
        waiting = and_(REQUESTS.c.id == request.id, REQUESTS.c.state == State.PENDING, is_news)
        with self._database.write() as db:
            changed = db.execute(update(REQUESTS).where(waiting).values(**values)).rowcount
            if changed and not request.is_about(row.email, row.dataroom_id):
                log_event(db, self._time_of_day(), "changed in Conveyor", request.id, row.round)

    def missing(self, seen: set[str], again_before: float, most: int) -> list[Row]:
        """Return waiting requests that are not among `seen`, the longest unread first.

        Those that were read one by one since `again_before` are left out, unless they were not found.
        """
        with self._database.read() as db:
            waiting = set(db.scalars(select(REQUESTS.c.id).where(REQUESTS.c.state == State.PENDING)))
            rows: list[Row] = []
            for some in chunks(sorted(waiting - seen)):
                read_at = REQUESTS.c.read_at
                due = or_(read_at.is_(None), read_at < again_before, REQUESTS.c.not_found > 0)
                rows.extend(map(row_of, db.execute(ROWS.where(REQUESTS.c.id.in_(some), due))))
        return sorted(rows, key=lambda row: row.read_at or 0.0)[:most]

    def still_open(self, row: Row, request: AuthorizationRequest, now: float) -> None:
        """Keep that the request was read itself and is open, though the queue left it out."""
        self._database.update(update(REQUESTS).where(unchanged(row)).values(read_at=now, not_found=0))
        self.record([request], now)

    def not_found(self, row: Row, now: float) -> bool:
        """Count a 404, and return whether it was the second: then the request is gone."""
        if row.not_found == 0:
            self._database.update(update(REQUESTS).where(unchanged(row)).values(read_at=now, not_found=1))
            return False
        return self.handled_elsewhere(row, State.GONE, now)

    def settled_among(self, request_ids: Iterable[str]) -> list[Row]:
        """Return those that are settled, and shown as settled unless Slack keeps refusing that."""
        settled: list[Row] = []
        with self._database.read() as db:
            for some in chunks(list(request_ids)):
                # More is not asked of SQLite, or it would go through every settled row instead of these.
                query = ROWS.where(REQUESTS.c.id.in_(some), REQUESTS.c.state != State.PENDING)
                rows = map(row_of, db.execute(query))
                settled.extend(row for row in rows if row.state in SETTLED and _is_shown(row))
        return settled

    def reopen(self, row: Row, request: AuthorizationRequest, now: float) -> bool:
        """Start a new round, with a new card, for a settled request that is open again."""
        at = self._time_of_day()
        values = {
            **UNDECIDED,
            **redraw(now),
            "received_at": at,
            **said(request, at),
            "state": State.PENDING,
            "round": row.round + 1,
            "previous": row.past.kept(),
            "company": None,
            "waiting_since": now,
            "reminded_at": None,
            "reminders": 0,
            "counted_from": at,
            "card_ts": "",
            "card_state": "",
            "posting_at": None,
        }
        return self._change(row, values, now, "asked again", round=row.round + 1)


def _is_shown(row: Row) -> bool:
    return row.show_at is None or row.show_failures >= MANY_FAILURES
