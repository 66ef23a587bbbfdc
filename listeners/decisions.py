"""What people do in Slack: clicks and modals. Look, check, claim, acknowledge; the worker does the rest."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from slack_bolt import Ack, App
from slack_sdk import WebClient

import blocks
from conveyor_client import AccessGroup
from ledger.database import LedgerError
from ledger.ledger import Ledger
from ledger.rows import Reviewer, Row
from ledger.states import APPROVE, REJECT, REVOKE, Decision, State
from listeners.answers import Answers
from listeners.payloads import (
    Click,
    Sorry,
    Wrong,
    card_of,
    kept_by_modal,
    list_at,
    mapping_at,
    selected_groups,
    text_at,
    user_of,
)
from workspace.block_kit import Block, is_readable
from workspace.channel import Channel, Identity
from workspace.reviewers import MayNot, NoAddress, NotAMember, NotListed, Reviewers, Unknown, slack_error

log = logging.getLogger(__name__)

SENTENCES: dict[type[MayNot], str] = {
    NotAMember: blocks.NOT_A_MEMBER,
    NotListed: blocks.NOT_A_REVIEWER,
    NoAddress: blocks.NO_ADDRESS,
    Unknown: blocks.WHO_UNKNOWN,
}


class Listeners:
    """Answers each interaction within Slack's three seconds, and makes sure that something is seen."""

    def __init__(
        self,
        ledger: Ledger,
        reviewers: Reviewers,
        channel: Channel,
        client: WebClient,
        answers: Answers,
        reason_required: bool,
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._reviewers = reviewers
        self._channel = channel
        self._client = client
        self._answers = answers
        self._reason_required = reason_required
        self._clock = clock

    def register(self, bolt: App) -> None:
        on_click, on_submit = self._answers.on_click, self._answers.on_submit
        bolt.action(blocks.APPROVE)(on_click(self.approve))
        bolt.action(blocks.OPTIONS_BUTTON)(on_click(self.ask_how))
        bolt.action(blocks.REJECT)(on_click(self.ask_why))
        bolt.action(blocks.MORE)(on_click(self.revoke))
        bolt.view(blocks.APPROVE_MODAL)(on_submit(self.approve_with_options))
        bolt.view(blocks.REJECT_MODAL)(on_submit(self.reject))
        bolt.options(blocks.GROUPS)(self.list_groups)

    # What people do

    def approve(self, body: Mapping[str, Any]) -> None:
        click = Click.of_button(body)
        reviewer = self._reviewer(click)
        row = self._waiting(click)
        groups = self._chosen(row, mapping_at(body, "state", "values"))
        self._claim(row, click, APPROVE, reviewer, groups=groups)

    def ask_how(self, body: Mapping[str, Any]) -> None:
        click = Click.of_button(body)
        self._reviewer(click)
        row = self._waiting(click)
        offered = self._ledger.polls.access_groups(row.dataroom_id)
        chosen = selected_groups(mapping_at(body, "state", "values"))
        self._open(row, click, blocks.approve_modal(row, click.metadata(), offered, chosen))

    def approve_with_options(self, body: Mapping[str, Any]) -> None:
        values = mapping_at(body, "view", "state", "values")
        note = self._typed(values)
        expires_at = self._last_day(values)
        click = Click.of_modal(body)
        reviewer = self._reviewer(click)
        row = self._waiting(click)
        skip_nda = list_at(values, blocks.NDA, blocks.NDA, "selected_options")
        self._claim(
            row,
            click,
            APPROVE,
            reviewer,
            groups=self._chosen(row, values),
            reason=note,
            nda_bypass=any(text_at(option, "value") == blocks.NDA for option in skip_nda),
            expires_at=expires_at,
        )

    def revoke(self, body: Mapping[str, Any]) -> None:
        row = self._ledger.decisions.find_by_card(*card_of(body))
        click = Click.on_card(body, row)
        reviewer = self._reviewer(click)
        if row is None:
            raise Sorry(blocks.NOT_CURRENT, "not the current card")
        if row.state != State.APPROVED:
            self._not_to_revoke(row, click)
        if not self._ledger.decisions.claim(row, REVOKE, reviewer, click.trigger_id, self._clock()):
            self._not_to_revoke(self._ledger.decisions.find(row.id) or row, click)
        log.info("request=%s round=%d claim=%s by=%s", row.id, row.round, REVOKE.runs_as, reviewer.id)

    def ask_why(self, body: Mapping[str, Any]) -> None:
        click = Click.of_button(body)
        self._reviewer(click)
        row = self._waiting(click)
        self._open(row, click, blocks.reject_modal(row, click.metadata(), self._reason_required))

    def _open(self, row: Row, click: Click, view: Block) -> None:
        try:
            self._client.views_open(trigger_id=click.trigger_id, view=view)
        except Exception as error:
            if slack_error(error) == "exchanged_trigger_id":
                return  # this is a copy of a click whose window was opened
            # However else Slack failed, there is no window, and the person has to hear of it.
            log.warning("request=%s views_open=failed cause=%s", row.id, type(error).__name__)
            raise Sorry(blocks.NO_WINDOW, "no window") from error
        # So that a copy of this click, sent when the request is decided, says nothing.
        self._ledger.decisions.record_click("opened", row.id, click.user_id, click.trigger_id, self._clock())

    def reject(self, body: Mapping[str, Any]) -> None:
        reason = self._typed(mapping_at(body, "view", "state", "values"))
        if not reason and self._reason_required:
            raise Wrong(blocks.REASON, blocks.REASON_MISSING)
        click = Click.of_modal(body)
        reviewer = self._reviewer(click)
        self._claim(self._waiting(click), click, REJECT, reviewer, reason=reason)

    def list_groups(self, ack: Ack, body: dict[str, Any]) -> None:
        """The groups that can be chosen on a card, as somebody types who may decide; none for others."""
        try:
            self._reviewers.check(user_of(body), self._identity().team_id)
            if kept := kept_by_modal(body):
                row = self._ledger.decisions.find(text_at(kept, "request"))
            else:
                row = self._ledger.decisions.find_by_card(*card_of(body))
            offered = self._ledger.polls.access_groups(row.dataroom_id) if row else []
        except (MayNot, Sorry):
            offered = []
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
        row = self._ledger.decisions.find(click.request_id)
        if row is None or not row.card_ts:
            raise Sorry(blocks.READING_THE_CHANNEL, "unknown card")
        if (row.channel, row.card_ts, row.round) != (click.channel, click.card_ts, click.round):
            permalink = self._identity().permalink(row.channel, row.card_ts)
            raise Sorry(blocks.old_card(permalink), "old card")
        if row.state != State.PENDING:
            self._too_late(row, click)
        if row.subject != click.subject:
            raise Sorry(blocks.changed(row), "changed in Conveyor", redraw=row.id)
        return row

    def _too_late(self, row: Row, click: Click) -> None:
        raise Sorry(blocks.already_decided(row, click.user_id), "too late", redraw=row.id)

    def _not_to_revoke(self, row: Row, click: Click) -> None:
        if row.state in (State.REVOKING, State.REVOKED):
            self._too_late(row, click)
        if row.state == State.CLOSED:
            raise Sorry(blocks.FORGOTTEN, "forgotten")
        raise Sorry(blocks.NOTHING_TO_REVOKE, "nothing to revoke", redraw=row.id)

    def _typed(self, values: Mapping[str, Any]) -> str:
        """The reason or note that was typed, or nothing if nobody could read it."""
        typed = text_at(values, blocks.REASON, blocks.REASON, "value").strip()
        if not is_readable(typed):
            return ""
        if len(typed) > blocks.REASON_CHARS:
            raise Wrong(blocks.REASON, blocks.REASON_TOO_LONG)
        return typed

    def _last_day(self, values: Mapping[str, Any]) -> str:
        """The day after which access ends (YYYY-MM-DD, in UTC), or nothing if it does not."""
        ends = text_at(values, blocks.ENDS, blocks.ENDS, "selected_option", "value")
        day = text_at(values, blocks.DAY, blocks.DAY, "selected_date")
        today = datetime.fromtimestamp(self._clock(), UTC).date()
        if ends not in blocks.ENDINGS:
            raise Wrong(blocks.ENDS, blocks.ENDS_MISSING)
        if ends != blocks.DAY:
            if day:
                raise Wrong(blocks.DAY, blocks.DAY_UNUSED)
            return "" if ends == blocks.NEVER else (today + timedelta(days=int(ends))).isoformat()
        try:
            chosen = date.fromisoformat(day)
        except ValueError:
            raise Wrong(blocks.DAY, blocks.DAY_MISSING) from None
        if chosen < today:
            raise Wrong(blocks.DAY, blocks.DAY_PAST)
        return chosen.isoformat()

    def _chosen(self, row: Row, values: Mapping[str, Any]) -> list[AccessGroup]:
        """The groups that were chosen, each of which must be one that can be granted now."""
        chosen = selected_groups(values)
        if not chosen:
            return []
        offered = {group.id: group for group in self._ledger.polls.access_groups(row.dataroom_id)}
        strange = [name or group_id for group_id, name in chosen.items() if group_id not in offered]
        if strange:
            raise Sorry(blocks.groups_not_offered(strange), "groups not offered", redraw=row.id)
        return [offered[group_id] for group_id in chosen]

    def _claim(self, row: Row, click: Click, decision: Decision, reviewer: Reviewer, **chosen: Any) -> None:
        now = self._clock()
        if self._ledger.decisions.claim(row, decision, reviewer, click.trigger_id, now, **chosen):
            log.info("request=%s round=%d claim=%s by=%s", row.id, row.round, decision.runs_as, reviewer.id)
            return
        row = self._ledger.decisions.find(row.id) or row
        if row.state != State.PENDING:
            self._too_late(row, click)
        if row.subject != click.subject:
            raise Sorry(blocks.changed(row), "changed in Conveyor", redraw=row.id)
        raise Sorry(blocks.ODD_CLICK, "not claimed")
