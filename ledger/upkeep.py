"""What is done now and then: reminding of cards that wait, and forgetting what is old."""

from sqlalchemy import and_, func, or_, select, update

from ledger.changes import AT_ONCE, MANY_FAILURES, ROWS, Changes, addressed, redraw, unchanged
from ledger.rows import Row, row_of
from ledger.states import OPEN, SETTLED, State
from ledger.tables import REQUESTS
from ledger.trail import LAST, REMINDER, START, add_note, log_event
from version import VERSION
from working_hours import WorkingHours

REMIND_AT_ONCE = 100


class Upkeep(Changes):
    """Used after polls of Conveyor, and by whoever asks whether the app is well."""

    def remind(self, hours: float, most: int, now: float, working: WorkingHours | None = None) -> int:
        """Queue a reminder for each card that has waited so long since it came or since the last reminder.

        A card gets so many at `most`. If there are working hours, these are counted, and outside of them
        nothing is queued. Return how many reminders there were; there may be more.
        """
        at = self._time_of_day()
        if working and not working.is_open(at):
            return 0
        since = func.coalesce(REQUESTS.c.reminded_at, REQUESTS.c.waiting_since)
        late = and_(
            REQUESTS.c.state == State.PENDING,
            REQUESTS.c.card_ts != "",
            REQUESTS.c.reminders < most,
            since <= now - hours * 3600,
        )
        with self._database.read() as db:
            found = db.execute(ROWS.where(late).order_by(since).limit(REMIND_AT_ONCE))
            rows = [row for row in map(row_of, found) if _worked(row, now, at, working) >= hours * 3600]
        for row in rows:
            reminded = {"reminded_at": now, "counted_from": at, "reminders": REQUESTS.c.reminders + 1}
            with self._database.write() as db:
                # Guarded as a whole: another process may have queued this reminder meanwhile.
                if db.execute(update(REQUESTS).where(unchanged(row), late).values(**reminded)).rowcount:
                    log_event(db, at, REMINDER, row.id, row.round)
                    add_note(db, row, REMINDER, now, LAST if row.reminders + 1 == most else "")
        return len(rows)

    def forget(self, after: float, now: float) -> int:
        """Remove customers' words and addresses from requests that ended so many seconds ago.

        Their cards are not drawn again. Return how many there were; there may be more.
        """
        before = self._time_of_day() - after
        old = and_(REQUESTS.c.state.in_(SETTLED), REQUESTS.c.settled_at < before, REQUESTS.c.email != "")
        some = select(REQUESTS.c.id).where(old).limit(AT_ONCE)
        links = {"link": "", "crm_link": ""}
        nobody = {**addressed(""), **links, "message": "", "previous": None, "company": None}
        closed = {**nobody, **redraw(now), "state": State.CLOSED, "show_at": None}
        # The weekly message names who waited. Its row stays, so that no other is posted for that week.
        numbers = REQUESTS.c.numbers.is_not(None)
        told = and_(REQUESTS.c.state == State.NUMBERS, REQUESTS.c.settled_at < before, numbers)
        with self._database.write() as db:
            db.execute(update(REQUESTS).where(told).values(numbers=None, show_at=None))
            count = db.execute(update(REQUESTS).where(old, REQUESTS.c.id.in_(some)).values(**closed)).rowcount
            if count:
                log_event(db, self._time_of_day(), "forgotten", detail=f"{count} requests")
        return count

    def record_start(self, owner: str) -> None:
        with self._database.write() as db:
            log_event(db, self._time_of_day(), START, detail=f"version={VERSION} owner={owner}")

    def shortened(self, since: float, most: int = 20) -> list[str]:
        """Return the ids of requests that have only a shorter card and are open, or were until recently."""
        recent = or_(REQUESTS.c.state.in_(OPEN), REQUESTS.c.settled_since >= since)
        with self._database.read() as db:
            return list(db.scalars(select(REQUESTS.c.id).where(REQUESTS.c.refusals > 0, recent).limit(most)))

    def failing(self, most: int = 20) -> list[str]:
        """Return the ids of requests that keep failing, for the operator."""
        # Compared with 0 so that the indexes are used: almost all rows have nothing left to do.
        cards = and_(REQUESTS.c.show_at >= 0, REQUESTS.c.show_failures >= MANY_FAILURES)
        decisions = and_(REQUESTS.c.decide_at >= 0, REQUESTS.c.decide_failures >= MANY_FAILURES)
        with self._database.read() as db:
            query = select(REQUESTS.c.id).where(or_(cards, decisions))
            return list(db.scalars(query.limit(most)))


def _worked(row: Row, now: float, at: float, working: WorkingHours | None) -> float:
    """Return for how many seconds a card has waited since it came or since the last reminder.

    By the ledger's clock, which no setting of a clock moves, it is `now`, and by the time of day it is `at`.
    """
    waited = now - (row.reminded_at or row.waiting_since or now)
    if working is None:
        return waited
    # It began no later than that. A time of day may have been kept while the clock was wrong; then too much
    # may be counted, but no reminder comes before `waited` is long enough.
    return working.between(min(row.counted_from or at, at - waited), at)
