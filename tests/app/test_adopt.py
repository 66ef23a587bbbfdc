"""A new ledger adopts the requests of the cards that are in the channel."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import blocks
from ledger.rows import Reviewer, Row
from ledger.states import State
from sandbox.slack import SlackStandIn
from tests.support.ledgers import new_ledger
from tests.support.world import eventually
from worker.adopt import Adopt, kept_by_card
from workspace.channel import Channel
from workspace.slack_client import SlackClient

BOB = Reviewer("U0BOB", "Bob", "bob@example.com")


@pytest.fixture
def channel() -> Iterator[Channel]:
    slack = SlackStandIn()
    slack.serve()
    made = Channel(SlackClient(slack.bot_token, slack.api_url), slack.channel_id)
    eventually(made.refresh_identity)
    yield made
    slack.stop()


def test_adopting_keeps_what_the_ledger_knows_already(channel: Channel, tmp_path: Path) -> None:
    now = time.time()
    for row in (
        Row("open", 3, State.PENDING, "a@b.c", "", "room-1", "", 1.0),
        Row("flight", 1, State.REJECTING, "a@b.c", "", "room-1", "", 1.0, reviewer=BOB, reason="why"),
        Row("done", 1, State.APPROVED, "a@b.c", "", "room-1", "", 1.0, reviewer=BOB),
        Row("elsewhere", 1, State.GONE, "a@b.c", "", "room-1", "", 1.0),
    ):
        channel.post(blocks.card(row), kept_by_card(row))
    ledger = new_ledger(f"sqlite:///{tmp_path}/ledger.db")
    with closing(ledger.database):
        Adopt(channel, ledger.cards).run(now)

        def adopted(request_id: str) -> Row:
            found = ledger.decisions.find(request_id)
            assert found
            return found

        assert (adopted("open").state, adopted("open").round) == ("pending", 3)
        flight = adopted("flight")
        assert (flight.state, flight.reason, flight.sent_at, flight.adopted) == (
            "rejecting",
            "why",
            now,
            True,
        )
        assert (flight.reviewer.id, flight.reviewer.name, flight.dataroom_id) == ("U0BOB", "Bob", "room-1")
        assert adopted("done").state == State.CLOSED
        assert adopted("elsewhere").state == State.CLOSED
        ledger.cards.redraw("done", now + 10)
        assert adopted("done").show_at is None
        assert ledger.polls.status().adopted_at == now
