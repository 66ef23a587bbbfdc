"""Handles approvals that give a customer the same as a colleague: on a card, and in a private question.

What is given is computed from the ledger at the click. The click counts only if that is what its button
showed. Nothing here calls Conveyor or updates a card.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from slack_bolt import App

import blocks
from ledger.database import LedgerError
from ledger.rows import Reviewer, Row
from ledger.same import DIGEST_CHARS, Given
from ledger.states import APPROVE
from listeners.answers import Decided, InPlace
from listeners.decisions import Listeners
from listeners.errors import Refusal
from listeners.payloads import Click, button_block
from text import clean

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Named:
    """A colleague whom the question named: the request, its round, and whom it was about."""

    request_id: str
    round: int
    subject: str


@dataclass(frozen=True)
class Colleagues(Listeners):
    """Checks and records clicks as Listeners does."""

    def register(self, bolt: App) -> None:
        bolt.action(blocks.APPROVE_SAME)(self._answers.on_click(self.approve_same))
        bolt.action(blocks.APPROVE_COLLEAGUES)(self._answers.on_click(self.approve_colleagues))

    def approve_same(self, body: Mapping[str, Any]) -> Decided:
        """Give this customer what a colleague was given, if the card showed just that."""
        click = Click.of_button(body)
        reviewer = self._reviewer(click.user_id)
        row = self._waiting(click)
        given = self._ledger.same.offered(row)
        if given is None or not blocks.offers(button_block(body), given):
            raise Refusal(blocks.same_changed(row), "not the same anymore", redraw=row.id)
        return self._give(row, click, reviewer, given)

    def approve_colleagues(self, body: Mapping[str, Any]) -> InPlace | None:
        """Give those whom the question named the same, each by itself, and say whom and whom not."""
        click = Click.of_button(body)
        digest, named = _asked(click.subject)
        reviewer = self._reviewer(click.user_id)
        recorded = click.request_id, click.user_id, click.trigger_id
        ids = json.dumps([each.request_id for each in named])
        if not self._ledger.decisions.record_click("colleagues", *recorded, ids):
            return None  # it is a copy of a click that was answered
        first = self._ledger.decisions.find(click.request_id)
        given = self._ledger.same.given(first) if first else None
        if given is None or given.digest != digest:
            return InPlace(blocks.outdated(first))
        approved, others = [], []
        rows = [self._ledger.decisions.find(each.request_id) for each in named]
        for each, row in zip(named, rows, strict=True):
            try:
                approved.append(self._approve_colleague(row, each, click, reviewer, given))
            except Refusal as refusal:
                others.append(refusal.sentence)
            except LedgerError as error:
                log.error("request=%s click=not_recorded cause=%r", each.request_id, str(error))
                others.append(blocks.not_saved(row))
        decided = tuple(row.id for row in approved)
        return InPlace(blocks.colleagues_answer(given, approved, others), decided)

    def _approve_colleague(
        self, row: Row | None, named: Named, click: Click, reviewer: Reviewer, given: Given
    ) -> Row:
        """Return the request that was named, now claimed. Raises Refusal if it is not as it was then."""
        if row is None or row.round != named.round or row.subject != named.subject:
            raise Refusal(blocks.left_out(row), "changed")
        place = {"channel": row.channel, "card_ts": row.card_ts}
        # The trail takes each trigger_id once, so each request has its own, which tells a copy of the click.
        own = f"{click.trigger_id} {row.id}"
        mine = replace(
            click, **place, request_id=row.id, round=row.round, subject=row.subject, trigger_id=own
        )
        row = self._waiting(mine)
        if blocks.has_warnings(row, self._ledger.memory.past(row)):
            raise Refusal(blocks.left_out(row), "warnings")
        self._give(row, mine, reviewer, given)
        return row

    def _give(self, row: Row, click: Click, reviewer: Reviewer, given: Given) -> Decided:
        options = {"groups": given.groups, "expires_at": given.ends}
        return self._claim(row, click, APPROVE, reviewer, **options)


def _asked(subject: str) -> tuple[str, list[Named]]:
    """Return what the button of a question holds: a digest of what is given, and who is named.

    Raises Refusal if it is not as blocks.py writes it.
    """
    digest, rest = subject[:DIGEST_CHARS], subject[DIGEST_CHARS:]
    try:
        kept = json.loads(unquote(rest))
        named = [Named(clean(str(request_id)), int(round), str(about)) for request_id, round, about in kept]
    except (TypeError, ValueError, OverflowError, RecursionError):
        named = []
    if (
        not named
        or len(named) > blocks.COLLEAGUES_MOST
        or len({each.request_id for each in named}) < len(named)
    ):
        raise Refusal(blocks.ODD_CLICK, "odd click")
    return digest, named
