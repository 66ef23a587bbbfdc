"""The rows of the ledger as the rest of the app sees them.

A damaged value spoils neither its row nor the others: it is logged, and replaced by one that claims nothing.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from typing import Any

import addresses
from conveyor_client import GATED, LATEST, AccessGroup, Authorization
from ledger.states import AFTER_ALL, CHANGE, DECISIONS, Decision, State

log = logging.getLogger(__name__)

Groups = tuple[AccessGroup, ...]


@dataclass(frozen=True)
class Reviewer:
    """A person who decided, or whom Slack and the settings allow to decide."""

    id: str
    name: str
    email: str


NOBODY = Reviewer("", "", "")


@dataclass(frozen=True)
class Past:
    """An earlier request and how it ended. `state` is None where nobody knows; `at` is seconds since 1970."""

    email: str
    state: State | None = None
    at: float = 0.0
    reviewer: Reviewer = NOBODY
    reason: str = ""
    groups: Groups | None = None

    @classmethod
    def of(cls, kept: object) -> "Past | None":
        """Return what the column `previous` holds, or None if it holds nothing."""
        if kept is None:
            return None
        if not isinstance(kept, Mapping) or not _is_time(kept.get("at")):
            return cls("")
        email, state, who, name, reason = (
            str(kept.get(key) or "") for key in ("email", "state", "reviewer_id", "reviewer_name", "reason")
        )
        known = State(state) if state in _STATES else None
        return cls(email, known, kept["at"], Reviewer(who, name, ""), reason, groups_of(kept.get("groups")))

    def kept(self) -> dict[str, Any]:
        """Return what the column `previous` holds of it."""
        return {
            "email": self.email,
            "state": self.state,
            "at": self.at,
            "reviewer_id": self.reviewer.id,
            "reviewer_name": self.reviewer.name,
            "reason": self.reason,
            "groups": pairs(self.groups),
        }


@dataclass(frozen=True)
class Row:
    """One request. Times are in seconds; tables.py says what each column means, and by which clock."""

    id: str
    round: int
    state: State
    email: str
    message: str
    dataroom_id: str
    link: str
    received_at: float
    updated_at: float | None = None
    crm_link: str = ""
    status: str = ""
    previous: Past | None = None
    company: Mapping[str, Any] | None = None
    numbers: object = None
    waiting_since: float | None = None
    reminded_at: float | None = None
    reminders: int = 0
    counted_from: float | None = None
    channel: str = ""
    card_ts: str = ""
    posting_at: float | None = None
    card_state: str = ""
    revision: int = 1
    show_at: float | None = None
    show_failures: int = 0
    refusals: int = 0
    reviewer: Reviewer = NOBODY
    groups: Groups | None = None
    nda_bypass: bool = False
    expires_at: str = ""
    authorization_id: str = ""
    access_status: str = ""
    access_ends: str | None = None
    signed_at: float | None = None
    reason: str = ""
    revoke_reason: str = ""
    revoker: Reviewer = NOBODY
    revoked_at: float | None = None
    changer: Reviewer = NOBODY
    wanted: Groups | None = None
    basis: Groups | None = None
    note: str = ""
    changed: Past | None = None
    rejection: Past | None = None
    claimed_at: float | None = None
    claimed_since: float | None = None
    sent_at: float | None = None
    open_since: float | None = None
    refusal: str | None = None
    settled_at: float | None = None
    settled_since: float | None = None
    decide_at: float | None = None
    decide_failures: int = 0
    problem: str = ""
    told_late: bool = False
    adopted: bool = False
    read_at: float | None = None
    not_found: int = 0

    @property
    def subject(self) -> str:
        """A digest of the address and the Trust Center on the card, which a click on it is bound to."""
        return sha256(json.dumps([addresses.folded(self.email), self.dataroom_id]).encode()).hexdigest()[:16]

    @property
    def decision(self) -> Decision | None:
        """The decision that is being carried out, or that led to this state; None if there is none."""
        return next((each for each in DECISIONS if self.state in (each.runs_as, each.ends_as)), None)

    @property
    def decision_id(self) -> str:
        """The short id of that decision in the log, or "none"."""
        return decision_id(self.id, self.round, self.claimed_at) if self.claimed_at else "none"

    @property
    def decider(self) -> Reviewer:
        """Who made that decision."""
        by = self.decision.by if self.decision else "reviewer"
        return {"reviewer": self.reviewer, "revoker": self.revoker, "changer": self.changer}[by]

    @property
    def is_shown(self) -> bool:
        """Whether the card shows who decided: Slack took a picture of this state, or of the one before."""
        if self.state == State.APPROVED and self.changed:  # the card said "approved" before the change, too
            return self.show_at is None or self.card_state == CHANGE.runs_as
        return self.card_state in (self.state, self.decision.runs_as if self.decision else self.state)

    @property
    def rejected(self) -> Past | None:
        """How it had been rejected before it was, or is to be, approved after all; None if it was not."""
        past = replace(self, state=AFTER_ALL.comes_from).past
        return replace(past, email="") if self.state == AFTER_ALL.runs_as else self.rejection

    @property
    def is_gated(self) -> bool:
        """Whether it is approved, but the customer gets in only when they have signed the NDA."""
        return self.state == State.APPROVED and self.access_status == GATED

    @property
    def past(self) -> Past:
        """How this round ended, once it has."""
        at = self.revoked_at if self.state == State.REVOKED else self.settled_at
        reason = self.revoke_reason if self.state == State.REVOKED else self.reason
        return Past(self.email, self.state, at or 0.0, self.decider, reason, self.groups)


def decision_id(request_id: str, round: int, claimed_at: float) -> str:
    """Return a short id for the decision that claimed this request at this time."""
    return sha256(f"{request_id} {round} {claimed_at!r}".encode()).hexdigest()[:8]


_TIMES = [field.name for field in fields(Row) if field.type in (float, float | None)]
_NAMES = [field.name for field in fields(Row)]
_STATES = frozenset(State)


class Damaged:
    """What a JSON column holds if it cannot be read."""


def json_of(text: str) -> object:
    """Return the JSON value of a column, or a Damaged. SQLAlchemy reads every such column with this."""
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return Damaged()


def row_of(found: Any) -> Row:
    """Return the row that the database found."""
    values = dict(found._mapping)
    damaged = [name for name in _TIMES if values[name] is not None and not _is_time(values[name])]
    damaged += [name for name, value in values.items() if isinstance(value, Damaged)]
    values |= dict.fromkeys(damaged, 0.0)
    if values["state"] not in _STATES:
        damaged.append("state")
        values["state"] = State.CLOSED
    values["state"] = State(values["state"])
    values |= {name: groups_of(values[name]) for name in ("groups", "wanted", "basis")}
    values |= {name: Past.of(values[name]) for name in ("previous", "changed", "rejection")}
    values["company"] = values["company"] if isinstance(values["company"], Mapping | None) else {}
    for by in ("reviewer", "revoker", "changer"):
        values[by] = Reviewer(*(values[f"{by}_{part}"] for part in ("id", "name", "email")))
    for name in damaged:
        log.warning("request=%s damaged=%s", values["id"], name)
    return Row(**{name: values[name] for name in _NAMES})


def person(by: str, who: Reviewer) -> dict[str, str]:
    """Return the three columns that hold who made a decision; `by` is their prefix (see Decision)."""
    return {f"{by}_{part}": value for part, value in asdict(who).items()}


def groups_of(kept: object) -> Groups | None:
    """Return the groups in a JSON column; None where nobody knows them, or where the value is damaged."""
    if not isinstance(kept, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in kept):
        return None
    return tuple(AccessGroup(*map(str, pair)) for pair in kept)


def of_trust_center(row: Row, grants: list[Authorization]) -> list[Authorization]:
    """Return those that may be for the Trust Center of the request, or of the access that it was granted."""
    rooms = (each.dataroom_id for each in grants if each.id == row.authorization_id)
    room = row.dataroom_id or next(rooms, "")
    return [each for each in grants if each.is_in(room)]


def pairs(groups: Iterable[AccessGroup] | None) -> list[list[str]] | None:
    """Return what a JSON column holds of these groups: their ids and names."""
    return None if groups is None else [[group.id, group.name] for group in groups]


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and 0.0 <= value < LATEST
