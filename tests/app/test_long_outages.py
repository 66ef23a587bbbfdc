"""Hours without Conveyor or Slack, and a thousand requests at once, with a clock that we move."""

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests

import blocks
from conveyor_client import ConveyorClient
from ledger.rows import Row
from sandbox.conveyor import ConveyorStandIn
from sandbox.slack import SlackStandIn
from sandbox.workspace import ANN, Message
from tests.support.ledgers import new_ledger
from tests.support.steps import posted, request_of
from tests.support.world import World, eventually, free_port, state_of
from worker.colleagues import Questions
from worker.companies import Companies
from worker.draw import Draw
from worker.reminders import Reminders
from worker.show import IDLE_SECONDS, SWEEP_SECONDS, Show
from worker.tell import Tell
from worker.watch import Watch
from workspace.channel import Channel
from workspace.slack_client import SlackClient
from workspace.slack_clock import SlackClock

POLL = 30.0
HOUR = 3600.0
QUEUE = "GET /exchange/authorization_request_queue"
POST = "chat.postMessage"
TOO_MANY: dict[str, Any] = {
    "status": 429,
    "headers": {"Retry-After": "7"},
    "body": {"ok": False, "error": "ratelimited"},
}


class Scene:
    """The loops that poll Conveyor and draw cards, one round at a time, on a clock that the test moves."""

    def __init__(self, folder: Path) -> None:
        self.now = 1_800_000_000.0
        self.slack = SlackStandIn(limit_rates=True)
        self.conveyor = ConveyorStandIn()
        for stand_in in (self.slack, self.conveyor):
            stand_in.now = lambda: self.now
            stand_in.serve(free_port())
        self.database = folder / "ledger.db"
        self.polls: list[float] = []
        self.idle = 30.0
        self.open()

    def open(self) -> None:
        """Begin as the app does after a start."""
        self.ledger = new_ledger(f"sqlite:///{self.database}")
        self.ledger.database.clock.time_of_day = lambda: self.now
        client = SlackClient(self.slack.bot_token, self.slack.api_url)
        self.channel = Channel(client, self.slack.channel_id)
        self.channel.clock = SlackClock(lambda: self.now)
        conveyor = ConveyorClient(self.conveyor.api_url, self.conveyor.api_key)
        companies = Companies(conveyor, self.ledger.known, set, lambda: self.now)
        self.watch = Watch(
            conveyor, self.ledger.queue, self.ledger.polls, blocks.offer, POLL, lambda: self.now
        )
        draw = Draw(self.ledger.polls, self.ledger.memory, self.ledger.same)
        questions = Questions(self.ledger.same, self.ledger.memory)
        tell = Tell(self.channel, self.ledger.cards, lambda: True, Reminders(), questions)
        parts = companies, draw, tell
        self.show = Show(self.channel, self.ledger, *parts, lambda: True, lambda: self.now, lambda: self.now)
        self.watch_at = self.show_at = self.now
        self.channel.refresh_identity()

    def restart(self) -> None:
        self.ledger.database.close()
        self.open()

    def run(self, seconds: float) -> None:
        """Let so many seconds pass, and do every round that is due in them."""
        until = self.now + seconds
        while min(self.watch_at, self.show_at) <= until:
            self.now = max(self.now, min(self.watch_at, self.show_at))
            if self.watch_at <= self.now:
                self.polls.append(self.now)
                self.watch_at = self.now + self.watch.round()
                self.show_at = self.now  # a change in the ledger wakes this loop up
            else:
                wait = self.show.round()
                self.show_at = self.now + (max(wait, 0.001) if wait < IDLE_SECONDS else self.idle)
        self.now = until

    def outages(self) -> list[Message]:
        """Return the messages about outages in the channel."""
        return [card for card in self.slack.cards() if "outage" in request_of(card)]

    def outage(self) -> Row:
        """Return the row of the message about the last outage."""
        found = self.ledger.cards.find(request_of(self.outages()[-1]))
        assert found
        return found

    def asked(self) -> list[str]:
        """Return the requests that have a card, in the order of the channel."""
        return [request_of(card) for card in self.slack.cards() if "outage" not in request_of(card)]

    def close(self) -> None:
        self.ledger.database.close()
        self.slack.stop()
        self.conveyor.stop()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    made.run(1)
    yield made
    made.close()


