"""What /readyz says: is the app ready, and if not, why? docs/operating.md explains each sentence."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from deadline import Calls
from ledger.database import LedgerError
from ledger.ledger import Ledger
from settings import Settings
from workspace.channel import Channel

FULL_SECONDS = 5.0  # for so long every call of one kind may be under way without being taken for stuck
DAY_SECONDS = 86400.0
EVERYBODY_MAY_DECIDE = (
    "REVIEWERS is empty: every full member of the workspace who can see a card may decide it."
)


@dataclass
class Readiness:
    """Why the app is not ready, in sentences, and notes that are only worth knowing."""

    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def readiness(
    settings: Settings, ledger: Ledger, channel: Channel, socket_problem: str, calls: Sequence[Calls]
) -> Readiness:
    """Return what is wrong now, each in a sentence."""
    found = Readiness()
    found.reasons.extend(
        f"Calls to {each.name} are all stuck, for {each.full_seconds():.0f} s."
        for each in calls
        if each.full_seconds() > FULL_SECONDS
    )
    if channel.problem:
        found.reasons.append(f"Slack: {channel.problem}.")
    if socket_problem:
        found.reasons.append(f"Slack: {socket_problem}.")
    try:
        polls = ledger.polls.status()
        failing = ledger.upkeep.failing()
        shortened = ledger.upkeep.shortened(time.time() - DAY_SECONDS)
    except LedgerError as error:
        found.reasons.append(f"Ledger: {error}.")
    else:
        since = f"since {_utc(polls.polled_at)}" if polls.polled_at else "yet"
        if polls.problem:
            found.reasons.append(f"Conveyor: no complete look {since}: {polls.problem}.")
        elif polls.adopted_at is None:
            found.reasons.append("Slack: the channel was not read yet.")
        elif (polls.polled_at or 0.0) < time.time() - max(60.0, 3 * settings.poll_seconds):
            found.reasons.append(f"Conveyor: no complete look {since}.")
        if polls.note:
            found.notes.append(f"Conveyor: {polls.note}. New ones get no card.")
        found.notes.extend(f"Request {request_id} keeps failing; the log says why." for request_id in failing)
        found.notes.extend(
            f"Request {request_id} has only a shorter card; the log says why." for request_id in shortened
        )
        if (polls.untold_at or 0.0) > time.time() - DAY_SECONDS:
            at = _utc(polls.untold_at or 0.0)
            found.notes.append(f"Not told: Slack took words to a person nowhere, at {at}; the log says why.")
    if not settings.reviewers:
        found.notes.append(EVERYBODY_MAY_DECIDE)
    return found


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
