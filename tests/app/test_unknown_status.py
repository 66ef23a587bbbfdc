"""A status that Conveyor may have one day: its requests get cards, and the operator hears of them."""

import pytest

from sandbox.workspace import ANN
from tests.support.steps import approved, clickable, posted, request_of, writes
from tests.support.world import World, eventually

NOTE = "Conveyor: open requests with a status that this app doesn't know: {} ({}). They get cards as usual."
QUEUE = "GET /exchange/authorization_request_queue"


def notes(world: World) -> list[str]:
    """Return what /readyz notes about statuses, after a poll that began from now on."""
    polls = len(world.conveyor.calls(QUEUE))
    eventually(lambda: len(world.conveyor.calls(QUEUE)) > polls + 2)
    status, found = world.readiness()
    assert (status, found["reasons"]) == (200, [])
    return [note for note in found["notes"] if "with a status" in note]


def warnings(world: World) -> int:
    return world.log().count("level=WARNING at=worker.watch poll=unknown_status")


def test_requests_with_an_unknown_status_are_noted_and_warned_of_once(world: World) -> None:
    world.start()
    assert (notes(world), warnings(world)) == ([], 0)
    first = world.conveyor.ask("jane@acme.com", "x", status="in_review")
    assert notes(world) == [NOTE.format(1, "'in_review'")]
    assert notes(world) == [NOTE.format(1, "'in_review'")]
    assert warnings(world) == 1
    other = world.conveyor.ask("joe@acme.com", "x", status=None)
    assert notes(world) == [NOTE.format(2, "'', 'in_review'")]
    assert warnings(world) == 2
    for request_id in (first, other):
        assert len(world.cards(request_id)) == 1
        clickable(world, request_id)
    world.conveyor.ignore_here(other)
    world.conveyor.change_here(first, status="requested")
    world.shows(other, "ignored elsewhere")
    assert notes(world) == []
    assert "acme.com" not in world.log()


def test_a_card_whose_request_gets_an_unknown_status_stays(world: World) -> None:
    world.start()
    card = posted(world)
    world.conveyor.change_here(request_of(card), status="escalated")
    assert notes(world) == [NOTE.format(1, "'escalated'")]
    assert len(world.cards(request_of(card))) == 1
    world.conveyor.change_here(request_of(card), status="requested")
    assert notes(world) == []
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved")


@pytest.mark.parametrize("choice", ["approve", "reject"])
def test_a_request_with_an_unknown_status_is_decided_like_any_other(world: World, choice: str) -> None:
    world.start(REJECTION_REASON="optional")
    card = clickable(world, world.conveyor.ask("jane@acme.com", "x", status="in_review"))
    world.slack.click(ANN, card.ts, choice)
    if choice == "reject":
        view = next(iter(world.slack.views.values()))
        world.slack.submit(ANN, view.id, {"reason": "no"})
    world.shows(request_of(card), "approved" if choice == "approve" else "rejected")
    assert [effective for _, effective in writes(world, request_of(card))] == [True]


def test_an_unknown_status_after_a_write_without_an_answer_leads_to_no_second_write(world: World) -> None:
    world.start()
    card = clickable(world, world.conveyor.ask("jane@acme.com", "x", status="in_review"))
    world.conveyor.fail("POST /exchange/authorizations", drop="after")
    reads = f"GET /exchange/authorization_requests/{request_of(card)}"
    known = dict(world.conveyor.requests[request_of(card)])
    world.conveyor.fail(reads, times=1, body=known)
    world.conveyor.fail(reads, times=4, body={**known, "status": "being_approved"})
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved", seconds=40)
    assert writes(world, request_of(card)) == [("POST", True)]
    assert world.slack.replies(card.ts) == []


def test_closed_requests_in_the_queue_are_no_news(world: World) -> None:
    world.start()
    closed = [dict(world.conveyor.requests[request_of(approved(world))])]
    listed = {"authorization_requests": closed, "page": 1, "per_page": 100, "total_pages": 1}
    world.conveyor.fail(QUEUE, times=None, body=listed)
    assert (notes(world), warnings(world)) == ([], 0)
