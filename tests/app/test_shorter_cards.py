"""A card that Slack refuses as too long or invalid is replaced by a shorter one: never by nothing."""

import re
from collections.abc import Callable
from typing import Any

import pytest

import blocks
from sandbox.workspace import ANN, BOB, Message
from tests.support.steps import change, clickable, drawn, posted, request_of, revoke
from tests.support.world import World, eventually

ERRORS = ("msg_blocks_too_long", "msg_too_long", "invalid_blocks")
LONG = "secret-of-acme " * 100


def saying(words: str) -> Callable[[Any], bool]:
    return lambda request: words in str(request.get("blocks"))


def refuse(world: World, words: str, error: str = "invalid_blocks") -> None:
    """Let Slack refuse every card in which these words are."""
    world.slack.fail("chat.*", None, when=saying(words), body={"ok": False, "error": error})


def notes(world: World) -> list[str]:
    return [note for note in world.readiness()[1]["notes"] if "shorter card" in note]


def in_short(world: World, request_id: str, state: str) -> Message:
    """Return the card of a request once it is there in this state, without the customer's message."""
    card = eventually(lambda: world.card(request_id), what=f"a card\n{world.log()}")
    drawn(card, state=state)
    assert blocks.MESSAGE_REFUSED in world.slack.text_of(card)
    assert "secret-of-acme" not in str(card.blocks)
    assert "jane@acme.com" in world.slack.text_of(card)
    return card


@pytest.mark.parametrize("error", ERRORS)
def test_a_card_that_slack_refuses_comes_shorter_and_works(world: World, error: str) -> None:
    refuse(world, "secret-of-acme", error)
    world.start()
    request_id = world.conveyor.ask("jane@acme.com", LONG)
    card = in_short(world, request_id, "pending")
    assert blocks.OPEN_IN_CONVEYOR in world.slack.text_of(card)
    assert [request_id in note for note in eventually(lambda: notes(world))] == [True]
    assert world.readiness()[0] == 200
    assert len(re.findall(f"level=WARNING .*card=shorter .*{error}", world.log())) == 1
    assert "secret-of-acme" not in world.log()
    world.slack.click(BOB, card.ts, "reject")
    view = world.slack.open_view(BOB)
    assert view
    assert "secret-of-acme" not in str(view.blocks)
    world.slack.submit(BOB, values={"reason": "not now"})
    in_short(world, request_id, "rejected")
    assert "not now" in world.slack.text_of(card)
    assert len(world.cards(request_id)) == 1


def test_a_whole_card_that_cannot_be_updated_becomes_shorter_until_its_content_changes(world: World) -> None:
    world.start()
    card = posted(world, "jane@acme.com", LONG)
    refuse(world, "secret-of-acme", "msg_blocks_too_long")
    world.slack.click(ANN, card.ts, "approve")
    in_short(world, request_of(card), "approved")
    assert eventually(lambda: notes(world))
    world.slack.clear_faults()
    revoke(world, ANN, card)
    drawn(card, state="revoked")
    assert "secret-of-acme" in world.slack.text_of(card)
    assert notes(world) == []


def test_a_link_that_slack_refuses_is_left_out_and_then_shown_again(world: World) -> None:
    refuse(world, "https://")
    world.start()
    request_id = world.conveyor.ask("jane@acme.com", LONG)
    card = in_short(world, request_id, "pending")
    assert blocks.OPEN_IN_CONVEYOR not in world.slack.text_of(card)
    world.slack.clear_faults()
    change(world, request_id, message="Hello")
    world.shows(request_id, "pending", "Hello")
    assert blocks.OPEN_IN_CONVEYOR in world.slack.text_of(card)
    assert notes(world) == []


def test_an_error_that_nobody_knows_is_taken_for_the_cards_after_some_failures(world: World) -> None:
    refuse(world, "secret-of-acme", "an_error_of_tomorrow")
    world.start()
    request_id = world.conveyor.ask("jane@acme.com", LONG)
    in_short(world, request_id, "pending")


def test_one_refused_card_keeps_no_other_from_the_channel(world: World) -> None:
    world.slack.fail("chat.postMessage", None, when=saying("jane@acme.com"),
                     body={"ok": False, "error": "invalid_blocks"})  # fmt: skip
    world.start()
    refused = world.conveyor.ask("jane@acme.com", LONG)
    clickable(world, world.conveyor.ask("joe@acme.com", "Hello"))
    assert world.card(refused) is None
    eventually(lambda: "keeps failing" in str(world.readiness()[1]), 30.0)
    world.slack.clear_faults()
    eventually(lambda: world.card(refused), 30.0)


def test_a_shorter_card_keeps_its_warnings(world: World) -> None:
    """A message that Slack refuses must not hide that somebody was rejected before."""
    world.start()
    card = posted(world, "eve@gmail.com", "Hello")
    world.slack.click(BOB, card.ts, "reject")
    world.slack.submit(BOB, values={"reason": "a rival"})
    world.shows(request_of(card), "rejected")
    refuse(world, "secret-of-acme")
    again = clickable(world, world.conveyor.ask("eve@gmail.com", LONG))
    shown = world.slack.text_of(again)
    assert blocks.MESSAGE_REFUSED in shown
    assert blocks.PERSONAL.format("gmail.com") in shown
    assert f"{blocks.REJECTED_BEFORE} by <@U0BOB>" in shown
    (approve,) = [each for each in again.blocks[-1]["elements"] if each["action_id"] == "approve"]
    assert "gmail.com" in str(approve["confirm"])
