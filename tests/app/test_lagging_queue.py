"""Conveyor's queue, and a single request, may be read from a copy that lags behind; this undoes nothing."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from copy import deepcopy

import pytest

import blocks
from sandbox.stand_in import Fault
from sandbox.workspace import ANN, BOB, Message
from tests.support.steps import change, clickable, drawn, posted, request_of, writes
from tests.support.world import World, eventually
from worker.watch import READS_A_ROUND

QUEUE = "GET /exchange/authorization_request_queue"
MALLORY = "mallory@evil.example"
MANY_POLLS = 12


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running world that the tests share, which polls often."""
    with closing(World(tmp_path_factory.mktemp("town"))) as made:
        yield made.start(POLL_SECONDS="0.1")
    assert made.leaks() == []


@contextmanager
def lagging(world: World, request_id: str, *, read: bool = False) -> Iterator[Fault]:
    """Make the queue, and with `read` also the request itself, answer as they do now until the block ends."""
    with world.conveyor.lock:
        old = deepcopy(world.conveyor.requests[request_id])
    body = {"authorization_requests": [old], "page": 1, "per_page": 100, "total_pages": 1}
    queue = world.conveyor.fail(QUEUE, times=None, body=body)
    if read:
        world.conveyor.fail(f"GET /exchange/authorization_requests/{request_id}", times=None, body=old)
    try:
        yield queue
    finally:
        world.conveyor.clear_faults()


def decided(world: World, card: Message, way: str, *, round: int = 1) -> str:
    """Decide a request and wait until its card shows it; return the request's state in the ledger."""
    if way == "approve":
        world.slack.click(ANN, card.ts, "approve")
        world.shows(request_of(card), "approved", round=round)
        return "approved"
    world.slack.click(BOB, card.ts, "reject")
    world.slack.submit(BOB, values={"reason": "no customer"})
    world.shows(request_of(card), "rejected", round=round)
    return "rejected"


@pytest.mark.parametrize("read", [False, True], ids=["queue", "queue and request"])
@pytest.mark.parametrize("way", ["approve", "reject"])
def test_a_decided_request_that_is_still_listed_gets_no_second_card(
    town: World, way: str, read: bool
) -> None:
    card = posted(town, "jane@lagging.example")
    request_id = request_of(card)
    with lagging(town, request_id, read=read) as queue:
        state = decided(town, card, way)
        polls = queue.used
        eventually(lambda: queue.used >= polls + MANY_POLLS)
        query = f"SELECT round, state FROM requests WHERE id = '{request_id}'"
        assert town.ledger(query) == [(1, state)]
        assert town.cards(request_id) == [card]
        assert len(writes(town, request_id)) == 1
        assert len(town.conveyor.calls(f"GET /exchange/authorization_requests/{request_id}")) > 2


def test_a_request_that_is_really_repeated_gets_a_card_whatever_lagged_before(town: World) -> None:
    card = posted(town, "joe@lagging.example")
    request_id = request_of(card)
    with lagging(town, request_id) as queue:
        decided(town, card, "reject")
        polls = queue.used
        eventually(lambda: queue.used >= polls + MANY_POLLS)
        town.conveyor.ask_again(request_id)
        again = clickable(town, request_id, round=2)
    assert again.ts != card.ts
    assert blocks.REJECTED_BEFORE in town.slack.text_of(again)
    decided(town, again, "reject", round=2)
    assert len(town.cards(request_id)) == 2
    assert len(writes(town, request_id)) == 2


def test_a_lagging_queue_undoes_no_correction(town: World) -> None:
    card = posted(town, "jane@corrected.example")
    request_id = request_of(card)
    with lagging(town, request_id) as queue:
        change(town, request_id, email=MALLORY)
        town.slack.click(ANN, card.ts, "approve")
        eventually(lambda: town.slack.replies(card.ts))
        drawn(card, state="pending", email=MALLORY)
        edits, polls = card.edited, queue.used
        eventually(lambda: queue.used >= polls + MANY_POLLS)
        drawn(card, state="pending", email=MALLORY)
        assert card.edited == edits
        assert town.ledger(f"SELECT email FROM requests WHERE id = '{request_id}'") == [(MALLORY,)]
    town.slack.click(ANN, card.ts, "approve")
    town.shows(request_id, "approved")


def test_many_requests_that_stay_listed_do_not_delay_a_repeated_one(town: World) -> None:
    numbers = range(10, 10 + READS_A_ROUND + 2)
    crowd = [town.conveyor.ask(f"{number}@crowd.example", request_id=f"crowd-{number}") for number in numbers]
    with town.conveyor.lock:
        old = [deepcopy(town.conveyor.requests[request_id]) for request_id in crowd]
    shown = "SELECT count(*) FROM requests WHERE id LIKE 'crowd-%' AND show_at IS NULL AND state ="
    eventually(lambda: town.ledger(f"{shown} 'pending'") == [(len(crowd),)])
    for request_id in crowd:
        town.conveyor.ignore_here(request_id)
    eventually(lambda: town.ledger(f"{shown} 'ignored elsewhere'") == [(len(crowd),)])
    body = {"authorization_requests": old, "page": 1, "per_page": 100, "total_pages": 1}
    town.conveyor.fail(QUEUE, times=None, body=body)
    town.conveyor.ask_again(crowd[-1])
    clickable(town, crowd[-1], round=2)
    town.conveyor.clear_faults()
    assert [len(town.cards(request_id)) for request_id in crowd] == [1] * (len(crowd) - 1) + [2]
