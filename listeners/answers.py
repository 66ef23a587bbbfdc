"""How a person gets an answer: in place, privately, or by what the card then shows. Nothing stays silent."""

import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from slack_bolt import Ack, BoltResponse

import blocks
from deadline import CallFailed, Calls
from ledger.database import LedgerError
from ledger.ledger import Ledger
from ledger.states import State
from listeners.payloads import Sorry, Wrong, card_of, request_of, text_at, user_of
from workspace.block_kit import Message
from workspace.channel import Channel, ChannelError

log = logging.getLogger(__name__)

TELL_SECONDS = 5.0
TOLD_SECONDS = 0.3
TELL_AT_ONCE = 8
FOLLOW_SECONDS = 2.0  # a card shows a click sooner, unless Slack is slow or limits this app
# Where Slack lets clicks be answered, beside its API's own host: no payload makes this app call another one.
ANSWER_AT = ("https://hooks.slack.com/", "https://hooks.slack-gov.com/")

# What a listener does; it returns what the person is to be told, if anything.
Step = Callable[[Mapping[str, Any]], str | Message | None]


class Answers:
    """Runs the steps of the listeners and makes sure that each ends in something that is seen."""

    def __init__(
        self, ledger: Ledger, channel: Channel, calls: Calls, slack_url: str, clock: Callable[[], float]
    ) -> None:
        self._ledger = ledger
        self._channel = channel
        self._calls = calls
        self._clock = clock
        self._answer_at = (*ANSWER_AT, slack_url.removesuffix("/").removesuffix("/api") + "/")
        self._pool = ThreadPoolExecutor(TELL_AT_ONCE, thread_name_prefix="tell")
        self._follower = ThreadPoolExecutor(1, thread_name_prefix="follow")
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Finish what is being told."""
        self._stopping.set()
        for pool in (self._follower, self._pool):
            pool.shutdown(wait=True)

    def on_click(self, step: Step) -> Callable[[Ack, dict[str, Any]], BoltResponse | None]:
        """A listener for a button: what there is to say is told after the outcome is fixed.

        If Slack does not take it, the click fails, which Slack shows beside the button.
        """

        def listen(ack: Ack, body: dict[str, Any]) -> BoltResponse | None:
            said = self._attempt(step, body)[0]
            if not said:
                self._follow(body)
            elif not self._reaches(body, said):
                return BoltResponse(status=503, body="Slack took no answer to this click.")
            ack()
            return None

        return listen

    def on_submit(self, step: Step) -> Callable[[Ack, dict[str, Any]], None]:
        """A listener for a modal: what there is to say takes the modal's place."""

        def listen(ack: Ack, body: dict[str, Any]) -> None:
            said, errors = self._attempt(step, body)
            if errors:
                ack(response_action="errors", errors=errors)
            elif isinstance(said, str) and said:
                ack(response_action="update", view=blocks.sentence_modal(said))
            else:
                self._follow(body)
                ack()

        return listen

    def on_question(self, step: Step) -> Callable[[Ack, dict[str, Any]], None]:
        """A listener for a question, whose answer may take longer than Slack waits."""

        def listen(ack: Ack, body: dict[str, Any]) -> None:
            self._pool.submit(self._answer, step, body)
            ack()

        return listen

    def _answer(self, step: Step, body: dict[str, Any]) -> None:
        if said := self._attempt(step, body)[0]:
            self._tell(user_of(body), text_at(body, "response_url"), said)

    def _attempt(self, step: Step, body: Mapping[str, Any]) -> tuple[str | Message | None, dict[str, str]]:
        """What to tell the person, if anything, and what is wrong in the modal."""
        try:
            return step(body), {}
        except Wrong as wrong:
            return None, wrong.errors
        except Sorry as sorry:
            user_id = user_of(body)
            log.info("refused=%s user=%s", sorry.why.replace(" ", "_"), user_id)
            return (sorry.sentence if self._is_new(body, user_id, sorry) else None), {}
        except LedgerError as error:
            log.error("click=not_recorded cause=%r", str(error))
            return blocks.LEDGER_BUSY, {}
        except Exception:
            # Whatever it was: nobody's click stays without an answer.
            reference = secrets.token_hex(4)
            log.exception("reference=%s click=failed", reference)
            return blocks.unexpected(reference), {}

    def _is_new(self, body: Mapping[str, Any], user_id: str, sorry: Sorry) -> bool:
        """Whether this very click was not answered before: a copy of a signed request changes nothing."""
        trigger_id = text_at(body, "trigger_id")
        if not trigger_id:  # never from a person, and copies could not be told apart
            return False
        try:
            request_id = request_of(body)
            # A choice in a card's menu names no request.
            if not request_id and (row := self._ledger.decisions.find_by_card(*card_of(body))):
                request_id = row.id
            if not self._ledger.decisions.record_click(
                "refused", request_id, user_id, trigger_id, self._clock(), sorry.why
            ):
                return False
            if sorry.redraw:
                self._ledger.cards.redraw(sorry.redraw, self._clock())
        except LedgerError as error:
            log.warning("refusal=not_recorded cause=%r", str(error))
        return True

    def _follow(self, body: Mapping[str, Any]) -> None:
        """Tell whoever has decided if the card does not show it after a while, as it should."""
        # Not the body, which is large, and of which many may wait.
        person = user_of(body), text_at(body, "response_url")
        with suppress(RuntimeError):  # this process is about to end, and the decision stands
            self._follower.submit(self._look, self._clock(), person, request_of(body), card_of(body))

    def _look(
        self, clicked_at: float, person: tuple[str, str], request_id: str, card: tuple[str, str]
    ) -> None:
        if self._stopping.wait(max(0.0, clicked_at + FOLLOW_SECONDS - self._clock())):
            return
        try:
            row = self._ledger.decisions.find(request_id) or self._ledger.decisions.find_by_card(*card)
        except LedgerError as error:
            log.warning("click=not_followed cause=%r", str(error))
            return
        if row is None or row.state == State.PENDING or row.decider.id != person[0]:
            return
        if row.show_at is not None and row.show_at < clicked_at + FOLLOW_SECONDS / 2:
            self._pool.submit(self._tell, *person, blocks.CARD_LATE)

    def _reaches(self, body: Mapping[str, Any], said: str | Message) -> bool:
        """Tell it; False if that has failed at once. What may still arrive is not waited for."""
        try:
            told = self._pool.submit(self._tell, user_of(body), text_at(body, "response_url"), said)
            return told.result(TOLD_SECONDS)
        except TimeoutError:
            return True

    def _tell(self, user_id: str, response_url: str, said: str | Message) -> bool:
        """Say it by the click's own address, which works wherever the card is seen; else in the channel."""
        message: Mapping[str, Any] = {"text": said} if isinstance(said, str) else said
        cause = "not an address of Slack's"
        if response_url.startswith(self._answer_at):
            try:
                private = {"response_type": "ephemeral", "replace_original": False, **message}
                answer = self._calls.request(TELL_SECONDS, "POST", response_url, json=private)
                if answer.status == 200:
                    return True
                cause = str(answer.status)
            except CallFailed as error:
                cause = str(error)
        try:
            self._channel.post_ephemeral(user_id, message)
        except ChannelError as error:
            log.warning("user=%s told=no cause=%r then=%r", user_id, cause, str(error))
            return False
        return True
