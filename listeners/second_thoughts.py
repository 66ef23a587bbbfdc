"""Handles second thoughts about a decided request: other access groups, or an approval after a rejection.

They are in the menu of its card. The window with the groups shows what Conveyor says is granted now: to tick
what the ledger knows could silently undo what somebody changed in Conveyor. So Conveyor is read once before
that window opens. It is never written to here.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slack_bolt import App

import blocks
from conveyor_client import AccessGroup, Authorization, ConveyorClient, ConveyorError
from ledger.rows import Row, of_trust_center
from ledger.states import AFTER_ALL, CHANGE
from listeners.answers import Decided
from listeners.decisions import Listeners, as_before
from listeners.errors import Refusal
from listeners.forms import ChangeForm
from listeners.payloads import Click, card_of, chosen_in_menu

log = logging.getLogger(__name__)

READ_SECONDS = 1.8  # from the click on; Slack opens a window only within three seconds
KEPT_CHARS = 2900  # Slack takes 3,000 as private_metadata


@dataclass(frozen=True)
class SecondThoughts(Listeners):
    """Handles all clicks on cards: those of Listeners, and the menu of a decided card."""

    _conveyor: ConveyorClient

    def register(self, bolt: App) -> None:
        super().register(bolt)
        bolt.action(blocks.MORE)(self._answers.on_click(self.open_chosen))
        bolt.view(blocks.CHANGE_MODAL)(self._answers.on_submit(self.change_groups))
        bolt.view(blocks.AFTER_ALL_MODAL)(self._answers.on_submit(self.approve_after_all))

    def open_chosen(self, body: Mapping[str, Any]) -> None:
        """Open the window of the entry that was chosen in the menu of a card."""
        entries = {
            blocks.REVOKE: self.open_revocation,
            blocks.CHANGE_GROUPS: self.open_change,
            blocks.AFTER_ALL: self.open_after_all,
        }
        open_window = entries.get(chosen_in_menu(body))
        if open_window is None:
            raise Refusal(blocks.ODD_CLICK, "odd choice")
        open_window(body)

    def open_change(self, body: Mapping[str, Any]) -> None:
        conveyor = self._conveyor.within(READ_SECONDS)
        row = self._on_card(*card_of(body))
        click = Click.on_card(body, row)
        self._reviewer(click.user_id)
        row = as_before(row, click, CHANGE)
        granted = _read(row, conveyor)
        groups = {group.id: group for group in granted.groups or ()}
        kept = click.to_keep(groups=list(groups), since=_since(row))
        if granted.groups is None or len(kept) > KEPT_CHARS:
            raise _cannot_change(row, "unlisted")
        # What they have is offered as well, so that it can be kept.
        offered = {group.id: group for group in self._ledger.polls.access_groups(row.dataroom_id)} | groups
        if not offered:
            raise _cannot_change(row, "no groups")
        self._open(blocks.change_modal(row, kept, list(offered.values()), granted), row, click)

    def change_groups(self, body: Mapping[str, Any]) -> Decided:
        form = ChangeForm.of(body)
        reviewer = self._reviewer(form.click.user_id)
        row = self._decided(form.click, CHANGE)
        if form.since != _since(row):
            raise _cannot_change(row, "changed")
        names = self._ledger.polls.group_names(form.shown)
        shown = [AccessGroup(*pair) for pair in zip(form.shown, names, strict=True)]
        left = [group for group in shown if group.id in form.groups]
        new = self._grantable(row, [group for group in form.groups if group not in form.shown])
        return self._claim(row, form.click, CHANGE, reviewer, groups=[*left, *new], basis=shown)

    def open_after_all(self, body: Mapping[str, Any]) -> None:
        row = self._on_card(*card_of(body))
        click = Click.on_card(body, row)
        self._reviewer(click.user_id)
        row = as_before(row, click, AFTER_ALL)
        offered = self._ledger.polls.access_groups(row.dataroom_id)
        past = self._ledger.memory.past(row)
        self._open(blocks.after_all_modal(row, click.to_keep(), offered, past), row, click)

    def approve_after_all(self, body: Mapping[str, Any]) -> Decided:
        return self._approve_by_form(body, AFTER_ALL)


def _read(row: Row, conveyor: ConveyorClient) -> Authorization:
    """Return the access that this customer has now. Raises Refusal if it cannot be changed here."""
    try:
        grants = of_trust_center(row, conveyor.authorizations(row.email))
    except ConveyorError as error:
        log.warning("request=%s access=unknown cause=%r", row.id, str(error))
        raise _cannot_change(row, "unread") from error
    active = [granted for granted in grants if granted.status != "revoked"]
    if len(active) != 1:
        raise _cannot_change(row, "several" if active else "no access")
    return active[0]


def _since(row: Row) -> str:
    """Return since when the request stands as it does: a change of its groups makes this another."""
    return repr(row.settled_since)


def _cannot_change(row: Row, why: str) -> Refusal:
    return Refusal(blocks.cannot_change(row, why), f"cannot change: {why}", redraw=row.id)
