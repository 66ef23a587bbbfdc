"""Several processes on one ledger: one works, all answer clicks, and any may die or be suspended."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby, product
from pathlib import Path

import pytest
import requests

import blocks
from sandbox.slack import Refused
from sandbox.workspace import ANN, BOB
from tests.proofs.replicas import Replicas
from tests.requirements import needs
from tests.support.postgres import Postgres
from tests.support.steps import clickable, posted, request_of, writes
from tests.support.world import World, eventually, state_of

LEASE = 2.0
KILLS = 4
QUICK = {
    "worker.decide.CONFIRM_SECONDS": 1,
    "worker.show.LOOK_AGAIN_SECONDS": 1,
    "worker.show.POST_SECONDS": 0.1,
    "worker.loops.ALARM_SECONDS": 0.1,
    "worker.loops.HEARTBEAT_SECONDS": 0.4,
    "worker.lease.HELD_SECONDS": LEASE * 0.75,
    "worker.lease.LEASE_SECONDS": LEASE,
}

Make = Callable[..., Replicas]


@pytest.fixture
def several(tmp_path: Path) -> Iterator[Make]:
    """A function that starts several processes on one ledger."""
    made: list[Replicas] = []

    def make(database_url: str, count: int, waits: Mapping[str, float]) -> Replicas:
        made.append(Replicas(tmp_path, database_url, count, waits))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.close()


def quiet(world: World) -> None:
    """Wait until no card is left to be drawn and no decision to be carried out."""
    work = "SELECT 1 FROM requests WHERE show_at IS NOT NULL OR decide_at IS NOT NULL"
    eventually(lambda: not world.ledger(work), 60, "all is done")


def agree(world: World) -> None:
    """Check that each request has one card, that each decision took effect once, and that all agree."""
    statuses = {"approved": "approved", "rejected": "ignored", "pending": "requested"}
    states = {
        str(request_id): str(state) for request_id, state in world.ledger("SELECT id, state FROM requests")
    }
    assert set(states) == set(world.conveyor.requests)
    for request_id, state in states.items():
        assert world.conveyor.requests[request_id]["status"] == statuses[state]
        (card,) = world.cards(request_id)
        assert state_of(card) == state
        effects = [effective for _, effective in writes(world, request_id)]
        assert sum(effects) == (state != "pending")


def decide(world: World, request_id: str, person: str) -> None:
    """Decide a request as soon as it has a card, and click again until the card shows a decision."""

    def decided() -> bool:
        card = world.card(request_id)
        if card is None or state_of(card) != "pending":
            return card is not None
        with suppress(Refused):  # the card changed at this moment, and has no such button anymore
            if person == ANN:
                world.slack.click(ANN, card.ts, "approve")
            else:
                world.slack.click(BOB, card.ts, "reject")
                for view in list(world.slack.views.values()):
                    if "submit" in view.view and f'"{request_id}"' in view.view["private_metadata"]:
                        world.slack.submit(BOB, view.id, {"reason": "no"})
        return False

    eventually(decided, 60, f"{request_id} is decided")


def test_every_process_says_what_only_the_working_one_has_met(several: Make, tmp_path: Path) -> None:
    replicas = several(f"sqlite:///{tmp_path}/shared.db", 2, QUICK)
    world = replicas.world
    world.slack.fail("chat.postMessage", None, body={"ok": False, "error": "restricted_action"})
    request_id = world.conveyor.ask("jane@acme.com")

    def reasons() -> list[list[str]]:
        return [each.readiness()[1]["reasons"] for each in replicas.each]

    eventually(lambda: all("may not post" in str(each) for each in reasons()))
    world.slack.clear_faults()
    clickable(world, request_id)
    eventually(lambda: reasons() == [[], []])


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_processes_may_be_killed_at_random(several: Make, database_url: str, seed: int) -> None:
    replicas = several(database_url, 3, QUICK)
    world, chance = replicas.world, random.Random(seed)

    def kill() -> None:
        for _ in range(KILLS):
            time.sleep(chance.uniform(0, 2 * LEASE))
            victim = chance.choice(replicas.each)
            victim.kill()
            victim.launch()

    with ThreadPoolExecutor(7) as pool:
        killing = pool.submit(kill)
        while not killing.done():
            asked = [world.conveyor.ask("jane@acme.com", f"message {number}") for number in range(3)]
            # Two people decide each of them.
            list(pool.map(lambda work: decide(world, *work), product(asked, (ANN, BOB))))
        killing.result()
    quiet(world)
    agree(world)
    assert not world.slack.problems


@needs("initdb")
def test_one_works_and_another_takes_over_within_two_leases(several: Make, postgres: Postgres) -> None:
    """This uses the real lease of 20 seconds."""
    url = postgres.new_database().replace("postgresql", "postgres")
    replicas = several(url, 3, {})
    world = replicas.world
    card = posted(world)
    first = eventually(replicas.owner)
    first.kill()
    killed_at = time.monotonic()
    # A click that still reaches the dying process fails; Slack says so, and the person clicks again.
    eventually(lambda: world.slack.click(ANN, card.ts, "approve").status == 200)
    world.shows(request_of(card), "approved", seconds=40)
    assert time.monotonic() - killed_at < 40
    posted(world)
    assert len(list(groupby(replicas.callers))) == 2  # one process called, and then another
    first.start()
    assert replicas.owner() is not first
    quiet(world)
    agree(world)


@pytest.mark.parametrize(
    ("moment", "click"),
    [
        ("POST /api/v2/exchange/authorizations", "approve"),
        ("PATCH /api/v2/exchange/authorization_requests/", "reject"),
        ("GET /api/v2/exchange/authorization_requests/", "approve"),
        ("POST /api/chat.update", "approve"),
        ("POST /api/chat.postMessage", ""),
    ],
)
@needs("initdb")
def test_a_process_that_is_suspended_before_a_call_does_not_make_it_later(
    several: Make, postgres: Postgres, moment: str, click: str
) -> None:
    replicas = several(postgres.new_database(), 2, QUICK)
    world = replicas.world
    first = eventually(replicas.owner)
    if not click:
        replicas.stop_at(moment)
    request_id = world.conveyor.ask("jane@acme.com", "x")
    if click:
        card = clickable(world, request_id)
        replicas.stop_at(moment)
        world.slack.click(ANN, card.ts, click)
        if click == "reject":
            world.slack.submit(ANN, values={"reason": "no"})
    eventually(lambda: not replicas.stop_file.exists())
    world.shows(request_id, {"approve": "approved", "reject": "rejected", "": "pending"}[click], seconds=20)
    eventually(lambda: replicas.owner() not in (None, first))
    quiet(world)
    before = len(world.slack.calls("chat.*")), len(world.conveyor.decisions)
    calls = replicas.callers.count(first.log_file.stem)
    replicas.wake()
    eventually(lambda: "SIGALRM" in first.log(), what="it has ended")
    eventually(first.serves)  # and it starts again
    agree(world)
    assert (len(world.slack.calls("chat.*")), len(world.conveyor.decisions)) == before
    assert replicas.callers.count(first.log_file.stem) == calls


@needs("initdb")
@pytest.mark.parametrize("statement", ["UPDATE lease", "UPDATE requests"])
def test_a_process_that_is_suspended_in_a_transaction_holds_up_nobody(
    several: Make, postgres: Postgres, statement: str
) -> None:
    replicas = several(postgres.new_database(), 2, QUICK)
    world = replicas.world
    card = posted(world)
    replicas.stop_at(statement)
    if statement == "UPDATE lease":  # the other statement runs only after a click
        eventually(lambda: not replicas.stop_file.exists())

    def decided() -> bool:
        with suppress(Refused):  # the button is gone if an earlier click counted
            world.slack.click(ANN, card.ts, "approve")
        return bool(writes(world, request_of(card)))

    eventually(decided, 30, replicas.logs())
    assert not replicas.stop_file.exists()
    replicas.wake()
    quiet(world)
    agree(world)


@needs("initdb")
def test_postgresql_goes_away_and_comes_back(several: Make, postgres: Postgres) -> None:
    replicas = several(postgres.new_database(), 2, QUICK)
    world = replicas.world
    card = posted(world)
    postgres.stop()
    try:
        for replica in replicas.each:
            assert requests.get(f"{replica.url}/healthz", timeout=5).status_code == 200
            status, found = replica.readiness()
            assert status == 503
            assert "Ledger" in str(found)
        assert world.slack.click(ANN, card.ts, "approve").status == 200
        world.told(ANN, blocks.LEDGER_BUSY)
    finally:
        postgres.start()
    postgres.run("ALTER SYSTEM SET default_transaction_read_only = on")
    postgres.run("SELECT pg_reload_conf()")
    try:
        world.slack.private.clear()
        assert world.slack.click(ANN, card.ts, "approve").status == 200
        world.told(ANN, blocks.LEDGER_BUSY)
    finally:
        postgres.run("ALTER SYSTEM RESET default_transaction_read_only")
        postgres.run("SELECT pg_reload_conf()")
    assert world.ledger("SELECT state FROM requests") == [("pending",)]
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved")
    quiet(world)
    agree(world)
