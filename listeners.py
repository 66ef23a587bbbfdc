"""What people do in Slack: clicks and modals. Look, check, claim, acknowledge; the worker does the rest."""

import json
import logging
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import requests
from slack_bolt import Ack, App
from slack_sdk import WebClient

import blocks
from channel import Channel, ChannelError, Identity
from conveyor_client import AccessGroup, clean
from deadline import call_within
from ledger import Ledger, LedgerError
from reviewers import MayNot, NoAddress, NotAMember, NotListed, Reviewers, Unknown, slack_error
from tables import APPROVING, PENDING, REJECTING, Reviewer, Row

log = logging.getLogger(__name__)

OPEN_SECONDS = 1.0
TELL_SECONDS = 5.0
TELL_AT_ONCE = 8
# Where Slack lets clicks be answered, beside its API's own host: no payload makes this app call another one.
ANSWER_AT = ("https://hooks.slack.com/", "https://hooks.slack-gov.com/")

SENTENCES: dict[type[MayNot], str] = {
    NotAMember: blocks.NOT_A_MEMBER,
    NotListed: blocks.NOT_A_REVIEWER,
    NoAddress: blocks.NO_ADDRESS,
    Unknown: blocks.WHO_UNKNOWN,
}

Step = Callable[[Mapping[str, Any]], dict[str, Any] | None]


class Sorry(Exception):
    """Nothing was done; the person is told why, in a sentence that only they see.

    `redraw` is the id of a request whose card showed them something else.
    """

    def __init__(self, sentence: str, why: str, redraw: str = "") -> None:
        super().__init__(why)
        self.sentence = sentence
        self.why = why
        self.redraw = redraw


@dataclass(frozen=True)
class Click:
    """Who did something, with which card. All of it came through a client and is checked later on."""

    user_id: str
    trigger_id: str
    request_id: str
    round: int
    channel: str
    card_ts: str

    @classmethod
    def of_button(cls, body: Mapping[str, Any]) -> "Click":
        actions = body.get("actions")
        action = actions[0] if isinstance(actions, list) and actions else {}
        round_text, _, request_id = text_at(action, "value").partition(" ")
        ts = text_at(body, "container", "message_ts")
        return cls._checked(body, request_id, round_text, text_at(body, "channel", "id"), ts)

    @classmethod
    def of_modal(cls, body: Mapping[str, Any]) -> "Click":
        try:
            kept = json.loads(text_at(body, "view", "private_metadata"))
        except (ValueError, RecursionError):
            kept = {}
        names = ("request", "round", "channel", "ts")
        request_id, round_text, channel, ts = (text_at(kept, name) for name in names)
        return cls._checked(body, request_id, round_text, channel, ts)

    @classmethod
    def _checked(
        cls, body: Mapping[str, Any], request_id: str, round_text: str, channel: str, ts: str
    ) -> "Click":
        user_id, trigger_id = text_at(body, "user", "id"), text_at(body, "trigger_id")
        is_number = round_text.isascii() and round_text.isdigit() and len(round_text) < 10
        if not (user_id and trigger_id and request_id and is_number):
            raise Sorry(blocks.ODD_CLICK, "odd click")
        return cls(user_id, trigger_id, request_id, int(round_text), channel, ts)

    def metadata(self) -> str:
        """What a modal keeps of the click that opened it."""
        return json.dumps(
            {
                "request": self.request_id,
                "round": str(self.round),
                "channel": self.channel,
                "ts": self.card_ts,
            }
        )


