"""Which process works: the owner of the lease, and the heartbeat that shows that it lives."""

from sqlalchemy import ColumnElement, and_, select, update

from ledger.database import Database
from ledger.tables import LEASE


class Lease:
    """Used by the worker's own Lease, which decides. Every method may raise LedgerError.

    The owner's clock is kept with each heartbeat; the clock of a process that sees a new one follows it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._followed = -1

    def read(self) -> tuple[str, int]:
        """Return the owner, empty if there is none, and the heartbeat."""
        with self._database.read() as db:
            query = select(LEASE.c.owner, LEASE.c.heartbeat, LEASE.c.clock)
            owner, heartbeat, clock = db.execute(query).one()
        if heartbeat != self._followed:
            self._followed = heartbeat
            self._database.clock.set(clock)
        return owner, heartbeat

    def take(self, owner: str, seen: tuple[str, int]) -> bool:
        """Make it this owner's if it is unchanged since it was seen, and return whether it was."""
        as_seen = and_(LEASE.c.owner == seen[0], LEASE.c.heartbeat == seen[1])
        return self._beat(as_seen, owner)

    def renew(self, owner: str) -> bool:
        """Raise the heartbeat if the lease is still this owner's, and return whether it is."""
        return self._beat(LEASE.c.owner == owner, owner)

    def write_nothing(self) -> None:
        """Write what is there already, so that a ledger that takes no writes is noticed."""
        self._database.update(update(LEASE).values(owner=LEASE.c.owner), wakes=False)

    def release(self, owner: str) -> None:
        """Free the lease, so that another process need not wait for it."""
        self._beat(LEASE.c.owner == owner, "")

    def _beat(self, condition: ColumnElement[bool], owner: str) -> bool:
        values = {"owner": owner, "heartbeat": LEASE.c.heartbeat + 1, "clock": self._database.clock()}
        return self._database.update(update(LEASE).where(condition).values(**values))
