"""A queue of many pages: most polls read only its ends, and conclude nothing from them."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from sandbox.conveyor import CLOSED, Item
from sandbox.workspace import ANN
from tests.app.test_operating import SECRET, hook
from tests.support.steps import change, clickable, drawn, offered, writes
from tests.support.world import World, eventually

QUEUE = "GET /exchange/authorization_request_queue"
PER_PAGE, MANY_PAGES = 2, 3
NEVER = 3600.0
MALLORY = "mallory@evil.example"
Sorting = Callable[[Item], Any]
ORDERS: dict[str, Sorting | None] = {
    "oldest first": None,
    "newest first": lambda item: [-ord(char) for char in item["created_at"]],
    "by address": lambda item: item["email"],
}


def fill(world: World, count: int) -> None:
    """Let customers ask until so many requests are open."""
    for number in range(count - len(still_open(world))):
        world.conveyor.ask(f"k{number}-{time.monotonic_ns()}@acme.com")


def still_open(world: World) -> list[str]:
    """Return the open requests in Conveyor, in the order of its queue."""
    with world.conveyor.lock:
        found = [item for item in world.conveyor.requests.values() if item["status"] not in CLOSED]
        return [item["id"] for item in sorted(found, key=world.conveyor.queue_order or (lambda item: 0))]


def pages(world: World) -> list[int]:
    """Return the numbers of the pages of the queue that were read."""
    return [int(exchange.request["page"]) for exchange in world.conveyor.calls(QUEUE)]


def polled_at(world: World) -> object:
    return world.ledger("SELECT polled_at FROM lease")


def unchanged(world: World) -> list[str]:
    """Return the open requests once all have a card and polls read only the ends of the queue."""
    ids = still_open(world)
    ends = {1, math.ceil(len(ids) / PER_PAGE)}
    bare = "SELECT count(*) FROM requests WHERE show_at IS NOT NULL OR decide_at IS NOT NULL"
    before = len(pages(world))

    def settled() -> bool:
        read = pages(world)[before:]
        return len(read) > 6 and set(read[-6:]) == ends and world.ledger(bare) == [(0,)]

    eventually(settled, 30)
    return ids


def long_queue(world: World, complete_seconds: float, **settings: str) -> World:
    world.waits |= {"conveyor_client.PER_PAGE": PER_PAGE, "worker.watch.MANY_PAGES": MANY_PAGES}
    world.waits["worker.watch.COMPLETE_SECONDS"] = complete_seconds
    return world.start(POLL_SECONDS="0.1", **settings)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running world, shared by the tests. Time alone leads to no complete poll."""
    with closing(World(tmp_path_factory.mktemp("crowd"))) as made:
        fill(made, 9)
        yield long_queue(made, NEVER)
    assert made.leaks() == []


@pytest.fixture(autouse=True)
def _refilled(request: pytest.FixtureRequest) -> None:
    if "crowd" in request.fixturenames:
        crowd = request.getfixturevalue("crowd")
        crowd.conveyor.queue_order = None
        fill(crowd, 9)


def test_polls_of_an_unchanged_queue_read_its_ends(crowd: World) -> None:
    unchanged(crowd)
    before, read = polled_at(crowd), len(pages(crowd))
    groups = len(crowd.conveyor.calls("GET /exchange/access_groups"))
    eventually(lambda: len(pages(crowd)) > read + 20)
    assert set(pages(crowd)[read:]) == {1, 5}
    assert len(crowd.conveyor.calls("GET /exchange/access_groups")) - groups >= 9
    assert polled_at(crowd) == before
    assert crowd.readiness()[0] == 200


@pytest.mark.parametrize("order", ORDERS)
def test_a_new_request_gets_its_card_in_whatever_order_the_queue_is(crowd: World, order: str) -> None:
    crowd.conveyor.queue_order = ORDERS[order]
    unchanged(crowd)
    before = polled_at(crowd)
    crowd.shows(crowd.conveyor.ask(f"k4-m-{order}@acme.com".replace(" ", "-")), "pending")
    unchanged(crowd)
    assert polled_at(crowd) != before


@pytest.mark.parametrize("position", [0, 4, -1])
def test_a_request_that_leaves_any_page_is_noticed(crowd: World, position: int) -> None:
    request_id = unchanged(crowd)[position]
    crowd.conveyor.ignore_here(request_id)
    crowd.shows(request_id, "ignored elsewhere")