class Listeners:
    """Answers each interaction within Slack's three seconds, and makes sure that something is seen."""

    def __init__(
        self,
        ledger: Ledger,
        reviewers: Reviewers,
        channel: Channel,
        client: WebClient,
        reason_required: bool,
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._reviewers = reviewers
        self._channel = channel
        self._client = client
        self._reason_required = reason_required
        self._clock = clock
        self._answer_at = (*ANSWER_AT, client.base_url.removesuffix("/").removesuffix("/api") + "/")
        self._pool = ThreadPoolExecutor(TELL_AT_ONCE, thread_name_prefix="tell")

    def register(self, bolt: App) -> None:
        bolt.action(blocks.APPROVE)(self._on_click(self.approve))
        bolt.action(blocks.REJECT)(self._on_click(self.ask_why))
        bolt.view(blocks.REJECT_MODAL)(self._on_submit(self.reject))
        bolt.options(blocks.GROUPS)(self.list_groups)

    def stop(self) -> None:
        """Finish what is being told."""
        self._pool.shutdown(wait=True)

    # What people do

    def approve(self, body: Mapping[str, Any]) -> None:
        click = Click.of_button(body)
        reviewer = self._reviewer(click)
        row = self._waiting(click)
        self._claim(row, click, APPROVING, reviewer, groups=self._chosen(row, body))

    def ask_why(self, body: Mapping[str, Any]) -> None:
        click = Click.of_button(body)
        reviewer = self._reviewer(click)
        row = self._waiting(click)
        view = blocks.reject_modal(row, click.metadata(), self._reason_required)
        try:
            call_within(OPEN_SECONDS, self._client.views_open, trigger_id=click.trigger_id, view=view)
        except Exception as error:
            if slack_error(error) == "exchanged_trigger_id":
                return  # this is a copy of a click whose window was opened
            # However else Slack failed, there is no window, and the person has to hear of it.
            log.warning("request=%s views_open=failed cause=%s", row.id, type(error).__name__)
            raise Sorry(blocks.NO_WINDOW, "no window") from error
        # So that a copy of this click, sent when the request is decided, says nothing.
        self._ledger.refuse(row.id, "", reviewer.id, click.trigger_id, self._clock(), event="asked why")

    def reject(self, body: Mapping[str, Any]) -> dict[str, Any] | None:
        reason = text_at(body, "view", "state", "values", blocks.REASON, blocks.REASON, "value").strip()
        if not blocks.inert(reason).strip() and self._reason_required:
            return _errors(blocks.REASON_MISSING)
        if len(reason) > blocks.REASON_CHARS:
            return _errors(blocks.REASON_TOO_LONG)
        click = Click.of_modal(body)
        reviewer = self._reviewer(click)
        self._claim(self._waiting(click), click, REJECTING, reviewer, reason=reason)
        return None

    def list_groups(self, ack: Ack, body: dict[str, Any]) -> None:
        """The groups that can be chosen on a card, as somebody types."""
        row = None
        try:
            ts = text_at(body, "container", "message_ts")
            row = self._ledger.find_by_card(text_at(body, "channel", "id"), ts) if ts else None
            offered = self._ledger.access_groups(row.dataroom_id) if row else []
        except LedgerError as error:
            log.error("groups=unread cause=%r", str(error))
            offered = []
        ack(options=blocks.group_options(offered, text_at(body, "value")))

    # How it is checked

    def _identity(self) -> Identity:
        if self._channel.identity is None:
            raise Sorry(blocks.STILL_STARTING, "starting")
        return self._channel.identity

    def _reviewer(self, click: Click) -> Reviewer:
        identity = self._identity()
        try:
            return self._reviewers.check(click.user_id, identity.team_id)
        except MayNot as error:
            raise Sorry(SENTENCES[type(error)], type(error).__name__) from error

    def _waiting(self, click: Click) -> Row:
        """The request that was clicked, if it still waits and this is its current card."""
        row = self._ledger.find(click.request_id)
        if row is None or not row.card_ts:
            raise Sorry(blocks.READING_THE_CHANNEL, "unknown card")
        if (row.channel, row.card_ts, row.round) != (click.channel, click.card_ts, click.round):
            permalink = self._identity().permalink(row.channel, row.card_ts)
            raise Sorry(blocks.old_card(permalink), "old card")
        if row.state != PENDING:
            self._too_late(row, click)
        return row

    def _too_late(self, row: Row, click: Click) -> None:
        raise Sorry(blocks.already_decided(row, click.user_id), "too late", redraw=row.id)

    def _chosen(self, row: Row, body: Mapping[str, Any]) -> list[AccessGroup]:
        """The groups chosen on the card, each of which must be one that can be granted now."""
        chosen = {
            text_at(option, "value"): text_at(option, "text", "text")
            for block in mapping_at(body, "state", "values").values()
            for option in list_at(block, blocks.GROUPS, "selected_options")
        }
        if not chosen:
            return []
        offered = {group.id: group for group in self._ledger.access_groups(row.dataroom_id)}
        strange = [name or group_id for group_id, name in chosen.items() if group_id not in offered]
        if strange:
            raise Sorry(blocks.groups_not_offered(strange), "groups not offered", redraw=row.id)
        return [offered[group_id] for group_id in chosen]

    def _claim(self, row: Row, click: Click, state: str, reviewer: Reviewer, **decision: Any) -> None:
        now = self._clock()
        if self._ledger.claim(row, state, reviewer, click.trigger_id, now, **decision):
            log.info("request=%s round=%d claim=%s by=%s", row.id, row.round, state, reviewer.id)
            return
        row = self._ledger.find(row.id) or row
        if row.state != PENDING:
            self._too_late(row, click)
        raise Sorry(blocks.ODD_CLICK, "not claimed")

    # How it is answered

    def _on_click(self, step: Step) -> Callable[[Ack, dict[str, Any]], None]:
        def listen(ack: Ack, body: dict[str, Any]) -> None:
            sentence = self._attempt(step, body)[0]
            if sentence:
                self._pool.submit(
                    self._tell, text_at(body, "user", "id"), text_at(body, "response_url"), sentence
                )
            ack()

        return listen

    def _on_submit(self, step: Step) -> Callable[[Ack, dict[str, Any]], None]:
        def listen(ack: Ack, body: dict[str, Any]) -> None:
            sentence, answer = self._attempt(step, body)
            if sentence:
                answer = {"response_action": "update", "view": blocks.sentence_modal(sentence)}
            ack(**(answer or {}))

        return listen

    def _attempt(self, step: Step, body: Mapping[str, Any]) -> tuple[str, dict[str, Any] | None]:
        """What to tell the person, if anything, and how to answer Slack."""
        try:
            return "", step(body)
        except Sorry as sorry:
            user_id = text_at(body, "user", "id")
            log.info("refused=%s user=%s", sorry.why.replace(" ", "_"), user_id)
            return (sorry.sentence if self._is_new(body, user_id, sorry) else ""), None
        except LedgerError as error:
            log.error("click=not_recorded cause=%r", str(error))
            return blocks.LEDGER_BUSY, None
        except Exception:
            reference = secrets.token_hex(4)
            log.exception("reference=%s click=failed", reference)
            return blocks.unexpected(reference), None

    def _is_new(self, body: Mapping[str, Any], user_id: str, sorry: Sorry) -> bool:
        """Whether this very click was not answered before: a copy of a signed request changes nothing."""
        trigger_id = text_at(body, "trigger_id")
        if not trigger_id:  # never from a person, and copies could not be told apart
            return False
        try:
            if not self._ledger.refuse("", sorry.why, user_id, trigger_id, self._clock()):
                return False
            if sorry.redraw:
                self._ledger.redraw(sorry.redraw, self._clock())
        except LedgerError as error:
            log.warning("refusal=not_recorded cause=%r", str(error))
        return True

    def _tell(self, user_id: str, response_url: str, sentence: str) -> None:
        """Say it by the click's own address, which works wherever the card is seen; else in the channel."""
        cause = "not an address of Slack's"
        if response_url.startswith(self._answer_at):
            try:
                answer = requests.post(
                    response_url,
                    json={"response_type": "ephemeral", "replace_original": False, "text": sentence},
                    timeout=TELL_SECONDS,
                    allow_redirects=False,
                )
                if answer.status_code == 200:
                    return
                cause = str(answer.status_code)
            except requests.RequestException as error:
                cause = type(error).__name__  # its text holds the address, which is a secret
        try:
            self._channel.whisper(user_id, sentence)
        except ChannelError as error:
            log.warning("user=%s told=no cause=%r then=%r", user_id, cause, str(error))


def _errors(sentence: str) -> dict[str, Any]:
    return {"response_action": "errors", "errors": {blocks.REASON: sentence}}


def mapping_at(source: Any, *keys: str) -> Mapping[str, Any]:
    for key in keys:
        source = source.get(key) if isinstance(source, Mapping) else None
    return source if isinstance(source, Mapping) else {}


def list_at(source: Any, *keys: str) -> list[Any]:
    found = mapping_at(source, *keys[:-1]).get(keys[-1])
    return found if isinstance(found, list) else []


def text_at(source: Any, *keys: str) -> str:
    """The string at the end of these keys; empty if anything else is there."""
    found = mapping_at(source, *keys[:-1]).get(keys[-1])
    return clean(found) if isinstance(found, str) else ""
