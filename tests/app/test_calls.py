"""Calls end in time: one that was given up sends nothing later, keeps nothing and blocks nobody."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import blocks
import conveyor_client
import deadline
from conveyor_client import AuthorizationRequest, ConveyorClient, Unavailable
from deadline import CallFailed, Calls
from sandbox.stand_in import Exchange, Incoming, StandIn
from sandbox.workspace import ANN, SAM, Answer, Message
from tests.support.launcher import BRISK, SHORT
from tests.support.lookups import Lookups
from tests.support.raw_peer import (
    DRIPPING,
    DeadEnd,
    Gate,
    RawPeer,
    Say,
    endless,
    endless_redirect,
    nothing,
    saying,
)
from tests.support.steps import clickable, posted, request_of, writes
from tests.support.world import World, eventually, free_port

# Short calls on new connections, with a lease that is long enough for a busy machine.
CONNECTING = SHORT | {name: seconds for name, seconds in BRISK.items() if name.startswith("worker.")}
CONNECTING["deadline.IDLE_SECONDS"] = 0.0
ASKED = AuthorizationRequest("r1", "requested", "jane@acme.com", "hi", "room-1", "", 0.0)
ANSWER_SECONDS = 2.9  # Slack waits for three
CROWD = 70
MEGABYTES_MOST = 300


@pytest.fixture
def peer() -> Iterator[RawPeer]:
    """A server that accepts connections and answers nothing, unless a test sets its `say`."""
    made = RawPeer()
    yield made
    made.stop()


@pytest.fixture
def dead_end() -> Iterator[DeadEnd]:
    """An address at which connecting hangs."""
    made = DeadEnd()
    yield made
    made.stop()


@pytest.fixture
def gate(world: World) -> Iterator[Gate]:
    """A proxy between the app and Slack's API."""
    made = Gate(world.slack.port)
    world.settings["SLACK_API_URL"] = f"{made.url}/api/"
    yield made
    made.stop()


def right_after(stand_in: StandIn, call: str, do: Callable[[], None]) -> None:
    """Do something when the next call of this name is answered, before the app gets the answer."""

    def observe(exchange: Exchange) -> None:
        if exchange.call == call:
            stand_in.on_exchange.remove(observe)
            do()

    stand_in.on_exchange.append(observe)


# A call that was given up sends nothing later


def delays(lookups: Lookups, dead_end: DeadEnd) -> list[tuple[Callable[[int], None], Callable[[], None]]]:
    """Return ways to make the next call to a port far too late, each with what ends the delay."""
    dead = [dead_end.port, free_port(), *[dead_end.port] * 4]  # the second one refuses, the others hang
    return [
        (lambda port: lookups.mislead_next(port, *dead), dead_end.stop),
        (lookups.hang_next, lookups.release),
    ]


@pytest.mark.long
def test_an_approval_that_was_given_up_is_not_sent_later(world: World, dead_end: DeadEnd) -> None:
    world.waits = dict(CONNECTING)
    lookups = Lookups(world)
    *late, last = (world.conveyor.ask(f"{name}@acme.com") for name in ("dead", "hanging", "last"))
    world.start(POLL_SECONDS="60")  # so that no other call looks up a name in between
    for request_id, (delay, end) in zip(late, delays(lookups, dead_end), strict=True):
        call = f"GET /exchange/authorization_requests/{request_id}"
        card = clickable(world, request_id)
        right_after(world.conveyor, call, partial(delay, world.conveyor.port))
        world.slack.click(ANN, card.ts, "approve")
        world.shows(request_id, "approved")
        assert lookups.was_used()
        end()
    world.slack.click(ANN, clickable(world, last).ts, "approve")
    world.shows(last, "approved")
    assert [writes(world, request_id) for request_id in (*late, last)] == [[("POST", True)]] * 3


@pytest.mark.long
def test_a_card_that_was_given_up_is_not_posted_later(world: World, dead_end: DeadEnd) -> None:
    world.waits = dict(CONNECTING)
    lookups = Lookups(world)
    world.start()
    late = []
    for company, (delay, end) in enumerate(delays(lookups, dead_end)):
        right_after(world.conveyor, "GET /exchange/connections", partial(delay, world.slack.port))
        late.append(request_of(posted(world, f"jane@company-{company}.example")))
        assert lookups.was_used()
        end()
    posted(world, "jane@last.example")
    assert [len(world.cards(request_id)) for request_id in late] == [1, 1]


