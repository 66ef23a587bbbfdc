"""Polls of Conveyor that take long but go on, have too large a page, or fail in whatever way."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sandbox.workspace import ANN, Message
from tests.requirements import needs
from tests.support.raw_peer import Gate, saying
from tests.support.steps import posted, request_of
from tests.support.world import World, eventually, state_of

QUEUE = "GET /exchange/authorization_request_queue"
STUCK = 3.0
PAGE = 0.5  # seconds
PAGES = 14
NOWHERE = b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def before(world: World, service: str) -> Iterator[Gate]:
    """A proxy between the app and a stand-in, for answers that the stand-in's own server refuses to make."""
    stand_in = getattr(world, service)
    gate = Gate(stand_in.port)
    name = f"{service}_API_URL".upper()
    world.settings[name] = world.settings[name].replace(f":{stand_in.port}/", f":{gate.port}/")
    yield gate
    gate.stop()


def ended_itself_never(world: World) -> None:
    assert world.log().count("lease=taken") == 1
    assert not re.search("stuck=|Traceback", world.log())


def test_a_poll_that_takes_longer_than_a_stuck_loop_may_is_well_while_it_goes_on(world: World) -> None:
    world.waits |= {"conveyor_client.PER_PAGE": 1, "operations.health.LATE_SECONDS": STUCK}
    world.waits["worker.watch.MANY_PAGES"] = PAGES  # so that each poll reads all of them
    world.waits |= {"worker.loops.STUCK_SECONDS": STUCK, "worker.loops.HEARTBEAT_SECONDS": 0.5}
    requests = [world.conveyor.ask(f"{number}@acme.com") for number in range(PAGES)]
    world.conveyor.fail(QUEUE, times=None, delay=PAGE)
    world.start()
    process = world.process
    # Each page is recorded as it comes, and the poll is well from the first one on.
    world.shows(requests[0], "pending")
    eventually(lambda: world.readiness()[0] == 200, 2 * STUCK)
    reasons: list[str] = []

    def has_polled_twice() -> bool:
        reasons.extend(world.readiness()[1]["reasons"])
        return len(world.conveyor.calls(QUEUE)) > 2 * PAGES

    eventually(has_polled_twice, 4 * PAGES * PAGE)
    assert reasons == []
    assert all(len(world.cards(request_id)) == 1 for request_id in requests)
    assert world.process is process
    ended_itself_never(world)


def test_redirects_to_no_address_are_failures_like_any_other(world: World) -> None:
    world.waits |= {"worker.loops.STUCK_SECONDS": STUCK, "worker.watch.LONGEST_PAUSE": 0.5}
    world.waits |= {"worker.loops.HEARTBEAT_SECONDS": 0.5, "worker.refresh.REFRESH_SECONDS": 0.5}
    with before(world, "conveyor") as conveyor, before(world, "slack") as slack:
        world.start()
        card = posted(world)
        conveyor.instead["/exchange/"] = slack.instead["/api/"] = lambda _: (NOWHERE,)
        late = world.conveyor.ask("late@acme.com")
        time.sleep(2 * STUCK)
        reasons = str(world.readiness()[1]["reasons"])
        assert "authorization_request_queue: 302" in reasons
        assert "auth_test: 302" in reasons
        conveyor.instead.clear()
        slack.instead.clear()
        recovers(world, late, card)


def recovers(world: World, late: str, card: Message) -> None:
    world.shows(late, "pending", seconds=30)
    eventually(lambda: world.readiness()[0] == 200)
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved", seconds=30)
    ended_itself_never(world)


def outage(world: World) -> str:
    """Return the state of the message that requests are not arriving; empty if there is none."""
    told = [card for card in world.slack.cards() if "outage" in request_of(card)]
    return state_of(told[-1]) if told else ""


def test_a_poll_that_cannot_be_recorded_is_an_outage_and_no_stuck_loop(world: World) -> None:
    world.waits |= {"worker.loops.STUCK_SECONDS": STUCK, "worker.loops.HEARTBEAT_SECONDS": 0.5}
    world.waits |= {"worker.watch.LONGEST_PAUSE": 0.5, "worker.watch.OUTAGE_SECONDS": 1.0}
    world.start()
    posted(world)
    world.ledger("ALTER TABLE access_groups RENAME TO kept")
    eventually(lambda: "its answer was not recorded" in str(world.readiness()[1]["reasons"]))
    eventually(lambda: outage(world) == "outage")
    time.sleep(STUCK)
    world.ledger("ALTER TABLE kept RENAME TO access_groups")
    eventually(lambda: world.readiness()[0] == 200, 30)
    eventually(lambda: outage(world) == "outage over", 30)
    ended_itself_never(world)


def test_a_fault_of_the_app_in_a_poll_is_an_outage_and_no_stuck_loop(world: World) -> None:
    world.waits |= {"worker.loops.STUCK_SECONDS": STUCK, "worker.loops.HEARTBEAT_SECONDS": 0.5}
    world.waits |= {"worker.watch.LONGEST_PAUSE": 0.5, "worker.watch.OUTAGE_SECONDS": 1.0}
    world.waits["worker.watch.READS_A_ROUND"] = "none"  # where the app needs a number
    world.start()
    eventually(lambda: "the app failed with TypeError" in str(world.readiness()[1]["reasons"]))
    eventually(lambda: outage(world) == "outage")
    time.sleep(STUCK)
    world.shows(world.conveyor.ask("new@acme.com"), "pending")  # pages are recorded as they come
    assert "stuck=" not in world.log()


@pytest.mark.parametrize(
    ("database", "most"), [("sqlite", 20_000), pytest.param("postgresql", 5_000, marks=needs("initdb"))]
)
def test_a_page_larger_than_asked_is_recorded(
    world: World, request: pytest.FixtureRequest, database: str, most: int
) -> None:
    if database == "postgresql":
        url = request.getfixturevalue("postgres").new_database()
        world.settings["DATABASE_URL"] = url.replace("+psycopg", "")
    world.waits["worker.show.POST_SECONDS"] = 1.0
    with before(world, "conveyor") as conveyor:
        world.start()
        one = world.conveyor.requests[world.conveyor.ask("jane@acme.com")]
        listed = [{**one, "id": f"{number}", "email": f"p{number}@acme.com"} for number in range(most)]
        page = {"authorization_requests": [one, *listed], "page": 1, "total_pages": 1}
        conveyor.instead[QUEUE.split()[1]] = saying(json.dumps(page).encode())
        eventually(lambda: world.ledger("SELECT count(*) FROM requests") == [(most + 1,)], 60)
        eventually(lambda: world.readiness()[0] == 200)
        eventually(world.slack.cards)
    ended_itself_never(world)
