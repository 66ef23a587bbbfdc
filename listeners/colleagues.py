"""Handles the button of a card that gives a customer the same as a colleague has.

What is given is computed from the ledger at the click. The click counts only if that is what its button
showed. Nothing here calls Conveyor or updates a card.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slack_bolt import App

import blocks
from ledger.states import APPROVE
from listeners.answers import Decided
from listeners.decisions import Listeners
from listeners.errors import Refusal
from listeners.payloads import Click, button_block


@dataclass(frozen=True)
class Colleagues(Listeners):
    """Checks and records clicks as Listeners does."""

    def register(self, bolt: App) -> None:
        bolt.action(blocks.APPROVE_SAME)(self._answers.on_click(self.approve_same))

    def approve_same(self, body: Mapping[str, Any]) -> Decided:
        """Give this customer what a colleague was given, if the card showed just that."""
        click = Click.of_button(body)
        reviewer = self._reviewer(click.user_id)
        row = self._waiting(click)
        given = self._ledger.same.offered(row)
        if given is None or not blocks.offers(button_block(body), given):
            raise Refusal(blocks.same_changed(row), "not the same anymore", redraw=row.id)
        options = {"groups": given.groups, "expires_at": given.ends}
        return self._claim(row, click, APPROVE, reviewer, **options)
