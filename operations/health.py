"""What /readyz says: is the app ready, and if not, why? docs/operating.md explains each sentence."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from deadline import Calls
from ledger.database import LedgerError
from ledger.ledger import Ledger
from ledger.rows import PollStatus
from settings import Settings
from workspace.channel import Channel
from workspace.reviewers import groups_in
from workspace.slack_clock import REFUSED_SECONDS

FULL_SECONDS = 5.0  # for so long every call of one kind may be under way without being taken for stuck
LATE_SECONDS = 60.0  # after which somebody should have polled Conveyor, or read another page of its answer
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
    if problem := _clock_problem(settings, channel.clock.off()):
        found.reasons.append(problem)
    if channel.id != settings.slack_channel_id:
        found.notes.append(f"SLACK_CHANNEL_ID is {channel.id} by now: Slack gave the channel another id.")
    channel_problems = channel.problems
    try:
        polls = ledger.polls.status()
        failing = ledger.upkeep.failing()
        shortened = ledger.upkeep.shortened(ledger.database.clock() - DAY_SECONDS)
        groups = groups_in(settings.reviewers)
        unread = sorted(set(groups) - ledger.user_groups.members().keys()) if groups else []
    except LedgerError as error:
        found.reasons.append(f"Ledger: {error}.")
    else:
        # Whichever process works has met some that the others cannot know.
        channel_problems += polls.channel_problems.splitlines()
        if problem := ledger.database.problem:
            found.reasons.append(f"Ledger: {problem}.")
        else:
            found.reasons.extend(_unread(polls, settings.poll_seconds, ledger.database.clock()))
        if unread:
            found.reasons.append(f"Slack: who is in {', '.join(unread)} is not known; the log says why.")
        found.notes.extend(_worth_knowing(polls, ledger.database.clock.time_of_day()))
        found.notes.extend(f"Request {request_id} keeps failing; the log says why." for request_id in failing)
        found.notes.extend(
            f"Request {request_id} has only a shorter card; the log says why." for request_id in shortened
        )
    found.reasons.extend(f"Slack: {problem}." for problem in dict.fromkeys(channel_problems))
    if not settings.reviewers:
        found.notes.append(EVERYBODY_MAY_DECIDE)
    return found


def _unread(polls: PollStatus, poll_seconds: float, now: float) -> list[str]:
    """Return why requests do not arrive: Conveyor, or first the channel, could not be read.

    `now` is a time of the ledger's clock. A poll of many pages takes long, and is well while it goes on.
    """
    since = f"since {_utc(polls.polled_at)}" if polls.polled_at else "yet"
    if polls.problem:
        return [f"Conveyor: no complete look {since}: {polls.problem}."]
    if polls.adopted_at is None:
        return [f"Slack: the channel was not read yet.{f' {_reading(polls)}' if polls.messages_read else ''}"]
    if (polls.polled_since or 0.0) < now - max(LATE_SECONDS, 3 * poll_seconds):
        return [f"Conveyor: no complete look {since}."]
    return []


def _worth_knowing(polls: PollStatus, time_of_day: float) -> list[str]:
    """Return the notes about polls, about words that reached nobody, and about reading the channel back."""
    notes = [f"Conveyor: {polls.note}. They get cards like any other."] if polls.note else []
    if (polls.untold_at or 0.0) > time_of_day - DAY_SECONDS:
        at = _utc(polls.untold_at or 0.0)
        notes.append(f"Not told: Slack took words to a person nowhere, at {at}; the log says why.")
    if polls.messages_read and polls.adopted_at is not None:
        notes.append(_reading(polls))
    return notes


def _reading(polls: PollStatus) -> str:
    return f"Reading the channel back: {polls.messages_read:,} messages so far."


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _clock_problem(settings: Settings, off: float) -> str:
    """Return what is wrong with this machine's clock, which is ahead of Slack's by so many seconds.

    Signatures are compared with it, but nothing is signed over a socket.
    """
    if settings.slack_app_token or abs(off) <= REFUSED_SECONDS:
        return ""
    way = "ahead" if off > 0 else "behind"
    return f"Clock: this machine's is {abs(off) / 60:,.0f} minutes {way}, so every click is refused. Set it."
