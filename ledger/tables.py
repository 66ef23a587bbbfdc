"""What the ledger keeps: its tables, and the rows as the rest of the app sees them."""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from typing import Any

from sqlalchemy import Column, Float, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.types import TypeDecorator

import addresses
from conveyor_client import LATEST, AccessGroup, clean

log = logging.getLogger(__name__)

PENDING = "pending"
APPROVING, APPROVED = "approving", "approved"
REJECTING, REJECTED = "rejecting", "rejected"
REVOKING, REVOKED = "revoking", "revoked"
APPROVED_ELSEWHERE, IGNORED_ELSEWHERE, GONE = "approved elsewhere", "ignored elsewhere", "gone"
CLOSED = "closed"  # decided, but only its card knows how: the ledger was lost
IN_FLIGHT = (APPROVING, REJECTING, REVOKING)
SETTLED = (APPROVED, REJECTED, REVOKED, APPROVED_ELSEWHERE, IGNORED_ELSEWHERE, GONE, CLOSED)
# Not a request: the message that requests are not arriving. As a row it gets what a card gets: it is posted
# once, found again after a crash, and kept up to date.
OUTAGE, OUTAGE_OVER = "outage", "outage over"


class CleanText(TypeDecorator[str]):
    """Text that every database takes."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: object) -> str | None:
        return None if value is None else clean(value)


METADATA = MetaData()

REQUESTS = Table(
    "requests",
    METADATA,
    Column("id", CleanText, primary_key=True),
    Column("round", Integer, nullable=False),
    Column("state", String(20), nullable=False, index=True),
    Column("email", CleanText, nullable=False),
    Column("message", CleanText, nullable=False),
    Column("dataroom_id", CleanText, nullable=False),
    Column("link", CleanText, nullable=False),
    Column("received_at", Float, nullable=False),
    # When Conveyor last changed the request, by its own clock.
    Column("updated_at", Float),
    Column("previous", CleanText, nullable=False, default=""),
    # What finds a company's other requests: the address and its domain, as they are compared.
    Column("address", CleanText, nullable=False, server_default="", index=True),
    Column("domain", CleanText, nullable=False, server_default="", index=True),
    Column("company", CleanText),
    Column("waiting_since", Float),
    Column("reminded_at", Float),
    Column("reminders", Integer, nullable=False, server_default="0"),
    # The card. `revision` counts what there was to show; `show_at` is when it is due, empty when shown.
    Column("channel", String(30), nullable=False, default=""),
    Column("card_ts", String(30), nullable=False, default=""),
    Column("posting_at", Float),
    Column("revision", Integer, nullable=False, default=1),
    Column("show_at", Float, index=True),
    Column("show_failures", Integer, nullable=False, default=0),
    # The decision. `decide_at` is when Conveyor is due to be asked, empty when nothing is to be done.
    Column("reviewer_id", String(30), nullable=False, default=""),
    Column("reviewer_name", CleanText, nullable=False, default=""),
    Column("reviewer_email", CleanText, nullable=False, default=""),
    Column("groups", CleanText),
    Column("nda_bypass", Integer, nullable=False, server_default="0"),
    Column("expires_at", String(10), nullable=False, server_default=""),
    # What Conveyor said of the access that it gave: its id, its status, and its last day (empty for none,
    # null if Conveyor did not say). The two columns above are what was asked for.
    Column("authorization_id", CleanText, nullable=False, server_default=""),
    Column("access_status", CleanText, nullable=False, server_default=""),
    Column("access_ends", String(10)),
    Column("reason", CleanText, nullable=False, default=""),
    Column("revoker_id", String(30), nullable=False, server_default=""),
    Column("revoker_name", CleanText, nullable=False, server_default=""),
    Column("revoker_email", CleanText, nullable=False, server_default=""),
    Column("revoked_at", Float),
    Column("claimed_at", Float),
    Column("sent_at", Float),
    Column("open_since", Float),
    # Conveyor's words when it refused a write although an earlier one may have landed; null if it did not.
    Column("refusal", CleanText),
    Column("settled_at", Float),
    Column("decide_at", Float, index=True),
    Column("decide_failures", Integer, nullable=False, default=0),
    Column("trouble", String(30), nullable=False, default=""),
    Column("told_late", Integer, nullable=False, default=0),
    Column("adopted", Integer, nullable=False, default=0),
    # What reading the request itself said while it was missing from the queue.
    Column("read_at", Float),
    Column("not_found", Integer, nullable=False, default=0),
)

TRAIL = Table(
    "trail",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("event", String(30), nullable=False),
    Column("request_id", CleanText, nullable=False, index=True),
    Column("round", Integer, nullable=False),
    Column("person_id", CleanText, nullable=False),
    Column("person_email", CleanText, nullable=False),
    Column("detail", CleanText, nullable=False),
    Column("trigger_id", CleanText, unique=True),
)

NOTES = Table(
    "notes",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("request_id", CleanText, nullable=False),
    Column("kind", String(30), nullable=False),
    Column("person_id", String(30), nullable=False),
    Column("detail", CleanText, nullable=False),
    Column("send_at", Float, nullable=False),
    Column("failures", Integer, nullable=False, default=0),
)

# Who wants to be told when a request is decided.
WATCHERS = Table(
    "watchers",
    METADATA,
    Column("request_id", CleanText, primary_key=True),
    Column("person_id", String(30), primary_key=True),
    Column("at", Float, nullable=False),
)

ACCESS_GROUPS = Table(
    "access_groups",
    METADATA,
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("id", CleanText, nullable=False),
    Column("name", CleanText, nullable=False),
    Column("dataroom_id", CleanText, nullable=False),
)

# One row: who works, and what every process has to know of it.
LEASE = Table(
    "lease",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("owner", String(80), nullable=False),
    Column("beat", Integer, nullable=False),
    Column("adopted_at", Float),
    Column("looked_at", Float),
    Column("look_trouble", Text, nullable=False),
    Column("groups_at", Float),
    Column("look_wanted", Integer, nullable=False, server_default="0"),
)

Index("requests_by_card", REQUESTS.c.card_ts)


@dataclass(frozen=True)
class Reviewer:
    """A person whom Slack and the settings allow to decide."""

    id: str
    name: str
    email: str


@dataclass(frozen=True)
class Row:
    """One request as the ledger has it; times in seconds since 1970."""

    id: str
    round: int
    state: str
    email: str
    message: str
    dataroom_id: str
    link: str
    received_at: float
    updated_at: float | None = None
    previous: str = ""
    company: str | None = None
    waiting_since: float | None = None
    channel: str = ""
    card_ts: str = ""
    posting_at: float | None = None
    revision: int = 1
    show_at: float | None = None
    show_failures: int = 0
    reviewer_id: str = ""
    reviewer_name: str = ""
    reviewer_email: str = ""
    groups: str | None = None
    nda_bypass: int = 0
    expires_at: str = ""
    authorization_id: str = ""
    access_status: str = ""
    access_ends: str | None = None
    reason: str = ""
    revoker_id: str = ""
    revoker_name: str = ""
    revoker_email: str = ""
    revoked_at: float | None = None
    claimed_at: float | None = None
    sent_at: float | None = None
    open_since: float | None = None
    refusal: str | None = None
    settled_at: float | None = None
    decide_at: float | None = None
    decide_failures: int = 0
    trouble: str = ""
    told_late: int = 0
    adopted: int = 0
    read_at: float | None = None
    not_found: int = 0

    @property
    def subject(self) -> str:
        """Stands for the address and the Trust Center on the card, which a click on it is bound to."""
        about = json.dumps([addresses.folded(self.email), self.dataroom_id])
        return sha256(about.encode()).hexdigest()[:16]

    @property
    def decider(self) -> Reviewer:
        """Who made the decision that is being carried out, or was carried out last."""
        if self.state in (REVOKING, REVOKED):
            return Reviewer(self.revoker_id, self.revoker_name, self.revoker_email)
        return Reviewer(self.reviewer_id, self.reviewer_name, self.reviewer_email)

    @property
    def past(self) -> "Past":
        """How it ended, once it has."""
        at = self.revoked_at if self.state == REVOKED else self.settled_at
        who = self.decider
        return Past(self.email, self.state, at or 0.0, who.id, who.name, self.reason, self.groups)

    @property
    def before(self) -> "Past":
        """How the round before this one ended; without a state where nobody knows."""
        unknown = Past(self.email, "", 0.0)
        try:
            past = replace(unknown, **object_in(self.previous))
        except TypeError:
            return unknown
        texts = (past.email, past.state, past.reviewer_id, past.reviewer_name, past.reason, past.groups or "")
        return past if _is_time(past.at) and all(isinstance(text, str) for text in texts) else unknown

    @property
    def group_list(self) -> list[AccessGroup] | None:
        """The groups chosen, or granted once it is approved; None where nobody knows them."""
        return unpacked(self.groups)


@dataclass(frozen=True)
class Note:
    """A reply to send into the thread of a request's card."""

    number: int
    request_id: str
    kind: str
    person_id: str
    detail: str
    failures: int


