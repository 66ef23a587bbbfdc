"""A status that Conveyor may have one day: the operator hears of the requests that get no card for it."""

from sandbox.workspace import ANN
from tests.support.steps import approved, posted, request_of
from tests.support.world import World, eventually

NOTE = "Conveyor: open requests whose status this app does not know: {} ({}). New ones get no card."
QUEUE = "GET /exchange/authorization_request_queue"


def notes(world: World) -> list[str]:
    """Return what /readyz notes about statuses, after a poll that began from now on."""
    polls = len(world.conveyor.calls(QUEUE))
    eventually(lambda: len(world.conveyor.calls(QUEUE)) > polls + 2)
    status, found = world.readiness()
    assert (status, found["reasons"]) == (200, [])
    return [note for note in found["notes"] if "does not know" in note]


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
    assert world.slack.cards() == []
    world.conveyor.ignore_here(other)
    world.conveyor.change_here(first, status="requested")
    world.shows(first, "asks for access")
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
    world.shows(request_of(card), "Approved by")


def test_closed_requests_in_the_queue_are_no_news(world: World) -> None:
    world.start()
    closed = [dict(world.conveyor.requests[request_of(approved(world))])]
    listed = {"authorization_requests": closed, "page": 1, "per_page": 100, "total_pages": 1}
    world.conveyor.fail(QUEUE, times=None, body=listed)
    assert (notes(world), warnings(world)) == ([], 0)