def test_an_outage_of_conveyor_is_posted_once_and_its_end_too(scene: Scene) -> None:
    scene.conveyor.ask("before@acme.com")
    scene.run(POLL)
    scene.polls.clear()
    scene.conveyor.stop()
    scene.run(POLL)
    began = scene.polls[0]
    scene.run(began + 599 - scene.now)
    assert not scene.outages()
    scene.run(32)
    (told,) = scene.outages()
    assert state_of(told) == "outage"
    assert told.text == blocks.card(scene.outage())["text"]
    for _ in range(3):
        scene.run(HOUR)
        scene.restart()
    pauses = [later - earlier for earlier, later in pairwise(scene.polls)]
    assert pauses[:4] == [60, 120, 240, 300]
    assert max(pauses) == 300
    asked = scene.conveyor.ask("during@acme.com")
    scene.conveyor.serve(scene.conveyor.port)
    scene.run(300)
    (again,) = scene.outages()
    assert again.ts == told.ts
    assert state_of(again) == "outage over"
    assert again.text == blocks.card(scene.outage())["text"]
    assert scene.asked()[-1] == asked
    assert len(scene.slack.cards()) == 3
    scene.run(HOUR)
    assert len(scene.slack.calls("chat.update")) == 1
    scene.conveyor.fail("*", times=None, status=503)  # this is another outage
    scene.run(HOUR)
    assert [state_of(card) for card in scene.outages()] == ["outage over", "outage"]


def test_a_short_outage_is_not_posted(scene: Scene) -> None:
    scene.conveyor.fail("*", times=None, status=503)
    scene.run(5 * 60)
    scene.conveyor.clear_faults()
    scene.run(HOUR)
    assert not scene.slack.cards()


def test_groups_that_cannot_be_read_are_no_outage(scene: Scene) -> None:
    scene.conveyor.fail("GET /exchange/access_groups", times=None, status=503)
    scene.run(HOUR)
    asked = scene.conveyor.ask("jane@acme.com")
    scene.run(POLL + 2)
    assert scene.asked() == [asked]
    assert not scene.outages()
    assert "access_groups" in scene.ledger.polls.status().problem


def test_a_part_of_the_queue_that_cannot_be_read_is_no_outage(scene: Scene) -> None:
    scene.conveyor.requests["broken"] = {"status": "requested", "email": None, "id": "broken"}
    scene.run(HOUR)
    asked = scene.conveyor.ask("jane@acme.com")
    scene.run(POLL + 2)
    assert scene.asked() == [asked]
    scene.conveyor.ignore_here(asked)
    scene.run(POLL + 2)
    assert state_of(scene.slack.cards()[-1]) == "ignored elsewhere"
    scene.run(600)
    assert scene.outages() == []  # the others arrive, and /readyz names what cannot be read
    assert "could not be read: 1" in scene.ledger.polls.status().problem


def test_an_outage_is_posted_once_when_the_answer_to_the_post_is_lost(scene: Scene) -> None:
    scene.conveyor.fail("*", times=None, status=503)
    scene.slack.fail(POST, drop="after")
    scene.run(HOUR)
    assert len(scene.outages()) == 1
    assert len(scene.slack.calls(POST)) == 1


def test_the_end_of_an_outage_is_posted_although_the_ledger_was_lost(scene: Scene) -> None:
    scene.conveyor.fail("*", times=None, status=503)
    scene.run(HOUR)
    (told,) = scene.outages()
    scene.ledger.database.close()
    for file in scene.database.parent.glob("ledger.db*"):
        file.unlink()
    scene.open()
    scene.run(HOUR)
    scene.conveyor.clear_faults()
    scene.run(HOUR)
    (again,) = scene.outages()
    assert again.ts == told.ts
    assert state_of(again) == "outage over"


