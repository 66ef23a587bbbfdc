"""Turns the outcome of a listener into an answer for the person: in place, privately, or on the card.

No click may end in silence. The listeners only return or raise; what a person is told is sent from here.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from slack_bolt import Ack, BoltResponse

import blocks
from deadline import CallFailed, Calls
from ledger.database import LedgerError
from ledger.ledger import Ledger
from ledger.rows import Row
from ledger.states import State
from listeners.errors import InvalidField, Refusal
from listeners.payloads import Recipient, card_of, request_of, text_at
from version import USER_AGENT
from workspace.block_kit import Message
from workspace.channel import ORG_WIDE, Channel, Identity
from workspace.slack_errors import ChannelError

log = logging.getLogger(__name__)

TELL_SECONDS = 5.0  # for one call that sends an answer
TELL_THREADS = 8
TOLD_SECONDS = 0.3  # how long a click waits to learn whether its answer was sent
CARD_SECONDS = 2.0  # a card shows a decision sooner, unless Slack is slow or limits this app
# Slack gives each click a URL for its answer. The app calls a URL from a payload only if it is on one of
# these hosts, or on that of Slack's API.
RESPONSE_HOSTS = ("https://hooks.slack.com/", "https://hooks.slack-gov.com/")


@dataclass(frozen=True)
class Decided:
    """The click decided this request: its card will show that, and is the answer."""

    request_id: str


@dataclass(frozen=True)
class InPlace:
    """What to say in place of the private message that was clicked, and which requests the click decided."""

    text: str
    decided: tuple[str, ...] = ()


# A listener takes a payload, and returns what to tell the person, if anything.
Answer = str | Message | Decided | InPlace | None
Listener = Callable[[Mapping[str, Any]], Answer]


def identity_of(channel: Channel) -> Identity:
    """Return who the app is in Slack. Raises Refusal if that is not known."""
    if channel.identity is None:
        sentence = blocks.ORG_WIDE if channel.problem == ORG_WIDE else blocks.STILL_STARTING
        raise Refusal(sentence, "starting")
    return channel.identity


class Answers:
    """Wraps listeners for Bolt, so that each click, modal and command ends in something the person sees."""

    def __init__(
        self, ledger: Ledger, channel: Channel, calls: Calls, slack_url: str, clock: Callable[[], float]
    ) -> None:
        self._ledger = ledger
        self._channel = channel
        self._calls = calls
        self._clock = clock
        self._response_hosts = (*RESPONSE_HOSTS, slack_url.removesuffix("/").removesuffix("/api") + "/")
        self._pool = ThreadPoolExecutor(TELL_THREADS, thread_name_prefix="tell")
        self._card_checker = ThreadPoolExecutor(1, thread_name_prefix="card")
        self._stopping = threading.Event()

    def on_click(self, listener: Listener) -> Callable[[Ack, dict[str, Any]], BoltResponse | None]:
        """Wrap a listener for a button. The answer is sent before the click is acknowledged.

        If Slack does not take the answer, the click fails, and Slack shows that beside the button.
        """

        def listen(ack: Ack, body: dict[str, Any]) -> BoltResponse | None:
            answer = self._run(listener, body)[0]
            if isinstance(answer, Decided):
                self._check_card_later(body, answer)
            elif answer and not self._is_told(body, answer):
                if not (isinstance(answer, InPlace) and answer.decided):
                    return BoltResponse(status=503, body="Slack took no answer to this click.")
                for request_id in answer.decided:  # their cards are the answer
                    self._check_card_later(body, Decided(request_id))
            ack()
            return None

        return listen

    def on_submit(self, listener: Listener) -> Callable[[Ack, dict[str, Any]], None]:
        """Wrap a listener for a modal. The answer is shown in place of the modal."""

        def listen(ack: Ack, body: dict[str, Any]) -> None:
            answer, errors = self._run(listener, body)
            if errors:
                ack(response_action="errors", errors=errors)
            elif isinstance(answer, str) and answer:
                ack(response_action="update", view=blocks.sentence_modal(answer))
            else:
                if isinstance(answer, Decided):
                    self._check_card_later(body, answer)
                ack()

        return listen

    def on_question(self, listener: Listener) -> Callable[[Ack, dict[str, Any]], None]:
        """Wrap a listener that may take longer than Slack waits: it runs after the acknowledgment."""

        def listen(ack: Ack, body: dict[str, Any]) -> None:
            self._pool.submit(self._run_and_tell, listener, body)
            ack()

        return listen

    def refuse(self, body: Mapping[str, Any], refusal: Refusal) -> None:
        """Tell the person privately, where that is possible, why their payload is not passed on."""

        def listen(_: Mapping[str, Any]) -> None:
            raise refusal

        with suppress(RuntimeError):  # the process is about to end
            self._pool.submit(self._run_and_tell, listen, body)

    def stop(self) -> None:
        """Send the answers that are on their way, and take no new ones."""
        self._stopping.set()
        for pool in (self._card_checker, self._pool):
            pool.shutdown(wait=True)

    def _run(self, listener: Listener, body: Mapping[str, Any]) -> tuple[Answer, dict[str, str]]:
        """Run the listener. Return what came of it, and what is wrong in which field of the modal."""
        try:
            return listener(body), {}
        except InvalidField as invalid:
            return None, invalid.errors
        except Refusal as refusal:
            return (refusal.sentence if self._is_first(refusal, body) else None), {}
        except LedgerError as error:
            log.error("click=not_recorded cause=%r", str(error))
            return blocks.LEDGER_BUSY, {}
        except Exception:  # a bug must not leave the person without an answer
            reference = secrets.token_hex(4)
            log.exception("reference=%s click=failed", reference)
            return blocks.unexpected(reference), {}

    def _is_first(self, refusal: Refusal, body: Mapping[str, Any]) -> bool:
        """Record the refused click, and return False if it is a copy of one that was recorded before.

        A copy of a signed request gets no answer, so that nobody can make the app repeat one.
        """
        user_id, trigger_id = Recipient.of(body).user_id, text_at(body, "trigger_id")
        log.info("refused=%s user=%s", refusal.why.replace(" ", "_"), user_id)
        if not trigger_id:  # no person sent this, and a copy of it could not be recognized
            return False
        try:
            request_id = self._request_id(body)
            recorded = request_id, user_id, trigger_id, refusal.why
            if not self._ledger.decisions.record_click("refused", *recorded):
                return False
            if refusal.redraw:
                self._ledger.cards.redraw(refusal.redraw, self._clock())
        except LedgerError as error:
            log.warning("refusal=not_recorded cause=%r", str(error))
        return True

    def _request_id(self, body: Mapping[str, Any]) -> str:
        """Return the id of the request that was clicked. A choice in a card's menu does not name it."""
        if request_id := request_of(body):
            return request_id
        row = self._on_card(*card_of(body))
        return row.id if row else ""

    def _on_card(self, channel_id: str, ts: str) -> Row | None:
        """Return the request whose current card this is, or None."""
        return self._ledger.decisions.find_by_card(self._channel.ids_of(channel_id), ts)

    def _is_told(self, body: Mapping[str, Any], answer: str | Message | InPlace) -> bool:
        """Send the answer, and return False if that failed at once. A slow one may still arrive."""
        try:
            return self._pool.submit(self._tell, Recipient.of(body), answer).result(TOLD_SECONDS)
        except TimeoutError:
            return True

    def _tell(self, recipient: Recipient, answer: str | Message | InPlace) -> bool:
        """Send the answer privately, and return whether Slack took it.

        The click's own URL works wherever the card is seen. If it fails, the answer goes to the channel.
        """
        in_place = isinstance(answer, InPlace)
        text = answer.text if isinstance(answer, InPlace) else answer
        message: Mapping[str, Any] = {"text": text} if isinstance(text, str) else text
        cause = self._respond(recipient, message, in_place=in_place)
        if cause is None:
            return True
        try:
            self._channel.post_ephemeral(recipient.user_id, message)
        except ChannelError as error:
            log.warning("user=%s told=no cause=%r fallback=%r", recipient.user_id, cause, str(error))
            return False
        return True

    def _respond(self, recipient: Recipient, message: Mapping[str, Any], *, in_place: bool) -> str | None:
        """Post the message to the URL of a click. Return None, or the cause if that failed."""
        url = recipient.response_url
        if not url.startswith(self._response_hosts):
            return "not an address of Slack's"
        place = {"thread_ts": recipient.thread_ts} if recipient.thread_ts else {}
        try:
            private = {"response_type": "ephemeral", "replace_original": in_place, **place, **message}
            headers = {"User-Agent": USER_AGENT}
            status = self._calls.request(TELL_SECONDS, "POST", url, json=private, headers=headers).status
        except CallFailed as error:
            return str(error)
        return None if status == 200 else str(status)

    def _check_card_later(self, body: Mapping[str, Any], decided: Decided) -> None:
        """Check in a moment whether the card shows the decision, and tell the person if it does not."""
        # The body is not passed on: it is large, and many clicks may be waiting.
        check = Recipient.of(body), decided.request_id, time.monotonic() + CARD_SECONDS
        with suppress(RuntimeError):  # the process is about to end; the decision is recorded
            self._card_checker.submit(self._check_card, *check)

    def _check_card(self, person: Recipient, request_id: str, at: float) -> None:
        if self._stopping.wait(max(0.0, at - time.monotonic())):
            return
        try:
            row = self._ledger.decisions.find(request_id)
            if row is None or _is_answered(row, person.user_id):
                return
        except LedgerError as error:
            log.warning("request=%s card=not_checked cause=%r", request_id, str(error))
            sentence = blocks.CARD_UNKNOWN
        else:
            log.warning("request=%s card=late user=%s", request_id, person.user_id)
            sentence = blocks.card_late(row)
        with suppress(RuntimeError):  # the process is about to end
            self._pool.submit(self._tell, person, sentence)

    def _run_and_tell(self, listener: Listener, body: Mapping[str, Any]) -> None:
        answer = self._run(listener, body)[0]
        if answer and not isinstance(answer, Decided):
            self._tell(Recipient.of(body), answer)


def _is_answered(row: Row, user_id: str) -> bool:
    """Return whether nobody has to be told that this decision is not on the card.

    That is so if it is on the card. If it was given back, a reply says so to whoever decided.
    """
    theirs = (row.decider.id, row.changed.reviewer.id if row.changed else "")
    return row.state == State.PENDING or user_id not in theirs or row.is_shown
