"""Answers the slash command (where does each request stand?) and records who wants to be told of a decision.

Nothing here decides a request or sends the message about a decision, and Conveyor is only read.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from slack_bolt import App

import addresses
import blocks
from ledger.ledger import Ledger
from ledger.numbers import DAY_SECONDS
from ledger.rows import Row
from ledger.states import LET_IN, SETTLED, UNDECIDED, State
from listeners.answers import Answers
from listeners.customers import OFFERED_MOST, Customers
from listeners.errors import Refusal
from listeners.members import Members
from listeners.payloads import button_text, command_text, text_at, user_of
from listeners.questions import as_shown, days, part, readings, word
from text import is_readable
from working_hours import WorkingHours
from workspace.block_kit import Message

MAX_WATCHED = 20


@dataclass(frozen=True)
class Rooms:
    """Answers every member of the channel that holds the cards, even people who can't decide requests."""

    _ledger: Ledger
    _members: Members
    _customers: Customers
    _answers: Answers
    _clock: Callable[[], float]
    _hours: WorkingHours | None

    def register(self, bolt: App) -> None:
        # Every command, because the manifest may give it another name.
        bolt.command(re.compile("^/"))(self._answers.on_question(self.answer))
        bolt.action(re.compile(f"^{blocks.ASK_ABOUT}-[0-9]$"))(self._answers.on_question(self.ask))
        bolt.action(blocks.TELL_ME)(self._answers.on_question(self.watch))
        bolt.action(blocks.TELL_MORE)(self._answers.on_question(self.follow))
        bolt.action(blocks.STOP_TELLING)(self._answers.on_question(self.unwatch))

    def answer(self, body: Mapping[str, Any]) -> Message:
        person_id = self._members.check(body)
        command, typed = text_at(body, "command"), command_text(body)
        if not is_readable(typed):
            rows, total = self._ledger.memory.waiting(blocks.WAITING_MOST)
            return blocks.waiting_answer(rows, total, self._clock(), self._customers.permalink)
        if word(typed) == "watching":
            rows, total = self._ledger.memory.watched_by(person_id, MAX_WATCHED)
            until = self._followed_until(person_id)
            return blocks.watching_answer(rows, total, self._customers.permalink, until)
        if word(typed) == "help":
            return blocks.rooms_help(command)
        if word(typed).split()[:1] == ["numbers"]:
            return self._numbers(command, " ".join(word(typed).split()[1:]))
        if name := part(typed):
            if found := self._ledger.memory.called(name, OFFERED_MOST + 1):
                found = [each if "@" in each else addresses.domain_unfolded(each) for each in found]
                return self._customers.offered(found, blocks.MORE_CALLED)
            return blocks.rooms_help(command, name, searched=True)
        if customer := readings(typed):
            return self._customers.about(customer)
        return blocks.rooms_help(command, as_shown(typed))

    def _numbers(self, command: str, typed: str) -> Message:
        """Answer how many requests there were in the period that was typed, or in the last 30 days."""
        if not (period := days(typed or "30d")):
            return blocks.period_not_understood(command, typed)
        now = self._clock()
        since = now - period * DAY_SECONDS
        found = self._ledger.numbers.numbers(since, now, self._customers.permalink, self._hours)
        return blocks.numbers(found)

    def ask(self, body: Mapping[str, Any]) -> Message:
        """Answer about the customer whom a button names, one of several that an answer offered."""
        self._members.check(body)
        customer = self._customers.known([button_text(body)])
        if customer is None:
            raise Refusal(blocks.NOT_ASKED, "unknown customer")
        return self._customers.about([customer])

    def watch(self, body: Mapping[str, Any]) -> str | Message | None:
        """Note that this person wants to be told when the request is decided."""
        person_id = self._members.check(body)
        row = self._clicked(body)
        ended = row.state not in UNDECIDED
        if not self._is_first(body, row, "too late to watch" if ended else "watching"):
            return None
        if ended:
            return self._and_more(blocks.already_ended(row), row)
        new = self._ledger.memory.watch(row.id, person_id, self._clock())
        if after := self._ended_meanwhile(row, person_id):
            return self._and_more(blocks.already_ended(after), after)
        return self._and_more(blocks.watched(row, new=new), row)

    def follow(self, body: Mapping[str, Any]) -> str | None:
        """Note that this person wants to know when the customer signs the NDA and opens a document."""
        person_id = self._members.check(body)
        row = self._clicked(body)
        ended = _is_over(row)
        if not self._is_first(body, row, "too late to watch" if ended else "following"):
            return None
        if ended:
            return blocks.already_ended(row)
        if not self._customers.documents_are_seen():
            if row.state not in LET_IN or row.is_gated:
                self._ledger.memory.watch(row.id, person_id, self._clock())
            return blocks.documents_unseen(row, self._clock())
        self._ledger.followers.follow(row.id, person_id)
        after = self._ledger.decisions.find(row.id) or row
        if _is_over(after):  # too early for this new follower to be told of it
            self._ledger.followers.unfollow(row.id, person_id)
            return blocks.already_ended(after)
        until = self._followed_until(person_id).get(row.id, self._clock())
        return blocks.followed(after, until, self._clock())

    def unwatch(self, body: Mapping[str, Any]) -> str | None:
        """Forget that this person wants to be told about the request."""
        person_id = self._members.check(body)
        row = self._clicked(body)
        if not self._is_first(body, row, "not watching"):
            return None
        self._ledger.memory.unwatch(row.id, person_id)
        self._ledger.followers.unfollow(row.id, person_id)
        self._ledger.memory.forget_notes(row.id, person_id)  # if it was decided just now
        return blocks.unwatched(row)

    def _followed_until(self, person_id: str) -> dict[str, float]:
        """Return the requests about whose documents this person is told, and until when."""
        return {each.row.id: each.until for each in self._ledger.followers.every(person_id)}

    def _and_more(self, said: str, row: Row) -> str | Message:
        """Return this answer and, if the customer may be let in, a button to be told of more."""
        return said if _is_over(row) else blocks.more_offered(said, row, self._clock())

    def _clicked(self, body: Mapping[str, Any]) -> Row:
        """Return the request that the clicked button names."""
        request_id = button_text(body)
        row = self._ledger.decisions.find(request_id) if request_id else None
        if row is None:
            raise Refusal(blocks.NOT_ASKED, "unknown request")
        return row

    def _is_first(self, body: Mapping[str, Any], row: Row, event: str) -> bool:
        """Record the click in the audit trail, and return False if it is a copy of one recorded before."""
        trigger_id = text_at(body, "trigger_id")
        clicked = event, row.id, user_of(body), trigger_id
        return bool(trigger_id) and self._ledger.decisions.record_click(*clicked)

    def _ended_meanwhile(self, row: Row, person_id: str) -> Row | None:
        """Return the request if it was decided too early for this new watcher to be told of it."""
        after = self._ledger.decisions.find(row.id)
        if after and after.state not in UNDECIDED and self._ledger.memory.unwatch(row.id, person_id):
            return after
        return None


def _is_over(row: Row) -> bool:
    """Return whether the customer was not let in, or is not anymore.

    An approval after all may still let them in. If it fails, they stay rejected, and nobody is told of that.
    """
    was_rejected = row.state is State.APPROVING_AFTER_ALL
    return was_rejected or (row.state in SETTLED and row.state not in LET_IN)
