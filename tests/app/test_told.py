"""Whoever has to hear of something does: in the thread or directly, else privately, else the log says so."""

import re
from typing import Any

import pytest

import blocks
from ledger.states import State
from sandbox.workspace import ANN, SAM, Message
from tests.support.steps import answer_to, clickable, drawn, posted, request_of
from tests.support.world import World, eventually

LOCKED = "restricted_action_thread_locked"


def refused_decision(world: World, card: Message) -> None:
    """Let Ann approve, which Conveyor refuses, so that a reply has to tell her."""
    world.conveyor.refuse_reviewers = True
    world.slack.click(ANN, card.ts, "approve")
    eventually(lambda: world.ledger("SELECT 1 FROM trail WHERE event = 'given back'"))
    world.conveyor.refuse_reviewers = False


def all_said(world: World) -> None:
    eventually(lambda: world.ledger("SELECT 1 FROM notes") == [], what=f"no note is left\n{world.log()}")


def privately(world: World, user_id: str) -> list[str]:
    return [world.slack.text_of(said) for said in world.slack.private if said.user == user_id]


def notes(world: World) -> list[str]:
    return [note for note in world.readiness()[1]["notes"] if note.startswith("Not told")]


def refuse(world: World, call: str, error: str, **when: Any) -> None:
    world.slack.fail(call, None, body={"ok": False, "error": error}, **when)


def is_reply(request: Any) -> bool:
    return bool(request.get("thread_ts"))


def is_direct(request: Any) -> bool:
    return str(request.get("channel")).startswith("U")


def warnings(world: World) -> list[str]:
    return re.findall(r"level=WARNING at=worker\.tell .*", world.log())


# Replies


@pytest.mark.parametrize("error", [LOCKED, "cannot_reply_to_message", "an_error_of_tomorrow"])
def test_what_a_thread_does_not_take_is_said_privately(world: World, error: str) -> None:
    world.start()
    card = posted(world)
    if error == LOCKED:
        world.slack.locked_threads.add(card.ts)
    else:
        refuse(world, "chat.postMessage", error, when=is_reply)
    refused_decision(world, card)
    all_said(world)
    (said,) = privately(world, ANN)
    assert "jane@acme.com" in said
    (warning,) = warnings(world)
    assert f'note="refused" user={ANN} told=privately' in warning
    assert "jane@" not in world.log()
    assert notes(world) == []
    assert world.slack.replies(card.ts) == []


def test_what_can_be_said_nowhere_is_in_the_log_and_in_readyz(world: World) -> None:
    world.start()
    card = posted(world)
    world.slack.locked_threads.add(card.ts)
    world.slack.channels[world.slack.channel_id].members.remove(ANN)
    refused_decision(world, card)
    all_said(world)
    (warning,) = warnings(world)
    assert f'request={request_of(card)} note="refused" user={ANN} told=no' in warning
    assert "jane@" not in world.log()
    assert len(eventually(lambda: notes(world))) == 1
    assert world.readiness()[0] == 200
    posted(world, "joe@acme.com")  # nothing is held up


def test_a_reply_whose_card_was_deleted_names_the_customer_and_brings_another_card(world: World) -> None:
    world.start()
    card = posted(world)
    world.slack.fail("chat.update", None, status=429, headers={"Retry-After": "12"})
    world.conveyor.fail("POST /exchange/authorizations", delay=1.0, status=422, body={"error": "Not today"})
    world.slack.click(ANN, card.ts, "approve")
    world.slack.delete(card.ts)
    eventually(lambda: world.ledger("SELECT 1 FROM trail WHERE event = 'given back'"))
    all_said(world)
    world.slack.clear_faults()
    again = eventually(lambda: world.card(request_of(card)), 30.0)
    assert again.ts != card.ts
    said = [message for message in world.slack.messages if f"<@{ANN}>" in message.text]
    assert [("jane@acme.com" in message.text, message.thread_ts) for message in said] == [(True, None)]


