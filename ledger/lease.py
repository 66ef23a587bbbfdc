"""Which process works: the owner of the lease, and the heartbeat that shows that it lives."""

from sqlalchemy import and_, select, update

from ledger.database import Database
from ledger.tables import LEASE


class Lease:
    """Used by the worker's own Lease, which decides. Every method may raise LedgerError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self) -> tuple[str, int]:
        """Return the owner, empty if there is none, and the heartbeat."""
        with self._database.read() as db:
            owner, heartbeat = db.execute(select(LEASE.c.owner, LEASE.c.heartbeat)).one()
            return owner, heartbeat

    def take(self, owner: str, seen: tuple[str, int]) -> bool:
        """Make it this owner's if it is unchanged since it was seen, and return whether it was."""
        as_seen = and_(LEASE.c.owner == seen[0], LEASE.c.heartbeat == seen[1])
        taken = update(LEASE).where(as_seen).values(owner=owner, heartbeat=LEASE.c.heartbeat + 1)
        return self._database.update(taken)

    def renew(self, owner: str) -> bool:
        """Raise the heartbeat if the lease is still this owner's, and return whether it is."""
        renewed = update(LEASE).where(LEASE.c.owner == owner).values(heartbeat=LEASE.c.heartbeat + 1)
        return self._database.update(renewed)

    def release(self, owner: str) -> None:
        self._database.update(update(LEASE).where(LEASE.c.owner == owner).values(owner=""))
