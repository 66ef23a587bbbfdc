"""The loop that writes to Slack, one message after another, so that an older card never replaces a newer."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from ledger.changes import MANY_FAILURES
from ledger.database import LedgerError
from ledger.ledger import Ledger
from ledger.rows import Row
from ledger.states import State
from ledger.trail import REMINDER, Note
from worker.adopt import Adopt, kept_by_card
from worker.back_off import pause
from worker.companies import Companies
from worker.draw import Draw
from worker.pace import Pace
from worker.sweep import NEW_SECONDS, Sweep
from worker.tell import Tell
from workspace.channel import Channel
from workspace.history import Reading
from workspace.slack_errors import (
    CardLost,
    CardRefused,
    CardUnfit,
    ChannelError,
    PostingRestricted,
    SlackDown,
    SlackSilent,
)

log = logging.getLogger(__name__)

POST_SECONDS = 1.0  # Slack: about one message a second in each conversation
DIRECT_SECONDS = 0.2  # between direct messages to anybody: Slack takes several hundred messages a minute
REDRAW_SECONDS = 1.5  # Slack takes 50 changes a minute; those that show a decision need some of them
LOOK_AGAIN_SECONDS = 10.0  # by then what got no answer has arrived or never will
HISTORY_MARGIN = 300.0  # a ledger restored from a backup, or a first answer of Slack, may be late
SWEEP_SECONDS = 600.0  # in which each open card is asked for, in case that somebody deleted it
IDLE_SECONDS = 0.5
# What waits separately: Slack's methods, by the names that errors have for them. POST is for the channel; a
# direct message waits for its person, too.
UPDATE, POST, READ = "chat_update", "chat_postMessage", "conversations_history"
MEMBERS, DIRECT, REDRAW, SWEEP = "conversations_members", "direct", "redraw", "sweep"
LONGEST_OUTAGE_PAUSE = 60.0


class Show:
    """Keeps the channel true to the ledger: cards, replies in their threads, and messages to watchers.

    `held` says whether this process may work. Due times go by `clock`, and waiting for Slack by `monotonic`.
    `tell_posted` is told each row that has a card now, and the time of day.
    """

    def __init__(
        self,
        channel: Channel,
        ledger: Ledger,
        companies: Companies,
        draw: Draw,
        tell: Tell,
        held: Callable[[], bool],
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
        tell_posted: Callable[[Row, float], object] | None = None,
    ) -> None:
        self._channel = channel
        self._cards = ledger.cards
        self._polls = ledger.polls
        self._same = ledger.same
        self._adopt = Adopt(channel, ledger.cards)
        self._draw = draw
        self._tell = tell
        self._sweep = Sweep(channel, ledger.cards)
        self._companies = companies
        self._held = held
        self._clock = clock
        self._tell_posted = tell_posted or (lambda row, at: None)
        self._pace = Pace(monotonic)
        self._pace.wait(SWEEP, min(NEW_SECONDS, SWEEP_SECONDS))
        self._is_replys_turn = False
        self._search: tuple[object, float, Reading] | None = None  # for a card whose posting is in doubt
        self._outages: Counter[tuple[str, ...]] = Counter()  # in a row, by what was not possible
        self._cause = ""  # of the last outage, until something gets through
        self._doubtful: dict[str, float] = {}  # when an update was sent that got no answer

    def round(self) -> float:
        """Make one call, if one is due; return the seconds until there may be another.

        1. While the channel was not read back, read the next page. Nothing else is done before.
        2. Update a card, one that shows a decision first.
        3. Ask for the next card that may have been deleted.
        4. Post a card or a reply. They take turns, but reminders come last: many may be due at once.
        5. Send a direct message.
        """
        if self._channel.identity is None:
            return IDLE_SECONDS
        now = self._clock()
        if not self._is_read(now):
            return 0.0 if self._pace.is_free(READ) else IDLE_SECONDS
        is_done = self._updated(now) or self._swept(now) or self._posted(now) or self._told(now)
        return 0.0 if is_done else min(self._pace.seconds(), IDLE_SECONDS)

    def _is_read(self, now: float) -> bool:
        """Return whether the channel was read back; if it was not, read a page."""
        status = self._polls.status()
        is_read = status.adopted_at is not None
        if not is_read and self._pace.is_free(READ):
            self._look(lambda: self._adopt.run(now))
        problems = "\n".join(self._channel.problems)
        if (problems, self._adopt.messages) != (status.channel_problems, status.messages_read):
            self._polls.record_channel(problems, self._adopt.messages)
        return is_read

    def _updated(self, now: float) -> bool:
        if not self._pace.is_free(UPDATE) or not (row := self._cards.next_update(now)):
            return False
        if row.card_state == row.state:
            if not self._pace.is_free(REDRAW):
                return False
            self._pace.wait(REDRAW, REDRAW_SECONDS)
        self._attempt(row, UPDATE, self._update)
        return True

    def _swept(self, now: float) -> bool:
        if not self._pace.is_free(READ, SWEEP):
            return False
        self._look(lambda: self._pace.wait(SWEEP, self._sweep.step(now, SWEEP_SECONDS)))
        return True

    def _posted(self, now: float) -> bool:
        if not self._pace.is_free(POST):
            return False
        note = self._cards.next_reply(now)
        is_reply = note is not None and note.kind != REMINDER and self._is_replys_turn
        row = None if is_reply else self._cards.next_post(now, in_doubt=self._pace.is_free(READ))
        self._is_replys_turn = row is not None
        if row:
            self._attempt(row, POST, self._post)
        elif note:
            self._say(note, POST)
        return bool(row or note)

    def _told(self, now: float) -> bool:
        if not self._pace.is_free(DIRECT, MEMBERS):
            return False
        note = self._cards.next_direct(now, self._pace.waiting())
        if note:
            self._say(note, note.person_id)
            self._pace.wait(DIRECT, DIRECT_SECONDS)
        return note is not None

    def _look(self, step: Callable[[], None]) -> None:
        """Take a step that reads the channel."""
        try:
            step()
        except ChannelError as error:
            self._wait(error, READ)
        else:
            self._outages.pop((READ,), None)

    def _attempt(self, row: Row, what: str, draw: Callable[[Row], None]) -> None:
        try:
            draw(row)
        except CardLost as error:
            self._lose(row, error)
        except ChannelError as error:
            if not self._outage(error, what):
                self._put_off(row, error)
        except LedgerError:
            raise
        except Exception as error:
            # A card that cannot be drawn is a bug, and must not keep the others from being drawn.
            log.exception("request=%s card=failed failures=%d", row.id, row.show_failures)
            self._put_off(row, error)
        else:
            self._got_through()

    def _put_off(self, row: Row, error: Exception) -> None:
        """Draw the card again later or, if it may be the card itself that fails, a shorter one now."""
        unclear = isinstance(error, ChannelError) and not isinstance(error, CardUnfit)
        if isinstance(error, SlackSilent) or (unclear and row.show_failures + 1 < MANY_FAILURES):
            log.error("request=%s card=refused failures=%d cause=%r", row.id, row.show_failures, str(error))
            self._cards.show_later(row, self._clock() + pause(row.show_failures), failed=True)
            return
        cause = str(error) if isinstance(error, ChannelError) else type(error).__name__
        log.warning("request=%s card=shorter refusals=%d cause=%r", row.id, row.refusals + 1, cause)
        wait = pause(row.show_failures) if row.refusals else 0.0
        self._cards.refused(row, self._clock() + wait)

    def _lose(self, row: Row, error: CardLost) -> None:
        log.warning("request=%s card=lost cause=%r", row.id, str(error))
        self._cards.lost_card(row, self._clock())

    def _update(self, row: Row) -> None:
        message = self._draw.card(row)
        if not self._held():
            return
        sent_at = self._clock()
        try:
            self._channel.update(row, message, kept_by_card(row))
        except SlackSilent as error:
            if error.maybe_done:
                self._doubtful[row.id] = sent_at
            raise
        said = row.id, row.round, row.decision_id, row.state
        log.info("request=%s round=%d decision=%s card=updated state=%s", *said)
        if row.state != State.PENDING:
            self._companies.forget(row.email)  # who has access may have changed
        # An older picture that got no answer may still be on its way, and would hide this one.
        again_at = self._doubtful.get(row.id, 0.0) + LOOK_AGAIN_SECONDS
        if sent_at < again_at:
            self._cards.shown(row, again_at)
            return
        self._doubtful.pop(row.id, None)
        self._cards.shown(row)

    def _post(self, row: Row) -> None:
        """Post a card, once.

        1. If an earlier posting is in doubt, look for its card in the channel instead of posting another.
        2. Ask what is known of the company, which the card keeps.
        3. Commit that the card is about to be posted: from here on its posting is in doubt.
        4. Post it.
        5. Commit its place in the channel; or that there is none, if Slack said so clearly.
        """
        if row.posting_at is not None:
            self._find(row, row.posting_at)
            return
        if row.company is None:
            row = replace(row, company=self._companies.known(row.email, self._same.of(row)))
        if not self._cards.posting(row, self._channel.id, self._channel.clock.now()):
            return
        message = self._draw.card(row)
        if not self._held():
            return
        try:
            ts = self._channel.post(message, kept_by_card(row))
        except SlackSilent as error:
            if error.maybe_done:
                posting_at = self._channel.clock.now()
                self._cards.show_later(row, self._clock(), failed=False, posting_at=posting_at)
            else:
                self._cards.not_posted(row)
            raise
        except (SlackDown, CardRefused):
            self._cards.not_posted(row)
            raise
        finally:
            self._pace.wait(POST, POST_SECONDS)
        log.info("request=%s round=%d card=posted ts=%s", row.id, row.round, ts)
        self._cards.posted(row, self._channel.id, ts)
        self._tell_posted(row, self._channel.clock.now())

    def _find(self, row: Row, posting_at: float) -> None:
        """Look for a card whose posting is in doubt. It is missing only if it still is ten seconds later."""
        key = row.id, row.round, posting_at
        if self._search is None or self._search[0] != key:
            reading = Reading(self._channel, posting_at - HISTORY_MARGIN, row.channel)
            self._search = key, self._channel.clock.now(), reading
        _, asked_at, reading = self._search
        try:
            found = reading.page()
        except SlackDown as error:
            # The search goes on where it is, and before those for deleted cards.
            self._pace.wait(SWEEP, self._wait(error, READ) + LOOK_AGAIN_SECONDS)
            return
        for card in found:
            if (card.request_id, card.round) == (row.id, row.round):
                log.info("request=%s card=found", row.id)
                self._cards.found_card(row, card.channel, card.ts)
                self._tell_posted(row, self._channel.clock.now())
                return
        if not reading.done:
            return  # the next page is read in a later round, and updates go before it
        self._search = None
        if asked_at >= posting_at + LOOK_AGAIN_SECONDS:
            self._cards.not_posted(row)
        else:
            wait = min(posting_at + LOOK_AGAIN_SECONDS - self._channel.clock.now(), LOOK_AGAIN_SECONDS)
            self._cards.show_later(row, self._clock() + wait, failed=False)

    def _say(self, note: Note, place: str) -> None:
        """Send this note. `place` is what its conversation waits by."""
        try:
            if self._tell.send(note, self._clock()):
                self._got_through()
        except ChannelError as error:
            wait = self._outage(error, place)
            if not (wait or isinstance(error, CardLost)):
                log.error("request=%s note=%s cause=%r", note.request_id, note.kind, str(error))
            later = wait or pause(note.failures)
            self._cards.note_later(note, self._clock() + later, failed=not wait)
        finally:
            self._pace.wait(place, POST_SECONDS)

    def _outage(self, error: ChannelError, what: str) -> float:
        """Return for how many seconds others have to wait as well; 0.0 if they may get through."""
        if isinstance(error, SlackDown) and error.retry_after:
            # Slack counts each method by itself, and messages by conversation.
            return self._wait(error, what if error.method == POST else error.method)
        if isinstance(error, PostingRestricted):
            return self._wait(error, *((POST, DIRECT) if what == POST else (what,)))
        silent = isinstance(error, SlackSilent)
        if isinstance(error, SlackDown) or (silent and not self._channel.refresh_identity()):
            return self._wait(error, UPDATE, POST, DIRECT)
        return 0.0

    def _got_through(self) -> None:
        self._outages.clear()
        self._cause = ""

    def _wait(self, error: ChannelError, *what: str) -> float:
        """Let these wait because of this error; return for how many seconds."""
        if isinstance(error, SlackDown) and error.retry_after:
            wait = error.retry_after
        else:
            wait = min(pause(self._outages[what]), LONGEST_OUTAGE_PAUSE)
            self._outages[what] += 1
        # One warning for each change. The channel has logged its own problems.
        is_told = str(error) == self._cause or (isinstance(error, SlackDown) and error.problem)
        level = logging.INFO if is_told else logging.WARNING
        self._cause = str(error)
        log.log(level, "slack=unavailable seconds=%s cause=%r", wait, str(error))
        for each in what:
            self._pace.wait(each, wait)
        return wait
