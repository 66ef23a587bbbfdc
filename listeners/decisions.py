"""Handles what people do with a card: approve, approve with options, reject, revoke, read the whole message.

Each listener reads the click, checks it and records the decision in the ledger; answers.py then acknowledges
it. Nothing here calls Conveyor or updates a card: the worker does both, from the ledger.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from slack_bolt import Ack, App
from slack_sdk import WebClient

import blocks
from conveyor_client import AccessGroup
from ledger.database import LedgerError
from ledger.ledger import Ledger
from ledger.rows import Reviewer, Row
from ledger.states import AFTER_ALL, APPROVE, IN_FLIGHT, REJECT, REVOKE, Decision, State
from listeners.answers import Answers, Decided, identity_of
from listeners.errors import Refusal
from listeners.forms import CardForm, GroupSearch, OptionsForm, ReasonForm
from listeners.payloads import Click, card_of, page_wanted, text_at
from text import is_readable
from workspace.block_kit import Block
from workspace.channel import Channel
from workspace.reviewers import MayNot, NoAddress, NoScope, NotAMember, NotListed, Reviewers, Unknown
from workspace.slack_client import slack_error

log = logging.getLogger(__name__)

MAY_NOT_DECIDE: dict[type[MayNot], str] = {
    NotAMember: blocks.NOT_A_MEMBER,
    NoAddress: blocks.NO_ADDRESS,
    NoScope: blocks.NO_SCOPE,
    Unknown: blocks.WHO_UNKNOWN,
}


@dataclass(frozen=True)
class Listeners:
    """Handles clicks and modals within the three seconds that Slack waits.

    A listener that returns has done what was asked. One that can't raises Refusal or InvalidField.
    """

    _ledger: Ledger
    _reviewers: Reviewers
    _channel: Channel
    _client: WebClient
    _answers: Answers
    _reason_required: bool
    _clock: Callable[[], float]

    def register(self, bolt: App) -> None:
        on_click, on_submit = self._answers.on_click, self._answers.on_submit
        bolt.action(blocks.APPROVE)(on_click(self.approve))
        bolt.action(blocks.OPTIONS_BUTTON)(on_click(self.open_options))
        bolt.view(blocks.APPROVE_MODAL)(on_submit(self.approve_with_options))
        bolt.action(blocks.REJECT)(on_click(self.open_rejection))
        bolt.view(blocks.REJECT_MODAL)(on_submit(self.reject))
        bolt.view(blocks.REVOKE_MODAL)(on_submit(self.revoke))
        bolt.action(blocks.SHOW_WHOLE)(on_click(self.open_message))
        bolt.action(blocks.PAGE_BACK)(on_click(self.turn_page))
        bolt.action(blocks.PAGE_NEXT)(on_click(self.turn_page))
        bolt.options(blocks.GROUPS)(self.list_groups)

    def approve(self, body: Mapping[str, Any]) -> Decided:
        form = CardForm.of(body)
        reviewer = self._reviewer(form.click.user_id)
        row = self._waiting(form.click)
        groups = self._grantable(row, form.groups)
        return self._claim(row, form.click, APPROVE, reviewer, groups=groups)

    def open_options(self, body: Mapping[str, Any]) -> None:
        form = CardForm.of(body)
        self._reviewer(form.click.user_id)
        row = self._waiting(form.click)
        offered = self._ledger.polls.access_groups(row.dataroom_id)
        past = self._ledger.memory.past(row)
        modal = blocks.approve_modal(row, form.click.to_keep(), offered, form.groups, past)
        self._open(modal, row, form.click)

    def approve_with_options(self, body: Mapping[str, Any]) -> Decided:
        return self._approve_by_form(body, APPROVE)

    def _approve_by_form(self, body: Mapping[str, Any], decision: Decision) -> Decided:
        today = datetime.fromtimestamp(self._channel.clock.now(), UTC).date()
        form = OptionsForm.of(body, today)
        reviewer = self._reviewer(form.click.user_id)
        row = self._waiting(form.click) if decision is APPROVE else self._decided(form.click, decision)
        groups = self._grantable(row, form.groups)
        options = {"reason": form.note, "nda_bypass": form.nda_bypass, "expires_at": form.expires_at}
        return self._claim(row, form.click, decision, reviewer, groups=groups, **options)

    def open_rejection(self, body: Mapping[str, Any]) -> None:
        click = Click.of_button(body)
        self._reviewer(click.user_id)
        row = self._waiting(click)
        self._open(blocks.reject_modal(row, click.to_keep(), self._reason_required), row, click)

    def reject(self, body: Mapping[str, Any]) -> Decided:
        form = ReasonForm.of(body, blocks.REJECT_REASONS, self._reason_required)
        reviewer = self._reviewer(form.click.user_id)
        row = self._waiting(form.click)
        return self._claim(row, form.click, REJECT, reviewer, reason=form.reason)

    def open_revocation(self, body: Mapping[str, Any]) -> None:
        row = self._on_card(*card_of(body))
        click = Click.on_card(body, row)
        self._reviewer(click.user_id)
        row = as_before(row, click, REVOKE)
        self._open(blocks.revoke_modal(row, click.to_keep(), self._reason_required), row, click)

    def revoke(self, body: Mapping[str, Any]) -> Decided:
        form = ReasonForm.of(body, blocks.REVOKE_REASONS, self._reason_required)
        reviewer = self._reviewer(form.click.user_id)
        row = self._decided(form.click, REVOKE)
        return self._claim(row, form.click, REVOKE, reviewer, reason=form.reason)

    def open_message(self, body: Mapping[str, Any]) -> None:
        """Show the customer's whole message to anybody who sees its beginning on the card."""
        click = Click.of_button(body)
        row = self._with_message(click)
        self._open(blocks.message_modal(row, click.to_keep()), row, click)

    def turn_page(self, body: Mapping[str, Any]) -> None:
        """Show another page of the message in the modal that is open."""
        click = Click.of_modal(body)
        row = self._with_message(click)
        modal = blocks.message_modal(row, click.to_keep(), page_wanted(body))
        try:
            self._client.views_update(view_id=text_at(body, "view", "id"), view=modal)
        except Exception as error:  # however Slack failed, the person has to be told
            raise _no_modal(row, error) from error

    def list_groups(self, ack: Ack, body: dict[str, Any]) -> None:
        """Fill the menu of access groups while a reviewer types in it. Anyone else is offered none."""
        search = GroupSearch.of(body)
        ack(options=blocks.group_options(self._offered(search), search.typed))

    def _reviewer(self, user_id: str) -> Reviewer:
        """Return the reviewer with this Slack user id. Raises Refusal if the person can't decide."""
        identity = identity_of(self._channel)
        try:
            return self._reviewers.check(user_id, identity.team_id, identity.enterprise_id)
        except NotListed as error:
            sentence = blocks.not_a_reviewer(self._reviewers.who_decides())
            raise Refusal(sentence, type(error).__name__) from error
        except MayNot as error:
            raise Refusal(MAY_NOT_DECIDE[type(error)], type(error).__name__) from error

    def _waiting(self, click: Click) -> Row:
        """Return the request that was clicked, if it is still waiting and this is its current card."""
        row = self._ledger.decisions.find(click.request_id)
        if row is None or not row.card_ts:
            raise Refusal(blocks.READING_THE_CHANNEL, "unknown card")
        if row.card_ts != click.card_ts:
            permalink = identity_of(self._channel).permalink(row.channel, row.card_ts)
            raise Refusal(blocks.old_card(row, permalink), "old card")
        if row.round != click.round or not self._is_in(row.channel, click.channel):
            raise Refusal(blocks.READING_THE_CHANNEL, "unknown card")
        _check_still_as_shown(row, click)
        return row

    def _with_message(self, click: Click) -> Row:
        """Return the request that was clicked, if its message in this round is still known."""
        row = self._ledger.decisions.find(click.request_id)
        if row is None or row.round != click.round or not is_readable(row.message):
            raise Refusal(blocks.MESSAGE_GONE, "no message")
        return row

    def _on_card(self, channel_id: str, ts: str) -> Row | None:
        """Return the request whose current card this is, or None."""
        find = self._ledger.decisions.find_by_card
        row = find(self._channel.ids_of(channel_id), ts)
        if row is None and not self._channel.is_here(channel_id):
            self._channel.ask_id(self._client)
            row = find(self._channel.ids_of(channel_id), ts)
        return row

    def _is_in(self, kept: str, clicked: str) -> bool:
        """Return whether these are ids of one channel: the one that is kept of a card, and that of a click.

        Slack is asked only if its answers have not said so before.
        """
        if clicked not in self._channel.ids_of(kept) and self._channel.is_here(kept):
            self._channel.ask_id(self._client)
        return clicked in self._channel.ids_of(kept)

    def _grantable(self, row: Row, chosen: Sequence[str]) -> list[AccessGroup]:
        """Return the chosen groups. Raises Refusal if one of them cannot be granted anymore."""
        if not chosen:
            return []
        offered = {group.id: group for group in self._ledger.polls.access_groups(row.dataroom_id)}
        if missing := [group_id for group_id in chosen if group_id not in offered]:
            names = self._ledger.polls.group_names(missing[: blocks.MISSING_MOST])
            raise Refusal(blocks.groups_not_offered(row, names), "groups not offered", redraw=row.id)
        return [offered[group_id] for group_id in chosen]

    def _decided(self, click: Click, again: Decision) -> Row:
        """Return the request that was clicked, if it can be decided again and this is its current card."""
        row = self._ledger.decisions.find(click.request_id)
        is_current = row is not None and (row.round, row.card_ts) == (click.round, click.card_ts)
        return as_before(row if is_current else None, click, again)

    def _claim(
        self, row: Row, click: Click, decision: Decision, reviewer: Reviewer, **chosen: Any
    ) -> Decided:
        """Record the decision. Raises Refusal if another click or Conveyor was faster."""
        is_first = decision.comes_from == State.PENDING
        for _ in range(2):
            claimed = self._ledger.decisions.claim(
                row, decision, reviewer, click.trigger_id, self._clock(), **chosen
            )
            if claimed:
                said = row.id, row.round, claimed, decision.runs_as, reviewer.id
                log.info("request=%s round=%d decision=%s claim=%s by=%s", *said)
                return Decided(row.id)
            # This refuses, unless the channel only got another id meanwhile.
            row = self._waiting(click) if is_first else self._decided(click, decision)
        raise Refusal(blocks.ODD_CLICK, "not claimed")

    def _open(self, modal: Block, row: Row, click: Click) -> None:
        try:
            self._client.views_open(trigger_id=click.trigger_id, view=modal)
        except Exception as error:  # however Slack failed, the person has to be told
            if slack_error(error) == "exchanged_trigger_id":
                return  # this is a copy of a click whose modal is open
            raise _no_modal(row, error) from error
        # Recorded so that a copy of this click gets no answer if it arrives after the decision.
        self._ledger.decisions.record_click("opened", row.id, click.user_id, click.trigger_id)

    def _offered(self, search: GroupSearch) -> list[AccessGroup]:
        """Return the access groups of the request in which somebody searches, or none if that fails."""
        try:
            self._reviewer(search.user_id)
            if search.request_id is None:
                row = self._on_card(*search.card)
            else:
                row = self._ledger.decisions.find(search.request_id)
            return self._ledger.polls.access_groups(row.dataroom_id) if row else []
        except Refusal:
            return []
        except LedgerError as error:
            log.error("groups=not_read cause=%r", str(error))
            return []