def test_a_request_that_is_decided_here_and_repeated_gets_a_card(crowd: World) -> None:
    request_id = unchanged(crowd)[4]
    crowd.slack.click(ANN, crowd.cards(request_id)[-1].ts, "approve")
    crowd.shows(request_id, "approved")
    unchanged(crowd)
    crowd.conveyor.ask_again(request_id)
    clickable(crowd, request_id, round=2)
    unchanged(crowd)
    assert writes(crowd, request_id) == [("POST", True)]


def test_access_groups_are_read_in_each_poll(crowd: World) -> None:
    unchanged(crowd)
    before = polled_at(crowd)
    offered(crowd, "room-1", ["SOC 2 report"])
    unchanged(crowd)
    assert polled_at(crowd) == before


def test_what_changes_at_the_ends_is_noticed_and_elsewhere_no_click_counts_for_it(crowd: World) -> None:
    ids = unchanged(crowd)
    first, middle = (crowd.cards(ids[at])[-1] for at in (0, 4))
    before, done = polled_at(crowd), writes(crowd, ids[4])
    change(crowd, ids[4], email=MALLORY)
    polls = len(pages(crowd))
    eventually(lambda: len(pages(crowd)) > polls + 8)
    assert polled_at(crowd) == before
    crowd.slack.click(ANN, middle.ts, "approve")
    drawn(middle, state="pending", email=MALLORY)
    assert writes(crowd, ids[4]) == done
    change(crowd, ids[0], email=f"other-{MALLORY}")
    drawn(first, state="pending", email=f"other-{MALLORY}")


def swap(world: World) -> tuple[str, str]:
    """Let a request leave while another comes, so that neither the ends nor the length of the queue change.

    Return both.
    """
    gone = unchanged(world)[4]
    with world.conveyor.lock:
        place = world.conveyor.requests[gone]["email"]
        world.conveyor.ignore_here(gone)
        come = world.conveyor.ask(f"{place}.example")
    return gone, come


def test_a_webhook_leads_to_a_complete_poll(world: World) -> None:
    world.conveyor.queue_order = ORDERS["by address"]
    fill(world, 9)
    long_queue(world, NEVER, CONVEYOR_WEBHOOK_SECRET=SECRET)
    gone, come = swap(world)
    polls = len(pages(world))
    eventually(lambda: len(pages(world)) > polls + 6)
    assert world.cards(come) == []
    assert hook(world).status_code == 200
    world.shows(come, "pending")
    world.shows(gone, "ignored elsewhere")


@pytest.mark.parametrize(
    "fault",
    [{"status": 500}, {"body": "<html>"}, {"body": {"authorization_requests": [], "total_pages": "5"}}],
)
@pytest.mark.parametrize("call", [QUEUE, "GET /exchange/access_groups"])
def test_a_poll_that_fails_leads_to_a_complete_one(crowd: World, call: str, fault: dict[str, Any]) -> None:
    unchanged(crowd)
    before = polled_at(crowd)
    crowd.conveyor.fail(call, times=1, **fault)
    eventually(lambda: polled_at(crowd) != before)
    assert "poll=incomplete" not in crowd.log()


def test_pages_that_are_all_the_same_are_no_queue(crowd: World) -> None:
    ids = unchanged(crowd)
    crowd.conveyor.honors_page = False
    eventually(lambda: "repeats the one before" in str(crowd.readiness()[1]["reasons"]))
    crowd.conveyor.honors_page = True
    eventually(lambda: crowd.readiness()[0] == 200)
    assert unchanged(crowd) == ids


def test_complete_polls_go_on_and_a_short_queue_has_no_other(world: World) -> None:
    world.conveyor.queue_order = ORDERS["by address"]
    fill(world, PER_PAGE * MANY_PAGES)
    long_queue(world, 2.0)
    eventually(lambda: len(pages(world)) > 20)
    assert pages(world)[:20] == [1, 2, 3] * 6 + [1, 2]
    fill(world, 9)
    gone, come = swap(world)
    before = polled_at(world)
    world.shows(come, "pending")
    world.shows(gone, "ignored elsewhere")
    eventually(lambda: polled_at(world) != before)
    unchanged(world)
    again = polled_at(world)
    eventually(lambda: polled_at(world) != again)
    assert world.readiness()[0] == 200
