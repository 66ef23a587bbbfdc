"""The bench's own parts: services that keep connections, a distance to them, and older checkouts."""

import http.client
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bench.checkout import older
from bench.delay import Delay
from bench.services import Services
from ledger.ledger import Ledger
from tests.requirements import needs
from tests.support.certificates import certify
from tests.support.world import ROOT

ROUND_TRIP = 0.2


@pytest.fixture
def services() -> Iterator[Services]:
    with Services() as started:
        yield started


def test_services_keep_a_connection_until_told_not_to(services: Services) -> None:
    with closing(http.client.HTTPConnection(urlsplit(services.url).netloc, timeout=10)) as connection:
        will_close = []
        for is_closing in (False, True):
            services.set(closing=is_closing)
            connection.request("POST", "/api/auth.test")
            answer = connection.getresponse()
            answer.read()
            will_close.append(answer.will_close)
    assert will_close == [False, True]
    assert [is_new for *_, is_new in services.set()["calls"]] == [True, False]


@needs("openssl")
def test_a_distance_takes_three_round_trips_for_the_first_call_and_one_for_the_next(tmp_path: Path) -> None:
    certificate, key = certify(tmp_path, "localhost")
    trust = ssl.create_default_context(cafile=certificate)
    with Services(certificate, key) as services, Delay(services.tls_port, ROUND_TRIP) as distance:
        seconds = []
        with closing(http.client.HTTPSConnection("127.0.0.1", distance.port, context=trust)) as connection:
            for _ in range(2):
                started = time.monotonic()
                connection.request("POST", "/api/auth.test")
                connection.getresponse().read()
                seconds.append(time.monotonic() - started)
            distance.cut()
            assert connection.sock.recv(1) == b""
    assert seconds[0] >= 3 * ROUND_TRIP
    assert ROUND_TRIP <= seconds[1] < seconds[0]


def test_an_older_checkout_makes_its_own_ledger_and_clicks(tmp_path: Path) -> None:
    checkout = older(str(ROOT))
    url = f"sqlite:///{tmp_path}/ledger.db"
    checkout.fill(url, 2, 1)
    ledger = Ledger(url)
    assert ledger.polls.status().adopted_at is not None
    ledger.database.close()
    first, second = checkout.clicks([(0, "U0N0", "http://x/respond"), (1, "U0N1", "http://x/respond")])
    assert first.startswith(b"POST /slack/events ")
    assert first != second


def test_a_folder_without_a_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="AGAINST"):
        older(str(tmp_path))
