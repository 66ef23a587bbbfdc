"""Who is in the user groups that REVIEWERS names, as Slack last said."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Double, and_, select, update
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from ledger.database import Database
from ledger.tables import USER_GROUPS

# For so long after Slack was asked a list counts. Nobody may decide longer than two minutes after they were
# removed from a group, and an answer and its commit may take some of that time.
LIST_SECONDS = 110.0


class Now(FunctionElement[float]):
    """The time by the database's clock, in seconds since 1970."""

    type = Double()
    inherit_cache = True


@compiles(Now)
def _in_postgresql(*_: Any, **__: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS double precision)"


@compiles(Now, "sqlite")
def _in_sqlite(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


class UserGroups:
    """Written by the process that works, read by every process. Every method may raise LedgerError.

    How old a list is goes by the database's clock alone: those of several machines may differ.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def members(self) -> dict[str, frozenset[str]]:
        """Return the ids of the people in each group whose list counts now, the oldest list first."""
        counts = and_(USER_GROUPS.c.read_at > Now() - LIST_SECONDS, USER_GROUPS.c.read_at <= Now())
        with self._database.read() as db:
            rows = list(db.execute(select(USER_GROUPS).where(counts).order_by(USER_GROUPS.c.read_at)))
        # A damaged list counts as none.
        return {row.id: frozenset(map(str, row.members)) for row in rows if isinstance(row.members, list)}

    def keep(self, group_id: str, members: Iterable[str], seconds_ago: float) -> None:
        """Keep who is in a group; Slack was asked so many seconds ago."""
        values = {"members": sorted(members), "read_at": Now() - seconds_ago}
        with self._database.write(wakes=False) as db:
            known = update(USER_GROUPS).where(USER_GROUPS.c.id == group_id).values(**values)
            if not db.execute(known).rowcount:
                db.execute(USER_GROUPS.insert().values(id=group_id, **values))

    def forget(self, group_id: str) -> None:
        """Let the list of this group no longer count."""
        with self._database.write(wakes=False) as db:
            db.execute(USER_GROUPS.delete().where(USER_GROUPS.c.id == group_id))
