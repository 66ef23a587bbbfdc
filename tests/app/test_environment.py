"""What the machine's environment says about proxies and certificates holds for Conveyor and Slack alike."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

import blocks
from sandbox.workspace import ANN, SAM
from tests.requirements import needs
from tests.support.certificates import certify, server_context
from tests.support.steps import posted, request_of
from tests.support.world import COMMAND, MODES, World

pytestmark = needs("openssl")


class Proxy:
    """An HTTP proxy that connects to whatever it is asked for, and remembers the ports."""

    def __init__(self) -> None:
        self.asked: set[int] = set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed at the end of the test
            while True:
                threading.Thread(target=self._connect, args=(self._server.accept()[0],), daemon=True).start()

    def _connect(self, app: socket.socket) -> None:
        head = app.recv(65_536)
        found = re.match(rb"CONNECT 127\.0\.0\.1:(\d+) ", head)
        assert found, head
        self.asked.add(int(found[1]))
        with app, socket.create_connection(("127.0.0.1", int(found[1]))) as peer:
            app.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            back = threading.Thread(target=_pass, args=(peer, app), daemon=True)
            back.start()
            _pass(app, peer)
            back.join()


def _pass(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            target.sendall(data)
    except OSError:
        pass  # one of them was closed
    finally:
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@pytest.fixture(params=MODES)
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    with closing(World(tmp_path, by_socket=request.param == "socket")) as made:
        made.command = COMMAND  # the launcher would bring trusted certificates of its own
        yield made
        assert made.leaks() == []


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with closing(Proxy()) as proxy:
        yield proxy


@pytest.fixture
def certificate(world: World, tmp_path: Path) -> Path:
    """Let both stand-ins speak TLS, with a certificate that is in this file."""
    certificate, key = certify(tmp_path, "localhost")
    context = server_context(certificate, key)
    world.slack.link.tls = context
    for stand_in in (world.slack, world.conveyor):
        stand_in.stop()
        stand_in.serve(stand_in.port, context)
    world.settings["SLACK_API_URL"] = world.slack.api_url
    world.settings["CONVEYOR_API_URL"] = world.conveyor.api_url
    return certificate


def works(world: World) -> None:
    """Show that every kind of call is made: Slack's methods, a response_url and Conveyor's API."""
    card = posted(world)
    world.slack.click(SAM, card.ts, "approve")
    world.told(SAM, blocks.NOT_A_REVIEWER)
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved")


@pytest.mark.parametrize("setting", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_certificates_of_the_environment_are_trusted(world: World, certificate: Path, setting: str) -> None:
    world.start(**{setting: str(certificate)})
    works(world)


def test_a_proxy_of_the_environment_is_used(world: World, certificate: Path, proxy: Proxy) -> None:
    world.start(SSL_CERT_FILE=str(certificate), HTTPS_PROXY=proxy.url)
    works(world)
    assert {world.slack.port, world.conveyor.port} <= proxy.asked


def test_what_the_environment_excepts_does_not_go_through_the_proxy(
    world: World, certificate: Path, proxy: Proxy
) -> None:
    world.start(SSL_CERT_FILE=str(certificate), HTTPS_PROXY=proxy.url, NO_PROXY="127.0.0.1")
    works(world)
    assert not proxy.asked
