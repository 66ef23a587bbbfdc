"""What /readyz says: is the app ready, and if not, why not? docs/operating.md explains each sentence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from flask import Response, jsonify

from deadline import Calls
from ledger.database import LedgerError
from ledger.ledger import Ledger
from ledger.polls import PollStatus
from settings import Settings
from version import VERSION
from workspace.channel import Channel
from workspace.reviewers import Reviewers, groups_in
from workspace.slack_clock import REFUSED_SECONDS

FULL_SECONDS = 5.0  # calls count as stuck when every slot of their kind has been taken for longer
LATE_SECONDS = 60.0  # after which somebody should have polled Conveyor, or read another page of its answer
DAY_SECONDS = 86400.0
EVERYBODY_MAY_DECIDE = (
    "REVIEWERS is empty, so every full member of the workspace who can see a card may decide."
)


@dataclass
class Readiness:
    """Why the app is not ready, in sentences, and notes that are only worth knowing."""

    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Noting(Protocol):
    """Whoever has notes for /readyz."""

    def notes(self) -> list[str]: ...


class Health:
    """Why the app is not ready, now.

    `socket_problem` returns "" while clicks can arrive; it is None without Socket Mode.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        channel: Channel,
        reviewers: Reviewers,
        calls: Sequence[Calls],
        socket_problem: Callable[[], str] | None,
        noting: Sequence[Noting],
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._channel = channel
        self._reviewers = reviewers
        self._calls = calls
        self._socket_problem = socket_problem
        self._noting = noting

    def response(self) -> Response:
        """Return what /readyz says to alarms and people: 200, or 503 and the reasons in sentences."""
        found = self.found()
        ready = not found.reasons
        for each in self._noting:
            found.notes.extend(each.notes())
        response = jsonify(ready=ready, version=VERSION, reasons=found.reasons, notes=found.notes)
        response.status_code = 200 if ready else 503
        return response

    def found(self) -> Readiness:
        """Return what is wrong now, each in a sentence."""
        settings, ledger, channel = self._settings, self._ledger, self._channel
        found = Readiness()
        found.reasons.extend(
            f"All calls to {each.name} have been stuck for {each.full_seconds():.0f} s."
            for each in self._calls
            if each.full_seconds() > FULL_SECONDS
        )
        if channel.problem:
            found.reasons.append(f"Slack: {channel.problem}.")
        if self._socket_problem and (problem := self._socket_problem()):
            found.reasons.append(f"Slack: {problem}.")
        if problem := self._reviewers.problem:
            found.reasons.append(f"Slack: {problem}.")
        if problem := _clock_problem(settings, channel.clock.off()):
            found.reasons.append(problem)
        if channel.id != settings.slack_channel_id:
            found.notes.append(
                f"SLACK_CHANNEL_ID should be {channel.id} now: Slack gave the channel a new ID."
            )
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
            # The process that does the background work may know problems that the others do not.
            channel_problems += polls.channel_problems.splitlines()
            if problem := ledger.database.problem:
                found.reasons.append(f"Ledger: {problem}.")
            else:
                found.reasons.extend(_unread(polls, settings.poll_seconds, ledger.database.clock()))
            if unread:
                found.reasons.append(f"Slack: the members of {', '.join(unread)} are unknown. See the log.")
            found.notes.extend(_worth_knowing(polls, ledger.database.clock.time_of_day()))
            found.notes.extend(f"Request {request_id} keeps failing. See the log." for request_id in failing)
            found.notes.extend(
                f"Request {request_id} has only a shorter card. See the log." for request_id in shortened
            )
        found.reasons.extend(f"Slack: {problem}." for problem in dict.fromkeys(channel_problems))
        if not settings.reviewers:
            found.notes.append(EVERYBODY_MAY_DECIDE)
        return found


def _unread(polls: PollStatus, poll_seconds: float, now: float) -> list[str]:
    """Return why requests are not arriving: Conveyor, or before that the channel, could not be read.

    `now` is a time of the ledger's clock. A long poll counts as well while it makes progress.
    """
    since = f"since {_utc(polls.polled_at)}" if polls.polled_at else "yet"
    if polls.problem:
        return [f"Conveyor: no complete poll {since}: {polls.problem}."]
    if polls.adopted_at is None:
        reading = f" Reading the channel back: {polls.messages_read:,} messages so far."
        return [f"Slack: the channel hasn't been read yet.{reading if polls.messages_read else ''}"]
    if (polls.polled_since or 0.0) < now - max(LATE_SECONDS, 3 * poll_seconds):
        return [f"Conveyor: no complete poll {since}."]
    return []


def _worth_knowing(polls: PollStatus, time_of_day: float) -> list[str]:
    """Return the notes about polls, and messages that reached nobody."""
    notes = [f"Conveyor: {polls.note}. They get cards as usual."] if polls.note else []
    if (polls.untold_at or 0.0) > time_of_day - DAY_SECONDS:
        at = _utc(polls.untold_at or 0.0)
        notes.append(f"Not told: Slack refused a message to somebody at {at}. See the log.")
    return notes


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _clock_problem(settings: Settings, off: float) -> str:
    """Return what is wrong with this machine's clock, which is `off` seconds ahead of Slack's, or "".

    Signatures are compared with it, but nothing is signed over a socket.
    """
    if settings.slack_app_token or abs(off) <= REFUSED_SECONDS:
        return ""
    way = "ahead" if off > 0 else "behind"
    minutes = f"{abs(off) / 60:,.0f} minutes"
    return f"Clock: this machine's clock is {minutes} {way}, so every click is refused. Set it."
