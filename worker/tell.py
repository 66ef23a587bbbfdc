"""Says what people have to hear about a request, each time in the first place where Slack takes it.

1. A reply goes into the thread of the card, and what somebody wanted to know to them as a direct message.
2. What Slack refuses there (the thread is locked, the app's messages tab is off) is said privately in the
   channel. A reminder is to nobody in particular, and is said in the channel for all to see.
   A question about colleagues is private from the start.
3. If Slack refuses that as well, the log says so, without the customer's words, and /readyz has a note.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import blocks
from ledger.cards import Cards
from ledger.changes import MANY_FAILURES
from ledger.rows import Row
from ledger.states import State
from ledger.trail import COLLEAGUES, DIRECT, LAST, OPENED, OUTAGE, OUTCOME, REMINDER, Note
from worker.colleagues import Questions
from worker.reminders import Reminders
from workspace.block_kit import Message
from workspace.channel import Channel
from workspace.slack_errors import CardLost, CardRefused, CardUnfit, ChannelError, SlackDown, SlackSilent

log = logging.getLogger(__name__)

CLOSED_SECONDS = 600.0  # until somebody looks again whether the working hours have begun
SILENT_MOST = 300  # calls without an answer, in about a day; then words are said in another place


@dataclass(frozen=True)
class Tell:
    """May raise LedgerError, and ChannelError for what has to be said again later.

    `held` says whether this process may work.
    """

    channel: Channel
    ledger: Cards
    held: Callable[[], bool]
    reminders: Reminders
    questions: Questions
    # Why Slack did not take a note where it belongs, by the number of the note.
    _refused: dict[int, ChannelError] = field(default_factory=dict)

    def send(self, note: Note, now: float) -> bool:
        """Deal with this note, and return whether Slack took its words.

        A note that nobody has to hear anymore is dropped, and a reply waits for the card that it belongs to.
        """
        if note.kind == OUTAGE:
            self.ledger.tell_outage(note, now)
            return False
        row = self.ledger.find(note.request_id)
        if row is None or (note.kind == REMINDER and not _is_reminded_of(row)):
            self.ledger.note_sent(note)
            return False
        if note.kind == REMINDER and not self.reminders.may_be_sent(self.channel.clock.now()):
            self.ledger.note_later(note, now + CLOSED_SECONDS, failed=False)
            return False
        if _awaits_card(row, note) or not self.held():
            self.ledger.note_later(note, now + 1.0, failed=False)
            return False
        if note.kind == COLLEAGUES:
            return self._ask(row, note)
        try:
            self._say(row, note, now)
        except CardLost as error:
            # Its thread is lost with it: another card first, then the reply.
            log.warning("request=%s card=lost cause=%r", row.id, str(error))
            self.ledger.lost_card(row, now)
            raise
        self.ledger.note_sent(note)
        self._refused.pop(note.number, None)
        return True

    def _ask(self, row: Row, note: Note) -> bool:
        """Ask whoever approved about the colleagues, and return whether Slack took that.

        If it refuses, nobody misses anything: their cards still wait.
        """
        question = self.questions.about_colleagues(row, note, self._permalink)
        try:
            if question:
                self.channel.post_ephemeral(note.person_id, question)
        except ChannelError as error:
            if not _is_final(error, row, note):
                raise
            log.warning("request=%s note=%r user=%s told=no", row.id, note.kind, note.person_id)
        self.ledger.note_sent(note)
        return question is not None

    def _say(self, row: Row, note: Note, now: float) -> None:
        """Say it where it belongs; if Slack refuses that, in another place; then only in the log."""
        refused = self._refused.get(note.number)
        if refused is None:
            try:
                self._say_in_place(row, note, self._words(row, note, now), now)
                return
            except ChannelError as error:
                if not _is_final(error, row, note):
                    raise
                refused = self._refused[note.number] = error
        who = row.id, note.kind, note.person_id
        try:
            where = self._say_elsewhere(row, note, now, is_unfit=isinstance(refused, CardUnfit))
            log.warning("request=%s note=%r user=%s told=%s cause=%r", *who, where, str(refused))
        except ChannelError as error:
            if not _is_final(error, row, note):
                raise
            causes = str(refused), str(error)
            log.warning("request=%s note=%r user=%s told=no cause=%r fallback=%r", *who, *causes)
            self.ledger.untold(note)

    def _say_elsewhere(self, row: Row, note: Note, now: float, *, is_unfit: bool) -> str:
        """Say it privately or, if it is a reminder, in the channel; return how, for the log.

        `is_unfit` says that Slack does not take the layout: then the text alone is sent.
        """
        if not note.person_id and note.kind != REMINDER:
            raise CardRefused("it is to nobody in particular")
        message = self._words(row, note, now, self._permalink(row))
        said = {"text": message["text"]} if is_unfit else message
        if note.person_id:
            self.channel.post_ephemeral(note.person_id, said)
            return "privately"
        self.channel.announce(said)
        return "in_the_channel"

    def _words(self, row: Row, note: Note, now: float, permalink: str = "") -> Message:
        """Return what the note says; `permalink` leads to the card if this is not said in its thread."""
        if note.kind == REMINDER:
            return self.reminders.message(row, now, self.channel.clock.now(), permalink)
        if note.kind == OUTCOME:
            return blocks.outcome(row, self._permalink(row))
        if note.kind == OPENED:
            email, title, at = json.loads(note.detail)
            return blocks.opened(email, title, at, self._permalink(row))
        return blocks.note(note.kind, note.person_id, note.detail, row.email)

    def _permalink(self, row: Row) -> str:
        identity = self.channel.identity
        return identity.permalink(row.channel, row.card_ts) if identity and row.card_ts else ""

    def _say_in_place(self, row: Row, note: Note, message: Message, now: float) -> None:
        """Say it in the thread of the card or, if it is for a watcher, directly."""
        if note.kind in DIRECT:
            self._direct(row, note, message)
        elif not row.card_ts:
            raise CardRefused("its request has no card")
        elif not self.channel.reply(
            row, message, also_in_channel=(note.kind, note.detail) == (REMINDER, LAST)
        ):
            # It was said all the same, and names the customer. Drawing the card shows whether it is gone.
            log.warning("request=%s note=%r user=%s card=missing", row.id, note.kind, note.person_id)
            self.ledger.redraw(row.id, now)

    def _direct(self, row: Row, note: Note, message: Message) -> None:
        """Send somebody what they wanted to know.

        Who has left the channel meanwhile learns only that there is an outcome, and of documents nothing.
        """
        try:
            if note.person_id not in self.channel.members():
                if note.kind == OPENED:
                    return
                message = blocks.outcome_withheld(row)
            self.channel.direct(note.person_id, message)
        except SlackDown as error:
            if error.retry_after:
                raise
            # It is this person or a missing scope, and no reason to keep cards from the channel.
            raise CardRefused(str(error)) from error


def _is_reminded_of(row: Row) -> bool:
    """Return whether the card still waits, and not again after it was decided."""
    return row.state == State.PENDING and row.reminders > 0


def _awaits_card(row: Row, note: Note) -> bool:
    """Return whether this is a reply to a card that is about to be posted."""
    is_coming = row.show_at is not None and row.show_failures < MANY_FAILURES
    return note.kind not in DIRECT and not row.card_ts and is_coming


def _is_final(error: ChannelError, row: Row, note: Note) -> bool:
    """Return whether Slack will not take these words in this place, however often they are sent."""
    if isinstance(error, CardLost):  # another card is posted, unless this one was the only record
        return row.state == State.CLOSED or note.failures >= MANY_FAILURES
    return isinstance(error, CardRefused) or (isinstance(error, SlackSilent) and note.failures >= SILENT_MOST)
