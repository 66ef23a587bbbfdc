"""Slack hangs, answers slowly or refuses while somebody waits for an answer."""

from typing import Any

import pytest

import blocks
from sandbox.workspace import ANN, BOB, SAM
from tests.support.steps import posted, request_of, writes
from tests.support.world import World, eventually, state_of

HANGING = [{"delay": 20.0}, {"trickle": 0.3}, {"drop": "before"}, {"status": 500}]


@pytest.mark.parametrize("fault", HANGING, ids=str)
def test_if_slack_does_not_say_who_clicked_nothing_is_decided(world: World, fault: dict[str, Any]) -> None:
    world.start(REVIEWERS="@harbor.example")  # nobody whom the app asks about before they click
    card = posted(world)
    world.slack.fail("users.info", **fault)
    answer = world.slack.click(ANN, card.ts, "approve")
    assert answer.status == 200
    assert answer.seconds < 2.5
    world.told(ANN, blocks.WHO_UNKNOWN)
    assert world.ledger("SELECT state FROM requests") == [("pending",)]
    world.slack.clear_faults()
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved")


@pytest.mark.parametrize("fault", HANGING, ids=str)
def test_if_slack_opens_no_window_the_person_is_told(town: World, fault: dict[str, Any]) -> None:
    card = posted(town)
    town.slack.private.clear()
    town.slack.fail("views.open", **fault)
    answer = town.slack.click(BOB, card.ts, "reject")
    assert answer.status == 200
    assert answer.seconds < 2.5
    town.told(BOB, blocks.no_window(town.row(request_of(card))))
    assert writes(town, request_of(card)) == []


@pytest.mark.parametrize("fault", [{"delay": 20.0}, {"drop": "before"}, {"status": 404}], ids=str)
def test_a_hanging_response_url_delays_no_click(town: World, fault: dict[str, Any]) -> None:
    card = posted(town)
    town.slack.private.clear()
    town.slack.exchanges.clear()
    town.slack.fail("response_url", **fault)
    answer = town.slack.click(SAM, card.ts, "approve")
    assert answer.status == 200
    assert answer.seconds < 1
    town.slack.click(ANN, card.ts, "approve")
    town.shows(request_of(card), "approved")
    town.told(SAM, blocks.NOT_A_REVIEWER)  # by the other way, chat.postEphemeral
    assert eventually(lambda: town.slack.calls("chat.postEphemeral"))


def test_if_the_card_cannot_be_changed_yet_the_person_is_told(town: World) -> None:
    prompt, late = posted(town), posted(town)
    town.slack.private.clear()
    town.slack.click(ANN, prompt.ts, "approve")
    town.shows(request_of(prompt), "approved")
    limits: dict[str, Any] = {
        "status": 429,
        "body": {"ok": False, "error": "ratelimited"},
        "headers": {"Retry-After": "1"},
    }
    town.slack.fail("chat.update", None, **limits)
    assert town.slack.click(ANN, late.ts, "approve").status == 200
    town.told(ANN, blocks.card_late(town.row(request_of(late))))
    assert state_of(late) == "pending"
    town.slack.clear_faults()
    town.shows(request_of(late), "approved")
    assert len(town.slack.private) == 1  # the first card itself showed the decision


def test_a_click_that_cannot_be_answered_at_all_fails_visibly(town: World) -> None:
    card = posted(town)
    for call in ("views.open", "response_url", "chat.postEphemeral"):
        town.slack.fail(call, times=None, drop="before")
    assert town.slack.click(BOB, card.ts, "reject").status == 503
    # On a busy machine this takes longer to fail than a click waits.
    eventually(lambda: town.slack.click(SAM, card.ts, "approve").status == 503)
    town.slack.clear_faults()
    town.slack.private.clear()
    assert town.slack.click(SAM, card.ts, "approve").status == 200
    town.told(SAM, blocks.NOT_A_REVIEWER)
    assert writes(town, request_of(card)) == []


def test_environment_variables_of_bolt_change_nothing(world: World) -> None:
    world.start(SLACK_CLIENT_ID="1.2", SLACK_CLIENT_SECRET="made-up")
    card = posted(world)
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved")


@pytest.mark.parametrize("after", [True, False], ids=["posted", "not posted"])
def test_a_web_page_instead_of_an_answer_leaves_one_card(world: World, after: bool) -> None:
    world.slack.fail("chat.postMessage", status=200, body="<!doctype html>Sign in", after=after)
    world.start()
    request_id = world.conveyor.ask("jane@acme.com", "Hello")
    eventually(lambda: world.ledger("SELECT 1 FROM requests WHERE card_ts != ''"), seconds=30)
    assert len(world.cards(request_id)) == 1


def test_a_deleted_card_is_posted_again_while_its_request_is_open(world: World) -> None:
    world.start()
    card = posted(world)
    world.slack.delete(card.ts)
    world.conveyor.add_group("New group")  # makes the card due to be drawn, so that the app notices
    again = world.shows(request_of(card), "pending", "New group")
    assert again.ts != card.ts
