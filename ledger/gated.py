"""Approvals that wait for the customer to sign the NDA, and what becomes of them."""

from sqlalchemy import and_, select, update

from conveyor_client import GATED
from ledger.changes import Changes, redraw, unchanged
from ledger.rows import Row
from ledger.states import State
from ledger.tables import REQUESTS
from ledger.trail import log_event, tell_watchers

FOLLOWED_SECONDS = 30 * 86400.0  # after the approval

IS_GATED = and_(REQUESTS.c.state == State.APPROVED, REQUESTS.c.access_status == GATED)


class Gated(Changes):
    """Used after polls of Conveyor. Every method may raise LedgerError."""

    def waiting(self) -> dict[str, str]:
        """Return the requests that are still followed: the id of each, and that of its access in Conveyor."""
        followed = and_(IS_GATED, REQUESTS.c.settled_at > self._time_of_day() - FOLLOWED_SECONDS)
        query = select(REQUESTS.c.id, REQUESTS.c.authorization_id).where(followed)
        with self._database.read() as db:
            return {found.id: found.authorization_id for found in db.execute(query)}

    def signed(self, row: Row, now: float) -> bool:
        """Keep that the NDA is signed; return whether the row still waited for that."""
        values = {"access_status": "authorized", "signed_at": self._time_of_day(), **redraw(now)}
        with self._database.write() as db:
            if not db.execute(update(REQUESTS).where(unchanged(row), IS_GATED).values(**values)).rowcount:
                return False
            log_event(db, self._time_of_day(), "signed", row.id, row.round)
            tell_watchers(db, row, now)
        return True

    def revoked(self, row: Row, now: float) -> bool:
        """Keep that somebody revoked the access in Conveyor; return whether the row was unchanged."""
        return self._settle(row, State.REVOKED, now, self._revoked(row, now))
