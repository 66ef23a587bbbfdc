"""The domains that the ledger knows: of customers who were given access, and of people who decided."""

from sqlalchemy import select

import addresses
from ledger.database import Database
from ledger.rows import Past
from ledger.states import OPEN, State
from ledger.tables import REQUESTS, TRAIL

GIVEN = (State.APPROVED, State.REVOKING, State.APPROVED_ELSEWHERE)
LATEST = 1000  # lines of the trail: whoever decided lately stands in them

CUSTOMERS = select(REQUESTS.c.domain).distinct().where(REQUESTS.c.state.in_(GIVEN))
ASK_AGAIN = select(REQUESTS.c.previous).where(REQUESTS.c.state.in_(OPEN), REQUESTS.c.previous.is_not(None))
LINES = select(TRAIL.c.person_email).order_by(TRAIL.c.number.desc()).limit(LATEST).subquery()
DECIDERS = select(LINES.c.person_email).distinct()  # a click that decided nothing is kept without an address


class Known:
    """Used when a card is posted. It may raise LedgerError. Domains are as addresses.domain returns them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def customers(self) -> set[str]:
        """Return the domains of those whose last decision gave them access, here or in Conveyor."""
        with self._database.read() as db:
            found = set(db.scalars(CUSTOMERS))
            before = [Past.of(kept) for kept in db.scalars(ASK_AGAIN)]
        return found | {addresses.domain(past.email) for past in before if past and past.state in GIVEN}

    def deciders(self) -> set[str]:
        """Return the domains of the people who decided lately."""
        with self._database.read() as db:
            return {addresses.domain(email) for email in db.scalars(DECIDERS) if email}