def test_after_hours_without_slack_cards_come_in_order(scene: Scene) -> None:
    scene.slack.stop()
    asked = []
    for number in range(8):
        asked.append(scene.conveyor.ask(f"p{number}@acme.com", "x", requested_at=None))
        scene.run(600)
    scene.restart()
    scene.slack.serve(scene.slack.port)
    assert scene.channel.refresh_identity()
    scene.run(360)
    assert scene.asked() == asked
    assert not scene.slack.problems
    assert not scene.outages()


@pytest.mark.long
def test_a_thousand_requests_arrive_at_one_a_second(scene: Scene) -> None:
    asked = [scene.conveyor.ask(f"p{number}@acme.com", f"message {number}") for number in range(1000)]
    scene.slack.fail(POST, times=40, **TOO_MANY, when=lambda message: "7@" in message["text"])
    scene.slack.fail(POST, times=1, drop="after", when=lambda message: "p500@" in message["text"])
    scene.run(POLL)
    # All are recorded, and polling a thousand again takes real time.
    scene.watch_at, scene.idle = math.inf, 1.0
    began = scene.now - POLL
    while len(scene.asked()) < 1000:
        scene.run(20)
        assert scene.now - began < 1000 + 41 * 8 + 60
    scene.idle = 30.0
    scene.run(SWEEP_SECONDS)
    assert sorted(scene.asked()) == sorted(asked)
    moments = sorted(float(card.ts) for card in scene.slack.cards())
    assert all(later - earlier >= 1 for earlier, later in pairwise(moments))
    refused = [post for post in scene.slack.calls(POST) if post.status == 429]
    assert len(refused) == 40
    assert all(post.fault for post in refused)  # the app itself never posted too quickly
    assert len(scene.slack.calls(POST)) == 1040


def test_a_deleted_card_is_posted_again_within_ten_minutes(scene: Scene) -> None:
    kept, lost, decided = (scene.conveyor.ask(f"{name}@acme.com") for name in ("kept", "lost", "decided"))
    scene.run(60)
    scene.conveyor.ignore_here(decided)
    scene.run(60)
    cards = {request_of(card): card for card in scene.slack.cards()}
    for request_id in (lost, decided):
        scene.slack.delete(cards[request_id].ts)
    scene.run(SWEEP_SECONDS + 10)
    assert scene.asked() == [kept, lost]
    assert scene.slack.cards()[0].ts == cards[kept].ts
    assert not scene.slack.cards()[0].edited
    assert state_of(scene.slack.cards()[1]) == "pending"


@pytest.mark.long
def test_a_running_app_posts_an_outage_and_its_end(world: World) -> None:
    world.waits["worker.watch.OUTAGE_SECONDS"] = 1
    world.start()
    posted(world)
    eventually(lambda: world.readiness()[0] == 200)
    world.conveyor.stop()

    def told() -> Message | None:
        found = [card for card in world.slack.cards() if "outage" in request_of(card)]
        assert len(found) < 2
        return found[0] if found else None

    assert state_of(eventually(told)) == "outage"
    status, found = world.readiness()
    assert status == 503
    assert "no complete poll since 20" in found["reasons"][0]
    assert requests.get(world.url + "/healthz", timeout=5).status_code == 200
    world.kill()
    world.start()
    assert requests.get(world.url + "/healthz", timeout=5).status_code == 200
    world.conveyor.serve(world.conveyor.port)
    eventually(lambda: (card := told()) and state_of(card) == "outage over", 60)


@pytest.mark.long
def test_a_long_pause_is_not_taken_for_a_stuck_loop(world: World) -> None:
    world.waits["worker.loops.STUCK_SECONDS"] = 3
    world.start(POLL_SECONDS="6")
    card = posted(world)
    polls = len(world.conveyor.calls(QUEUE))
    eventually(lambda: len(world.conveyor.calls(QUEUE)) > polls)
    assert world.process
    assert world.process.poll() is None
    assert "stuck" not in world.log()
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved")