def failed(call: Callable[[], object]) -> CallFailed:
    """Make a call that fails; return its error."""
    with pytest.raises(CallFailed) as caught:
        call()
    return caught.value


def test_a_process_that_loses_its_turn_while_connecting_sends_nothing(peer: RawPeer) -> None:
    def may_send() -> bool:
        return not eventually(lambda: peer.open, 2.0, "asked when there is a connection")

    error = failed(lambda: Calls("a kind", 1).request(3.0, "POST", peer.url, may_send, json={"a": 1}))
    assert str(error) == "no longer this process's turn"
    assert not error.sent
    eventually(lambda: not peer.open)
    assert peer.heard == [b""]


def test_a_failed_call_says_whether_anything_may_have_been_sent(peer: RawPeer, dead_end: DeadEnd) -> None:
    calls = Calls("a kind", 8)
    unsent = [
        f"http://127.0.0.1:{free_port()}",
        f"http://127.0.0.1:{dead_end.port}",
        peer.url.replace("http:", "https:"),  # the beginning of TLS is no part of the request
    ]
    assert [failed(partial(calls.request, 0.3, "POST", url, data="x")).sent for url in unsent] == [False] * 3
    assert failed(lambda: calls.request(0.3, "POST", peer.url, data="x")).sent
    assert failed(lambda: calls.request(0.0, "POST", peer.url, data="x")).sent is False
    calls.stop()
    assert failed(lambda: calls.request(0.3, "POST", peer.url, data="x")).sent is False
    eventually(lambda: not peer.open)
    assert [b"POST / HTTP/1.1" in heard for heard in peer.heard] == [False, True]


def test_a_client_that_may_not_write_can_still_read(peer: RawPeer) -> None:
    peer.say = saying(b'{"id": "r1", "email": "jane@acme.com", "status": "requested"}')
    client = ConveyorClient(peer.url, "made-up-key", may_write=lambda: False)
    for write in (
        lambda: client.ignore(ASKED, "ann@acme.com"),
        lambda: client.approve(ASKED, "ann@acme.com", []),
        lambda: client.revoke("a1"),
    ):
        with pytest.raises(Unavailable, match="turn"):
            write()
    assert client.request("r1").is_open
    assert [heard[:3] for heard in peer.heard] == [b"", b"", b"", b"GET"]


