"""What is special about clicks over a socket; the main job, starts and stops are tested both ways."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

import blocks
from sandbox.workspace import ANN, BOB, SAM
from tests.support.steps import posted, request_of, writes
from tests.support.world import World, eventually
from workspace.web_socket import frame_of


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world of its own for one test, whose clicks come over a socket."""
    made = World(tmp_path, by_socket=True)
    yield made
    made.close()


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running world that the tests share, whose clicks come over a socket."""
    made = World(tmp_path_factory.mktemp("town"), by_socket=True)
    made.start()
    yield made
    made.close()


def test_health_is_served_and_the_route_for_slack_is_not(town: World) -> None:
    assert requests.get(town.url + "/healthz", timeout=5).status_code == 200
    assert requests.post(town.url + "/slack/events", data=b"x", timeout=5).status_code == 404


@pytest.mark.long
@pytest.mark.parametrize("lost", ["drop", "refresh"])
def test_no_click_is_lost_or_doubled_when_the_socket_changes(world: World, lost: str) -> None:
    world.start()
    cards = [posted(world, f"p{number}@acme.com") for number in range(3)]
    world.slack.click(ANN, cards[0].ts, "approve")
    before = len(world.slack.calls("apps.connections.open"))
    getattr(world.slack.link, lost)()
    clicked = world.slack.click_payload(BOB, cards[1].ts, "approve")
    answer = world.slack.send_payload(clicked)
    if answer.status is None:  # the person sees that it failed, and clicks again
        eventually(lambda: world.slack.send_payload(clicked).status == 200)
    eventually(lambda: len(world.slack.calls("apps.connections.open")) > before)
    eventually(world.slack.link.is_open)
    assert eventually(lambda: world.slack.click(ANN, cards[2].ts, "approve").status == 200)
    for card in cards:
        world.shows(request_of(card), "approved")
        assert writes(world, request_of(card)) == [("POST", True)]
    world.slack.send_payload(clicked)  # Slack may send it again if it got no answer
    assert writes(world, request_of(cards[1])) == [("POST", True)]


def test_readyz_says_that_slack_is_down_until_it_is_back(world: World) -> None:
    world.slack.fail("apps.connections.open", times=None, status=503)
    world.launch()
    eventually(lambda: world.slack.calls("apps.connections.open"))
    eventually(lambda: any("socket" in reason for reason in reasons(world)))
    world.slack.clear_faults()
    eventually(world.serves)
    card = posted(world)
    world.slack.click(SAM, card.ts, "approve")
    world.told(SAM, blocks.NOT_A_REVIEWER)


def reasons(world: World) -> list[str]:
    """Return the reasons of /readyz, or none while the app does not serve yet."""
    try:
        return world.readiness()[1]["reasons"]
    except requests.RequestException:
        return []


# The socket that does not open


def warnings(world: World) -> list[str]:
    return [line for line in world.log().splitlines() if "level=WARNING" in line and "socket=" in line]


def gives_socket(world: World, url: str, times: int | None = None) -> None:
    """Let Slack answer well, with this address of a WebSocket."""
    world.slack.fail("apps.connections.open", times=times, body={"ok": True, "url": url})


@pytest.mark.parametrize(
    "url",
    ["ws://127.0.0.1:9/", "ws://no-such-host.invalid/", "conveyor", "http://127.0.0.1/", ""],
    ids=["refused", "not found", "no WebSocket", "another scheme", "empty"],
)
def test_a_socket_that_does_not_open_is_told_and_tried_at_growing_intervals(world: World, url: str) -> None:
    gives_socket(world, world.conveyor.api_url.replace("http:", "ws:") if url == "conveyor" else url)
    world.launch()
    eventually(lambda: any("socket does not open" in reason for reason in reasons(world)))
    eventually(lambda: len(world.slack.calls("apps.connections.open")) == 3)
    assert len(warnings(world)) == 1  # one for the change, however often it is tried
    at = [exchange.at for exchange in world.slack.exchanges if exchange.call == "apps.connections.open"]
    assert (at[1] - at[0] > 0.9, at[2] - at[1] > 1.8) == (True, True)
    assert world.readiness()[0] == 503
    assert "level=ERROR" not in world.log()
    world.slack.clear_faults()
    eventually(world.serves, 30)
    assert "socket=open" in world.log()
    world.slack.click(ANN, posted(world).ts, "approve")


def test_a_proxy_that_refuses_is_told_without_its_password(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(30)
        asked = []

        def refuse() -> None:
            while True:
                try:
                    connection, _ = proxy.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(4096))
                    connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=refuse, daemon=True).start()
        gives_socket(world, "wss://wss-primary.slack.invalid/link/?ticket=secret-ticket")
        address = f"http://someone:proxy-password@127.0.0.1:{proxy.getsockname()[1]}"
        proxies = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"), address)
        world.launch(**proxies, NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
        eventually(lambda: any("proxy did not let" in reason for reason in reasons(world)), 20)
        assert asked
        assert asked[0].startswith(b"CONNECT wss-primary.slack.invalid:443")
    for secret in ("proxy-password", "secret-ticket"):
        assert secret not in world.log()
        assert secret not in str(world.readiness())


def test_a_socket_without_hello_is_not_open(world: World) -> None:
    world.waits["workspace.web_socket.OPEN_SECONDS"] = 0.5
    world.slack.link.says_hello = False
    world.launch()
    eventually(lambda: any("no hello" in reason for reason in reasons(world)))
    world.slack.link.says_hello = True
    eventually(world.serves, 20)


# The socket that was open


def test_a_cut_connection_is_noticed_within_five_seconds(world: World) -> None:
    with closing(Relay(world.slack.link.open())) as relay:
        is_noticed(world, relay)


def is_noticed(world: World, relay: "Relay") -> None:
    gives_socket(world, relay.url, times=1)
    world.start()
    card = posted(world)
    world.slack.fail("apps.connections.open", times=None, status=503)
    relay.freeze()
    begun = time.monotonic()
    eventually(lambda: any("socket" in reason for reason in reasons(world)), 10)
    assert time.monotonic() - begun < 5.5  # and how long it takes to ask
    world.slack.clear_faults()
    eventually(lambda: not any("socket" in reason for reason in reasons(world)), 20)
    eventually(lambda: world.slack.click(ANN, card.ts, "approve").status == 200)
    assert "level=ERROR" not in world.log()


def test_a_click_while_slack_asks_for_another_socket_is_answered_in_time(world: World) -> None:
    world.start()
    for number in range(3):
        card = posted(world, f"p{number}@acme.com")
        world.slack.link.refresh()
        answer = world.slack.click(ANN, card.ts, "approve")
        assert (answer.status, answer.seconds < 1.5) == (200, True)
        world.shows(request_of(card), "approved")
    assert warnings(world) == []


def test_a_click_in_several_frames_counts(world: World) -> None:
    world.start()
    card = posted(world)
    world.slack.link.frames = 3
    assert world.slack.click(ANN, card.ts, "approve").status == 200
    world.shows(request_of(card), "approved")


def stumble(text: str | bytes) -> dict[str, Any]:
    """Fail on one kind of frame, as a bug in reading frames would."""
    if "stumble" in str(text):
        raise KeyError("a bug")
    return frame_of(text)


def test_a_bug_in_reading_frames_leaves_no_socket_that_nobody_reads(world: World) -> None:
    world.waits["listeners.sockets.frame_of"] = stumble
    world.start()
    card = posted(world)
    before = len(world.slack.calls("apps.connections.open"))
    world.slack.link.send_raw('{"type": "stumble"}')
    eventually(lambda: len(world.slack.calls("apps.connections.open")) > before)
    eventually(world.serves)
    eventually(lambda: world.slack.click(ANN, card.ts, "approve").status == 200)
    world.shows(request_of(card), "approved")
    assert "socket=failed" in world.log()


class Relay:
    """Passes bytes between the app and the stand-in, until it is frozen like a cut cable."""

    def __init__(self, url: str) -> None:
        address, _, path = url.removeprefix("ws://").partition("/")
        self._target = int(address.partition(":")[2])
        self._server = socket.create_server(("127.0.0.1", 0))
        self._frozen = threading.Event()
        self._ends: list[socket.socket] = []
        self.url = f"ws://127.0.0.1:{self._server.getsockname()[1]}/{path}"
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        self._frozen.set()

    def close(self) -> None:
        self._server.close()
        for end in self._ends:
            end.close()

    def _accept(self) -> None:
        app, _ = self._server.accept()
        slack = socket.create_connection(("127.0.0.1", self._target))
        self._ends = [app, slack]
        for source, target in ((app, slack), (slack, app)):
            threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):  # it was closed at the end of the test
            while data := source.recv(65_536):
                if self._frozen.is_set():
                    return  # both sides stay open, and hear nothing anymore
                target.sendall(data)
