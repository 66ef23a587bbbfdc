"""What is written beside a change: a line in the audit trail, and notes to whoever has to hear of it."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, exists, func, literal, select, union
from sqlalchemy.exc import IntegrityError

import addresses
from conveyor_client import GATED
from ledger.rows import NOBODY, Reviewer, Row
from ledger.states import RUNNING, State
from ledger.tables import FOLLOWERS, NOTES, REQUESTS, TRAIL, WATCHERS

# Kinds of notes that are no answer to a decision: a message about missing requests, answers to somebody who
# wanted to be told of the outcome or of the first document that is opened, a reminder, a question about
# colleagues who wait as well.
OUTAGE, OUTCOME, OPENED, REMINDER, COLLEAGUES = "outage", "outcome", "document", "reminder", "colleagues"
DIRECT = (OUTCOME, OPENED)  # those that go to one person as a direct message
LAST = "last"  # the detail of the last reminder of a card
FIRST_LINES = 100
START = "start"  # of a process, as an event of the trail
GIVEN_BACK = "given back"  # a decision that Conveyor refused or certainly never heard of, likewise

LOG = TRAIL.insert()


@dataclass(frozen=True)
class Note:
    """A reply to send into the thread of a request's card, or to a person about that request."""

    number: int
    request_id: str
    kind: str
    person_id: str
    detail: str
    failures: int


class Repeated(Exception):
    """The trail has this click already."""


def log_event(
    db: Connection,
    at: float,
    event: str,
    request_id: str = "",
    round: int = 0,
    by: Reviewer = NOBODY,
    detail: str = "",
    trigger_id: str = "",
    waited: float | None = None,
) -> None:
    """Add a line to the trail; `at` is the time of day. Raises Repeated if it has this very click already."""
    try:
        db.execute(LOG, line(at, event, request_id, round, by, detail, trigger_id, waited))
    except IntegrityError as error:
        raise Repeated from error


def line(
    at: float,
    event: str,
    request_id: str,
    round: int,
    by: Reviewer = NOBODY,
    detail: str = "",
    trigger_id: str = "",
    waited: float | None = None,
) -> dict[str, Any]:
    """Return the values of a line of the trail."""
    return {
        "at": at,
        "event": event,
        "request_id": request_id,
        "round": round,
        "person_id": by.id,
        "person_email": by.email,
        "detail": detail,
        "trigger_id": trigger_id or None,
        "waited": waited,
    }


def first_start(db: Connection) -> float:
    """Return when the app first started with this ledger, in seconds since 1970, or 0.0 if it never did.

    The first line may have the time of a clock that was wrong until Slack had answered.
    """
    first = select(TRAIL.c.at).order_by(TRAIL.c.number).limit(FIRST_LINES).subquery()
    return float(db.scalar(select(func.min(first.c.at))) or 0.0)


def add_note(db: Connection, row: Row, kind: str, now: float, detail: str = "") -> None:
    """Let a reply to whoever decided be sent into the thread of the card."""
    values = {
        "request_id": row.id,
        "kind": (RUNNING[row.state].notes if row.state in RUNNING else "") + kind,
        "person_id": row.decider.id,
        "detail": detail,
        "send_at": now,
    }
    db.execute(NOTES.insert().values(**values))


def ask_about_colleagues(db: Connection, row: Row, now: float) -> None:
    """Let whoever approved this request be asked about its colleagues, if it seems that any of them waits.

    Who they are is found out when the question is sent.
    """
    if (row.company or {}).get("personal"):
        return
    waiting = exists().where(
        REQUESTS.c.domain == addresses.domain(row.email),
        REQUESTS.c.id != row.id,
        REQUESTS.c.state == State.PENDING,
    )
    who = literal(row.id), literal(COLLEAGUES), literal(row.decider.id), literal(str(row.round))
    names = ("request_id", "kind", "person_id", "detail", "send_at")
    db.execute(NOTES.insert().from_select(names, select(*who, literal(now)).where(waiting)))


def tell_watchers(
    db: Connection, row: Row, now: float, *, once_more: bool = False, ended: bool = False
) -> None:
    """Let everybody be told who wanted to know what becomes of this request.

    With `once_more` watchers are told again at the next change. What they were to be told before is out of
    date. Followers are always told again, until it has `ended`: then no document can be opened anymore.
    """
    watchers, followers = WATCHERS.c.request_id == row.id, FOLLOWERS.c.request_id == row.id
    who = union(
        select(WATCHERS.c.person_id).where(watchers), select(FOLLOWERS.c.person_id).where(followers)
    ).subquery()
    if row.access_status == GATED:
        theirs = NOTES.c.person_id.in_(select(who.c.person_id))
        db.execute(NOTES.delete().where(NOTES.c.request_id == row.id, NOTES.c.kind == OUTCOME, theirs))
    told = select(literal(row.id), literal(OUTCOME), who.c.person_id, literal(""), literal(now))
    names = ("request_id", "kind", "person_id", "detail", "send_at")
    db.execute(NOTES.insert().from_select(names, told))
    if not once_more:
        db.execute(WATCHERS.delete().where(watchers))
    if ended:
        db.execute(FOLLOWERS.delete().where(followers))
