"""Clicks get through each proxy while somebody without any secret sends, through it, what the app refuses."""

import copy
import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from sandbox.workspace import ANN
from tests.requirements import needs
from tests.support.nginx import Nginx
from tests.support.proxies import Proxy
from tests.support.world import World, eventually, free_port

NO_HEADERS: Mapping[str, str] = {}
# What is refused, by the app or by the proxy before it: a method, a path and a body.
ATTACKS = {
    "too long a body": ("POST", "/slack/events", b"x" * 1_048_576),
    "another method": ("PUT", "/slack/events", b"x" * 1_000_000),
    "too long an address": ("POST", "/slack/events?" + "x" * 5_000, b"x" * 800_000),
    "no signature": ("POST", "/slack/events", b"x" * 800_000),
}


@pytest.fixture(scope="module")
def replica(town: World) -> Iterator[World]:
    """Another process of the shared app, on the same ledger."""
    made = copy.copy(town)
    made.port = free_port()
    made.url = f"http://127.0.0.1:{made.port}"
    made.log_file = made.folder / "replica.log"
    bind = f"--bind 127.0.0.1:{made.port}"
    made.settings = {**town.settings, "PORT": str(made.port), "GUNICORN_CMD_ARGS": bind}
    yield made.start()
    made.kill()


@pytest.fixture
def proxy(
    request: pytest.FixtureRequest, tmp_path: Path, town: World, replica: World
) -> Iterator[Nginx | Proxy]:
    """A running proxy: nginx with deploy/nginx.conf and one server or two, or a bare one with two."""
    made: Nginx | Proxy
    if request.param in ("one server", "two servers"):
        made = Nginx(tmp_path, town.port, replica.port if request.param == "two servers" else None)
        made.install()
        made.start()
    else:
        made = Proxy(request.param, tmp_path, town.port, replica.port)
    yield made
    made.stop()


@contextmanager
def sending(send: Callable[[], int | None]) -> Iterator[Counter[int | None]]:
    """Send this again and again, at full speed, beside what is done meanwhile; count the statuses."""
    answers: Counter[int | None] = Counter()
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            answers[send()] += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        eventually(lambda: answers.total() > 3, what="some were sent")
        yield answers
    finally:
        over.set()
        thread.join()


def sent(
    proxy: Nginx | Proxy, method: str, path: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS
) -> int | None:
    """Send this on a connection of its own; return the status of the answer, or None if there was none."""
    with closing(proxy.connect()) as connection, suppress(OSError, http.client.HTTPException):
        connection.request(method, path, body, headers)
        return connection.getresponse().status
    return None


def clicked(proxy: Nginx | Proxy, town: World) -> Counter[int | None]:
    """Let Ann ask something 100 times through the proxy, signed; count the answers' statuses."""
    town.slack.command(ANN, "help")
    signed = town.slack.answers[-1].sent
    return Counter(sent(proxy, "POST", "/slack/events", *signed) for _ in range(100))


PROXIES = [
    pytest.param("one server", marks=needs("nginx")),
    pytest.param("two servers", marks=needs("nginx")),
    pytest.param("nginx", marks=needs("nginx")),
    pytest.param("haproxy", marks=needs("haproxy")),
    pytest.param("caddy", marks=needs("caddy")),
]


@pytest.mark.parametrize("proxy", PROXIES, indirect=True)
def test_no_click_is_lost_while_somebody_sends_what_is_refused(proxy: Nginx | Proxy, town: World) -> None:
    for attack, junk in ATTACKS.items():
        with sending(partial(sent, proxy, *junk)) as answers:
            assert clicked(proxy, town) == {200: 100}, f"{attack}, which got {answers}"
        assert not {200, 502, 503} & set(answers), attack


@pytest.mark.parametrize("proxy", PROXIES[:1], indirect=True)
def test_whoever_waits_for_refusals_is_slowed_down_and_others_are_not(proxy: Nginx, town: World) -> None:
    with sending(partial(sent, proxy, "POST", "/slack/events", b"unsigned")) as answers:
        started = time.monotonic()
        assert clicked(proxy, town) == {200: 100}
        eventually(lambda: answers[401] > 20)
        assert time.monotonic() - started > 1.5  # at ten a second, apart from the first ones
    assert set(answers) == {401}
