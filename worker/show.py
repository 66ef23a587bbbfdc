"""The loop that writes to Slack, one message after another, so that an older card never replaces a newer."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import blocks
from ledger.changes import MANY_FAILURES
from ledger.database import LedgerError
from ledger.ledger import Ledger
from ledger.rows import Note, Row
from ledger.states import State
from ledger.trail import OUTAGE, OUTCOME, REMINDER
from worker.adopt import Adopt, kept_by_card
from worker.back_off import pause
from worker.companies import Companies
from worker.sweep import Sweep
from worker.tell import Tell
from workspace.block_kit import Message
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

POST_SECONDS = 1.0  # Slack: about one message a second in a channel
LOOK_AGAIN_SECONDS = 10.0  # by then what got no answer has arrived or never will
HISTORY_MARGIN = 300.0  # a ledger restored from a backup, or a first answer of Slack, may be late
SWEEP_SECONDS = 600.0  # between two searches for cards that were deleted
IDLE_SECONDS = 0.5
UPDATE, POST, READ = "update", "post", "read"
LONGEST_OUTAGE_PAUSE = 60.0


class Show:
    """Keeps the channel true to the ledger: cards, and replies in their threads.

    `held` says whether this process may work.
    """

    def __init__(
        self,
        channel: Channel,
        ledger: Ledger,
        companies: Companies,
        held: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self._channel = channel
        self._cards = ledger.cards
        self._polls = ledger.polls
        self._memory = ledger.memory
        self._adopt = Adopt(channel, ledger.cards)
        self._tell = Tell(channel, ledger.cards)
        self._sweep = Sweep(channel, ledger.cards)
        self._companies = companies
        self._held = held
        self._clock = clock
        self._not_before = {UPDATE: 0.0, POST: 0.0, READ: 0.0}
        self._sweep_at = clock() + SWEEP_SECONDS
        self._search: tuple[object, float, Reading] | None = None  # for a card whose posting is in doubt
        self._outages: Counter[tuple[str, ...]] = Counter()  # in a row, by what was not possible
        self._cause = ""  # of the last outage, until something gets through
        self._doubtful: dict[str, float] = {}  # when an update was sent that got no answer

    def round(self) -> float:
        """Write one message, if one is due; return the seconds until there may be another."""
        if self._channel.identity is None:
            return IDLE_SECONDS
        now = self._clock()
        if not self._read(now):
            return 0.0 if self._not_before[READ] <= now else IDLE_SECONDS
        if self._not_before[UPDATE] <= now and (row := self._cards.next_update(now)):
            self._attempt(row, UPDATE, self._update)
            return 0.0
        if self._not_before[POST] <= now:
            note = self._cards.next_note(now)
            # Many cards may get a reminder at once; what is new does not wait behind them.
            if (note is None or note.kind == REMINDER) and (row := self._cards.next_post(now)):
                self._attempt(row, POST, self._post)
                return 0.0
            if note:
                self._reply(note)
                return 0.0
        wait = max(self._not_before.values()) - now
        return min(wait, IDLE_SECONDS) if wait > 0 else IDLE_SECONDS

    def _read(self, now: float) -> bool:
        """Read a page of the channel if that is due, and return whether cards may be written.

        They may once the channel was read back; the search for deleted cards holds up no other.
        """
        status = self._polls.status()
        is_due = self._not_before[READ] <= now
        try:
            if is_due and status.adopted_at is None:
                self._adopt.run(now)
            elif is_due and now >= self._sweep_at and self._sweep.step(now):
                self._sweep_at = self._clock() + SWEEP_SECONDS
            if is_due:
                self._outages.pop((READ,), None)
        except ChannelError as error:
            self._outage(error, READ)
        is_read = status.adopted_at is not None
        messages = self._sweep.messages if is_read else self._adopt.messages
        problems = "\n".join(self._channel.problems)
        if (problems, messages) != (status.channel_problems, status.messages_read):
            self._polls.record_channel(problems, messages)
        return is_read

    def _attempt(self, row: Row, what: str, draw: Callable[[Row], None]) -> None:
        try:
            draw(row)
        except CardLost as error:
            self._lose(row, error)
        except ChannelError as error:
            if self._is_outage(error, what):
                return
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
        message = self._draw(row)
        if not self._held():
            return
        sent_at = self._clock()
        try:
            self._channel.update(row, message, kept_by_card(row))
        except SlackSilent as error:
            if error.maybe_done:
                self._doubtful[row.id] = sent_at
            raise
        log.info("request=%s round=%d card=updated state=%s", row.id, row.round, row.state)
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
            row = replace(row, company=self._companies.known(row.email))
        if not self._cards.posting(row, self._channel.id, self._channel.clock.now()):
            return
        message = self._draw(row)
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
            self._pace()
        log.info("request=%s round=%d card=posted ts=%s", row.id, row.round, ts)
        self._cards.posted(row, self._channel.id, ts)

    def _find(self, row: Row, posting_at: float) -> None:
        """Look for a card whose posting is in doubt. It is missing only if it still is ten seconds later."""
        key = row.id, row.round, posting_at
        if self._search is None or self._search[0] != key:
            reading = Reading(self._channel, posting_at - HISTORY_MARGIN, row.channel)
            self._search = key, self._channel.clock.now(), reading
        _, asked_at, reading = self._search
        try:
            while not reading.done:
                for card in reading.page():
                    if (card.request_id, card.round) == (row.id, row.round):
                        log.info("request=%s card=found", row.id)
                        self._cards.found_card(row, card.channel, card.ts)
                        return
        except SlackDown as error:
            if not error.retry_after:
                raise
            # The search goes on where it is, before the one for deleted cards; replies do not wait for it.
            self._outage(error, READ)
            self._sweep_at = max(self._sweep_at, self._not_before[READ] + LOOK_AGAIN_SECONDS)
            self._cards.show_later(row, self._not_before[READ], failed=False)
            return
        self._search = None
        if asked_at >= posting_at + LOOK_AGAIN_SECONDS:
            self._cards.not_posted(row)
        else:
            wait = min(posting_at + LOOK_AGAIN_SECONDS - self._channel.clock.now(), LOOK_AGAIN_SECONDS)
            self._cards.show_later(row, self._clock() + wait, failed=False)

    def _reply(self, note: Note) -> None:
        if note.kind == OUTAGE:
            self._cards.tell_outage(note, self._clock())
            return
        row = self._cards.find(note.request_id)
        if row is None or (note.kind == REMINDER and row.state != State.PENDING):
            self._cards.note_sent(note)
            return
        if self._awaits_card(row, note) or not self._held():
            self._cards.note_later(note, self._clock() + 1.0, failed=False)
            return
        try:
            self._tell.say(row, note, self._clock())
        except CardLost as error:
            # Its thread is lost with it: another card first, then the reply.
            self._lose(row, error)
            self._cards.note_later(note, self._clock() + pause(note.failures), failed=True)
        except ChannelError as error:
            if not self._is_outage(error, POST):
                log.error("request=%s note=%s cause=%r", row.id, note.kind, str(error))
                self._cards.note_later(note, self._clock() + pause(note.failures), failed=True)
        else:
            self._got_through()
            self._cards.note_sent(note)
        finally:
            self._pace()

    def _awaits_card(self, row: Row, note: Note) -> bool:
        """Return whether this is a reply to a card that is about to be posted."""
        is_coming = row.show_at is not None and row.show_failures < MANY_FAILURES
        return note.kind != OUTCOME and not row.card_ts and is_coming

    def _pace(self) -> None:
        self._not_before[POST] = max(self._not_before[POST], self._clock() + POST_SECONDS)

    def _draw(self, row: Row) -> Message:
        if row.refusals:
            return blocks.shorter_card(row)
        if row.state != State.PENDING:
            return blocks.card(row)
        return blocks.card(row, self._polls.access_groups(row.dataroom_id), self._memory.past(row))

    def _is_outage(self, error: ChannelError, what: str) -> bool:
        """Return whether no other message would get through either; then all wait, in their order."""
        if isinstance(error, PostingRestricted) or (isinstance(error, SlackDown) and error.retry_after):
            self._outage(error, what)  # Slack counts and restricts each method for itself
            return True
        silent = isinstance(error, SlackSilent)
        if isinstance(error, SlackDown) or (silent and not self._channel.refresh_identity()):
            self._outage(error, UPDATE, POST)
            return True
        return False

    def _got_through(self) -> None:
        self._outages.clear()
        self._cause = ""

    def _outage(self, error: ChannelError, *what: str) -> None:
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
        for method in what:
            self._not_before[method] = self._clock() + wait
