"""Whoever decides is told, once, when the card does not show the decision two seconds later."""

import time
from typing import Any

import pytest

import blocks
from listeners.answers import CARD_SECONDS
from sandbox.workspace import ANN, BOB, Message
from tests.support.launcher import BRISK
from tests.support.steps import approved, drawn, posted, request_of, revoke
from tests.support.world import World, eventually

WAITS = BRISK | {"listeners.answers.CARD_SECONDS": CARD_SECONDS}
# Why chat.update fails, whatever Slack says about other calls.
CAUSES: dict[str, dict[str, Any]] = {
    "unavailable": {"status": 503},
    "lost after the work": {"drop": "after"},
    "rate limit": {"status": 429, "headers": {"Retry-After": "1"}, "body": {"ok": False}},
    **{
        error: {"body": {"ok": False, "error": error}}
        for error in ("invalid_blocks", "restricted_action", "msg_blocks_too_long", "an_error_of_tomorrow")
    },
}


def told(world: World, user_id: str, card: Message) -> int:
    """Return how often this person was told that this card is late."""
    said = [world.slack.text_of(private) for private in world.slack.private if private.user == user_id]
    return said.count(blocks.card_late(world.row(request_of(card))))


@pytest.mark.parametrize("cause", CAUSES)
def test_a_reviewer_is_told_once_whatever_keeps_the_card_as_it_was(town: World, cause: str) -> None:
    card = posted(town)
    town.slack.private.clear()
    town.slack.fail("chat.update", None, **CAUSES[cause])
    clicked = time.monotonic()
    town.slack.click(ANN, card.ts, "approve")
    eventually(lambda: told(town, ANN, card))
    assert time.monotonic() - clicked > 1.9
    time.sleep(2.5)  # in which nobody is told again
    town.slack.clear_faults()
    drawn(card, state="approved")
    assert told(town, ANN, card) == 1


def test_nobody_is_told_of_a_card_that_shows_the_decision(town: World) -> None:
    town.slack.private.clear()
    card = approved(town)
    revoke(town, BOB, card)
    drawn(card, state="revoked")
    time.sleep(2.5)
    assert (told(town, ANN, card), told(town, BOB, card)) == (0, 0)


def test_a_card_that_shows_a_decision_on_its_way_is_not_late(town: World) -> None:
    """Only the picture of the end is missing: who decided is on the card."""
    card = posted(town)
    town.slack.private.clear()
    town.conveyor.fail("POST /exchange/authorizations", delay=1.0)
    town.slack.click(ANN, card.ts, "approve")
    drawn(card, state="approving")
    town.slack.fail("chat.update", None, status=503)
    eventually(lambda: town.ledger("SELECT 1 FROM requests WHERE state = 'approved' AND show_failures > 1"))
    time.sleep(1.0)
    town.slack.clear_faults()
    drawn(card, state="approved")
    assert told(town, ANN, card) == 0


def test_a_form_is_followed_by_one_sentence_however_quickly_it_is_sent(town: World) -> None:
    """The click that opens the form decides nothing, so that only the form is followed by a check."""
    card = posted(town)
    town.slack.private.clear()
    town.slack.fail("chat.update", None, status=503)
    town.slack.click(BOB, card.ts, "reject")
    town.slack.submit(BOB, values={"reason": "not now"})
    eventually(lambda: told(town, BOB, card), 10.0)
    time.sleep(2.5)
    town.slack.clear_faults()
    drawn(card, state="rejected")
    assert told(town, BOB, card) == 1


def test_a_revocation_is_followed_by_the_sentence_as_well(town: World) -> None:
    card = approved(town)
    town.slack.private.clear()
    town.slack.fail("chat.update", None, body={"ok": False, "error": "invalid_blocks"})
    revoke(town, BOB, card)
    eventually(lambda: told(town, BOB, card), 10.0)
    town.slack.clear_faults()
    drawn(card, state="revoked")
    assert told(town, BOB, card) == 1


def test_a_reviewer_is_told_when_no_process_draws(world: World) -> None:
    """The process that drew was killed, and the next one waits for its turn."""
    world.start()
    card = posted(world)
    world.kill()
    world.waits["worker.lease.LEASE_SECONDS"] = 60.0
    world.launch()

    def is_claimed() -> bool:
        world.slack.click(ANN, card.ts, "approve")
        return world.ledger("SELECT state FROM requests") == [("approving",)]

    eventually(is_claimed, 30.0)
    eventually(lambda: told(world, ANN, card), 10.0)


def test_a_reviewer_is_told_when_the_ledger_does_not_answer(world: World) -> None:
    world.start()
    card = posted(world)
    world.slack.fail("chat.update", None, status=503)
    world.slack.click(ANN, card.ts, "approve")
    world.ledger("ALTER TABLE requests RENAME TO elsewhere")
    world.told(ANN, blocks.CARD_UNKNOWN)
    world.ledger("ALTER TABLE elsewhere RENAME TO requests")
    world.slack.clear_faults()
    drawn(card, state="approved")
