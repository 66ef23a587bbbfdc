"""The order in which a card's pictures are drawn, with a clock that we move."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import blocks
from conveyor_client import AuthorizationRequest, ConveyorClient
from ledger.rows import Reviewer, Row
from ledger.states import APPROVE
from sandbox.slack import SlackStandIn
from sandbox.workspace import Channel as SlackChannel
from tests.support.ledgers import new_ledger
from tests.support.world import eventually, state_of
from worker.colleagues import Questions
from worker.companies import Companies
from worker.draw import Draw
from worker.reminders import Reminders
from worker.show import LOOK_AGAIN_SECONDS, SWEEP_SECONDS, Show
from worker.tell import Tell
from workspace.channel import Channel
from workspace.slack_client import SlackClient
from workspace.slack_clock import SlackClock

ANN = Reviewer("U0ANN", "Ann", "ann@harbor.example")
PATIENCE = 2.0


class Scene:
    """One card that waits for a decision, and the loop that draws cards, on a clock that the test moves."""

    def __init__(self, slack: SlackStandIn, folder: Path) -> None:
        self.now = 1_000_000.0
        self.slack = slack
        self.ledger = new_ledger(f"sqlite:///{folder}/ledger.db")
        self.ledger.cards.adopt([], self.now)
        self.show = self.start()
        self.request = AuthorizationRequest("r1", "requested", "jane@acme.com", "hi", "", "", self.now)
        self.ledger.queue.record([self.request], self.now)
        self.draw()
        assert self.slack.cards()

    def start(self) -> Show:
        """Return the loop, as after a start of the app."""
        client = SlackClient(self.slack.bot_token, self.slack.api_url, seconds=PATIENCE)
        channel = Channel(client, self.slack.channel_id)
        channel.clock = SlackClock(lambda: self.now)
        eventually(channel.refresh_identity)
        nobody = ConveyorClient("http://127.0.0.1:9", "no key")
        draw = Draw(self.ledger.polls, self.ledger.memory, self.ledger.same)
        questions = Questions(self.ledger.same, self.ledger.memory)
        tell = Tell(channel, self.ledger.cards, lambda: True, Reminders(), questions)
        parts = Companies(nobody, self.ledger.known, set), draw, tell
        return Show(channel, self.ledger, *parts, lambda: True, lambda: self.now, lambda: self.now)

    def move(self) -> None:
        """Start the loop again with another channel."""
        members = self.slack.channels[self.slack.channel_id].members
        self.slack.channel_id = "C0OTHER"
        self.slack.channels["C0OTHER"] = SlackChannel("C0OTHER", "other", members)
        self.show = self.start()

    @property
    def row(self) -> Row:
        found = self.ledger.decisions.find("r1")
        assert found
        return found

    @property
    def state(self) -> str:
        """The state that the card shows."""
        return state_of(self.slack.cards()[0])

    def draw(self, seconds: float = 2.0) -> None:
        """Let so many seconds pass, and draw what is due."""
        self.now += seconds
        self.show.round()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    slack = SlackStandIn()
    slack.serve()
    made = Scene(slack, tmp_path)
    yield made
    made.ledger.database.close()
    slack.stop()


def test_an_older_picture_that_arrives_late_is_replaced(scene: Scene) -> None:
    assert scene.ledger.decisions.claim(scene.row, APPROVE, ANN, "t1", scene.now)
    late = scene.slack.fail("chat.update", delay=2 * PATIENCE)
    scene.draw()
    assert late.used
    assert scene.ledger.decisions.settle(scene.row, scene.now)
    scene.draw()
    assert scene.state == "approved"
    eventually(lambda: scene.state == "approving", what="the older picture arrives")
    scene.draw(LOOK_AGAIN_SECONDS)
    assert scene.state == "approved"
    assert scene.row.show_at is None


def test_a_new_picture_does_not_wait_for_an_older_one_that_may_be_late(scene: Scene) -> None:
    assert scene.ledger.decisions.claim(scene.row, APPROVE, ANN, "t1", scene.now)
    scene.slack.fail("chat.update", drop="after")
    scene.draw()
    scene.draw()
    assert scene.state == "approving"
    assert scene.row.show_at
    assert scene.ledger.decisions.settle(scene.row, scene.now)
    scene.draw(0.1)
    assert scene.state == "approved"


def test_cards_of_a_former_channel_move_when_it_is_archived_and_not_before(scene: Scene) -> None:
    former = scene.slack.channels[scene.slack.channel_id]
    old = scene.slack.cards()[0]
    scene.move()
    scene.draw(SWEEP_SECONDS)
    scene.draw()
    assert scene.row.card_ts == old.ts
    assert old.edited == 1
    assert not scene.slack.cards()
    former.is_archived = True
    scene.ledger.queue.record([replace(scene.request, id="r2")], scene.now)
    scene.draw(SWEEP_SECONDS)
    for _ in range(3):
        scene.draw()
    assert [("r1" in str(card.metadata), card.text) for card in scene.slack.cards()] == [
        (True, old.text),
        (False, old.text),
    ]
    assert scene.row.channel == scene.slack.channel_id


def test_a_reply_to_a_card_in_a_closed_channel_comes_after_the_card(scene: Scene) -> None:
    assert scene.ledger.decisions.claim(scene.row, APPROVE, ANN, "t1", scene.now)
    scene.draw()
    scene.slack.channels[scene.slack.channel_id].is_member = False
    scene.move()
    assert scene.ledger.decisions.give_back(scene.row, scene.now, "refused")
    for _ in range(10):
        scene.draw(0.9)
    (card,) = scene.slack.cards()
    assert scene.row.card_ts == card.ts
    assert scene.row.state == "pending"
    (reply,) = scene.slack.replies(card.ts)
    assert blocks.NOTES["refused"] in reply.text


def test_cards_and_replies_take_turns(scene: Scene) -> None:
    for click in ("t1", "t2"):
        assert scene.ledger.decisions.claim(scene.row, APPROVE, ANN, click, scene.now)
        assert scene.ledger.decisions.give_back(scene.row, scene.now, "refused")
    waiting = [replace(scene.request, id=request_id) for request_id in ("r2", "r3")]
    scene.ledger.queue.record(waiting, scene.now)
    for _ in range(8):
        scene.draw()
    is_reply = [bool(message.thread_ts) for message in scene.slack.messages[1:]]
    assert is_reply == [True, False, True, False]


def test_reminders_come_last(scene: Scene) -> None:
    scene.ledger.upkeep.remind(0.0, 3, scene.now)
    scene.ledger.queue.record([replace(scene.request, id="r2", email="joe@acme.com")], scene.now)
    scene.ledger.decisions.claim(scene.row, APPROVE, ANN, "a click", scene.now)
    scene.ledger.decisions.give_back(scene.row, scene.now, "refused")
    for _ in range(6):
        scene.draw()
    texts = [message.text for message in scene.slack.messages]
    assert blocks.NOTES["refused"] in texts[1]
    joe = scene.ledger.decisions.find("r2")
    assert joe
    assert texts[2] == blocks.card(joe)["text"]
    assert [text.startswith(blocks.STILL_WAITING) for text in texts[3:]] == [True]
