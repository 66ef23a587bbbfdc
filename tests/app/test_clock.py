"""The clock of a machine is set back or forward by hours while the app runs, or while it does not."""

import time
from pathlib import Path

import pytest

import blocks
from sandbox.workspace import ANN, BOB, SAM
from tests.proofs.replicas import Replicas
from tests.support.steps import answer_to, posted, request_of, writes
from tests.support.world import World, eventually

HOUR = 3600.0
READ = "GET /exchange/authorization_requests/*"
QUEUE = "GET /exchange/authorization_request_queue"
# How long a new card may take. After a click, an approval in retry wait is due by then as well.
SECONDS = 30.0


def waiting_decision(world: World, person: str = ANN) -> str:
    """Let a decision wait for another try, and return its request."""
    card = posted(world, "retry@acme.com")
    world.conveyor.fail(READ, times=None, status=503)
    world.slack.click(person, card.ts, "approve")
    eventually(lambda: world.ledger("SELECT 1 FROM requests WHERE decide_failures >= 2"))
    return request_of(card)


def carried_out_once(world: World, request_id: str) -> None:
    world.conveyor.clear_faults()
    card = world.shows(request_id, "approved", seconds=SECONDS)
    assert writes(world, request_id) == [("POST", True)]
    assert world.slack.replies(card.ts) == []
    assert len(world.cards(request_id)) == 1


@pytest.mark.parametrize("seconds", [-3 * HOUR, 3 * HOUR])
def test_a_clock_that_is_set_while_the_app_runs_delays_nothing(world: World, seconds: float) -> None:
    world.move_clock(0.0)
    world.start()
    waiting = posted(world, "waiting@acme.com")
    request_id = waiting_decision(world)
    world.move_clock(seconds)
    new = world.conveyor.ask("new@acme.com")
    world.shows(new, "pending", seconds=SECONDS)
    # Longer than two polls, in which an app that trusts its clock would remind, give back, or tell an outage.
    time.sleep(1.0)
    carried_out_once(world, request_id)
    assert world.slack.replies(waiting.ts) == []
    assert [request_of(card) for card in world.slack.cards() if "outage" in request_of(card)] == []


def test_a_clock_that_is_hours_off_is_told_until_it_is_right(world: World) -> None:
    world.move_clock(0.0)
    world.waits["worker.refresh.REFRESH_SECONDS"] = 0.5
    world.start()
    card = posted(world)
    world.move_clock(2 * HOUR)
    (reason,) = eventually(lambda: world.readiness()[1]["reasons"])
    assert reason.startswith("Clock: this machine's clock is 120 minutes ahead")
    assert world.slack.click(ANN, card.ts, "approve").status == 401
    eventually(lambda: "clock=wrong seconds=+7" in world.log())
    world.move_clock(-2 * HOUR)
    eventually(lambda: "120 minutes behind" in str(world.readiness()[1]["reasons"]))
    world.move_clock(0.0)
    eventually(lambda: world.readiness()[1]["reasons"] == [])
    eventually(lambda: "clock=right" in world.log())
    assert world.log().count("level=WARNING at=workspace.slack_clock") == 1
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved")


@pytest.mark.parametrize("seconds", [-HOUR, HOUR])
def test_nobody_has_been_waiting_for_less_than_no_time(world: World, seconds: float) -> None:
    world.move_clock(0.0)
    world.settings["SLACK_APP_TOKEN"] = world.slack.app_token  # over a socket commands arrive at any time
    world.slack.app_url = ""
    world.start()
    card = posted(world)
    world.move_clock(seconds)
    other = posted(world, "other@acme.com")
    said = world.slack.text_of(answer_to(world, SAM, ""))
    assert said.count(blocks.JUST_ASKED) == 2
    world.slack.click(ANN, other.ts, "approve")
    world.shows(request_of(other), "approved")
    (at,) = world.ledger(f"SELECT settled_at FROM requests WHERE id = '{request_of(other)}'")[0]
    assert abs(float(str(at)) - time.time()) < 60  # what people read is the time in Slack
    assert world.readiness()[0] == 200
    assert request_of(card) in world.conveyor.requests


def test_a_clock_that_is_set_back_while_the_app_is_down_delays_nothing(world: World) -> None:
    world.move_clock(0.0)
    world.start()
    waiting = posted(world, "waiting@acme.com")
    request_id = waiting_decision(world)
    world.kill()
    world.move_clock(-3 * HOUR)
    world.start()
    new = world.conveyor.ask("new@acme.com")
    world.shows(new, "pending", seconds=SECONDS)
    carried_out_once(world, request_id)
    assert world.slack.replies(waiting.ts) == []


def test_a_post_without_an_answer_is_found_by_slacks_clock(world: World) -> None:
    world.move_clock(0.0)
    world.start()
    posted(world)
    world.slack.fail("chat.postMessage", drop="after")
    world.move_clock(3 * HOUR)
    request_id = world.conveyor.ask("doubt@acme.com")
    eventually(lambda: world.cards(request_id))
    settled = f"SELECT 1 FROM requests WHERE id = '{request_id}' AND card_ts != '' AND show_at IS NULL"
    eventually(lambda: world.ledger(settled), SECONDS)
    time.sleep(1.0)
    assert len(world.cards(request_id)) == 1


def test_processes_whose_clocks_differ_share_a_ledger(tmp_path: Path, database_url: str) -> None:
    """Each claims by its own clock, only one works at a time, and another takes over when that one dies."""
    waits = {"worker.loops.HEARTBEAT_SECONDS": 0.4, "worker.lease.HELD_SECONDS": 1.5}
    waits |= {"worker.lease.LEASE_SECONDS": 2.0, "worker.loops.ALARM_SECONDS": 0.1}
    replicas = Replicas(tmp_path, database_url, 2, waits)
    world = replicas.world
    try:
        for number, each in enumerate(replicas.each):
            each.clock_file = tmp_path / f"clock{number}"
            each.move_clock(0.0)
        replicas.start()
        first, second = posted(world, "first@acme.com"), posted(world, "second@acme.com")
        for card, person in ((first, ANN), (second, BOB)):  # one click goes to each process
            world.slack.click(person, card.ts, "approve")
            world.shows(request_of(card), "approved", seconds=SECONDS)
        owner = eventually(replicas.owner)
        other = next(each for each in replicas.each if each is not owner)
        request_id = waiting_decision(world)
        other.move_clock(-3 * HOUR)
        time.sleep(3.0)  # longer than a lease
        assert replicas.owner() is owner
        owner.kill()
        eventually(lambda: replicas.owner() is other, SECONDS)
        carried_out_once(world, request_id)
        posted(world, "new@acme.com")
        assert world.ledger("SELECT count(*) FROM trail WHERE event = 'given back'") == [(0,)]
    finally:
        replicas.close()
