"""The bench's own parts: its services keep connections open, and an older checkout makes its own ledger."""

import http.client
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bench.checkout import older
from bench.services import Services
from ledger.ledger import Ledger
from tests.support.world import ROOT


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