@pytest.mark.parametrize("skips", [False, True])
def test_a_write_goes_as_json_on_the_wire(peer: RawPeer, skips: bool) -> None:
    peer.say = saying(b'{"id": "a1", "email": "jane@acme.com", "status": "gated", "dataroom_id": "room-1"}')
    client = ConveyorClient(peer.url, "made-up-key")
    client.approve(ASKED, "ann@acme.com", ["g1", "g2"], nda_bypass=skips, expires_at="2999-12-31")
    head, _, body = peer.heard[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /exchange/authorizations HTTP/1.1\r\n")
    assert b"\r\ncontent-type: application/json\r\n" in head.lower() + b"\r\n"
    assert json.loads(body) == {
        "request_id": "r1",
        "reviewer_email": "ann@acme.com",
        "access_group_ids": ["g1", "g2"],
        "nda_bypass": skips,
        "expires_at": "2999-12-31",
    }


def test_no_connection_is_used_for_two_calls_at_once(peer: RawPeer) -> None:
    peer.say, peer.stays = saying(b"{}"), True
    calls = Calls("a kind", 2)

    def meanwhile(response: Any, **_: Any) -> None:
        """Make a second call when the first has its whole answer, so that its connection could be reused."""
        assert response.content == b"{}"
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(calls.request, 3.0, "GET", peer.url).result().body == b"{}"

    assert calls.request(9.0, "GET", peer.url, hooks={"response": meanwhile}).body == b"{}"
    assert len(peer.heard) == 2


def test_calls_one_after_another_use_one_connection(peer: RawPeer) -> None:
    peer.say, peer.stays = saying(b"{}"), True
    calls = Calls("a kind", 2)
    for _ in range(3):
        assert calls.request(3.0, "GET", peer.url).body == b"{}"
    assert [heard.count(b"GET / HTTP/1.1") for heard in peer.heard] == [3]
    calls.stop()
    eventually(lambda: not peer.open, 1.0, "nothing stays open")


def test_a_connection_that_the_other_side_has_closed_is_not_used(peer: RawPeer) -> None:
    peer.say = saying(b"{}")
    calls = Calls("a kind", 2)
    for _ in range(3):
        assert calls.request(3.0, "POST", peer.url, data="x").body == b"{}"
        eventually(lambda: not peer.open)
    assert [heard.count(b"POST / HTTP/1.1") for heard in peer.heard] == [1] * 3


def test_a_write_that_dies_with_an_old_connection_may_have_landed(peer: RawPeer) -> None:
    def hang_up(request: bytes) -> tuple[()]:
        peer.hang_up()
        return ()

    peer.say, peer.stays = saying(b"{}"), True
    calls = Calls("a kind", 2)
    calls.request(3.0, "GET", peer.url)
    peer.say = hang_up
    assert failed(lambda: calls.request(3.0, "POST", peer.url, data="x")).sent
    assert [heard.count(b"HTTP/1.1") for heard in peer.heard] == [2]


def test_an_old_connection_is_not_used(peer: RawPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "IDLE_SECONDS", 0.0)
    peer.say, peer.stays = saying(b"{}"), True
    calls = Calls("a kind", 2)
    for _ in range(2):
        calls.request(3.0, "GET", peer.url)
    assert len(peer.heard) == 2


def test_a_call_that_fails_takes_idle_connections_with_it(peer: RawPeer) -> None:
    peer.say, peer.stays = saying(b"{}"), True
    calls = Calls("a kind", 2)
    calls.request(3.0, "GET", peer.url)
    failed(lambda: calls.request(3.0, "GET", f"http://127.0.0.1:{free_port()}"))
    eventually(lambda: not peer.open, 1.0, "the network may be another now")
    assert calls.request(3.0, "GET", peer.url).body == b"{}"


def test_a_cookie_is_not_sent_back(peer: RawPeer) -> None:
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=secret; Path=/\r\nContent-Length: 2\r\n\r\n{}"
    peer.say, peer.stays = lambda request: (answer,), True
    calls = Calls("a kind", 2)
    for _ in range(2):
        calls.request(3.0, "GET", peer.url)
    assert b"secret" not in b"".join(peer.heard)


def test_an_approval_opens_no_connection_that_is_open(world: World) -> None:
    world.start()
    card = posted(world)
    before = world.conveyor.opened
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved")
    assert world.conveyor.opened <= before + 1  # a poll may have taken the open one just then


# A call that was given up keeps nothing


def threads() -> set[threading.Thread]:
    """Return the threads of this process, without those of the servers here."""
    return {thread for thread in threading.enumerate() if thread.name != "peer"}


@pytest.mark.parametrize(
    ("scheme", "say"),
    [("http", say) for say in DRIPPING.values()] + [("https", nothing)],
    ids=[*DRIPPING, "TLS"],
)
def test_a_call_whose_answer_drips_ends_and_keeps_nothing(
    peer: RawPeer, monkeypatch: pytest.MonkeyPatch, scheme: str, say: Any
) -> None:
    monkeypatch.setattr(conveyor_client, "CALL_SECONDS", 0.5)
    peer.say = say
    before, started = threads(), time.monotonic()
    with pytest.raises(Unavailable):
        ConveyorClient(peer.url.replace("http", scheme), "made-up-key").request("r1")
    assert 0.4 < time.monotonic() - started < 5.0
    eventually(lambda: threads() <= before and not peer.open, 5.0, "its thread and its connection end")
    assert len(peer.heard) == 1


def crowd(world: World, card: Message) -> list[Answer]:
    """Click many times at once as one person; return the answers."""
    with ThreadPoolExecutor(CROWD) as pool:
        return list(pool.map(lambda _: world.slack.click(ANN, card.ts, "approve"), range(CROWD)))


@pytest.mark.long
def test_many_clicks_while_slack_drips_are_answered_and_block_nobody(world: World, gate: Gate) -> None:
    world.start(REVIEWERS="@harbor.example")  # nobody whom the app asks about before they click
    card = posted(world)
    gate.instead["/users.info"] = DRIPPING["headers"]
    answers = [*crowd(world, card), *crowd(world, card)]
    assert max(answer.seconds for answer in answers) < ANSWER_SECONDS
    assert {answer.status for answer in answers} == {200}
    posted(world, "meanwhile@acme.com")
    eventually(lambda: not gate.open, 5.0, "what was given up has ended")
    gate.instead.clear()
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved")
    assert writes(world, request_of(card)) == [("POST", True)]


@pytest.mark.long
def test_sigterm_ends_the_app_while_slack_and_conveyor_drip(world: World, gate: Gate) -> None:
    before_conveyor = Gate(world.conveyor.port)
    world.settings["CONVEYOR_API_URL"] = f"{before_conveyor.url}/api/v2"
    world.start()
    card = posted(world)
    before_conveyor.instead["/exchange/"] = DRIPPING["body"]
    gate.instead["/chat."] = DRIPPING["body"]
    world.slack.click(ANN, card.ts, "approve")
    world.slack.click(SAM, card.ts, "approve")  # Sam may not decide, and is told so
    eventually(lambda: before_conveyor.open and gate.open)
    eventually(lambda: world.ledger("SELECT sent_at FROM requests") != [(None,)])
    started = time.monotonic()
    assert world.stop() == 0
    assert time.monotonic() - started < 10.0
    assert world.ledger("SELECT owner FROM lease") == [("",)]
    before_conveyor.stop()


def megabytes(world: World) -> int:
    """Return the sum of the most memory that each of the app's processes has used, in megabytes."""
    assert world.process
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == world.process.pid:
                status = (folder / "status").read_text()
                found += int(status.partition("VmHWM:")[2].split()[0]) // 1024
        except (OSError, IndexError):  # the process has just ended
            continue
    assert found
    return found


@pytest.mark.parametrize("say", [endless, endless_redirect])
def test_an_endless_answer_is_given_up_before_it_fills_the_memory(world: World, gate: Gate, say: Say) -> None:
    world.start(REVIEWERS="@harbor.example")
    card = posted(world)
    gate.instead["/users.info"] = say
    world.slack.click(ANN, card.ts, "approve")
    world.told(ANN, blocks.WHO_UNKNOWN)
    eventually(lambda: not gate.open, 5.0, "nobody listens to it anymore")
    assert megabytes(world) < MEGABYTES_MOST


# Every place for a call is taken


@pytest.mark.long
def test_when_every_call_to_conveyor_is_stuck_clicks_are_answered_and_the_app_restarts(
    world: World,
) -> None:
    few = {"app.CONVEYOR": 2, "operations.health.FULL_SECONDS": 0.2, "worker.loops.FULL_SECONDS": 2.5}
    lease = {
        "worker.loops.HEARTBEAT_SECONDS": 0.4,
        "worker.lease.HELD_SECONDS": 1.5,
        "worker.lease.LEASE_SECONDS": 2.0,
    }
    world.waits = SHORT | few | lease | {"worker.decide.TRYING_SECONDS": 60.0, "deadline.IDLE_SECONDS": 0.0}
    lookups = Lookups(world)
    world.start()
    card = posted(world)
    lookups.hang(world.conveyor.port)
    stuck = "All calls to Conveyor have been stuck for "
    eventually(lambda: any(reason.startswith(stuck) for reason in world.readiness()[1]["reasons"]))
    answer = world.slack.click(ANN, card.ts, "approve")
    assert answer.status == 200
    assert answer.seconds < ANSWER_SECONDS
    eventually(lambda: "stuck=Conveyor" in world.log())
    lookups.release()
    world.shows(request_of(card), "approved", seconds=30.0)
    assert writes(world, request_of(card)) == [("POST", True)]
    eventually(lambda: world.readiness()[0] == 200)


# Settings of the machine


def test_passwords_in_a_netrc_file_are_not_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    headers: dict[str, set[str]] = {"conveyor": set(), "slack": set(), "response_url": set()}
    for name, stand_in in (("conveyor", world.conveyor), ("slack", world.slack)):

        def work(incoming: Incoming, name: str = name, do: Any = stand_in.work) -> Any:
            place = "response_url" if incoming.path.startswith("/actions/") else name
            headers[place].add(incoming.headers.get("Authorization", "none"))
            return do(incoming)

        monkeypatch.setattr(stand_in, "work", work)
    (world.folder / ".netrc").write_text("machine 127.0.0.1 login somebody password made-up\n")
    (world.folder / ".netrc").chmod(0o600)
    world.start(HOME=str(world.folder))
    card = posted(world)
    world.slack.click(SAM, card.ts, "approve")
    world.told(SAM, blocks.NOT_A_REVIEWER)
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved")
    bearer = {f"Bearer {world.slack.bot_token}"}
    assert headers == {"conveyor": {"none"}, "slack": bearer, "response_url": {"none"}}