def _check_still_as_shown(row: Row, click: Click) -> None:
    """Raise Refusal if the request is not waiting anymore, or not about whom the card showed."""
    if row.state != State.PENDING:
        raise _already_decided(row, click)
    if row.subject != click.subject:
        raise Refusal(blocks.changed(row), "changed in Conveyor", redraw=row.id)


def _already_decided(row: Row, click: Click) -> Refusal:
    return Refusal(blocks.already_decided(row, click.user_id), "too late", redraw=row.id)


def _no_modal(row: Row, error: Exception) -> Refusal:
    log.warning("request=%s views_open=failed cause=%s", row.id, type(error).__name__)
    return Refusal(blocks.no_window(row), "no window")


def as_before(row: Row | None, click: Click, again: Decision) -> Row:
    """Return the request of the clicked card, if it is in the state that this decision starts from."""
    if row is None:
        raise Refusal(blocks.NOT_CURRENT, "not the current card")
    if row.state == again.comes_from:
        return row
    if row.state == State.CLOSED:
        raise Refusal(blocks.FORGOTTEN, "forgotten")
    if row.state in (*IN_FLIGHT, State.REVOKED) or again is AFTER_ALL:
        raise _already_decided(row, click)
    raise Refusal(blocks.nothing_to_change(row), "nothing to change", redraw=row.id)
