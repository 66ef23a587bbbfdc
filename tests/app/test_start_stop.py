"""The app starts without Slack and Conveyor, stops in order, and goes on after it was killed.

By HTTP it is `python app.py` with its own waits; over a socket it is started quickly, with shorter waits.
"""

import errno
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
import requests

import blocks
from sandbox.workspace import ANN, BOB
from tests.support.steps import posted, request_of, run, writes
from tests.support.world import COMMAND, MODES, World, eventually


@pytest.fixture(params=MODES)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A world of its own for one test, once by HTTP and once over a socket."""
    made = World(tmp_path, by_socket=request.param == "socket")
    if request.param == "http":
        made.command = COMMAND
    yield made
    made.close()
    assert made.leaks() == []


@pytest.mark.long
def test_a_restart_finishes_what_was_half_done(world: World) -> None:
    world.start()
    card = posted(world)
    world.conveyor.fail("*", times=None, status=503)
    world.slack.click(BOB, card.ts, "reject")
    world.slack.submit(BOB, values={"reason": "kept through the crash"})
    eventually(lambda: world.ledger("SELECT state FROM requests") == [("rejecting",)])
    world.kill()
    world.conveyor.clear_faults()
    world.start()
    shown = world.shows(request_of(card), "rejected", "<@U0BOB>", seconds=40)
    assert "kept through the crash" in world.slack.text_of(shown)
    assert len(world.cards(request_of(card))) == 1
    assert writes(world, request_of(card)) == [("PATCH", True)]


@pytest.mark.long
def test_a_kill_between_a_post_and_its_record_posts_no_second_card(world: World) -> None:
    world.slack.fail("chat.postMessage", delay_after=5)
    world.start()
    request_id = world.conveyor.ask("jane@acme.com", "x")
    eventually(lambda: world.card(request_id))
    world.kill()
    assert world.ledger("SELECT card_ts FROM requests") == [("",)]
    world.start()
    early = world.slack.click(ANN, world.shows(request_id, "pending").ts, "approve")
    assert early.status == 200
    world.told(ANN, blocks.READING_THE_CHANNEL)
    eventually(lambda: world.ledger("SELECT card_ts FROM requests") != [("",)], seconds=40)
    card = world.shows(request_id, "pending")
    assert len(world.cards(request_id)) == 1
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_id, "approved")


@pytest.mark.long
def test_a_lost_ledger_adopts_what_the_channel_shows(world: World) -> None:
    # With the app's own waits the reviewer would be asked to decide again after three minutes.
    world.command = []
    world.start()
    waiting, decided, stuck, landed = (
        request_of(posted(world, f"{name}@acme.com")) for name in ("waiting", "decided", "stuck", "landed")
    )
    world.slack.click(ANN, world.shows(decided, "pending").ts, "approve")
    world.shows(decided, "approved")
    world.conveyor.fail("*authorizations", times=None, status=503)
    world.conveyor.fail("PATCH *", times=None, status=503)
    for request_id in (stuck, landed):
        world.slack.click(BOB, world.shows(request_id, "pending").ts, "reject")
        world.slack.submit(BOB, values={"reason": f"reason for {request_id}"})
        world.shows(request_id, "rejecting")
    pictures = {card.ts: (card.text, card.blocks) for card in world.cards(decided)}
    world.kill()
    world.conveyor.ignore_here(landed)
    world.conveyor.clear_faults()
    for file in world.database.parent.iterdir():
        file.unlink()
    world.start()
    shown = world.shows(landed, "rejected", "<@U0BOB>", seconds=20)
    assert f"reason for {landed}" in world.slack.text_of(shown)
    world.shows(stuck, "pending", seconds=30)
    note = eventually(lambda: world.slack.replies(world.shows(stuck, "pending").ts))[0]
    assert "<@U0BOB>" in note.text
    assert blocks.NOTES["lost"] in note.text
    assert {card.ts: (card.text, card.blocks) for card in world.cards(decided)} == pictures
    assert all(len(world.cards(request_id)) == 1 for request_id in (waiting, decided, stuck, landed))
    world.slack.click(ANN, world.shows(waiting, "pending").ts, "approve")
    world.shows(waiting, "approved")
    world.conveyor.ask_again(decided)
    world.shows(decided, "pending", blocks.SEE_EARLIER, round=2)


def test_the_app_starts_while_slack_and_conveyor_are_down(world: World) -> None:
    slack_port, conveyor_port = (int(url.rsplit(":", 1)[1]) for url in (world.slack.url, world.conveyor.url))
    world.slack.stop()
    world.conveyor.stop()
    world.launch()

    def answers() -> bool:
        try:
            return requests.get(world.url + "/healthz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    eventually(answers)
    status, found = world.readiness()
    assert status == 503
    assert any("Slack" in reason for reason in found["reasons"])
    world.slack.serve(slack_port)
    world.conveyor.serve(conveyor_port)
    card = posted(world)
    assert eventually(lambda: world.readiness()[0] == 200)
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved")


def test_people_who_click_before_slack_has_answered_are_told_to_wait(world: World) -> None:
    world.start()
    card = posted(world)
    world.stop()
    world.slack.fail("auth.test", times=None, status=503)
    world.launch()
    eventually(lambda: world.slack.calls("auth.test"))
    eventually(lambda: world.slack.click(ANN, card.ts, "approve").status == 200)
    world.told(ANN, blocks.STILL_STARTING)
    world.slack.clear_faults()
    eventually(world.serves)
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved")


def test_sigterm_finishes_a_running_decision_and_hands_over(world: World) -> None:
    world.waits["worker.lease.LEASE_SECONDS"] = 120.0  # longer than anybody waits for a card here
    world.start()
    card = posted(world)
    world.conveyor.fail("POST /exchange/authorizations", delay=2)
    world.slack.click(ANN, card.ts, "approve")
    eventually(lambda: world.ledger("SELECT sent_at FROM requests") != [(None,)])
    assert world.stop() == 0
    assert world.ledger("SELECT state FROM requests") == [("approved",)]
    assert world.ledger("SELECT owner FROM lease") == [("",)]
    world.start()
    world.shows(request_of(card), "approved")
    posted(world, "next@acme.com")  # a process that has stopped holds no lease


def test_an_orphan_frees_the_port_and_ends(tmp_path: Path) -> None:
    """Only the main process is killed, while a decision is under way and connections are open."""
    with closing(World(tmp_path)) as world, ExitStack() as connections:
        world.start()
        card = posted(world)
        world.conveyor.fail("POST /exchange/authorizations", delay=5)
        world.slack.click(ANN, card.ts, "approve")
        eventually(lambda: world.ledger("SELECT sent_at FROM requests") != [(None,)])
        for number in range(20):
            connection = socket.create_connection(("127.0.0.1", world.port))
            connections.enter_context(connection).sendall(b"P" * (number % 2))
        assert world.process
        master = world.process.pid
        (orphan,) = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        os.kill(master, signal.SIGKILL)
        eventually(lambda: not _lives(orphan), 2.0, "the orphan is gone")
        assert "The main process is gone" in world.log()
        world.process.wait()
        world.start()
        world.shows(request_of(card), "approved", seconds=40)
        assert writes(world, request_of(card)) == [("POST", True)]


def _lives(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("host", ["", "127.0.0.1", "::1"])
def test_it_listens_on_the_address_that_the_operator_chose(tmp_path: Path, host: str) -> None:
    """Blank is every address, of IPv4 and IPv6."""
    own = [address for address in ("127.0.0.1", "::1") if _is_own(address)]
    with closing(World(tmp_path)) as world:
        del world.settings["GUNICORN_CMD_ARGS"]
        if host in own or not host:
            world.url = f"http://[{host}]:{world.port}" if ":" in host else world.url
            world.start(HOST=host)
            for address in own:
                with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as client:
                    answers = client.connect_ex((address, world.port)) == 0
                assert answers == (host in ("", address)), address
        else:
            assert run(world, "check", HOST=host)[0] == 1  # this machine has no such address


def _is_own(address: str) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        return probe.connect_ex((address, 9)) != errno.EADDRNOTAVAIL


def test_many_ctrl_c_end_the_app_in_order(world: World) -> None:
    world.start()
    assert world.process
    with suppress(ProcessLookupError):  # it may end sooner than these
        for _ in range(50):
            os.killpg(world.process.pid, signal.SIGINT)  # a terminal sends it to both processes
            time.sleep(0.002)
    world.process.wait(timeout=10)
    assert world.ledger("SELECT owner FROM lease") == [("",)]