@dataclass(frozen=True)
class Past:
    """An earlier request and how it ended; `at` in seconds since 1970."""

    email: str
    state: str
    at: float
    reviewer_id: str = ""
    reviewer_name: str = ""
    reason: str = ""
    groups: str | None = None

    @property
    def group_list(self) -> list[AccessGroup] | None:
        return unpacked(self.groups)


@dataclass(frozen=True)
class FoundCard:
    """A card of ours as the channel has it."""

    channel: str
    ts: str
    request_id: str
    round: int
    state: str
    email: str
    reviewer_id: str = ""
    reviewer_name: str = ""
    reason: str = ""
    settled_at: float = 0.0
    nda_bypass: int = 0
    expires_at: str = ""
    revoker_id: str = ""
    revoker_name: str = ""
    dataroom_id: str = ""


@dataclass(frozen=True)
class Look:
    """What the last looks at Conveyor came to, wherever they were made."""

    adopted_at: float | None
    looked_at: float | None
    look_trouble: str
    groups_at: float | None


_TIMES = [field.name for field in fields(Row) if field.type in (float, float | None)]


def row_of(found: Any) -> Row:
    """The row as the database has it. One damaged value spoils neither its row nor the others: it is told."""
    values = dict(found._mapping)
    for name in _TIMES:
        if values[name] is not None and not _is_time(values[name]):
            log.warning("request=%s damaged=%s", values["id"], name)
            values[name] = 0.0
    for name in ("groups", "previous", "company"):
        if values[name] and not _is_json(values[name]):
            log.warning("request=%s damaged=%s", values["id"], name)
    return Row(**values)


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and 0.0 <= value < LATEST


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def packed(groups: Iterable[AccessGroup] | None) -> str | None:
    return None if groups is None else json.dumps([[group.id, group.name] for group in groups])


def unpacked(groups: str | None) -> list[AccessGroup] | None:
    """The groups of a row; None where nobody knows them, or where the row is damaged."""
    try:
        return None if groups is None else [AccessGroup(*map(str, pair)) for pair in json.loads(groups)]
    except (TypeError, ValueError, RecursionError):
        return None


def object_in(text: str | None) -> dict[str, Any]:
    """The JSON object that a row keeps as text; an empty one where there is none, or the row is damaged."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