def test_a_reply_to_a_card_that_slack_does_not_know_comes_under_the_next_one(world: World) -> None:
    world.start()
    card = posted(world)
    world.conveyor.fail("POST /exchange/authorizations", delay=1.0, status=422, body={"error": "Not today"})
    world.slack.click(ANN, card.ts, "approve")
    drawn(card, state="approving")
    with world.slack.lock:
        world.slack.messages.remove(card)
    again = clickable(world, request_of(card))
    (reply,) = eventually(lambda: world.slack.replies(again.ts))
    assert f"<@{ANN}>" in reply.text
    all_said(world)


def test_a_reply_does_not_wait_for_a_card_that_slack_does_not_take(world: World) -> None:
    world.start()
    card = posted(world)
    world.conveyor.fail("POST /exchange/authorizations", delay=1.0, status=422, body={"error": "Not today"})
    world.slack.click(ANN, card.ts, "approve")
    with world.slack.lock:
        world.slack.messages.remove(card)
    refuse(world, "chat.postMessage", "invalid_blocks", when=lambda request: "metadata" in request)
    eventually(lambda: privately(world, ANN), 30.0)
    all_said(world)


@pytest.mark.long
def test_words_that_get_no_answer_for_long_are_said_in_another_place(world: World) -> None:
    world.waits |= {"worker.tell.SILENT_MOST": 4, "worker.back_off.LONGEST_PAUSE": 0.05}
    world.start()
    card = posted(world)
    world.slack.fail("chat.postMessage", None, status=503, when=is_reply)
    refused_decision(world, card)
    eventually(lambda: privately(world, ANN))
    all_said(world)


# Direct messages


def sam_watches(world: World) -> Message:
    card = posted(world)
    answer = answer_to(world, SAM, "acme.com")
    world.slack.click(SAM, answer.ts, "tell_me", via=answer)
    eventually(lambda: world.ledger("SELECT 1 FROM watchers"))
    eventually(lambda: len(privately(world, SAM)) == 2)
    world.slack.private.clear()
    return card


def decided(world: World, card: Message) -> None:
    """Let Ann approve, and wait until whoever watches was told, or cannot be told."""
    world.slack.click(ANN, card.ts, "approve")
    eventually(lambda: world.ledger("SELECT 1 FROM requests WHERE state = 'approved'"))
    all_said(world)


@pytest.mark.parametrize(
    "error", ["messages_tab_disabled", "channel_not_found", "missing_scope", "invalid_blocks"]
)
def test_a_watcher_who_cannot_be_written_to_is_told_privately(world: World, error: str) -> None:
    world.start()
    card = sam_watches(world)
    world.slack.messages_tab = error != "messages_tab_disabled"
    if world.slack.messages_tab:
        refuse(world, "chat.postMessage", error, when=is_direct)
    decided(world, card)
    (said,) = privately(world, SAM)
    assert "jane@acme.com" in said
    assert ["told=privately" in warning for warning in warnings(world)] == [True]
    assert notes(world) == []


def test_a_watcher_who_left_the_channel_learns_only_that_it_is_decided(world: World) -> None:
    world.start()
    card = sam_watches(world)
    world.stop()
    world.slack.channels[world.slack.channel_id].members.remove(SAM)
    world.start()
    decided(world, card)
    (said,) = [message for message in world.slack.messages if message.channel == f"D{SAM[1:]}"]
    assert "jane@acme.com" in said.text
    assert said.text == blocks.outcome_withheld(world.row(request_of(card)))["text"]
    assert blocks.DECIDED[State.APPROVED][0] not in world.slack.text_of(said)
    assert "<@" not in str(said.blocks)


def test_a_watcher_who_can_be_told_nowhere_is_in_the_log(world: World) -> None:
    world.start()
    card = sam_watches(world)
    refuse(world, "chat.postMessage", "messages_tab_disabled", when=is_direct)
    refuse(world, "chat.postEphemeral", "user_not_in_channel")
    decided(world, card)
    (warning,) = warnings(world)
    assert f"user={SAM} told=no" in warning
    assert eventually(lambda: notes(world))
