"""Answers the slash command (where does each request stand?) and records who wants to be told of a decision.

Nothing here decides a request or sends the message about a decision, and Conveyor is only read.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slack_bolt import App

import addresses
import blocks
from conveyor_client import ConveyorClient, ConveyorError
from ledger.ledger import Ledger
from ledger.rows import Row
from ledger.states import SETTLED, State
from listeners.answers import Answers, identity_of
from listeners.errors import Refusal
from listeners.payloads import button_text, command_text, text_at, user_of
from listeners.questions import as_shown, readings, word
from text import is_readable
from workspace.block_kit import Message
from workspace.channel import Channel
from workspace.reviewers import Reviewers, Unknown
from workspace.slack_errors import ChannelError

log = logging.getLogger(__name__)

CONVEYOR_SECONDS = 2.0  # for everything that one answer asks Conveyor
MAX_WATCHED = 20


@dataclass(frozen=True)
class Rooms:
    """Answers every member of the channel that holds the cards, even people who can't decide requests."""

    _ledger: Ledger
    _channel: Channel
    _reviewers: Reviewers
    _conveyor: ConveyorClient
    _answers: Answers
    _clock: Callable[[], float]

    def register(self, bolt: App) -> None:
        # Every command, because the manifest may give it another name.
        bolt.command(re.compile("^/"))(self._answers.on_question(self.answer))
        bolt.action(blocks.TELL_ME)(self._answers.on_question(self.watch))
        bolt.action(blocks.STOP_TELLING)(self._answers.on_question(self.unwatch))

    def answer(self, body: Mapping[str, Any]) -> Message:
        person_id = self._member(body)
        typed = command_text(body)
        if not is_readable(typed):
            rows, total = self._ledger.memory.waiting(blocks.WAITING_MOST)
            return blocks.waiting_answer(rows, total, self._clock(), self._permalink)
        if word(typed) == "watching":
            rows, total = self._ledger.memory.watched_by(person_id, MAX_WATCHED)
            return blocks.watching_answer(rows, total, self._permalink)
        if customers := readings(typed):
            return self._answer_about(customers)
        unknown = "" if word(typed) == "help" else as_shown(typed)
        return blocks.rooms_help(text_at(body, "command"), unknown)

    def watch(self, body: Mapping[str, Any]) -> str | None:
        """Note that this person wants to be told when the request is decided."""
        person_id = self._member(body)
        row = self._clicked(body)
        ended = row.state in SETTLED
        if not self._is_first(body, row, "too late to watch" if ended else "watching"):
            return None
        if ended:
            return blocks.already_ended(row)
        new = self._ledger.memory.watch(row.id, person_id, self._clock())
        if after := self._ended_meanwhile(row, person_id):
            return blocks.already_ended(after)
        return blocks.watched(row, new=new)

    def unwatch(self, body: Mapping[str, Any]) -> str | None:
        """Forget that this person wants to be told about the request."""
        person_id = self._member(body)
        row = self._clicked(body)
        if not self._is_first(body, row, "not watching"):
            return None
        self._ledger.memory.unwatch(row.id, person_id)
        self._ledger.memory.forget_outcome(row.id, person_id)  # if it was decided just now
        return blocks.UNWATCHED

    def _member(self, body: Mapping[str, Any]) -> str:
        """Return the id under which the channel lists whoever asks. Raises Refusal if it does not list them.

        The answers contain internal reasons, which only people who see the cards may read. In an organization
        the channel may list a person under another id than the one that the payload has.
        """
        organization = identity_of(self._channel).enterprise_id
        ids = frozenset([user_of(body)])
        try:
            members = self._channel.members()
            if organization and not ids & members:
                ids = self._reviewers.ids(user_of(body), organization)
        except (ChannelError, Unknown) as error:
            log.warning("members=unknown cause=%r", str(error))
            raise Refusal(blocks.MEMBERS_UNKNOWN, "members unknown") from error
        if not ids & members:
            raise Refusal(blocks.NOT_IN_CHANNEL, "not in the channel")
        return min(ids & members)

    def _permalink(self, row: Row) -> str:
        identity = self._channel.identity
        return identity.permalink(row.channel, row.card_ts) if identity else ""

    def _answer_about(self, customers: Sequence[str]) -> Message:
        """Answer about the first of these addresses or domains that has asked, or about the last of them."""
        now = self._clock()
        for who in customers:
            rows, total = self._ledger.memory.asked(who, blocks.ROOMS_MOST)
            if rows:
                break
        return blocks.rooms_answer(who, rows, total, self._access_now(who, rows), now, self._permalink)

    def _access_now(self, who: str, rows: Sequence[Row]) -> dict[str, str | None]:
        """Return the access that Conveyor lists for each customer now; None if it could not say in time.

        Conveyor is asked about people whose request may have given them access. If there is no request, it is
        asked about the address itself.
        """
        places = [
            (row.email, row.dataroom_id)
            for row in rows
            if row.state in (State.APPROVED, State.REVOKED, State.APPROVED_ELSEWHERE) or row.previous
        ]
        if not rows and "@" in who:
            places = [(who, "")]
        found: dict[str, str | None] = dict.fromkeys((email for email, _ in places), None)

        conveyor = self._conveyor.within(CONVEYOR_SECONDS)
        try:
            for email, room in places:
                if found[email] is None:
                    found[email] = _access_status(conveyor, email, room)
        except ConveyorError as error:
            log.warning("access=unknown cause=%r", str(error))
        return found

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
        if after and after.state in SETTLED and self._ledger.memory.unwatch(row.id, person_id):
            return after
        return None


def _access_status(conveyor: ConveyorClient, email: str, room: str) -> str:
    """Return the status of access that is left, if there is any, however many others were revoked."""
    # How Conveyor writes the addresses that it keeps is not known, nor whether it looks for others.
    spellings = dict.fromkeys([email, addresses.folded(email)])
    grants = [granted for spelling in spellings for granted in conveyor.authorizations(spelling)]
    statuses = [granted.status for granted in grants if granted.is_in(room)]
    return next((status for status in statuses if status != "revoked"), statuses[0] if statuses else "")
