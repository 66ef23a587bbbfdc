"""Answers that are not Slack's, or not whole, are not taken for answers."""

from collections.abc import Iterator
from contextlib import closing
from itertools import count
from typing import Any

import pytest
import requests

import blocks
from sandbox.workspace import ANN, BOB, Person
from tests.support.launcher import SHORT
from tests.support.raw_peer import RawPeer
from tests.support.steps import clickable, posted, request_of, writes
from tests.support.world import World, eventually

# Every list and every person is soon asked for again, so that a false answer would have an effect.
WAITS = SHORT | {
    "workspace.people.REMEMBERED_SECONDS": 1.0,
    "workspace.people.FRESH_MOST": 0,  # people are asked about when they click, and so get these answers
    "worker.show.SWEEP_SECONDS": 0.3,
    "worker.loops.HEARTBEAT_SECONDS": 0.4,
    "worker.refresh.REFRESH_SECONDS": 0.2,
    "worker.groups.READ_SECONDS": 0.2,
    "worker.groups.CALL_SECONDS": 0.2,
    "worker.lease.HELD_SECONDS": 1.5,
    "worker.lease.LEASE_SECONDS": 2.0,
}
QUESTIONS = ("auth.test", "conversations.history", "conversations.members", "users.info")
DEEP = "[" * 100_000
NO_ANSWERS: dict[str, Any] = {
    "a list": [{"ok": True}],
    "a number": b"7",
    "deep": DEEP,
    "deep inside": f'{{"ok": true, "user": {DEEP}',
    "only ok": {"ok": True},
    "nulls": {"ok": True, **dict.fromkeys(("user", "members", "messages", "team_id"))},
    "other kinds": {"ok": True, "user": [[]], "members": {"U0ANN": 1}, "messages": "none", "team_id": ["T"]},
}
NUMBERS = count(1)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running world that the tests share, in which every member of the company may decide."""
    with closing(World(tmp_path_factory.mktemp("town"))) as made:
        made.waits = dict(WAITS)
        yield made.start(REVIEWERS="@harbor.example")
    assert made.leaks() == []


@pytest.fixture
def town(running: World) -> Iterator[World]:
    """The same world; after each test, Slack has no faults anymore."""
    yield running
    running.slack.clear_faults()


def newcomer(world: World) -> str:
    """Add somebody to the company whom the app does not know yet; return their id."""
    name = f"new{next(NUMBERS)}"
    person = Person(f"U0{name.upper()}", name, name.title(), f"{name}@harbor.example")
    world.slack.users[person.id] = person
    world.slack.channels[world.slack.channel_id].members.append(person.id)
    return person.id


@pytest.mark.parametrize("status", [302, 307])
def test_a_token_is_not_sent_to_where_a_redirect_leads(town: World, status: int) -> None:
    other = RawPeer()
    redirect: dict[str, Any] = {"status": status, "body": {"ok": True, "ts": "1.2", "user": {}}}
    for call in ("users.info", "chat.postMessage"):
        town.slack.fail(call, headers={"Location": f"{other.url}/api/{call}"}, **redirect)
    card = posted(town)
    person = newcomer(town)
    town.slack.click(person, card.ts, "approve")
    town.told(person, blocks.WHO_UNKNOWN)
    town.slack.click(person, card.ts, "approve")
    town.shows(request_of(card), "approved")
    assert len(town.cards(request_of(card))) == 1
    assert other.heard == []
    other.stop()


@pytest.mark.parametrize("ts", [None, 7, "", "yesterday"])
def test_a_card_is_found_although_the_answer_to_its_post_had_no_timestamp(town: World, ts: object) -> None:
    answer = {"ok": True, "channel": town.slack.channel_id, "ts": ts}
    town.slack.fail("chat.postMessage", body=answer, after=True)
    card = posted(town)
    town.slack.click(newcomer(town), card.ts, "approve")
    town.shows(request_of(card), "approved")
    assert len(town.cards(request_of(card))) == 1


@pytest.mark.parametrize("body", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_a_bad_answer_lets_nobody_decide_and_stops_nothing(town: World, body: Any) -> None:
    card, person, before = posted(town), newcomer(town), len(town.log())
    for call in QUESTIONS:
        town.slack.fail(call, None, body=body)
    town.slack.exchanges.clear()
    assert town.slack.click(person, card.ts, "approve").status == 200
    town.told(person, blocks.WHO_UNKNOWN)
    assert town.slack.command(person, "").status == 200
    town.told(person, blocks.MEMBERS_UNKNOWN)
    eventually(lambda: "Slack: auth_test" in str(town.readiness()[1]["reasons"]))
    eventually(lambda: town.slack.calls("conversations.history"))
    town.slack.clear_faults()
    eventually(lambda: town.readiness()[0] == 200)
    assert writes(town, request_of(card)) == []
    town.slack.click(person, card.ts, "approve")
    town.shows(request_of(card), "approved")
    assert len(town.cards(request_of(card))) == 1
    assert "ERROR" not in town.log()[before:]


def reasons(world: World) -> str:
    """Return the only reason that /readyz gives, or nothing."""
    try:
        found = world.readiness()[1]["reasons"]
    except requests.RequestException:
        return ""
    return found[0] if len(found) == 1 else ""


def test_a_missing_list_of_reviewers_is_not_an_empty_one(world: World) -> None:
    world.slack.user_groups["S0SEC"] = {"handle": "security", "users": [BOB]}
    world.slack.fail("usergroups.users.list", None, body={"ok": True, "users": None})
    world.launch(REVIEWERS="S0SEC")
    eventually(lambda: "S0SEC" in reasons(world), 60.0)
    card = posted(world)
    for person in (ANN, BOB):
        world.slack.click(person, card.ts, "approve")
        world.told(person, blocks.WHO_UNKNOWN)
    world.slack.clear_faults()
    eventually(lambda: world.readiness()[0] == 200)
    world.slack.click(ANN, card.ts, "approve")
    world.told(ANN, blocks.NOT_A_REVIEWER)
    world.slack.click(BOB, card.ts, "approve")
    world.shows(request_of(card), "approved")
    assert "ERROR" not in world.log()


@pytest.mark.parametrize("missing", ["team_id", "user_id", "bot_id", "url"])
def test_the_app_is_not_ready_until_slack_says_who_it_is(world: World, missing: str) -> None:
    said = {"ok": True, **world.slack.api_auth_test({}), missing: None}
    world.slack.fail("auth.test", None, body=said)
    world.conveyor.ask("jane@acme.com")
    world.launch()
    eventually(lambda: len(world.slack.calls("auth.test")) > 1)
    status, found = world.readiness()
    assert status == 503
    assert "Slack: auth_test: the answer does not say who the app is." in found["reasons"]
    assert not world.slack.messages
    world.slack.clear_faults()
    eventually(lambda: world.readiness()[0] == 200)


def test_a_channel_that_could_not_be_read_is_not_an_empty_one(world: World) -> None:
    world.start()
    card = posted(world)
    request_id = request_of(card)
    world.kill()
    for file in world.database.parent.iterdir():
        file.unlink()
    world.slack.exchanges.clear()
    world.slack.fail("conversations.history", None, body={"ok": True})
    world.launch()
    eventually(lambda: len(world.slack.calls("conversations.history")) > 1)
    status, found = world.readiness()
    assert status == 503
    assert found["reasons"] == ["Slack: the channel hasn't been read yet."]
    assert [each.ts for each in world.cards(request_id)] == [card.ts]
    world.slack.clear_faults()
    eventually(lambda: world.readiness()[0] == 200)
    assert clickable(world, request_id).ts == card.ts
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_id, "approved")
    assert len(world.cards(request_id)) == 1
