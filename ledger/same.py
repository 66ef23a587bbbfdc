"""What a colleague of the customer was given here, and which other colleagues wait for the same.

Only the ledger is read. Whether Conveyor says that the colleague still has access is asked when a card is
posted, and kept in the request's `company`.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import and_, bindparam, exists, func, or_, select

import addresses
from conveyor_client import GATED
from ledger.changes import ROWS
from ledger.database import Database
from ledger.memory import PERSONAL_DOMAINS
from ledger.polls import Polls
from ledger.rows import Groups, Row, pairs, row_of
from ledger.states import State
from ledger.tables import NOTES, REQUESTS, TRAIL
from ledger.trail import Note

DIGEST_CHARS = 16
# What the trail says after a request ended badly, here or in Conveyor.
ENDED_BADLY = (State.REJECTED, State.REVOKED, State.IGNORED_ELSEWHERE)
OTHERS, STORY = REQUESTS.alias("others"), TRAIL.alias("story")
AT_THE_COMPANY = OTHERS.c.domain == bindparam("domain")
# Whether this customer ever ended badly, or anybody at the company since the colleague was approved.
HAS_ENDED_BADLY = exists().where(
    AT_THE_COMPANY,
    STORY.c.request_id == OTHERS.c.id,
    STORY.c.event.in_(ENDED_BADLY),
    or_(
        OTHERS.c.address == bindparam("address"),
        OTHERS.c.id == bindparam("request_id"),
        STORY.c.at > REQUESTS.c.settled_at,
    ),
)
IS_ENDING_BADLY = exists().where(AT_THE_COMPANY, OTHERS.c.state.in_([State.REJECTING, State.REVOKING]))
IS_COLLEAGUE = and_(
    REQUESTS.c.domain == bindparam("domain"),
    REQUESTS.c.dataroom_id == bindparam("room"),
    REQUESTS.c.address != bindparam("address"),
    REQUESTS.c.id != bindparam("request_id"),
)
NEWEST = (
    select(REQUESTS.c.id)
    .where(
        IS_COLLEAGUE,
        REQUESTS.c.state == State.APPROVED,
        REQUESTS.c.access_status != GATED,
        REQUESTS.c.groups.is_not(None),
        REQUESTS.c.settled_at.is_not(None),
    )
    .order_by(REQUESTS.c.settled_at.desc())
    .limit(1)
    .correlate(None)
    .scalar_subquery()
)
# Made once: to make a statement costs SQLAlchemy more than to run it.
LAST_APPROVED = ROWS.where(REQUESTS.c.id == NEWEST, ~HAS_ENDED_BADLY, ~IS_ENDING_BADLY)
WAITING = and_(IS_COLLEAGUE, REQUESTS.c.state == State.PENDING, REQUESTS.c.card_ts != "")


@dataclass(frozen=True)
class Given:
    """What an approved request was given, as far as that can be given to somebody else today.

    `ends` is the last day (YYYY-MM-DD), or empty if access does not end.
    """

    row: Row
    groups: Groups
    ends: str

    @property
    def digest(self) -> str:
        """What a click on a button that names this is bound to."""
        said = [self.row.id, self.row.round, pairs(self.groups), self.ends]
        return sha256(json.dumps(said).encode()).hexdigest()[:DIGEST_CHARS]


class Same:
    """Used by cards that offer the same, and by the question about colleagues. It may raise LedgerError."""

    def __init__(self, database: Database, polls: Polls) -> None:
        self._database = database
        self._polls = polls

    def of(self, row: Row) -> Given | None:
        """Return what the colleague who was approved last in this Trust Center was given, or None.

        It is None if no group of it can be granted anymore, and also if this customer was ever rejected or
        lost access, or anybody at the company was or did since that approval.
        """
        if not _is_of_a_company(row):
            return None
        with self._database.read() as db:
            found = db.execute(LAST_APPROVED, _parameters(row)).one_or_none()
        given = self.given(row_of(found)) if found else None
        return given if given and given.groups else None

    def offered(self, row: Row) -> Given | None:
        """Return the same where a card may offer it: Conveyor said that this colleague had access."""
        colleague = (row.company or {}).get("same")
        given = self.of(row) if colleague else None
        return given if given and given.row.id == colleague else None

    def given(self, row: Row) -> Given | None:
        """Return what this approved request was given; None if that is unknown, over, or can't be granted."""
        ends = row.access_ends or row.expires_at
        today = datetime.fromtimestamp(self._database.clock.time_of_day(), UTC).date().isoformat()
        if row.state != State.APPROVED or row.groups is None or (ends and ends < today):
            return None
        offered = {group.id: group for group in self._polls.access_groups(row.dataroom_id)}
        groups = tuple(offered[group.id] for group in row.groups if group.id in offered)
        return Given(row, groups, ends) if groups or not row.groups else None

    def waiting(self, row: Row, note: Note, most: int) -> tuple[list[Row], int]:
        """Return the colleagues who wait with a card, the oldest first, and how many there are.

        There are none for this note while whoever approved this request is approving others of them, or if
        a newer note will ask about the same.
        """
        if not _is_of_a_company(row):
            return [], 0
        is_theirs = and_(REQUESTS.c.state == State.APPROVING, REQUESTS.c.reviewer_id == note.person_id)
        busy = select(REQUESTS.c.id).where(IS_COLLEAGUE, is_theirs)
        is_newer = and_(NOTES.c.kind == note.kind, NOTES.c.number > note.number)
        newer = select(NOTES.c.number).where(is_newer, NOTES.c.person_id == note.person_id)
        newer = newer.join(REQUESTS, REQUESTS.c.id == NOTES.c.request_id).where(IS_COLLEAGUE)
        oldest = ROWS.where(WAITING).order_by(REQUESTS.c.received_at, REQUESTS.c.id).limit(most)
        count = select(func.count()).select_from(REQUESTS).where(WAITING)
        colleagues = _parameters(row)
        with self._database.read() as db:
            # In this order: a decision that ends between the two has left a newer note.
            if db.execute(busy, colleagues).first() or db.execute(newer, colleagues).first():
                return [], 0
            found = [row_of(each) for each in db.execute(oldest, colleagues)]
            return found, db.scalar(count, colleagues) or 0


def _is_of_a_company(row: Row) -> bool:
    domain = addresses.domain(row.email)
    return bool(domain) and domain not in PERSONAL_DOMAINS


def _parameters(row: Row) -> dict[str, Any]:
    return {
        "domain": addresses.domain(row.email),
        "room": row.dataroom_id,
        "address": addresses.folded(row.email),
        "request_id": row.id,
    }
