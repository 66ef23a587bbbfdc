"""Polls of Conveyor that take long but go on, and polls that fail in whatever way."""

from tests.support.world import World, eventually

QUEUE = "GET /exchange/authorization_request_queue"
STUCK = 3.0
PAGE = 0.5  # seconds
PAGES = 14


def test_a_poll_that_takes_longer_than_a_stuck_loop_may_is_well_while_it_goes_on(world: World) -> None:
    world.waits |= {"conveyor_client.PER_PAGE": 1, "operations.health.LATE_SECONDS": STUCK}
    world.waits |= {"worker.loops.STUCK_SECONDS": STUCK, "worker.loops.HEARTBEAT_SECONDS": 0.5}
    requests = [world.conveyor.ask(f"{number}@acme.com") for number in range(PAGES)]
    world.conveyor.fail(QUEUE, times=None, delay=PAGE)
    world.start()
    process = world.process
    # Each page is recorded as it comes, and the poll is well from the first one on.
    world.shows(requests[0], "asks for access")
    eventually(lambda: world.readiness()[0] == 200, 2 * STUCK)
    reasons: list[str] = []

    def has_polled_twice() -> bool:
        reasons.extend(world.readiness()[1]["reasons"])
        return len(world.conveyor.calls(QUEUE)) > 2 * PAGES

    eventually(has_polled_twice, 4 * PAGES * PAGE)
    assert reasons == []
    assert all(len(world.cards(request_id)) == 1 for request_id in requests)
    assert world.process is process
    assert world.log().count("lease=taken") == 1
    assert "stuck" not in world.log()
