"""A busy channel, many watchers, and Slack's limits, which count each method and conversation by itself."""

from typing import Any

import pytest

from sandbox.workspace import ANN, BOB, NOEL, SAM, UNA, Message
from tests.support.steps import clickable, posted, request_of
from tests.support.world import World, eventually

HISTORY, POST = "conversations.history", "chat.postMessage"
SOON = 5.0
PEOPLE = (ANN, BOB, SAM, NOEL, UNA)
# What Slack answers for the rest of this test once it was asked too often.
TOO_MANY: dict[str, Any] = {
    "status": 429,
    "headers": {"Retry-After": "60"},
    "body": {"ok": False, "error": "ratelimited"},
}


def limited(world: World, call: str) -> bool:
    return any(exchange.status == 429 for exchange in world.slack.calls(call))


def watch(world: World, card: Message, *people: str) -> None:
    """Let these people be told when this request is decided."""
    for person in people:
        values = f"'{request_of(card)}', '{person}', 1"
        world.ledger(f"INSERT INTO watchers (request_id, person_id, at) VALUES ({values})")


def direct(world: World, person: str) -> list[str]:
    """Return the direct messages that somebody got."""
    return [message.text for message in world.slack.messages if message.channel == f"D{person[1:]}"]


def works(world: World) -> None:
    """Check that a decision and a new request are shown soon."""
    card = posted(world)
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved", seconds=SOON)


# Cards that somebody deleted


def test_a_deleted_card_comes_back_in_a_channel_of_thousands_of_messages(world: World) -> None:
    world.waits |= {"worker.show.SWEEP_SECONDS": 3.0, "worker.sweep.ASK_SECONDS": 1.0}
    world.slack.limit_rates = True
    world.start()
    lost, left = posted(world, "lost@acme.com"), posted(world, "left@acme.com")
    world.slack.chatter(BOB, 5000)
    kept = posted(world, "kept@acme.com")
    world.slack.post_as(BOB, "Who is this?", thread_ts=left.ts)
    for card in (lost, left):  # the second leaves a mark, since it has a reply
        world.slack.delete(card.ts)
    world.slack.exchanges.clear()
    request_ids = [request_of(card) for card in (lost, left)]
    eventually(lambda: all(map(world.card, request_ids)), 20.0)
    eventually(lambda: len(world.slack.calls(HISTORY)) > 6, 20.0)
    assert not limited(world, HISTORY)
    answers = [call.response for call in world.slack.calls(HISTORY) if call.done]
    assert all(len(answer["messages"]) <= 1 for answer in answers)
    assert not kept.edited


def test_a_limit_on_history_stops_neither_decisions_nor_new_cards(world: World) -> None:
    world.waits |= {"worker.show.SWEEP_SECONDS": 1.0, "worker.sweep.ASK_SECONDS": 0.2}
    world.start()
    posted(world)
    world.slack.fail(HISTORY, None, **TOO_MANY)
    eventually(lambda: limited(world, HISTORY))
    works(world)
    # Not even a card whose posting is in doubt, which has to be looked for, holds up another.
    world.slack.fail(POST, drop="before", when=lambda sent: "doubt@acme" in str(sent))
    doubtful = world.conveyor.ask("doubt@acme.com")
    eventually(lambda: world.ledger("SELECT 1 FROM requests WHERE posting_at IS NOT NULL"))
    works(world)
    assert not world.card(doubtful)


def test_a_channel_that_may_not_be_read_stops_no_card(world: World) -> None:
    world.start()
    world.slack.fail(POST, drop="before")
    world.slack.fail(HISTORY, None, body={"ok": False, "error": "missing_scope", "needed": "groups:history"})
    doubtful = world.conveyor.ask("doubt@acme.com")
    eventually(lambda: world.ledger("SELECT 1 FROM requests WHERE posting_at IS NOT NULL"))
    works(world)
    eventually(lambda: "missing_scope" in str([call.response for call in world.slack.calls(HISTORY)]))
    works(world)
    assert not world.card(doubtful)


def test_a_decision_is_shown_before_many_cards_that_are_only_drawn_again(world: World) -> None:
    world.waits["worker.show.REDRAW_SECONDS"] = 1.5
    world.start()
    asked = [world.conveyor.ask(f"c{number}@acme.com") for number in range(60)]
    cards = [clickable(world, request_id) for request_id in asked]
    world.slack.limit_rates = True
    world.conveyor.add_group("New", "")
    eventually(lambda: len(world.slack.calls("chat.update")) > 2)
    for card in cards[30:35]:
        world.slack.click(ANN, card.ts, "approve")
    for card in cards[30:35]:
        world.shows(request_of(card), "approved", seconds=SOON)
    assert not limited(world, "chat.update")


# Watchers


@pytest.mark.long
def test_a_new_card_does_not_wait_for_a_hundred_direct_messages(world: World) -> None:
    world.start()
    cards = [posted(world, f"c{number}@acme.com") for number in range(20)]
    for card in cards:
        watch(world, card, *PEOPLE)
    world.stop()
    world.waits["worker.show.POST_SECONDS"] = 1.0
    world.start(POLL_SECONDS="1")
    world.slack.rate_limits[POST] = 1, 1.0
    for card in cards:
        world.slack.click(ANN, card.ts, "approve")
    eventually(lambda: len(direct(world, SAM)) > 2)
    request_id = world.conveyor.ask("new@acme.com")
    eventually(lambda: world.card(request_id), 1.0 + SOON)
    assert world.ledger("SELECT count(*) FROM notes")[0][0]
    eventually(lambda: world.ledger("SELECT 1 FROM notes") == [], 60.0)
    for person in PEOPLE:
        assert sorted(direct(world, person)) == sorted(set(direct(world, person)))
        assert len(direct(world, person)) == len(cards)
    assert not limited(world, POST)


def test_a_limit_on_messages_to_one_person_holds_up_no_other_and_no_card(world: World) -> None:
    world.start()
    card = posted(world)
    watch(world, card, ANN, SAM)
    world.slack.fail(POST, None, **TOO_MANY, when=lambda sent: sent["channel"] == ANN)
    world.slack.click(BOB, card.ts, "approve")
    eventually(lambda: direct(world, SAM), SOON)
    works(world)
    assert direct(world, ANN) == []
    assert len([call for call in world.slack.calls(POST) if call.status == 429]) == 1


@pytest.mark.parametrize("call", ["conversations.members", "chat.postEphemeral", "auth.test"])
def test_a_limit_on_what_a_direct_message_needs_holds_up_no_card(world: World, call: str) -> None:
    world.waits["worker.refresh.REFRESH_SECONDS"] = 0.5
    world.start()
    card = posted(world)
    watch(world, card, SAM)
    world.slack.messages_tab = call == "conversations.members"
    world.slack.fail(call, None, **TOO_MANY)
    world.slack.click(BOB, card.ts, "approve")
    eventually(lambda: limited(world, call))
    works(world)
    assert world.readiness()[0] == 200
    if call != "auth.test":
        assert world.ledger("SELECT count(*) FROM notes WHERE kind = 'outcome'") == [(1,)]
